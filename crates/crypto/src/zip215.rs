//! The ledger's signature rule: ZIP-215 for the signature, a stricter rule for the key, one verdict.
//!
//! A signature (R, s) of key A over M is good iff
//! - A's encoding is canonical and decompresses to a point that is not of small order;
//! - R decompresses (any encoding ZIP-215 accepts, canonical or not);
//! - s < ℓ;
//! - \[8\](sB − R − kA) = 0 with k = SHA-512(R ‖ A ‖ M) mod ℓ, over the bytes as they were sent.
//!
//! The last three are ZIP-215; the first is ours and only ever refuses more. Keys with a small-order
//! *component* are accepted: the cofactor makes it irrelevant, and telling them apart costs a scalar
//! multiplication per key.
//!
//! **One verdict.** The cofactor is what makes batches agree with single checks: a batch adds up random
//! multiples of each sB − R − kA, and if one of them is a nonzero point of small order, the sum
//! without the factor 8 is zero or not depending on the weights. With it, small-order parts vanish on
//! both paths. So a good signature always passes, in every batch; a bad one passes a batch with
//! probability 2⁻¹²⁸ over weights its maker cannot know. Two honest nodes never split over a signature,
//! whatever it stood beside. `ed25519-dalek`'s `verify`, `verify_strict` and `verify_batch` differ
//! from this rule and from each other; they are not called anywhere.
//!
//! Sources: RFC 8032; ZIP-215; Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs" (2020).

mod accepted;
mod batch;
mod key_cache;

use std::fmt;

use curve25519_dalek::constants::ED25519_BASEPOINT_COMPRESSED;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use foldhash::fast::SeedableRandomState;
use sha2::{Digest, Sha512};
use shardpay_types::{PublicKey, Signature};
use shardpay_wide::{Point, Wide};

use crate::hash::{domain, sha256};
use crate::scheme::{SignatureScheme, SignedItem};

use accepted::AcceptedKeys;
use batch::Batch;
use key_cache::KeyCache;

/// Verification under the rule of this module, with a cache of decompressed keys. One per process,
/// shared by all verification threads.
pub struct Zip215 {
    seed: [u8; 32],
    map_state: SeedableRandomState,
    keys: KeyCache,
    accepted: AcceptedKeys,
    /// What checks batches where the CPU has it; the verdicts are those of `curve25519-dalek`.
    wide: Option<WideScheme>,
}

/// Arithmetic eight lanes wide, and the basepoint in its form.
#[derive(Clone, Copy)]
struct WideScheme {
    wide: Wide,
    basepoint: Point,
}

impl WideScheme {
    fn detect() -> Option<Self> {
        let wide = Wide::detect()?;
        let basepoint = wide.decompress(&[ED25519_BASEPOINT_COMPRESSED.0])[0].expect("the basepoint is a point");
        Some(Self { wide, basepoint })
    }
}

/// An acceptable key's point, in the forms that are worked with.
#[derive(Clone, Copy)]
struct KeyPoint {
    edwards: EdwardsPoint,
    /// Known when this process verifies wide batches.
    wide: Option<Point>,
}

impl Zip215 {
    /// A verifier. `seed` is secret, drawn once per process: it gives the weights of the batches (an
    /// attacker who knew it could pass a bad signature in a batch) and keys the cache. The cache holds
    /// about `cache_capacity` keys of some 400 bytes each, and the names of as many acceptable ones; 0 means none.
    pub fn new(seed: [u8; 32], cache_capacity: usize) -> Self {
        Self::with_wide(seed, cache_capacity, WideScheme::detect())
    }

    /// The same on `curve25519-dalek` alone, as on a CPU without AVX-512 IFMA. For tests and benches: the
    /// verdicts are the same.
    pub fn portable(seed: [u8; 32], cache_capacity: usize) -> Self {
        Self::with_wide(seed, cache_capacity, None)
    }

    fn with_wide(seed: [u8; 32], cache_capacity: usize, wide: Option<WideScheme>) -> Self {
        let digest = sha256(&[domain::INDEX, &seed]);
        let map_seed = u64::from_le_bytes(digest[..8].try_into().expect("8 of 32 bytes"));
        let map_state = SeedableRandomState::with_seed(map_seed, foldhash::SharedSeed::global_fixed());
        Self {
            seed,
            keys: KeyCache::new(map_state.clone(), cache_capacity),
            accepted: AcceptedKeys::new(map_state.clone(), cache_capacity),
            map_state,
            wide,
        }
    }

