//! Floor 1 of shardpay: hashing, identities, signatures with one verdict, and Merkle logs.
//!
//! No I/O, no clock, no randomness of its own: secret seeds come from the driver as arguments. What is
//! shared between verification threads (the caches) is locked inside.

mod hash;
mod ids;
mod keypair;
pub mod merkle;
mod message;
mod scheme;
mod sealed;
mod verified;
mod verified_cache;
mod zip215;

pub use hash::{Hasher, domain, sha256};
pub use ids::{
    balance_message, block_body_hash, block_digest, block_message, chain_id, checkpoint_message, header_hash,
    header_message, leaders_hash, opaque_id, plan_approval_message, plan_hash, shard_of, shard_of_deposit,
    transaction_fingerprint, transaction_message, transaction_message_into, txid,
};
pub use keypair::Keypair;
pub use merkle::{Frontier, MerkleLog, leaf_hash, root, verify_consistency, verify_inclusion};
pub use message::{
    SHORT_BODY_BYTES_MAX, SIGNED_PREFIX_BYTES, ShortMessage, SignedKind, signed_message, signed_message_into,
};
pub use scheme::{SignatureScheme, SignedItem, Signer};
pub use sealed::{Commit, IdentifiedOpaque, IdentifiedTransaction, SealedBlock};
pub use verified::Verified;
pub use verified_cache::VerifiedCache;
pub use zip215::Zip215;
