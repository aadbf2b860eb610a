//! Signatures of a run: real ones in 1 of 20 seeds, cheap ones in the others.
//!
//! The cheap scheme is a keyed hash whose key is public: it costs some 50 ns and detects every change
//! of message, key or signature by accident, but anybody could forge it. Nobody in the simulator does:
//! twists sign with their own keys only. Like ed25519 it lets the owner of a key sign the same bytes
//! twice with different signatures, and it has keys that must not be accepted.

use std::sync::Arc;

use shardpay_crypto::{Keypair, SignatureScheme, SignedItem, Signer, Zip215, sha256};
use shardpay_types::{PublicKey, Signature};

/// Makes the keys and the verifier of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemeKind {
    /// [`CheapScheme`].
    Cheap,
    /// [`Zip215`] and [`Keypair`].
    Real,
}

impl SchemeKind {
    /// The verifier.
    pub fn scheme(self, seed: u64) -> Arc<dyn SignatureScheme> {
        match self {
            Self::Cheap => Arc::new(CheapScheme),
            Self::Real => Arc::new(Zip215::new(sha256(&[b"sim verifier", &seed.to_le_bytes()]), 16_384)),
        }
    }

    /// The key pair of `secret`.
    pub fn signer(self, secret: &[u8; 32]) -> Arc<dyn Signer> {
        match self {
            Self::Cheap => Arc::new(CheapKey::from_secret(secret)),
            Self::Real => Arc::new(Keypair::from_seed(secret)),
        }
    }

    /// A key under which nothing may ever be accepted.
    pub fn weak_key(self) -> PublicKey {
        let mut bytes = [0; 32];
        if self == Self::Real {
            bytes[0] = 1; // the neutral element, of order 1
        }
        PublicKey(bytes)
    }
}

/// A key of the cheap scheme.
#[derive(Debug, Clone, Copy)]
pub struct CheapKey {
    public: PublicKey,
}

/// Verifies the cheap scheme.
#[derive(Debug, Clone, Copy)]
pub struct CheapScheme;

impl CheapKey {
    /// The key that belongs to `secret`.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        let mut bytes = sha256(&[b"sim key", secret]);
        bytes[0] |= 1; // keys that start with an even byte are not acceptable
        Self { public: PublicKey(bytes) }
    }

    /// A signature; different nonces give different valid ones.
    pub fn sign_with(&self, message: &[u8], nonce: u64) -> Signature {
        signature_of(&self.public, message, nonce)
    }
}

impl Signer for CheapKey {
    fn public_key(&self) -> PublicKey {
        self.public
    }

    fn sign(&self, message: &[u8]) -> Signature {
        self.sign_with(message, 0)
    }
}

impl SignatureScheme for CheapScheme {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        let nonce = word(&signature.0[56..]);
        self.key_acceptable(key) && signature_of(key, message, nonce) == *signature
    }

    fn verify_batch(&self, items: &[SignedItem<'_>]) -> Vec<bool> {
        items.iter().map(|item| self.verify(&item.key, item.message, &item.signature)).collect()
    }

    fn key_acceptable(&self, key: &PublicKey) -> bool {
        key.0[0] & 1 == 1
    }
}

/// 16 bytes of keyed hash, their complement twice over (so that a flipped bit shows anywhere), the nonce.
fn signature_of(key: &PublicKey, message: &[u8], nonce: u64) -> Signature {
    let (a, b) = keyed_hash(key, message, nonce);
    let words = [a, b, !a, !b, a.rotate_left(32), b.rotate_left(32), a ^ b, nonce];
    let mut out = [0; 64];
    for (place, word) in out.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    Signature(out)
}

fn keyed_hash(key: &PublicKey, message: &[u8], nonce: u64) -> (u64, u64) {
    let mut a = word(&key.0[0..]) ^ nonce;
    let mut b = word(&key.0[8..]) ^ (message.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let (c, d) = (word(&key.0[16..]), word(&key.0[24..]));
    for chunk in message.chunks(16) {
        let mut block = [0; 16];
        block[..chunk.len()].copy_from_slice(chunk);
        let (low, high) = fold(word(&block) ^ a ^ c, word(&block[8..]) ^ b ^ 0xA076_1D64_78BD_642F);
        a = low ^ b.rotate_left(29);
        b = high.wrapping_add(d).wrapping_mul(0xE703_7ED1_A0B4_28DB);
    }
    let (x, y) = fold(a ^ 0x8EBC_6AF0_9C88_C6E3, b ^ c ^ 0x5899_65CC_7537_4CC3);
    (x ^ d, y.wrapping_add(x))
}

fn fold(a: u64, b: u64) -> (u64, u64) {
    let product = u128::from(a | 1).wrapping_mul(u128::from(b | 1)) ^ (u128::from(b) << 64 | u128::from(a));
    (product as u64, (product >> 64) as u64)
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_its_own_and_nothing_else() {
        let key = CheapKey::from_secret(&[1; 32]);
        let other = CheapKey::from_secret(&[2; 32]);
        for len in [0, 1, 15, 16, 17, 150] {
            let message = vec![7; len];
            let good = key.sign(&message);
            assert!(CheapScheme.verify(&key.public, &message, &good));
            assert!(!CheapScheme.verify(&other.public, &message, &good));
            for bit in 0..512 {
                let mut bad = good;
                bad.0[bit / 8] ^= 1 << (bit % 8);
                assert!(!CheapScheme.verify(&key.public, &message, &bad));
            }
            for bit in 0..len * 8 {
                let mut changed = message.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(!CheapScheme.verify(&key.public, &changed, &good), "bit {bit}");
            }
            let longer = [message.as_slice(), &[0]].concat();
            assert!(!CheapScheme.verify(&key.public, &longer, &good));
        }
    }

    #[test]
    fn the_owner_can_sign_twice_and_weak_keys_never_count() {
        let key = CheapKey::from_secret(&[1; 32]);
        let again = key.sign_with(b"x", 9);
        assert_ne!(again, key.sign(b"x"));
        assert!(CheapScheme.verify(&key.public, b"x", &again));
        for kind in [SchemeKind::Cheap, SchemeKind::Real] {
            assert!(!kind.scheme(1).key_acceptable(&kind.weak_key()));
        }
    }
}
