//! What is asked, and what is answered.

use std::time::Duration;

use crate::links::Links;
use crate::machines::Work;

/// Who shares cores with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cores {
    /// Every node has a machine of its own with so many; clients have others.
    Each(usize),
    /// All nodes and the clients share one machine with so many.
    Shared(usize),
}

/// How payments come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// At random times, so many a second over all committees.
    Open(f64),
    /// So many are always in flight.
    Closed(usize),
}

/// A system and its load.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// Number of committees.
    pub committees: usize,
    /// Nodes in each.
    pub members: usize,
    /// Whose the cores are.
    pub cores: Cores,
    /// Where nodes stand.
    pub links: Links,
    /// How payments come.
    pub load: Load,
    /// Share of payments that go to another committee.
    pub cross: f64,
    /// Accounts over all committees.
    pub accounts: usize,
    /// Threads of a node that check what peers send, and what clients send.
    pub lanes: usize,
    /// Least time between two own blocks under load.
    pub round_delay: Duration,
    /// How many payments one simulated payment stands for: it costs and weighs as much as so many.
    pub grain: usize,
    /// Virtual time of load that does not count.
    pub warmup: Duration,
    /// Virtual time of load that counts.
    pub measured: Duration,
    /// At most so many times `measured` are simulated one after the other, until two in a row certify the same within 5 %;
    /// the last one counts.
    pub windows_max: usize,
    /// Of everything random.
    pub seed: u64,
}

impl Setup {
    /// Nodes with cores of their own in one data centre, as much load as they take, natural mix.
    pub fn saturated(committees: usize, members: usize, cores: Cores) -> Self {
        Self {
            committees,
            members,
            cores,
            links: Links::lan(),
            load: Load::Closed(8_192 * committees),
            cross: 1.0 - 1.0 / committees as f64,
            accounts: 5_000 * committees,
            lanes: 1,
            round_delay: Duration::from_millis(12),
            grain: 1,
            warmup: Duration::from_millis(500),
            measured: Duration::from_millis(1_500),
            windows_max: 8,
            seed: 1,
        }
    }

    /// Nodes over all committees.
    pub const fn nodes(&self) -> usize {
        self.committees * self.members
    }

    /// How many members of a committee are a quorum.
    pub const fn quorum(&self) -> usize {
        self.members - (self.members - 1) / 3
    }
}

/// What the simulation saw in the measured time.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Whether the last two windows certified the same within 5 %: what is simulated has settled.
    pub settled: bool,
    /// Payments certified a second, over all committees.
    pub per_second: f64,
    /// Median of the latencies; not a number when nothing was certified.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Share of all cores that was used (with cores of their own: of the nodes').
    pub utilisation: f64,
    /// Of the busiest node's machine.
    pub utilisation_max: f64,
    /// Processor time per payment, by kind.
    pub per_payment: Work,
    /// Rounds of a committee a second, mean over the committees.
    pub rounds_per_second: f64,
    /// Payments that were answered `Busy` and sent again.
    pub busy: u64,
    /// Payments that were due and had no payer.
    pub skipped: u64,
}
