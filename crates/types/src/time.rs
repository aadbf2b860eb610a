//! Time as data: floors 0–3 never read a clock, the driver hands a [`Timestamp`] in.

use std::fmt;
use std::time::Duration;

use crate::codec::{Codec, DecodeError, Reader};
use crate::ids::COUNTER_MAX;

/// Microseconds since the Unix epoch (real runs) or since the start (simulated runs).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The start of time; as a transaction's `valid_until`: no limit.
    pub const ZERO: Self = Self(0);

    /// That many microseconds; values above [`COUNTER_MAX`] become `COUNTER_MAX`.
    pub const fn from_micros(micros: u64) -> Self {
        Self(if micros > COUNTER_MAX { COUNTER_MAX } else { micros })
    }
    /// That many milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self::from_micros(millis.saturating_mul(1000))
    }
    /// The number of microseconds.
    pub const fn micros(self) -> u64 {
        self.0
    }
    /// The time `duration` later; stays at the bound.
    pub fn after(self, duration: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(u64::try_from(duration.as_micros()).unwrap_or(COUNTER_MAX)))
    }
    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl Codec for Timestamp {
    const MIN_LEN: usize = 8;
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let value = u64::decode(reader)?;
        if value > COUNTER_MAX {
            return Err(DecodeError::OutOfRange { what: "Timestamp", value, max: COUNTER_MAX });
        }
        Ok(Self(value))
    }
}
