//! What measuring costs on the hot path, and what an interval's lines cost.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shardpay_telemetry::{Recorder, ServerTag, Stage, names};
use shardpay_types::{CommitteeId, MemberIndex, Timestamp};

fn telemetry(criterion: &mut Criterion) {
    let recorder = Recorder::new(ServerTag::node(CommitteeId::at(0), MemberIndex::at(0)));
    let counter = recorder.counter(names::PAYMENTS_VERIFIED);
    let histogram = recorder.stage(Stage::Certified);
    let mut group = criterion.benchmark_group("telemetry");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(1));
    group.bench_function("counter", |b| b.iter(|| counter.add(black_box(1))));
    let mut us = 0;
    group.bench_function("histogram", |b| {
        b.iter(|| {
            us = (us + 7_919) % 1_000_000;
            histogram.record(black_box(us));
        });
    });
    group.bench_function("labelled", |b| {
        b.iter(|| recorder.counter_of(names::TRANSACTIONS_REFUSED, black_box("busy")).add(1));
    });
    for name in
        [names::PAYMENTS_ADMITTED, names::PAYMENTS_COMMITTED, names::PAYMENTS_EXECUTED, names::PAYMENTS_CERTIFIED]
    {
        recorder.counter(name).add(1);
    }
    group.bench_function(BenchmarkId::new("snapshot", "histograms=6,counters=5"), |b| {
        let stages =
            [Stage::Received, Stage::Verified, Stage::Proposed, Stage::Committed, Stage::Executed, Stage::Certified];
        let mut out = Vec::new();
        b.iter(|| {
            stages.iter().for_each(|stage| recorder.stage(*stage).record(black_box(5_000)));
            out.clear();
            recorder.snapshot(Timestamp::from_millis(1), &mut out);
            out.len()
        });
    });
    group.finish();
}

criterion_group!(benches, telemetry);
criterion_main!(benches);
