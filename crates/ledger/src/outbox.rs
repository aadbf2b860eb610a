//! Logs of messages for other committees: appended by execution, proven from, pruned when consumed.
//!
//! Guarantees: a log proves everything from the last certified cursor of its destination on, under any
//! later count. Execution appends to [`Appended`], a copy of the frontier; the log itself grows only
//! when the commit is final, so a commit that is given up leaves no trace.

use shardpay_crypto::{Frontier, MerkleLog};
use shardpay_types::{CommitteeId, Hash, OutboxLeaf, OutboxMessage, Total};

use crate::books::plus;
use crate::inbox::message_leaf;

/// One destination's log.
#[derive(Debug, Clone, Default)]
pub(crate) struct OutboxLog {
    pub(crate) log: MerkleLog,
    pub(crate) amount: Total,
    /// The log up to where the destination's cursor is known to stand.
    pub(crate) acknowledged: Frontier,
}

impl OutboxLog {
    /// A log that continues `acknowledged`; [`Self::restore`] brings the rest.
    pub(crate) fn from_acknowledged(acknowledged: Frontier, amount: Total) -> Self {
        Self { log: MerkleLog::from_frontier(&acknowledged), amount, acknowledged }
    }

    /// Appends a message that the amount already counts.
    pub(crate) fn restore(&mut self, message: &OutboxMessage) {
        self.log.append(message_leaf(message));
    }

    /// Messages the destination is not known to have consumed.
    pub(crate) fn backlog(&self) -> u64 {
        self.log.count() - self.acknowledged.count()
    }

    /// Takes over what a commit appended.
    pub(crate) fn extend(&mut self, appended: &Appended) {
        for leaf in &appended.leaves {
            self.log.append(*leaf);
        }
        self.amount = appended.amount;
    }

    /// Forgets what the destination has consumed.
    pub(crate) fn prune(&mut self, count: u64) {
        let frontier = self.log.frontier_at(count).expect("cursors lie between the last one and the log's end");
        self.log.prune_below(count);
        self.acknowledged = frontier;
    }
}

/// A log with what the running commit appends to it.
#[derive(Debug, Clone)]
pub(crate) struct Appended {
    frontier: Frontier,
    amount: Total,
    leaves: Vec<Hash>,
    /// The new messages; the first has index `count − messages`.
    pub(crate) messages: Vec<OutboxMessage>,
}

impl Appended {
    pub(crate) fn to(log: &OutboxLog) -> Self {
        Self { frontier: log.log.frontier(), amount: log.amount, leaves: Vec::new(), messages: Vec::new() }
    }

    pub(crate) fn push(&mut self, message: OutboxMessage) {
        let leaf = message_leaf(&message);
        self.frontier.append(leaf);
        self.amount = plus(self.amount, message.amount);
        self.leaves.push(leaf);
        self.messages.push(message);
    }

    pub(crate) fn count(&self) -> u64 {
        self.frontier.count()
    }

    pub(crate) fn amount(&self) -> Total {
        self.amount
    }

    pub(crate) fn leaf(&self, destination: CommitteeId) -> OutboxLeaf {
        OutboxLeaf { destination, count: self.count(), amount: self.amount, root: self.frontier.root() }
    }
}
