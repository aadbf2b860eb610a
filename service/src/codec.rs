//! Words that stand in the store and in JSON, and how keys and amounts are read from requests.

use shardpay_keystore::{Address, parse_amount};
use shardpay_types::{Amount, PublicKey, Transaction};

use crate::error::Problem;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_meta])* $variant,)* }

        impl $name {
            /// The word that stands for it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// What a word stands for.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}
pub(crate) use words;

words! {
    /// Kinds of transactions.
    TxKind {
        /// A payment.
        Payment = "payment",
        /// A redeem.
        Redeem = "redeem",
        /// A mint.
        Mint = "mint",
    }
}

impl TxKind {
    /// A transaction's kind.
    pub const fn of(transaction: &Transaction) -> Self {
        match transaction {
            Transaction::Payment(_) => Self::Payment,
            Transaction::Redeem(_) => Self::Redeem,
            Transaction::Mint(_) => Self::Mint,
        }
    }
}

words! {
    /// What became of a transaction.
    TxState {
        /// Not certified yet.
        Submitted = "submitted",
        /// Certified where it was decided.
        Certified = "certified",
        /// The payee's committee certified the credit.
        Credited = "credited",
        /// The payee's committee could not credit it; the payer has the coins back.
        Returned = "returned",
        /// Certified failure: nothing moved.
        ShortBalance = "short_balance",
        /// Refused.
        Rejected = "rejected",
    }
}

words! {
    /// What the service submits a transaction for, beside a plain payment.
    Purpose {
        /// The mint of a purchase.
        Purchase = "purchase",
        /// The redeem of a cash-out.
        CashOut = "cash_out",
        /// The mint that gives back what the bank refused to pay out.
        Return = "return",
        /// A merchant's refund.
        Refund = "refund",
    }
}

/// Reads an amount.
pub fn amount(field: &'static str, text: &str) -> Result<Amount, Problem> {
    let amount = parse_amount(text).map_err(|error| Problem::bad(field, error.to_string()))?;
    if amount.micros() > i64::MAX as u64 {
        return Err(Problem::bad(field, "the amount is too large"));
    }
    Ok(amount)
}

/// Micro-units of a cent.
pub const MICROS_PER_CENT: u64 = 10_000;

/// Whole cents of an amount.
pub fn cents(field: &'static str, amount: Amount) -> Result<u64, Problem> {
    if !amount.micros().is_multiple_of(MICROS_PER_CENT) {
        return Err(Problem::bad(field, "whole cents only"));
    }
    Ok(amount.micros() / MICROS_PER_CENT)
}

/// Micro-units as the API writes them.
pub fn decimal(micros: u64) -> String {
    Amount::from_micros(micros).to_string()
}

/// The same with a sign, and of any size.
pub fn signed_decimal(micros: i128) -> String {
    let unit = 1_000_000;
    let (sign, size) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    format!("{sign}{}.{:06}", size / unit, size % unit)
}

/// Reads a key or an address.
pub fn public_key(field: &'static str, text: &str) -> Result<PublicKey, Problem> {
    if text.len() == 64
        && let Ok(bytes) = hex::decode(text)
        && let Ok(key) = <[u8; 32]>::try_from(bytes)
    {
        return Ok(PublicKey(key));
    }
    text.parse::<Address>().map(|address| address.0).map_err(|error| Problem::bad(field, error.to_string()))
}

/// A key that was stored.
pub fn stored_key(text: &str) -> Option<PublicKey> {
    let bytes = hex::decode(text).ok()?;
    <[u8; 32]>::try_from(bytes).ok().map(PublicKey)
}

/// The address of a stored key.
pub fn address_of(text: &str) -> Option<String> {
    stored_key(text).map(|key| Address(key).to_string())
}

/// Reads so many bytes.
pub fn bytes<const N: usize>(field: &'static str, text: &str) -> Result<[u8; N], Problem> {
    let wrong = || Problem::bad(field, format!("{} hexadecimal digits are expected", 2 * N));
    hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)
}
