//! A secret ed25519 key that signs (RFC 8032, deterministic nonces).
//!
//! Guarantees: the secret is wiped when dropped and never printed. Every signature made here passes
//! [`crate::Zip215`]. Assumes the seed to be 32 bytes of good randomness, handed in by the driver.

use std::fmt;

use ed25519_dalek::{Signer as _, SigningKey};
use shardpay_types::{PublicKey, Signature};

use crate::scheme::Signer;

/// A secret key and its public key.
#[derive(Clone)]
pub struct Keypair {
    secret: SigningKey,
}

impl Keypair {
    /// The pair that belongs to a 32-byte secret seed (RFC 8032 §5.1.5). The caller wipes its copy.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { secret: SigningKey::from_bytes(seed) }
    }
}

impl Signer for Keypair {
    fn public_key(&self) -> PublicKey {
        PublicKey(self.secret.verifying_key().to_bytes())
    }

    fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.secret.sign(message).to_bytes())
    }
}

impl fmt::Debug for Keypair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keypair({:?})", self.public_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_8032_first_vector() {
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
            0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        let pair = Keypair::from_seed(&seed);
        assert_eq!(pair.public_key().to_string(), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert!(pair.sign(b"").to_string().starts_with("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974"));
    }

    #[test]
    fn debug_shows_the_public_half_only() {
        let pair = Keypair::from_seed(&[0x42; 32]);
        let shown = format!("{pair:?}");
        assert_eq!(shown, format!("Keypair({:?})", pair.public_key()));
        assert!(!shown.contains("4242"));
    }
}
