//! Reproducible chance: ChaCha8 from a seed and the name of what it is for.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use shardpay_crypto::sha256;

/// A generator of its own for one purpose.
#[derive(Debug, Clone)]
pub struct Chance(ChaCha8Rng);

impl Chance {
    /// The generator for `purpose` under `seed`; `part` tells processes apart.
    pub fn new(seed: u64, purpose: &str, part: u64) -> Self {
        let tag = b"shardpay/loadgen/v1\0";
        Self(ChaCha8Rng::from_seed(sha256(&[tag, &seed.to_le_bytes(), &part.to_le_bytes(), purpose.as_bytes()])))
    }

    /// From 0 up to, not including, 1.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From 0 up to, not including, `bound`, which is positive.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }
}
