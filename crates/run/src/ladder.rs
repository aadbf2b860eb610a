//! Ladders of rates: the throughput at a latency bound, read from one run that climbs.
//!
//! Each run climbs a ladder of rates (`kind = "steps"`). What counts is the rate of certified payments at which the 99th
//! percentile crosses the bound: between the last step that kept it and the first that did not, linear in the logarithm
//! of the latency. The first part of each step does not count: the load has to settle.

use std::time::Duration;

use crate::latency::{LatencyInterval, LatencyKind, add_latencies, new_latencies};
use crate::spec::{Rate, Spec};

/// Share of each step in which the load settles.
const SETTLE: f64 = 0.3;

/// What a step has to keep to count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepObjective {
    /// Bound of the 99th percentile.
    pub p99_ms_max: f64,
    /// Share of the rate asked for that must be certified. What is certified in a step was offered a latency earlier,
    /// some of it at the lower rate of the step before.
    pub certified_min: f64,
}

impl StepObjective {
    /// The share that is taken when nothing else is said.
    pub const CERTIFIED_MIN: f64 = 0.9;

    /// A bound of the latency, and the usual share.
    pub const fn of(p99_ms_max: f64) -> Self {
        Self { p99_ms_max, certified_min: Self::CERTIFIED_MIN }
    }

    /// Reads a bound in milliseconds, as given on a command line.
    pub fn parse_p99_ms(text: &str) -> Result<f64, String> {
        let bound = text.parse().map_err(|_| "not a number of milliseconds".to_owned())?;
        if bound > 0.0 && f64::is_finite(bound) { Ok(bound) } else { Err("a bound above 0 is needed".to_owned()) }
    }

    /// Reads a share, as given on a command line.
    pub fn parse_certified_min(text: &str) -> Result<f64, String> {
        let share = text.parse().map_err(|_| "not a number".to_owned())?;
        if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("a share from 0 to 1 is needed".to_owned()) }
    }
}

/// One rate of a ladder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Payments/s asked for.
    pub asked: f64,
    /// Payments/s certified.
    pub certified: f64,
    /// 99th percentile of the latency.
    pub p99_ms: f64,
}

impl Step {
    fn keeps(&self, objective: StepObjective) -> bool {
        self.p99_ms <= objective.p99_ms_max && self.certified >= objective.certified_min * self.asked
    }
}

/// The throughput at a bound, and whether the ladder was long enough to reach it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reached {
    /// Payments/s.
    pub per_second: f64,
    /// Whether a step failed; else it is only known to be at least so much.
    pub bounded: bool,
}

/// Where the ladder crosses the bound; nothing when its first step does not keep it.
pub fn reached(ladder: &[Step], objective: StepObjective) -> Option<Reached> {
    let bound_ms = objective.p99_ms_max;
    let failed = ladder.iter().position(|step| !step.keeps(objective));
    let Some(failed) = failed else {
        let last = ladder.last()?;
        return Some(Reached { per_second: last.certified, bounded: false });
    };
    let (good, bad) = (ladder.get(failed.checked_sub(1)?)?, ladder[failed]);
    let share = if bad.p99_ms > bound_ms && good.p99_ms > 0.0 {
        (bound_ms.ln() - good.p99_ms.ln()) / (bad.p99_ms.ln() - good.p99_ms.ln())
    } else {
        0.0
    };
    let gained = (bad.certified - good.certified).max(0.0);
    Some(Reached { per_second: good.certified + share.clamp(0.0, 1.0) * gained, bounded: true })
}

/// The steps of a run: what was certified in the settled part of each. Nothing when its load is no ladder.
pub fn ladder(spec: &Spec, intervals: &[LatencyInterval]) -> Option<Vec<Step>> {
    let Rate::Steps { steps_per_second } = &spec.load.rate else { return None };
    let length = spec.duration_s / steps_per_second.len() as f64;
    let step = |(index, asked): (usize, &f64)| {
        let from = (index as f64 + SETTLE) * length;
        let to = (index as f64 + 1.0) * length;
        let (from, to) = (from.ceil(), to.floor());
        let mut all = new_latencies();
        let counts = |interval: &&LatencyInterval| {
            interval.tag.kind != LatencyKind::CrossDebit
                && interval.start >= Duration::from_secs_f64(from)
                && interval.start < Duration::from_secs_f64(to)
        };
        intervals.iter().filter(counts).for_each(|interval| add_latencies(&mut all, &interval.latencies));
        let certified = all.len() as f64 / (to - from).max(1.0);
        Step { asked: *asked, certified, p99_ms: all.value_at_quantile(0.99) as f64 / 1e3 }
    };
    Some(steps_per_second.iter().enumerate().map(step).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bounds_and_shares_that_a_step_can_keep_are_read() {
        assert_eq!(StepObjective::parse_p99_ms("2500"), Ok(2_500.0));
        assert_eq!(StepObjective::parse_certified_min("0.95"), Ok(0.95));
        for text in ["0", "-1", "NaN", "inf", "", "5s"] {
            assert!(StepObjective::parse_p99_ms(text).is_err(), "{text}");
        }
        for text in ["-0.1", "1.5", "90", "NaN", ""] {
            assert!(StepObjective::parse_certified_min(text).is_err(), "{text}");
        }
    }

    fn step(asked: f64, certified: f64, p99_ms: f64) -> Step {
        Step { asked, certified, p99_ms }
    }

    #[test]
    fn the_bound_is_crossed_between_two_steps() {
        let ladder = [step(100.0, 100.0, 50.0), step(200.0, 200.0, 100.0), step(300.0, 300.0, 400.0)];
        let of = StepObjective::of;
        let at = reached(&ladder, of(200.0)).unwrap();
        assert!((at.per_second - 250.0).abs() < 1e-6 && at.bounded, "{at:?}");
        assert_eq!(reached(&ladder, of(1_000.0)), Some(Reached { per_second: 300.0, bounded: false }));
        assert_eq!(reached(&ladder, of(10.0)), None);
        // a step that certifies too little fails whatever its latency
        let short = [step(100.0, 100.0, 50.0), step(200.0, 120.0, 60.0)];
        assert_eq!(reached(&short, of(200.0)), Some(Reached { per_second: 100.0, bounded: true }));
        let lenient = StepObjective { certified_min: 0.5, ..of(200.0) };
        assert_eq!(reached(&short, lenient), Some(Reached { per_second: 120.0, bounded: false }));
        assert_eq!(reached(&[], of(1.0)), None);
    }
}
