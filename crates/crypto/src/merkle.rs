//! RFC 9162 Merkle trees: roots, append-only logs, inclusion and consistency proofs.
//!
//! Guarantees: leaves and inner nodes are hashed with different prefixes, so no node can be passed
//! off as a leaf. What a proof says about a tree is checked against that tree's *count*: the count
//! and index fix how many hashes a proof has and on which side each stands, anything else is refused.
//! The verifying functions take hostile numbers (up to `u64::MAX`) and end after at most 64 steps.
//!
//! Everything here works on *leaf hashes* ([`leaf_hash`]); the leaves themselves live elsewhere.
//!
//! Shape (RFC 9162 §2.1.1): the tree over n > 1 leaves splits at k, the largest power of two below n,
//! into a perfect left tree and the tree over the rest. So each tree is a row of perfect *peaks*, one
//! per set bit of n, and a log needs to keep only hashes of perfect subtrees.

mod frontier;
mod log;
mod proof;
#[cfg(test)]
mod tests;

pub use frontier::Frontier;
pub use log::MerkleLog;
pub use proof::{verify_consistency, verify_inclusion};

use shardpay_types::Hash;

use crate::hash::sha256;

/// Root of the tree without leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// Hash of a leaf: SHA-256(0x00 ‖ content).
pub fn leaf_hash(content: &[u8]) -> Hash {
    Hash(sha256(&[&[0], content]))
}

/// Hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Hash(sha256(&[&bytes]))
}

/// Root of the tree over these leaf hashes; O(n).
pub fn root(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::new();
    for leaf in leaves {
        frontier.append(*leaf);
    }
    frontier.root()
}

/// Where a tree of `count` > 1 leaves splits: the largest power of two below `count`.
pub(crate) const fn split(count: u64) -> u64 {
    1 << (u64::BITS - 1 - (count - 1).leading_zeros())
}

/// Root over a row of perfect subtrees of falling size.
pub(crate) fn fold_peaks<'a>(peaks: impl DoubleEndedIterator<Item = &'a Hash>) -> Hash {
    peaks.rev().copied().reduce(|right, left| node_hash(&left, &right)).unwrap_or(EMPTY_ROOT)
}
