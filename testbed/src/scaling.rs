//! `testbed scaling`: what a sweep says of throughput and the number of committees, each with hardware of its own.
//!
//! Each run climbs a ladder of rates; its throughput at a latency bound counts (`shardpay_run::reached`). Repeats with the
//! same number had the same seed, so ratios are formed within a repeat.

use std::collections::BTreeMap;
use std::path::Path;

use shardpay_run::{
    Cross, Reached, RunDir, RunState, Spec, StepObjective, SweepRecord, ladder, latencies_of_run, reached, read_json,
};

use crate::failure::Failure;
use crate::report::Table;

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
pub fn report(dir: &Path, objective: StepObjective) -> Result<String, Failure> {
    let record: SweepRecord = read_json(&dir.join(SweepRecord::FILE))?;
    let mut found: BTreeMap<(String, usize), ByRepeat> = BTreeMap::new();
    let mut text = String::new();
    let all = crosses(&record, dir);
    for run in record.runs.iter().filter(|run| run.state == RunState::Passed) {
        let paths = RunDir::new(dir.join(&run.dir));
        let spec = Spec::load(&paths.spec(), &[])?;
        let Some(ladder) = ladder(&spec, &latencies_of_run(&paths, spec.load.processes)?) else {
            return Err(Failure::Usage(format!("{}: its load is no ladder (kind = \"steps\")", run.dir)));
        };
        let steps =
            ladder.iter().map(|step| format!("{:.0}→{:.0}/s {:.0} ms", step.asked, step.certified, step.p99_ms));
        text.push_str(&format!("{}: {}\n", run.dir, steps.collect::<Vec<_>>().join(", ")));
        let Some(reached) = reached(&ladder, objective) else {
            text.push_str(&format!("{}: not even the first step kept {} ms\n", run.dir, objective.p99_ms_max));
            continue;
        };
        for cross in all.iter().filter(|cross| belongs(&spec, **cross)) {
            found.entry((cross_name(*cross), spec.committees)).or_default().insert(run.repeat, reached);
        }
    }
    text.push_str(&table(&found, objective));
    Ok(text)
}

/// All cross-committee ratios of a sweep.
fn crosses(record: &SweepRecord, dir: &Path) -> Vec<Cross> {
    let spec = |run: &shardpay_run::SweepRun| Spec::load(&RunDir::new(dir.join(&run.dir)).spec(), &[]).ok();
    let mut all: Vec<Cross> = Vec::new();
    for cross in record.runs.iter().filter_map(spec).map(|spec| spec.load.cross) {
        if !all.contains(&cross) {
            all.push(cross);
        }
    }
    all
}

/// Whether a run belongs to a series of this ratio: with one committee there is no other to pay to, and of two the natural
/// share is a half.
fn belongs(spec: &Spec, cross: Cross) -> bool {
    let share = |cross: Cross| cross.share(spec.committees);
    spec.committees == 1 || (share(spec.load.cross) - share(cross)).abs() < 1e-9
}

fn table(found: &BTreeMap<(String, usize), ByRepeat>, objective: StepObjective) -> String {
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
    let StepObjective { p99_ms_max, certified_min } = objective;
    let head =
        format!("throughput at a 99th percentile of {p99_ms_max} ms, with {certified_min} of the rate certified");
    format!("\n{head}\n{}{note}\n", table.render(2))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let text = table(&found, StepObjective::of(500.0));
        let line = text.lines().find(|line| line.contains("285 ±")).unwrap();
        assert!(line.contains("0.95 ± 0.00"), "{text}");
    }
}
