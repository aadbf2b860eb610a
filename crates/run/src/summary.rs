//! `summary.json`: the figures of a run. The keys are documented in `docs/RUNS.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use shardpay_types::CommitteeId;

use crate::latency::{LatencyInterval, LatencyKind, add_latencies, new_latencies};
use crate::result::LoadResult;
use crate::shortfall::Shortfall;
use crate::spec::{Durability, Limits, Spec};
use crate::warmup::WarmUpCut;

/// Latencies of one kind, in milliseconds. All 0 when `count` is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct LatencyMs {
    /// Payments.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl LatencyMs {
    /// Of a histogram in microseconds.
    pub fn of(us: &Histogram<u64>) -> Self {
        if us.is_empty() {
            return Self::default();
        }
        let ms = |us: u64| us as f64 / 1_000.0;
        let at = |share| ms(us.value_at_quantile(share));
        let (p50, p90, p99, p999) = (at(0.5), at(0.9), at(0.99), at(0.999));
        Self { count: us.len(), mean: us.mean() / 1_000.0, p50, p90, p99, p999, max: ms(us.max()) }
    }
}

/// Certified payments of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Flow {
    /// Payments certified in the measured part.
    pub certified: u64,
    /// Per second of it.
    pub per_second: f64,
    /// From intended send to certificate.
    pub latency_ms: LatencyMs,
}

/// Certified payments of a committee, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Within the committee.
    pub intra: Flow,
    /// Paid from another committee: counted when the credit is certified here.
    pub cross: Flow,
    /// Paid to another committee: the debits certified here. Counted in no sum.
    pub cross_debit: Flow,
    /// `intra` and `cross` together.
    pub all: Flow,
}

/// Certified payments/s before, during and after the faults.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Phases {
    /// From the warm-up's end to the first fault.
    pub before_per_second: f64,
    /// From the first fault to the end of the last.
    pub during_per_second: f64,
    /// From there on.
    pub after_per_second: f64,
}

/// What the processes of the run used, measured by who started them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MachineUse {
    /// CPU time in the measured part by kind of program (node, signaler, loadgen), in microseconds.
    pub cpu_us: BTreeMap<String, u64>,
    /// Bytes of all stores when the run ended.
    pub store_bytes: u64,
    /// Largest resident memory of a node.
    pub node_memory_bytes_max: u64,
}

/// The figures of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Version of these keys.
    pub version: u32,
    /// The spec's name.
    pub name: String,
    /// Whether every check of the verdict passed. A run that fails is not a result.
    pub verdict_passed: bool,
    /// Number of committees.
    pub committees: usize,
    /// Nodes in each.
    pub nodes_per_committee: usize,
    /// Of every node.
    pub durability: Durability,
    /// Seconds measured: the load without its warm-up.
    pub measured_s: f64,
    /// What was cut as warm-up.
    pub warmup: WarmUpCut,
    /// Payments offered per second, over the whole load.
    pub offered_per_second: f64,
    /// Share of the offered payments that were sent.
    pub kept_rate: f64,
    /// Rate found by the probe of a fraction load, per second.
    pub probe_per_second: f64,
    /// Over all committees.
    pub total: Figures,
    /// By committee.
    pub per_committee: Vec<Figures>,
    /// Transactions refused and answers `Busy`, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Payments offered and not sent.
    pub skipped: u64,
    /// Payments neither certified nor refused when the run ended.
    pub unresolved: u64,
    /// CPU time over all processes per certified payment, in microseconds.
    pub cpu_us_per_payment: f64,
    /// What the processes used.
    pub machine: MachineUse,
    /// Only with faults.
    pub faults: Option<Phases>,
    /// Why the load fell short of what was asked; empty when it did not.
    pub shortfalls: Vec<Shortfall>,
}

/// Certified payments from a set of intervals, with their latencies.
fn flow<'a>(intervals: impl Iterator<Item = &'a LatencyInterval>, seconds: f64) -> Flow {
    let mut all = new_latencies();
    for interval in intervals {
        add_latencies(&mut all, &interval.latencies);
    }
    Flow { certified: all.len(), per_second: all.len() as f64 / seconds, latency_ms: LatencyMs::of(&all) }
}

