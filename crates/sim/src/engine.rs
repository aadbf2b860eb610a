//! Virtual time: one heap of events, ordered by (time, sequence).
//!
//! Guarantees: events of equal time come out in the order in which they were put in, so a run is a
//! function of its seed alone. Time never goes back.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Microseconds of virtual time since the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// That many milliseconds after the start.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis * 1_000)
    }

    /// The time `wait` later.
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0 + u64::try_from(wait.as_micros()).expect("waits are short"))
    }

    /// How long after `earlier` this is.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Seconds, for people.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

struct Entry<E> {
    at: Instant,
    sequence: u64,
    event: E,
}

/// The events still to come.
pub struct Timeline<E> {
    now: Instant,
    sequence: u64,
    heap: BinaryHeap<Entry<E>>,
}

impl<E> Timeline<E> {
    /// Nothing is to come.
    pub fn new() -> Self {
        Self { now: Instant(0), sequence: 0, heap: BinaryHeap::new() }
    }

    /// The time of the event taken last.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Plans `event` for `at`, or for now if that is past.
    pub fn at(&mut self, at: Instant, event: E) {
        self.sequence += 1;
        self.heap.push(Entry { at: at.max(self.now), sequence: self.sequence, event });
    }

    /// Plans `event` for `wait` from now.
    pub fn after(&mut self, wait: Duration, event: E) {
        self.at(self.now.after(wait), event);
    }

    /// Takes the next event and moves time to it.
    pub fn take(&mut self) -> Option<E> {
        let entry = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }
}

impl<E> Default for Timeline<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}
impl<E> Eq for Entry<E> {}
impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Entry<E> {
    /// The heap gives its largest entry first, so the earliest counts as the largest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_order() {
        let mut line = Timeline::new();
        line.at(Instant(5), 'c');
        line.at(Instant(1), 'a');
        line.at(Instant(5), 'd');
        line.at(Instant(2), 'b');
        let order: String = std::iter::from_fn(|| line.take()).collect();
        assert_eq!(order, "abcd");
        assert_eq!(line.now(), Instant(5));
        line.at(Instant(3), 'x');
        assert_eq!((line.take(), line.now(), line.take()), (Some('x'), Instant(5), None));
    }
}
