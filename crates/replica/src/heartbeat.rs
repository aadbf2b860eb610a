//! Heartbeats: what members tell each other when nothing happens, and the only thing sent when idle.
//!
//! Guarantees: a difference between two members is seen within one heartbeat and pushed by whoever has
//! more: DAG blocks by consensus (`PeerStatus`), certificates from here. Somebody who asks for a reply
//! gets one at most every quarter of the period, or of a second where the period is longer.
//!
//! What a peer claims here is only ever a hint; f + 1 equal claims start a catch-up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use shardpay_consensus::Status;
use shardpay_types::{Epoch, Heartbeat, Height, List, MemberIndex, NodeId, PeerMessage, Round, Timestamp};

use crate::api::{Output, PersistId};
use crate::core::{Core, Membership};

/// What a member claimed last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) epoch: Epoch,
    pub(crate) executed: Height,
    pub(crate) certified: Height,
    pub(crate) top: Round,
    replied: Timestamp,
}

/// Own figures that go into a heartbeat.
pub(crate) struct Own<'a> {
    pub(crate) members: &'a Membership,
    pub(crate) consensus: &'a Status,
    pub(crate) executed: Height,
    pub(crate) certified: Height,
    /// A heartbeat names the newest own block, so it waits for that block's record like the block itself.
    pub(crate) durable_at: PersistId,
}

pub(crate) struct Heartbeats {
    next: Timestamp,
    claims: BTreeMap<MemberIndex, Claim>,
}

impl Heartbeats {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { next: now, claims: BTreeMap::new() }
    }

    pub(crate) fn next_timer(&self) -> Timestamp {
        self.next
    }

    pub(crate) fn claims(&self) -> impl Iterator<Item = (MemberIndex, &Claim)> {
        self.claims.iter().map(|(member, claim)| (*member, claim))
    }

    /// Whether a member may lack the certificate of `height`.
    pub(crate) fn lacks(&self, member: MemberIndex, height: Height) -> bool {
        self.claims.get(&member).is_none_or(|claim| claim.certified < height)
    }

    /// A new epoch: members and their claims start afresh.
    pub(crate) fn restart(&mut self, now: Timestamp) {
        self.claims.clear();
        self.next = now;
    }

    /// Notes what a member claims; true when it wants a reply and gets one.
    pub(crate) fn heard(&mut self, core: &Core, from: MemberIndex, heartbeat: &Heartbeat) -> bool {
        let top = heartbeat.highest.iter().map(|block| block.round).max().unwrap_or_default();
        let before = self.claims.get(&from).map(|claim| claim.replied);
        let due = before.is_none_or(|replied| core.now >= replied.after(reply_period(core)));
        let reply = heartbeat.wants_reply && due;
        let claim = Claim {
            epoch: heartbeat.epoch,
            executed: heartbeat.executed,
            certified: heartbeat.certified,
            top,
            replied: if reply { core.now } else { before.unwrap_or_default() },
        };
        self.claims.insert(from, claim);
        reply
    }

    /// Sends the periodic heartbeat. While replies are wanted it comes more often.
    pub(crate) fn tick(&mut self, core: &mut Core, own: &Own<'_>, wants_reply: bool) {
        if core.now < self.next {
            return;
        }
        let message = Arc::new(PeerMessage::Heartbeat(make(own, wants_reply)));
        for to in own.members.peers() {
            core.out.push_after(own.durable_at, Output::Send { to, message: message.clone() });
        }
        let period = if wants_reply { reply_period(core) } else { core.config.heartbeat };
        self.next = core.now.after(core.jittered(period));
    }

    /// Sends one heartbeat to one member, out of turn.
    pub(crate) fn send_to(core: &mut Core, own: &Own<'_>, to: NodeId, wants_reply: bool) {
        let message = Arc::new(PeerMessage::Heartbeat(make(own, wants_reply)));
        core.out.push_after(own.durable_at, Output::Send { to, message });
    }
}

/// Between heartbeats that want a reply, and between replies: a quarter of the usual, a quarter of a second at
/// most, since a node that starts again waits for them.
fn reply_period(core: &Core) -> Duration {
    (core.config.heartbeat / 4).min(Duration::from_millis(250))
}

fn make(own: &Own<'_>, wants_reply: bool) -> Heartbeat {
    Heartbeat {
        epoch: own.members.epoch(),
        highest: List::bounded(own.consensus.highest.clone()),
        executed: own.executed,
        certified: own.certified,
        wants_reply,
    }
}
