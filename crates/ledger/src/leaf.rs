//! Leaves of a ledger block, computed from an item's fields alone (DESIGN §5).
//!
//! A leaf's hash is RFC 9162's over a content that opens with a tag:
//! - transaction: `LEAF ‖ txid ‖ outcome ‖` for each local account touched `key ‖ balance ‖ next_sequence`;
//! - opaque payload: `OPAQUE_LEAF ‖ txid`;
//! - consumed message: `CREDIT_LEAF` (or `RETURN_LEAF` for a returned credit) `‖ source ‖ index ‖ message ‖
//!   outcome ‖ account`, the account being 0, or 1 ‖ balance ‖ next_sequence.
//!
//! Which accounts a transaction touched follows from its kind and how many states it lists: the debited
//! one, then the credited one. So a receipt, or a block read from the store, gives the same leaf as
//! execution did.

use shardpay_crypto::{domain, leaf_hash, opaque_id, txid};
use shardpay_types::{
    ChainId, Codec, CommitteeId, ExecutedCredit, ExecutedTransaction, Hash, LedgerItem, MessageKind, OutboxMessage,
    Outcome, PublicKey, TxId,
};

/// The leaf hashes of an item, in order; none for closings and epoch changes.
pub fn item_leaves(chain: &ChainId, item: &LedgerItem) -> Vec<Hash> {
    match item {
        LedgerItem::Transaction(executed) => vec![transaction_leaf(&txid(chain, &executed.transaction), executed)],
        LedgerItem::Opaque(payload) => vec![opaque_leaf(&opaque_id(chain, payload))],
        LedgerItem::Pack(executed) => {
            let pack = &executed.pack;
            let numbered = (0..).zip(&pack.messages).zip(&executed.credits);
            // messages past the last index cannot be: a foreign pack that counts so gets too few leaves
            let leaf = |((offset, message), credit)| {
                Some(credit_leaf(pack.source, pack.first.checked_add(offset)?, message, credit))
            };
            numbered.map_while(leaf).collect()
        }
        LedgerItem::Closing(_) | LedgerItem::EpochChange(_) => Vec::new(),
    }
}

/// The leaf hash of an executed transaction with this id.
pub fn transaction_leaf(txid: &TxId, executed: &ExecutedTransaction) -> Hash {
    let transaction = &executed.transaction;
    let keys = transaction.debit().map(|(sender, _)| sender).into_iter().chain(transaction.recipient());
    // A state too many, in a foreign item, enters under a key that owns nothing: it makes another leaf.
    let keys = keys.chain(std::iter::repeat(PublicKey([0; 32])));
    // On the stack: this runs once per payment.
    let mut content = [0; domain::LEAF.len() + 33 + 2 * 48];
    let mut len = 0;
    let mut put = |bytes: &[u8]| {
        content[len..len + bytes.len()].copy_from_slice(bytes);
        len += bytes.len();
    };
    put(domain::LEAF);
    put(&txid.0);
    put(&[match executed.outcome {
        Outcome::Applied => 1,
        Outcome::ShortBalance => 2,
    }]);
    for (key, state) in keys.zip(&executed.accounts) {
        put(&key.0);
        put(&state.balance.micros().to_le_bytes());
        put(&state.next_sequence.get().to_le_bytes());
    }
    leaf_hash(&content[..len])
}

/// The leaf hash of an opaque payload with this id.
pub fn opaque_leaf(txid: &TxId) -> Hash {
    let mut content = [0; domain::OPAQUE_LEAF.len() + 32];
    content[..domain::OPAQUE_LEAF.len()].copy_from_slice(domain::OPAQUE_LEAF);
    content[domain::OPAQUE_LEAF.len()..].copy_from_slice(&txid.0);
    leaf_hash(&content)
}

/// The leaf hash of a consumed message.
pub(crate) fn credit_leaf(source: CommitteeId, index: u64, message: &OutboxMessage, executed: &ExecutedCredit) -> Hash {
    let tag = match message.kind {
        MessageKind::Return => domain::RETURN_LEAF,
        MessageKind::Credit | MessageKind::MintCredit => domain::CREDIT_LEAF,
    };
    let mut content = tag.to_vec();
    source.encode(&mut content);
    index.encode(&mut content);
    message.encode(&mut content);
    executed.encode(&mut content);
    leaf_hash(&content)
}
