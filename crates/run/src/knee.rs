//! `knee.json`: a knee search, measurement by measurement. The keys are documented in `docs/RUNS.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::host::{GitState, HostFacts};

/// A knee search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KneeRecord {
    /// Version of these keys.
    pub version: u32,
    /// The spec's name.
    pub name: String,
    /// Microseconds since the Unix epoch.
    pub started_us: u64,
    /// When the search ended.
    pub ended_us: Option<u64>,
    /// The source.
    pub git: GitState,
    /// The machine.
    pub host: HostFacts,
    /// SHA-256 of the programs, by name.
    pub programs: BTreeMap<String, String>,
    /// What a rate must keep.
    pub objective: KneeObjective,
    /// Widest bracket that counts as found.
    pub bracket: f64,
    /// Runs at each end.
    pub repeats: usize,
    /// How many of them must agree.
    pub needed: usize,
    /// The closed loop that it began with.
    pub probe: Option<KneeProbe>,
    /// In the order in which they were made.
    pub measurements: Vec<KneeMeasurement>,
    /// What was found.
    pub result: Option<KneeResult>,
    /// Why nothing was.
    pub stopped: Option<String>,
}

impl KneeRecord {
    /// Version of the keys described in `docs/RUNS.md`.
    pub const VERSION: u32 = 1;
    /// Its file in the directory of a search.
    pub const FILE: &'static str = "knee.json";
    /// The file of experiments with every `--set` in it.
    pub const SPEC_FILE: &'static str = "knee.toml";
}

/// What a rate must keep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KneeObjective {
    /// 99th percentile of the latency.
    pub p99_ms_max: f64,
    /// Share of the offered payments that need not be certified in the end.
    pub loss_max: f64,
}

/// The closed loop before the search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KneeProbe {
    /// Its run directory.
    pub dir: String,
    /// What it reached.
    pub per_second: f64,
}

/// What a measurement was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MeasurementStage {
    /// Until one rate passes and one fails.
    Bracket,
    /// Until they are close.
    Bisect,
    /// Repeats at the ends.
    Confirm,
}

/// What a measurement says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MeasurementOutcome {
    /// The objective was kept.
    Passed,
    /// It was not.
    Failed,
    /// Loadgen was the limit: it says nothing.
    Void,
}

/// A run at a rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KneeMeasurement {
    /// From 1.
    pub number: usize,
    /// Its run directory.
    pub dir: String,
    /// The rate asked for.
    pub rate_per_second: f64,
    /// What it was made for.
    pub stage: MeasurementStage,
    /// `load.seed`.
    pub seed: u64,
    /// What it says.
    pub outcome: MeasurementOutcome,
    /// Why it did not pass.
    pub why: Vec<String>,
    /// Certified payments/s in the measured part.
    pub certified_per_second: f64,
    /// Median latency.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Payments offered.
    pub offered: u64,
    /// Of those, not certified in the end.
    pub lost: u64,
    /// Share of all cores in use.
    pub machine_busy: f64,
    /// CPU time of all processes per certified payment.
    pub cpu_us_per_payment: f64,
    /// Seconds it took.
    pub wall_s: f64,
}

/// An end of the bracket.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KneeEnd {
    /// The rate.
    pub per_second: f64,
    /// Repeats that passed.
    pub passed: usize,
    /// Repeats that failed.
    pub failed: usize,
    /// Of the share that passes: lower end of 95 %.
    pub pass_rate_low: f64,
    /// And upper end.
    pub pass_rate_high: f64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KneeResult {
    /// Whether the bracket is narrow and its ends are confirmed.
    pub resolved: bool,
    /// The highest rate that passes.
    pub lower: KneeEnd,
    /// The lowest one that fails.
    pub upper: KneeEnd,
    /// Upper over lower, less 1.
    pub width: f64,
    /// The rate that half of all repeats would pass.
    pub knee_per_second: f64,
    /// Lower end of its 95 % interval.
    pub low_per_second: f64,
    /// Upper end.
    pub high_per_second: f64,
    /// How both were worked out.
    pub method: String,
    /// Median of what was certified at the lower end.
    pub certified_per_second: f64,
    /// What stood in the way at the upper end.
    pub limit: Limit,
}

/// What was the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitKind {
    /// All cores of the machine.
    MachineCpu,
    /// One thread.
    ThreadCpu,
    /// A queue that filled although no CPU was.
    Queue,
    /// Neither: the time that the protocol itself takes.
    Latency,
    /// The load generator: nothing was found out about the ledger.
    Loadgen,
}

/// The saturation diagnosis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// What was the limit.
    pub what: LimitKind,
    /// One sentence.
    pub text: String,
    /// Share of all cores in use at the lower end.
    pub machine_busy_lower: f64,
    /// And at the upper one.
    pub machine_busy_upper: f64,
    /// By kind of thread, the largest first.
    pub threads: Vec<ThreadUse>,
    /// By queue, the longest first.
    pub queues: Vec<QueueUse>,
    /// In the order in which a payment passes them.
    pub stages: Vec<StageUse>,
}

/// What the threads of one name in one kind of program used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThreadUse {
    /// The program.
    pub program: String,
    /// The threads' name.
    pub thread: String,
    /// Cores at the lower end.
    pub lower_cores: f64,
    /// Cores at the upper end.
    pub upper_cores: f64,
    /// Largest share of a core that one server's threads of that name had, at the upper end.
    pub busiest: f64,
}

/// A queue of the nodes, as their gauges show it once a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueUse {
    /// Its gauge.
    pub queue: String,
    /// Mean over nodes and seconds at the lower end.
    pub lower_mean: f64,
    /// And at the upper one.
    pub upper_mean: f64,
    /// Most that a node had there.
    pub upper_max: f64,
}

/// Mean time in a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageUse {
    /// The stage.
    pub stage: String,
    /// At the lower end.
    pub lower_ms: f64,
    /// At the upper end.
    pub upper_ms: f64,
}
