//! What peers are told and given: answers to requests, differences from their reports, own blocks.
//!
//! Guarantees: a peer costs bounded work: at most [`REQUEST_REFS_MAX`] blocks per request and as many
//! ancestors it lacks, [`PUSH_BLOCKS_MAX`] per report, and an own block with at most
//! [`ANCESTORS_MAX`] ancestors when one is made. Ancestors go out on evidence that the peer lacks them, and again only
//! when a report shows so after the time in which it must have seen them; so a silent peer gets own blocks only.
//!
//! Serving goes on while this node recovers, stays out, or is closed: others may need it to get on.

use std::sync::Arc;

use shardpay_crypto::SealedBlock;
use shardpay_types::{BlockRef, MemberIndex, PUSH_BLOCKS_MAX, REQUEST_REFS_MAX, Round, Timestamp};

use crate::api::Output;
use crate::dag::Dag;
use crate::peers::PushLimit;

/// Most ancestors pushed with an own block.
pub(crate) const ANCESTORS_MAX: usize = 32;
/// A peer that asks for blocks that far above what it is known to have gets their ancestors too.
const BEHIND_ROUNDS: u64 = 4;
/// An ancestor that a peer's block should have known is that many rounds older.
const UNSEEN_ROUNDS: u64 = 4;
/// Most own blocks sent to a peer that repeats its own.
const REPEAT_MAX: u64 = 4;

impl Dag {
    /// Sends the blocks asked for that are here and refers to the driver's store for older ones.
    pub(crate) fn blocks_requested(&mut self, from: MemberIndex, refs: &[BlockRef]) {
        if !self.is_peer(from) {
            return;
        }
        let refs = &refs[..refs.len().min(REQUEST_REFS_MAX)];
        let mut blocks: Vec<Arc<SealedBlock>> = refs.iter().filter_map(|reference| self.block(reference)).collect();
        let old = |reference: &&BlockRef| reference.round <= self.store.gc_round();
        let stored: Vec<BlockRef> = refs.iter().filter(old).copied().collect();
        // Ancestors for a peer that is far behind, from below, while it asks from above.
        if let Some(lowest) = blocks.iter().map(|block| block.reference().round).min() {
            let through = lowest.minus(BEHIND_ROUNDS);
            let limit = PushLimit {
                total: ANCESTORS_MAX,
                per_author: ANCESTORS_MAX,
                accepted_by: Timestamp::from_micros(u64::MAX),
            };
            blocks.extend(self.lacking(from, through, limit));
        }
        blocks.sort_unstable_by_key(|block| block.reference());
        blocks.dedup_by_key(|block| block.reference());
        blocks.truncate(PUSH_BLOCKS_MAX);
        self.send(from, blocks, true);
        if !stored.is_empty() {
            self.outputs.push_back(Output::ServeStored { to: from, refs: stored });
        }
    }

    /// An accepted or waiting block.
    pub(crate) fn block(&self, reference: &BlockRef) -> Option<Arc<SealedBlock>> {
        let accepted = self.store.find(reference).and_then(|id| self.store.entry(id)).map(|entry| &entry.block);
        accepted.or_else(|| self.waiting.get(reference)).cloned()
    }

    fn lacking(&mut self, peer: MemberIndex, through: Round, limit: PushLimit) -> Vec<Arc<SealedBlock>> {
        let ids = self.peers.lacking(&self.store, peer, through, limit);
        ids.into_iter().filter_map(|id| self.store.entry(id)).map(|entry| entry.block.clone()).collect()
    }

    pub(crate) fn send(&mut self, to: MemberIndex, blocks: Vec<Arc<SealedBlock>>, requested: bool) {
        if !blocks.is_empty() {
            self.outputs.push_back(Output::Send { to, blocks, requested });
        }
    }

