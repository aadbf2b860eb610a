//! The seam to the bank.
//!
//! Demanded of every implementor: a key names one payout for ever; ordering it again changes nothing and tells
//! how the first order stands. A payout that was rejected is never paid.

use crate::ledger::port::Later;

/// An order to pay.
#[derive(Debug, Clone, Copy)]
pub struct PayoutOrder<'a> {
    /// The redeem's txid.
    pub key: &'a str,
    /// How much.
    pub cents: u64,
    /// To which account.
    pub iban: &'a str,
    /// The same as ISO 20022 XML.
    pub xml: &'a str,
}

/// How a payout stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayoutStatus {
    /// Paid.
    Paid,
    /// Under way.
    Pending,
    /// Never to be paid.
    Rejected {
        /// Why.
        reason: String,
    },
}

/// The bank gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("the bank gave no answer: {0}")]
pub struct BankError(pub String);

/// Pays out.
pub trait BankGateway: Send + Sync {
    /// Orders a payout, or asks how it stands.
    fn pay<'a>(&'a self, order: PayoutOrder<'a>) -> Later<'a, Result<PayoutStatus, BankError>>;
}
