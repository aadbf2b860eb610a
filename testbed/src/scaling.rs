//! `testbed scaling`: what a sweep says of throughput and the number of committees, each with hardware of its own.
//!
//! Each run climbs a ladder of rates; its throughput at a latency bound counts (`shardpay_run::reached`). Repeats with the
//! same number had the same seed, so ratios are formed within a repeat.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use shardpay_run::{
    Cross, RunDir, RunState, Spec, StepObjective, SweepRecord, ladder, latencies_of_run, reached, read_json,
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

/// Payments/s of each repeat, by ratio and number of committees.
type Rates = BTreeMap<(String, usize), BTreeMap<usize, f64>>;

/// What the ladders of a sweep say.
#[derive(Default)]
struct Found {
    /// Throughput at the bound.
    bound: Rates,
    /// Points of which a run kept its last step, too.
    open: BTreeSet<(String, usize)>,
    /// The most that was certified on any step: no bound, no rule.
    most: Rates,
}

/// The table of a sweep's directory.
pub fn report(dir: &Path, objective: StepObjective) -> Result<String, Failure> {
    let record: SweepRecord = read_json(&dir.join(SweepRecord::FILE))?;
    let mut found = Found::default();
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
        let reached = reached(&ladder, objective);
        if reached.is_none() {
            text.push_str(&format!("{}: not even the first step kept {} ms\n", run.dir, objective.p99_ms_max));
        }
        let most = ladder.iter().map(|step| step.certified).fold(0.0, f64::max);
        for cross in all.iter().filter(|cross| belongs(&spec, **cross)) {
            let key = (cross_name(*cross), spec.committees);
            found.most.entry(key.clone()).or_default().insert(run.repeat, most);
            if let Some(reached) = reached {
                found.bound.entry(key.clone()).or_default().insert(run.repeat, reached.per_second);
                if !reached.bounded {
                    found.open.insert(key);
                }
            }
        }
    }
    let StepObjective { p99_ms_max, certified_min } = objective;
    text.push_str(&format!(
        "\nthroughput at a 99th percentile of {p99_ms_max} ms, with {certified_min} of the rate certified\n{}\n\
         most certified on any step, whatever its latency\n{}mean ± half of the 95 % interval over repeats (Student); \
         \"at least\": the ladder ended below the bound\n",
        table(&found.bound, &found.open).render(2),
        table(&found.most, &BTreeSet::new()).render(2),
    ));
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

fn table(rates: &Rates, open: &BTreeSet<(String, usize)>) -> Table {
    let mut table = Table::new(&["cross", "committees", "runs", "payments/s", "T(k) ÷ k T(1)", "T(k) ÷ T(k/2)"]);
    for (key, repeats) in rates {
        let (cross, committees) = key;
        let over = |base: usize, factor: usize| {
            let base_repeats = rates.get(&(cross.clone(), base))?;
            let ratio =
                |(repeat, rate): (&usize, &f64)| Some(rate / (factor as f64 * base_repeats.get(repeat).copied()?));
            let ratios: Vec<f64> = repeats.iter().filter_map(ratio).collect();
            (!ratios.is_empty()).then(|| shown(mean(&ratios), 2))
        };
        let half = committees.is_multiple_of(2).then(|| over(committees / 2, 1)).flatten();
        let all: Vec<f64> = repeats.values().copied().collect();
        table.row([
            cross.clone(),
            committees.to_string(),
            all.len().to_string(),
            format!("{}{}", if open.contains(key) { "at least " } else { "" }, shown(mean(&all), 0)),
            over(1, *committees).unwrap_or_else(|| "-".to_owned()),
            half.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table
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
        let rates: Rates = [
            (("0".to_owned(), 1), [(1, 100.0), (2, 200.0)].into()),
            (("0".to_owned(), 2), [(1, 190.0), (2, 380.0), (3, 285.0)].into()),
        ]
        .into();
        let text = table(&rates, &[("0".to_owned(), 1)].into()).render(2);
        let line =
            |committees: &str| text.lines().find(|line| line.contains(committees)).unwrap_or_default().to_owned();
        assert!(line("285 ±").contains("0.95 ± 0.00") && line("285 ±").contains("1.90 ± 0.00"), "{text}");
        assert!(line("150 ±").contains("at least 150 ±"), "{text}");
    }
}
