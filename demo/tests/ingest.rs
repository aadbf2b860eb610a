//! How many points a second one core takes, and what ten minutes of 256 nodes take in memory.
//!
//! A measurement, so it is ignored unless asked for: on a machine that does nothing else,
//! `cargo test --release --workspace --test ingest -- --include-ignored --nocapture`. The app is tied to one core
//! by `taskset`; 256 servers (64 × 4) send it ten minutes of telemetry, gzipped, ten seconds in a write, as they would
//! after an outage. A rate counts the app's own processor time: HTTP, unpacking, reading and keeping.

mod common;

use std::time::Instant;

use common::feed::{Feed, now};
use common::{Demo, gzip};
use shardpay_types::Timestamp;

/// Seconds of telemetry, as many as the app keeps.
const SECONDS: u64 = 600;
const SECONDS_PER_WRITE: u64 = 10;
const POINTS_PER_SECOND_MIN: f64 = 200_000.0;
const MEMORY_MB_MAX: f64 = 300.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement that wants the machine to itself"]
async fn ten_minutes_of_256_nodes() {
    let demo = Demo::start(&[], &["taskset", "-c", "0"]).await;
    let write = demo.writer::<Vec<u8>>();
    let mut feed = Feed::new(64, 4);
    let begin = now().micros() - SECONDS * 1_000_000;
    let (mut points, mut bytes) = (0, 0);
    let (start, cpu) = (Instant::now(), demo.cpu_s());
    let mut batches: Vec<Vec<u8>> = Vec::new();
    for second in 0..SECONDS {
        let lines = feed.next(Timestamp::from_micros(begin + second * 1_000_000));
        batches.resize(lines.len(), Vec::new());
        batches.iter_mut().zip(lines).for_each(|(batch, lines)| batch.extend(lines));
        if (second + 1) % SECONDS_PER_WRITE > 0 {
            continue;
        }
        let mut writes = tokio::task::JoinSet::new();
        for batch in batches.drain(..) {
            points += batch.iter().filter(|byte| **byte == b'\n').count();
            bytes += batch.len();
            if writes.len() >= 4 {
                writes.join_next().await;
            }
            let request = write(gzip(&batch)).header("content-encoding", "gzip");
            writes.spawn(async move { assert_eq!(request.send().await.expect("an answer").status(), 204) });
        }
        writes.join_all().await;
    }
    let (cpu, wall) = (demo.cpu_s() - cpu, start.elapsed().as_secs_f64());
    let rate = points as f64 / cpu;
    let memory = demo.memory_mb("VmHWM");
    println!(
        "{points} points ({:.0} MB of lines) in {cpu:.1} s of one core ({wall:.1} s with who sends them): \
         {rate:.0} points/s; {memory:.0} MB resident at most",
        bytes as f64 / 1e6
    );
    let frame = demo.frame(|_| true, async || {}).await;
    println!("intake: {}", frame["intake"]);
    assert_eq!(frame["intake"]["not_kept"], 0);
    assert!(memory <= MEMORY_MB_MAX, "{memory} MB");
    assert!(rate >= POINTS_PER_SECOND_MIN, "{rate} points/s");
}
