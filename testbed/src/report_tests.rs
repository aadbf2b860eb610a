//! The table as people see it.

use shardpay_audit::{Check, CheckName, Verdict};
use shardpay_run::{LatencyMs, Lateness, LoadResult, MachineUse, Phases, Shortfall, Spec};

use super::*;

fn flow(certified: u64, p50: f64) -> Flow {
    let latency_ms =
        LatencyMs { count: certified, mean: p50, p50, p90: p50 * 2.0, p99: p50 * 3.0, p999: p50 * 4.0, max: p50 * 5.0 };
    Flow { certified, per_second: certified as f64 / 10.0, latency_ms }
}

fn judged(committees: usize) -> Judged {
    let text = format!("name = 't'\ncommittees = {committees}\nnodes_per_committee = 4\nduration_s = 10");
    let spec = Spec::parse("t.toml", &text, &[]).unwrap();
    let mut load = LoadResult { offered: 20_000, sent: 19_990, seconds: 10.0, ..LoadResult::default() };
    load.refusals.insert("busy".to_owned(), 7);
    let cpu_us = [("node".to_owned(), 900_000), ("loadgen".to_owned(), 100_000)].into();
    let machine = MachineUse { cpu_us, store_bytes: 12_345_678, node_memory_bytes_max: 98_000_000 };
    let mut summary = Summary::of(&spec, &load, &[], machine, true);
    let figures = Figures {
        intra: flow(4_000, 20.0),
        cross: flow(6_000, 40.0),
        cross_debit: flow(6_000, 21.0),
        all: flow(10_000, 30.0),
    };
    summary.total = figures;
    summary.per_committee = vec![figures; committees];
    summary.cpu_us_per_payment = 100.0;
    Judged { verdict: Verdict { version: 1, passed: true, checks: Vec::new() }, summary, problems: Vec::new() }
}

#[test]
fn columns_are_aligned() {
    let mut table = Table::new(&["name", "value"]);
    table.row(["a".to_owned(), "1".to_owned()]);
    table.row(["µµµµµµ".to_owned(), "100000".to_owned()]);
    assert_eq!(table.render(1), "name     value\na            1\nµµµµµµ  100000\n");
}

#[test]
fn intra_and_cross_stand_apart() {
    let text = report(&judged(2), Path::new("/runs/t"));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("committee  payments"), "{text}");
    let cells =
        |line: &str| line.split("  ").map(|c| c.trim().to_owned()).filter(|c| !c.is_empty()).collect::<Vec<_>>();
    assert_eq!(cells(lines[2]), ["0", "from others (credit)", "600.0", "40.0", "80.0", "120.0", "160.0", "200.0"]);
    assert_eq!(cells(lines[10]), ["total", "all", "1000.0", "30.0", "60.0", "90.0", "120.0", "150.0"]);
    for part in [
        "offered         2000/s, 99.95 % sent, 0 skipped",
        "refusals        busy 7",
        "CPU             100.0 µs per certified payment (loadgen 10.0, node 90.0)",
        "on disk         12.3 MB in all stores",
        "verdict         PASS",
        "run directory   /runs/t",
        "see it again    ./shardpay demo --replay /runs/t",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("faults  "), "{text}");
}

#[test]
fn one_committee_has_no_cross_payments_and_an_empty_flow_no_latency() {
    let mut judged = judged(1);
    judged.summary.per_committee[0].intra = Flow::default();
    let text = report(&judged, Path::new("/runs/t"));
    assert_eq!(
        text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>()[2..],
        ["0.0", "-", "-", "-", "-", "-"]
    );
    assert!(!text.contains("credit") && !text.contains("total"), "{text}");
}

#[test]
fn faults_and_failures_are_told() {
    let mut judged = judged(2);
    judged.summary.faults =
        Some(Phases { before_per_second: 900.0, during_per_second: 500.4, after_per_second: 910.0 });
    judged.summary.verdict_passed = false;
    judged.problems.push("node 0-1 did not catch up".to_owned());
    let evidence = (0..5).map(|height| format!("height {height} differs")).collect();
    let check =
        Check { name: CheckName::ReplicasAgree, passed: false, figures: Default::default(), failures: 5, evidence };
    judged.verdict = Verdict { version: 1, passed: false, checks: vec![check] };
    let text = report(&judged, Path::new("/runs/t"));
    for part in [
        "faults          certified/s before 900, during 500, after 910",
        "check failed: replicas-agree (5 findings)\n    height 0 differs\n    height 1 differs\n    height 2 differs\nnot",
        "not kept: node 0-1 did not catch up",
        "verdict         FAIL (0 of 1 checks passed)",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn every_shortfall_is_told_by_its_cause() {
    let mut judged = judged(2);
    assert!(!report(&judged, Path::new("/runs/t")).contains("caution"));
    let late = Lateness { skipped: 312, lag_p99_ms: 60.91, loadgen_cores: 0.314, machine_busy: 0.987 };
    judged.summary.shortfalls = vec![late.cause(), Shortfall::InFlightFull { skipped: 4_000, max_in_flight: 50_000 }];
    let text = report(&judged, Path::new("/runs/t"));
    for part in [
        "caution         the machine was full, loadgen got no core in time: 312 payments were skipped as too late, 1 % \
         of those sent were more than 60.9 ms late; loadgen used 0.31 cores, 99 % of the machine was in use\n",
        "caution         certificates came later than payments were due: 4000 payments were skipped, as 50000 were in \
         flight (load.max_in_flight)\n",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("loadgen was the"), "{text}");
}

#[test]
fn bytes_have_units() {
    assert_eq!(
        [bytes(999), bytes(1_500), bytes(2_000_000), bytes(3_210_000_000)],
        ["999 B", "1.5 kB", "2.0 MB", "3.21 GB"]
    );
}
