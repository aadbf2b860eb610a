//! thin
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use sha2::{Digest, Sha512};
use shardpay_types::{PublicKey, Signature};

use crate::scheme::{SignatureScheme, SignedItem};

/// The ledger's signature scheme.
pub struct Zip215 {
    _seed: [u8; 32],
}

impl Zip215 {
    /// A verifier with a secret seed for its batches and room for so many decompressed keys.
    pub fn new(seed: [u8; 32], _cache_capacity: usize) -> Self {
        Self { _seed: seed }
    }
}

impl SignatureScheme for Zip215 {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        let Some(point) = acceptable(key) else { return false };
        let (r, s) = signature.0.split_at(32);
        let Some(r_point) = CompressedEdwardsY(r.try_into().expect("32")).decompress() else { return false };
        let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(s.try_into().expect("32"))) else {
            return false;
        };
        let k = Sha512::new().chain_update(r).chain_update(key.0).chain_update(message).finalize();
        let k = Scalar::from_bytes_mod_order_wide(&k.into());
        (EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &-point, &s) - r_point).mul_by_cofactor().is_identity()
    }
    fn verify_batch(&self, items: &[SignedItem<'_>]) -> Vec<bool> {
        items.iter().map(|item| self.verify(&item.key, item.message, &item.signature)).collect()
    }
    fn key_acceptable(&self, key: &PublicKey) -> bool {
        acceptable(key).is_some()
    }
}

fn acceptable(key: &PublicKey) -> Option<EdwardsPoint> {
    let y = &key.0;
    let canonical = y[31] & 0x7f != 0x7f || y[1..31].iter().any(|b| *b != 0xff) || y[0] < 0xed;
    let point = CompressedEdwardsY(*y).decompress().filter(|_| canonical)?;
    (!point.is_small_order()).then_some(point)
}
