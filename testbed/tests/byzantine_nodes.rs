//! Members that misbehave in clusters of real processes: up to f of them change nothing; f + 1 that fork their
//! committee are found by the audit, with both headers. The programs must be built before.

mod common;

use std::path::Path;
use std::process::Output;

use common::{experiments, show, testbed};
use shardpay_audit::{CheckName, Verdict};
use shardpay_run::{Summary, read_json};

fn run(dir: &Path, spec: &str, set: &[&str]) -> Output {
    let mut command = testbed(dir);
    command.arg("run").arg(experiments().join(spec)).arg("--out").arg(dir.join("run"));
    set.iter().for_each(|set| {
        command.args(["--set", set]);
    });
    command.output().unwrap()
}

#[test]
fn a_liar_in_each_committee_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // what is asked here is whether it is right, not how fast the machine is
    let set =
        ["duration_s=7", "warmup_s=1", "load.accounts=400", "load.rate.per_second=100", "limits.kept_rate_min=0.1"];
    let output = run(dir.path(), "byzantine.toml", &set);
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let summary: Summary = read_json(&dir.path().join("run/summary.json")).unwrap();
    assert!(summary.verdict_passed && summary.total.all.certified > 100, "{summary:?}");
    for node in ["0-1", "1-2"] {
        let log = std::fs::read_to_string(dir.path().join("run/nodes").join(node).join("log")).unwrap();
        assert!(log.contains("misbehaved"), "node {node} is to do what it was told:\n{log}");
    }
}

#[test]
fn a_fork_fails_the_verdict_which_names_both_headers() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), "fork.toml", &["duration_s=6"]);
    assert_eq!(output.status.code(), Some(3), "{}", show(&output));
    let verdict: Verdict = read_json(&dir.path().join("run/verdict.json")).unwrap();
    let evidence = verdict.check(CheckName::ReplicasAgree).evidence.join("\n");
    let certified = evidence.lines().find(|line| line.matches("certified by members").count() == 2);
    let line = certified.unwrap_or_else(|| panic!("no height with two certified headers in\n{evidence}"));
    assert!(line.contains("signed more than one of them: members 0, 1"), "{line}");
    let credits = verdict.check(CheckName::MessagesBetweenCommittees);
    assert!(!credits.passed, "committee 1 credited what the other ledger never debited: {credits:?}");
    assert!(credits.evidence.iter().any(|line| line.contains("where committee 0 has")), "{credits:?}");
}
