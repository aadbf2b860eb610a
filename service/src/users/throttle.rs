//! Slows down who guesses passwords, and who asks too much. In memory: a restart forgets, which costs an
//! attacker nothing worth having.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Failed attempts without a pause.
const FREE: u32 = 5;
/// First pause, doubled with each further failure, and the longest.
const PAUSE_US: u64 = 2_000_000;
const PAUSE_US_MAX: u64 = 900_000_000;
/// Entries kept; when there are more, those that say nothing any more go.
const ENTRIES_MAX: usize = 50_000;

/// Failed logins by name.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<String, (u32, u64)>>);

impl Attempts {
    /// How long to wait before the next attempt, in ms; nothing: go on.
    pub fn wait_ms(&self, name: &str, now_us: u64) -> Option<u64> {
        let attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = attempts.get(name)?.1;
        (until > now_us).then(|| (until - now_us).div_ceil(1_000))
    }

    /// An attempt failed.
    pub fn failed(&self, name: &str, now_us: u64) {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if attempts.len() >= ENTRIES_MAX {
            attempts.retain(|_, (_, until)| *until + PAUSE_US_MAX > now_us);
        }
        let (count, until) = attempts.entry(name.to_owned()).or_insert((0, 0));
        if *until + PAUSE_US_MAX < now_us && *until != 0 {
            *count = 0;
        }
        *count += 1;
        let doubled = count.saturating_sub(FREE).min(20);
        *until = if *count < FREE { now_us } else { now_us + (PAUSE_US << doubled).min(PAUSE_US_MAX) };
    }

    /// An attempt succeeded.
    pub fn succeeded(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// Token buckets by name: so many requests per second, and a burst.
#[derive(Debug)]
pub struct Buckets {
    per_second: u64,
    burst: u64,
    /// Thousandths of a request, and when they were counted.
    buckets: Mutex<HashMap<String, (u64, u64)>>,
}

impl Buckets {
    /// Buckets that refill at `per_second` up to `burst`.
    pub fn new(per_second: u64, burst: u64) -> Self {
        Self { per_second, burst, buckets: Mutex::default() }
    }

    /// Takes one request; how long to wait in ms when there is none.
    pub fn take(&self, name: &str, now_us: u64) -> Result<(), u64> {
        let full = self.burst * 1_000;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let refill = |(level, at): (u64, u64)| {
            let gained = now_us.saturating_sub(at).saturating_mul(self.per_second) / 1_000;
            (level.saturating_add(gained)).min(full)
        };
        if buckets.len() >= ENTRIES_MAX {
            buckets.retain(|_, bucket| refill(*bucket) < full);
        }
        let bucket = buckets.entry(name.to_owned()).or_insert((full, now_us));
        let level = refill(*bucket);
        if level < 1_000 {
            return Err(((1_000 - level) / self.per_second.max(1)).max(1));
        }
        *bucket = (level - 1_000, now_us);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_gets_slow_and_success_forgives() {
        let attempts = Attempts::default();
        for _ in 1..FREE {
            attempts.failed("a", 1_000);
            assert_eq!(attempts.wait_ms("a", 1_000), None);
        }
        attempts.failed("a", 1_000);
        assert_eq!(attempts.wait_ms("a", 1_000), Some(2_000));
        assert_eq!(attempts.wait_ms("b", 1_000), None);
        for _ in 0..100 {
            attempts.failed("a", 1_000);
        }
        assert_eq!(attempts.wait_ms("a", 1_000), Some(900_000), "never longer");
        attempts.succeeded("a");
        assert_eq!(attempts.wait_ms("a", 1_000), None);
    }

    #[test]
    fn buckets_refill() {
        let buckets = Buckets::new(10, 3);
        for _ in 0..3 {
            assert_eq!(buckets.take("a", 0), Ok(()));
        }
        assert_eq!(buckets.take("a", 0), Err(100));
        assert_eq!(buckets.take("b", 0), Ok(()));
        assert_eq!(buckets.take("a", 99_999), Err(1));
        assert_eq!(buckets.take("a", 100_000), Ok(()));
        assert!(buckets.take("a", 100_000).is_err());
    }
}
