//! What one seed draws: the size of the system, its clocks, links and disks, who is byzantine, and what
//! breaks when. Overrides replace single draws and leave the others as they are.
//!
//! A run has a faulty phase (until `heal_at`), in which only safety is demanded, and a healed one, in
//! which everything must come to its end within `heal_max`. Sizes are weighted to small ones, so that a
//! sweep of thousands of seeds is affordable, yet each size from the issue occurs.

mod faults;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::byzantine::TwistKind;
use crate::engine::Instant;
use crate::rng::Stream;
use crate::scheme::SchemeKind;
use crate::topology::{NodeIndex, Topology};
use crate::variant::Variant;

pub(crate) use faults::{CrashPoint, Fault, PlannedFault};

/// What the command line may fix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Number of committees.
    pub committees: Option<usize>,
    /// Members of each committee.
    pub nodes: Option<usize>,
    /// Virtual seconds of the faulty phase.
    pub seconds: Option<u64>,
    /// Payments submitted.
    pub payments: Option<usize>,
    /// Real signatures in every seed.
    pub real_signatures: bool,
    /// Nothing breaks and nobody is byzantine.
    pub fault_free: bool,
    /// A planted bug.
    pub variant: Option<Variant>,
    /// The performance scenario instead of a drawn one.
    pub throughput: bool,
}

/// Delays of links, disks and processors.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Pace of rounds under load.
    pub min_round_delay: Duration,
    /// First leader timeout.
    pub leader_timeout: Duration,
    /// What every message takes at least.
    pub latency_floor: Duration,
    /// Distance of each node from the middle of the net: adds to each of its links.
    pub latency_node: Vec<Duration>,
    /// Random part of each message's delay.
    pub jitter: Duration,
    /// Whether links keep their order.
    pub(crate) ordered: bool,
    /// In each stretch of this length some nodes' messages to some others are held back until its end; zero:
    /// none are. Slots whose blocks reach some members rounds later than others are decided by anchors.
    pub(crate) stutter: Duration,
    /// How long a group sync takes: least and most.
    pub sync: (Duration, Duration),
    /// How long executing a commit takes: least and most.
    pub execution: (Duration, Duration),
    /// What each node's clock adds to virtual time.
    pub skew: Vec<Duration>,
}

/// When the signaler does what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalerAct {
    /// Proposes the plan of the next epoch, with unchanged members.
    Propose,
    /// Proposes two different plans for the next epoch, each to half of the members.
    Equivocate,
}

/// A drawn run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// The planted bug, if any.
    pub variant: Option<Variant>,
    /// Committees and their sizes.
    pub topology: Topology,
    /// Cheap or real signatures.
    pub scheme: SchemeKind,
    /// How many of 1,000 messages are really encoded and decoded.
    pub codec_permille: u64,
    /// How many of 1,000 group syncs leave the ledger's batches behind (they need no sync of their own).
    pub ledger_lag_permille: u64,
    /// Delays.
    pub timing: Timing,
    /// Number of client accounts.
    pub clients: usize,
    /// Number of payments and redeems submitted, tricks included.
    pub payments: usize,
    /// How many of 1,000 payments go to a handful of accounts.
    pub hot_permille: u64,
    /// How many of 1,000 submissions are tricks (bad sequences, overdrafts, replays, expiry, garbage).
    pub tricks_permille: u64,
    /// End of submissions.
    pub load_until: Instant,
    /// End of the faulty phase.
    pub heal_at: Instant,
    /// Longest time from healing to the end of all work.
    pub heal_max: Duration,
    /// Byzantine members: at most f per committee, lost stores included.
    pub byzantine: BTreeMap<NodeIndex, TwistKind>,
    /// What breaks, by start.
    pub faults: Vec<PlannedFault>,
    /// What the signaler does.
    pub signaler: Vec<(Instant, SignalerAct)>,
    /// Whether nodes learn that a connection came back.
    pub tells_connected: bool,
}

