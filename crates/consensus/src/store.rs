//! The accepted blocks above the gc round, by round and author.
//!
//! Guarantees: a block stands here only if all its parents above the gc round did when it came, so the
//! rounds held have no hole between them; a [`BlockId`] found here stays valid until its round is
//! dropped. Memory is bounded by the rounds kept: at most one block per slot, and twins only as often as
//! accepted blocks name them.
//!
//! Assumes blocks that passed [`crate::validate`]: authors are members, parents lie below, a quorum of
//! them one round below.
//!
//! An equivocator has several blocks in one slot; they are told apart by the order in which they came
//! (`twin`), which is local: nothing that nodes must agree on may depend on it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use shardpay_crypto::SealedBlock;
use shardpay_types::{BlockRef, MemberIndex, MemberSet, Round, Timestamp};

/// Where an accepted block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlockId {
    pub(crate) round: Round,
    pub(crate) author: MemberIndex,
    /// 0 for the first block of the slot.
    pub(crate) twin: u32,
}

/// An accepted block and what the commit rule needs to know about it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) block: Arc<SealedBlock>,
    /// Its parents above the gc round of its acceptance.
    pub(crate) parents: Vec<BlockId>,
    /// Which block of the leader slot one round below it votes for.
    pub(crate) vote: Option<u32>,
    /// Which block of the leader slot two rounds below it certifies.
    pub(crate) certifies: Option<u32>,
    /// Whether a leader committed it.
    pub(crate) committed: bool,
    /// When it was accepted; zero for blocks from the store.
    pub(crate) accepted_at: Timestamp,
    /// The last walk that met it.
    walk: u64,
}

/// What is decided about a leader slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Decision {
    #[default]
    Undecided,
    /// This block of the slot is committed.
    Commit(u32),
    Skip,
}

/// Who supports one block of a leader slot.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Authors of votes, one round above.
    pub(crate) votes: MemberSet,
    /// Authors of certificates, two rounds above.
    pub(crate) certificates: MemberSet,
}

/// The leader slot of a round.
#[derive(Debug, Default)]
pub(crate) struct LeaderSlot {
    pub(crate) decision: Decision,
    /// Authors one round above with a block that has no parent in exactly this slot.
    pub(crate) blames: MemberSet,
    /// Per block of the slot.
    pub(crate) tallies: Vec<Tally>,
}

/// One round.
#[derive(Debug)]
pub(crate) struct Layer {
    slots: Vec<Vec<Entry>>,
    /// Authors with a block in it.
    pub(crate) authors: MemberSet,
    /// When a quorum of authors was here.
    pub(crate) quorum_at: Option<Timestamp>,
    pub(crate) slot: LeaderSlot,
}

impl Layer {
    fn new(members: usize) -> Self {
        Self {
            slots: (0..members).map(|_| Vec::new()).collect(),
            authors: MemberSet::EMPTY,
            quorum_at: None,
            slot: LeaderSlot::default(),
        }
    }

    /// The blocks of an author, in the order in which they came.
    pub(crate) fn of(&self, author: MemberIndex) -> &[Entry] {
        self.slots.get(author.index()).map_or(&[], Vec::as_slice)
    }
}

/// The accepted blocks above the gc round.
#[derive(Debug)]
pub(crate) struct Store {
    members: usize,
    quorum: usize,
    layers: VecDeque<Layer>,
    /// Round of the first layer; everything below counts as present.
    base: Round,
    highest: Vec<Option<BlockRef>>,
    highest_round: Round,
    highest_quorum: Round,
    payloads: BTreeSet<BlockId>,
    blocks: usize,
    walks: u64,
    version: u64,
}

impl Store {
    pub(crate) fn new(members: usize, quorum: usize) -> Self {
        Self {
            members,
            quorum,
            layers: VecDeque::new(),
            base: Round::new(1),
            highest: vec![None; members],
            highest_round: Round::ZERO,
            highest_quorum: Round::ZERO,
            payloads: BTreeSet::new(),
            blocks: 0,
            walks: 0,
            version: 0,
        }
    }

