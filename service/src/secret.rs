//! Random names and tokens, and the hashes under which tokens are kept.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Text that is wiped when dropped and never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes text in.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl Deref for Secret {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// So many random bytes in hexadecimal.
///
/// # Panics
/// When the operating system gives no randomness: nothing safe can be done then.
pub fn random_hex<const N: usize>() -> String {
    hex::encode(random_bytes::<N>())
}

/// So many random bytes.
///
/// # Panics
/// As [`random_hex`].
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system gives randomness");
    bytes
}

/// What is stored of a token with enough entropy of its own.
pub fn token_hash(token: &str) -> String {
    hash_hex(&[b"shardpay/token/v1\0", token.as_bytes()])
}

/// SHA-256 over the parts.
pub fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// SHA-256 over the parts, in hexadecimal.
pub fn hash_hex(parts: &[&[u8]]) -> String {
    hex::encode(hash(parts))
}
