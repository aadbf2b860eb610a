//! What each peer is known to have, and what was pushed to it.
//!
//! Guarantees: a block is pushed to a peer as an ancestor at most once between two of the peer's own
//! reports, and only when the peer has shown that it lacks it; a peer that is silent costs nothing.
//!
//! One round per (peer, author) is kept: an author's blocks form a chain, so who knows one knows those
//! before. Twins break the chain; they are fetched by digest, never pushed.

use shardpay_types::{BlockRef, MemberIndex, Round, Timestamp};

use crate::store::{BlockId, Store};

/// Rounds known to each peer, per author.
#[derive(Debug)]
pub(crate) struct Peers {
    known: Vec<Vec<Round>>,
    pushed: Vec<Vec<Round>>,
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
    pub(crate) fn new(members: usize) -> Self {
        let none = || vec![vec![Round::ZERO; members]; members];
        Self { known: none(), pushed: none() }
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

    /// The peer told what it has: this counts, whatever was known or pushed before.
    pub(crate) fn reported(&mut self, peer: MemberIndex, highest: &[BlockRef]) {
        let Some(known) = self.known.get_mut(peer.index()) else { return };
        known.fill(Round::ZERO);
        for block in highest {
            if let Some(round) = known.get_mut(block.author.index()) {
                *round = block.round;
            }
        }
        let known = known.clone();
        if let Some(pushed) = self.pushed.get_mut(peer.index()) {
            *pushed = known;
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
