//! Transactions: fixed-size layouts, so that a batch is verified and hashed in place.
//!
//! The id of a transaction (`txid`) is SHA-256 over its *signed bytes* (tag ‖ chain ‖ kind ‖ body,
//! see `shardpay-crypto`), never over the signature: the owner of a key can sign twice.
//!
//! [`Opaque`] payloads stand beside them, in lists of their own: no account, no signature, no effect. Only a
//! ledger whose genesis plan says so orders them (`Constants::opaque_bytes_max`), for experiments.

use std::sync::Arc;

use crate::amount::Amount;
use crate::codec::{Codec, DecodeError, Reader};
use crate::ids::{DepositRef, PayoutRef, PublicKey, Reference, Sequence, Signature};
use crate::time::Timestamp;
use crate::{wire_enum, wire_struct};

wire_struct! {
    /// Moves coins from the signer to `recipient`. 104 bytes.
    #[derive(Copy)]
    pub struct Payment {
        /// The payer: key of the account debited and of the signature.
        pub sender: PublicKey,
        /// The payee's account.
        pub recipient: PublicKey,
        /// What is paid.
        pub amount: Amount,
        /// Must equal the sender's `next_sequence` when executed.
        pub sequence: Sequence,
        /// Last ledger time at which it may execute; zero: no limit.
        pub valid_until: Timestamp,
        /// The payer's note, e.g. an invoice id.
        pub reference: Reference,
    }

    /// Burns the signer's coins; its certified result is what a bank payout is made against. 88 bytes.
    #[derive(Copy)]
    pub struct Redeem {
        /// The account debited and the key of the signature.
        pub sender: PublicKey,
        /// What is burned.
        pub amount: Amount,
        /// Must equal the sender's `next_sequence` when executed.
        pub sequence: Sequence,
        /// Last ledger time at which it may execute; zero: no limit.
        pub valid_until: Timestamp,
        /// Commitment to the bank details.
        pub payout_ref: PayoutRef,
    }

    /// Creates coins against a deposit, signed by the issuer named in genesis. 72 bytes.
    #[derive(Copy)]
    pub struct Mint {
        /// The account credited.
        pub recipient: PublicKey,
        /// What is created.
        pub amount: Amount,
        /// The deposit; also decides the committee that executes the mint.
        pub deposit_ref: DepositRef,
    }

    /// A payment with its sender's signature.
    #[derive(Copy)]
    pub struct SignedPayment {
        /// What is signed.
        pub body: Payment,
        /// By `body.sender`.
        pub signature: Signature,
    }

    /// A redeem with its sender's signature.
    #[derive(Copy)]
    pub struct SignedRedeem {
        /// What is signed.
        pub body: Redeem,
        /// By `body.sender`.
        pub signature: Signature,
    }

    /// A mint with the issuer's signature.
    #[derive(Copy)]
    pub struct SignedMint {
        /// What is signed.
        pub body: Mint,
        /// By the issuer of the genesis plan.
        pub signature: Signature,
    }
}

wire_enum! {
    /// A signed transaction as it travels: kind byte ‖ body ‖ signature.
    #[derive(Copy)]
    pub enum Transaction {
        /// Kind 1, 169 bytes.
        1 => Payment(SignedPayment),
        /// Kind 2, 153 bytes.
        2 => Redeem(SignedRedeem),
        /// Kind 3, 137 bytes.
        3 => Mint(SignedMint),
    }
}

/// Longest opaque payload: a submission of one fits a client's frame of 256 KiB, so it fits a DAG block and a ledger
/// block as well.
pub const OPAQUE_BYTES_MAX: usize = 256 * 1024 - 64;

/// Bytes that are ordered and certified, and mean nothing to the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Opaque(pub Arc<[u8]>);

impl Opaque {
    /// Length of the encoding.
    pub fn encoded_len(&self) -> usize {
        Self::MIN_LEN + self.0.len()
    }

    /// Whether a ledger with this `Constants::opaque_bytes_max` orders it.
    pub fn fits(&self, opaque_bytes_max: u32) -> bool {
        opaque_bytes_max > 0 && self.0.len() <= opaque_bytes_max as usize
    }
}

impl Codec for Opaque {
    const MIN_LEN: usize = 4;
    fn encode(&self, out: &mut Vec<u8>) {
        u32::try_from(self.0.len()).expect("payloads are bounded").encode(out);
        out.extend_from_slice(&self.0);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = u32::decode(reader)? as usize;
        if len > OPAQUE_BYTES_MAX {
            return Err(DecodeError::OutOfRange { what: "opaque", value: len as u64, max: OPAQUE_BYTES_MAX as u64 });
        }
        reader.take(len).map(|bytes| Self(bytes.into()))
    }
}

impl Transaction {
    /// Longest encoding of a transaction.
    pub const LEN_MAX: usize = 1 + SignedPayment::MIN_LEN;

    /// Length of the encoding.
    pub const fn encoded_len(&self) -> usize {
        1 + match self {
            Self::Payment(_) => SignedPayment::MIN_LEN,
            Self::Redeem(_) => SignedRedeem::MIN_LEN,
            Self::Mint(_) => SignedMint::MIN_LEN,
        }
    }

    /// The account debited and its sequence; `None` for a mint.
    pub const fn debit(&self) -> Option<(PublicKey, Sequence)> {
        match self {
            Self::Payment(tx) => Some((tx.body.sender, tx.body.sequence)),
            Self::Redeem(tx) => Some((tx.body.sender, tx.body.sequence)),
            Self::Mint(_) => None,
        }
    }

    /// The account credited; `None` for a redeem.
    pub const fn recipient(&self) -> Option<PublicKey> {
        match self {
            Self::Payment(tx) => Some(tx.body.recipient),
            Self::Redeem(_) => None,
            Self::Mint(tx) => Some(tx.body.recipient),
        }
    }

    /// The amount moved, burned or created.
    pub const fn amount(&self) -> Amount {
        match self {
            Self::Payment(tx) => tx.body.amount,
            Self::Redeem(tx) => tx.body.amount,
            Self::Mint(tx) => tx.body.amount,
        }
    }

    /// Last ledger time at which it may execute; zero: no limit.
    pub const fn valid_until(&self) -> Timestamp {
        match self {
            Self::Payment(tx) => tx.body.valid_until,
            Self::Redeem(tx) => tx.body.valid_until,
            Self::Mint(_) => Timestamp::ZERO,
        }
    }

    /// The signature.
    pub const fn signature(&self) -> &Signature {
        match self {
            Self::Payment(tx) => &tx.signature,
            Self::Redeem(tx) => &tx.signature,
            Self::Mint(tx) => &tx.signature,
        }
    }
}
