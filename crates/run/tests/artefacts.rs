//! What is written is read back, torn ends are left out, foreign files refused, figures right.

use std::fs;
use std::time::{Duration, SystemTime};

use shardpay_run::{
    Ack, AckKind, AckWriter, LatencyInterval, LatencyKind, LatencyTag, LatencyWriter, Limits, LoadResult, MachineUse,
    RunDir, Spec, Summary, new_latencies, read_acks, read_json, read_latencies, write_json,
};
use shardpay_types::{CommitteeId, Height, TxId};

fn ack(n: u8) -> Ack {
    let kind = if n.is_multiple_of(2) { AckKind::Debit } else { AckKind::Credit };
    Ack { txid: TxId([n; 32]), committee: CommitteeId::at(3), height: Height::new(u64::from(n)), leaf: 7, kind }
}

#[test]
fn acknowledgements_survive_a_torn_end_only() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("acks.bin");
    let mut writer = AckWriter::create(&path).expect("created");
    (0..10).for_each(|n| writer.write(&ack(n)).expect("written"));
    writer.flush().expect("flushed");
    let read = read_acks(&path).expect("read");
    assert_eq!((read.acks.clone(), read.torn), ((0..10).map(ack).collect(), false));
    let bytes = fs::read(&path).expect("bytes");
    fs::write(&path, &bytes[..bytes.len() - 5]).expect("torn");
    let torn = read_acks(&path).expect("read");
    assert_eq!((torn.acks.as_slice(), torn.torn), (&read.acks[..9], true));
    let mut bad = bytes.clone();
    bad[12 + 46] = 9;
    fs::write(&path, &bad).expect("bad kind");
    assert!(read_acks(&path).is_err_and(|error| error.to_string().contains("record 0")));
    fs::write(&path, b"something else").expect("foreign");
    assert!(read_acks(&path).is_err());
}

fn interval(kind: LatencyKind, committee: usize, second: u64, values: impl Iterator<Item = u64>) -> LatencyInterval {
    let mut latencies = new_latencies();
    values.for_each(|us| latencies.saturating_record(us));
    let tag = LatencyTag { kind, committee: CommitteeId::at(committee) };
    LatencyInterval { tag, start: Duration::from_secs(second), length: Duration::from_secs(1), latencies }
}

#[test]
fn latencies_are_read_back_and_a_torn_line_is_left_out() {
    let dir = tempfile::tempdir().expect("temp dir");
    let path = dir.path().join("latency.hlog");
    let mut writer = LatencyWriter::create(&path, SystemTime::now()).expect("created");
    let written = [
        interval(LatencyKind::Intra, 0, 0, 1_000..2_000),
        interval(LatencyKind::CrossCredit, 1, 1, [5, 1 << 40].into_iter()),
        interval(LatencyKind::CrossDebit, 0, 1, [77].into_iter()),
    ];
    written.iter().for_each(|interval| writer.write(interval).expect("written"));
    writer.write(&interval(LatencyKind::Intra, 1, 2, std::iter::empty())).expect("left out");
    let read = read_latencies(&path).expect("read");
    assert_eq!(read.len(), written.len());
    for (read, written) in read.iter().zip(&written) {
        assert_eq!((read.tag, read.start, read.length), (written.tag, written.start, written.length));
        assert_eq!(read.latencies, written.latencies);
    }
    let bytes = fs::read(&path).expect("bytes");
    fs::write(&path, &bytes[..bytes.len() - 3]).expect("torn");
    assert_eq!(read_latencies(&path).expect("read").len(), 2);
}

#[test]
fn a_summary_counts_the_measured_part() {
    let text = "name = \"x\"\ncommittees = 2\nnodes_per_committee = 4\nduration_s = 6\nwarmup_s = 2\n[[faults]]\nat_s = 3\naction = \"kill\"\nnodes = \"0-0\"\ndown_s = 1\n";
    let spec = Spec::parse("x", text, &[]).expect("a good spec");
    let mut latencies = Vec::new();
    for second in 0..8 {
        let slow = if second == 3 { 10 } else { 100 };
        latencies.push(interval(LatencyKind::Intra, 0, second, (0..slow).map(|_| 10_000)));
        latencies.push(interval(LatencyKind::CrossCredit, 1, second, (0..50).map(|_| 30_000)));
        latencies.push(interval(LatencyKind::CrossDebit, 0, second, (0..50).map(|_| 20_000)));
    }
    let half = LoadResult { seconds: 6.0, offered: 500, sent: 495, skipped: 5, ..LoadResult::default() };
    let mut load = half.clone();
    load.merge(&half);
    let machine = MachineUse { cpu_us: [("node".to_owned(), 51_000)].into(), ..MachineUse::default() };
    let summary = Summary::of(&spec, &load, &latencies, machine, true);
    assert_eq!((summary.measured_s, summary.kept_rate, summary.skipped), (4.0, 0.99, 10));
    assert_eq!((summary.total.intra.certified, summary.total.cross.certified), (310, 200));
    assert_eq!((summary.total.all.per_second, summary.total.cross_debit.certified), (127.5, 200));
    assert_eq!((summary.per_committee[0].cross.certified, summary.per_committee[1].cross.certified), (0, 200));
    assert!(
        (summary.total.cross.latency_ms.p50 - 30.0).abs() < 0.1
            && (summary.total.intra.latency_ms.max - 10.0).abs() < 0.1
    );
    assert_eq!(summary.cpu_us_per_payment, 100.0);
    let faults = summary.faults.expect("there are faults");
    assert_eq!((faults.before_per_second, faults.during_per_second, faults.after_per_second), (150.0, 60.0, 150.0));
    assert!(summary.missed(&spec.limits).is_empty());
    let limits = Limits { certified_per_second_min: 128.0, p99_ms_max: 29.0, ..spec.limits.clone() };
    assert_eq!(summary.missed(&limits).len(), 2);
    let dir = tempfile::tempdir().expect("temp dir");
    let path = RunDir::new(dir.path()).summary();
    write_json(&path, &summary).expect("written");
    assert_eq!(read_json::<Summary>(&path).expect("read"), summary);
    assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1, "no temporary file is left");
}
