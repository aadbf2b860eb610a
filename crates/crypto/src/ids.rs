//! The ids of the ledger's values and the signed bytes of each kind of statement, in one place.
//!
//! Guarantees: each rule stands here once and nowhere else. Ids are SHA-256 over a domain tag and the
//! canonical encoding, so equal ids mean equal values. A transaction's id covers its *signed* bytes,
//! never the signature: the owner of a key can sign the same bytes twice, and both must be one payment.
//!
//! The first byte of an encoded transaction is its [`SignedKind`], so its signed bytes are tag ‖ chain
//! id ‖ the encoding without the signature.

use shardpay_types::{
    BalanceStatement, BlockDigest, BlockRef, ChainId, Checkpoint, Codec, DepositRef, Epoch, Hash, HeaderHash,
    LedgerHeader, Opaque, Plan, PlanHash, PublicKey, ShardId, Signature, Transaction, TxId,
};

use crate::hash::{domain, sha256};
use crate::message::{ShortMessage, SignedKind, signed_message};

/// Length of a signature at the end of a signed encoding.
const SIGNATURE_BYTES: usize = 64;

/// The shard that holds `key`'s account: the first 12 bits of SHA-256(key), high bits first.
pub fn shard_of(key: &PublicKey) -> ShardId {
    shard_of_bytes(&key.0)
}

/// The shard that remembers a deposit: the first 12 bits of SHA-256(reference), high bits first.
pub fn shard_of_deposit(deposit: &DepositRef) -> ShardId {
    shard_of_bytes(&deposit.0)
}

fn shard_of_bytes(bytes: &[u8]) -> ShardId {
    let hash = sha256(&[bytes]);
    ShardId::at(usize::from(hash[0]) << 4 | usize::from(hash[1]) >> 4)
}

/// The id of a transaction on ledger `chain`: SHA-256 over its signed bytes.
pub fn txid(chain: &ChainId, transaction: &Transaction) -> TxId {
    TxId(sha256(&[&transaction_message(chain, transaction)]))
}

/// The bytes that a transaction's signature covers.
pub fn transaction_message(chain: &ChainId, transaction: &Transaction) -> Vec<u8> {
    let mut out = Vec::with_capacity(domain::SIGNED.len() + 32 + Transaction::LEN_MAX);
    transaction_message_into(chain, transaction, &mut out);
    out
}

/// Appends the bytes that a transaction's signature covers to `out`, an arena for a whole batch.
pub fn transaction_message_into(chain: &ChainId, transaction: &Transaction, out: &mut Vec<u8>) {
    out.extend_from_slice(domain::SIGNED);
    out.extend_from_slice(chain.as_bytes());
    transaction.encode(out);
    out.truncate(out.len() - SIGNATURE_BYTES);
}

/// The id of an opaque payload on ledger `chain`: SHA-256 over a tag, the chain id and the bytes.
pub fn opaque_id(chain: &ChainId, payload: &Opaque) -> TxId {
    TxId(sha256(&[domain::OPAQUE, chain.as_bytes(), &payload.0]))
}

/// Names a transaction *with its signature*: the key under which a verified one is cached
/// ([`crate::VerifiedCache`]). Not an id of the payment.
pub fn transaction_fingerprint(chain: &ChainId, transaction: &Transaction) -> Hash {
    let mut bytes = Vec::with_capacity(Transaction::LEN_MAX);
    transaction.encode(&mut bytes);
    Hash(sha256(&[domain::VERIFIED, chain.as_bytes(), &bytes]))
}

/// SHA-256 over a block's encoding without its last 64 bytes, the signature (whose place may hold
/// anything).
///
/// # Panics
/// When `encoded` is shorter than a signature.
pub fn block_body_hash(encoded: &[u8]) -> [u8; 32] {
    sha256(&[domain::BLOCK_BODY, &encoded[..encoded.len() - SIGNATURE_BYTES]])
}

/// The bytes that a block's signature covers: kind `Block` over the body's hash.
pub fn block_message(chain: &ChainId, body_hash: &[u8; 32]) -> ShortMessage {
    ShortMessage::new(chain, SignedKind::Block, body_hash)
}

/// The digest of a DAG block: over its body's hash and the signature, so that half a megabyte is hashed
/// once for both.
pub fn block_digest(body_hash: &[u8; 32], signature: &Signature) -> BlockDigest {
    BlockDigest(sha256(&[domain::BLOCK, body_hash, &signature.0]))
}

/// The hash of a ledger-block header.
pub fn header_hash(header: &LedgerHeader) -> HeaderHash {
    HeaderHash(hash_of(domain::HEADER, header))
}

/// The bytes that members sign to certify the header with this hash.
pub fn header_message(chain: &ChainId, header: &HeaderHash) -> ShortMessage {
    ShortMessage::new(chain, SignedKind::Header, header.as_bytes())
}

/// The hash of a plan.
pub fn plan_hash(plan: &Plan) -> PlanHash {
    PlanHash(hash_of(domain::PLAN, plan))
}

/// The id of the ledger that starts with the plan `genesis`: the plan's hash.
pub fn chain_id(genesis: &Plan) -> ChainId {
    ChainId(plan_hash(genesis).0)
}

