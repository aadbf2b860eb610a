//! Faults of real processes beside kills and pauses, in one run: a node is stopped, its clock goes wrong, its links are
//! cut and slow, its disk is wiped. The programs must be built before.

mod common;

use common::{experiments, show, testbed};
use shardpay_run::{Summary, read_json};

#[test]
fn clocks_links_and_disks_of_processes() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let faults = "faults=[\
        {at_s=1,action='stop',nodes='0-0',down_s=1},\
        {at_s=3,action='skew-clock',nodes='0-1',skew_ms=500,down_s=1},\
        {at_s=5,action='cut',nodes='0-2',to='*-*',both_ways=true,down_s=1},\
        {at_s=7,action='shape',nodes='0-3',link={latency_ms=20,loss=0.01},down_s=1},\
        {at_s=9,action='wipe-disk',nodes='0-0',down_s=1}]";
    let mut command = testbed(dir.path());
    command.arg("run").arg(experiments().join("smoke.toml")).arg("--out").arg(&out);
    let set = ["committees=1", "duration_s=13", "load.rate.per_second=100", "limits.kept_rate_min=0.01", faults];
    set.iter().for_each(|set| {
        command.args(["--set", set]);
    });
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let summary: Summary = read_json(&out.join("summary.json")).unwrap();
    assert!(summary.verdict_passed && summary.total.all.certified > 300, "{summary:?}");
    let log = |node: &str| std::fs::read_to_string(out.join("nodes").join(node).join("log")).unwrap();
    assert!(log("0-1").contains("skew_ms=500"), "{}", log("0-1"));
    assert!(log("0-2").contains("links=3") && log("0-3").contains("links=3"), "{}", log("0-2"));
    assert!(log("0-0").contains("stopping"), "asked to stop: {}", log("0-0"));
    assert!(log("0-0").matches("registered").count() >= 2, "a wiped node joins again: {}", log("0-0"));
}
