//! How a block gets into the DAG.
//!
//! Guarantees: a block is accepted when all its parents above the gc round are, and persisted before
//! anything that depends on it comes out. Per slot the first block accepted is kept; another one is taken
//! only when it was asked for by digest, that is, when somebody built on it or reported it. What comes pushed is
//! bounded: not below the gc round, not more than the gc depth above the highest accepted round (a hint
//! only), and within the waiting area's limits. Everything dropped is counted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use shardpay_crypto::SealedBlock;
use shardpay_types::{BlockRef, EquivocationProof, MemberIndex, Round, Timestamp};

use crate::api::Output;
use crate::dag::Dag;
use crate::store::BlockId;

/// Where a block came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Peer(MemberIndex),
    /// The driver's store: durable already.
    Stored,
}

impl Dag {
    /// A block came from a peer. `requested` is the peer's word only; what was asked for is known here.
    pub(crate) fn block_received(
        &mut self,
        now: Timestamp,
        from: MemberIndex,
        block: Arc<SealedBlock>,
        requested: bool,
    ) {
        let reference = block.reference();
        let context = &self.config.context;
        let ours = block.block().epoch == context.epoch && block.block().committee == context.committee;
        if !ours || !self.is_peer(from) || reference.author.index() >= self.members() {
            self.counts.dropped_blocks += 1;
            return;
        }
        self.peers.knows(from, &reference);
        if self.held(&reference) {
            self.counts.dropped_blocks += 1;
            if !requested {
                self.answer_repeat(now, from, &reference);
            }
            return;
        }
        if requested {
            self.asks.answered(now, from, &reference);
        } else if reference.author == from {
            self.note_lateness(now, &block);
        }
        let asked = self.was_asked_for(&reference);
        if self.wanted(now, &block, asked) {
            self.take(now, Source::Peer(from), block);
        } else {
            self.counts.dropped_blocks += 1;
        }
    }

    /// A peer's new block shows which own block it has seen: so much later than we made the one after that. (Later than
    /// that one itself would count the time in which nobody had anything to do.)
    fn note_lateness(&mut self, now: Timestamp, block: &SealedBlock) {
        let own = self.config.own;
        let seen = block.block().parents.iter().filter(|parent| parent.author == own).map(|parent| parent.round).max();
        let Some(seen) = seen else { return };
        // of blocks that are gone it is known only that they are older
        let next = self.store.first_in_slot(seen.max(self.store.gc_round()).next(), own);
        let late = next.map_or(Duration::ZERO, |next| now.since(next.accepted_at));
        self.peers.late.note(block.reference().author, late);
    }

    fn held(&self, reference: &BlockRef) -> bool {
        self.store.find(reference).is_some() || self.waiting.get(reference).is_some()
    }

    fn was_asked_for(&self, reference: &BlockRef) -> bool {
        self.asks.contains(reference)
            || self.waiting.awaited(reference)
            || self.faults.reported.iter().any(|reported| reported.contains(reference))
    }

    /// The bounds on what is taken, and the proof when it is a twin.
    fn wanted(&mut self, now: Timestamp, block: &Arc<SealedBlock>, asked: bool) -> bool {
        let reference = block.reference();
        if reference.round <= self.store.gc_round() {
            return false;
        }
        self.check_twin(block);
        if self.occupied(&reference) && !asked {
            return false;
        }
        if reference.round > self.horizon() && !asked {
            self.far_behind(now, reference.round);
            return false;
        }
        true
    }

    /// Rounds above this one are a hint only. Measured from what was accepted, never from the last output.
    pub(crate) fn horizon(&self) -> Round {
        self.store.highest_round().max(self.store.gc_round()).plus(self.config.gc_depth)
    }

    pub(crate) fn far_behind(&mut self, now: Timestamp, round: Round) {
        if now >= self.faults.hint_after {
            self.faults.hint_after = now.after(self.config.sync_retry_max);
            self.outputs.push_back(Output::FarBehind { round });
        }
    }

    /// Whether a block is accepted in the slot. One that merely waits keeps nobody out: its parents may not
    /// exist, and it would shut out the author's real block, which others may rest a decision on.
    fn occupied(&self, reference: &BlockRef) -> bool {
        self.store.first_in_slot(reference.round, reference.author).is_some()
    }

    /// Another block stands in the slot: its author is proven to equivocate.
    fn check_twin(&mut self, block: &Arc<SealedBlock>) {
        let reference = block.reference();
        let accepted = self.store.first_in_slot(reference.round, reference.author).map(|entry| &entry.block);
        let first = accepted.or_else(|| self.waiting.in_slot(reference.round, reference.author));
        let Some(first) = first.filter(|first| first.reference() != reference) else { return };
        if self.faults.equivocators.insert(reference.author) {
            let proof = EquivocationProof { first: first.block().clone(), second: block.block().clone() };
            self.outputs.push_back(Output::Equivocation(Box::new(proof)));
        }
        if reference.author == self.config.own {
            // Our key signed two blocks: the store was rolled back. No third one.
            self.stay_out(reference);
        }
    }

