//! Real processes from a spec to a verdict: two committees of four nodes, one of which is killed under load
//! and started again. And what a testbed does about wrong specs, Ctrl-C and dead servers.
//!
//! The programs node, signaler and loadgen must lie beside the testbed; cargo builds only this package's
//! own programs for a test, so `./shardpay test` builds all of them first.

mod common;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{experiments, show, testbed};
use shardpay_run::{Summary, read_json};

/// Ids of processes whose command line names `dir`.
fn processes_of(dir: &Path) -> Vec<u32> {
    let name = dir.display().to_string();
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let ours = pids.filter(|pid| *pid != std::process::id()).filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&name)
    });
    ours.collect()
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_crash_under_load_passes_the_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let spec = experiments().join("smoke.toml");
    let output = testbed(dir.path()).arg("run").arg(spec).arg("--out").arg(&out).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let text = show(&output);
    for part in ["fault at", "kill 0-1", "restart 0-1", "verdict         PASS", "faults          certified/s before"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let summary: Summary = read_json(&out.join("summary.json")).unwrap();
    assert!(summary.verdict_passed);
    assert!(summary.total.intra.certified > 0 && summary.total.cross.certified > 0, "{summary:?}");
    assert_eq!(summary.unresolved, 0);
    assert!(summary.cpu_us_per_payment > 0.0 && summary.machine.store_bytes > 0, "{summary:?}");
    assert_eq!(processes_of(&out), Vec::<u32>::new(), "no process is left");

    // the verdict can be had again, and a lost store is noticed
    let audit = || testbed(dir.path()).arg("audit").arg(&out).output().unwrap();
    assert_eq!(audit().status.code(), Some(0));
    std::fs::remove_dir_all(out.join("nodes/1-2/store")).unwrap();
    let output = audit();
    assert_eq!(output.status.code(), Some(3), "{}", show(&output));
    assert!(show(&output).contains("check failed: stores-readable"), "{}", show(&output));
}

#[test]
fn a_cluster_stays_up_and_takes_faults_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("up");
    let run = |arguments: &[&str]| {
        let output = testbed(dir.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", show(&output));
        show(&output)
    };
    let spec = experiments().join("smoke.toml").display().to_string();
    let one = ["--set", "committees=1", "--set", "faults=[]", "--cluster", "by-hand"];
    run(&[&["up", &spec, "--out", &out.display().to_string()], &one[..]].concat());
    assert_eq!(processes_of(&out).len(), 5);
    run(&["pause", "0-2"]);
    run(&["kill", "0-1"]);
    wait_for("status says what was done", || {
        let status = run(&["status"]);
        let doing = |node: &str| status.lines().any(|line| line.trim_start().starts_with(node));
        doing("0-1       ended") && doing("0-2       paused")
    });
    run(&["resume", "0-2"]);
    run(&["restart", "0-1"]);
    assert_eq!(processes_of(&out).len(), 5);
    assert!(run(&["logs", "0-1", "--lines", "3"]).lines().count() >= 1);
    run(&["down"]);
    assert_eq!(processes_of(&out), Vec::<u32>::new());
}

#[test]
fn an_interrupted_run_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let spec = experiments().join("smoke.toml");
    let mut command = testbed(dir.path());
    command.arg("run").arg(spec).arg("--out").arg(&out).args(["--set", "committees=1"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("nodes run", || processes_of(&out).len() >= 5);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(processes_of(&out), Vec::<u32>::new());
}

#[test]
fn what_a_killed_testbed_leaves_is_ended_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let spec = experiments().join("smoke.toml");
    let mut command = testbed(dir.path());
    command.arg("run").arg(spec).arg("--out").arg(&out).args(["--set", "committees=1"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("nodes run", || processes_of(&out).len() >= 6);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(processes_of(&out).len() >= 5, "nobody told them");
    let output = testbed(dir.path()).arg("status").output().unwrap();
    assert!(show(&output).contains("ended what an earlier testbed left behind"), "{}", show(&output));
    assert_eq!(processes_of(&out), Vec::<u32>::new());
}

#[test]
fn a_wrong_spec_names_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let output = |set: &str| {
        let spec = experiments().join("smoke.toml");
        testbed(dir.path()).arg("run").arg(spec).args(["--set", set]).output().unwrap()
    };
    for (set, key) in [("committees=0", "committees"), ("load.rate.per_second=-1", "load.rate.per_second")] {
        let output = output(set);
        assert_eq!(output.status.code(), Some(2), "{}", show(&output));
        assert!(show(&output).contains(key), "{}", show(&output));
    }
}
