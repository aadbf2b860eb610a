//! The log of all header hashes (`history` in headers): bounded memory, proofs from the store.
//!
//! In memory stands the frontier only. Each node of the tree is handed to the store when it becomes
//! complete (about two per header), so a path from any header, however old, takes O(log n) reads and a
//! restart reads nothing.

use shardpay_crypto::{Frontier, leaf_hash, root};
use shardpay_types::{Hash, HeaderHash, List, MerklePath};

/// Where a node stands: (level, position).
type Place = (u8, u64);

/// The log's frontier.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    frontier: Frontier,
}

impl History {
    pub(crate) fn new(frontier: Frontier) -> Self {
        Self { frontier }
    }

    pub(crate) fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Appends a header and adds the nodes that became complete to `nodes`.
    pub(crate) fn append(&mut self, header: &HeaderHash, nodes: &mut Vec<(u8, u64, Hash)>) {
        let count = self.frontier.count();
        let mut node = leaf_hash(header.as_bytes());
        nodes.push((0, count, node));
        let complete = count.trailing_ones() as usize;
        for (level, left) in (1u8..).zip(self.frontier.peaks().iter().rev().take(complete)) {
            node = root(&[*left, node]);
            nodes.push((level, count >> level, node));
        }
        self.frontier.append(leaf_hash(header.as_bytes()));
    }
}

/// The path from leaf `index` to the root over the first `count` leaves, from stored nodes; `None` when a
/// node is missing or `index` is not below `count`.
pub(crate) fn inclusion<E>(
    index: u64,
    count: u64,
    read: impl Fn(Place) -> Result<Option<Hash>, E>,
) -> Result<Option<MerklePath>, E> {
    if index >= count {
        return Ok(None);
    }
    let mut siblings = Vec::new();
    let (mut start, mut end) = (0, count);
    while end - start > 1 {
        // RFC 9162 §2.1: the left tree is the largest power of two below the size.
        let middle = start + (1 << (u64::BITS - 1 - (end - start - 1).leading_zeros()));
        let (other, rest) =
            if index < middle { ((middle, end), (start, middle)) } else { ((start, middle), (middle, end)) };
        match range_root(other.0, other.1, &read)? {
            Some(hash) => siblings.push(hash),
            None => return Ok(None),
        }
        (start, end) = rest;
    }
    siblings.reverse();
    Ok(Some(MerklePath { index, count, siblings: List::bounded(siblings) }))
}

/// The root over leaves `start`..`end` of such a split, from its perfect subtrees.
fn range_root<E>(start: u64, end: u64, read: impl Fn(Place) -> Result<Option<Hash>, E>) -> Result<Option<Hash>, E> {
    let (mut at, mut peaks) = (start, Vec::new());
    for level in (0..64u8).rev().filter(|level| (end - start) >> level & 1 == 1) {
        match read((level, at >> level))? {
            Some(node) => peaks.push(node),
            None => return Ok(None),
        }
        at += 1 << level;
    }
    Ok(peaks.into_iter().rev().reduce(|right, left| root(&[left, right])))
}
