//! Time as data: floors 0–3 never read a clock, the driver hands a [`Timestamp`] in. And what something usually takes.

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

/// What something takes that happens again and again: mean and mean deviation, smoothed as in RFC 6298.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TypicalTime {
    mean: Option<Duration>,
    deviation: Duration,
}

impl TypicalTime {
    /// It took so long once more.
    pub fn note(&mut self, took: Duration) {
        let Some(mean) = self.mean else {
            (self.mean, self.deviation) = (Some(took), took / 2);
            return;
        };
        self.deviation = self.deviation * 3 / 4 + mean.abs_diff(took) / 4;
        self.mean = Some(mean * 7 / 8 + took / 8);
    }

    /// The mean, and so many deviations more; `None` before anything was noted.
    pub fn with_deviations(&self, count: u32) -> Option<Duration> {
        self.mean.map(|mean| mean + self.deviation * count)
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn noted(times: impl IntoIterator<Item = u64>) -> TypicalTime {
        let mut typical = TypicalTime::default();
        times.into_iter().for_each(|time| typical.note(ms(time)));
        typical
    }

    #[test]
    fn a_typical_time_follows_what_is_noted_up_and_down() {
        assert_eq!(noted([]).with_deviations(4), None);
        assert_eq!((noted([100]).with_deviations(0), noted([100]).with_deviations(4)), (Some(ms(100)), Some(ms(300))));
        assert!(noted([10; 50]).with_deviations(4).unwrap() < ms(11));
        let slower = noted([[10; 50], [800; 50]].concat());
        assert!(slower.with_deviations(0).unwrap() > ms(750) && slower.with_deviations(4).unwrap() < ms(1_000));
        assert!(noted([[10; 50], [800; 50], [10; 50]].concat()).with_deviations(4).unwrap() < ms(50));
    }

    #[test]
    fn times_that_vary_are_given_more() {
        let (even, uneven) = (noted([200; 100]), noted([100, 300].repeat(50)));
        assert!(uneven.with_deviations(4).unwrap() > even.with_deviations(4).unwrap() + ms(200), "{even:?} {uneven:?}");
    }
}
