//! `sweep.json`: what a sweep was to do and what became of each run. The keys are documented in `docs/RUNS.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::host::{GitState, HostFacts};
use crate::spec::StoresKept;

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// Not begun, or interrupted.
    Waiting,
    /// Its verdict passed.
    Passed,
    /// It ended and is no result.
    Void,
    /// It did not end.
    Failed,
}

impl RunState {
    /// Whether it ended, and is not repeated when the sweep goes on.
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Passed | Self::Void)
    }
}

/// A sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepRecord {
    /// Version of these keys.
    pub version: u32,
    /// The spec's name.
    pub name: String,
    /// Microseconds since the Unix epoch.
    pub started_us: u64,
    /// When all was done.
    pub ended_us: Option<u64>,
    /// The source.
    pub git: GitState,
    /// The machine.
    pub host: HostFacts,
    /// SHA-256 of the programs, by name.
    pub programs: BTreeMap<String, String>,
    /// What the order was drawn from.
    pub seed: u64,
    /// Runs of each point.
    pub repeats: usize,
    /// Which stores stay.
    pub stores: StoresKept,
    /// Seconds all may take; 0: no budget.
    pub budget_s: f64,
    /// Seconds it was to take.
    pub estimated_s: f64,
    /// How it was made to fit its budget.
    pub trimmed: Option<String>,
    /// The grid.
    pub axes: Vec<SweepAxis>,
    /// Names of the workloads.
    pub workloads: Vec<String>,
    /// Its points.
    pub points: Vec<SweepPointRecord>,
    /// Its runs, in the order in which they are carried out.
    pub runs: Vec<SweepRun>,
}

impl SweepRecord {
    /// Version of the keys described in `docs/RUNS.md`.
    pub const VERSION: u32 = 1;
    /// Its file in the directory of a sweep.
    pub const FILE: &'static str = "sweep.json";
    /// The file of experiments with every `--set` in it.
    pub const SPEC_FILE: &'static str = "sweep.toml";
}

/// A key of the grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepAxis {
    /// Dotted.
    pub key: String,
    /// Its values.
    pub values: Vec<serde_json::Value>,
}

/// A point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepPointRecord {
    /// `p00`.
    pub id: String,
    /// For people.
    pub label: String,
    /// Its workload.
    pub workload: Option<String>,
    /// Values of the grid's keys.
    pub values: BTreeMap<String, serde_json::Value>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepRun {
    /// Of which point.
    pub point: String,
    /// From 1.
    pub repeat: usize,
    /// `load.seed`.
    pub seed: u64,
    /// Its directory, below the sweep's.
    pub dir: String,
    /// What became of it.
    pub state: RunState,
    /// Why it is no result.
    pub why: Vec<String>,
    /// Seconds it was to take.
    pub estimated_s: f64,
    /// Seconds it took.
    pub wall_s: Option<f64>,
    /// Of its summary.json.
    pub summary_sha256: Option<String>,
}
