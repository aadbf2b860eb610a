//! An account's address: its public key in bech32m (BIP-350) with the prefix `shard`, 64 characters.
//!
//! Guarantees: one address per key; any change of up to four characters is refused (a property of the code),
//! as is mixed case. An address all in capitals is read too, for QR codes. Whether the key is acceptable to
//! the ledger is not checked here: the payer's committee refuses bad ones before the debit.

use std::fmt;
use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use shardpay_types::PublicKey;

/// What every address starts with, before the separator `1`.
pub const ADDRESS_PREFIX: &str = "shard";
/// Length of an address.
pub const ADDRESS_CHARS: usize = 64;

const PREFIX: Hrp = Hrp::parse_unchecked(ADDRESS_PREFIX);

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Too short or too long.
    #[error("an address has {ADDRESS_CHARS} characters, this has {0}")]
    Length(usize),
    /// It starts with something else.
    #[error("an address starts with {ADDRESS_PREFIX}1")]
    Prefix,
    /// A character that no address contains, or mixed case.
    #[error("the address contains a character that cannot stand there")]
    Character,
    /// The checksum does not fit: mistyped.
    #[error("the address is mistyped: its checksum does not fit")]
    Checksum,
}

/// The address of an account.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub PublicKey);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32m, _>(f, PREFIX, self.0.as_bytes()).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        use bech32::primitives::decode::{CheckedHrpstringError, ChecksumError};
        let chars = text.chars().count();
        if chars != ADDRESS_CHARS {
            return Err(AddressError::Length(chars));
        }
        let lower = text.to_ascii_lowercase();
        if !lower.starts_with(ADDRESS_PREFIX) || lower.as_bytes().get(ADDRESS_PREFIX.len()) != Some(&b'1') {
            return Err(AddressError::Prefix);
        }
        let decoded = CheckedHrpstring::new::<Bech32m>(text).map_err(|error| match error {
            CheckedHrpstringError::Checksum(ChecksumError::InvalidResidue(_)) => AddressError::Checksum,
            _ => AddressError::Character,
        })?;
        let mut key = [0; 32];
        let mut bytes = decoded.byte_iter();
        for byte in &mut key {
            *byte = bytes.next().ok_or(AddressError::Checksum)?;
        }
        let address = Self(PublicKey(key));
        // four bits of padding are left over: they must be those of the encoder
        if address.to_string() == lower { Ok(address) } else { Err(AddressError::Checksum) }
    }
}
