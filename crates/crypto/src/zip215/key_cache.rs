//! Decompressed public keys: decompression is a third of what verifying a signature in a batch costs.
//!
//! Guarantees: bounded memory; a bounded number of steps per call; a pure cache, so what it holds never
//! changes a verdict. What it costs at worst is a lookup and an insertion (0.2 µs) beside the 4 µs of a
//! decompression, so an attacker cannot make it worse than having none by more than that:
//! - only keys under which a signature was *good* are inserted, so garbage and bad keys displace nothing;
//! - eviction goes round like a clock over entries that earn up to [`HEAT_MAX`] laps of grace by being
//!   used, so a flood of throw-away keys, each of which costs its maker a valid signature, displaces keys
//!   in use only if it turns the whole cache over between two of their uses;
//! - the map is keyed by a secret seed, so nobody can aim at one bucket or one lock.
//!
//! Split over several locks, each held for one lookup at a time, so verification threads do not wait
//! for each other.

use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::SeedableRandomState;
use shardpay_types::PublicKey;

use super::KeyPoint;

#[expect(clippy::disallowed_types, reason = "looked up only, never iterated; keyed by a secret seed")]
type KeyedMap<V> = std::collections::HashMap<PublicKey, V, SeedableRandomState>;

const SHARDS: usize = 16;
/// Laps of the hand that an often used key survives unused.
const HEAT_MAX: u8 = 3;
/// Most entries that one insertion looks at before it evicts whatever the hand points at.
const STEPS_MAX: usize = 32;

/// A bounded, concurrent map from key to point.
pub(super) struct KeyCache {
    shards: Vec<Mutex<Shard>>,
    state: SeedableRandomState,
}

struct Shard {
    map: KeyedMap<Entry>,
    /// The keys of `map`, each once: what the hand goes round.
    ring: Vec<PublicKey>,
    hand: usize,
    capacity: usize,
}

struct Entry {
    point: KeyPoint,
    heat: u8,
}

impl KeyCache {
    pub(super) fn new(state: SeedableRandomState, capacity: usize) -> Self {
        let shard = |_| {
            let map = KeyedMap::with_hasher(state.clone());
            Mutex::new(Shard { map, ring: Vec::new(), hand: 0, capacity: capacity.div_ceil(SHARDS) })
        };
        Self { shards: (0..SHARDS).map(shard).collect(), state }
    }

    pub(super) fn get(&self, key: &PublicKey) -> Option<KeyPoint> {
        let mut shard = self.shard(key);
        let entry = shard.map.get_mut(key)?;
        entry.heat = HEAT_MAX.min(entry.heat + 1);
        Some(entry.point)
    }

    /// Adds a key that has just signed something.
    pub(super) fn insert(&self, key: &PublicKey, point: &KeyPoint) {
        self.shard(key).insert(key, point);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().expect("no test panics inside").map.len()).sum()
    }

    /// A panic elsewhere in a thread that held the lock cannot leave an entry half written, so a
    /// poisoned shard is as good as any.
    fn shard(&self, key: &PublicKey) -> MutexGuard<'_, Shard> {
        let index = (self.state.hash_one(key) >> 32) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn insert(&mut self, key: &PublicKey, point: &KeyPoint) {
        if self.capacity == 0 || self.map.contains_key(key) {
            return;
        }
        if self.ring.len() < self.capacity {
            self.ring.push(*key);
        } else {
            let place = self.make_room();
            self.ring[place] = *key;
        }
        self.map.insert(*key, Entry { point: *point, heat: 0 });
    }

    /// Evicts the first entry without grace, or the last one looked at; returns its place in the ring.
    fn make_room(&mut self) -> usize {
        let mut steps_left = STEPS_MAX;
        loop {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.ring.len();
            steps_left -= 1;
            let entry = self.map.get_mut(&self.ring[place]).expect("ring and map hold the same keys");
            if entry.heat == 0 || steps_left == 0 {
                self.map.remove(&self.ring[place]);
                return place;
            }
            entry.heat -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{KeyPoint, Zip215, acceptable_point};
    use super::*;
    use crate::{Keypair, SignatureScheme, SignedItem, Signer, sha256};

    fn cache(capacity: usize) -> KeyCache {
        KeyCache::new(SeedableRandomState::with_seed(7, foldhash::SharedSeed::global_fixed()), capacity)
    }

    fn key(n: u32) -> PublicKey {
        Keypair::from_seed(&sha256(&[&n.to_le_bytes()])).public_key()
    }

    fn insert(cache: &KeyCache, key: &PublicKey) {
        let edwards = acceptable_point(key).expect("a real key");
        cache.insert(key, &KeyPoint { edwards, wide: None });
    }

    #[test]
    fn bounded_and_right() {
        let cache = cache(64);
        for n in 0..1_000 {
            insert(&cache, &key(n));
            assert_eq!(cache.get(&key(n)).map(|point| point.edwards), acceptable_point(&key(n)));
            assert!(cache.len() <= 64);
        }
        assert!(cache.len() >= 60);
    }

    #[test]
    fn keys_in_use_survive_a_flood_of_new_ones() {
        let cache = cache(1_024);
        let used: Vec<_> = (0..64).map(key).collect();
        used.iter().for_each(|key| insert(&cache, key));
        for lap in 0..8 {
            used.iter().for_each(|key| assert!(cache.get(key).is_some(), "lap {lap}"));
            (0..512).for_each(|n| insert(&cache, &key(1_000 + lap * 512 + n)));
        }
    }

    #[test]
    fn no_capacity_means_no_cache() {
        let cache = cache(0);
        insert(&cache, &key(1));
        assert!(cache.get(&key(1)).is_none());
    }

    #[test]
    fn only_good_signatures_earn_a_place() {
        let scheme = Zip215::new([1; 32], 100);
        let pair = Keypair::from_seed(&[2; 32]);
        let (good, mut bad) = (pair.sign(b"m"), pair.sign(b"m"));
        bad.0[40] ^= 1;
        let item = |signature| SignedItem { key: pair.public_key(), message: b"m", signature };
        assert!(scheme.key_acceptable(&pair.public_key()));
        assert!(!scheme.verify(&pair.public_key(), b"m", &bad));
        assert_eq!(scheme.verify_batch(&[item(bad); 5]), [false; 5]);
        assert!(!scheme.key_acceptable(&PublicKey([0; 32])));
        assert_eq!(scheme.keys.len(), 0);
        assert_eq!(scheme.verify_batch(&[item(bad), item(good), item(bad)]), [false, true, false]);
        assert_eq!(scheme.keys.len(), 1);
    }
}
