//! What readers are shown.

use shardpay_client::signaler::{Change, Health, Hex, PlansReply, Proposal};
use shardpay_client::topology::{CommitteeEntry, MemberEntry, NodeState, Topology, WaitingEntry};
use shardpay_types::{CommitteeId, CommitteePlan, Epoch, MemberIndex};

use super::{Network, Proposed};
use crate::store::NodeRow;

/// Most changes in one answer; who lacks more asks again.
const CHANGES_MAX: usize = 8;

impl Network {
    /// Plans to co-sign and finished changes: those after `reader`, or the newest.
    pub(crate) fn plans(&self, reader: Option<Epoch>) -> PlansReply {
        let mut changes = self.plans.values().filter_map(|proposed| {
            let change = proposed.change.clone()?;
            Some(Change { epoch: change.plan.epoch, hash: Hex(proposed.hash), change: Hex(change) })
        });
        let changes = match reader {
            Some(reader) => changes.filter(|change| change.epoch > reader).take(CHANGES_MAX).collect(),
            None => changes.next_back().into_iter().collect(),
        };
        let next = self.plans.get(&self.epoch().next()).filter(|next| next.change.is_none());
        PlansReply {
            version: self.version(),
            network: Hex(self.network),
            phase: self.phase(),
            epoch: self.epoch(),
            genesis: self.plans.get(&Epoch::ZERO).map(|genesis| self.proposal(genesis)),
            proposal: next.map(|next| self.proposal(next)),
            changes,
        }
    }

    fn proposal(&self, proposed: &Proposed) -> Proposal {
        Proposal {
            epoch: proposed.plan.epoch,
            hash: Hex(proposed.hash),
            plan: Hex(proposed.plan.clone()),
            approvals: proposed.approvals.values().copied().map(Hex).collect(),
            complete: self.is_complete(proposed.plan.epoch),
        }
    }

    /// The whole network at `now_us`.
    pub(crate) fn topology(&self, now_us: u64) -> Topology {
        let current = self.current();
        let committees = current.map_or(&[][..], |current| &current.plan.committees[..]);
        let entries = committees.iter().enumerate().map(|(id, plan)| self.committee(CommitteeId::at(id), plan));
        let mut waiting: Vec<&NodeRow> = self.nodes.values().filter(|_| current.is_none()).collect();
        waiting.sort_by_key(|node| node.order);
        let waiting = waiting.into_iter().map(|node| WaitingEntry {
            key: node.key,
            peer_addr: node.peer_addr,
            client_addr: node.client_addr,
        });
        Topology {
            version: self.version(),
            time_us: now_us,
            network: Hex(self.network),
            phase: self.phase(),
            epoch: self.epoch(),
            committees_expected: self.settings.committees,
            members_expected: self.settings.members,
            chain: self.chain().map(Hex),
            genesis: self.plans.get(&Epoch::ZERO).map(|genesis| Hex(genesis.plan.clone())),
            plan: current.map(|current| Hex(current.plan.clone())),
            committees: entries.collect(),
            waiting: waiting.collect(),
        }
    }

    fn committee(&self, committee: CommitteeId, plan: &CommitteePlan) -> CommitteeEntry {
        let entry = |(member, key): (usize, _)| {
            let node = self.nodes.get(key)?;
            let live = self.live.get(key);
            Some(MemberEntry {
                member: MemberIndex::at(member),
                key: node.key,
                peer_addr: node.peer_addr,
                client_addr: node.client_addr,
                state: live.map_or(NodeState::Unknown, |live| live.state),
                heartbeat_us: live.map(|live| live.arrived_us),
                progress: live.map(|live| live.progress),
                process: live.and_then(|live| live.process),
            })
        };
        CommitteeEntry {
            committee,
            shard_first: plan.shard_first,
            shard_count: plan.shard_count,
            quorum: plan.quorum(),
            faults_max: plan.faults_max(),
            members: plan.members.iter().enumerate().filter_map(entry).collect(),
        }
    }

    /// The signaler's own state.
    pub(crate) fn health(&self, now_us: u64, uptime_s: u64) -> Health {
        Health {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            version: self.version(),
            phase: self.phase(),
            epoch: self.epoch(),
            time_us: now_us,
            uptime_s,
            registered: self.nodes.len(),
            expected: self.settings.expected(),
            up: self.live.values().filter(|live| live.state == NodeState::Up).count(),
        }
    }
}
