//! The last executed state of accounts that moved lately.
//!
//! Why: a driver reads an account when its owner submits; the ledger may execute that account before the
//! submission gets here. With the older view a transaction that is next in line would wait for a
//! sequence that was consumed long ago.
//!
//! Bounded, two generations: inserts go to the young one, a full one becomes the old one.

use shardpay_types::{AccountState, PublicKey};

use crate::keyed::{KeyedMap, keyed_map};

pub(super) struct Recent {
    young: KeyedMap<PublicKey, AccountState>,
    old: KeyedMap<PublicKey, AccountState>,
    generation_max: usize,
}

impl Recent {
    pub(super) fn new(seed: u64, accounts_max: usize) -> Self {
        Self { young: keyed_map(seed), old: keyed_map(seed), generation_max: (accounts_max / 2).max(1) }
    }

    pub(super) fn insert(&mut self, account: PublicKey, state: AccountState) {
        if self.young.len() >= self.generation_max && !self.young.contains_key(&account) {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(account, state);
    }

    pub(super) fn get(&self, account: &PublicKey) -> Option<AccountState> {
        self.young.get(account).or_else(|| self.old.get(account)).copied()
    }
}