    /// The point of an acceptable key, and whether it had to be computed.
    fn key_point(&self, key: &PublicKey) -> Option<(KeyPoint, Origin)> {
        match self.keys.get(key) {
            Some(point) => Some((point, Origin::Cache)),
            None => acceptable_point(key).map(|edwards| (KeyPoint { edwards, wide: None }, Origin::Computed)),
        }
    }

    /// Remembers a key under which a signature was good.
    fn remember(&self, key: &PublicKey, mut point: KeyPoint) {
        if let (Some(scheme), None) = (&self.wide, point.wide) {
            point.wide = scheme.wide.decompress(&[key.0])[0];
        }
        self.keys.insert(key, &point);
    }
}

/// Where a decompressed key came from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Cache,
    Computed,
}

impl SignatureScheme for Zip215 {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        let Some((point, origin)) = self.key_point(key) else { return false };
        let Some(parts) = Parts::of(key, message, signature) else { return false };
        let good = parts.holds(&point.edwards);
        if good && origin == Origin::Computed {
            self.remember(key, point);
        }
        good
    }

    fn verify_batch(&self, items: &[SignedItem<'_>]) -> Vec<bool> {
        Batch::new(self, items).verdicts()
    }

    fn key_acceptable(&self, key: &PublicKey) -> bool {
        if self.accepted.contains(key) {
            return true;
        }
        let acceptable = self.key_point(key).is_some();
        if acceptable {
            self.accepted.insert(key);
        }
        acceptable
    }
}

impl fmt::Debug for Zip215 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Zip215")
    }
}

/// The scalars of one well-formed signature.
struct Scalars {
    s: Scalar,
    k: Scalar,
}

impl Scalars {
    /// `None` when s ≥ ℓ.
    fn of(key: &PublicKey, message: &[u8], signature: &Signature) -> Option<Self> {
        let (r, s) = signature.0.split_at(32);
        let s = Option::from(Scalar::from_canonical_bytes(s.try_into().expect("half of 64 bytes")))?;
        let digest = Sha512::new().chain_update(r).chain_update(key.0).chain_update(message).finalize();
        Some(Self { s, k: Scalar::from_bytes_mod_order_wide(&digest.into()) })
    }
}

/// R as it was sent.
fn encoded_r(signature: &Signature) -> [u8; 32] {
    signature.0[..32].try_into().expect("half of 64 bytes")
}

fn decompressed(encoding: [u8; 32]) -> Option<EdwardsPoint> {
    CompressedEdwardsY(encoding).decompress()
}

/// The parts of one well-formed signature.
struct Parts {
    r: EdwardsPoint,
    scalars: Scalars,
}

impl Parts {
    /// `None` when s ≥ ℓ or R does not decompress.
    fn of(key: &PublicKey, message: &[u8], signature: &Signature) -> Option<Self> {
        let scalars = Scalars::of(key, message, signature)?;
        Some(Self { r: decompressed(encoded_r(signature))?, scalars })
    }

    fn holds(&self, a: &EdwardsPoint) -> bool {
        holds(&self.scalars, &self.r, a)
    }
}

/// \[8\](sB − R − kA) = 0.
fn holds(scalars: &Scalars, r: &EdwardsPoint, a: &EdwardsPoint) -> bool {
    let rest = EdwardsPoint::vartime_double_scalar_mul_basepoint(&scalars.k, &-a, &scalars.s) - r;
    rest.mul_by_cofactor().is_identity()
}

/// The point of `key` if the key is canonical and not of small order.
///
/// The encoding holds y and the sign of x. It is canonical iff y < p = 2²⁵⁵ − 19 and the sign is not set
/// for x = 0; the latter happens at y = ±1 only, where the order is 1 or 2.
fn acceptable_point(key: &PublicKey) -> Option<EdwardsPoint> {
    let bytes = &key.0;
    let y_reduced = bytes[31] & 0x7f != 0x7f || bytes[1..31].iter().any(|byte| *byte != 0xff) || bytes[0] < 0xed;
    if !y_reduced {
        return None;
    }
    CompressedEdwardsY(*bytes).decompress().filter(|point| !point.is_small_order())
}
