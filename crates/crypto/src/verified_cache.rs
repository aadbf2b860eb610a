//! Which transactions this process has verified already.
//!
//! A transaction is met several times: from its client, in a block, in a fetched block. Verifying it
//! costs 9 µs, remembering it 0.2 µs.
//!
//! Guarantees: bounded memory; a key is reported as seen only if it was inserted.
//!
//! The key is the hash of the full bytes *with* signature ([`crate::transaction_fingerprint`]), never
//! the txid. The txid leaves the signature out, on purpose; were it the key, somebody who saw a valid
//! payment could hand another node the same payment with a broken signature, and the node that had it
//! cached would accept a block that every other node refuses. With the whole bytes under the hash, "seen"
//! means that exactly these bytes passed, so the answer never depends on what a node met before.
//!
//! Two generations: inserts go to the young one; when it is full it becomes the old one and the old
//! one is forgotten. Only *verified* transactions are inserted, so pushing others out takes as many
//! valid signatures as the cache has room for, each of which the node pays for in the normal way.

use foldhash::fast::SeedableRandomState;
use shardpay_types::Hash;

#[expect(clippy::disallowed_types, reason = "looked up only, never iterated; keyed by a secret seed")]
type KeyedSet = std::collections::HashSet<Hash, SeedableRandomState>;

/// A bounded set of fingerprints of verified transactions. Not shared: whoever owns it locks it.
pub struct VerifiedCache {
    young: KeyedSet,
    old: KeyedSet,
    generation_max: usize,
}

impl VerifiedCache {
    /// Room for at least `capacity` / 2 and at most `capacity` fingerprints (40 bytes each or so).
    /// `seed` keys the hash map and must be secret.
    pub fn new(seed: u64, capacity: usize) -> Self {
        let state = SeedableRandomState::with_seed(seed, foldhash::SharedSeed::global_fixed());
        let empty = || KeyedSet::with_hasher(state.clone());
        Self { young: empty(), old: empty(), generation_max: (capacity / 2).max(1) }
    }

    /// Whether these exact bytes were verified before (and not forgotten since).
    pub fn contains(&self, fingerprint: &Hash) -> bool {
        self.young.contains(fingerprint) || self.old.contains(fingerprint)
    }

    /// Remembers a *verified* transaction.
    pub fn insert(&mut self, fingerprint: Hash) {
        if self.young.len() >= self.generation_max && !self.young.contains(&fingerprint) {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.young.insert(fingerprint);
    }

    /// Number of fingerprints held.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(n: u32) -> Hash {
        Hash(crate::sha256(&[&n.to_le_bytes()]))
    }

    #[test]
    fn remembers_the_latest_half_and_stays_bounded() {
        let mut cache = VerifiedCache::new(1, 100);
        for n in 0..1_000 {
            cache.insert(fingerprint(n));
            assert!(cache.len() <= 100);
            assert!((n.saturating_sub(49)..=n).all(|recent| cache.contains(&fingerprint(recent))));
        }
        assert!(!cache.contains(&fingerprint(0)));
        assert!(!cache.contains(&fingerprint(1_000)));
    }

    #[test]
    fn a_tiny_cache_works() {
        let mut cache = VerifiedCache::new(1, 0);
        cache.insert(fingerprint(1));
        assert!(cache.contains(&fingerprint(1)) && !cache.is_empty());
    }
}
