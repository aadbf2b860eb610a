//! Twists on a node's own blocks: two in a slot, or one with transactions nobody signed.

use std::collections::BTreeMap;
use std::sync::Arc;

use shardpay_crypto::SealedBlock;
use shardpay_types::{Block, Epoch, List, NodeId, PeerMessage, RawBlock, Round, Timestamp, Transaction};

use super::{Outgoing, Twist, TwistContext, bend_own_blocks};

/// Slots whose second block is remembered.
const REMEMBERED: usize = 512;

/// Shows one half of its peers another block than the other half.
#[derive(Default)]
pub(super) struct Equivocator {
    second: BTreeMap<(Epoch, Round), RawBlock>,
    deeds: u64,
}

impl Equivocator {
    fn second(&mut self, context: &TwistContext<'_>, block: Block) -> RawBlock {
        let slot = (block.epoch, block.round);
        if self.second.len() > REMEMBERED {
            self.second.pop_first();
        }
        let deeds = &mut self.deeds;
        let raw = self.second.entry(slot).or_insert_with(|| {
            *deeds += 1;
            let mut other = block;
            other.timestamp = Timestamp::from_micros(other.timestamp.micros() + 1);
            if other.round.get().is_multiple_of(2) {
                other.payload.transactions = List::default();
            }
            SealedBlock::sign(other, context.signer).raw().clone()
        });
        raw.clone()
    }
}

impl Twist for Equivocator {
    fn send(&mut self, context: &mut TwistContext<'_>, to: NodeId, message: Arc<PeerMessage>, out: &mut Outgoing) {
        // Answers to requests stay true: a block asked for by digest is that block or none.
        let requested = matches!(&*message, PeerMessage::Blocks(blocks) if blocks.requested);
        if requested || to.member.index().is_multiple_of(2) {
            return out.push((to, message));
        }
        let bent = bend_own_blocks(context.own, &message, |_, block| self.second(context, block));
        out.push((to, bent));
    }

    fn deeds(&self) -> u64 {
        self.deeds
    }
}

/// Breaks the signature of a transaction in some of its blocks.
#[derive(Default)]
pub(super) struct TransactionForger {
    forged: BTreeMap<(Epoch, Round), RawBlock>,
    deeds: u64,
}

impl TransactionForger {
    fn forge(&mut self, context: &TwistContext<'_>, raw: &RawBlock, mut block: Block) -> RawBlock {
        if block.payload.transactions.is_empty() {
            return raw.clone();
        }
        if self.forged.len() > REMEMBERED {
            self.forged.pop_first();
        }
        let deeds = &mut self.deeds;
        let forged = self.forged.entry((block.epoch, block.round)).or_insert_with(|| {
            *deeds += 1;
            let mut transactions = block.payload.transactions.clone().into_vec();
            let at = transactions.len() / 2;
            match &mut transactions[at] {
                Transaction::Payment(tx) => tx.signature.0[3] ^= 4,
                Transaction::Redeem(tx) => tx.signature.0[3] ^= 4,
                Transaction::Mint(tx) => tx.signature.0[3] ^= 4,
            }
            block.payload.transactions = List::bounded(transactions);
            SealedBlock::sign(block, context.signer).raw().clone()
        });
        forged.clone()
    }
}

impl Twist for TransactionForger {
    fn send(&mut self, context: &mut TwistContext<'_>, to: NodeId, message: Arc<PeerMessage>, out: &mut Outgoing) {
        let requested = matches!(&*message, PeerMessage::Blocks(blocks) if blocks.requested);
        if requested {
            return out.push((to, message));
        }
        let bent = bend_own_blocks(context.own, &message, |raw, block| self.forge(context, raw, block));
        out.push((to, bent));
    }

    fn deeds(&self) -> u64 {
        self.deeds
    }
}
