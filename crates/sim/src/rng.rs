//! Everything that is left to chance in a run, drawn from one seed.
//!
//! Each consumer has a named stream of its own (SHA-256 of seed, name and index keys a ChaCha8): a draw
//! added in one place does not shift the draws of another, so a seed keeps its meaning while the
//! simulator grows.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shardpay_crypto::sha256;

/// One named stream of random draws.
#[derive(Debug, Clone)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream `name` number `index` of the run `seed`.
    pub fn new(seed: u64, name: &str, index: u64) -> Self {
        let key = sha256(&[b"shardpay/sim/", &seed.to_le_bytes(), &index.to_le_bytes(), name.as_bytes()]);
        Self(ChaCha8Rng::from_seed(key))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; 0 when `bound` is 0. The bias (below 2⁻³² for our bounds) is irrelevant.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// An index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// A duration in `low..=high` microseconds.
    pub fn micros(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.between(low, high))
    }

    /// True in `permille` of 1,000 cases.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    /// One of `items`.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// One of `choices`, with the weights that stand beside them.
    ///
    /// # Panics
    /// When there is none with a weight.
    pub fn weighted<T: Copy>(&mut self, choices: &[(u64, T)]) -> T {
        let total = choices.iter().map(|(weight, _)| weight).sum();
        let mut at = self.below(total);
        for (weight, choice) in choices {
            if at < *weight {
                return *choice;
            }
            at -= weight;
        }
        unreachable!("a draw below the sum of the weights meets one of them")
    }

    /// Puts `items` into random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.index(i + 1));
        }
    }

    /// N random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.0.fill_bytes(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ_by_seed_name_and_index() {
        let first = |seed, name, index| Stream::new(seed, name, index).bits();
        assert_eq!(first(1, "net", 0), first(1, "net", 0));
        assert_ne!(first(1, "net", 0), first(2, "net", 0));
        assert_ne!(first(1, "net", 0), first(1, "disk", 0));
        assert_ne!(first(1, "net", 0), first(1, "net", 1));
    }

    #[test]
    fn draws_stay_within_bounds_and_reach_them() {
        let mut stream = Stream::new(1, "test", 0);
        let mut seen = [0u32; 4];
        for _ in 0..1_000 {
            seen[stream.between(3, 6) as usize - 3] += 1;
        }
        assert!(seen.iter().all(|count| *count > 150), "{seen:?}");
        assert_eq!(stream.below(0), 0);
        let mut items: Vec<u32> = (0..50).collect();
        stream.shuffle(&mut items);
        assert!(items != (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn weights_count() {
        let mut stream = Stream::new(1, "test", 0);
        let hits = (0..1_000).filter(|_| stream.weighted(&[(9, true), (1, false)])).count();
        assert!((850..950).contains(&hits), "{hits}");
    }
}
