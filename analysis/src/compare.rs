//! Is one set of repeats slower than another?
//!
//! Guarantees: fewer than [`REPEATS_MIN`] repeats a side are refused, as are runs of different specs and void runs.
//! A metric is worse only when three things hold together: Mann–Whitney's p after Holm's correction over all metrics is
//! below [`ALPHA`], the median is worse by at least the effect asked for, and the bootstrap interval of the ratio of
//! medians leaves out 1. On unchanged code a false alarm in any of the metrics comes in fewer than 1 of 20 comparisons.

mod page;

use std::fmt::Write as _;

use serde::Serialize;
use shardpay_run::Summary;

use crate::metrics::{Better, Metric, PRIMARY};
use crate::runs::{Run, without_chance};
use crate::stats::{Bootstrap, Interval, RankSum, holm, median};

pub use page::write;

/// Fewest repeats a side: with six, complete separation has p = 0.002, which survives the correction for eight metrics.
pub const REPEATS_MIN: usize = 6;
/// Chance of a false alarm in all metrics together.
pub const ALPHA: f64 = 0.05;
/// Smallest change of a median that counts, when none is given.
pub const EFFECT_MIN: f64 = 0.03;

/// What became of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Worse, beyond noise and beyond the effect asked for.
    Worse,
    /// Better, likewise.
    Better,
    /// Neither was shown.
    Unclear,
}

impl Change {
    /// In tables.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Worse => "WORSE",
            Self::Better => "better",
            Self::Unclear => "no change shown",
        }
    }
}

/// One metric compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub metric: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
    /// Repeats of the first side.
    pub first: Vec<f64>,
    /// Repeats of the second side.
    pub second: Vec<f64>,
    /// Median of the second side over that of the first.
    pub ratio: f64,
    /// 95 % of it.
    pub interval: Interval,
    /// Two-sided, of the rank sums.
    pub p: f64,
    /// After Holm's correction.
    pub p_corrected: f64,
    /// What that says.
    pub change: Change,
}

/// All metrics compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// A row per metric.
    pub rows: Vec<Row>,
    /// Smallest change of a median that counts.
    pub effect_min: f64,
}

/// Why two sets of runs cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// Too few repeats.
    #[error(
        "the {side} side has {repeats} repeats, at least {REPEATS_MIN} are needed: with fewer, no difference can be told from noise"
    )]
    TooFew {
        /// `first` or `second`.
        side: &'static str,
        /// How many it has.
        repeats: usize,
    },
    /// Not repeats of one experiment.
    #[error(
        "{run} ran another spec than {other} (seed and name aside): only repeats of one experiment can be compared"
    )]
    OtherSpec {
        /// A run.
        run: String,
        /// The run it was held against.
        other: String,
    },
    /// A void run.
    #[error("{run} is void: {why}")]
    Void {
        /// The run.
        run: String,
        /// Why.
        why: String,
    },
    /// Another machine.
    #[error("{run} ran on another machine than {other}: {difference}")]
    OtherMachine {
        /// A run.
        run: String,
        /// The run it was held against.
        other: String,
        /// What differs.
        difference: String,
    },
}

/// Refuses what cannot be compared.
pub fn comparable(first: &[Run], second: &[Run]) -> Result<(), CompareError> {
    for (side, runs) in [("first", first), ("second", second)] {
        if runs.len() < REPEATS_MIN {
            return Err(CompareError::TooFew { side, repeats: runs.len() });
        }
    }
    let reference = &first[0];
    let name = |run: &Run| run.dir.display().to_string();
    for run in first.iter().chain(second) {
        if let Some(why) = run.void_because() {
            return Err(CompareError::Void { run: name(run), why });
        }
        if without_chance(run.spec()) != without_chance(reference.spec()) {
            return Err(CompareError::OtherSpec { run: name(run), other: name(reference) });
        }
        let (host, other) = (&run.record.host, &reference.record.host);
        if (&host.cpu_model, host.cores) != (&other.cpu_model, other.cores) {
            let facts = |host: &shardpay_run::HostFacts| format!("{} cores of {}", host.cores, host.cpu_model);
            let difference = format!("{}, not {}", facts(host), facts(other));
            return Err(CompareError::OtherMachine { run: name(run), other: name(reference), difference });
        }
    }
    Ok(())
}

