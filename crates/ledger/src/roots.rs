//! The trees over all committees' outbox and inbox leaves, of which few change per block.
//!
//! Guarantees: [`CommitteeTree::root`] is the RFC 9162 root over the leaves in committee order; setting a
//! leaf rehashes its path only. Built bottom-up, an unpaired node moving up unchanged: the same tree as
//! the RFC's top-down splits.

use shardpay_crypto::merkle::EMPTY_ROOT;
use shardpay_crypto::{domain, leaf_hash, root};
use shardpay_types::{Codec, CommitteeId, Hash, InboxLeaf, List, MerklePath, OutboxLeaf, Total};

/// What stands under the outbox or inbox root for one committee.
pub(crate) trait CommitteeLeaf: Codec + Copy + PartialEq {
    /// Opens the leaf's content.
    const TAG: &'static [u8];
    /// The leaf of a committee nothing was exchanged with.
    fn empty(committee: CommitteeId) -> Self;
    /// Whose leaf it is.
    fn committee(&self) -> CommitteeId;
}

impl CommitteeLeaf for OutboxLeaf {
    const TAG: &'static [u8] = domain::OUTBOX;
    fn empty(destination: CommitteeId) -> Self {
        Self { destination, count: 0, amount: Total::ZERO, root: EMPTY_ROOT }
    }
    fn committee(&self) -> CommitteeId {
        self.destination
    }
}

impl CommitteeLeaf for InboxLeaf {
    const TAG: &'static [u8] = domain::INBOX;
    fn empty(source: CommitteeId) -> Self {
        Self { source, count: 0, amount: Total::ZERO, root: EMPTY_ROOT }
    }
    fn committee(&self) -> CommitteeId {
        self.source
    }
}

/// The hash of a leaf in its tree.
pub(crate) fn tree_leaf<L: CommitteeLeaf>(leaf: &L) -> Hash {
    let mut content = L::TAG.to_vec();
    leaf.encode(&mut content);
    leaf_hash(&content)
}

/// One leaf per committee and the tree over them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CommitteeTree<L> {
    leaves: Vec<L>,
    /// Leaf hashes first, the root alone in the last.
    levels: Vec<Vec<Hash>>,
}

impl<L: CommitteeLeaf> CommitteeTree<L> {
    /// The tree of `committees` that exchanged nothing.
    pub(crate) fn empty(committees: usize) -> Self {
        let leaves: Vec<L> = (0..committees).map(|id| L::empty(CommitteeId::at(id))).collect();
        let mut levels = vec![leaves.iter().map(tree_leaf).collect::<Vec<_>>()];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let above = below.chunks(2).map(|pair| if pair.len() == 2 { root(pair) } else { pair[0] }).collect();
            levels.push(above);
        }
        Self { leaves, levels }
    }

    /// Replaces a committee's leaf.
    pub(crate) fn set(&mut self, leaf: L) {
        let mut at = leaf.committee().index();
        self.leaves[at] = leaf;
        self.levels[0][at] = tree_leaf(&leaf);
        for height in 1..self.levels.len() {
            at /= 2;
            let below = &self.levels[height - 1];
            let pair = &below[at * 2..below.len().min(at * 2 + 2)];
            self.levels[height][at] = if pair.len() == 2 { root(pair) } else { pair[0] };
        }
    }

    /// A committee's leaf.
    pub(crate) fn leaf(&self, committee: CommitteeId) -> Option<&L> {
        self.leaves.get(committee.index())
    }

    /// All leaves.
    pub(crate) fn leaves(&self) -> &[L] {
        &self.leaves
    }

    /// The root.
    pub(crate) fn root(&self) -> Hash {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or(EMPTY_ROOT)
    }

    /// From a committee's leaf to the root.
    pub(crate) fn path(&self, committee: CommitteeId) -> Option<MerklePath> {
        let mut at = committee.index();
        self.leaves.get(at)?;
        let mut siblings = Vec::new();
        for level in &self.levels[..self.levels.len() - 1] {
            siblings.extend(level.get(at ^ 1));
            at /= 2;
        }
        let (index, count) = (committee.index() as u64, self.leaves.len() as u64);
        Some(MerklePath { index, count, siblings: List::bounded(siblings) })
    }
}
