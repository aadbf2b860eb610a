//! A twist that signs headers nobody executed, each peer another one.

use std::sync::Arc;

use shardpay_crypto::{header_message, sha256};
use shardpay_types::{HeaderHash, NodeId, PeerMessage};

use super::{Outgoing, Twist, TwistContext};

/// Its signatures are good, what they cover is not.
#[derive(Default)]
pub(super) struct VoteForger {
    deeds: u64,
}

impl Twist for VoteForger {
    fn send(&mut self, context: &mut TwistContext<'_>, to: NodeId, message: Arc<PeerMessage>, out: &mut Outgoing) {
        let PeerMessage::HeaderVote(vote) = &*message else { return out.push((to, message)) };
        let mut forged = *vote;
        if !to.member.index().is_multiple_of(3) {
            let other = [to.member.index() as u8];
            forged.header = HeaderHash(sha256(&[&vote.header.0, &other]));
            forged.signature = context.signer.sign(&header_message(&context.chain, &forged.header));
            self.deeds += 1;
        }
        out.push((to, Arc::new(PeerMessage::HeaderVote(forged))));
    }

    fn deeds(&self) -> u64 {
        self.deeds
    }
}
