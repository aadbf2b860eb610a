//! The issuer: signs mints, and nothing else. Its key comes from a file of its own.

use std::path::Path;

use shardpay_crypto::{IdentifiedTransaction, Keypair, Signer as _, transaction_message};
use shardpay_types::{Amount, ChainId, Codec as _, DepositRef, Mint, PublicKey, Signature, SignedMint, Transaction};

use crate::secret::hash;

/// The key behind every mint.
pub struct Issuer {
    pair: Keypair,
    chain: ChainId,
}

/// Why there is no issuer key.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The file cannot be read.
    #[error("issuer_seed: {0}")]
    Read(#[from] std::io::Error),
    /// It is not 32 bytes in hexadecimal.
    #[error("issuer_seed: 64 hexadecimal digits are expected")]
    Malformed,
    /// Another key stands in the genesis plan.
    #[error("issuer_seed: gives the key {found}, the genesis plan names {expected}")]
    OtherKey {
        /// Of the file.
        found: PublicKey,
        /// Of the plan.
        expected: PublicKey,
    },
}

impl Issuer {
    /// The issuer whose seed a file holds.
    pub fn read(path: &Path, chain: ChainId, expected: PublicKey) -> Result<Self, IssuerError> {
        let text = zeroize::Zeroizing::new(std::fs::read_to_string(path)?);
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), &mut *seed).map_err(|_| IssuerError::Malformed)?;
        let issuer = Self::from_seed(&seed, chain);
        let found = issuer.pair.public_key();
        if found == expected { Ok(issuer) } else { Err(IssuerError::OtherKey { found, expected }) }
    }

    /// The issuer with this seed.
    pub fn from_seed(seed: &[u8; 32], chain: ChainId) -> Self {
        Self { pair: Keypair::from_seed(seed), chain }
    }

    /// The mint against the captured charge of a purchase. The reference covers the charge: one charge, one mint.
    pub fn purchase(
        &self,
        recipient: PublicKey,
        amount: Amount,
        purchase: &str,
        charge: &str,
    ) -> IdentifiedTransaction {
        let parts: [&[u8]; 4] = [b"shardpay/deposit/v1\0", purchase.as_bytes(), b"\0", charge.as_bytes()];
        self.mint(recipient, amount, DepositRef(hash(&parts)))
    }

    /// The mint that gives back what a redeem burned and the bank refused to pay out: one per redeem.
    pub fn give_back(&self, recipient: PublicKey, amount: Amount, redeem: &str) -> IdentifiedTransaction {
        let reference = DepositRef(hash(&[b"shardpay/payout-return/v1\0", redeem.as_bytes()]));
        self.mint(recipient, amount, reference)
    }

    /// Signatures are deterministic: the same mint has the same bytes whenever it is made.
    fn mint(&self, recipient: PublicKey, amount: Amount, deposit_ref: DepositRef) -> IdentifiedTransaction {
        let body = Mint { recipient, amount, deposit_ref };
        let unsigned = Transaction::Mint(SignedMint { body, signature: Signature::ZERO });
        let signature = self.pair.sign(&transaction_message(&self.chain, &unsigned));
        let signed = Transaction::Mint(SignedMint { body, signature });
        debug_assert_eq!(signed.to_bytes().len(), signed.encoded_len());
        IdentifiedTransaction::new(&self.chain, signed)
    }
}
