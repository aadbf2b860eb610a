//! `analysis compare` over run directories: what it refuses, and its exit code.

mod common;

use std::path::Path;

use common::{analysis, made_run, spec};
use shardpay_run::{RunDir, RunRecord, Summary, read_json, write_json};

/// Repeats with seeds of their own, whose figures differ a little.
fn repeats(dir: &Path, count: u64, per_second: u64, overrides: &[&str]) {
    for repeat in 0..count {
        let seed = format!("load.seed={repeat}");
        let spec = spec(&[overrides, &[seed.as_str()]].concat());
        made_run(&dir.join(format!("r{repeat}")), &spec, (per_second + repeat % 3, 50 + repeat % 2));
    }
}

struct Sides(tempfile::TempDir);

impl Sides {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("temp dir"))
    }
    fn path(&self, side: &str) -> std::path::PathBuf {
        self.0.path().join(side)
    }
    fn compare(&self) -> (Option<i32>, String) {
        analysis(&["compare", self.path("a").to_str().unwrap(), self.path("b").to_str().unwrap()])
    }
}

#[test]
fn a_slower_side_gives_exit_code_1() {
    let sides = Sides::new();
    repeats(&sides.path("a"), 6, 1_000, &[]);
    repeats(&sides.path("b"), 6, 900, &[]);
    let (code, said) = sides.compare();
    assert_eq!(code, Some(1), "{said}");
    let row = said.lines().find(|line| line.starts_with("certified")).expect("a row");
    assert!(row.contains("WORSE") && row.contains("-10.0 %"), "{row}");
    // the other way round it is no regression
    let back = analysis(&["compare", sides.path("b").to_str().unwrap(), sides.path("a").to_str().unwrap()]);
    assert_eq!(back.0, Some(0), "{}", back.1);
    let same = analysis(&["compare", sides.path("a").to_str().unwrap(), sides.path("a").to_str().unwrap()]);
    assert_eq!(same.0, Some(0), "{}", same.1);
}

#[test]
fn what_cannot_be_compared_is_refused_with_exit_code_2() {
    let refused = |change: &dyn Fn(&Sides), reason: &str| {
        let sides = Sides::new();
        repeats(&sides.path("a"), 6, 1_000, &[]);
        repeats(&sides.path("b"), 6, 1_000, &[]);
        change(&sides);
        let (code, said) = sides.compare();
        assert!(code == Some(2) && said.contains(reason), "{code:?}: {said}");
    };
    refused(&|sides| std::fs::remove_dir_all(sides.path("b/r3")).unwrap(), "the second side has 5 repeats");
    refused(&|sides| repeats(&sides.path("b"), 1, 1_000, &["load.accounts=200"]), "ran another spec than");
    let void = |sides: &Sides| {
        let path = RunDir::new(sides.path("a/r1")).summary();
        let summary = Summary { verdict_passed: false, ..read_json(&path).unwrap() };
        write_json(&path, &summary).unwrap();
    };
    refused(&void, "is void: the verdict failed");
    let elsewhere = |sides: &Sides| {
        let path = RunDir::new(sides.path("b/r5")).record();
        let mut record: RunRecord = read_json(&path).unwrap();
        record.host.cores = 64;
        write_json(&path, &record).unwrap();
    };
    refused(&elsewhere, "ran on another machine than");
    refused(&|sides| std::fs::remove_dir_all(sides.path("b")).unwrap(), "No such file");
    refused(&|sides| std::fs::write(sides.path("b/r2/summary.json"), "{").unwrap(), "summary.json");
    let (code, said) = analysis(&["compare", "/tmp", "/tmp", "--effect-min", "7"]);
    assert!(code == Some(2) && said.contains("below 1"), "{said}");
}
