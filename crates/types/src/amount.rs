//! Money: micro-units of the coin in a `u64`, checked arithmetic only.

use std::fmt;

use crate::codec::{Codec, DecodeError, Reader};

/// Micro-units per coin.
pub const MICROS_PER_COIN: u64 = 1_000_000;

/// An amount of money in micro-units (1 coin = 1,000,000).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// That many micro-units.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }
    /// The number of micro-units.
    pub const fn micros(self) -> u64 {
        self.0
    }
    /// The sum, unless it overflows.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
    /// The difference, unless `other` is larger.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / MICROS_PER_COIN, self.0 % MICROS_PER_COIN)
    }
}
impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Codec for Amount {
    const MIN_LEN: usize = 8;
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u64::decode(reader).map(Self)
    }
}

/// A total over many accounts or payments: a sum of [`Amount`]s that cannot overflow in practice
/// (2^64 maximal amounts fit).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Total(u128);

impl Total {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// That many micro-units.
    pub const fn from_micros(micros: u128) -> Self {
        Self(micros)
    }
    /// The number of micro-units.
    pub const fn micros(self) -> u128 {
        self.0
    }
    /// The total with `amount` more; `None` on overflow.
    pub const fn checked_add(self, amount: Amount) -> Option<Self> {
        match self.0.checked_add(amount.0 as u128) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
    /// The total with `amount` less; `None` when it is smaller than that.
    pub const fn checked_sub(self, amount: Amount) -> Option<Self> {
        match self.0.checked_sub(amount.0 as u128) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }
    /// The sum of two totals; `None` on overflow.
    pub const fn checked_plus(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

impl fmt::Debug for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = u128::from(MICROS_PER_COIN);
        write!(f, "{}.{:06}", self.0 / unit, self.0 % unit)
    }
}

impl Codec for Total {
    const MIN_LEN: usize = 16;
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u128::decode(reader).map(Self)
    }
}
