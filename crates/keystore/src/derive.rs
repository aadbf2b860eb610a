//! Keys from a seed: SLIP-0010 for ed25519, hardened steps only.
//!
//! The path of account number N is `m/44'/1'/N'`: BIP-44's purpose, and SLIP-0044's coin type 1 (test
//! networks), because the project has registered none of its own.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha512;
use zeroize::Zeroizing;

/// Largest account number.
pub const ACCOUNT_MAX: u32 = HARDENED - 1;

const HARDENED: u32 = 1 << 31;
const PURPOSE: u32 = 44;
const COIN_TYPE: u32 = 1;

/// The derivation path of an account, as it stands in a keystore file.
pub fn account_path(account: u32) -> String {
    format!("m/{PURPOSE}'/{COIN_TYPE}'/{account}'")
}

/// The secret key of an account.
///
/// # Panics
/// When `account` is above [`ACCOUNT_MAX`].
pub(crate) fn account_secret(seed: &[u8; 64], account: u32) -> Zeroizing<[u8; 32]> {
    secret_at(seed, &[PURPOSE, COIN_TYPE, account])
}

fn secret_at(seed: &[u8], path: &[u32]) -> Zeroizing<[u8; 32]> {
    let mut node = Node::master(seed);
    for step in path {
        node = node.hardened_child(*step);
    }
    node.key
}

struct Node {
    key: Zeroizing<[u8; 32]>,
    chain_code: Zeroizing<[u8; 32]>,
}

impl Node {
    fn master(seed: &[u8]) -> Self {
        Self::split(b"ed25519 seed", &[seed])
    }

    fn hardened_child(&self, index: u32) -> Self {
        assert!(index < HARDENED, "a hardened index has 31 bits: {index}");
        Self::split(&*self.chain_code, &[&[0], &*self.key, &(index | HARDENED).to_be_bytes()])
    }

    /// HMAC-SHA-512: the left half is the key, the right half the chain code.
    fn split(key: &[u8], parts: &[&[u8]]) -> Self {
        let mut mac = Hmac::<Sha512>::new_from_slice(key).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(part);
        }
        let out = Zeroizing::new(<[u8; 64]>::from(mac.finalize().into_bytes()));
        let mut node = Self { key: Zeroizing::new([0; 32]), chain_code: Zeroizing::new([0; 32]) };
        node.key.copy_from_slice(&out[..32]);
        node.chain_code.copy_from_slice(&out[32..]);
        node
    }
}

#[cfg(test)]
mod tests {
    use shardpay_crypto::{Keypair, Signer};

    use super::*;

    /// SLIP-0010, test vectors for ed25519: seed, path, private key, public key.
    const VECTORS: &[(&str, &[u32], &str, &str)] = &[
        (
            SEED_1,
            &[],
            "2b4be7f19ee27bbf30c667b642d5f4aa69fd169872f8fc3059c08ebae2eb19e7",
            "a4b2856bfec510abab89753fac1ac0e1112364e7d250545963f135f2a33188ed",
        ),
        (
            SEED_1,
            &[0],
            "68e0fe46dfb67e368c75379acec591dad19df3cde26e63b93a8e704f1dade7a3",
            "8c8a13df77a28f3445213a0f432fde644acaa215fc72dcdf300d5efaa85d350c",
        ),
        (
            SEED_1,
            &[0, 1],
            "b1d0bad404bf35da785a64ca1ac54b2617211d2777696fbffaf208f746ae84f2",
            "1932a5270f335bed617d5b935c80aedb1a35bd9fc1e31acafd5372c30f5c1187",
        ),
        (
            SEED_1,
            &[0, 1, 2],
            "92a5b23c0b8a99e37d07df3fb9966917f5d06e02ddbd909c7e184371463e9fc9",
            "ae98736566d30ed0e9d2f4486a64bc95740d89c7db33f52121f8ea8f76ff0fc1",
        ),
        (
            SEED_1,
            &[0, 1, 2, 2],
            "30d1dc7e5fc04c31219ab25a27ae00b50f6fd66622f6e9c913253d6511d1e662",
            "8abae2d66361c879b900d204ad2cc4984fa2aa344dd7ddc46007329ac76c429c",
        ),
        (
            SEED_1,
            &[0, 1, 2, 2, 1_000_000_000],
            "8f94d394a8e8fd6b1bc2f3f49f5c47e385281d5c17e65324b0f62483e37e8793",
            "3c24da049451555d51a7014a37337aa4e12d41e485abccfa46b47dfb2af54b7a",
        ),
        (
            SEED_2,
            &[],
            "171cb88b1b3c1db25add599712e36245d75bc65a1a5c9e18d76f9f2b1eab4012",
            "8fe9693f8fa62a4305a140b9764c5ee01e455963744fe18204b4fb948249308a",
        ),
    ];
    const SEED_1: &str = "000102030405060708090a0b0c0d0e0f";
    const SEED_2: &str = "fffcf9f6f3f0edeae7e4e1dedbd8d5d2cfccc9c6c3c0bdbab7b4b1aeaba8a5a29f9c999693908d8a8784817e7b7875\
                          726f6c696663605d5a5754514e4b484542";

    #[test]
    fn vectors_of_the_slip() {
        for (seed, path, private, public) in VECTORS {
            let seed = hex::decode(seed).expect("hexadecimal");
            let secret = secret_at(&seed, path);
            assert_eq!(hex::encode(*secret), *private, "{path:?}");
            assert_eq!(Keypair::from_seed(&secret).public_key().to_string(), *public, "{path:?}");
        }
    }

    #[test]
    fn accounts_have_keys_of_their_own() {
        assert_eq!(account_path(7), "m/44'/1'/7'");
        assert_ne!(*account_secret(&[1; 64], 0), *account_secret(&[1; 64], 1));
        assert_ne!(*account_secret(&[1; 64], 0), *account_secret(&[2; 64], 0));
    }
}