    /// A peer told its highest blocks: push what it lacks, ask for what we lack.
    pub(crate) fn peer_status(&mut self, now: Timestamp, from: MemberIndex, highest: &[BlockRef]) {
        if !self.is_peer(from) {
            return;
        }
        let members = self.members();
        let highest: Vec<BlockRef> =
            highest.iter().filter(|block| block.author.index() < members).take(members).copied().collect();
        self.peers.reported(now, from, &highest);
        let on_its_way = self.config.leader_timeout.max(self.peers.late.long(from));
        let limit = PushLimit {
            total: PUSH_BLOCKS_MAX,
            per_author: ANCESTORS_MAX,
            accepted_by: Timestamp::from_micros(now.micros().saturating_sub(on_its_way.as_micros() as u64)),
        };
        let blocks = self.lacking(from, self.store.top(), limit);
        self.send(from, blocks, false);
        self.ask_reported(now, from, &highest);
        self.own_reported(from, &highest);
    }

    fn ask_reported(&mut self, now: Timestamp, from: MemberIndex, highest: &[BlockRef]) {
        let (gc_round, horizon) = (self.store.gc_round(), self.horizon());
        if let Some(ahead) = highest.iter().map(|block| block.round).max().filter(|round| *round > horizon) {
            self.far_behind(now, ahead);
        }
        let within = highest.iter().filter(|block| block.round > gc_round && block.round <= horizon);
        let lacked: Vec<BlockRef> = within.filter(|block| self.block(block).is_none()).copied().collect();
        // What was just made is on its way here.
        let in_flight = || self.asks.in_flight(from, self.config.sync_retry / 2);
        let due = if self.stage.awaiting.is_some() { now } else { now.after(in_flight()) };
        for reference in &lacked {
            self.asks.reported(*reference, from, due);
        }
        if let Some(reported) = self.faults.reported.get_mut(from.index()) {
            *reported = lacked.into_iter().collect();
        }
    }

    /// Sends an own block to everybody, with the ancestors that each has shown to lack.
    pub(crate) fn push_own(&mut self, block: &Arc<SealedBlock>) {
        for to in self.others() {
            let through = self.peers.newest(to).minus(UNSEEN_ROUNDS).min(block.reference().round.minus(UNSEEN_ROUNDS));
            let limit = PushLimit {
                total: ANCESTORS_MAX,
                per_author: ANCESTORS_MAX,
                accepted_by: Timestamp::from_micros(u64::MAX),
            };
            let mut blocks = self.lacking(to, through, limit);
            blocks.push(block.clone());
            self.send(to, blocks, false);
        }
    }

    /// Sends the newest own block again to those whose block of its round is missing: it or theirs was
    /// lost, and the round cannot end without them.
    pub(crate) fn resend_own(&mut self) {
        let latest = self.own.latest;
        let Some(block) = self.block(&latest) else { return };
        let present = self.store.authors_at(latest.round);
        for to in self.others().filter(|member| !present.contains(*member)) {
            self.send(to, vec![block.clone()], false);
        }
    }

    /// A peer repeats its own block because it lacks ours: send ours again. Answers count as requested,
    /// and requested blocks are not answered, so this ends.
    pub(crate) fn answer_repeat(&mut self, now: Timestamp, from: MemberIndex, repeated: &BlockRef) {
        let settled = self.config.leader_timeout / 2;
        let old = self.store.find(repeated).and_then(|id| self.store.entry(id));
        if repeated.author != from || old.is_none_or(|entry| entry.accepted_at.after(settled) > now) {
            return;
        }
        let period = settled.max(self.peers.late.long(from));
        if !self.peers.answers_repeat(now, from, period) {
            return;
        }
        let latest = self.own.latest.round;
        let first = latest.minus(REPEAT_MAX - 1).max(repeated.round);
        let own = self.config.own;
        let lacked = (first.get()..=latest.get()).map(Round::new).filter(|round| !self.peers.has(from, own, *round));
        let blocks = lacked.filter_map(|round| self.store.first_in_slot(round, own)).map(|entry| entry.block.clone());
        let blocks = blocks.collect();
        self.send(from, blocks, true);
    }

    /// Requests that are due.
    pub(crate) fn send_requests(&mut self, now: Timestamp) {
        for (to, refs) in self.asks.poll(now) {
            self.outputs.push_back(Output::Request { to, refs });
        }
    }
}
