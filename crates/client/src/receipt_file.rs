//! The receipt as a file: everything that is needed to check a payment offline against the genesis plan.
//!
//! Guarantees of [`ReceiptFile::verify`]: the transaction, its outcome and place were signed by a quorum of
//! the committee that the closing records lead to from the pinned genesis plan; the same for the credit, when
//! the file holds one. The readable summary is not proven and must not be shown as if it were: show what
//! `verify` returns.
//!
//! Not known from a file: whether the committee has closed a newer epoch than the file shows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shardpay_crypto::{Zip215, chain_id};
use shardpay_ledger::verify::{
    CreditFacts, ProofError, ReceiptFacts, TrustAnchor, verify_credit_receipt, verify_epoch_chain, verify_receipt,
};
use shardpay_types::{ChainId, CommitteeId, CreditReceipt, EpochChain, Plan, Receipt, Transaction};

use crate::client::random;
use crate::error::ClientError;
use crate::signaler::{Hex, number};

/// What every receipt file names itself.
pub const RECEIPT_FORMAT: &str = "shardpay-receipt/1";
/// Largest receipt file that is read; epoch chains make them long.
pub const RECEIPT_FILE_BYTES_MAX: usize = 16 << 20;
/// Public keys kept decompressed while one file is checked.
const KEY_CACHE: usize = 256;

/// Why a receipt file proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptFileError {
    /// Not a receipt file.
    #[error("not a receipt file: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Longer than any receipt file.
    #[error("a receipt file has at most {RECEIPT_FILE_BYTES_MAX} bytes")]
    TooLong,
    /// A format that is not known here.
    #[error("receipt format {0:?} is not known, {RECEIPT_FORMAT:?} is")]
    Format(String),
    /// The receipt is of another ledger than the genesis plan.
    #[error("the receipt is of ledger {found}, the genesis plan is that of {expected}")]
    OtherLedger {
        /// In the file.
        found: ChainId,
        /// Of the genesis plan.
        expected: ChainId,
    },
    /// The credit belongs to another payment, or parts of it are missing.
    #[error("the credit does not belong to this payment")]
    ForeignCredit,
    /// A proof does not hold.
    #[error("the proof does not hold: {0}")]
    Proof(#[from] ProofError),
    /// No randomness for batches of signatures.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// What a receipt says, for people; proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptSummary {
    /// The transaction's id.
    pub txid: String,
    /// Sender, or nothing for a mint.
    pub sender: Option<String>,
    /// Recipient, or nothing for a redeem.
    pub recipient: Option<String>,
    /// How many coins.
    pub amount: String,
    /// What became of it.
    pub outcome: String,
    /// Ledger time of the certified block, microseconds since 1970.
    pub ledger_time_us: u64,
}

/// A receipt file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptFile {
    /// [`RECEIPT_FORMAT`].
    pub format: String,
    /// The ledger.
    pub chain: Hex<ChainId>,
    /// The committee that decided.
    #[serde(with = "number")]
    pub committee: CommitteeId,
    /// Its proof.
    pub receipt: Hex<Receipt>,
    /// Its closing records.
    pub epochs: Hex<EpochChain>,
    /// Across committees: the proof that the payee was credited, with its committee's closing records.
    pub credit: Option<CreditPart>,
    /// For people.
    pub summary: ReceiptSummary,
}

/// The payee's side of a receipt file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditPart {
    /// The committee that credited.
    #[serde(with = "number")]
    pub committee: CommitteeId,
    /// Its proof.
    pub receipt: Hex<CreditReceipt>,
    /// Its closing records.
    pub epochs: Hex<EpochChain>,
}

/// What a receipt file proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenReceipt {
    /// The transaction.
    pub transaction: Transaction,
    /// What became of it.
    pub facts: ReceiptFacts,
    /// The payee's credit, when it is proven too.
    pub credit: Option<CreditFacts>,
}

impl ReceiptFile {
    /// A file of these proofs.
    pub fn new(
        chain: ChainId,
        (committee, receipt, epochs): (CommitteeId, Receipt, EpochChain),
        facts: &ReceiptFacts,
        credit: Option<(CommitteeId, CreditReceipt, EpochChain)>,
    ) -> Self {
        let transaction = &receipt.executed.transaction;
        let summary = ReceiptSummary {
            txid: facts.txid.to_string(),
            sender: transaction.debit().map(|(sender, _)| sender.to_string()),
            recipient: transaction.recipient().map(|recipient| recipient.to_string()),
            amount: transaction.amount().to_string(),
            outcome: match facts.outcome {
                shardpay_types::Outcome::Applied => "applied".to_owned(),
                shardpay_types::Outcome::ShortBalance => "short_balance".to_owned(),
            },
            ledger_time_us: facts.ledger_time.micros(),
        };
        let credit = credit.map(|(committee, receipt, epochs)| CreditPart {
            committee,
            receipt: Hex(receipt),
            epochs: Hex(epochs),
        });
        Self {
            format: RECEIPT_FORMAT.to_owned(),
            chain: Hex(chain),
            committee,
            receipt: Hex(receipt),
            epochs: Hex(epochs),
            credit,
            summary,
        }
    }

    /// Reads a file; nothing is checked yet.
    pub fn read(bytes: &[u8]) -> Result<Self, ReceiptFileError> {
        if bytes.len() > RECEIPT_FILE_BYTES_MAX {
            return Err(ReceiptFileError::TooLong);
        }
        let file: Self = serde_json::from_slice(bytes)?;
        if file.format != RECEIPT_FORMAT {
            return Err(ReceiptFileError::Format(file.format));
        }
        Ok(file)
    }

    /// The file's bytes.
    ///
    /// # Panics
    /// Never: the structure has string keys only.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("string keys only");
        bytes.push(b'\n');
        bytes
    }

    /// Checks everything against a genesis plan.
    pub fn verify(&self, genesis: &Plan) -> Result<ProvenReceipt, ReceiptFileError> {
        let expected = chain_id(genesis);
        if self.chain.0 != expected {
            return Err(ReceiptFileError::OtherLedger { found: self.chain.0, expected });
        }
        let scheme = Arc::new(Zip215::new(random()?, KEY_CACHE));
        let anchor = TrustAnchor { genesis: genesis.clone(), scheme };
        let keys = verify_epoch_chain(&anchor, self.committee, &self.epochs)?;
        let facts = verify_receipt(&keys, &self.receipt)?;
        let credit = match &self.credit {
            None => None,
            Some(part) => {
                let keys = verify_epoch_chain(&anchor, part.committee, &part.epochs)?;
                let credit = verify_credit_receipt(&keys, &part.receipt)?;
                let ours = credit.txid == facts.txid && credit.source == self.committee;
                if !ours || facts.credited_by != Some(part.committee) {
                    return Err(ReceiptFileError::ForeignCredit);
                }
                Some(credit)
            }
        };
        Ok(ProvenReceipt { transaction: self.receipt.executed.transaction, facts, credit })
    }
}
