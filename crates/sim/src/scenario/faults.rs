//! What breaks in a run: kinds, places and times.
//!
//! Every fault ends at the healing at the latest. Honest members may crash and lose messages in any
//! number; members that lie, or whose store is lost, are at most f per committee.

use std::time::Duration;

use super::Scenario;
use crate::byzantine::TwistKind;
use crate::engine::Instant;
use crate::rng::Stream;
use crate::topology::NodeIndex;

/// Where in its work a node dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CrashPoint {
    /// Anywhere.
    AtOnce,
    /// As a persist order comes out, before it is written.
    BeforePersist,
    /// Right after a persist order was written, before its sync.
    AfterPersist,
    /// As a header vote's persist order comes out.
    AtVote,
    /// After a sync, before the replica hears of it.
    AfterSync,
    /// After a ledger batch was written, before the replica hears of it.
    AfterExecution,
    /// In the middle of sending.
    BetweenSends,
}

impl CrashPoint {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AtOnce,
        Self::BeforePersist,
        Self::AfterPersist,
        Self::AtVote,
        Self::AfterSync,
        Self::AfterExecution,
        Self::BetweenSends,
    ];
}

/// A kind of fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A node dies and comes back with what was durable and a random part of what was not.
    Crash {
        /// Who.
        node: NodeIndex,
        /// At which point of its work.
        point: CrashPoint,
        /// Whether it dies again while it recovers.
        again: bool,
    },
    /// All members of a committee die at once.
    CommitteeCrash {
        /// Which.
        committee: usize,
    },
    /// A node comes back with an empty store: it must stay out.
    StoreLost {
        /// Who.
        node: NodeIndex,
    },
    /// Messages between the two sides are lost; `one_way`: only those from the first to the second.
    Partition {
        /// For each node whether it is on the first side.
        side: Vec<bool>,
        /// Whether only one direction is cut.
        one_way: bool,
    },
    /// Messages get lost.
    Loss {
        /// How many of 1,000.
        permille: u64,
    },
    /// Messages arrive twice.
    Duplication {
        /// How many of 1,000.
        permille: u64,
    },
    /// Messages overtake each other.
    Reordering {
        /// Most extra delay.
        spread: Duration,
    },
    /// All links get slower.
    SlowLinks {
        /// Added to each message's delay.
        extra: Duration,
    },
    /// A node takes long for each message.
    SlowNode {
        /// Who.
        node: NodeIndex,
        /// Time per message.
        each: Duration,
    },
    /// A node's disk takes long for each sync.
    SlowDisk {
        /// Who.
        node: NodeIndex,
        /// Added to each sync.
        extra: Duration,
    },
    /// A node's execution takes long.
    SlowExecution {
        /// Who.
        node: NodeIndex,
        /// Added to each order.
        extra: Duration,
    },
    /// A node's clock jumps forward.
    ClockJump {
        /// Who.
        node: NodeIndex,
        /// How far.
        by: Duration,
    },
    /// A committee hears nobody else and nobody else hears it.
    CommitteeAway {
        /// Which.
        committee: usize,
    },
}

impl Fault {
    /// The name under which it is counted.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Crash { .. } => "fault: crash",
            Self::CommitteeCrash { .. } => "fault: committee crash",
            Self::StoreLost { .. } => "fault: store lost",
            Self::Partition { one_way: false, .. } => "fault: partition",
            Self::Partition { one_way: true, .. } => "fault: one-way partition",
            Self::Loss { .. } => "fault: loss",
            Self::Duplication { .. } => "fault: duplication",
            Self::Reordering { .. } => "fault: reordering",
            Self::SlowLinks { .. } => "fault: slow links",
            Self::SlowNode { .. } => "fault: slow node",
            Self::SlowDisk { .. } => "fault: slow disk",
            Self::SlowExecution { .. } => "fault: slow execution",
            Self::ClockJump { .. } => "fault: clock jump",
            Self::CommitteeAway { .. } => "fault: committee away",
        }
    }
}

/// A fault with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFault {
    /// It begins.
    pub at: Instant,
    /// It ends.
    pub until: Instant,
    /// What.
    pub fault: Fault,
}

