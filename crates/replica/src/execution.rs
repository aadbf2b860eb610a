//! Commits on their way through the ledger machine.
//!
//! Guarantees: commits are handed over in order, and none after one that may close the epoch before its
//! result is known. What is handed over twice is a bug (the ledger asserts that commits ascend).

use std::collections::VecDeque;
use std::sync::Arc;

use shardpay_crypto::Commit;
use shardpay_types::{LedgerHeader, MemberIndex, Round};

/// A commit that the ledger is executing.
#[derive(Debug)]
pub(crate) struct Flight {
    /// Rounds of own blocks in it.
    pub(crate) own: Vec<Round>,
    /// It carries an epoch change: nothing may follow before its result.
    barrier: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Execution {
    waiting: VecDeque<Arc<Commit>>,
    flights: VecDeque<Flight>,
    head: Option<LedgerHeader>,
    /// Anchor round of the last executed commit, in the running epoch.
    round: Round,
}

impl Execution {
    pub(crate) fn new(head: Option<LedgerHeader>, round: Round) -> Self {
        Self { head, round, ..Self::default() }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// Commits not executed.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.flights.len()
    }

    /// The last ledger block's header.
    pub(crate) fn head(&self) -> Option<&LedgerHeader> {
        self.head.as_ref()
    }

    /// Takes a commit of the DAG; false when the ledger is past it by replayed blocks.
    pub(crate) fn push(&mut self, commit: Arc<Commit>) -> bool {
        let fresh = commit.anchor.round > self.round;
        if fresh {
            self.waiting.push_back(commit);
        }
        fresh
    }

    /// The next commit to hand over.
    pub(crate) fn next(&mut self, own: Option<MemberIndex>) -> Option<Arc<Commit>> {
        if self.flights.back().is_some_and(|flight| flight.barrier) {
            return None;
        }
        let commit = self.waiting.pop_front()?;
        let mine = commit.blocks.iter().filter(|block| Some(block.reference().author) == own);
        self.flights.push_back(Flight {
            own: mine.map(|block| block.reference().round).collect(),
            barrier: commit.blocks.iter().any(|block| block.block().payload.epoch_change.is_some()),
        });
        Some(commit)
    }

    /// The ledger executed the oldest commit.
    ///
    /// # Panics
    /// When none was handed over: the driver's bug.
    pub(crate) fn executed(&mut self, round: Round) -> Flight {
        self.round = self.round.max(round);
        self.flights.pop_front().expect("the ledger answers what it was given, in order")
    }

    /// A ledger block was made or replayed.
    pub(crate) fn set_head(&mut self, header: &LedgerHeader) {
        if header.last_of_commit {
            self.round = self.round.max(header.anchor.round);
        }
        self.head = Some(header.clone());
    }

    /// Drops waiting commits that the ledger got past by replaying; how many.
    pub(crate) fn skip_replayed(&mut self) -> usize {
        let before = self.waiting.len();
        let round = self.round;
        self.waiting.retain(|commit| commit.anchor.round > round);
        before - self.waiting.len()
    }

    /// Drops all waiting commits; how many.
    pub(crate) fn skip_all(&mut self) -> usize {
        std::mem::take(&mut self.waiting).len()
    }

    /// The epoch closed: what its DAG still commits is void.
    pub(crate) fn close(&mut self) {
        assert!(self.flights.is_empty(), "nothing follows the commit that closes an epoch");
        self.waiting.clear();
        self.round = Round::ZERO;
    }
}