/// Compares the summaries of two sets of repeats in the primary metrics.
pub fn compare(first: &[&Summary], second: &[&Summary], effect_min: f64) -> Comparison {
    let mut bootstrap = Bootstrap::new(1);
    let mut rows: Vec<Row> = Vec::new();
    for metric in PRIMARY {
        let of = |side: &[&Summary]| side.iter().map(|summary| (metric.of)(summary)).collect::<Vec<f64>>();
        rows.extend(row(metric, of(first), of(second), &mut bootstrap));
    }
    decide(&mut rows, effect_min);
    Comparison { rows, effect_min }
}

/// Corrects for all tests made together, and says of each row what it shows.
pub(crate) fn decide(rows: &mut [Row], effect_min: f64) {
    let corrected = holm(&rows.iter().map(|row| row.p).collect::<Vec<_>>());
    for (row, p_corrected) in rows.iter_mut().zip(corrected) {
        row.p_corrected = p_corrected;
        let shown = p_corrected < ALPHA && !row.interval.contains(1.0) && (row.ratio - 1.0).abs() >= effect_min;
        row.change = match (shown, row.better, row.ratio > 1.0) {
            (false, ..) => Change::Unclear,
            (true, Better::Higher, true) | (true, Better::Lower, false) => Change::Better,
            (true, Better::Higher, false) | (true, Better::Lower, true) => Change::Worse,
        };
    }
}

/// What makes a comparison of good runs worth less than its figures say.
pub fn cautions(first: &[Run], second: &[Run]) -> Vec<String> {
    let span = |runs: &[Run]| {
        let started = runs.iter().map(|run| run.record.started_us);
        (started.clone().min().unwrap_or_default(), started.max().unwrap_or_default())
    };
    let (a, b) = (span(first), span(second));
    let mut cautions = Vec::new();
    if a.1 < b.0 || b.1 < a.0 {
        cautions.push(
            "all runs of one side were made before all of the other: what changed on the machine in between looks like a \
             change of the program; take turns to be sure"
                .to_owned(),
        );
    }
    let modified = |runs: &[Run]| runs.iter().any(|run| run.record.git.modified);
    if modified(first) || modified(second) {
        cautions.push("some runs were made with uncommitted changes: their commit does not say what ran".to_owned());
    }
    cautions
}

/// A metric that is 0 or unknown on a side (no disk figure, say) has no ratio and is left out.
pub(crate) fn row(metric: Metric, first: Vec<f64>, second: Vec<f64>, bootstrap: &mut Bootstrap) -> Option<Row> {
    let usable = |side: &[f64]| side.iter().all(|value| value.is_finite() && *value > 0.0);
    if !usable(&first) || !usable(&second) {
        return None;
    }
    let ratio = |first: &[f64], second: &[f64]| median(second) / median(first);
    let p = RankSum::test(&first, &second)?.p;
    Some(Row {
        metric: metric.name,
        unit: metric.unit,
        better: metric.better,
        ratio: ratio(&first, &second),
        interval: bootstrap.interval_of_two((&first, &second), ratio),
        first,
        second,
        p,
        p_corrected: 1.0,
        change: Change::Unclear,
    })
}

impl Comparison {
    /// Whether any metric became worse.
    pub fn regressed(&self) -> bool {
        self.rows.iter().any(|row| row.change == Change::Worse)
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let mut table = String::new();
        let head = ["metric", "unit", "first", "second", "change", "95 % of it", "p (Holm)", ""];
        let _ = writeln!(
            table,
            "{:<17} {:<14} {:>12} {:>12} {:>9} {:>20} {:>9}  {}",
            head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7]
        );
        let percent = |ratio: f64| format!("{:+.1} %", (ratio - 1.0) * 100.0);
        for row in &self.rows {
            let verdict = row.change.word();
            let interval = format!("{} … {}", percent(row.interval.low), percent(row.interval.high));
            let _ = writeln!(
                table,
                "{:<17} {:<14} {:>12.1} {:>12.1} {:>9} {:>20} {:>9.4}  {verdict}",
                row.metric,
                row.unit,
                median(&row.first),
                median(&row.second),
                percent(row.ratio),
                interval,
                row.p_corrected
            );
        }
        let (first, second) = self.rows.first().map_or((0, 0), |row| (row.first.len(), row.second.len()));
        let _ = writeln!(
            table,
            "medians of {first} and {second} repeats; a change counts from {:.1} % on, with p < {ALPHA} over all metrics",
            self.effect_min * 100.0
        );
        table
    }
}

#[cfg(test)]
mod tests;
