//! Domain-separated SHA-256.
//!
//! Guarantees: two hashes of different kinds of things never cover the same bytes. Every hash that the
//! protocol gives a meaning to starts with one of the tags in [`domain`]; no tag is a prefix of
//! another, and what follows a tag is a canonical encoding, so equal hashes mean equal values.
//! Merkle trees follow RFC 9162 instead: their one-byte prefixes separate leaves from nodes, and
//! leaf *contents* start with a tag of their own.
//!
//! Assumes SHA-256 to be collision resistant; nothing here relies on it being a random oracle.

use sha2::{Digest, Sha256};

/// Tags that open what is hashed or signed. Each ends in a version and a zero byte, so none is a
/// prefix of another.
pub mod domain {
    /// Every signed message ([`crate::signed_message`]).
    pub const SIGNED: &[u8] = b"shardpay/signed/v1\0";
    /// A DAG block: the hash of its body, then its signature.
    pub const BLOCK: &[u8] = b"shardpay/block/v1\0";
    /// A DAG block without its signature: what the author signs.
    pub const BLOCK_BODY: &[u8] = b"shardpay/block-body/v1\0";
    /// A ledger-block header.
    pub const HEADER: &[u8] = b"shardpay/header/v1\0";
    /// A plan; the genesis plan's hash is the chain id.
    pub const PLAN: &[u8] = b"shardpay/plan/v1\0";
    /// A transaction leaf of a ledger block.
    pub const LEAF: &[u8] = b"shardpay/leaf/v1\0";
    /// An opaque payload: its id.
    pub const OPAQUE: &[u8] = b"shardpay/opaque/v1\0";
    /// A leaf of a ledger block for an opaque payload.
    pub const OPAQUE_LEAF: &[u8] = b"shardpay/opaque-leaf/v1\0";
    /// A leaf of a ledger block for a credit that arrived from another committee.
    pub const CREDIT_LEAF: &[u8] = b"shardpay/credit-leaf/v1\0";
    /// A leaf of a ledger block for a returned credit.
    pub const RETURN_LEAF: &[u8] = b"shardpay/return-leaf/v1\0";
    /// A message in an outbox log.
    pub const OUTBOX_MESSAGE: &[u8] = b"shardpay/outbox-message/v1\0";
    /// The list of all outboxes of a committee.
    pub const OUTBOX: &[u8] = b"shardpay/outbox/v1\0";
    /// The list of all inbox cursors of a committee.
    pub const INBOX: &[u8] = b"shardpay/inbox/v1\0";
    /// The chain of effects of ledger blocks.
    pub const EFFECTS: &[u8] = b"shardpay/effects/v1\0";
    /// The list of leaders committed in the last rounds.
    pub const LEADERS: &[u8] = b"shardpay/leaders/v1\0";
    /// A checkpoint over the whole state of a committee.
    pub const STATE: &[u8] = b"shardpay/state/v1\0";
    /// A whole transaction with its signature: the key of a [`crate::VerifiedCache`].
    pub const VERIFIED: &[u8] = b"shardpay/verified/v1\0";
    /// Weights of a signature batch; never leaves the process.
    pub const BATCH: &[u8] = b"shardpay/batch/v1\0";
    /// Seeds of keyed hash maps; never leaves the process.
    pub const INDEX: &[u8] = b"shardpay/index/v1\0";
}

/// SHA-256 over the concatenation of `parts`. The caller sees to it that the concatenation cannot be
/// cut in two ways: a tag first, then fixed-size or length-prefixed parts.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = Sha256::new();
    for part in parts {
        state.update(part);
    }
    state.finalize().into()
}

/// SHA-256 fed piece by piece, opened with a domain tag.
#[derive(Debug, Clone)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Starts a hash of the kind `domain`.
    pub fn new(domain: &[u8]) -> Self {
        let mut state = Sha256::new();
        state.update(domain);
        Self(state)
    }

    /// Appends bytes.
    pub fn update(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    /// The hash of everything so far.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tag_is_a_prefix_of_another() {
        let tags = [
            domain::SIGNED,
            domain::BLOCK,
            domain::BLOCK_BODY,
            domain::HEADER,
            domain::PLAN,
            domain::LEAF,
            domain::OPAQUE,
            domain::OPAQUE_LEAF,
            domain::CREDIT_LEAF,
            domain::RETURN_LEAF,
            domain::OUTBOX_MESSAGE,
            domain::OUTBOX,
            domain::INBOX,
            domain::EFFECTS,
            domain::LEADERS,
            domain::STATE,
            domain::VERIFIED,
            domain::BATCH,
            domain::INDEX,
        ];
        for (i, a) in tags.iter().enumerate() {
            for (j, b) in tags.iter().enumerate() {
                assert!(i == j || !b.starts_with(a), "{i} opens {j}");
            }
        }
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        let mut hasher = Hasher::new(domain::LEAF);
        hasher.update(b"one").update(b"two");
        assert_eq!(hasher.finish(), sha256(&[domain::LEAF, b"onetwo"]));
    }

    #[test]
    fn empty_input_has_the_published_hash() {
        assert_eq!(sha256(&[])[..8], [0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14]);
    }
}
