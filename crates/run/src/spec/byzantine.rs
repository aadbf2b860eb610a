//! Members that misbehave: they run the program `node-byzantine`, with one of the simulator's twists.

use serde::{Deserialize, Serialize};
use shardpay_types::{CommitteeId, MemberIndex, NodeId, faults_max};

use super::Spec;
use super::check::{Problem, require};
use super::faults::NodeSelector;

/// How a node misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TwistName {
    /// Makes two blocks in a slot and shows each to half of its peers.
    Equivocate,
    /// Sends nothing, or falls silent for a while again and again.
    BeSilent,
    /// Sends to some peers only.
    SendToSome,
    /// Answers no request: nobody gets history from it.
    Withhold,
    /// Makes blocks of far higher rounds.
    JumpRounds,
    /// Sends invalid blocks, requests and votes in numbers.
    Spam,
    /// Lies in packs, notices and cursors, on the wire and in its own blocks.
    LieAsRelayer,
    /// Lies in what it serves to those who catch up, and in its heartbeats.
    LieAboutHistory,
    /// Signs headers that nobody executed, different ones for different peers.
    SignFalseHeaders,
    /// Puts transactions with broken signatures into its blocks.
    ForgeTransactions,
    /// Runs twice with one key, together with f others: each half of the honest members gets a ledger of its own, and
    /// other committees see the second one.
    Fork,
}

impl TwistName {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Equivocate,
        Self::BeSilent,
        Self::SendToSome,
        Self::Withhold,
        Self::JumpRounds,
        Self::Spam,
        Self::LieAsRelayer,
        Self::LieAboutHistory,
        Self::SignFalseHeaders,
        Self::ForgeTransactions,
        Self::Fork,
    ];

    /// As specs and `node-byzantine --twist` spell it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equivocate => "equivocate",
            Self::BeSilent => "be-silent",
            Self::SendToSome => "send-to-some",
            Self::Withhold => "withhold",
            Self::JumpRounds => "jump-rounds",
            Self::Spam => "spam",
            Self::LieAsRelayer => "lie-as-relayer",
            Self::LieAboutHistory => "lie-about-history",
            Self::SignFalseHeaders => "sign-false-headers",
            Self::ForgeTransactions => "forge-transactions",
            Self::Fork => "fork",
        }
    }
}

/// An entry of `[[byzantine]]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Byzantine {
    /// Who.
    pub node: NodeSelector,
    /// How.
    pub twist: TwistName,
}

impl Spec {
    /// How a node misbehaves, if it does; of several entries the first one counts.
    pub fn twist(&self, node: NodeId) -> Option<TwistName> {
        let meant = |entry: &&Byzantine| {
            let nodes = entry.node.nodes(self.committees, self.nodes_per_committee, 0);
            nodes.is_some_and(|nodes| nodes.contains(&node))
        };
        self.byzantine.iter().find(meant).map(|entry| entry.twist)
    }

    /// Members of a committee that misbehave.
    pub fn byzantine_members(&self, committee: CommitteeId) -> Vec<(NodeId, TwistName)> {
        let node = |member| NodeId { committee, member: MemberIndex::at(member) };
        (0..self.nodes_per_committee).map(node).filter_map(|node| Some((node, self.twist(node)?))).collect()
    }

    /// The two halves of a committee's honest members when it is forked; see [`TwistName::Fork`].
    pub fn halves(&self, committee: CommitteeId) -> (Vec<NodeId>, Vec<NodeId>) {
        let node = |member| NodeId { committee, member: MemberIndex::at(member) };
        let honest = (0..self.nodes_per_committee).map(node).filter(|node| self.twist(*node).is_none());
        let mut left: Vec<NodeId> = honest.collect();
        let right = left.split_off(left.len().div_ceil(2));
        (left, right)
    }

    pub(super) fn check_byzantine(&self) -> Result<(), Problem> {
        for (index, entry) in self.byzantine.iter().enumerate() {
            let key = format!("byzantine.{index}.node");
            let found = entry.node.nodes(self.committees, self.nodes_per_committee, 0);
            let some = found.as_ref().is_some_and(|nodes| !nodes.is_empty());
            require(some, &key, format!("there is no node {}", entry.node))?;
            if entry.twist != TwistName::Fork {
                continue;
            }
            let needed = faults_max(self.nodes_per_committee) + 1;
            for committee in (0..self.committees).map(CommitteeId::at) {
                let forking = self.byzantine_members(committee);
                let forking = forking.iter().filter(|(_, twist)| *twist == TwistName::Fork).count();
                let why = format!(
                    "a fork of this committee size takes {needed} members, committee {committee} has {forking}"
                );
                require(forking == 0 || forking == needed, &key, why)?;
            }
        }
        Ok(())
    }
}
