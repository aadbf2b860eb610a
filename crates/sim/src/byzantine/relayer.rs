//! A twist that lies about messages between committees: on the wire and in its own blocks.
//!
//! Lies: a message left out, repeated or changed; a start off the cursor; another destination; a
//! certificate with too few or forged signatures; a header of another epoch; a false count; old packs
//! again. A peer that put any of these into its ledger would credit what was never debited.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use shardpay_crypto::SealedBlock;
use shardpay_types::{
    Amount, Block, Certificate, CommitteeId, Epoch, List, MemberSignature, NodeId, Pack, PeerMessage, RawBlock, Round,
};

use super::{Outgoing, Twist, TwistContext, bend_own_blocks};
use crate::rng::Stream;

/// Remembers packs it saw, to tell them wrongly or again.
#[derive(Default)]
pub(super) struct LyingRelayer {
    seen: VecDeque<Arc<Pack>>,
    bent: BTreeMap<(Epoch, Round), RawBlock>,
    deeds: u64,
}

/// A pack told wrongly.
fn lie(stream: &mut Stream, committees: usize, pack: &Pack) -> Pack {
    let mut lie = pack.clone();
    let mut messages = lie.messages.clone().into_vec();
    let at = stream.index(messages.len());
    match stream.below(10) {
        0 => drop(messages.remove(at)),
        1 => messages.insert(at, messages[at]),
        2 => messages[at].amount = Amount::from_micros(messages[at].amount.micros() + 1_000_000),
        3 => messages[at].payee = messages[0].payer,
        4 => lie.first += 1,
        5 => lie.destination = CommitteeId::at(stream.index(committees)),
        6 => lie.certified.certificate = fewer(&lie.certified.certificate),
        7 => lie.certified.certificate = forged(&lie.certified.certificate),
        8 => lie.certified.header.epoch = lie.certified.header.epoch.next(),
        _ => lie.log.count += 1,
    }
    messages.truncate(shardpay_types::PACK_MESSAGES_MAX);
    lie.messages = List::bounded(messages);
    lie
}

fn fewer(certificate: &Certificate) -> Certificate {
    let mut signatures = certificate.signatures().to_vec();
    signatures.pop();
    signatures.pop();
    Certificate::new(signatures).unwrap_or_default()
}

/// The first signature under everybody's name.
fn forged(certificate: &Certificate) -> Certificate {
    let Some(first) = certificate.signatures().first() else { return Certificate::default() };
    let under = |member| MemberSignature { member, signature: first.signature };
    let members = certificate.signatures().iter().map(|signature| signature.member);
    Certificate::new(members.map(under).collect()).unwrap_or_default()
}

impl LyingRelayer {
    /// The node's own block with a lie, or an old pack, among its packs.
    fn bend(&mut self, context: &mut TwistContext<'_>, raw: &RawBlock, mut block: Block) -> RawBlock {
        if let Some(known) = self.bent.get(&(block.epoch, block.round)) {
            return known.clone();
        }
        let Some(pack) = self.seen.get(context.stream.index(self.seen.len().max(1))).cloned() else {
            return raw.clone();
        };
        if !context.stream.chance(400) {
            return raw.clone();
        }
        let mut packs = block.payload.packs.clone().into_vec();
        packs.retain(|known| known.source != pack.source);
        let old = context.stream.chance(250);
        packs.push(if old { (*pack).clone() } else { lie(context.stream, context.plan.committees.len(), &pack) });
        packs.sort_by_key(|pack| pack.source);
        packs.truncate(4);
        let slot = (block.epoch, block.round);
        block.payload.packs = List::bounded(packs);
        let bent = SealedBlock::sign(block, context.signer).raw().clone();
        if self.bent.len() > 512 {
            self.bent.pop_first();
        }
        self.bent.insert(slot, bent.clone());
        self.deeds += 1;
        bent
    }
}

impl Twist for LyingRelayer {
    fn receive(
        &mut self,
        _context: &mut TwistContext<'_>,
        _from: NodeId,
        message: Arc<PeerMessage>,
    ) -> Option<Arc<PeerMessage>> {
        if let PeerMessage::Pack(pack) = &*message
            && pack.messages.len() <= 256
        {
            self.seen.push_back(pack.clone());
            if self.seen.len() > 16 {
                self.seen.pop_front();
            }
        }
        Some(message)
    }

    fn send(&mut self, context: &mut TwistContext<'_>, to: NodeId, message: Arc<PeerMessage>, out: &mut Outgoing) {
        let bent = match &*message {
            PeerMessage::Pack(pack) => {
                self.deeds += 1;
                let told = lie(context.stream, context.plan.committees.len(), pack);
                Arc::new(PeerMessage::Pack(Arc::new(told)))
            }
            PeerMessage::RelayNotice(notice) => {
                let mut told = *notice;
                told.count += context.stream.weighted(&[(1, 0), (1, 1), (1, 1 << 40)]);
                Arc::new(PeerMessage::RelayNotice(told))
            }
            PeerMessage::Cursor(cursor) => {
                let mut told = cursor.clone();
                told.cursor.count += context.stream.below(3);
                told.cursor.source = CommitteeId::at(context.stream.index(context.plan.committees.len()));
                Arc::new(PeerMessage::Cursor(told))
            }
            PeerMessage::Blocks(blocks) if !blocks.requested => {
                let own = context.own;
                bend_own_blocks(own, &message, |raw, block| self.bend(context, raw, block))
            }
            _ => message,
        };
        let twice = context.stream.chance(100);
        if twice {
            out.push((to, bent.clone()));
        }
        out.push((to, bent));
    }

    fn deeds(&self) -> u64 {
        self.deeds
    }
}
