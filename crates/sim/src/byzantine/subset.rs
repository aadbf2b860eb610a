//! Twists that leave messages out: silence, favourites, no history for anyone.

use std::sync::Arc;
use std::time::Duration;

use shardpay_types::{NodeId, PeerMessage, Timestamp};

use super::{Outgoing, Twist, TwistContext};
use crate::rng::Stream;

/// Sends nothing: for ever, or for stretches of time.
pub(super) struct Silent {
    for_ever: bool,
    stretch: Duration,
    deeds: u64,
}

impl Silent {
    pub(super) fn new(stream: &mut Stream) -> Self {
        Self { for_ever: stream.chance(400), stretch: stream.micros(50_000, 3_000_000), deeds: 0 }
    }

    fn is_silent(&self, now: Timestamp) -> bool {
        let stretch = self.stretch.as_micros() as u64;
        self.for_ever || (now.micros() / stretch) % 2 == 1
    }
}

impl Twist for Silent {
    fn send(&mut self, context: &mut TwistContext<'_>, to: NodeId, message: Arc<PeerMessage>, out: &mut Outgoing) {
        if self.is_silent(context.now) {
            self.deeds += 1;
        } else {
            out.push((to, message));
        }
    }

    fn deeds(&self) -> u64 {
        self.deeds
    }
}

/// Sends to some peers only, to others now and then.
pub(super) struct Subset {
    chosen: u64,
    deeds: u64,
}

impl Subset {
    pub(super) fn new(stream: &mut Stream) -> Self {
        Self { chosen: stream.bits(), deeds: 0 }
    }
}

impl Twist for Subset {
    fn send(&mut self, context: &mut TwistContext<'_>, to: NodeId, message: Arc<PeerMessage>, out: &mut Outgoing) {
        let favourite = self.chosen >> ((to.member.index() + 7 * to.committee.index()) % 64) & 1 == 1;
        if favourite || context.stream.chance(50) {
            out.push((to, message));
        } else {
            self.deeds += 1;
        }
    }

    fn deeds(&self) -> u64 {
        self.deeds
    }
}

/// Takes part, but answers no request and pushes nothing that is not new.
#[derive(Default)]
pub(super) struct Withholder {
    deeds: u64,
}

impl Twist for Withholder {
    fn send(&mut self, _context: &mut TwistContext<'_>, to: NodeId, message: Arc<PeerMessage>, out: &mut Outgoing) {
        let withheld = match &*message {
            PeerMessage::Blocks(blocks) => blocks.requested,
            PeerMessage::LedgerResponse(_)
            | PeerMessage::Leaders(_)
            | PeerMessage::Closings(_)
            | PeerMessage::Pack(_)
            | PeerMessage::Certificates(_)
            | PeerMessage::Cursor(_) => true,
            _ => false,
        };
        if withheld {
            self.deeds += 1;
        } else {
            out.push((to, message));
        }
    }

    fn deeds(&self) -> u64 {
        self.deeds
    }
}
