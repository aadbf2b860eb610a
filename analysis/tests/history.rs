//! `analysis history` over commits whose figures are known.

mod common;

use std::path::Path;

use common::{analysis, at_commit, made_run, spec};

/// Six repeats of a commit that certifies so many payments a second.
fn commit(dir: &Path, (number, name): (u64, &str), (repeats, per_second): (u64, u64)) {
    for repeat in 0..repeats {
        let run = dir.join(format!("{name}-{repeat}"));
        let seed = format!("load.seed={repeat}");
        made_run(&run, &spec(&[&seed]), (per_second + repeat % 3, 50));
        at_commit(&run, name, number * 1_000 + repeat);
    }
}

fn rows(said: &str) -> Vec<&str> {
    said.lines()
        .skip_while(|line| !line.starts_with("certified"))
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .collect()
}

#[test]
fn a_change_is_found_where_it_came_and_begins_a_new_level() {
    let dir = tempfile::tempdir().expect("temp dir");
    let history = |out: &[&str]| analysis(&[&["history", dir.path().to_str().unwrap()], out].concat());
    commit(dir.path(), (1, "zzzz"), (6, 1_000));
    assert_eq!(history(&[]).0, Some(2), "one commit is no history");
    // names say nothing about the order, times do
    commit(dir.path(), (2, "mmmm"), (6, 1_000));
    commit(dir.path(), (3, "ffff"), (2, 500));
    commit(dir.path(), (4, "aaaa"), (6, 900));
    let (code, said) = history(&[]);
    assert_eq!(code, Some(1), "{said}");
    let shown = rows(&said);
    assert!(shown[0].contains("zzzz") && shown[0].contains("where it begins"), "{said}");
    assert!(shown[1].contains("mmmm") && shown[1].contains("no change shown"), "{said}");
    assert!(shown[2].contains("ffff") && shown[2].contains("too few repeats"), "{said}");
    assert!(shown[3].contains("aaaa") && shown[3].contains("WORSE"), "{said}");
    // as good as the level before, and no longer a regression
    commit(dir.path(), (5, "bbbb"), (6, 900));
    let out = dir.path().join("out");
    let (code, said) = history(&["--out", out.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    let page = std::fs::read_to_string(out.join("history.html")).expect("a page");
    assert!(page.contains("worse") && page.contains("id=\"certified\""));
}

#[test]
fn runs_of_another_experiment_are_refused() {
    let dir = tempfile::tempdir().expect("temp dir");
    commit(dir.path(), (1, "aaaa"), (1, 1_000));
    let other = dir.path().join("other");
    made_run(&other, &spec(&["load.accounts=200"]), (1_000, 50));
    at_commit(&other, "bbbb", 1);
    let (code, said) = analysis(&["history", dir.path().to_str().unwrap()]);
    assert!(code == Some(2) && said.contains("ran another spec"), "{said}");
}
