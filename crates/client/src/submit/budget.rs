//! How many repetitions there may be. No I/O, no clock.
//!
//! When a whole committee is slow, patience with each of its members ends, and to send everything once more to others makes
//! it slower still, until it does nothing but look at repetitions. So they have to be paid for: by what was settled. A
//! member that is lost costs its share of what is in flight, which is saved up while all goes well.

use tokio::time::Instant;

/// Repetitions that a settled transaction pays for.
const EARNED: f64 = 0.25;
/// Repetitions per second that are free, and share of what is in flight that is: lest everybody waits for ever for what
/// everybody has lost.
const FREE_PER_SECOND: f64 = 50.0;
const FREE_SHARE_PER_SECOND: f64 = 0.005;
/// What can be saved, and share of what is in flight that can be.
const SAVED_MIN: f64 = 1_024.0;
const SAVED_SHARE: f64 = 0.5;

/// Repetitions that may still be made.
#[derive(Debug)]
pub(super) struct Budget {
    left: f64,
    counted_at: Option<Instant>,
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self { left: SAVED_MIN, counted_at: None }
    }

    /// So many were settled while so many were in flight.
    pub(super) fn settled(&mut self, count: usize, in_flight: usize) {
        self.earn(count as f64 * EARNED, in_flight);
    }

    /// Whether so many repetitions may be made now; all or none.
    pub(super) fn take(&mut self, count: usize, in_flight: usize, now: Instant) -> bool {
        let since = self.counted_at.replace(now).map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.earn(since * FREE_PER_SECOND.max(in_flight as f64 * FREE_SHARE_PER_SECOND), in_flight);
        let enough = self.left >= count as f64;
        if enough {
            self.left -= count as f64;
        }
        enough
    }

    fn earn(&mut self, earned: f64, in_flight: usize) {
        let most = SAVED_MIN.max(in_flight as f64 * SAVED_SHARE);
        // what was saved for more in flight stays
        self.left = (self.left + earned).min(most.max(self.left));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_lost_member_is_paid_for_and_a_slow_committee_is_not() {
        let start = Instant::now();
        let mut budget = Budget::new();
        budget.settled(100_000, 8_000);
        assert!(budget.take(2_000, 8_000, start), "a quarter of what is in flight");
        assert!(budget.take(2_000, 8_000, start), "and another one");
        assert!(!budget.take(2_000, 8_000, start));
        budget.settled(4_000, 8_000);
        assert!(budget.take(1_000, 8_000, start) && !budget.take(1, 8_000, start), "a quarter of what was settled");
    }

    #[test]
    fn when_nothing_is_settled_a_little_is_tried_again() {
        let start = Instant::now();
        let mut budget = Budget::new();
        assert!(budget.take(1_024, 0, start) && !budget.take(50, 0, start));
        assert!(budget.take(50, 0, start + Duration::from_secs(1)));
        assert!(!budget.take(1, 0, start + Duration::from_secs(1)));
        assert!(budget.take(250, 50_000, start + Duration::from_secs(2)), "half a percent of what is in flight");
    }
}