/// The figures of a committee, or of all.
fn figures(intervals: &[&LatencyInterval], committee: Option<CommitteeId>, seconds: f64) -> Figures {
    let of = |kinds: &'static [LatencyKind]| {
        let chosen = intervals.iter().copied().filter(move |interval| {
            kinds.contains(&interval.tag.kind) && committee.is_none_or(|committee| committee == interval.tag.committee)
        });
        flow(chosen, seconds)
    };
    Figures {
        intra: of(&[LatencyKind::Intra]),
        cross: of(&[LatencyKind::CrossCredit]),
        cross_debit: of(&[LatencyKind::CrossDebit]),
        all: of(&[LatencyKind::Intra, LatencyKind::CrossCredit]),
    }
}

impl Summary {
    /// Version of the keys described in `docs/RUNS.md`.
    pub const VERSION: u32 = 3;

    /// Works the figures out. Intervals that begin within the load, after the warm-up, count;
    /// `latencies` are those of all loadgen processes, `load` is their merged result.
    pub fn of(
        spec: &Spec,
        load: &LoadResult,
        latencies: &[LatencyInterval],
        machine: MachineUse,
        verdict_passed: bool,
    ) -> Self {
        let cut = WarmUpCut::of(spec, latencies);
        let (warmup, end) = (cut.cut(), spec.duration());
        let counts = |interval: &&LatencyInterval| interval.start >= warmup && interval.start < end;
        let measured: Vec<&LatencyInterval> = latencies.iter().filter(counts).collect();
        let measured_s = (end - warmup).as_secs_f64();
        let total = figures(&measured, None, measured_s);
        let by_committee = |committee| figures(&measured, Some(CommitteeId::at(committee)), measured_s);
        let cpu_us: u64 = machine.cpu_us.values().sum();
        Self {
            version: Self::VERSION,
            name: spec.name.clone(),
            verdict_passed,
            committees: spec.committees,
            nodes_per_committee: spec.nodes_per_committee,
            durability: spec.durability,
            measured_s,
            warmup: cut,
            offered_per_second: if load.seconds > 0.0 { load.offered as f64 / load.seconds } else { 0.0 },
            kept_rate: load.kept_rate(),
            probe_per_second: load.probe_per_second,
            total,
            per_committee: (0..spec.committees).map(by_committee).collect(),
            refusals: load.refusals.clone(),
            skipped: load.skipped,
            unresolved: load.unresolved,
            cpu_us_per_payment: if total.all.certified > 0 { cpu_us as f64 / total.all.certified as f64 } else { 0.0 },
            machine,
            faults: spec.fault_window().map(|window| phases(&measured, (warmup, end), window)),
            shortfalls: load.shortfalls.clone(),
        }
    }
}

impl Summary {
    /// The objectives of the spec that the figures miss, in words; a run that misses one fails.
    pub fn missed(&self, limits: &Limits) -> Vec<String> {
        let (rate, p99) = (self.total.all.per_second, self.total.all.latency_ms.p99);
        let mut missed = Vec::new();
        if !self.warmup.steady {
            missed.push("the load was never steady before its second half (MSER-5)".to_owned());
        }
        if rate < limits.certified_per_second_min {
            missed.push(format!("{rate:.0} certified payments/s, {} asked for", limits.certified_per_second_min));
        }
        if limits.p99_ms_max > 0.0 && p99 > limits.p99_ms_max {
            missed.push(format!("p99 {p99:.1} ms, {} allowed", limits.p99_ms_max));
        }
        missed
    }
}

/// Certified payments/s in each phase, by where the middle of an interval lies; 0 for an empty phase.
fn phases(measured: &[&LatencyInterval], load: (Duration, Duration), window: (Duration, Duration)) -> Phases {
    let rate = |from: Duration, to: Duration| {
        let within = |interval: &&&LatencyInterval| (from..to).contains(&(interval.start + interval.length / 2));
        let counted = measured.iter().filter(|interval| interval.tag.kind != LatencyKind::CrossDebit);
        let certified: u64 = counted.filter(within).map(|interval| interval.latencies.len()).sum();
        let seconds = to.saturating_sub(from).as_secs_f64();
        if seconds > 0.0 { certified as f64 / seconds } else { 0.0 }
    };
    let (first, last) = (window.0.clamp(load.0, load.1), window.1.clamp(load.0, load.1));
    Phases {
        before_per_second: rate(load.0, first),
        during_per_second: rate(first, last),
        after_per_second: rate(last, load.1),
    }
}
