//! A signature scheme for tests: a hash keyed with the public key. Anybody could forge it; nobody does.

use shardpay_crypto::{SignatureScheme, SignedItem, Signer, sha256};
use shardpay_types::{PublicKey, Signature};

/// The verifier.
pub struct TestScheme;

/// A key pair.
#[derive(Debug, Clone, Copy)]
pub struct TestKey(pub PublicKey);

impl TestKey {
    pub fn new(name: &str, index: usize) -> Self {
        Self(PublicKey(sha256(&[name.as_bytes(), &index.to_le_bytes()])))
    }
}

fn tag(key: &PublicKey, message: &[u8]) -> Signature {
    let half = sha256(&[&key.0, message]);
    let mut out = [0; 64];
    out[..32].copy_from_slice(&half);
    out[32..].copy_from_slice(&half);
    Signature(out)
}

impl Signer for TestKey {
    fn public_key(&self) -> PublicKey {
        self.0
    }

    fn sign(&self, message: &[u8]) -> Signature {
        tag(&self.0, message)
    }
}

impl SignatureScheme for TestScheme {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        self.key_acceptable(key) && tag(key, message) == *signature
    }

    fn verify_batch(&self, items: &[SignedItem<'_>]) -> Vec<bool> {
        items.iter().map(|item| self.verify(&item.key, item.message, &item.signature)).collect()
    }

    fn key_acceptable(&self, key: &PublicKey) -> bool {
        *key != PublicKey::ZERO
    }
}
