//! All accounts of a committee in memory, with an undo log per ledger block.
//!
//! Guarantees: lookups touch two cache lines (a table cell, the entry); each change since the last
//! [`Accounts::settle`] can be taken back; the accounts a block changed are known without hashing or
//! searching, because an entry remembers the block that last touched it.
//!
//! Entries are never removed, except that taking back a creation pops the newest one. Cells hold 32 bits
//! of the key's hash and the entry's number + 1, probed linearly at a load of at most one half; the
//! newest entries stand last in their probe chains, so popping them leaves no holes.
//!
//! The hash is keyed by a seed of the driver's: senders choose their keys and must not be able to choose
//! collisions. Order of iteration is order of creation; whatever is hashed is sorted by key first.

use std::hash::BuildHasher;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use shardpay_types::{AccountState, PublicKey};

/// Number of an account in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u32);

/// One account, on a cache line of its own.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Entry {
    key: PublicKey,
    state: AccountState,
    /// The block that touched it last.
    stamp: u64,
}

/// What an account was before the current block: `None` when it did not exist.
#[derive(Debug, Clone, Copy)]
struct Undo {
    slot: Slot,
    before: Option<AccountState>,
}

/// The accounts.
#[derive(Debug)]
pub struct Accounts {
    /// hash bits ‖ slot + 1, or zero; the length is a power of two.
    cells: Vec<u64>,
    entries: Vec<Entry>,
    hasher: SeedableRandomState,
    stamp: u64,
    log: Vec<Undo>,
    /// Where the current block's changes start in `log`.
    block_start: usize,
}

impl Accounts {
    /// No accounts, room for `capacity`. `seed` keys the table.
    pub fn new(seed: u64, capacity: usize) -> Self {
        let cells = vec![0; (capacity.max(8) * 2).next_power_of_two()];
        let hasher = SeedableRandomState::with_seed(seed, SharedSeed::global_fixed());
        let entries = Vec::with_capacity(capacity);
        Self { cells, entries, hasher, stamp: 1, log: Vec::new(), block_start: 0 }
    }

