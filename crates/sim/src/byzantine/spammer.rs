//! A twist that floods its peers with what is invalid, old, useless or far away.

use std::collections::VecDeque;
use std::sync::Arc;

use shardpay_crypto::SealedBlock;
use shardpay_types::{
    BlockDigest, BlockRef, BlockRequest, Blocks, ChainId, CommitteeId, Epoch, HeaderHash, HeaderVote, Height, List,
    MemberIndex, NodeId, PackRequest, PeerMessage, RawBlock, RelayNotice, Round, Signature,
};

use super::{Outgoing, Twist, TwistContext, peers};

/// Remembers some of what it sent, to send it again, whole or broken.
#[derive(Default)]
pub(super) struct Spammer {
    sent: VecDeque<RawBlock>,
    deeds: u64,
}

impl Spammer {
    fn invalid_block(&self, context: &mut TwistContext<'_>) -> Option<RawBlock> {
        let raw = self.sent.get(context.stream.index(self.sent.len().max(1)))?.clone();
        let mut block = SealedBlock::decode(raw.clone()).ok()?.block().clone();
        match context.stream.below(8) {
            0 => return Some(RawBlock(context.stream.bytes::<200>().as_slice().into())),
            1 => return Some(raw),
            2 => {
                let mut bytes = raw.0.to_vec();
                let at = context.stream.index(bytes.len());
                bytes[at] ^= 0x10;
                return Some(RawBlock(bytes.into()));
            }
            3 => block.chain = ChainId([9; 32]),
            4 => block.committee = CommitteeId::at(1_000),
            5 => block.author = MemberIndex::at((context.own.member.index() + 1) % 4),
            6 => block.round = Round::ZERO,
            _ => block.parents = List::default(),
        }
        Some(SealedBlock::sign(block, context.signer).raw().clone())
    }

    fn junk(&self, context: &mut TwistContext<'_>) -> Option<PeerMessage> {
        let number = context.stream.weighted(&[(3, context.stream.clone().below(40)), (1, 1 << 50)]);
        let epoch = Epoch::new(context.stream.weighted(&[(5, 0), (2, 1), (1, 77)]));
        Some(match context.stream.below(6) {
            0 => {
                let reference = |stream: &mut crate::rng::Stream| BlockRef {
                    round: Round::new(number),
                    author: MemberIndex::at(stream.index(4)),
                    digest: BlockDigest(stream.bytes()),
                };
                let refs = (0..32).map(|_| reference(context.stream)).collect();
                PeerMessage::BlockRequest(BlockRequest { epoch, refs: List::bounded(refs) })
            }
            1 => PeerMessage::HeaderVote(HeaderVote {
                epoch,
                height: Height::new(number),
                header: HeaderHash(context.stream.bytes()),
                signature: Signature(context.stream.bytes()),
            }),
            2 => PeerMessage::LedgerRequest(shardpay_types::LedgerRequest { from: Height::new(number) }),
            3 => PeerMessage::RelayNotice(RelayNotice { epoch, count: number }),
            4 => PeerMessage::PackRequest(PackRequest { first: number }),
            _ => {
                let raw = self.invalid_block(context)?;
                let requested = context.stream.chance(200);
                PeerMessage::Blocks(Blocks { epoch, requested, blocks: List::bounded(vec![raw]) })
            }
        })
    }
}

impl Twist for Spammer {
    fn send(&mut self, _context: &mut TwistContext<'_>, to: NodeId, message: Arc<PeerMessage>, out: &mut Outgoing) {
        if let PeerMessage::Blocks(blocks) = &*message {
            self.sent.extend(blocks.blocks.first().cloned());
            if self.sent.len() > 32 {
                self.sent.pop_front();
            }
        }
        out.push((to, message));
    }

    fn tick(&mut self, context: &mut TwistContext<'_>, out: &mut Outgoing) {
        let mut peers = peers(context);
        let committees = context.plan.committees.len();
        let elsewhere = CommitteeId::at(context.stream.index(committees));
        peers.push(NodeId { committee: elsewhere, member: MemberIndex::at(0) });
        for peer in peers {
            if peer != context.own
                && context.stream.chance(500)
                && let Some(message) = self.junk(context)
            {
                out.push((peer, Arc::new(message)));
                self.deeds += 1;
            }
        }
    }

    fn deeds(&self) -> u64 {
        self.deeds
    }
}
