//! An append-only log that proves.
//!
//! Invariant: level l holds, for consecutive positions j from its first kept one, the root of the
//! perfect subtree over leaves j·2^l .. (j+1)·2^l, for every such subtree that is complete. After
//! `prune_below(i)` level l starts at (i >> l) with the lowest bit cleared: exactly the left siblings
//! that paths from leaf i and proofs from count i on can ask for. Memory is two hashes per kept leaf
//! and one per level.

use std::collections::VecDeque;

use shardpay_types::{COUNTER_MAX, ConsistencyProof, Hash, List, MerklePath};

use super::{Frontier, fold_peaks, node_hash, split};

/// Roots of the complete perfect subtrees of one size.
#[derive(Debug, Clone, Default)]
struct Level {
    /// Position of the first one kept.
    first: u64,
    nodes: VecDeque<Hash>,
}

impl Level {
    fn end(&self) -> u64 {
        self.first + self.nodes.len() as u64
    }

    fn node(&self, position: u64) -> Option<&Hash> {
        self.nodes.get(usize::try_from(position.checked_sub(self.first)?).ok()?)
    }

    fn drop_below(&mut self, position: u64) {
        let gone = position.saturating_sub(self.first).min(self.nodes.len() as u64);
        self.nodes.drain(..gone as usize);
        self.first += gone;
    }
}

/// An append-only log of leaf hashes: appends in amortised O(1), roots and proofs for the present and
/// every earlier count in O(log n).
#[derive(Debug, Clone, Default)]
pub struct MerkleLog {
    levels: Vec<Level>,
    count: u64,
    /// Proofs from leaves and counts below this can no longer be made.
    first: u64,
}

impl MerkleLog {
    /// The empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// A log whose leaves are known only through its frontier: it can be appended to and proves
    /// whatever lies at or beyond the frontier's count.
    pub fn from_frontier(frontier: &Frontier) -> Self {
        let count = frontier.count();
        let mut peaks = frontier.peaks().iter();
        let mut levels: Vec<Level> = (0..u64::BITS - count.leading_zeros())
            .rev()
            .map(|height| {
                let position = count >> height;
                let nodes =
                    if position & 1 == 1 { peaks.next().into_iter().copied().collect() } else { VecDeque::new() };
                Level { first: position & !1, nodes }
            })
            .collect();
        levels.reverse();
        Self { levels, count, first: count }
    }

    /// Number of leaves.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The lowest leaf and count that proofs can start from.
    pub fn first_provable(&self) -> u64 {
        self.first
    }

    /// Appends a leaf hash.
    ///
    /// # Panics
    /// Beyond [`COUNTER_MAX`] leaves, which no log reaches.
    pub fn append(&mut self, leaf: Hash) {
        assert!(self.count < COUNTER_MAX, "a log holds at most 2^62 leaves");
        let mut node = leaf;
        for height in 0.. {
            if height == self.levels.len() {
                self.levels.push(Level::default());
            }
            let level = &mut self.levels[height];
            let position = level.end();
            level.nodes.push_back(node);
            if position & 1 == 0 {
                break;
            }
            let left = level.node(position - 1).expect("the left sibling of an incomplete pair is never pruned");
            node = node_hash(left, &node);
        }
        self.count += 1;
    }

    /// The leaf hash at `index`, if it is still kept.
    pub fn leaf(&self, index: u64) -> Option<Hash> {
        self.levels.first()?.node(index).copied()
    }

    /// Root of the tree over all leaves.
    pub fn root(&self) -> Hash {
        self.root_at(self.count).expect("the present root is never pruned")
    }

    /// Root of the tree over the first `count` leaves; `None` beyond the end or below the pruned part.
    pub fn root_at(&self, count: u64) -> Option<Hash> {
        Some(fold_peaks(self.peaks(count)?.iter()))
    }

    /// The frontier of the whole log: what storage keeps of it.
    pub fn frontier(&self) -> Frontier {
        self.frontier_at(self.count).expect("the present frontier is never pruned")
    }

    /// The frontier of the first `count` leaves; `None` like [`root_at`](Self::root_at).
    pub fn frontier_at(&self, count: u64) -> Option<Frontier> {
        Some(Frontier::from_parts(count, self.peaks(count)?))
    }

    /// Proof that leaf `index` stands in the tree over the first `count` leaves (RFC 9162 §2.1.3.1);
    /// `None` when there is no such leaf or it was pruned.
    pub fn inclusion(&self, index: u64, count: u64) -> Option<MerklePath> {
        if index >= count || count > self.count || index < self.first {
            return None;
        }
        let mut siblings = Vec::new();
        let (mut start, mut end) = (0, count);
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                siblings.push(self.range_root(middle, end)?);
                end = middle;
            } else {
                siblings.push(self.range_root(start, middle)?);
                start = middle;
            }
        }
        siblings.reverse();
        Some(MerklePath { index, count, siblings: List::bounded(siblings) })
    }

    /// Proof that the tree over the first `old` leaves is a prefix of the tree over the first `new`
    /// (RFC 9162 §2.1.4.1); empty when `old` is 0 or `new`; `None` when `old` > `new`, beyond the
    /// end or below the pruned part.
    pub fn consistency(&self, old: u64, new: u64) -> Option<ConsistencyProof> {
        if old > new || new > self.count || (old < self.first && old > 0) {
            return None;
        }
        let mut hashes = Vec::new();
        if old > 0 && old < new {
            let (mut start, mut end) = (0, new);
            while end > old {
                let middle = start + split(end - start);
                if old <= middle {
                    hashes.push(self.range_root(middle, end)?);
                    end = middle;
                } else {
                    hashes.push(self.range_root(start, middle)?);
                    start = middle;
                }
            }
            if start > 0 {
                hashes.push(self.range_root(start, end)?);
            }
        }
        hashes.reverse();
        Some(ConsistencyProof { hashes: List::bounded(hashes) })
    }

    /// Forgets everything that proofs from leaf `index` and from count `index` on do not need.
    /// Beyond the end means all leaves; below what was pruned before changes nothing.
    pub fn prune_below(&mut self, index: u64) {
        self.first = self.first.max(index.min(self.count));
        for (height, level) in self.levels.iter_mut().enumerate() {
            level.drop_below((self.first >> height) & !1);
        }
    }

    /// Number of hashes in memory.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.levels.iter().map(|level| level.nodes.len()).sum()
    }

    /// Peaks of the tree over the first `count` leaves, largest first.
    fn peaks(&self, count: u64) -> Option<Vec<Hash>> {
        if count > self.count {
            return None;
        }
        set_bits(count).map(|height| self.node(height, (count >> height) - 1)).collect()
    }

    /// Root of the tree over leaves `start`..`end`, where `start` is a multiple of the power of two
    /// at or above the range's length, as in every subtree of an RFC 9162 tree.
    fn range_root(&self, start: u64, end: u64) -> Option<Hash> {
        let mut at = start;
        let mut peaks = Vec::new();
        for height in set_bits(end - start) {
            peaks.push(self.node(height, at >> height)?);
            at += 1 << height;
        }
        Some(fold_peaks(peaks.iter()))
    }

    fn node(&self, height: u32, position: u64) -> Option<Hash> {
        self.levels.get(height as usize)?.node(position).copied()
    }
}

/// Positions of the set bits, highest first.
fn set_bits(value: u64) -> impl Iterator<Item = u32> {
    (0..u64::BITS - value.leading_zeros()).rev().filter(move |bit| value >> bit & 1 == 1)
}
