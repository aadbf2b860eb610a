//! The same experiment over many commits: where did it change?
//!
//! Guarantees: runs of different specs or machines are refused; void runs are named and count nowhere. For each metric the
//! commits are gone through in the order of their first runs. A commit is held against all runs since the last change by the
//! rules of [`crate::compare`]; a change begins a new level. Of a commit with fewer than [`REPEATS_MIN`] repeats nothing
//! is said, and it belongs to no level.
//!
//! Each commit is tested at 5 % over its metrics together; over many commits false alarms add up.

mod page;

use std::fmt::Write as _;

use serde::Serialize;

use crate::compare::{Change, REPEATS_MIN, Row, decide, row};
use crate::metrics::{Metric, PRIMARY};
use crate::runs::{Run, without_chance};
use crate::stats::{Bootstrap, median};

pub use page::write;

/// The runs of one commit.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Its short name; `+` behind it when files differed from it.
    pub name: String,
    /// In the order in which they were made.
    pub runs: Vec<Run>,
}

/// What a commit did to a metric.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// The commit.
    pub commit: String,
    /// Its repeats.
    pub values: Vec<f64>,
    /// Median of the level before it; not a number where none was.
    pub level: f64,
    /// What is shown; `None` with too few repeats, and for the first with enough.
    pub compared: Option<Row>,
}

impl Step {
    /// Whether a new level begins with it.
    pub fn changed(&self) -> bool {
        self.compared.as_ref().is_some_and(|row| row.change != Change::Unclear)
    }
}

/// A metric over all commits.
#[derive(Debug, Clone, Serialize)]
pub struct Course {
    /// Its name.
    pub metric: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// A step per commit.
    pub steps: Vec<Step>,
}

/// Why there is no history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// Nothing to compare.
    #[error("runs of two commits or more are needed, these are of {0}")]
    OneCommit(usize),
    /// Not one experiment on one machine.
    #[error("{run} ran another spec or on another machine than {other}: a history is of one experiment on one machine")]
    Other {
        /// A run.
        run: String,
        /// The run it was held against.
        other: String,
    },
}

/// Good runs by commit, in the order of the commits' first runs.
pub fn commits(runs: &[Run]) -> Result<Vec<Commit>, HistoryError> {
    let mut good: Vec<&Run> = runs.iter().filter(|run| run.void_because().is_none()).collect();
    good.sort_by_key(|run| run.record.started_us);
    let mut commits: Vec<Commit> = Vec::new();
    for run in &good {
        let (host, other) = (&run.record.host, &good[0].record.host);
        let same_machine = (&host.cpu_model, host.cores) == (&other.cpu_model, other.cores);
        if !same_machine || without_chance(run.spec()) != without_chance(good[0].spec()) {
            let name = |run: &Run| run.dir.display().to_string();
            return Err(HistoryError::Other { run: name(run), other: name(good[0]) });
        }
        let git = &run.record.git;
        let name = format!("{}{}", git.commit.get(..8).unwrap_or(&git.commit), if git.modified { "+" } else { "" });
        match commits.iter_mut().find(|commit| commit.name == name) {
            Some(commit) => commit.runs.push((*run).clone()),
            None => commits.push(Commit { name, runs: vec![(*run).clone()] }),
        }
    }
    if commits.len() < 2 { Err(HistoryError::OneCommit(commits.len())) } else { Ok(commits) }
}

/// Every primary metric over the commits.
pub fn courses(commits: &[Commit], effect_min: f64) -> Vec<Course> {
    let values = |commit: &Commit, metric: &Metric| -> Vec<f64> {
        commit.runs.iter().map(|run| (metric.of)(&run.summary)).collect()
    };
    let mut bootstrap = Bootstrap::new(1);
    let mut levels: Vec<Vec<f64>> = PRIMARY.iter().map(|metric| values(&commits[0], metric)).collect();
    let first = |(metric, level): (&Metric, &Vec<f64>)| Course {
        metric: metric.name,
        unit: metric.unit,
        steps: vec![Step {
            commit: commits[0].name.clone(),
            values: level.clone(),
            level: median(level),
            compared: None,
        }],
    };
    let mut courses: Vec<Course> = PRIMARY.iter().zip(&levels).map(first).collect();
    for commit in &commits[1..] {
        let mut rows: Vec<Row> = Vec::new();
        for (metric, level) in PRIMARY.into_iter().zip(&levels) {
            let own = values(commit, &metric);
            if own.len() >= REPEATS_MIN && level.len() >= REPEATS_MIN {
                rows.extend(row(metric, level.clone(), own, &mut bootstrap));
            }
        }
        decide(&mut rows, effect_min);
        for ((metric, level), course) in PRIMARY.iter().zip(&mut levels).zip(&mut courses) {
            let compared = rows.iter().find(|row| row.metric == metric.name).cloned();
            let own = values(commit, metric);
            let step = Step { commit: commit.name.clone(), values: own.clone(), level: median(level), compared };
            if step.changed() {
                level.clear();
            }
            if own.len() >= REPEATS_MIN {
                level.extend(own);
            }
            course.steps.push(step);
        }
    }
    courses
}

/// Whether the last commit made any metric worse.
pub fn regressed(courses: &[Course]) -> bool {
    let worse = |step: &Step| step.compared.as_ref().is_some_and(|row| row.change == Change::Worse);
    courses.iter().filter_map(|course| course.steps.last()).any(worse)
}

/// A table for people: commits by metric.
pub fn table(courses: &[Course]) -> String {
    let mut table = String::new();
    for course in courses {
        let _ = writeln!(table, "{} ({})", course.metric, course.unit);
        for step in &course.steps {
            let told = match &step.compared {
                Some(row) => format!("{:+.1} %  {}", (row.ratio - 1.0) * 100.0, row.change.word()),
                None if step.values.len() < REPEATS_MIN => "too few repeats to tell".to_owned(),
                None => "where it begins".to_owned(),
            };
            let _ = writeln!(
                table,
                "  {:<10} {:>3} repeats {:>14.1}  {told}",
                step.commit,
                step.values.len(),
                median(&step.values)
            );
        }
    }
    table
}
