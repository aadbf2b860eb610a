//! A sweep of two points with real processes: interrupted, resumed, its stores dropped to one, its verdicts had again; and
//! what a sweep refuses before it starts anything.

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{show, testbed};
use shardpay_run::{RunState, SweepRecord, read_json};

const SPEC: &str = "name = 'tiny'\ncommittees = 1\nnodes_per_committee = 4\nduration_s = 3\nwarmup_s = 1\n\
    [load]\naccounts = 200\nrate = { kind = 'constant', per_second = 200 }\n\
    [grid]\ndurability = ['fsync', 'os']\n[sweep]\nstores = 'one'\n";

fn record(out: &Path) -> Option<SweepRecord> {
    read_json(&out.join(SweepRecord::FILE)).ok()
}

fn stores(run: &Path) -> usize {
    (0..4).filter(|member| run.join(format!("nodes/0-{member}/store")).is_dir()).count()
}

#[test]
fn an_interrupted_sweep_goes_on_and_its_verdicts_can_be_had_again() {
    let dir = tempfile::tempdir().unwrap();
    let (spec, out) = (dir.path().join("tiny.toml"), dir.path().join("out"));
    fs::write(&spec, SPEC).unwrap();
    let sweep = |more: &[&str]| {
        let mut command = testbed(dir.path());
        command.arg("sweep").arg(&spec).arg("--out").arg(&out).args(more);
        command
    };

    let mut child = sweep(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let second_begun = || {
        let record = record(&out)?;
        (record.runs[0].state == RunState::Passed && out.join(&record.runs[1].dir).join("run.json").is_file())
            .then_some(())
    };
    while second_begun().is_none() {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "{:?}", record(&out));
        std::thread::sleep(Duration::from_millis(50));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let interrupted = record(&out).unwrap();
    assert_eq!((interrupted.runs[1].state, interrupted.ended_us), (RunState::Waiting, None));

    let again = sweep(&[]).output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", show(&again));
    let text = show(&again);
    for part in ["1 of them ended earlier and stay", "[2/2]", "durability = \"fsync\"", "durability = \"os\"", "1 of 1"]
    {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let done = record(&out).unwrap();
    assert_eq!(done.runs[0], interrupted.runs[0], "the first run stays as it was");
    assert!(done.ended_us.is_some() && done.runs.iter().all(|run| run.state == RunState::Passed), "{done:?}");

    verdicts_again(dir.path(), &out, &done);

    // nothing is left to do; another sweep does not fit in here
    assert_eq!(sweep(&[]).output().unwrap().status.code(), Some(0));
    let other = sweep(&["--set", "sweep.repeats=2"]).output().unwrap();
    assert_eq!(other.status.code(), Some(2));
    assert!(show(&other).contains("begun with another spec"), "{}", show(&other));

    // a run that is not what it was is made again
    let summary = out.join(&done.runs[1].dir).join("summary.json");
    fs::write(&summary, fs::read_to_string(&summary).unwrap().replacen("\"tiny\"", "\"tinY\"", 1)).unwrap();
    let mended = sweep(&[]).output().unwrap();
    assert_eq!(mended.status.code(), Some(0), "{}", show(&mended));
    assert!(show(&mended).contains("summary.json is not what it was"), "{}", show(&mended));
    assert_eq!(record(&out).unwrap().runs[0], done.runs[0]);
}

/// One store per committee is left, and enough; a note that does not fit it is found.
fn verdicts_again(dir: &Path, out: &Path, done: &SweepRecord) {
    for run in &done.runs {
        let run = out.join(&run.dir);
        let left = stores(&run);
        assert!((1..4).contains(&left), "{left} stores are left");
        let audit = testbed(dir).arg("audit").arg(&run).output().unwrap();
        assert_eq!(audit.status.code(), Some(0), "{}", show(&audit));
        let note = run.join("stores.json");
        let text = fs::read_to_string(&note).unwrap();
        let at = text.find("\"header\": \"").expect("a noted header") + "\"header\": \"".len();
        let wrong = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
        fs::write(&note, [&text[..at], wrong, &text[at + 1..]].concat()).unwrap();
        let audit = testbed(dir).arg("audit").arg(&run).output().unwrap();
        assert_eq!(audit.status.code(), Some(3), "{}", show(&audit));
        assert!(show(&audit).contains("check failed: stores-readable"), "{}", show(&audit));
        fs::write(&note, text).unwrap();
        // the verdict that was just written says FAIL: have the true one again
        let audit = testbed(dir).arg("audit").arg(&run).output().unwrap();
        assert_eq!(audit.status.code(), Some(0), "{}", show(&audit));
    }
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let (spec, out) = (dir.path().join("tiny.toml"), dir.path().join("out"));
    fs::write(&spec, SPEC).unwrap();
    let cases: [(&str, &[&str], &str); 4] = [
        ("run", &[], "tiny.toml:9: grid: belongs to more than one run: 'testbed sweep'"),
        ("sweep", &["--set", "sweep.budget_s=10"], "2 points × 1 repeats take about"),
        ("sweep", &["--set", "grid.durability=['fsync','never']"], "durability: unknown variant"),
        ("knee", &["--set", "durability=os"], "the file has no [knee]"),
    ];
    for (command, more, expected) in cases {
        let output = testbed(dir.path()).arg(command).arg(&spec).arg("--out").arg(&out).args(more).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", show(&output));
        assert!(show(&output).contains(expected), "{expected} in\n{}", show(&output));
        assert!(!out.exists(), "{command} {more:?} left something");
    }
}