    /// Highest round whose blocks count as present without being looked at.
    pub(crate) const fn gc_round(&self) -> Round {
        self.base.previous()
    }

    /// Highest round with a layer; below `base` when there is none.
    pub(crate) fn top(&self) -> Round {
        self.base.plus(self.layers.len() as u64).previous()
    }

    /// Highest round with an accepted block, dropped ones included.
    pub(crate) const fn highest_round(&self) -> Round {
        self.highest_round
    }

    /// Highest round with blocks by a quorum of authors, dropped ones included.
    pub(crate) const fn highest_quorum(&self) -> Round {
        self.highest_quorum
    }

    /// Highest accepted block of an author, dropped ones included.
    pub(crate) fn highest(&self, author: MemberIndex) -> Option<BlockRef> {
        self.highest.get(author.index()).copied().flatten()
    }

    /// The same, as a round; 0 when there is none.
    pub(crate) fn highest_round_of(&self, author: MemberIndex) -> Round {
        self.highest(author).map_or(Round::ZERO, |block| block.round)
    }

    /// The highest accepted block of each author that has one.
    pub(crate) fn frontier(&self) -> Vec<BlockRef> {
        self.highest.iter().flatten().copied().collect()
    }

    /// Changes with every block that comes, is committed or goes.
    pub(crate) const fn version(&self) -> u64 {
        self.version
    }

    /// Number of blocks held.
    pub(crate) const fn len(&self) -> usize {
        self.blocks
    }

    /// Uncommitted blocks with payload, ascending.
    pub(crate) const fn payloads(&self) -> &BTreeSet<BlockId> {
        &self.payloads
    }

    pub(crate) fn layer(&self, round: Round) -> Option<&Layer> {
        if round < self.base {
            return None;
        }
        self.layers.get(usize::try_from(round.since(self.base)).ok()?)
    }

    pub(crate) fn layer_mut(&mut self, round: Round) -> Option<&mut Layer> {
        if round < self.base {
            return None;
        }
        self.layers.get_mut(usize::try_from(round.since(self.base)).ok()?)
    }

    /// Authors with a block in `round`.
    pub(crate) fn authors_at(&self, round: Round) -> MemberSet {
        self.layer(round).map_or(MemberSet::EMPTY, |layer| layer.authors)
    }

    pub(crate) fn entry(&self, id: BlockId) -> Option<&Entry> {
        self.layer(id.round)?.of(id.author).get(id.twin as usize)
    }

    pub(crate) fn entry_mut(&mut self, id: BlockId) -> Option<&mut Entry> {
        self.layer_mut(id.round)?.slots.get_mut(id.author.index())?.get_mut(id.twin as usize)
    }

    /// Where a block stands, if it is held.
    pub(crate) fn find(&self, reference: &BlockRef) -> Option<BlockId> {
        let entries = self.layer(reference.round)?.of(reference.author);
        let twin = entries.iter().position(|entry| entry.block.reference().digest == reference.digest)?;
        Some(BlockId { round: reference.round, author: reference.author, twin: twin as u32 })
    }

    /// The first block in a slot.
    pub(crate) fn first_in_slot(&self, round: Round, author: MemberIndex) -> Option<&Entry> {
        self.layer(round)?.of(author).first()
    }

    /// The newest block of `author` below `round` that is held.
    pub(crate) fn newest_below(&self, author: MemberIndex, round: Round) -> Option<BlockId> {
        let mut round = round.previous().min(self.highest_round_of(author));
        while round >= self.base {
            if !self.layer(round)?.of(author).is_empty() {
                return Some(BlockId { round, author, twin: 0 });
            }
            round = round.previous();
        }
        None
    }

    /// The parents of `block` that must be looked at: those held, or the references that are not here.
    pub(crate) fn resolve(&self, block: &SealedBlock) -> Result<Vec<BlockId>, Vec<BlockRef>> {
        let parents = &block.block().parents;
        let mut found = Vec::with_capacity(parents.len());
        let mut missing = Vec::new();
        for parent in parents.iter().filter(|parent| parent.round >= self.base) {
            match self.find(parent) {
                Some(id) => found.push(id),
                None => missing.push(*parent),
            }
        }
        if missing.is_empty() { Ok(found) } else { Err(missing) }
    }

