//! Which blocks are asked for, whom, and when again.
//!
//! Guarantees: a request names at most [`REQUEST_REFS_MAX`] references, ascending; a reference is asked for
//! again with doubling waits and another peer each time, so names of blocks that do not exist soon cost
//! little and never keep others from being asked for. Nothing is due when nothing is missing.
//!
//! The first to be asked is whoever needs the block to exist: who sent a block that names it as a parent,
//! or who reported to have it. Then its author, then the others in turn.

use std::collections::BTreeMap;
use std::time::Duration;

use shardpay_types::{BlockRef, MemberIndex, REQUEST_REFS_MAX, Round, Timestamp};

/// Most requests to one peer at a time; what is left over waits for a short moment.
const REQUESTS_PER_PEER_MAX: usize = 2;

#[derive(Debug, Clone, Copy)]
struct Ask {
    first: MemberIndex,
    attempts: u32,
    due: Timestamp,
    /// A peer's report only: asked for once, at that peer.
    once: bool,
}

/// When to ask again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) max: Duration,
}

impl Backoff {
    /// The wait after that many attempts.
    pub(crate) fn wait(&self, attempts: u32) -> Duration {
        self.first.saturating_mul(1 << attempts.min(16)).min(self.max)
    }
}

/// References asked for and not answered yet.
#[derive(Debug)]
pub(crate) struct Asks {
    refs: BTreeMap<BlockRef, Ask>,
    own: MemberIndex,
    members: usize,
    backoff: Backoff,
    /// Not later than the earliest due.
    due: Option<Timestamp>,
}

impl Asks {
    pub(crate) fn new(own: MemberIndex, members: usize, backoff: Backoff) -> Self {
        Self { refs: BTreeMap::new(), own, members, backoff, due: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.refs.len()
    }

    pub(crate) fn contains(&self, reference: &BlockRef) -> bool {
        self.refs.contains_key(reference)
    }

    /// When something is to be asked for.
    pub(crate) const fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// A block is needed: ask for it at `due`, `first` first, until it comes.
    pub(crate) fn need(&mut self, reference: BlockRef, first: MemberIndex, due: Timestamp) {
        self.add(reference, Ask { first, attempts: 0, due, once: false });
    }

    /// A peer reported a block: ask that peer once.
    pub(crate) fn reported(&mut self, reference: BlockRef, by: MemberIndex, due: Timestamp) {
        if !self.refs.contains_key(&reference) {
            self.add(reference, Ask { first: by, attempts: 0, due, once: true });
        }
    }

    fn add(&mut self, reference: BlockRef, ask: Ask) {
        let kept = self.refs.entry(reference).or_insert(ask);
        kept.once = kept.once && ask.once;
        kept.due = kept.due.min(ask.due);
        self.due = Some(self.due.map_or(kept.due, |due| due.min(kept.due)));
    }

    /// A block came, or is not needed any more.
    pub(crate) fn cancel(&mut self, reference: &BlockRef) {
        if self.refs.remove(reference).is_some() && self.refs.is_empty() {
            self.due = None;
        }
    }

    /// Nothing up to the gc round is needed any more.
    pub(crate) fn drop_through(&mut self, gc_round: Round) {
        while self.refs.first_key_value().is_some_and(|(reference, _)| reference.round <= gc_round) {
            self.refs.pop_first();
        }
        if self.refs.is_empty() {
            self.due = None;
        }
    }

    /// The requests that are due.
    pub(crate) fn poll(&mut self, now: Timestamp) -> Vec<(MemberIndex, Vec<BlockRef>)> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let mut by_peer: BTreeMap<MemberIndex, Vec<BlockRef>> = BTreeMap::new();
        let mut asked_once = Vec::new();
        for (reference, ask) in self.refs.iter_mut().filter(|(_, ask)| ask.due <= now) {
            let Some(peer) = choose(ask, reference.author, self.own, self.members) else {
                ask.due = now.after(self.backoff.max);
                continue;
            };
            let refs = by_peer.entry(peer).or_default();
            if refs.len() >= REQUESTS_PER_PEER_MAX * REQUEST_REFS_MAX {
                ask.due = now.after(self.backoff.first / 4);
                continue;
            }
            refs.push(*reference);
            ask.due = now.after(self.backoff.wait(ask.attempts));
            ask.attempts += 1;
            if ask.once {
                asked_once.push(*reference);
            }
        }
        for reference in asked_once {
            self.refs.remove(&reference);
        }
        self.due = self.refs.values().map(|ask| ask.due).min();
        let chunks = |(peer, refs): (MemberIndex, Vec<BlockRef>)| {
            refs.chunks(REQUEST_REFS_MAX).map(|chunk| (peer, chunk.to_vec())).collect::<Vec<_>>()
        };
        by_peer.into_iter().flat_map(chunks).collect()
    }
}

/// Whom to ask at this attempt: who needs it to exist, its author, then the others in turn.
fn choose(ask: &Ask, author: MemberIndex, own: MemberIndex, members: usize) -> Option<MemberIndex> {
    let turn = |n: usize| MemberIndex::new((author.index() + n) % members.max(1));
    let wanted = match ask.attempts {
        0 => Some(ask.first),
        n => turn(n as usize - 1),
    };
    let from = wanted?.index();
    (0..members).filter_map(|n| MemberIndex::new((from + n) % members)).find(|peer| *peer != own)
}
