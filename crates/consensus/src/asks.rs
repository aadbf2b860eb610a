//! Which blocks are asked for, whom, and when again.
//!
//! Guarantees: a request names at most [`REQUEST_REFS_MAX`] references, ascending; a reference is asked for
//! again with doubling waits and another peer each time, so names of blocks that do not exist soon cost
//! little and never keep others from being asked for. Nothing is due when nothing is missing. Nobody else is
//! asked before the time that answers of the last one take, which each peer can lengthen for itself only, and not
//! beyond the longest wait.
//!
//! The first to be asked is whoever needs the block to exist: who sent a block that names it as a parent,
//! or who reported to have it. Then its author, then the others in turn.

use std::collections::BTreeMap;
use std::time::Duration;

use shardpay_types::{BlockRef, MemberIndex, REQUEST_REFS_MAX, Round, Timestamp};

use crate::times::PeerTimes;

/// Most requests to one peer at a time; what is left over waits for a short moment.
const REQUESTS_PER_PEER_MAX: usize = 2;
/// Askings of a reference whose answers are timed, the last ones.
const TIMED_MAX: usize = 8;

#[derive(Debug, Clone)]
struct Ask {
    first: MemberIndex,
    attempts: u32,
    due: Timestamp,
    /// A peer's report only: asked for once, at that peer.
    once: bool,
    /// Who was asked, and when.
    asked: Vec<(MemberIndex, Timestamp)>,
}

impl Ask {
    const fn new(first: MemberIndex, due: Timestamp, once: bool) -> Self {
        Self { first, attempts: 0, due, once, asked: Vec::new() }
    }

    fn note(&mut self, peer: MemberIndex, now: Timestamp) {
        if self.asked.len() == TIMED_MAX {
            self.asked.remove(0);
        }
        self.asked.push((peer, now));
    }
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
    /// How long answers take.
    answers: PeerTimes,
    backoff: Backoff,
    /// Not later than the earliest due.
    due: Option<Timestamp>,
}

impl Asks {
    pub(crate) fn new(own: MemberIndex, members: usize, backoff: Backoff) -> Self {
        Self { refs: BTreeMap::new(), own, members, answers: PeerTimes::new(members, backoff.max), backoff, due: None }
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
        self.add(reference, Ask::new(first, due, false));
    }

    /// A peer reported a block: ask that peer once.
    pub(crate) fn reported(&mut self, reference: BlockRef, by: MemberIndex, due: Timestamp) {
        if !self.refs.contains_key(&reference) {
            self.add(reference, Ask::new(by, due, true));
        }
    }

    fn add(&mut self, reference: BlockRef, ask: Ask) {
        let (once, due) = (ask.once, ask.due);
        let kept = self.refs.entry(reference).or_insert(ask);
        kept.once = kept.once && once;
        // not before the answer that is under way
        let answered_by = kept.asked.last().map_or(due, |(peer, at)| at.after(self.answers.long(*peer)));
        kept.due = kept.due.min(due.max(answered_by));
        self.due = Some(self.due.map_or(kept.due, |due| due.min(kept.due)));
    }

    /// How long to wait for something that is probably on its way, before that peer is asked for it: half as long as its
    /// answers take, `least` at least.
    pub(crate) fn in_flight(&self, peer: MemberIndex, least: Duration) -> Duration {
        (self.answers.usual(peer) / 2).max(least)
    }

    /// A peer answered. What it was not asked for says nothing.
    pub(crate) fn answered(&mut self, now: Timestamp, from: MemberIndex, reference: &BlockRef) {
        let asked = self.refs.get(reference).and_then(|ask| ask.asked.iter().rfind(|(peer, _)| *peer == from));
        if let Some((_, at)) = asked {
            self.answers.note(from, now.since(*at));
        }
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
            ask.due = now.after(self.backoff.wait(ask.attempts).max(self.answers.long(peer)));
            ask.attempts += 1;
            ask.note(peer, now);
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

#[cfg(test)]
mod tests {
    use shardpay_types::BlockDigest;

    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(2) };

    fn member(index: usize) -> MemberIndex {
        MemberIndex::at(index)
    }

    fn block(round: u64) -> BlockRef {
        BlockRef { round: Round::new(round), author: member(2), digest: BlockDigest([round as u8; 32]) }
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// Whom it asks at that time.
    fn asked(asks: &mut Asks, ms: u64) -> Vec<usize> {
        asks.poll(at(ms)).into_iter().map(|(peer, _)| peer.index()).collect()
    }

    /// Member 1 answers ten times, each time after so many milliseconds.
    fn answering_after(took_ms: u64) -> Asks {
        let mut asks = Asks::new(member(0), 4, BACKOFF);
        for turn in 0..10 {
            let (block, start) = (block(turn), turn * 10_000);
            asks.need(block, member(1), at(start));
            assert_eq!(asked(&mut asks, start), [1]);
            asks.answered(at(start + took_ms), member(1), &block);
            asks.cancel(&block);
        }
        asks
    }

    #[test]
    fn who_answers_late_is_given_the_time_and_then_another_is_asked() {
        let mut asks = answering_after(700);
        asks.need(block(50), member(1), at(200_000));
        assert_eq!(asked(&mut asks, 200_000), [1]);
        // others name it as well
        asks.need(block(50), member(3), at(200_100));
        assert!(asked(&mut asks, 200_650).is_empty());
        assert_eq!(asked(&mut asks, 201_400), [2], "its author, after what answers of the first take");
    }

    #[test]
    fn who_never_answered_is_not_waited_for() {
        let mut asks = answering_after(700);
        asks.need(block(50), member(3), at(200_000));
        assert_eq!(asked(&mut asks, 200_000), [3]);
        assert!(asked(&mut asks, 200_090).is_empty());
        assert_eq!(asked(&mut asks, 200_100), [2]);
        // somebody names it who may have it: the usual wait is not over yet, but nobody is known to be about to answer
        asks.need(block(50), member(1), at(200_125));
        assert!(!asked(&mut asks, 200_125).is_empty());
    }

    #[test]
    fn an_answer_that_comes_after_another_was_asked_counts_from_its_own_asking() {
        let mut asks = Asks::new(member(0), 4, BACKOFF);
        asks.need(block(1), member(1), at(1_000));
        assert_eq!(asked(&mut asks, 1_000), [1]);
        assert_eq!(asked(&mut asks, 1_100), [2]);
        asks.answered(at(1_400), member(1), &block(1));
        asks.answered(at(1_401), member(3), &block(1));
        assert_eq!(asks.answers.usual(member(1)), Duration::from_millis(400));
        assert_eq!(asks.answers.usual(member(3)), Duration::ZERO, "it was not asked");
    }

    #[test]
    fn a_liar_is_waited_for_at_most_the_longest_wait() {
        let mut asks = answering_after(9_000);
        asks.need(block(50), member(1), at(200_000));
        assert_eq!(asked(&mut asks, 200_000), [1]);
        assert_eq!(asked(&mut asks, 202_000), [2]);
    }

    #[test]
    fn what_is_on_its_way_is_waited_for_half_as_long_as_an_answer_takes() {
        let asks = answering_after(700);
        let least = Duration::from_millis(25);
        assert_eq!(asks.in_flight(member(1), least), Duration::from_millis(350));
        assert_eq!(asks.in_flight(member(3), least), least);
    }
}
