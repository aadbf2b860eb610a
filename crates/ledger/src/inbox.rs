//! Cursors into other committees' logs, and the check of packs (DESIGN §6).
//!
//! Guarantees: a pack is accepted only if it starts exactly at the cursor, every message in it stands in
//! the source's log under a header this ledger believes, and it moves the cursor by exactly its messages.
//! So messages are consumed exactly once and in order, whoever relays them.
//!
//! A pack proves itself by consistency: the tree that the cursor's frontier becomes with the pack's
//! messages must be a prefix of the log that the header commits to.

use shardpay_crypto::{Frontier, domain, leaf_hash, verify_consistency, verify_inclusion};
use shardpay_types::{Codec, CommitteeId, Hash, InboxLeaf, OutboxMessage, Pack, Total};

use crate::api::ItemReject;
use crate::epochs::{Judge, Keyset};
use crate::roots::tree_leaf;

/// How far a source's log was consumed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cursor {
    pub(crate) frontier: Frontier,
    pub(crate) amount: Total,
}

impl Cursor {
    pub(crate) fn leaf(&self, source: CommitteeId) -> InboxLeaf {
        InboxLeaf { source, count: self.frontier.count(), amount: self.amount, root: self.frontier.root() }
    }
}

/// The hash of a message in its log.
pub(crate) fn message_leaf(message: &OutboxMessage) -> Hash {
    let mut content = Vec::with_capacity(domain::OUTBOX_MESSAGE.len() + OutboxMessage::MIN_LEN);
    content.extend_from_slice(domain::OUTBOX_MESSAGE);
    message.encode(&mut content);
    leaf_hash(&content)
}

/// Where the cursor stands after `pack`, if all of it is proven. Cheap checks first.
pub(crate) fn advance(judge: &Judge, keyset: &Keyset, cursor: &Cursor, pack: &Pack) -> Result<Cursor, ItemReject> {
    let log = &pack.log;
    if pack.destination != judge.own || log.destination != judge.own {
        return Err(ItemReject::WrongCommittee);
    }
    if pack.first != cursor.frontier.count() {
        return Err(ItemReject::NotAtCursor);
    }
    let end = pack.first.checked_add(pack.messages.len() as u64).ok_or(ItemReject::Malformed)?;
    if pack.messages.is_empty() || end > log.count {
        return Err(ItemReject::Malformed);
    }
    let amount = pack.messages.iter().try_fold(cursor.amount, |sum, message| sum.checked_add(message.amount));
    let amount = amount.ok_or(ItemReject::Malformed)?;
    if amount > log.amount || (end == log.count && amount != log.amount) {
        return Err(ItemReject::Malformed);
    }
    let place = (pack.path.index, pack.path.count);
    if place != (judge.own.index() as u64, keyset.plan.committees.len() as u64)
        || !verify_inclusion(&pack.certified.header.outbox, &tree_leaf(log), &pack.path)
    {
        return Err(ItemReject::BadProof);
    }
    judge.header(keyset, pack.source, &pack.certified)?;
    let mut frontier = cursor.frontier.clone();
    for message in &pack.messages {
        frontier.append(message_leaf(message));
    }
    if !verify_consistency(end, &frontier.root(), log.count, &log.root, &pack.consistency) {
        return Err(ItemReject::BadProof);
    }
    Ok(Cursor { frontier, amount })
}
