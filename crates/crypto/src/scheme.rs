//! The seam between the protocol and its signatures: verification and signing as traits.
//!
//! Guarantees demanded of every implementor: `verify_batch` returns for each item exactly what
//! `verify` returns for it alone, whatever the rest of the batch holds; both are pure functions of
//! key, message and signature (two nodes never split over one), and `key_acceptable` is false only
//! for keys under which `verify` is false for everything.
//!
//! Production is [`crate::Zip215`] and [`crate::Keypair`]; the simulator brings a cheap second pair.

use shardpay_types::{PublicKey, Signature};

/// One signature to be checked. The message is borrowed: batches allocate nothing per item.
#[derive(Debug, Clone, Copy)]
pub struct SignedItem<'a> {
    /// Who is said to have signed.
    pub key: PublicKey,
    /// The full signed bytes ([`crate::signed_message`]).
    pub message: &'a [u8],
    /// What is to be checked.
    pub signature: Signature,
}

/// Verification of signatures, alone or in batches, with one verdict.
pub trait SignatureScheme: Send + Sync {
    /// Whether `signature` is `key`'s over `message`.
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &Signature) -> bool;

    /// The verdict of [`verify`](Self::verify) for each item, in order.
    fn verify_batch(&self, items: &[SignedItem<'_>]) -> Vec<bool>;

    /// Whether `key` may own an account, issue coins or run a node.
    fn key_acceptable(&self, key: &PublicKey) -> bool;
}

/// Whoever holds a secret key.
pub trait Signer: Send + Sync {
    /// The key others verify with.
    fn public_key(&self) -> PublicKey;

    /// Signs the full signed bytes ([`crate::signed_message`]).
    fn sign(&self, message: &[u8]) -> Signature;
}
