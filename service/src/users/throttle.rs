//! Slows down who guesses passwords, who asks too much, and who keeps too much open. In memory: a restart forgets, which costs an
//! attacker nothing worth having.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Attempts without a pause: with a name from one address, with a name from anywhere.
const FREE: u32 = 5;
const FREE_ANYWHERE: u32 = 100;
/// First pause, doubled with each further attempt, and the longest.
const PAUSE_US: u64 = 2_000_000;
const PAUSE_US_MAX: u64 = 900_000_000;
/// The longest for a name: who guesses from everywhere shall not lock its owner out for long.
const PAUSE_ANYWHERE_US_MAX: u64 = 30_000_000;
/// Entries kept; when there are more, those that say nothing any more go.
const ENTRIES_MAX: usize = 50_000;

/// Login attempts that did not succeed, by name and address and by name alone. An attempt counts before it is
/// tried, so that many at the same time count as many.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<String, (u32, u64)>>);

impl Attempts {
    /// Counts an attempt; refuses it, with the ms to wait, when there were too many.
    pub fn begin(&self, name: &str, address: &str, now_us: u64) -> Result<(), u64> {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = format!("{name} {address}");
        for key in [here.as_str(), name] {
            if let Some((_, until)) = attempts.get(key)
                && *until > now_us
            {
                return Err((until - now_us).div_ceil(1_000));
            }
        }
        if attempts.len() >= ENTRIES_MAX {
            attempts.retain(|_, (_, until)| *until + PAUSE_US_MAX > now_us);
        }
        for (key, free, longest) in
            [(here, FREE, PAUSE_US_MAX), (name.to_owned(), FREE_ANYWHERE, PAUSE_ANYWHERE_US_MAX)]
        {
            let (count, until) = attempts.entry(key).or_insert((0, now_us));
            if *until + PAUSE_US_MAX < now_us {
                *count = 0;
            }
            *count += 1;
            let doubled = count.saturating_sub(free).min(20);
            *until = if *count < free { now_us } else { now_us + (PAUSE_US << doubled).min(longest) };
        }
        Ok(())
    }

    /// The attempt succeeded: those before it from the same address are forgiven, and this one everywhere.
    pub fn succeeded(&self, name: &str, address: &str) {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.remove(&format!("{name} {address}"));
        if let Some((count, until)) = attempts.get_mut(name) {
            *count = count.saturating_sub(1);
            *until = if *count < FREE_ANYWHERE { 0 } else { *until };
        }
    }
}

/// Places of which each name may hold some at a time.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<Mutex<HashMap<String, u32>>>);

/// A place that is held; given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    name: String,
}

impl Places {
    /// A place for a name, unless it holds `most` already.
    pub fn take(&self, name: &str, most: u32) -> Option<Place> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(name.to_owned()).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { places: self.clone(), name: name.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.name);
            }
        }
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
        for _ in 0..FREE {
            assert_eq!(attempts.begin("ann", "here", 1_000), Ok(()));
        }
        assert_eq!(attempts.begin("ann", "here", 1_000), Err(2_000));
        assert_eq!(attempts.begin("ann", "there", 1_000), Ok(()), "her own address is not locked");
        assert_eq!(attempts.begin("bob", "here", 1_000), Ok(()));
        let mut now = 1_000;
        for _ in 0..30 {
            now += 900_000_000;
            assert_eq!(attempts.begin("ann", "here", now), Ok(()));
        }
        assert_eq!(attempts.begin("ann", "here", now), Err(900_000), "never longer");
        attempts.succeeded("ann", "here");
        assert_eq!(attempts.begin("ann", "here", now), Ok(()));
    }

    #[test]
    fn guessing_from_everywhere_gets_slow_for_a_short_time() {
        let attempts = Attempts::default();
        for n in 0..FREE_ANYWHERE {
            assert_eq!(attempts.begin("ann", &format!("10.0.{n}.1"), 1_000), Ok(()), "{n}");
        }
        assert_eq!(attempts.begin("ann", "home", 1_000), Err(2_000));
        for n in 0..20 {
            let now = 1_000 + (n + 1) * PAUSE_ANYWHERE_US_MAX;
            assert_eq!(attempts.begin("ann", &format!("10.1.{n}.1"), now), Ok(()));
        }
        assert_eq!(attempts.begin("ann", "home", 1_000 + 21 * PAUSE_ANYWHERE_US_MAX), Ok(()));
    }

    #[test]
    fn places_come_back() {
        let places = Places::default();
        let mut held: Vec<Place> = (0..3).map(|_| places.take("a", 3).unwrap()).collect();
        assert!(places.take("a", 3).is_none() && places.take("b", 3).is_some());
        held.pop();
        assert!(places.take("a", 3).is_some());
        drop(held);
        assert!(places.0.lock().unwrap().is_empty(), "nothing is kept of who holds nothing");
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
