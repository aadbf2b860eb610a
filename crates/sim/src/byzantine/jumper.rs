//! A twist that makes blocks of rounds far above everybody's, with parents that do not exist.

use std::sync::Arc;

use shardpay_crypto::SealedBlock;
use shardpay_types::{
    Block, BlockDigest, BlockRef, Blocks, Epoch, List, MemberIndex, NodeId, Payload, PeerMessage, Round, Signature,
    Version,
};

use super::{Outgoing, Twist, TwistContext, newest_own, peers};

/// Pulls peers upwards: sometimes a little, sometimes beyond every window.
#[derive(Default)]
pub(super) struct RoundJumper {
    newest: Option<(Epoch, Round)>,
    deeds: u64,
}

impl RoundJumper {
    fn block(&self, context: &mut TwistContext<'_>, epoch: Epoch, round: Round) -> Block {
        let size = context.plan.committee(context.own.committee).map_or(1, shardpay_types::CommitteePlan::size);
        let own = context.own.member.index();
        let order = std::iter::once(own).chain((0..size).filter(|member| *member != own));
        let parents = order
            .map(|member| BlockRef {
                round: round.previous(),
                author: MemberIndex::at(member),
                digest: BlockDigest(context.stream.bytes()),
            })
            .collect();
        Block {
            version: Version,
            chain: context.chain,
            epoch,
            committee: context.own.committee,
            author: context.own.member,
            round,
            timestamp: context.now,
            parents: List::bounded(parents),
            payload: Payload::default(),
            signature: Signature::ZERO,
        }
    }
}

impl Twist for RoundJumper {
    fn send(&mut self, context: &mut TwistContext<'_>, to: NodeId, message: Arc<PeerMessage>, out: &mut Outgoing) {
        self.newest = self.newest.max(newest_own(context.own, &message));
        out.push((to, message));
    }

    fn tick(&mut self, context: &mut TwistContext<'_>, out: &mut Outgoing) {
        let Some((epoch, round)) = self.newest else { return };
        if !context.stream.chance(300) {
            return;
        }
        let far = context.stream.weighted(&[(4, 1), (4, 7), (3, 50), (2, 70), (1, 100_000)]);
        let block = self.block(context, epoch, round.plus(2 + far));
        let raw = SealedBlock::sign(block, context.signer).raw().clone();
        let blocks = Blocks { epoch, requested: false, blocks: List::bounded(vec![raw]) };
        let message = Arc::new(PeerMessage::Blocks(blocks));
        out.extend(peers(context).into_iter().map(|peer| (peer, message.clone())));
        self.deeds += 1;
    }

    fn deeds(&self) -> u64 {
        self.deeds
    }
}
