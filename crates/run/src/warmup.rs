//! What of a run's beginning does not count: fixed seconds, or what MSER-5 finds, by the spec's rule.
//!
//! Two series of one value per second are looked at, certified payments and mean latency: the later cut of the two
//! counts. A second in which nothing was certified has the latency of the one before.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::latency::{LatencyInterval, LatencyKind};
use crate::mser::{WarmUp, mser5};
use crate::spec::{Spec, WarmupRule};

/// What was cut.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WarmUpCut {
    /// By which rule.
    pub rule: WarmupRule,
    /// Seconds from the beginning of the load that do not count.
    pub cut_s: f64,
    /// Whether a steady part was found; a fixed cut says nothing about it and is always steady.
    pub steady: bool,
}

impl WarmUpCut {
    /// What the spec's rule cuts from a load with these latencies.
    pub fn of(spec: &Spec, latencies: &[LatencyInterval]) -> Self {
        let fixed = Self { rule: spec.warmup, cut_s: spec.warmup_s, steady: true };
        match spec.warmup {
            WarmupRule::Fixed => fixed,
            WarmupRule::Mser5 => match steady_after(spec, latencies) {
                Some(seconds) => Self { cut_s: spec.warmup_s + seconds as f64, ..fixed },
                None => Self { steady: false, ..fixed },
            },
        }
    }

    /// The cut as a duration.
    pub fn cut(&self) -> Duration {
        Duration::from_secs_f64(self.cut_s)
    }
}

/// Seconds after the fixed part from which on both series are steady.
fn steady_after(spec: &Spec, latencies: &[LatencyInterval]) -> Option<usize> {
    let seconds = (spec.duration_s - spec.warmup_s).floor() as usize;
    let mut counts = vec![0.0; seconds];
    let mut sums = vec![0.0; seconds];
    for interval in latencies.iter().filter(|interval| interval.tag.kind != LatencyKind::CrossDebit) {
        let Some(after) = interval.start.checked_sub(spec.warmup()) else { continue };
        let Some(second) = counts.get_mut(after.as_secs() as usize) else { continue };
        let count = interval.latencies.len() as f64;
        *second += count;
        sums[after.as_secs() as usize] += interval.latencies.mean() * count;
    }
    let mut before = 0.0;
    let means = counts.iter().zip(&sums).map(|(count, sum)| {
        before = if *count > 0.0 { sum / count } else { before };
        before
    });
    let means: Vec<f64> = means.collect();
    let cuts = [mser5(&counts), mser5(&means)].map(|found| match found {
        WarmUp::EndsAfter(seconds) => Some(seconds),
        WarmUp::NeverSteady | WarmUp::TooShort => None,
    });
    Some(cuts[0]?.max(cuts[1]?))
}

#[cfg(test)]
mod tests {
    use shardpay_types::CommitteeId;

    use super::*;
    use crate::latency::{LatencyTag, new_latencies};

    fn spec(more: &str) -> Spec {
        let text = format!("name = 'x'\ncommittees = 1\nnodes_per_committee = 1\nduration_s = 60\n{more}");
        Spec::parse("x", &text, &[]).expect("a good spec")
    }

    /// A load whose second `i` certifies `count(i)` payments of `us(i)` microseconds.
    fn load(count: impl Fn(u64) -> u64, us: impl Fn(u64) -> u64) -> Vec<LatencyInterval> {
        let tag = LatencyTag { kind: LatencyKind::Intra, committee: CommitteeId::at(0) };
        let second = |i| {
            let mut latencies = new_latencies();
            latencies.saturating_record_n(us(i), count(i));
            LatencyInterval { tag, start: Duration::from_secs(i), length: Duration::from_secs(1), latencies }
        };
        (0..60).map(second).collect()
    }

    #[test]
    fn a_fixed_cut_is_what_the_spec_says() {
        let cut = WarmUpCut::of(&spec("warmup_s = 3"), &load(|i| i, |i| i));
        assert_eq!((cut.rule, cut.cut_s, cut.steady), (WarmupRule::Fixed, 3.0, true));
    }

    #[test]
    fn the_later_of_both_series_counts_and_comes_on_top_of_the_fixed_part() {
        let by_rule = spec("warmup = 'mser5'");
        let steady = load(|i| 1_000 + i % 3, |i| 10_000 + i % 7);
        assert_eq!(WarmUpCut::of(&by_rule, &steady).cut_s % 5.0, 0.0);
        // payments are steady from second 5 on, latencies from second 15 on
        let late =
            load(|i| if i < 5 { 10 } else { 1_000 + i % 3 }, |i| if i < 15 { 90_000 - i * 5_000 } else { 10_000 });
        let cut = WarmUpCut::of(&by_rule, &late);
        assert_eq!((cut.cut_s, cut.steady), (15.0, true));
        let cut = WarmUpCut::of(&spec("warmup = 'mser5'\nwarmup_s = 2"), &late);
        assert_eq!((cut.cut_s, cut.steady), (17.0, true));
    }

    #[test]
    fn a_queue_that_grows_to_the_end_is_not_steady() {
        let cut = WarmUpCut::of(&spec("warmup = 'mser5'"), &load(|_| 1_000, |i| 10_000 + i * i * 100));
        assert_eq!((cut.cut_s, cut.steady), (0.0, false));
    }

    #[test]
    fn mser5_needs_four_batches() {
        let text = "name = 'x'\ncommittees = 1\nnodes_per_committee = 1\nduration_s = 19\nwarmup = 'mser5'";
        let said = Spec::parse("x", text, &[]).expect_err("too short").to_string();
        assert!(said.starts_with("x:5: warmup: mser5 needs"), "{said}");
    }
}
