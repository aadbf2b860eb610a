//! `testbed scaling`: what a sweep says of throughput and the number of committees, each with hardware of its own.
//!
//! Each run climbs a ladder of rates (`kind = "steps"`). What counts is the throughput at a bound of the latency: the rate
//! of certified payments at which the 99th percentile crosses the bound, between the last step that kept it and the
//! first that did not (linear in the logarithm of the latency). The first part of each step does not count: the load has to
//! settle. Repeats with the same number had the same seed, so ratios are formed within a repeat.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use shardpay_run::{
    Cross, LatencyInterval, LatencyKind, Rate, RunDir, RunState, Spec, SweepRecord, add_latencies, latencies_of_run,
    new_latencies, read_json,
};

use crate::failure::Failure;
use crate::report::Table;

/// Share of each step in which the load settles.
const SETTLE: f64 = 0.3;
/// Share of the rate asked for that a step must certify. What is certified in a step was offered a latency earlier, some of
/// it at the lower rate of the step before.
const CERTIFIED_MIN: f64 = 0.9;

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
    fn keeps(&self, bound_ms: f64) -> bool {
        self.p99_ms <= bound_ms && self.certified >= CERTIFIED_MIN * self.asked
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
pub fn reached(ladder: &[Step], bound_ms: f64) -> Option<Reached> {
    let failed = ladder.iter().position(|step| !step.keeps(bound_ms));
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

/// The steps of a run: what was certified in the settled part of each.
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

/// Mean and half the width of its 95 % interval (Student); no width for one value.
fn mean(values: &[f64]) -> (f64, Option<f64>) {
    /// Quantiles 0.975 for 1, 2, … degrees of freedom.
    const T: [f64; 9] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let Some(quantile) = values.len().checked_sub(2).map(|at| T.get(at).copied().unwrap_or(2.2)) else {
        return (mean, None);
    };
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, Some(quantile * (variance / count).sqrt()))
}

fn shown((mean, width): (f64, Option<f64>), digits: usize) -> String {
    match width {
        Some(width) => format!("{mean:.digits$} ± {width:.digits$}"),
        None => format!("{mean:.digits$}"),
    }
}

fn cross_name(cross: Cross) -> String {
    match cross {
        Cross::Natural => "natural".to_owned(),
        Cross::Ratio(ratio) => format!("{ratio}"),
    }
}

/// Throughputs by repeat.
type ByRepeat = BTreeMap<usize, Reached>;

/// The table of a sweep's directory.
pub fn report(dir: &Path, bound_ms: f64) -> Result<String, Failure> {
    let record: SweepRecord = read_json(&dir.join(SweepRecord::FILE))?;
    let mut found: BTreeMap<(String, usize), ByRepeat> = BTreeMap::new();
    let mut text = String::new();
    for run in record.runs.iter().filter(|run| run.state == RunState::Passed) {
        let paths = RunDir::new(dir.join(&run.dir));
        let spec = Spec::load(&paths.spec(), &[])?;
        let Some(ladder) = ladder(&spec, &latencies_of_run(&paths, spec.load.processes)?) else {
            return Err(Failure::Usage(format!("{}: its load is no ladder (kind = \"steps\")", run.dir)));
        };
        let steps =
            ladder.iter().map(|step| format!("{:.0}→{:.0}/s {:.0} ms", step.asked, step.certified, step.p99_ms));
        text.push_str(&format!("{}: {}\n", run.dir, steps.collect::<Vec<_>>().join(", ")));
        let Some(reached) = reached(&ladder, bound_ms) else {
            text.push_str(&format!("{}: not even the first step kept {bound_ms} ms\n", run.dir));
            continue;
        };
        // with one committee there is no other to pay to
        let crosses = if spec.committees == 1 { crosses(&record, dir) } else { vec![cross_name(spec.load.cross)] };
        for cross in crosses {
            found.entry((cross, spec.committees)).or_default().insert(run.repeat, reached);
        }
    }
    text.push_str(&table(&found, bound_ms));
    Ok(text)
}

/// All cross-committee ratios of a sweep.
fn crosses(record: &SweepRecord, dir: &Path) -> Vec<String> {
    let spec = |run: &shardpay_run::SweepRun| Spec::load(&RunDir::new(dir.join(&run.dir)).spec(), &[]).ok();
    let mut all: Vec<String> = record.runs.iter().filter_map(spec).map(|spec| cross_name(spec.load.cross)).collect();
    all.sort();
    all.dedup();
    all
}

fn table(found: &BTreeMap<(String, usize), ByRepeat>, bound_ms: f64) -> String {
    let mut table = Table::new(&["cross", "committees", "runs", "payments/s", "of k × T(1)", "of T(k/2) × 2"]);
    for ((cross, committees), repeats) in found {
        let rates: Vec<f64> = repeats.values().map(|reached| reached.per_second).collect();
        let bounded = repeats.values().all(|reached| reached.bounded);
        let ratio = |base: usize| {
            let base_repeats = found.get(&(cross.clone(), base))?;
            let factor = *committees as f64 / base as f64;
            let ratio = |(repeat, reached): (&usize, &Reached)| {
                Some(reached.per_second / (factor * base_repeats.get(repeat)?.per_second))
            };
            let ratios: Vec<f64> = repeats.iter().filter_map(ratio).collect();
            (!ratios.is_empty()).then(|| shown(mean(&ratios), 2))
        };
        let half = committees.is_multiple_of(2).then(|| ratio(committees / 2)).flatten();
        table.row([
            cross.clone(),
            committees.to_string(),
            rates.len().to_string(),
            format!("{}{}", if bounded { "" } else { "at least " }, shown(mean(&rates), 0)),
            ratio(1).unwrap_or_else(|| "-".to_owned()),
            half.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    let note =
        "mean ± half of the 95 % interval over repeats (Student); \"at least\": the ladder ended below the bound";
    format!("\nthroughput at a 99th percentile of {bound_ms} ms\n{}{note}\n", table.render(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(asked: f64, certified: f64, p99_ms: f64) -> Step {
        Step { asked, certified, p99_ms }
    }

    #[test]
    fn the_bound_is_crossed_between_two_steps() {
        let ladder = [step(100.0, 100.0, 50.0), step(200.0, 200.0, 100.0), step(300.0, 300.0, 400.0)];
        let at = reached(&ladder, 200.0).unwrap();
        assert!((at.per_second - 250.0).abs() < 1e-6 && at.bounded, "{at:?}");
        assert_eq!(reached(&ladder, 1_000.0), Some(Reached { per_second: 300.0, bounded: false }));
        assert_eq!(reached(&ladder, 10.0), None);
        // a step that certifies too little fails whatever its latency
        let short = [step(100.0, 100.0, 50.0), step(200.0, 120.0, 60.0)];
        assert_eq!(reached(&short, 200.0), Some(Reached { per_second: 100.0, bounded: true }));
        assert_eq!(reached(&[], 1.0), None);
    }

    #[test]
    fn intervals_are_those_of_student() {
        let (middle, width) = mean(&[9.0, 10.0, 11.0]);
        assert!((middle - 10.0).abs() < 1e-9 && (width.unwrap() - 2.484).abs() < 1e-3, "{width:?}");
        assert_eq!(shown(mean(&[7.0]), 1), "7.0");
    }

    #[test]
    fn ratios_are_formed_within_a_repeat() {
        let at = |per_second| Reached { per_second, bounded: true };
        let one: ByRepeat = [(1, at(100.0)), (2, at(200.0))].into();
        let two: ByRepeat = [(1, at(190.0)), (2, at(380.0))].into();
        let found = [(("0".to_owned(), 1), one), (("0".to_owned(), 2), two)].into();
        let text = table(&found, 500.0);
        let line = text.lines().find(|line| line.contains("285 ±")).unwrap();
        assert!(line.contains("0.95 ± 0.00"), "{text}");
    }
}
