//! Card data as people type them. They live in memory for one request and are never written or printed.

use std::fmt;

use serde::Deserialize;

use crate::error::{Code, Problem};
use crate::secret::Secret;

/// Longest number of a card.
const DIGITS_MAX: usize = 19;
/// Expiry dates further away than this are typing errors.
const YEARS_AHEAD_MAX: i16 = 20;

/// Card data as they come in a request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardInput {
    number: Secret,
    expiry: Secret,
    cvc: Secret,
    holder: String,
}

/// Checked card data.
pub struct Card {
    digits: Secret,
    /// Month and year of expiry.
    expiry: (i8, i16),
    cvc: Secret,
}

impl fmt::Debug for CardInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardInput(…)")
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Card({} …{})", self.brand(), self.last4())
    }
}

fn wrong(field: &'static str, why: &str) -> Problem {
    Problem::field(Code::BadCard, field, why)
}

impl CardInput {
    /// Checks number, expiry, CVC and holder at a time.
    pub fn check(&self, now_us: u64) -> Result<Card, Problem> {
        let digits = Secret::new(self.number.chars().filter(|c| !matches!(c, ' ' | '-')).collect());
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) || !(12..=DIGITS_MAX).contains(&digits.len()) {
            return Err(wrong("card.number", "a card number has 12 to 19 digits"));
        }
        if !luhn(&digits) {
            return Err(wrong("card.number", "the card number is mistyped"));
        }
        let expiry = expiry(&self.expiry, now_us)?;
        let card = Card { digits, expiry, cvc: self.cvc.clone() };
        let cvc_digits = if card.brand() == "amex" { 4 } else { 3 };
        if card.cvc.len() != cvc_digits || !card.cvc.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong(
                "card.cvc",
                if cvc_digits == 4 { "four digits are expected" } else { "three digits are expected" },
            ));
        }
        let holder = self.holder.trim();
        if holder.is_empty() || holder.chars().count() > 70 || holder.chars().any(char::is_control) {
            return Err(wrong("card.holder", "the name on the card, at most 70 characters"));
        }
        Ok(card)
    }
}

impl Card {
    /// The number, for a gateway.
    pub fn digits(&self) -> &str {
        &self.digits
    }

    /// Month and year, for a gateway.
    pub const fn expiry(&self) -> (i8, i16) {
        self.expiry
    }

    /// The CVC, for a gateway.
    pub fn cvc(&self) -> &str {
        &self.cvc
    }

    /// Whose network it belongs to.
    pub fn brand(&self) -> &'static str {
        let prefix = |len: usize| self.digits[..len].parse::<u32>().unwrap_or(0);
        match (prefix(1), prefix(2), prefix(4)) {
            (4, ..) => "visa",
            (_, 51..=55, _) | (_, _, 2221..=2720) => "mastercard",
            (_, 34 | 37, _) => "amex",
            (_, 50 | 56..=58, _) | (6, ..) => "maestro",
            _ => "card",
        }
    }

    /// The last four digits.
    pub fn last4(&self) -> &str {
        &self.digits[self.digits.len() - 4..]
    }
}

/// Whether the check digit fits.
fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(index, byte)| {
            let digit = u32::from(byte - b'0') << (index % 2);
            digit / 10 + digit % 10
        })
        .sum();
    sum.is_multiple_of(10)
}

fn expiry(text: &str, now_us: u64) -> Result<(i8, i16), Problem> {
    let malformed = || wrong("card.expiry", "month and year as on the card: MM/YY");
    let (month, year) = text.split_once('/').ok_or_else(malformed)?;
    let number =
        |part: &str| (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<i16>());
    let (Some(Ok(month)), Some(Ok(year))) = (number(month.trim()), number(year.trim())) else {
        return Err(malformed());
    };
    let (month, year) = (i8::try_from(month).map_err(|_| malformed())?, 2000 + year);
    if !(1..=12).contains(&month) {
        return Err(malformed());
    }
    let now =
        jiff::Timestamp::from_microsecond(i64::try_from(now_us).unwrap_or(i64::MAX)).unwrap_or(jiff::Timestamp::MAX);
    let today = jiff::tz::TimeZone::UTC.to_datetime(now).date();
    if (year, month) < (today.year(), today.month()) {
        return Err(wrong("card.expiry", "the card has expired"));
    }
    if year > today.year() + YEARS_AHEAD_MAX {
        return Err(malformed());
    }
    Ok((month, year))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-24.
    const NOW: u64 = 1_795_500_000_000_000;

    fn input(number: &str, expiry: &str, cvc: &str) -> CardInput {
        let text = |text: &str| Secret::new(text.to_owned());
        CardInput { number: text(number), expiry: text(expiry), cvc: text(cvc), holder: "A B".to_owned() }
    }

    #[test]
    fn good_cards_pass() {
        for (number, cvc, brand) in [
            ("4242 4242 4242 4242", "123", "visa"),
            ("5555-5555-5555-4444", "000", "mastercard"),
            ("378282246310005", "1234", "amex"),
        ] {
            let card = input(number, "12/30", cvc).check(NOW).unwrap();
            assert_eq!(card.brand(), brand);
            assert!(!format!("{card:?}").contains(&card.digits()[..12]), "no number in a log");
        }
    }

    #[test]
    fn every_single_digit_error_is_found() {
        let good = "4242424242424242";
        for place in 0..good.len() {
            for digit in b'0'..=b'9' {
                let mut bytes = good.as_bytes().to_vec();
                if bytes[place] == digit {
                    continue;
                }
                bytes[place] = digit;
                let text = String::from_utf8(bytes).unwrap();
                assert!(input(&text, "12/30", "123").check(NOW).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn wrong_fields_are_named() {
        let field = |number: &str, expiry: &str, cvc: &str| input(number, expiry, cvc).check(NOW).unwrap_err().field;
        let good = "4242424242424242";
        assert_eq!(field("4242", "12/30", "123"), Some("card.number"));
        assert_eq!(field("４２４２424242424242", "12/30", "123"), Some("card.number"));
        for expiry in ["10/26", "13/30", "1/30", "12/99", "1230", "-1/30", "12/+5"] {
            assert_eq!(field(good, expiry, "123"), Some("card.expiry"), "{expiry}");
        }
        assert!(input(good, "11/26", "123").check(NOW).is_ok(), "valid to the month's end");
        for cvc in ["12", "1234", "12a", ""] {
            assert_eq!(field(good, "12/30", cvc), Some("card.cvc"), "{cvc}");
        }
    }
}