    /// Adds a block above the gc round whose parents are `parents`.
    pub(crate) fn insert(&mut self, block: Arc<SealedBlock>, parents: Vec<BlockId>, now: Timestamp) -> BlockId {
        let reference = block.reference();
        assert!(reference.round >= self.base, "an accepted block lies above the gc round");
        while self.top() < reference.round {
            self.layers.push_back(Layer::new(self.members));
        }
        let (members, quorum) = (self.members, self.quorum);
        let payload = !block.block().payload.is_empty();
        let layer = self.layer_mut(reference.round).expect("the layer was just made");
        assert!(reference.author.index() < members, "validity: the author is a member");
        let slot = &mut layer.slots[reference.author.index()];
        let twin = slot.len() as u32;
        let id = BlockId { round: reference.round, author: reference.author, twin };
        slot.push(Entry { block, parents, vote: None, certifies: None, committed: false, accepted_at: now, walk: 0 });
        layer.authors.insert(reference.author);
        if layer.quorum_at.is_none() && layer.authors.len() >= quorum {
            layer.quorum_at = Some(now);
            self.highest_quorum = self.highest_quorum.max(reference.round);
        }
        self.blocks += 1;
        self.version += 1;
        self.highest_round = self.highest_round.max(reference.round);
        let highest = &mut self.highest[reference.author.index()];
        if highest.is_none_or(|highest| highest.round < reference.round) {
            *highest = Some(reference);
        }
        if payload {
            self.payloads.insert(id);
        }
        id
    }

    /// Marks a block committed; false when it was already, or is not held.
    pub(crate) fn commit(&mut self, id: BlockId) -> bool {
        self.payloads.remove(&id);
        self.version += 1;
        self.entry_mut(id).is_some_and(|entry| !std::mem::replace(&mut entry.committed, true))
    }

    /// Drops every round up to `gc_round` and returns the uncommitted payload blocks of `author` in them.
    pub(crate) fn drop_through(&mut self, gc_round: Round, author: MemberIndex) -> Vec<Arc<SealedBlock>> {
        let mut reclaimed = Vec::new();
        self.version += 1;
        while self.base <= gc_round {
            let Some(layer) = self.layers.pop_front() else {
                self.base = gc_round.next();
                break;
            };
            for (index, entries) in layer.slots.iter().enumerate() {
                self.blocks -= entries.len();
                let own = entries.iter().filter(|entry| index == author.index() && !entry.committed);
                reclaimed.extend(own.filter(|entry| !entry.block.block().payload.is_empty()).map(|e| e.block.clone()));
            }
            self.base = self.base.next();
        }
        let first_kept = BlockId { round: self.base, author: MemberIndex::default(), twin: 0 };
        self.payloads = self.payloads.split_off(&first_kept);
        reclaimed
    }

    /// Every block reachable from `roots` (roots included) for which `enter` is true at each step.
    pub(crate) fn walk(&mut self, roots: &[BlockId], mut enter: impl FnMut(BlockId, &Entry) -> bool) -> Vec<BlockId> {
        self.walks += 1;
        let walk = self.walks;
        let mut found = Vec::new();
        let mut stack = Vec::new();
        let mut meet = |store: &mut Self, id: BlockId, stack: &mut Vec<BlockId>| {
            let Some(entry) = store.entry_mut(id) else { return };
            if std::mem::replace(&mut entry.walk, walk) != walk && enter(id, entry) {
                found.push(id);
                stack.push(id);
            }
        };
        for root in roots {
            meet(self, *root, &mut stack);
        }
        while let Some(id) = stack.pop() {
            let parents = self.entry_mut(id).map(|entry| std::mem::take(&mut entry.parents)).unwrap_or_default();
            for parent in &parents {
                meet(self, *parent, &mut stack);
            }
            if let Some(entry) = self.entry_mut(id) {
                entry.parents = parents;
            }
        }
        found
    }
}
