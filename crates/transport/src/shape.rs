//! Link shaping: a real network's delay, loss and bandwidth, applied to messages before they are written.
//!
//! Guarantees: delay is not bandwidth: any number of messages can be under way at once, and messages of
//! one class keep their order. A lost message is lost whole and never repaired here (QUIC repairs lost
//! packets; what is modelled is a message that the protocols have to resend). With limited bandwidth the
//! messages that wait fill the peer's queue, and what does not fit is dropped and counted as ever.

use std::time::{Duration, Instant};

use crate::rng::Chance;

/// What a link does to messages. The default does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LinkShape {
    /// Added to every message's way.
    pub latency: Duration,
    /// Added on top, uniform between zero and this.
    pub jitter: Duration,
    /// Share of messages that are lost, between 0 and 1 (1: the link is cut).
    pub loss: f64,
    /// Bytes per second; `None`: no limit.
    pub bandwidth: Option<u64>,
}

impl LinkShape {
    /// Whether it changes nothing.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Written as soon as possible.
    Now,
    /// Written at this time.
    At(Instant),
    /// Lost.
    Lost,
}

/// The shape of one link and how far it is used.
#[derive(Debug)]
pub(crate) struct Shaper {
    shape: LinkShape,
    /// When the link has sent everything given to it so far.
    free_at: Option<Instant>,
    chance: Chance,
}

impl Shaper {
    pub(crate) const fn new(shape: LinkShape, chance: Chance) -> Self {
        Self { shape, free_at: None, chance }
    }

    pub(crate) fn set(&mut self, shape: LinkShape) {
        self.shape = shape;
        self.free_at = None;
    }

    /// Sends `bytes` over the link at `now`.
    pub(crate) fn pass(&mut self, bytes: usize, now: Instant) -> Passage {
        if self.shape.is_plain() {
            return Passage::Now;
        }
        if self.shape.loss > 0.0 && self.chance.unit() < self.shape.loss {
            return Passage::Lost;
        }
        let mut sent = now;
        if let Some(rate) = self.shape.bandwidth {
            let start = self.free_at.map_or(now, |free_at| free_at.max(now));
            sent = start + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
            self.free_at = Some(sent);
        }
        Passage::At(sent + self.shape.latency + self.shape.jitter.mul_f64(self.chance.unit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_is_not_bandwidth() {
        let now = Instant::now();
        let latency = Duration::from_millis(40);
        let mut link = Shaper::new(LinkShape { latency, ..LinkShape::default() }, Chance::new(1));
        assert!((0..100).all(|_| link.pass(1 << 20, now) == Passage::At(now + latency)));
    }

    #[test]
    fn bandwidth_makes_messages_wait_for_each_other() {
        let now = Instant::now();
        let mut link = Shaper::new(LinkShape { bandwidth: Some(1_000), ..LinkShape::default() }, Chance::new(1));
        for second in 1..=5 {
            assert_eq!(link.pass(1_000, now), Passage::At(now + Duration::from_secs(second)));
        }
        let later = now + Duration::from_secs(60);
        assert_eq!(
            link.pass(500, later),
            Passage::At(later + Duration::from_millis(500)),
            "an idle link saves nothing"
        );
    }

    #[test]
    fn loss_takes_its_share() {
        let now = Instant::now();
        let mut link = Shaper::new(LinkShape { loss: 0.25, ..LinkShape::default() }, Chance::new(7));
        let lost = (0..10_000).filter(|_| link.pass(100, now) == Passage::Lost).count();
        assert!((2_200..2_800).contains(&lost), "{lost} of 10,000 lost");
        link.set(LinkShape { loss: 1.0, ..LinkShape::default() });
        assert!((0..1_000).all(|_| link.pass(100, now) == Passage::Lost));
        link.set(LinkShape::default());
        assert_eq!(link.pass(100, now), Passage::Now);
    }
}
