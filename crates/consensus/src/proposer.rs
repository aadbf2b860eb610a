//! Making own blocks: when there is work, with which parents, with or without payload.
//!
//! Guarantees: one block per round, ascending; quiet when idle; payload only when the committee keeps up
//! (not when more than [`UNCOMMITTED_MAX`] rounds are uncommitted, the own chain lags more than
//! [`LAG_MAX`] rounds, or more than [`BACKLOG_MAX`] commits wait for execution). Overload never stops the
//! chain itself: empty blocks still vote.
//!
//! There is work when the replica has some that may go into the next block, when a block lies at or
//! above the next own round, or when the next block reaches uncommitted payload: whoever proposes payload is
//! carried to its commit by everybody.

use std::sync::Arc;
use std::time::Duration;

use shardpay_crypto::SealedBlock;
use shardpay_types::{
    BLOCK_BYTES_MAX, Block, BlockRef, Codec, List, MemberIndex, Payload, Round, Signature, Timestamp, Version,
};

use crate::api::Output;
use crate::dag::{Dag, Proposing};
use crate::intake::Source;
use crate::pacemaker::{Verdict, View};
use crate::store::BlockId;
use crate::validity::genesis_ref;

/// Uncommitted rounds above which no payload is proposed.
const UNCOMMITTED_MAX: u64 = 20;
/// Rounds behind the highest block above which no payload is proposed.
const LAG_MAX: u64 = 5;
/// Commits waiting for execution above which no payload is proposed.
const BACKLOG_MAX: usize = 8;

impl Dag {
    /// The round of the next own block. Rounds up to the last ordered slot need none.
    pub(crate) fn next_round(&self) -> Round {
        self.own.latest.round.max(self.commits.ordered).next()
    }

    /// Whether own blocks may be made at all.
    fn may_propose(&self) -> bool {
        let stage = &self.stage;
        let stopped = stage.stays_out || stage.halted || stage.awaiting.is_some();
        // An adopted own block whose parents are still being fetched holds the chain.
        let latest = &self.own.latest;
        let standing = latest.round <= self.store.gc_round() || self.store.find(latest).is_some();
        !stopped && standing && self.own.proposing.is_none()
    }

    /// The pacemaker's turn: asks for a proposal, or notes when to look again.
    pub(crate) fn pace(&mut self, now: Timestamp) {
        self.pacemaker.due = None;
        if !self.may_propose() {
            return;
        }
        let round = self.next_round();
        let before = round.previous();
        if before > Round::ZERO && self.store.authors_at(before).len() < self.quorum() {
            return self.await_quorum(now, round);
        }
        // C3: Q blocks of the round exist, or of later ones: catch up.
        if self.store.highest_quorum() >= round {
            let catching_up = self.store.highest_quorum() > round;
            self.counts.catch_up_blocks += u64::from(catching_up);
            return self.propose(round, !catching_up && !self.overloaded(round));
        }
        if !self.has_work(round) {
            return;
        }
        let alone = self.members() == 1;
        let paused = alone && self.alone_until() > now;
        let payload_allowed = !paused && !self.overloaded(round);
        if alone && !payload_allowed && !self.reaches_payload(round) {
            self.pacemaker.due = Some(self.alone_until()).filter(|due| *due > now);
            return;
        }
        let delay = if alone { Duration::ZERO } else { self.config.min_round_delay };
        let view = View { config: &self.config, store: &self.store, rule: &self.rule };
        match self.pacemaker.ready(now, round, delay, &view) {
            Verdict::Wait(due) => self.pacemaker.due = Some(due),
            Verdict::Leader => self.propose(round, payload_allowed),
            Verdict::Timeout => {
                self.counts.leader_timeouts += 1;
                self.propose(round, payload_allowed);
            }
        }
    }

    /// A committee of one paces its payload only: the blocks that certify it follow at once.
    fn alone_until(&self) -> Timestamp {
        self.pacemaker.payload_at.map_or(Timestamp::ZERO, |at| at.after(self.config.min_round_delay))
    }

    /// The round before has no quorum. With work to do, the own block in it is sent again now and then.
    fn await_quorum(&mut self, now: Timestamp, round: Round) {
        if self.own.latest.round.next() != round || !self.has_work(round) {
            return;
        }
        if self.pacemaker.resend_due(&self.config) <= now {
            self.pacemaker.resent(now);
            self.resend_own();
        }
        self.pacemaker.due = Some(self.pacemaker.resend_due(&self.config));
    }

    fn propose(&mut self, round: Round, payload_allowed: bool) {
        self.own.proposing = Some(Proposing { round, payload_allowed });
        let around = Block::MIN_LEN - Payload::MIN_LEN + self.members() * BlockRef::MIN_LEN;
        let bytes_max = BLOCK_BYTES_MAX.saturating_sub(around);
        self.outputs.push_back(Output::Propose { round, payload_allowed, bytes_max });
    }

