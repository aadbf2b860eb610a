//! The seam to whoever charges cards.
//!
//! Demanded of every implementor: a key names one charge for ever. Asking to charge again under a key that has
//! captured gives the same charge; `CardGateway::settle` makes a key final: what has not captured by then
//! never will. So a caller that lost an answer finds out, and money is taken once or not at all.

use crate::ledger::port::Later;

use super::card::Card;

/// How a charge stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChargeOutcome {
    /// The money is here.
    Captured {
        /// The gateway's name for it.
        charge_id: String,
    },
    /// It will not come; the reason is one of the API's words.
    Declined(&'static str),
    /// The card's holder must answer.
    Challenge {
        /// What the holder is asked.
        prompt: String,
    },
}

/// The gateway gave no answer: what happened is unknown.
#[derive(Debug, thiserror::Error)]
#[error("the card gateway gave no answer: {0}")]
pub struct GatewayError(pub String);

/// Charges cards.
pub trait CardGateway: Send + Sync {
    /// Takes so many cents.
    fn charge<'a>(&'a self, key: &'a str, cents: u64, card: &'a Card)
    -> Later<'a, Result<ChargeOutcome, GatewayError>>;

    /// The holder's answer to a challenge.
    fn answer<'a>(&'a self, key: &'a str, code: &'a str) -> Later<'a, Result<ChargeOutcome, GatewayError>>;

    /// What became of a charge; one that has not captured never will.
    fn settle<'a>(&'a self, key: &'a str) -> Later<'a, Result<ChargeOutcome, GatewayError>>;

    /// Gives the money back; asked again, it is given back once.
    fn refund<'a>(&'a self, key: &'a str) -> Later<'a, Result<(), GatewayError>>;
}

/// Word for a charge that never happened.
pub const NOT_CHARGED: &str = "not_charged";