/// Fills in who is byzantine and what breaks.
pub(super) fn draw(scenario: &mut Scenario) {
    let lost = draw_members(scenario);
    let mut stream = Stream::new(scenario.seed, "faults", 0);
    let nodes = scenario.topology.nodes() as u64;
    let count = stream.between(10, 14 + nodes.min(40) / 5);
    let mut faults: Vec<_> = (0..count).map(|_| draw_one(scenario, &mut stream)).collect();
    for node in lost {
        let at = Instant(stream.between(scenario.heal_at.0 / 4, scenario.heal_at.0 * 3 / 4));
        faults.push(PlannedFault {
            at,
            until: at.after(stream.micros(100_000, 2_000_000)),
            fault: Fault::StoreLost { node },
        });
    }
    faults.sort_by_key(|planned| planned.at);
    scenario.faults = faults;
}

/// Draws the byzantine members and returns those whose store gets lost.
fn draw_members(scenario: &mut Scenario) -> Vec<NodeIndex> {
    let mut stream = Stream::new(scenario.seed, "byzantine", 0);
    let mut lost = Vec::new();
    for committee in 0..scenario.topology.committees() {
        let most = scenario.topology.faults_max(committee) as u64;
        let count = if stream.chance(600) { most } else { stream.between(0, most) };
        let mut members: Vec<_> = scenario.topology.members(committee).collect();
        stream.shuffle(&mut members);
        for node in members.into_iter().take(count as usize) {
            if stream.chance(70) {
                lost.push(node);
            } else {
                scenario.byzantine.insert(node, *stream.pick(&TwistKind::ALL));
            }
        }
    }
    lost
}

fn draw_one(scenario: &Scenario, stream: &mut Stream) -> PlannedFault {
    let fault = draw_kind(scenario, stream);
    let longest = match fault {
        Fault::Crash { .. } => 4_000_000,
        Fault::CommitteeCrash { .. } | Fault::SlowLinks { .. } => 1_500_000,
        Fault::SlowNode { .. } | Fault::SlowDisk { .. } | Fault::SlowExecution { .. } => 4_000_000,
        _ => 3_000_000,
    };
    let at = Instant(stream.between(300_000, scenario.heal_at.0 * 9 / 10));
    let until = at.after(stream.micros(100_000, longest)).min(scenario.heal_at);
    PlannedFault { at, until, fault }
}

fn draw_kind(scenario: &Scenario, stream: &mut Stream) -> Fault {
    let topology = &scenario.topology;
    let node = stream.index(topology.nodes());
    let committee = stream.index(topology.committees());
    let kind = stream.weighted(&[
        (26, 0),
        (3, 1),
        (12, 2),
        (5, 3),
        (9, 4),
        (6, 5),
        (6, 6),
        (4, 7),
        (7, 8),
        (6, 9),
        (5, 10),
        (4, 11),
        (5, 12),
    ]);
    match kind {
        0 => Fault::Crash { node, point: *stream.pick(&CrashPoint::ALL), again: stream.chance(150) },
        1 => Fault::CommitteeCrash { committee },
        2 => Fault::Partition { side: draw_side(scenario, stream, committee), one_way: false },
        3 => Fault::Partition { side: draw_side(scenario, stream, committee), one_way: true },
        4 => Fault::Loss { permille: stream.between(20, 400) },
        5 => Fault::Duplication { permille: stream.between(50, 700) },
        6 => Fault::Reordering { spread: stream.micros(10_000, 400_000) },
        7 => Fault::SlowLinks { extra: stream.micros(50_000, 500_000) },
        8 => Fault::SlowNode { node, each: stream.micros(300, 6_000) },
        9 => Fault::SlowDisk { node, extra: stream.micros(5_000, 300_000) },
        10 => Fault::SlowExecution { node, extra: stream.micros(5_000, 200_000) },
        11 => Fault::ClockJump { node, by: stream.micros(10_000, 2_000_000) },
        _ => Fault::CommitteeAway { committee },
    }
}

/// Half of the nodes, or some members of one committee against all others.
fn draw_side(scenario: &Scenario, stream: &mut Stream, committee: usize) -> Vec<bool> {
    let topology = &scenario.topology;
    if stream.chance(400) {
        return (0..topology.nodes()).map(|_| stream.chance(500)).collect();
    }
    let mut members: Vec<_> = topology.members(committee).collect();
    stream.shuffle(&mut members);
    members.truncate(stream.between(1, members.len().max(2) as u64 / 2) as usize);
    (0..topology.nodes()).map(|node| members.contains(&node)).collect()
}
