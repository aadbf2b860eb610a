//! A server that stalls must show in the latency of every payment that was due while it did.
//!
//! The load generator's own schedule and pacer send on a clock made here; the server answers after 5 ms, but nothing
//! from second 4 to second 6. The figures that follow can be worked out by hand.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::{analysis, made_run, spec};
use shardpay_loadgen::pacer::{Pace, Pacer};
use shardpay_loadgen::random::Chance;
use shardpay_loadgen::schedule::Schedule;
use shardpay_run::{
    LatencyInterval, LatencyKind, LatencyTag, LatencyWriter, LoadResult, RunDir, Summary, latencies_of_run,
    new_latencies, read_json, write_json,
};
use shardpay_types::CommitteeId;

const ANSWER: Duration = Duration::from_millis(5);
const STALL: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(6));

/// When the server answers what was sent at `sent`.
fn answered(sent: Duration) -> Duration {
    let done = sent + ANSWER;
    if done >= STALL.0 && done < STALL.1 { STALL.1 } else { done }
}

/// Intended time and end of every payment of an open loop of 1,000/s over ten seconds.
fn open_loop() -> Vec<(Duration, Duration)> {
    let (start, length) = (Instant::now(), Duration::from_secs(10));
    let rate = shardpay_run::Rate::Constant { per_second: 1_000.0 };
    let schedule = Schedule::new(&rate, length, (0, 1), Chance::new(1, "stall", 0)).expect("an open loop");
    let mut pacer = Pacer::new(Pace::Open(schedule), start, length, 50_000);
    let mut payments: Vec<(Duration, Duration)> = Vec::new();
    let mut now = Duration::ZERO;
    while !pacer.over(start + now) {
        let in_flight = payments.iter().filter(|(_, end)| *end > now).count();
        payments.extend(pacer.due(start + now, in_flight).into_iter().map(|due| (due - start, answered(now))));
        now += Duration::from_millis(1);
    }
    assert_eq!((payments.len(), pacer.skipped()), (10_000, 0), "the stall does not slow the load");
    payments
}

#[test]
fn a_stall_shows_in_the_latency_of_all_who_had_to_wait() {
    let dir = tempfile::tempdir().expect("temp dir");
    let spec = spec(&["duration_s=10", "warmup_s=0", "load.rate.per_second=1000"]);
    made_run(dir.path(), &spec, (1_000, 5));
    let paths = RunDir::new(dir.path());
    let payments = open_loop();
    let tag = LatencyTag { kind: LatencyKind::Intra, committee: CommitteeId::at(0) };
    let mut writer = LatencyWriter::create(&paths.latencies(0), std::time::UNIX_EPOCH).expect("made");
    let mut longest_of_a_closed_loop = 0;
    for second in 0..11 {
        let mut latencies = new_latencies();
        for (intended, end) in payments.iter().filter(|(_, end)| end.as_secs() == second) {
            latencies.saturating_record(u64::try_from((*end - *intended).as_micros()).expect("short"));
        }
        let (start, length) = (Duration::from_secs(second), Duration::from_secs(1));
        writer.write(&LatencyInterval { tag, start, length, latencies }).expect("written");
    }
    let load: LoadResult = read_json(&paths.load_result(0)).expect("a result");
    let all = latencies_of_run(&paths, 1).expect("latencies");
    let earlier: Summary = read_json(&paths.summary()).expect("a summary");
    let summary = Summary::of(&spec, &load, &all, earlier.machine, true);
    write_json(&paths.summary(), &summary).expect("written");

    // a fifth of the payments waited 0 to 2 s, evenly: the 90th percentile is half of that
    let latency = summary.total.all.latency_ms;
    let near = |value: f64, wanted: f64| (value - wanted).abs() <= 0.02 * wanted;
    assert!(near(latency.p50, 5.0), "{latency:?}");
    assert!(near(latency.p90, 1_000.0) && near(latency.p99, 1_900.0) && near(latency.max, 2_000.0), "{latency:?}");
    // one that waits for each answer before it sends again has one long latency in about 1,600, below its 99th percentile
    let (mut now, mut waits) = (Duration::ZERO, Vec::new());
    while now < Duration::from_secs(10) {
        let end = answered(now);
        waits.push(end - now);
        longest_of_a_closed_loop = longest_of_a_closed_loop.max((end - now).as_millis());
        now = end;
    }
    waits.sort();
    assert!(
        waits[waits.len() * 99 / 100] == ANSWER && longest_of_a_closed_loop > 1_990,
        "coordinated omission hides it"
    );

    // and the report has it where it was
    let out = dir.path().join("out");
    let (code, said) = analysis(&["report", dir.path().to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    let csv = fs::read_to_string(out.join("over-time.csv")).expect("data");
    let row = |second: usize| -> Vec<f64> {
        csv.lines().nth(second + 1).expect("a second").split(',').map(|cell| cell.parse().expect("a number")).collect()
    };
    assert_eq!((row(4)[1], row(5)[1]), (0.0, 0.0), "{csv}");
    assert!(row(6)[1] > 2_990.0 && near(row(6)[3], 1_970.0) && near(row(3)[3], 5.0), "{csv}");
}
