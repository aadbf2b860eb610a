//! Several loadgen processes share a run: their loads begin together, their parts add up to the whole.

#[path = "../../crates/client/tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::{Cluster, ISSUER_SEED};
use shardpay_client::signaler::{Hex, NetworkId, Phase};
use shardpay_client::topology::{CommitteeEntry, MemberEntry, NodeState, Topology};
use shardpay_crypto::chain_id;
use shardpay_run::{LatencyKind, LoadResult, RunDir, read_acks, read_json, read_latencies};
use shardpay_types::Epoch;

const SPEC: &str = "name = \"shared\"\ncommittees = 2\nnodes_per_committee = 4\nduration_s = 3\n[load]\n\
    accounts = 300\nprocesses = 2\n[load.rate]\nkind = \"constant\"\nper_second = 400\n";

/// What a signaler would say of the cluster.
fn topology(cluster: &Cluster) -> Topology {
    let endpoints = cluster.endpoints();
    let committees = cluster.plan.committee_ids().map(|committee| {
        let here = endpoints.iter().filter(|endpoint| endpoint.node.committee == committee);
        let member = |endpoint: &shardpay_client::Endpoint| MemberEntry {
            member: endpoint.node.member,
            key: Hex(endpoint.key),
            peer_addr: endpoint.addr,
            client_addr: endpoint.addr,
            state: NodeState::Up,
            heartbeat_us: None,
            progress: None,
            process: None,
        };
        let plan = &cluster.plan.committees[committee.index()];
        CommitteeEntry {
            committee,
            shard_first: plan.shard_first,
            shard_count: plan.shard_count,
            quorum: 3,
            faults_max: 1,
            members: here.map(member).collect(),
        }
    });
    Topology {
        version: 1,
        time_us: 0,
        network: Hex(NetworkId([0; 32])),
        phase: Phase::Producing,
        epoch: Epoch::ZERO,
        committees_expected: 2,
        members_expected: 4,
        chain: Some(Hex(chain_id(&cluster.plan))),
        genesis: Some(Hex((*cluster.plan).clone())),
        plan: Some(Hex((*cluster.plan).clone())),
        committees: committees.collect(),
        waiting: Vec::new(),
    }
}

/// Files that a process needs.
fn write_inputs(dir: &Path, cluster: &Cluster) {
    std::fs::write(dir.join("spec.toml"), SPEC).expect("written");
    std::fs::write(dir.join("topology.json"), serde_json::to_vec(&topology(cluster)).expect("JSON")).expect("written");
    std::fs::write(dir.join("issuer.seed"), hex::encode(ISSUER_SEED)).expect("written");
}

fn loadgen(dir: &Path, process: &str, start_at: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.current_dir(dir).args(["run", "--topology", "topology.json", "--spec", "spec.toml", "--out", "run"]);
    command.args(["--issuer-seed", "issuer.seed", "--process", process, "--start-at", start_at]);
    command
}

fn in_ms(left: Duration) -> u64 {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970") + left;
    u64::try_from(at.as_millis()).expect("before the year 500,000")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_begin_at_the_given_time_and_share_the_load() {
    let cluster = Cluster::start(2).await;
    let dir = tempfile::tempdir().expect("a directory");
    write_inputs(dir.path(), &cluster);
    let start_ms = in_ms(Duration::from_secs(15));
    let running: Vec<_> = ["0/2", "1/2"]
        .map(|process| loadgen(dir.path(), process, &start_ms.to_string()))
        .into_iter()
        .map(|mut command| tokio::task::spawn_blocking(move || command.output().expect("runs")))
        .collect();
    for process in running {
        let output = process.await.expect("no panic");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{stdout}\n{stderr}");
        let phases = stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON lines"));
        let mut phases: Vec<String> = phases.map(|line| line["phase"].as_str().expect("a phase").to_owned()).collect();
        phases.dedup();
        assert_eq!(phases, ["fund", "sign", "wait", "load", "drain", "done"]);
    }

    let files = RunDir::new(dir.path().join("run"));
    let results = [0, 1].map(|process| read_json::<LoadResult>(&files.load_result(process)).expect("written"));
    for (process, result) in results.iter().enumerate() {
        assert!(result.started_us >= start_ms * 1_000, "not before the given time: {result:?}");
        assert_eq!((result.offered, result.unresolved), (600, 0), "{result:?}");
        let latencies = read_latencies(&files.latencies(process)).expect("written");
        let ends = latencies.iter().filter(|interval| interval.tag.kind != LatencyKind::CrossDebit);
        assert_eq!(ends.map(|interval| interval.latencies.len()).sum::<u64>(), result.sent);
    }
    // each began while the other's load ran: without the option they would follow their own preparations
    let apart = results[0].started_us.abs_diff(results[1].started_us);
    assert!(apart < 1_000_000, "{apart} us apart");
    let acks = [0, 1].map(|process| read_acks(&files.acks(process)).expect("written").acks);
    let ids = |acks: &[shardpay_run::Ack]| acks.iter().map(|ack| ack.txid).collect::<std::collections::BTreeSet<_>>();
    assert!(ids(&acks[0]).is_disjoint(&ids(&acks[1])), "no payment is both's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_cannot_be_kept_is_refused() {
    let cluster = Cluster::start(2).await;
    let dir = tempfile::tempdir().expect("a directory");
    write_inputs(dir.path(), &cluster);
    let stderr = |mut command: Command| async move {
        let output = tokio::task::spawn_blocking(move || command.output().expect("runs")).await.expect("no panic");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let past = stderr(loadgen(dir.path(), "0/2", "2020-01-01T00:00:00Z")).await;
    assert!(past.contains("--start-at 2020-01-01T00:00:00.000Z: that was") && past.contains("too late"), "{past}");
    assert!(!dir.path().join("run").exists(), "nothing was begun");
    let words = stderr(loadgen(dir.path(), "0/2", "noon")).await;
    assert!(words.contains("--start-at") && words.contains("milliseconds since 1970"), "{words}");
    // there is time enough at first, and too little to prepare
    let mut hasty = loadgen(dir.path(), "0/2", &in_ms(Duration::from_millis(1_500)).to_string());
    hasty.args(["--set", "load.accounts=60000"]);
    let hasty = stderr(hasty).await;
    assert!(hasty.contains("funding and signing took longer"), "{hasty}");
    let mut probing = loadgen(dir.path(), "0/2", &in_ms(Duration::from_secs(60)).to_string());
    probing.args(["--set", "load.rate={kind=\"fraction\", of_closed_loop=0.5}"]);
    let probing = stderr(probing).await;
    assert!(probing.contains("fraction"), "{probing}");
}
