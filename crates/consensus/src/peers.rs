//! What each peer is known to have, and what was pushed to it.
//!
//! Guarantees: a block is pushed to a peer as an ancestor at most once between two of the peer's own
//! reports, and not again while the peer may not have seen it yet; and only when the peer has shown that it lacks it.
//! A peer that is silent costs nothing.
//!
//! One round per (peer, author) is kept: an author's blocks form a chain, so who knows one knows those
//! before. Twins break the chain; they are fetched by digest, never pushed.

use std::time::Duration;

use shardpay_types::{BlockRef, MemberIndex, Round, Timestamp};

use crate::store::{BlockId, Store};
use crate::times::PeerTimes;

/// Rounds known to each peer, per author.
#[derive(Debug)]
pub(crate) struct Peers {
    known: Vec<Vec<Round>>,
    pushed: Vec<Vec<Round>>,
    /// Since when `pushed` is counted, per peer.
    since: Vec<Timestamp>,
    /// When own blocks were last sent because a peer repeated its own.
    answered: Vec<Option<Timestamp>>,
    /// How long it takes until a peer is seen to have what was sent, beyond the usual round.
    pub(crate) late: PeerTimes,
}

/// How much to push.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PushLimit {
    pub(crate) total: usize,
    pub(crate) per_author: usize,
    /// Blocks accepted later are on their way to everybody and left out.
    pub(crate) accepted_by: Timestamp,
}

impl Peers {
    /// Nobody is taken to be later than `late_max`.
    pub(crate) fn new(members: usize, late_max: Duration) -> Self {
        let none = || vec![vec![Round::ZERO; members]; members];
        Self {
            known: none(),
            pushed: none(),
            since: vec![Timestamp::ZERO; members],
            answered: vec![None; members],
            late: PeerTimes::new(members, late_max),
        }
    }

    /// The peer has a block.
    pub(crate) fn knows(&mut self, peer: MemberIndex, block: &BlockRef) {
        if let Some(round) = self.known.get_mut(peer.index()).and_then(|of| of.get_mut(block.author.index())) {
            *round = (*round).max(block.round);
        }
    }

    /// Whether the peer is known to have that round of the author.
    pub(crate) fn has(&self, peer: MemberIndex, author: MemberIndex, round: Round) -> bool {
        self.known.get(peer.index()).and_then(|of| of.get(author.index())).is_some_and(|known| *known >= round)
    }

    /// The peer's own newest block that we know of.
    pub(crate) fn newest(&self, peer: MemberIndex) -> Round {
        self.known.get(peer.index()).and_then(|of| of.get(peer.index())).copied().unwrap_or_default()
    }

    /// Whether a peer that repeats its own block is answered now: once in `period`, however many it repeats.
    pub(crate) fn answers_repeat(&mut self, now: Timestamp, peer: MemberIndex, period: Duration) -> bool {
        let Some(answered) = self.answered.get_mut(peer.index()) else { return false };
        let due = answered.is_none_or(|at| at.after(period) <= now);
        if due {
            *answered = Some(now);
        }
        due
    }

    /// The peer told what it has: this counts, whatever was known before. What was pushed before and is not among it is
    /// lost once the peer must have seen it.
    pub(crate) fn reported(&mut self, now: Timestamp, peer: MemberIndex, highest: &[BlockRef]) {
        let (index, late) = (peer.index(), self.late.long(peer));
        let (Some(known), Some(pushed), Some(since)) =
            (self.known.get_mut(index), self.pushed.get_mut(index), self.since.get_mut(index))
        else {
            return;
        };
        known.fill(Round::ZERO);
        for block in highest {
            if let Some(round) = known.get_mut(block.author.index()) {
                *round = block.round;
            }
        }
        if now >= since.after(late) {
            *since = now;
            pushed.clone_from(known);
        }
    }

    /// Blocks up to round `through` that the peer lacks and that were not pushed to it, ascending
    /// rounds.
    pub(crate) fn lacking(
        &mut self,
        store: &Store,
        peer: MemberIndex,
        through: Round,
        limit: PushLimit,
    ) -> Vec<BlockId> {
        let (Some(known), Some(pushed)) = (self.known.get(peer.index()), self.pushed.get_mut(peer.index())) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (index, (known, pushed)) in known.iter().zip(pushed.iter()).enumerate() {
            let author = MemberIndex::at(index);
            let after = (*known).max(*pushed).max(store.gc_round());
            let through = through.min(store.highest_round_of(author)).min(store.top());
            if after >= through {
                continue;
            }
            let rounds = (after.next().get()..=through.get()).map(Round::new);
            let held = rounds.filter(|round| {
                store.first_in_slot(*round, author).is_some_and(|entry| entry.accepted_at <= limit.accepted_by)
            });
            found.extend(held.take(limit.per_author).map(|round| BlockId { round, author, twin: 0 }));
        }
        found.sort_unstable();
        found.truncate(limit.total);
        for id in &found {
            if let Some(round) = pushed.get_mut(id.author.index()) {
                *round = (*round).max(id.round);
            }
        }
        found
    }
}
