//! The moment at which several processes that share a run begin their loads.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

/// A time of the system's clock, given as milliseconds since 1970 or in RFC 3339.
///
/// Held as milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartAt(u64);

impl StartAt {
    /// How long it is until then; `doing` names what it came too late for when that moment has passed.
    pub fn left(&self, now: SystemTime, doing: &str) -> Result<Duration> {
        match (UNIX_EPOCH + Duration::from_millis(self.0)).duration_since(now) {
            Ok(left) => Ok(left),
            Err(passed) => {
                bail!("--start-at {self}: that was {:.1} s ago, {doing}", passed.duration().as_secs_f64())
            }
        }
    }
}

impl FromStr for StartAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let ms = text.parse().ok().filter(|ms| timestamp(*ms).is_some());
            return ms.map(Self).ok_or_else(|| "so many milliseconds after 1970 there is no date".to_owned());
        }
        let time = text.parse::<jiff::Timestamp>().map_err(|error| {
            format!("write milliseconds since 1970, or a time such as 2026-11-24T12:00:00Z: {error}")
        })?;
        u64::try_from(time.as_millisecond()).map(Self).map_err(|_| "before 1970".to_owned())
    }
}

impl fmt::Display for StartAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match timestamp(self.0) {
            Some(time) => write!(f, "{time:.3}"),
            None => write!(f, "{}", self.0),
        }
    }
}

fn timestamp(ms: u64) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_mean_the_same() {
        let ms: StartAt = "1795523400250".parse().expect("milliseconds");
        for text in ["2026-11-24T12:30:00.250Z", "2026-11-24T13:30:00.25+01:00"] {
            assert_eq!(text.parse(), Ok(ms), "{text}");
        }
        assert_eq!(ms.to_string(), "2026-11-24T12:30:00.250Z");
        for text in ["", "soon", "12:30", "2026-11-24T12:30:00", "-5", "99999999999999999999"] {
            assert!(text.parse::<StartAt>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_time_that_has_passed_is_refused() {
        let at: StartAt = "1795523400250".parse().expect("milliseconds");
        let time = |ms| UNIX_EPOCH + Duration::from_millis(ms);
        assert_eq!(at.left(time(1_795_523_400_000), "too late").ok(), Some(Duration::from_millis(250)));
        let error = at.left(time(1_795_523_402_750), "too late to share a load").expect_err("passed").to_string();
        assert_eq!(error, "--start-at 2026-11-24T12:30:00.250Z: that was 2.5 s ago, too late to share a load");
    }
}