    fn execution_backlog(&self) -> bool {
        self.commits.executing + self.commits.ready.len() > BACKLOG_MAX
    }

    /// Whether the next own block must carry no payload: overload, or the epoch's end.
    fn overloaded(&self, round: Round) -> bool {
        self.stage.closed
            || round.since(self.last_output()) > UNCOMMITTED_MAX
            || self.store.highest_round().since(round) > LAG_MAX
            || self.execution_backlog()
    }

    /// Quiet when idle: whether the block of `round` has a purpose. Own work waits while execution is
    /// behind; it does not when too much is uncommitted, which only further rounds can mend.
    fn has_work(&mut self, round: Round) -> bool {
        (self.own.work && !self.execution_backlog())
            || self.store.highest_round() >= round
            || self.reaches_payload(round)
    }

    /// Whether the block of `round` reaches uncommitted payload above the gc round.
    fn reaches_payload(&mut self, round: Round) -> bool {
        let mut below = self.store.payloads().iter().take_while(|id| id.round < round).peekable();
        if below.peek().is_none() {
            return false;
        }
        // Blocks of authors that never equivocated are ancestors of their newest one.
        let certain = below.any(|id| !self.faults.equivocators.contains(id.author));
        certain || self.reaches_equivocators_payload(round)
    }

    /// Looked at once per change of the DAG: an equivocator can leave payload that nobody ever reaches.
    fn reaches_equivocators_payload(&mut self, round: Round) -> bool {
        let seen = (round, self.store.version());
        if let Some((at, reached)) = self.own.reach
            && at == seen
        {
            return reached;
        }
        let lowest = self.store.payloads().first().map_or(round, |id| id.round);
        let parents = self.parent_ids(round);
        let found = self.store.walk(&parents, |id, _| id.round >= lowest);
        let reached = found.iter().any(|id| self.store.payloads().contains(id));
        self.own.reach = Some((seen, reached));
        reached
    }

    /// Each other author's newest accepted block below `round`, ascending; proven equivocators only as
    /// far as the round before has no quorum without them. The own one first, when it is held.
    fn parent_ids(&self, round: Round) -> Vec<BlockId> {
        let before = round.previous();
        let own_id = self.store.find(&self.own.latest);
        let mut in_round_before = usize::from(own_id.is_some_and(|id| id.round == before));
        let (mut honest, mut suspects) = (Vec::new(), Vec::new());
        for author in self.others() {
            let Some(id) = self.store.newest_below(author, round) else { continue };
            if self.faults.equivocators.contains(author) {
                suspects.push(id);
            } else {
                in_round_before += usize::from(id.round == before);
                honest.push(id);
            }
        }
        for id in suspects.into_iter().filter(|id| id.round == before) {
            if in_round_before < self.quorum() {
                in_round_before += 1;
                honest.push(id);
            }
        }
        honest.sort_unstable_by_key(|id| id.author);
        own_id.into_iter().chain(honest).collect()
    }

    fn parents(&self, round: Round) -> Vec<BlockRef> {
        let own = self.own.latest;
        if round == Round::new(1) {
            let context = &self.config.context;
            return std::iter::once(own).chain(self.others().map(|author| genesis_ref(context, author))).collect();
        }
        let others = self.parent_ids(round).into_iter().filter(|id| id.author != own.author);
        let reference = |id: BlockId| self.store.entry(id).map(|entry| entry.block.reference());
        std::iter::once(own).chain(others.filter_map(reference)).collect()
    }

    /// The replica's answer: makes, keeps and sends the own block.
    pub(crate) fn proposal(&mut self, now: Timestamp, round: Round, payload: Payload) {
        let Some(asked) = self.own.proposing.take_if(|asked| asked.round == round) else { return };
        if !self.may_propose() || round != self.next_round() {
            return;
        }
        assert!(asked.payload_allowed || payload.is_empty(), "the replica proposes payload only when it is allowed");
        let block = self.sign(now, round, payload);
        self.pacemaker.made(now, !block.block().payload.is_empty());
        self.own.latest = block.reference();
        let parents = self.store.resolve(&block).expect("parents of an own block are accepted");
        let ready = self.accept(now, Source::Peer(self.config.own), block.clone(), parents);
        self.accept_all(now, ready);
        if !self.stage.halted {
            self.push_own(&block);
        }
    }

    fn sign(&self, now: Timestamp, round: Round, payload: Payload) -> Arc<SealedBlock> {
        let context = &self.config.context;
        let author: MemberIndex = self.config.own;
        let block = Block {
            version: Version,
            chain: context.chain,
            epoch: context.epoch,
            committee: context.committee,
            author,
            round,
            timestamp: now,
            parents: List::bounded(self.parents(round)),
            payload,
            signature: Signature::ZERO,
        };
        SealedBlock::sign(block, &*self.signer)
    }
}
