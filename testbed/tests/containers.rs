//! A committee of four in containers, from the images to the verdict: a node is killed, paused and started again
//! under load, and nothing is left. Needs a Docker daemon and docker-compose; `./shardpay test` looks for them, and runs this
//! where there are any.

mod common;

use std::process::Command;

use common::{experiments, show, testbed};
use shardpay_run::{Summary, read_json};

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("docker is installed");
    assert!(output.status.success(), "{arguments:?}: {}", show(&output));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Containers and networks that belong to a testbed with this registry.
fn left(state: &std::path::Path) -> (String, String) {
    let filter = format!("label=shardpay.state={}", state.display());
    (docker(&["ps", "-aq", "--filter", &filter]), docker(&["network", "ls", "-q", "--filter", &filter]))
}

#[test]
#[ignore = "needs a Docker daemon; './shardpay test' runs it where there is one"]
fn a_committee_in_containers_passes_the_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let mut command = testbed(dir.path());
    command.arg("run").arg(experiments().join("smoke.toml")).arg("--out").arg(&out).args(["--backend", "docker"]);
    command.args(["--set", "committees=1", "--set", "node.cpu_share=0.5", "--set", "node.memory_mb=512"]);
    // what is asked here is whether it works, not how fast the machine is
    command.args(["--set", "load.rate.per_second=100", "--set", "limits.kept_rate_min=0.01"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let summary: Summary = read_json(&out.join("summary.json")).unwrap();
    assert!(summary.verdict_passed && summary.total.intra.certified > 300, "{summary:?}");
    assert_eq!(summary.unresolved, 0);
    let cpu = |program: &str| summary.machine.cpu_us.get(program).copied().unwrap_or(0);
    assert!(cpu("node") > 0 && cpu("loadgen") > 0, "containers' CPU time is counted: {:?}", summary.machine);
    let config = std::fs::read_to_string(out.join("nodes/0-1/config.toml")).unwrap();
    assert!(config.contains("http://signaler:7000"), "nodes find the signaler by its name: {config}");
    assert_eq!(left(&dir.path().join("state")), (String::new(), String::new()), "nothing is left");
}

#[test]
#[ignore = "needs a Docker daemon; './shardpay test' runs it where there is one"]
fn what_a_killed_testbed_leaves_in_docker_is_removed_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let mut command = testbed(dir.path());
    command.arg("run").arg(experiments().join("smoke.toml")).arg("--out").arg(&out).args(["--backend", "docker"]);
    let mut child = command.args(["--set", "committees=1", "--set", "faults=[]"]).spawn().unwrap();
    let state = dir.path().join("state");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while left(&state).0.lines().count() < 6 {
        assert!(std::time::Instant::now() < deadline, "containers are made");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ne!(left(&state).0, "", "nobody told them");
    let output = testbed(dir.path()).arg("down").arg("--all").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    assert_eq!(left(&state), (String::new(), String::new()));
}

#[test]
#[ignore = "needs a Docker daemon; './shardpay test' runs it where there is one"]
fn networks_shares_and_disks_of_containers() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let is_root = rustix::process::geteuid().is_root();
    let disk = if is_root { ",{at_s=9,action='fill-disk',nodes='0-3',down_s=2}" } else { "" };
    let faults = format!(
        "faults=[{{at_s=1,action='disconnect',nodes='0-0',down_s=2}},{{at_s=4,action='throttle',nodes='0-1',\
         cpu_share=0.05,down_s=2}},{{at_s=7,action='pause',nodes='0-2',down_s=1}}{disk}]"
    );
    let mut command = testbed(dir.path());
    command.arg("run").arg(experiments().join("smoke.toml")).arg("--out").arg(&out).args(["--backend", "docker"]);
    let disk_mb = if is_root { "node.disk_mb=96" } else { "node.disk_mb=0" };
    for set in
        ["committees=1", "duration_s=14", "load.rate.per_second=100", "limits.kept_rate_min=0.01", disk_mb, &faults]
    {
        command.args(["--set", set]);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let summary: Summary = read_json(&out.join("summary.json")).unwrap();
    assert!(summary.verdict_passed && summary.total.all.certified > 300, "{summary:?}");
    let told = show(&output);
    for word in ["disconnect 0-0", "connect 0-0", "throttle 0-1", "unthrottle 0-1", "pause 0-2"] {
        assert!(told.contains(word), "{word} is told: {told}");
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&out.display().to_string()), "no disk is left: {mounts}");
    assert_eq!(left(&dir.path().join("state")), (String::new(), String::new()), "nothing is left");
}