impl Scenario {
    /// Draws the run of `seed`.
    pub fn draw(seed: u64, overrides: &Overrides) -> Self {
        if overrides.throughput {
            return Self::throughput(seed, overrides);
        }
        let topology = draw_topology(seed, overrides);
        let mut stream = Stream::new(seed, "scenario", 0);
        let real = stream.chance(50) || overrides.real_signatures;
        let nodes = topology.nodes() as u64;
        let fault_seconds = stream.between(11, 14);
        let heal_at = Instant::from_millis(overrides.seconds.unwrap_or(fault_seconds) * 1_000);
        let mut scenario = Self {
            seed,
            variant: overrides.variant,
            scheme: if real { SchemeKind::Real } else { SchemeKind::Cheap },
            codec_permille: stream.weighted(&[(6, 20), (3, 150), (1, 1_000)]),
            ledger_lag_permille: stream.weighted(&[(5, 0), (3, 500), (2, 950)]),
            timing: draw_timing(seed, topology.nodes()),
            clients: stream.between(12, 60) as usize,
            payments: overrides.payments.unwrap_or(stream.between(200, 260 + nodes) as usize),
            hot_permille: stream.weighted(&[(2, 0), (5, 200), (3, 600)]),
            tricks_permille: stream.weighted(&[(1, 0), (6, 150), (3, 400)]),
            load_until: Instant(heal_at.0 - heal_at.0 / 16),
            heal_at,
            heal_max: Duration::from_secs(60),
            byzantine: BTreeMap::new(),
            faults: Vec::new(),
            signaler: draw_signaler(seed, heal_at),
            tells_connected: stream.chance(800),
            topology,
        };
        if !scenario.timing.ordered && overrides.payments.is_none() {
            // rounds are made while there is work: more of it, more slots
            scenario.payments *= 4;
        }
        if !overrides.fault_free {
            faults::draw(&mut scenario);
        }
        scenario
    }

    /// The performance scenario: 4 × 4 nodes, 1,000 payments/s, nothing breaks.
    fn throughput(seed: u64, overrides: &Overrides) -> Self {
        let topology = Topology::new(vec![overrides.nodes.unwrap_or(4); overrides.committees.unwrap_or(4)]);
        let nodes = topology.nodes();
        let seconds = overrides.seconds.unwrap_or(60);
        let heal_at = Instant::from_millis(seconds * 1_000);
        Self {
            seed,
            variant: overrides.variant,
            topology,
            scheme: SchemeKind::Real,
            codec_permille: 0,
            ledger_lag_permille: 0,
            timing: Timing {
                min_round_delay: Duration::from_millis(80),
                leader_timeout: Duration::from_millis(400),
                latency_floor: Duration::from_millis(2),
                latency_node: vec![Duration::from_millis(3); nodes],
                jitter: Duration::from_millis(1),
                ordered: true,
                stutter: Duration::ZERO,
                sync: (Duration::from_micros(200), Duration::from_micros(600)),
                execution: (Duration::from_micros(100), Duration::from_micros(300)),
                skew: vec![Duration::from_secs(1); nodes],
            },
            clients: 2_000,
            payments: overrides.payments.unwrap_or(seconds as usize * 1_000),
            hot_permille: 0,
            tricks_permille: 0,
            load_until: heal_at,
            heal_at,
            heal_max: Duration::from_secs(30),
            byzantine: BTreeMap::new(),
            faults: Vec::new(),
            signaler: Vec::new(),
            tells_connected: true,
        }
    }

    /// Two committees of four; the second is away from the others while the first one's clients pay, until
    /// at least `messages` wait for it.
    pub fn backlog(seed: u64, messages: usize) -> Self {
        let overrides = Overrides {
            committees: Some(2),
            seconds: Some(30),
            // half of all payments leave their committee, half of those from the first one
            payments: Some(messages * 9 / 2),
            throughput: true,
            ..Overrides::default()
        };
        let mut scenario = Self::throughput(seed, &overrides);
        scenario.scheme = SchemeKind::Cheap;
        let until = scenario.heal_at;
        scenario.faults =
            vec![PlannedFault { at: Instant::from_millis(900), until, fault: Fault::CommitteeAway { committee: 1 } }];
        scenario
    }

    /// Nothing breaks but connections: each committee is away for a while, one after the other.
    pub fn only_away(&mut self) {
        self.byzantine.clear();
        let part = self.heal_at.0 / (self.topology.committees() as u64 + 1);
        self.faults = (0..self.topology.committees())
            .map(|committee| PlannedFault {
                at: Instant(part * committee as u64 + part / 2),
                until: Instant(part * (committee as u64 + 1) + part / 4),
                fault: Fault::CommitteeAway { committee },
            })
            .collect();
    }

