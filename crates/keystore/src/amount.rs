//! Amounts as people write them: `12`, `12.5`, `12.500000`. No sign, exponent, blank or grouping.
//!
//! Guarantees: what `shardpay_types::Amount` displays is read back as it was; nothing is rounded.

use shardpay_types::{Amount, MICROS_PER_COIN};

const PLACES: usize = 6;

/// Why a text is no amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not digits, with at most one point between digits.
    #[error("an amount is written with digits and a point, like 12.50")]
    Malformed,
    /// More than six places.
    #[error("an amount has at most {PLACES} digits after the point")]
    TooManyPlaces,
    /// Above what an amount can hold.
    #[error("the amount is too large")]
    TooLarge,
}

/// Reads an amount of coins.
pub fn parse_amount(text: &str) -> Result<Amount, AmountError> {
    let (whole, places) = match text.split_once('.') {
        Some((whole, places)) if !places.is_empty() => (whole, places),
        Some(_) => return Err(AmountError::Malformed),
        None => (text, ""),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(places) {
        return Err(AmountError::Malformed);
    }
    if places.len() > PLACES {
        return Err(AmountError::TooManyPlaces);
    }
    let number = |text: &str| text.parse::<u64>().map_err(|_| AmountError::TooLarge);
    let micros = number(&format!("{places:0<PLACES$}"))?;
    let coins = number(whole)?.checked_mul(MICROS_PER_COIN);
    coins.and_then(|coins| coins.checked_add(micros)).map(Amount::from_micros).ok_or(AmountError::TooLarge)
}
