//! How long things take with each peer: its times, and until it has seen what was sent.
//!
//! A node that has little processor time finds everything in its queue late. Whoever takes that for a loss and sends or
//! asks again makes the queue longer, until it holds little but copies.

use std::time::Duration;

use shardpay_types::MemberIndex;

/// A time for each peer. A peer changes its own figure only.
#[derive(Debug)]
pub(crate) struct PeerTimes {
    of: Vec<PeerTime>,
    /// Nothing given out here is longer.
    max: Duration,
}

impl PeerTimes {
    pub(crate) fn new(members: usize, max: Duration) -> Self {
        Self { of: vec![PeerTime::default(); members], max }
    }

    pub(crate) fn note(&mut self, peer: MemberIndex, took: Duration) {
        if let Some(time) = self.of.get_mut(peer.index()) {
            time.note(took);
        }
    }

    /// What it usually takes; nothing before the first one.
    pub(crate) fn usual(&self, peer: MemberIndex) -> Duration {
        self.of.get(peer.index()).and_then(|time| time.mean).unwrap_or_default().min(self.max)
    }

    /// What is hardly ever exceeded; nothing before the first one.
    pub(crate) fn long(&self, peer: MemberIndex) -> Duration {
        self.of.get(peer.index()).map_or(Duration::ZERO, PeerTime::long).min(self.max)
    }
}

/// Mean and deviation, as RFC 6298 keeps them.
#[derive(Debug, Clone, Copy, Default)]
struct PeerTime {
    mean: Option<Duration>,
    deviation: Duration,
}

impl PeerTime {
    fn note(&mut self, took: Duration) {
        let Some(mean) = self.mean else {
            (self.mean, self.deviation) = (Some(took), took / 2);
            return;
        };
        self.deviation = self.deviation * 3 / 4 + mean.abs_diff(took) / 4;
        self.mean = Some(mean * 7 / 8 + took / 8);
    }

    fn long(&self) -> Duration {
        self.mean.unwrap_or_default() + self.deviation * 4
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
    fn it_follows_what_things_take_up_and_down_to_the_bound() {
        let mut times = PeerTimes::new(4, MAX);
        assert_eq!((times.usual(peer()), times.long(peer())), (ms(0), ms(0)));
        (0..50).for_each(|_| times.note(peer(), ms(10)));
        assert!(times.long(peer()) < ms(11), "{times:?}");
        (0..50).for_each(|_| times.note(peer(), ms(800)));
        assert!(times.usual(peer()) > ms(750) && times.long(peer()) < ms(1_000), "{times:?}");
        (0..50).for_each(|_| times.note(peer(), ms(60_000)));
        assert_eq!((times.usual(peer()), times.long(peer())), (MAX, MAX));
        (0..80).for_each(|_| times.note(peer(), ms(10)));
        assert!(times.long(peer()) < ms(60), "{times:?}");
    }

    #[test]
    fn a_peer_changes_its_own_figure_only() {
        let mut times = PeerTimes::new(4, MAX);
        times.note(peer(), ms(900));
        assert_eq!(times.long(MemberIndex::at(2)), ms(0));
        times.note(MemberIndex::at(9), ms(900));
    }

    #[test]
    fn times_that_vary_are_given_more_time() {
        let (mut even, mut uneven) = (PeerTimes::new(4, MAX), PeerTimes::new(4, MAX));
        for turn in 0..100 {
            even.note(peer(), ms(200));
            uneven.note(peer(), ms(if turn % 2 == 0 { 100 } else { 300 }));
        }
        assert!(uneven.long(peer()) > even.long(peer()) + ms(200), "{even:?} {uneven:?}");
    }
}
