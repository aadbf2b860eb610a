//! Payment links: `shardpay:ADDRESS?amount=12.500000&reference=TEXT`, also the contents of QR codes.
//!
//! Both parameters may be left out; each stands at most once, others are refused: a link that asks for
//! something this version does not know must not be paid as if it did not. `reference` is percent-encoded.

use std::fmt;
use std::str::FromStr;

use shardpay_types::{Amount, Reference};

use crate::address::{Address, AddressError};
use crate::amount::{AmountError, parse_amount};
use crate::reference::{ReferenceError, parse_reference, reference_text};

/// What every link starts with, before the colon.
pub const LINK_SCHEME: &str = "shardpay";
/// Longest link that is read.
pub const LINK_CHARS_MAX: usize = 512;

/// Why a text is no payment link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Longer than any link.
    #[error("a payment link has at most {LINK_CHARS_MAX} characters")]
    TooLong,
    /// Another scheme.
    #[error("a payment link starts with {LINK_SCHEME}:")]
    Scheme,
    /// The address is wrong.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The amount is wrong.
    #[error(transparent)]
    Amount(#[from] AmountError),
    /// The reference is wrong.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Not percent-encoded UTF-8.
    #[error("the link's reference is not percent-encoded text")]
    Encoding,
    /// A parameter stands twice.
    #[error("the link has {0:?} twice")]
    Twice(String),
    /// A parameter that is not known.
    #[error("the link has a parameter {0:?} that is not known")]
    Unknown(String),
}

/// A request for a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentLink {
    /// Whom to pay.
    pub address: Address,
    /// How much, when it is fixed.
    pub amount: Option<Amount>,
    /// What to put into the payment, when it is given.
    pub reference: Option<Reference>,
}

impl fmt::Display for PaymentLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LINK_SCHEME}:{}", self.address)?;
        let mut separator = '?';
        if let Some(amount) = self.amount {
            write!(f, "{separator}amount={amount}")?;
            separator = '&';
        }
        if let Some(reference) = &self.reference {
            write!(f, "{separator}reference=")?;
            for byte in reference_text(reference).bytes() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        write!(f, "{}", char::from(byte))?;
                    }
                    _ => write!(f, "%{byte:02X}")?,
                }
            }
        }
        Ok(())
    }
}

impl FromStr for PaymentLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        if text.len() > LINK_CHARS_MAX {
            return Err(LinkError::TooLong);
        }
        let (scheme, rest) = text.split_once(':').ok_or(LinkError::Scheme)?;
        if !scheme.eq_ignore_ascii_case(LINK_SCHEME) {
            return Err(LinkError::Scheme);
        }
        let (address, query) = rest.split_once('?').map_or((rest, None), |(address, query)| (address, Some(query)));
        let mut link = Self { address: address.parse()?, amount: None, reference: None };
        for parameter in query.into_iter().flat_map(|query| query.split('&')) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let twice = match name {
                "amount" => link.amount.replace(parse_amount(value)?).is_some(),
                "reference" => link.reference.replace(parse_reference(&percent_decoded(value)?)?).is_some(),
                _ => return Err(LinkError::Unknown(name.to_owned())),
            };
            if twice {
                return Err(LinkError::Twice(name.to_owned()));
            }
        }
        Ok(link)
    }
}

fn percent_decoded(text: &str) -> Result<String, LinkError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                let value = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                value.ok_or(LinkError::Encoding)?
            }
            _ => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| LinkError::Encoding)
}
