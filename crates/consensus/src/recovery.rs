//! Getting back in: after a restart, after a lost store, and after being away for more than the gc depth.
//!
//! Guarantees: a restarted node makes no block before Q − 1 peers told what they have under its key and it
//! holds all of that, so a block that left before the crash is never contradicted by a second one. A
//! node whose store has no own block although blocks under its key exist stays out of the epoch: it cannot
//! know what else it signed. In both cases it accepts, commits and serves all the same.
//!
//! A report is a peer's word: it counts once the blocks it names are here (they are signed with our key), so
//! a liar delays nobody who hears Q − 1 others.
//!
//! **Resuming.** What earlier leaders committed is known by their list, not by the order in which blocks
//! come: their ancestors within their windows are marked committed before ordering goes on above them. After
//! a restart the store has them; after a rejoin they are fetched.

use std::collections::BTreeMap;
use std::sync::Arc;

use shardpay_crypto::SealedBlock;
use shardpay_types::{BlockRef, MemberIndex, Round, Timestamp};

use crate::api::{Output, Recovered};
use crate::dag::Dag;
use crate::intake::Source;
use crate::order::linearize;

/// Waiting for peers' reports before the first own block.
#[derive(Debug)]
pub(crate) struct AwaitingPeers {
    /// Per peer heard: the block under our key it reported and we lack, if any.
    reports: BTreeMap<MemberIndex, Option<BlockRef>>,
    /// The store held no own block.
    no_own_block: bool,
}

impl Dag {
    /// Starts from what the store held.
    pub(crate) fn recover(&mut self, now: Timestamp, recovered: Recovered) {
        let Recovered { last_output, leaders, mut blocks } = recovered;
        self.resume_above(now, last_output, leaders);
        blocks.sort_unstable_by_key(|block| block.reference());
        let own = blocks.iter().rev().map(|block| block.reference()).find(|block| block.author == self.config.own);
        if let Some(own) = own {
            self.adopt(own);
        }
        for block in blocks {
            self.take_stored(now, block);
        }
        if self.quorum() > 1 && self.members() > 1 {
            self.stage.awaiting = Some(AwaitingPeers { reports: BTreeMap::new(), no_own_block: own.is_none() });
        }
    }

    fn take_stored(&mut self, now: Timestamp, block: Arc<SealedBlock>) {
        let reference = block.reference();
        let known = reference.author.index() < self.members();
        if known && reference.round > self.store.gc_round() && self.block(&reference).is_none() {
            self.take(now, Source::Stored, block);
        }
    }

    /// A block under our key: never sign another one in its round or below.
    pub(crate) fn adopt(&mut self, reference: BlockRef) {
        if reference.round > self.own.latest.round {
            self.own.latest = reference;
        }
        if self.stage.awaiting.as_ref().is_some_and(|awaiting| awaiting.no_own_block) {
            self.stay_out(reference);
        }
    }

    pub(crate) fn stay_out(&mut self, newest: BlockRef) {
        self.stage.awaiting = None;
        if !std::mem::replace(&mut self.stage.stays_out, true) {
            self.own.proposing = None;
            self.outputs.push_back(Output::StayOut { newest });
        }
    }

    /// A peer reported its highest blocks; what it has under our key counts here.
    pub(crate) fn own_reported(&mut self, from: MemberIndex, highest: &[BlockRef]) {
        let own = highest.iter().find(|block| block.author == self.config.own).copied();
        let Some(awaiting) = &mut self.stage.awaiting else { return };
        awaiting.reports.insert(from, own);
    }

    /// Ends the wait when Q − 1 peers' reports are covered by blocks that are here.
    pub(crate) fn check_reports(&mut self) {
        let Some(awaiting) = &self.stage.awaiting else { return };
        let covered = |own: &&Option<BlockRef>| {
            own.is_none_or(|own| own.round <= self.store.gc_round() || self.store.find(&own).is_some())
        };
        if awaiting.reports.values().filter(covered).count() + 1 >= self.quorum() {
            self.stage.awaiting = None;
        }
    }

    /// The ledger stands at `anchor`: go on above it.
    pub(crate) fn rejoin(&mut self, now: Timestamp, anchor: BlockRef, leaders: Vec<BlockRef>) {
        if anchor.round <= self.last_output() || self.stage.closed {
            return;
        }
        self.commits.executing = 0;
        if anchor.round <= self.commits.ordered {
            // Ordered here already: the ledger has those commits now.
            self.commits.ready.retain(|commit| commit.anchor.round > anchor.round);
            return;
        }
        self.commits.ready.clear();
        self.resume_above(now, anchor.round, leaders);
    }

    /// Everything up to `round` is decided; `leaders` are those committed in the last gc window.
    fn resume_above(&mut self, now: Timestamp, round: Round, leaders: Vec<BlockRef>) {
        self.commits.ordered = round;
        self.commits.leaders.reset(leaders);
        self.rule.committed_before(self.commits.leaders.newest());
        self.rule.reconsider();
        let ready = self.collect_garbage();
        let gc_round = self.store.gc_round();
        let above = self.commits.leaders.list().iter().filter(|leader| leader.round > gc_round);
        let above: Vec<BlockRef> = above.copied().collect();
        for leader in &above {
            if self.block(leader).is_none() {
                self.asks.need(*leader, leader.author, now);
            }
        }
        self.commits.resuming = Some(above);
        self.resume_when_complete();
        self.accept_all(now, ready);
        let ready = self.decide();
        self.accept_all(now, ready);
    }

    /// Marks what the earlier leaders committed once they are all here, and lets ordering go on.
    pub(crate) fn resume_when_complete(&mut self) {
        let Some(leaders) = &self.commits.resuming else { return };
        let ids: Option<Vec<_>> = leaders.iter().map(|leader| self.store.find(leader)).collect();
        let Some(ids) = ids else { return };
        for id in ids {
            linearize(&mut self.store, id, self.config.gc_depth);
        }
        self.commits.resuming = None;
    }
}