/// The bytes that a member signs to consent to `plan` for `epoch`.
pub fn plan_approval_message(chain: &ChainId, plan: &PlanHash, epoch: Epoch) -> ShortMessage {
    let mut body = [0; 40];
    body[..32].copy_from_slice(plan.as_bytes());
    body[32..].copy_from_slice(&epoch.get().to_le_bytes());
    ShortMessage::new(chain, SignedKind::PlanApproval, &body)
}

/// The bytes that members sign for a checkpoint.
pub fn checkpoint_message(checkpoint: &Checkpoint) -> Vec<u8> {
    signed_message(&checkpoint.chain, SignedKind::Checkpoint, &checkpoint.to_bytes())
}

/// The bytes that a member signs for an answer about a balance.
pub fn balance_message(statement: &BalanceStatement) -> Vec<u8> {
    signed_message(&statement.chain, SignedKind::Balance, &statement.to_bytes())
}

/// The hash of a list of committed leaders (DESIGN §4, rejoin), ascending rounds: over the encoding of
/// `LeaderList`.
pub fn leaders_hash(leaders: &[BlockRef]) -> Hash {
    let mut bytes = Vec::with_capacity(4 + leaders.len() * BlockRef::MIN_LEN);
    u32::try_from(leaders.len()).expect("leader lists are bounded by the gc depth").encode(&mut bytes);
    for leader in leaders {
        leader.encode(&mut bytes);
    }
    Hash(sha256(&[domain::LEADERS, &bytes]))
}

fn hash_of(tag: &[u8], value: &impl Codec) -> [u8; 32] {
    sha256(&[tag, &value.to_bytes()])
}

#[cfg(test)]
mod tests {
    use shardpay_types::{Amount, Mint, Payment, Reference, Sequence, Signature, SignedMint, SignedPayment, Timestamp};

    use super::*;

    const CHAIN: ChainId = ChainId([5; 32]);

    fn payment(signature: u8) -> (Payment, Transaction) {
        let body = Payment {
            sender: PublicKey([1; 32]),
            recipient: PublicKey([2; 32]),
            amount: Amount::from_micros(3),
            sequence: Sequence::new(4),
            valid_until: Timestamp::ZERO,
            reference: Reference([6; 16]),
        };
        (body, Transaction::Payment(SignedPayment { body, signature: Signature([signature; 64]) }))
    }

    #[test]
    fn transactions_follow_the_rule_for_all_signatures() {
        let (body, transaction) = payment(7);
        let message = transaction_message(&CHAIN, &transaction);
        assert_eq!(message, signed_message(&CHAIN, SignedKind::Payment, &body.to_bytes()));
        let body = Mint { recipient: PublicKey([1; 32]), amount: Amount::ZERO, deposit_ref: DepositRef([2; 32]) };
        let mint = Transaction::Mint(SignedMint { body, signature: Signature([3; 64]) });
        let mut arena = message.clone();
        transaction_message_into(&CHAIN, &mint, &mut arena);
        assert_eq!(arena[message.len()..], signed_message(&CHAIN, SignedKind::Mint, &body.to_bytes()));
    }

    #[test]
    fn a_txid_leaves_the_signature_out_and_a_fingerprint_does_not() {
        let ((_, a), (_, b)) = (payment(7), payment(8));
        assert_eq!(txid(&CHAIN, &a), txid(&CHAIN, &b));
        assert_ne!(txid(&CHAIN, &a), txid(&ChainId([6; 32]), &a));
        assert_ne!(transaction_fingerprint(&CHAIN, &a), transaction_fingerprint(&CHAIN, &b));
    }

    #[test]
    fn shards_are_the_first_twelve_bits() {
        for n in 0..=255 {
            let hash = sha256(&[&[n; 32]]);
            let shard = usize::from(u16::from_be_bytes([hash[0], hash[1]]) >> 4);
            assert_eq!(shard_of(&PublicKey([n; 32])).index(), shard);
            assert_eq!(shard_of_deposit(&DepositRef([n; 32])).index(), shard);
        }
    }

    #[test]
    fn a_block_is_signed_over_everything_but_the_signature() {
        let mut encoded = vec![1; 500];
        let body = block_body_hash(&encoded);
        *encoded.last_mut().expect("not empty") ^= 1;
        assert_eq!(body, block_body_hash(&encoded));
        let last_of_body = encoded.len() - SIGNATURE_BYTES - 1;
        encoded[last_of_body] ^= 1;
        assert_ne!(body, block_body_hash(&encoded));
        assert_eq!(*block_message(&CHAIN, &body), *signed_message(&CHAIN, SignedKind::Block, &body));
        assert_ne!(block_digest(&body, &Signature([1; 64])), block_digest(&body, &Signature([2; 64])));
    }

    #[test]
    fn leaders_hash_over_the_lists_encoding() {
        let leader = BlockRef {
            round: shardpay_types::Round::new(9),
            author: shardpay_types::MemberIndex::at(1),
            digest: BlockDigest([4; 32]),
        };
        let list = shardpay_types::LeaderList::bounded(vec![leader; 3]);
        assert_eq!(leaders_hash(&list).0, sha256(&[domain::LEADERS, &list.to_bytes()]));
    }
}
