//! Experiment specs: what to start, how to load it, what to break. TOML, `docs/RUNS.md` lists the keys.
//!
//! Guarantees: a [`Spec`] that was parsed is valid as a whole ([`Spec::check`] is part of parsing); unknown
//! keys are refused; every error names the key and the line (or the `--set` that brought it). What is
//! written back ([`Spec::to_toml`]) holds every key and reads as the same spec.

mod backends;
mod byzantine;
mod check;
mod faults;
mod load;
mod network;
mod options;
mod parse;
mod sweep;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use backends::{Unsupported, fault_table};
pub use byzantine::{Byzantine, TwistName};
pub use faults::{Fault, FaultAction, FaultDetail, NodeSelector, PlannedFault, Repeat};
pub use load::{Cross, Distribution, Load, Rate};
pub use network::{Link, LinkOptions, Network, Regions};
pub use options::{KneeOptions, OverBudget, StoresKept, SweepOptions};
pub use parse::SpecError;
pub use sweep::{Axis, SweepPoint, SweepSpec};

/// When a node's own block or header signature may leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// After it is on the disk.
    #[default]
    Fsync,
    /// After it was handed to the operating system: survives a crash of the node, not of the machine.
    Os,
}

impl Durability {
    /// As specs and node configurations spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Os => "os",
        }
    }
}

/// What the servers run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendKind {
    /// Processes of this machine.
    #[default]
    Local,
    /// Containers of this machine's Docker daemon.
    Docker,
}

/// What of a load's beginning does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WarmupRule {
    /// `warmup_s`.
    #[default]
    Fixed,
    /// `warmup_s`, and what MSER-5 finds in the rest.
    Mser5,
}

impl WarmupRule {
    /// Shortest load in which MSER-5 says anything: four batches of five seconds.
    pub const MSER5_SECONDS_MIN: f64 = 20.0;
}

/// An experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Short name: letters, digits, `-` and `_`; part of the run directory's name.
    pub name: String,
    /// Number of committees.
    pub committees: usize,
    /// Nodes in each: 1, or 4 to 64.
    pub nodes_per_committee: usize,
    /// Seconds of load, warm-up included.
    pub duration_s: f64,
    /// Seconds at its beginning that do not count.
    #[serde(default)]
    pub warmup_s: f64,
    /// Whether more than that is cut.
    #[serde(default)]
    pub warmup: WarmupRule,
    /// When a node may send what it signed.
    #[serde(default)]
    pub durability: Durability,
    /// What the servers run in.
    #[serde(default)]
    pub backend: BackendKind,
    /// Options of every node.
    #[serde(default)]
    pub node: NodeOptions,
    /// What lies between nodes.
    #[serde(default)]
    pub network: Network,
    /// What is paid.
    #[serde(default)]
    pub load: Load,
    /// What is broken, and when.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Who misbehaves, and how.
    #[serde(default)]
    pub byzantine: Vec<Byzantine>,
    /// When the run is stopped or does not count.
    #[serde(default)]
    pub limits: Limits,
}

/// Options of every node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeOptions {
    /// Threads that check signatures.
    pub lanes: usize,
    /// Threads of the network runtime.
    pub tokio_workers: usize,
    /// Shortest time between two own rounds under load.
    pub min_round_delay_ms: u64,
    /// MiB that a node's store gathers in memory before it writes tables.
    pub memtable_mb: usize,
    /// Whether tables are written past the page cache.
    pub direct_io: bool,
    /// Level of the node's log: error, warn, info, debug, trace.
    pub log: String,
    /// Share of one core that a container may use; 0: as much as there is. Local processes have no limit.
    pub cpu_share: f64,
    /// Memory that a container may use, in MiB; 0: as much as there is.
    pub memory_mb: u64,
    /// Size of the file system of a node's store, in MiB; 0: that of the run directory. Needs root.
    pub disk_mb: u64,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            lanes: 1,
            tokio_workers: 1,
            min_round_delay_ms: 12,
            memtable_mb: 32,
            direct_io: false,
            log: "info".to_owned(),
            cpu_share: 0.0,
            memory_mb: 0,
            disk_mb: 0,
        }
    }
}

/// When a run is stopped, or does not count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Seconds until all nodes must serve.
    pub startup_s: f64,
    /// Seconds after the load for what is in flight.
    pub drain_s: f64,
    /// Share of the offered payments that loadgen must have sent, or the verdict fails.
    pub kept_rate_min: f64,
    /// Certified payments/s below which the run fails; 0: no limit.
    pub certified_per_second_min: f64,
    /// 99th percentile in milliseconds above which the run fails; 0: no limit.
    pub p99_ms_max: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { startup_s: 60.0, drain_s: 30.0, kept_rate_min: 0.99, certified_per_second_min: 0.0, p99_ms_max: 0.0 }
    }
}

impl Spec {
    /// The load's length, warm-up included.
    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.duration_s)
    }

    /// The part of it that does not count whatever the rule of `warmup` finds; see [`crate::WarmUpCut`].
    pub fn warmup(&self) -> Duration {
        Duration::from_secs_f64(self.warmup_s)
    }

    /// The share of payments that go to another committee.
    pub fn cross_ratio(&self) -> f64 {
        self.load.cross.share(self.committees)
    }

    /// The spec with every key, as it is kept in the run directory.
    ///
    /// # Panics
    /// Never for a spec that was parsed: all its values have a TOML form.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a spec has a TOML form")
    }
}