    /// Number of things that break: planned faults and byzantine members.
    pub fn fault_count(&self) -> usize {
        self.faults.len() + self.byzantine.len()
    }

    /// Whether a crash of `node` is planned, so that its durable state must be kept apart.
    pub fn may_crash(&self, node: NodeIndex) -> bool {
        self.faults.iter().any(|planned| match &planned.fault {
            Fault::Crash { node: crashed, .. } | Fault::StoreLost { node: crashed } => *crashed == node,
            Fault::CommitteeCrash { committee } => self.topology.committee_of(node) == *committee,
            _ => false,
        })
    }
}

fn draw_topology(seed: u64, overrides: &Overrides) -> Topology {
    let mut stream = Stream::new(seed, "topology", 0);
    let drawn = stream.weighted(&[(28, 1), (30, 2), (16, 3), (10, 4), (5, 5), (4, 6), (4, 7), (3, 8)]);
    let committees = overrides.committees.unwrap_or(drawn);
    let size = |stream: &mut Stream| {
        stream.weighted(&[(2, 1), (56, 4), (12, 5), (6, 6), (14, 7), (3, 8), (3, 9), (4, 10usize)])
    };
    let sizes = (0..committees.max(1)).map(|_| {
        let drawn = size(&mut stream);
        overrides.nodes.unwrap_or(drawn)
    });
    Topology::new(sizes.collect())
}

fn draw_timing(seed: u64, nodes: usize) -> Timing {
    let mut stream = Stream::new(seed, "timing", 0);
    // Large systems run at a slower pace: the work of a run grows with nodes × members × rounds.
    let (slowest, fastest) = if nodes > 24 { (150, 100) } else { (100, 20) };
    let spread = stream.weighted(&[(3, 2_000), (4, 10_000), (2, 30_000), (1, 60_000)]);
    let skew_max = stream.weighted(&[(2, 0), (4, 30_000), (3, 300_000), (1, 2_000_000)]);
    let leader_timeout = stream.between(150, 500);
    // Chaos: delays of many rounds, so that slots are decided by what little their leaders' blocks reach.
    let mut chaos = Stream::new(seed, "chaos", 0);
    let chaotic = nodes <= 16 && chaos.chance(200);
    let mut timing = Timing {
        min_round_delay: Duration::from_millis(stream.between(fastest, slowest)),
        leader_timeout: Duration::from_millis(leader_timeout) + Duration::from_micros(2 * spread),
        latency_floor: stream.micros(200, 3_000),
        latency_node: (0..nodes).map(|_| stream.micros(100, spread)).collect(),
        jitter: stream.micros(50, spread / 2),
        ordered: true,
        stutter: Duration::ZERO,
        sync: (Duration::from_micros(50), stream.micros(100, 8_000)),
        execution: (Duration::from_micros(20), stream.micros(100, 5_000)),
        skew: (0..nodes).map(|_| Duration::from_secs(1) + stream.micros(0, skew_max)).collect(),
    };
    if chaotic {
        timing.ordered = false;
        timing.stutter = chaos.micros(20_000, 120_000);
        timing.latency_floor = chaos.micros(100, 1_000);
        timing.latency_node = (0..nodes).map(|_| chaos.micros(100, 1_000)).collect();
        timing.jitter = chaos.micros(2_000, 12_000);
        timing.min_round_delay = chaos.micros(500, 4_000);
        timing.leader_timeout = chaos.micros(500, 10_000);
        timing.sync.1 = timing.sync.1.min(Duration::from_millis(1));
    }
    timing
}

fn draw_signaler(seed: u64, heal_at: Instant) -> Vec<(Instant, SignalerAct)> {
    let mut stream = Stream::new(seed, "signaler", 0);
    let count = stream.weighted(&[(5, 0), (4, 1), (2, 2u64)]);
    let mut acts: Vec<_> = (0..count)
        .map(|_| {
            let at = Instant(stream.between(heal_at.0 / 8, heal_at.0));
            let act = if stream.chance(300) { SignalerAct::Equivocate } else { SignalerAct::Propose };
            (at, act)
        })
        .collect();
    acts.sort_by_key(|(at, _)| *at);
    acts
}

#[cfg(test)]
mod tests;
