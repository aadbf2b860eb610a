//! Messages to peers, encoded once however many get them.

use std::sync::Arc;

use bytes::Bytes;
use shardpay_transport::StreamClass;
use shardpay_types::{Codec, PeerMessage};

/// Encodings remembered: consecutive orders of one turn send the same things to all peers.
const REMEMBERED: usize = 4;

/// The encodings of the messages sent last.
#[derive(Default)]
pub(crate) struct Encoder {
    recent: Vec<(Arc<PeerMessage>, Bytes)>,
}

impl Encoder {
    /// The encoding of `message`.
    pub(crate) fn encode(&mut self, message: &Arc<PeerMessage>) -> Bytes {
        if let Some((_, bytes)) = self.recent.iter().find(|(known, _)| is_same(known, message)) {
            return bytes.clone();
        }
        let bytes = Bytes::from(message.to_bytes());
        if self.recent.len() == REMEMBERED {
            self.recent.remove(0);
        }
        self.recent.push((message.clone(), bytes.clone()));
        bytes
    }

    /// Lets go of what was sent; called when a turn ends.
    pub(crate) fn forget(&mut self) {
        self.recent.clear();
    }
}

/// Whether two messages are one: the same value in memory, or pushes of the same blocks.
fn is_same(a: &Arc<PeerMessage>, b: &Arc<PeerMessage>) -> bool {
    if Arc::ptr_eq(a, b) {
        return true;
    }
    match (&**a, &**b) {
        (PeerMessage::Blocks(a), PeerMessage::Blocks(b)) => {
            (a.epoch, a.requested, a.blocks.len()) == (b.epoch, b.requested, b.blocks.len())
                && a.blocks.iter().zip(b.blocks.iter()).all(|(a, b)| Arc::ptr_eq(&a.0, &b.0))
        }
        _ => false,
    }
}

/// The stream a message goes on: what others wait for goes before what is merely large.
pub(crate) fn class_of(message: &PeerMessage) -> StreamClass {
    match message {
        PeerMessage::LedgerResponse(_) | PeerMessage::Pack(_) | PeerMessage::Closings(_) => StreamClass::Bulk,
        PeerMessage::Blocks(blocks) if blocks.requested => StreamClass::Bulk,
        PeerMessage::Blocks(_)
        | PeerMessage::BlockRequest(_)
        | PeerMessage::Heartbeat(_)
        | PeerMessage::HeaderVote(_)
        | PeerMessage::CheckpointVote(_)
        | PeerMessage::Certificates(_)
        | PeerMessage::LedgerRequest(_)
        | PeerMessage::LeadersRequest(_)
        | PeerMessage::Leaders(_)
        | PeerMessage::PlanApproval(_)
        | PeerMessage::RelayNotice(_)
        | PeerMessage::PackRequest(_)
        | PeerMessage::Cursor(_)
        | PeerMessage::ClosingsRequest(_) => StreamClass::Prompt,
    }
}

#[cfg(test)]
mod tests {
    use shardpay_types::{Blocks, Epoch, Height, LedgerRequest, List, RawBlock};

    use super::*;

    fn blocks(raw: &RawBlock, requested: bool) -> Arc<PeerMessage> {
        let blocks = List::bounded(vec![raw.clone()]);
        Arc::new(PeerMessage::Blocks(Blocks { epoch: Epoch::ZERO, requested, blocks }))
    }

    #[test]
    fn the_same_blocks_are_encoded_once() {
        let raw = RawBlock(vec![1, 2, 3].into());
        let mut encoder = Encoder::default();
        let first = encoder.encode(&blocks(&raw, false));
        let again = encoder.encode(&blocks(&raw, false));
        assert_eq!(first.as_ptr(), again.as_ptr());
        assert_eq!(*first, *blocks(&raw, false).to_bytes());
        assert_ne!(first, encoder.encode(&blocks(&raw, true)));
        let copy = RawBlock(vec![1, 2, 3].into());
        assert_ne!(first.as_ptr(), encoder.encode(&blocks(&copy, false)).as_ptr());
    }

    #[test]
    fn another_message_is_another_encoding() {
        let ask = |from| Arc::new(PeerMessage::LedgerRequest(LedgerRequest { from: Height::new(from) }));
        let mut encoder = Encoder::default();
        for from in 0..10 {
            assert_eq!(*encoder.encode(&ask(from)), *ask(from).to_bytes());
        }
        assert_eq!(encoder.recent.len(), REMEMBERED);
    }
}
