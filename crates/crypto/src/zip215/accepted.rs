//! Which keys were found acceptable: a payment names its recipient's key too, and finding out what it is
//! worth means decompressing it, half the price of verifying a signature in a batch.
//!
//! Guarantees: bounded memory; a pure cache, so what it holds never changes a verdict. Whether a key is
//! acceptable depends on the key alone, and only acceptable ones are held. Two generations, as in
//! [`crate::VerifiedCache`]: when the young one is full it becomes the old one, which is forgotten.
//! Callers ask about a recipient once its payer's signature was good, so displacing keys costs signatures.

use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::SeedableRandomState;
use shardpay_types::PublicKey;

#[expect(clippy::disallowed_types, reason = "looked up only, never iterated; keyed by a secret seed")]
type KeyedSet = std::collections::HashSet<PublicKey, SeedableRandomState>;

const SHARDS: usize = 16;

/// A bounded, concurrent set of acceptable keys.
pub(super) struct AcceptedKeys {
    shards: Vec<Mutex<Generations>>,
    state: SeedableRandomState,
    /// Keys of one generation of one shard; 0 means that nothing is held.
    generation_max: usize,
}

struct Generations {
    young: KeyedSet,
    old: KeyedSet,
}

impl AcceptedKeys {
    /// Room for `capacity` keys of some 40 bytes each.
    pub(super) fn new(state: SeedableRandomState, capacity: usize) -> Self {
        let empty = || KeyedSet::with_hasher(state.clone());
        let shard = |_| Mutex::new(Generations { young: empty(), old: empty() });
        let generation_max = (capacity / 2).div_ceil(SHARDS);
        Self { shards: (0..SHARDS).map(shard).collect(), state, generation_max }
    }

    pub(super) fn contains(&self, key: &PublicKey) -> bool {
        let mut shard = self.shard(key);
        if shard.young.contains(key) {
            return true;
        }
        let old = shard.old.contains(key);
        if old {
            // in use: stays for another generation
            self.insert_into(&mut shard, key);
        }
        old
    }

    /// Adds a key that was found acceptable.
    pub(super) fn insert(&self, key: &PublicKey) {
        let mut shard = self.shard(key);
        self.insert_into(&mut shard, key);
    }

    fn insert_into(&self, shard: &mut Generations, key: &PublicKey) {
        if self.generation_max == 0 {
            return;
        }
        if shard.young.len() >= self.generation_max {
            let Generations { young, old } = shard;
            std::mem::swap(young, old);
            young.clear();
        }
        shard.young.insert(*key);
    }

    /// A panic elsewhere in a thread that held the lock leaves a set of acceptable keys all the same.
    fn shard(&self, key: &PublicKey) -> MutexGuard<'_, Generations> {
        let index = (self.state.hash_one(key) >> 32) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(capacity: usize) -> AcceptedKeys {
        AcceptedKeys::new(SeedableRandomState::with_seed(7, foldhash::SharedSeed::global_fixed()), capacity)
    }

    fn key(n: u32) -> PublicKey {
        PublicKey(crate::sha256(&[&n.to_le_bytes()]))
    }

    fn held(keys: &AcceptedKeys) -> usize {
        keys.shards
            .iter()
            .map(|shard| shard.lock().expect("no test panics inside"))
            .map(|s| s.young.len() + s.old.len())
            .sum()
    }

    #[test]
    fn bounded_and_keeps_what_is_in_use() {
        let keys = keys(1_000);
        for n in 0..10_000 {
            keys.insert(&key(n));
            assert!(keys.contains(&key(0)), "asked for at every step");
        }
        assert!(held(&keys) <= 1_000 + 2 * SHARDS);
        assert!(keys.contains(&key(9_999)) && !keys.contains(&key(1)) && !keys.contains(&key(20_000)));
    }

    #[test]
    fn without_room_nothing_is_held() {
        let keys = keys(0);
        keys.insert(&key(1));
        assert!(!keys.contains(&key(1)) && held(&keys) == 0);
    }
}
