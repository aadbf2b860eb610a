//! How long things take with each peer: its answers, and until it has seen what was sent.
//!
//! A node that has little processor time finds everything in its queue late. Whoever takes that for a loss and sends or
//! asks again makes the queue longer, until it holds little but copies.

use std::time::Duration;

use shardpay_types::{MemberIndex, TypicalTime};

/// Deviations above the mean that are hardly ever exceeded, as in RFC 6298.
const LONG_DEVIATIONS: u32 = 4;

/// A time for each peer. A peer changes its own figure only.
#[derive(Debug)]
pub(crate) struct PeerTimes {
    of: Vec<TypicalTime>,
    /// Nothing given out here is longer.
    max: Duration,
}

impl PeerTimes {
    pub(crate) fn new(members: usize, max: Duration) -> Self {
        Self { of: vec![TypicalTime::default(); members], max }
    }

    pub(crate) fn note(&mut self, peer: MemberIndex, took: Duration) {
        if let Some(time) = self.of.get_mut(peer.index()) {
            time.note(took);
        }
    }

    /// What it usually takes; nothing before the first one.
    pub(crate) fn usual(&self, peer: MemberIndex) -> Duration {
        self.with_deviations(peer, 0)
    }

    /// What is hardly ever exceeded; nothing before the first one.
    pub(crate) fn long(&self, peer: MemberIndex) -> Duration {
        self.with_deviations(peer, LONG_DEVIATIONS)
    }

    fn with_deviations(&self, peer: MemberIndex, count: u32) -> Duration {
        self.of.get(peer.index()).and_then(|time| time.with_deviations(count)).unwrap_or_default().min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = ms(2_000);

    fn peer() -> MemberIndex {
        MemberIndex::at(1)
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn nothing_is_longer_than_the_bound() {
        let mut times = PeerTimes::new(4, MAX);
        assert_eq!((times.usual(peer()), times.long(peer())), (ms(0), ms(0)));
        times.note(peer(), ms(900));
        assert_eq!((times.usual(peer()), times.long(peer())), (ms(900), MAX), "900 ms and four times 450");
        (0..50).for_each(|_| times.note(peer(), ms(60_000)));
        assert_eq!((times.usual(peer()), times.long(peer())), (MAX, MAX));
    }

    #[test]
    fn a_peer_changes_its_own_figure_only() {
        let mut times = PeerTimes::new(4, MAX);
        times.note(peer(), ms(900));
        assert_eq!(times.long(MemberIndex::at(2)), ms(0));
        times.note(MemberIndex::at(9), ms(900));
        assert_eq!(times.long(MemberIndex::at(9)), ms(0), "no member");
    }
}
