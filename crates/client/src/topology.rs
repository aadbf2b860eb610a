//! The topology as the signaler serves it (`docs/SIGNALER.md`): who is where, and how far.
//!
//! It is a hint: a client pins the genesis plan and checks everything against keys it derives from it; a
//! wrong address costs it a failed connection, nothing else.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use shardpay_types::{ChainId, CommitteeId, Epoch, MemberIndex, Plan, PublicKey};

use crate::signaler::{Addresses, Hex, NetworkId, Phase, ProcessFigures, Progress, number};

/// Query of GET [`crate::signaler::PATH_TOPOLOGY`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopologyQuery {
    /// The version last seen; together with `wait`: answer when the version differs from it.
    pub after: Option<u64>,
    /// How many seconds to wait at most.
    pub wait: Option<u64>,
}

/// The whole network at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Changes with everything here but heights, heartbeat times and process figures; the ETag.
    pub version: u64,
    /// The signaler's time, microseconds since 1970.
    pub time_us: u64,
    /// The network, before it has a ledger.
    pub network: Hex<NetworkId>,
    /// The phase.
    pub phase: Phase,
    /// The running epoch (0 until genesis is complete).
    #[serde(with = "number")]
    pub epoch: Epoch,
    /// Committees the network has.
    pub committees_expected: usize,
    /// Members of each committee.
    pub members_expected: usize,
    /// The ledger's id, the hash of the genesis plan; known from phase genesis on.
    pub chain: Option<Hex<ChainId>>,
    /// The genesis plan.
    pub genesis: Option<Hex<Plan>>,
    /// The plan of the running epoch.
    pub plan: Option<Hex<Plan>>,
    /// The committees of `plan`, ascending; empty while nodes register.
    pub committees: Vec<CommitteeEntry>,
    /// Nodes that registered and have no place yet.
    pub waiting: Vec<WaitingEntry>,
}

/// A committee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitteeEntry {
    /// Its id.
    #[serde(with = "number")]
    pub committee: CommitteeId,
    /// First shard owned.
    pub shard_first: u16,
    /// Number of shards owned.
    pub shard_count: u16,
    /// Q: signatures that certify.
    pub quorum: usize,
    /// f: how many members may be faulty.
    pub faults_max: usize,
    /// All members, ascending.
    pub members: Vec<MemberEntry>,
}

/// What heartbeats say of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// No heartbeat since the signaler started.
    Unknown,
    /// Heartbeats arrive.
    Up,
    /// Heartbeats ceased.
    Down,
}

/// A member of a committee.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberEntry {
    /// Its place.
    #[serde(with = "number")]
    pub member: MemberIndex,
    /// Its key.
    pub key: Hex<PublicKey>,
    /// Where other nodes reach it.
    pub peer_addr: SocketAddr,
    /// Where clients reach it.
    pub client_addr: SocketAddr,
    /// What heartbeats say.
    pub state: NodeState,
    /// When the last heartbeat arrived, the signaler's time.
    pub heartbeat_us: Option<u64>,
    /// How far it was then.
    pub progress: Option<Progress>,
    /// What its process used then.
    pub process: Option<ProcessFigures>,
}

impl MemberEntry {
    /// Its two sockets.
    pub fn addresses(&self) -> Addresses {
        Addresses { peer: self.peer_addr, client: self.client_addr }
    }
}

/// A node that registered and has no place yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingEntry {
    /// Its key.
    pub key: Hex<PublicKey>,
    /// Where other nodes reach it.
    pub peer_addr: SocketAddr,
    /// Where clients reach it.
    pub client_addr: SocketAddr,
}

impl Topology {
    /// The entry of `committee`.
    pub fn committee(&self, committee: CommitteeId) -> Option<&CommitteeEntry> {
        self.committees.iter().find(|entry| entry.committee == committee)
    }

    /// The entry of a member.
    pub fn member(&self, committee: CommitteeId, member: MemberIndex) -> Option<&MemberEntry> {
        self.committee(committee)?.members.iter().find(|entry| entry.member == member)
    }

    /// All members with their committees, ascending.
    pub fn members(&self) -> impl Iterator<Item = (CommitteeId, &MemberEntry)> {
        self.committees.iter().flat_map(|entry| entry.members.iter().map(|member| (entry.committee, member)))
    }
}
