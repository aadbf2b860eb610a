//! Valid blocks whose parents are not all accepted yet.
//!
//! Guarantees: per author at most [`BLOCKS_MAX`] blocks and [`BYTES_MAX`] bytes; a full author loses
//! its highest rounds first, so that what is needed next stays. A block leaves when its last parent is
//! accepted (or falls to the gc round), when it falls to the gc round itself, or by eviction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shardpay_crypto::SealedBlock;
use shardpay_types::{BlockDigest, BlockRef, MemberIndex, Round};

/// Most waiting blocks of one author.
pub(crate) const BLOCKS_MAX: usize = 64;
/// Most bytes of waiting blocks of one author.
pub(crate) const BYTES_MAX: usize = 8 << 20;

#[derive(Debug)]
struct Waiter {
    block: Arc<SealedBlock>,
    /// Whether it was asked for by digest.
    asked: bool,
    /// Parents above the gc round that are not accepted; empty once it is on its way out.
    missing: Vec<BlockRef>,
}

#[derive(Debug, Default)]
struct OfAuthor {
    refs: BTreeSet<BlockRef>,
    bytes: usize,
}

/// What had to leave a full waiting area.
#[derive(Debug, Default)]
pub(crate) struct Evicted {
    /// The blocks.
    pub(crate) blocks: Vec<BlockRef>,
    /// Their parents that no other block waits for.
    pub(crate) orphans: Vec<BlockRef>,
}

/// The waiting area.
#[derive(Debug)]
pub(crate) struct Waiting {
    blocks: BTreeMap<BlockRef, Waiter>,
    authors: Vec<OfAuthor>,
    /// Parent that is not accepted → blocks that wait for it.
    children: BTreeMap<BlockRef, Vec<BlockRef>>,
}

impl Waiting {
    pub(crate) fn new(members: usize) -> Self {
        Self {
            blocks: BTreeMap::new(),
            authors: (0..members).map(|_| OfAuthor::default()).collect(),
            children: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.authors.iter().map(|author| author.bytes).sum()
    }

    pub(crate) fn get(&self, reference: &BlockRef) -> Option<&Arc<SealedBlock>> {
        self.blocks.get(reference).map(|waiter| &waiter.block)
    }

    /// A waiting block in this slot.
    pub(crate) fn in_slot(&self, round: Round, author: MemberIndex) -> Option<&Arc<SealedBlock>> {
        let first = BlockRef { round, author, digest: BlockDigest::ZERO };
        let last = BlockRef { round, author, digest: BlockDigest([0xff; 32]) };
        self.blocks.range(first..=last).next().map(|(_, waiter)| &waiter.block)
    }

    /// Whether some block waits for this parent.
    pub(crate) fn awaited(&self, parent: &BlockRef) -> bool {
        self.children.contains_key(parent)
    }

    /// Adds a block that lacks the parents `missing`, and returns what had to go for it (itself, when
    /// it is the author's highest).
    pub(crate) fn insert(&mut self, block: Arc<SealedBlock>, asked: bool, missing: Vec<BlockRef>) -> Evicted {
        let reference = block.reference();
        let mut evicted = Evicted::default();
        let Some(author) = self.authors.get_mut(reference.author.index()) else { return evicted };
        author.refs.insert(reference);
        author.bytes += block.raw().0.len();
        for parent in &missing {
            self.children.entry(*parent).or_default().push(reference);
        }
        self.blocks.insert(reference, Waiter { block, asked, missing });
        while let Some(highest) = self.over_limit(reference.author) {
            let parents = self.blocks.get(&highest).map(|waiter| waiter.missing.clone()).unwrap_or_default();
            self.remove(&highest);
            evicted.blocks.push(highest);
            evicted.orphans.extend(parents.into_iter().filter(|parent| !self.awaited(parent)));
        }
        evicted
    }

    fn over_limit(&self, author: MemberIndex) -> Option<BlockRef> {
        let author = self.authors.get(author.index())?;
        let full = author.refs.len() > BLOCKS_MAX || author.bytes > BYTES_MAX;
        author.refs.last().copied().filter(|_| full)
    }

    /// Takes a block out, with whether it was asked for by digest.
    pub(crate) fn remove(&mut self, reference: &BlockRef) -> Option<(Arc<SealedBlock>, bool)> {
        let waiter = self.blocks.remove(reference)?;
        if let Some(author) = self.authors.get_mut(reference.author.index()) {
            author.refs.remove(reference);
            author.bytes -= waiter.block.raw().0.len();
        }
        for parent in &waiter.missing {
            if let Some(children) = self.children.get_mut(parent) {
                children.retain(|child| child != reference);
                if children.is_empty() {
                    self.children.remove(parent);
                }
            }
        }
        Some((waiter.block, waiter.asked))
    }

    /// A parent is accepted: which blocks lack nothing any more.
    pub(crate) fn resolve(&mut self, parent: &BlockRef) -> Vec<BlockRef> {
        let mut ready = Vec::new();
        for child in self.children.remove(parent).unwrap_or_default() {
            let Some(waiter) = self.blocks.get_mut(&child) else { continue };
            waiter.missing.retain(|missing| missing != parent);
            if waiter.missing.is_empty() {
                ready.push(child);
            }
        }
        ready
    }

    /// The gc round moved: drops the blocks up to it and returns which others lack nothing any more.
    pub(crate) fn drop_through(&mut self, gc_round: Round) -> (usize, Vec<BlockRef>) {
        let below = |reference: &&BlockRef| reference.round <= gc_round;
        let dropped: Vec<BlockRef> = self.blocks.keys().take_while(below).copied().collect();
        for reference in &dropped {
            self.remove(reference);
        }
        let parents: Vec<BlockRef> = self.children.keys().take_while(below).copied().collect();
        (dropped.len(), parents.iter().flat_map(|parent| self.resolve(parent)).collect())
    }
}
