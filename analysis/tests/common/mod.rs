//! Run directories made by hand, with figures that are known.
#![allow(dead_code)] // each test file uses a part of it

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use shardpay_run::{
    GitState, HostFacts, LatencyInterval, LatencyKind, LatencyTag, LatencyWriter, LoadResult, MachineUse, RunDir,
    RunRecord, Spec, Summary, new_latencies, write_json, write_whole,
};
use shardpay_testbed::deploy::nodes;
use shardpay_types::CommitteeId;

pub(crate) const ANALYSIS: &str = env!("CARGO_BIN_EXE_analysis");

/// Four seconds of load, the first of them warm-up.
pub(crate) fn spec(overrides: &[&str]) -> Spec {
    let text = "name = \"made\"\ncommittees = 1\nnodes_per_committee = 4\nduration_s = 4\nwarmup_s = 1\n\
        [load]\naccounts = 100\n[load.rate]\nkind = \"constant\"\nper_second = 100\n";
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
    Spec::parse("made", text, &overrides).expect("a valid spec")
}

/// Makes it a run of that commit, begun so many seconds later.
pub(crate) fn at_commit(dir: &Path, commit: &str, later_s: u64) {
    let path = RunDir::new(dir).record();
    let mut record: RunRecord = shardpay_run::read_json(&path).expect("a record");
    record.git.commit = commit.to_owned();
    record.started_us += later_s * 1_000_000;
    write_json(&path, &record).expect("written");
}

/// A run that certified so many payments a second in each committee, each after so many milliseconds.
pub(crate) fn made_run(dir: &Path, spec: &Spec, (per_second, latency_ms): (u64, u64)) {
    let paths = RunDir::new(dir);
    fs::create_dir_all(paths.loadgen_process(0)).expect("a directory");
    let started_us = 1_000_000_000_000_000;
    let host = HostFacts {
        cpu_model: "made <up>".to_owned(),
        cores: 2,
        kernel: "none".to_owned(),
        memory_bytes: 1 << 30,
        file_system: "none".to_owned(),
    };
    let git = GitState { commit: "0123456789abcdef".to_owned(), modified: false };
    let record = RunRecord { version: RunRecord::VERSION, started_us, spec: spec.clone(), git, host };
    write_json(&paths.record(), &record).expect("written");
    write_whole(&paths.spec(), spec.to_toml().as_bytes()).expect("written");
    let began = UNIX_EPOCH + Duration::from_micros(started_us);
    let mut writer = LatencyWriter::create(&paths.latencies(0), began).expect("made");
    let mut intervals = Vec::new();
    for second in 0..4 {
        for committee in 0..spec.committees {
            let mut latencies = new_latencies();
            latencies.saturating_record_n(latency_ms * 1_000, per_second);
            let tag = LatencyTag { kind: LatencyKind::Intra, committee: CommitteeId::at(committee) };
            let (start, length) = (Duration::from_secs(second), Duration::from_secs(1));
            let interval = LatencyInterval { tag, start, length, latencies };
            writer.write(&interval).expect("written");
            intervals.push(interval);
        }
    }
    let sent = 4 * per_second * spec.committees as u64;
    let load = LoadResult { started_us, seconds: 4.0, offered: sent, sent, ..LoadResult::default() };
    write_json(&paths.load_result(0), &load).expect("written");
    let machine = MachineUse {
        cpu_us: [("node".to_owned(), 300 * sent), ("loadgen".to_owned(), 30 * sent)].into(),
        store_bytes: 1_000 * sent,
        node_memory_bytes_max: 80_000_000,
    };
    write_json(&paths.summary(), &Summary::of(spec, &load, &intervals, machine, true)).expect("written");
    let verdict = serde_json::json!({ "version": 1, "passed": true, "checks": [
        { "name": "executed-once", "passed": true, "figures": {}, "failures": 0, "evidence": [] }
    ] });
    write_json(&paths.verdict(), &verdict).expect("written");
    for node in nodes(spec) {
        fs::create_dir_all(paths.node(node)).expect("a directory");
        let at = |second: u64| (started_us + second * 1_000_000) * 1_000;
        let mut text = String::new();
        for second in 0..=4 {
            text += &format!(
                "counters,server=x process_cpu_us={}i,peer_bytes_out={}i {}\n",
                second * 250_000,
                second * per_second * 1_000,
                at(second)
            );
            text += &format!("histograms,server=x,metric=stage_executed_us count=10i,sum_us=20000i {}\n", at(second));
        }
        fs::write(paths.node_series(node), text).expect("written");
    }
}

/// Runs the program: exit code, and what it said.
pub(crate) fn analysis(arguments: &[&str]) -> (Option<i32>, String) {
    let output = std::process::Command::new(ANALYSIS).args(arguments).output().expect("it starts");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}
