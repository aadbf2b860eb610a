//! Checking proofs. Both functions walk from the root down to learn the shape that the counts imply,
//! then fold the proof's hashes back up; the walk halves a `u64` each step, so it ends within 64.

use shardpay_types::{ConsistencyProof, Hash, MerklePath};

use super::{EMPTY_ROOT, node_hash, split};

/// On which side of a split the walk went down.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// The sides taken on the way down; at most one per bit of the count.
struct Walk {
    sides: [Side; 64],
    len: usize,
}

impl Walk {
    fn new() -> Self {
        Self { sides: [Side::Left; 64], len: 0 }
    }
    fn push(&mut self, side: Side) {
        self.sides[self.len] = side;
        self.len += 1;
    }
    /// From the bottom up.
    fn rising(&self) -> impl Iterator<Item = Side> {
        self.sides[..self.len].iter().rev().copied()
    }
}

/// Whether `leaf` (a leaf hash) stands at `path.index` in the tree of `path.count` leaves with this
/// root (RFC 9162 §2.1.3.2). The caller compares `path.count` and `path.index` with what it expects.
pub fn verify_inclusion(root: &Hash, leaf: &Hash, path: &MerklePath) -> bool {
    if path.index >= path.count {
        return false;
    }
    let (mut index, mut count) = (path.index, path.count);
    let mut walk = Walk::new();
    while count > 1 {
        let middle = split(count);
        if index < middle {
            walk.push(Side::Left);
            count = middle;
        } else {
            walk.push(Side::Right);
            index -= middle;
            count -= middle;
        }
    }
    if path.siblings.len() != walk.len {
        return false;
    }
    let folded = walk.rising().zip(&path.siblings).fold(*leaf, |node, (side, sibling)| match side {
        Side::Left => node_hash(&node, sibling),
        Side::Right => node_hash(sibling, &node),
    });
    folded == *root
}

/// Whether the tree of `old_count` leaves with root `old_root` is a prefix of the tree of `new_count`
/// leaves with root `new_root` (RFC 9162 §2.1.4.2). Of equal counts the roots must be equal and the
/// proof empty; the empty tree is a prefix of everything, with an empty proof.
pub fn verify_consistency(
    old_count: u64,
    old_root: &Hash,
    new_count: u64,
    new_root: &Hash,
    proof: &ConsistencyProof,
) -> bool {
    if old_count == 0 {
        return *old_root == EMPTY_ROOT && proof.hashes.is_empty() && (new_count > 0 || *new_root == EMPTY_ROOT);
    }
    if old_count >= new_count {
        return old_count == new_count && old_root == new_root && proof.hashes.is_empty();
    }
    // Down to the subtree that ends where the old tree ends; `old` and `count` are relative to it.
    let (mut old, mut count) = (old_count, new_count);
    let mut walk = Walk::new();
    while old < count {
        let middle = split(count);
        if old <= middle {
            walk.push(Side::Left);
            count = middle;
        } else {
            walk.push(Side::Right);
            old -= middle;
            count -= middle;
        }
    }
    // Where the old tree *is* that subtree its root is known; else the proof opens with it.
    let (start, siblings) = if old == old_count {
        (*old_root, &proof.hashes[..])
    } else {
        match proof.hashes.split_first() {
            Some((start, siblings)) => (*start, siblings),
            None => return false,
        }
    };
    if siblings.len() != walk.len {
        return false;
    }
    let (old_folded, new_folded) =
        walk.rising().zip(siblings).fold((start, start), |(old, new), (side, sibling)| match side {
            Side::Left => (old, node_hash(&new, sibling)),
            Side::Right => (node_hash(sibling, &old), node_hash(sibling, &new)),
        });
    old_folded == *old_root && new_folded == *new_root
}
