//! Hash maps that are looked up and never iterated, keyed by the driver's secret seed: peers and clients
//! choose the keys, so an unkeyed hash could be flooded, and an order of iteration would not be
//! reproducible.

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

#[expect(clippy::disallowed_types, reason = "looked up only, never iterated; keyed by a secret seed")]
pub(crate) type KeyedMap<K, V> = std::collections::HashMap<K, V, SeedableRandomState>;

/// An empty map.
pub(crate) fn keyed_map<K, V>(seed: u64) -> KeyedMap<K, V> {
    KeyedMap::with_hasher(SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()))
}