    /// Number of accounts.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where `key`'s account stands, if it exists.
    pub fn find(&self, key: &PublicKey) -> Option<Slot> {
        let hash = self.hasher.hash_one(key.0);
        let mask = self.cells.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let cell = self.cells[at];
            if cell == 0 {
                return None;
            }
            if cell >> 32 == hash >> 32 {
                let slot = Slot(cell as u32 - 1);
                if self.entries[slot.0 as usize].key == *key {
                    return Some(slot);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// Brings the accounts of `keys` near before they are needed: reads first their cells, then their
    /// entries, each in a loop whose loads do not wait for one another, so that the memory latencies
    /// overlap. Changes nothing.
    pub fn warm<'a>(&self, keys: impl Iterator<Item = &'a PublicKey>) {
        let mask = self.cells.len() - 1;
        let cell = |key: &PublicKey| self.cells[self.hasher.hash_one(key.0) as usize & mask];
        let cells: Vec<u64> = keys.map(cell).collect();
        let entry = |cell: &u64| self.entries.get((*cell as u32 as usize).wrapping_sub(1));
        let stamps = cells.iter().filter_map(entry).fold(0, |sum: u64, entry| sum.wrapping_add(entry.stamp));
        std::hint::black_box(stamps);
    }

    /// Balance and sequence at `slot`.
    pub fn state(&self, slot: Slot) -> AccountState {
        self.entries[slot.0 as usize].state
    }

    /// Whose account stands at `slot`.
    pub fn key(&self, slot: Slot) -> PublicKey {
        self.entries[slot.0 as usize].key
    }

    /// The state of `key`'s account; empty when nobody has paid it yet.
    pub fn get(&self, key: &PublicKey) -> AccountState {
        self.find(key).map_or(AccountState::EMPTY, |slot| self.state(slot))
    }

    /// Changes the account at `slot`.
    pub fn set(&mut self, slot: Slot, state: AccountState) {
        let entry = &mut self.entries[slot.0 as usize];
        if entry.stamp != self.stamp {
            entry.stamp = self.stamp;
            self.log.push(Undo { slot, before: Some(entry.state) });
        }
        entry.state = state;
    }

    /// Creates the account of `key`.
    ///
    /// # Panics
    /// When it exists (the caller looked), or at 2^32 accounts.
    pub fn create(&mut self, key: PublicKey, state: AccountState) -> Slot {
        debug_assert!(self.find(&key).is_none(), "an account is created once");
        if (self.entries.len() + 1) * 2 > self.cells.len() {
            self.grow();
        }
        let slot = Slot(u32::try_from(self.entries.len()).expect("fewer than 2^32 accounts"));
        self.entries.push(Entry { key, state, stamp: self.stamp });
        self.link(slot);
        self.log.push(Undo { slot, before: None });
        slot
    }

    /// The accounts touched in the current block, sorted by key.
    pub(crate) fn changed_sorted(&self) -> Vec<(PublicKey, AccountState)> {
        // Eight bytes of the key decide almost always; what ties is rare and compared in full.
        let changed = self.log[self.block_start..].iter();
        let mut order: Vec<(u64, Slot)> = changed.map(|undo| (self.prefix(undo.slot), undo.slot)).collect();
        order.sort_unstable_by(|(a, x), (b, y)| a.cmp(b).then_with(|| self.key(*x).cmp(&self.key(*y))));
        order.into_iter().map(|(_, slot)| (self.key(slot), self.state(slot))).collect()
    }

    fn prefix(&self, slot: Slot) -> u64 {
        let key = &self.entries[slot.0 as usize].key.0;
        u64::from_be_bytes(key[..8].try_into().expect("8 of 32 bytes"))
    }

    /// Accounts touched since the last [`Self::settle`]; one touched in several blocks stands several times.
    pub fn changed(&self) -> impl ExactSizeIterator<Item = Slot> {
        self.log.iter().map(|undo| undo.slot)
    }

    /// Ends a block: later changes belong to the next one.
    pub fn end_block(&mut self) {
        self.stamp += 1;
        self.block_start = self.log.len();
    }

    /// Makes all changes final.
    pub fn settle(&mut self) {
        self.end_block();
        self.log.clear();
        self.block_start = 0;
    }

    /// Takes all changes since the last [`Self::settle`] back.
    pub fn roll_back(&mut self) {
        while let Some(undo) = self.log.pop() {
            match undo.before {
                Some(state) => self.entries[undo.slot.0 as usize].state = state,
                None => self.unlink_newest(undo.slot),
            }
        }
        self.settle();
    }

    /// All accounts, in order of creation.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (PublicKey, AccountState)> {
        self.entries.iter().map(|entry| (entry.key, entry.state))
    }

    fn link(&mut self, slot: Slot) {
        let hash = self.hasher.hash_one(self.entries[slot.0 as usize].key.0);
        let mask = self.cells.len() - 1;
        let mut at = hash as usize & mask;
        while self.cells[at] != 0 {
            at = (at + 1) & mask;
        }
        self.cells[at] = (hash >> 32) << 32 | u64::from(slot.0 + 1);
    }

    fn unlink_newest(&mut self, slot: Slot) {
        assert_eq!(slot.0 as usize + 1, self.entries.len(), "creations are taken back newest first");
        let hash = self.hasher.hash_one(self.entries[slot.0 as usize].key.0);
        let mask = self.cells.len() - 1;
        let mut at = hash as usize & mask;
        while self.cells[at] as u32 != slot.0 + 1 {
            at = (at + 1) & mask;
        }
        self.cells[at] = 0;
        self.entries.pop();
    }

    /// Doubles the table. Relinked in order of creation, so the newest still stand last.
    fn grow(&mut self) {
        self.cells = vec![0; self.cells.len() * 2];
        for slot in 0..self.entries.len() {
            self.link(Slot(slot as u32));
        }
    }
}