    /// Accepts a block, or lets it wait and asks for what it lacks.
    pub(crate) fn take(&mut self, now: Timestamp, source: Source, block: Arc<SealedBlock>) {
        let reference = block.reference();
        let asked = source == Source::Stored || self.was_asked_for(&reference);
        self.asks.cancel(&reference);
        for reported in &mut self.faults.reported {
            reported.remove(&reference);
        }
        if reference.author == self.config.own {
            self.adopt(reference);
        }
        match self.store.resolve(&block) {
            Ok(parents) => {
                let ready = self.accept(now, source, block, parents);
                self.accept_all(now, ready);
            }
            Err(missing) => self.wait_for(now, (source, asked), block, missing),
        }
    }

    fn wait_for(&mut self, now: Timestamp, origin: (Source, bool), block: Arc<SealedBlock>, missing: Vec<BlockRef>) {
        let reference = block.reference();
        let (source, asked) = origin;
        let first = match source {
            Source::Peer(from) => from,
            Source::Stored => reference.author,
        };
        let before = reference.round.previous();
        for parent in missing.iter().filter(|parent| self.waiting.get(parent).is_none()) {
            // A parent one round below a pushed block is probably on its way.
            let in_flight = parent.round == before && !asked && source != Source::Stored;
            let wait = if in_flight { self.asks.in_flight(first, self.config.sync_retry / 4) } else { Duration::ZERO };
            let due = now.after(wait);
            self.asks.need(*parent, first, due);
        }
        let evicted = self.waiting.insert(block, asked, missing);
        self.counts.dropped_blocks += evicted.blocks.len() as u64;
        for orphan in &evicted.orphans {
            if !self.is_pinned(orphan) {
                self.asks.cancel(orphan);
            }
        }
        for gone in &evicted.blocks {
            if self.waiting.awaited(gone) || self.is_pinned(gone) {
                self.asks.need(*gone, gone.author, now.after(self.config.sync_retry));
            }
        }
    }

    /// Whether a block is needed though no waiting block names it.
    fn is_pinned(&self, reference: &BlockRef) -> bool {
        *reference == self.own.latest
            || self.commits.resuming.as_ref().is_some_and(|leaders| leaders.contains(reference))
    }

    /// Accepts blocks that lacked a parent until now, and what they release in turn.
    pub(crate) fn accept_all(&mut self, now: Timestamp, ready: Vec<BlockRef>) {
        let mut ready: BTreeSet<BlockRef> = ready.into_iter().collect();
        while let Some(reference) = ready.pop_first() {
            if self.stage.halted {
                return;
            }
            let Some((block, asked)) = self.waiting.remove(&reference) else { continue };
            if self.occupied(&reference) && !asked && !self.waiting.awaited(&reference) {
                // Its twin was founded first and nobody builds on this one.
                self.counts.dropped_blocks += 1;
                continue;
            }
            let Ok(parents) = self.store.resolve(&block) else { continue };
            if reference.round > self.store.gc_round() {
                ready.extend(self.accept(now, Source::Peer(reference.author), block, parents));
            }
        }
    }

    /// Adds a block to the DAG; returns waiting blocks that lack nothing any more.
    pub(crate) fn accept(
        &mut self,
        now: Timestamp,
        source: Source,
        block: Arc<SealedBlock>,
        parents: Vec<BlockId>,
    ) -> Vec<BlockRef> {
        let reference = block.reference();
        for parent in &block.block().parents {
            self.peers.knows(reference.author, parent);
        }
        self.peers.knows(reference.author, &reference);
        let accepted_at = if source == Source::Stored { Timestamp::ZERO } else { now };
        // A lost store must still look lost after the next restart.
        let lost_own = self.stage.stays_out && reference.author == self.config.own;
        if source != Source::Stored && !lost_own {
            self.outputs.push_back(Output::Persist(block.clone()));
        }
        let id = self.store.insert(block, parents, accepted_at);
        let mut ready = self.waiting.resolve(&reference);
        if let Some(fork) = self.rule.record(&mut self.store, id, self.commits.ordered) {
            self.halt(fork);
            return Vec::new();
        }
        self.resume_when_complete();
        ready.extend(self.decide());
        ready
    }

    /// Drops what lies at or below the gc round; returns waiting blocks that lack nothing any more.
    pub(crate) fn collect_garbage(&mut self) -> Vec<BlockRef> {
        let gc_round = self.commits.ordered.minus(self.config.gc_depth);
        let reclaimed = self.store.drop_through(gc_round, self.config.own);
        if !reclaimed.is_empty() && !self.stage.closed {
            self.outputs.push_back(Output::Reclaimed(reclaimed));
        }
        self.asks.drop_through(gc_round);
        for reported in &mut self.faults.reported {
            reported.retain(|reference| reference.round > gc_round);
        }
        let (dropped, ready) = self.waiting.drop_through(gc_round);
        self.counts.dropped_blocks += dropped as u64;
        ready
    }
}
