//! Latency histograms: fixed log-linear buckets of atomics.
//!
//! Values are microseconds. Below 64 µs every value has its bucket; above, each power of two is cut into
//! 32, so a reported percentile (the middle of its bucket) is at most 1.6 % away from a recorded value.
//! Values above [`VALUE_MAX`] (19 hours) count as that. Recording is three relaxed atomic operations.
//!
//! Counts are exact: [`Cells::take`] moves every recorded value into exactly one interval. The sum and
//! the largest value are taken beside the buckets, so a value recorded at that very moment may have its
//! bucket in one interval and its share of the sum in the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// log2 of the buckets per power of two.
const SUB_BITS: u32 = 5;
/// Buckets per power of two.
const SUB: usize = 1 << SUB_BITS;
/// Values below this have their own bucket.
const LINEAR: usize = 2 * SUB;
/// Powers of two above the linear part.
const OCTAVES: usize = 30;
/// Number of buckets.
const BUCKETS: usize = LINEAR + OCTAVES * SUB;
/// Largest value told apart: 2^36 − 1 µs.
const VALUE_MAX: u64 = (1 << (SUB_BITS as usize + 1 + OCTAVES)) - 1;

/// The bucket of a value.
const fn bucket(value: u64) -> usize {
    let value = if value > VALUE_MAX { VALUE_MAX } else { value };
    if value < LINEAR as u64 {
        return value as usize;
    }
    let shift = (63 - value.leading_zeros()) - SUB_BITS;
    (shift as usize) * SUB + (value >> shift) as usize
}

/// Lowest value of a bucket, and how many values it holds.
const fn bounds(bucket: usize) -> (u64, u64) {
    if bucket < LINEAR {
        return (bucket as u64, 1);
    }
    let shift = bucket / SUB - 1;
    (((bucket - shift * SUB) as u64) << shift, 1 << shift)
}

/// The atomics of a histogram.
pub(crate) struct Cells {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    max: AtomicU64,
}

impl Cells {
    pub(crate) fn new() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, sum: AtomicU64::new(0), max: AtomicU64::new(0) }
    }

    fn record(&self, value_us: u64, times: u64) {
        self.buckets[bucket(value_us)].fetch_add(times, Relaxed);
        self.sum.fetch_add(value_us.wrapping_mul(times), Relaxed);
        if value_us > self.max.load(Relaxed) {
            self.max.fetch_max(value_us, Relaxed);
        }
    }

    /// Moves what was recorded since the last time out.
    pub(crate) fn take(&self) -> HistogramSnapshot {
        let mut taken = HistogramSnapshot::default();
        for (index, cell) in self.buckets.iter().enumerate() {
            if cell.load(Relaxed) != 0 {
                let count = cell.swap(0, Relaxed);
                taken.count += count;
                taken.buckets.push((index, count));
            }
        }
        if taken.count > 0 {
            taken.sum_us = self.sum.swap(0, Relaxed);
            taken.max_us = self.max.swap(0, Relaxed);
        }
        taken
    }
}

/// A handle to record latencies with; clones share the histogram.
#[derive(Clone)]
pub struct Histogram(pub(crate) Arc<Cells>);

impl Histogram {
    /// Records a latency in microseconds.
    pub fn record(&self, us: u64) {
        self.0.record(us, 1);
    }

    /// Records the same latency for `times` payments: what a block's payments share.
    pub fn record_many(&self, us: u64, times: u64) {
        if times > 0 {
            self.0.record(us, times);
        }
    }

    /// Records a duration, in whole microseconds.
    pub fn record_duration(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }
}

/// What a histogram recorded in an interval. Snapshots of several servers or intervals can be merged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistogramSnapshot {
    /// (bucket, count), ascending, none empty.
    buckets: Vec<(usize, u64)>,
    count: u64,
    sum_us: u64,
    max_us: u64,
}

impl HistogramSnapshot {
    /// Number of values.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their sum in microseconds (wraps only beyond half a million years).
    pub const fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The largest one, exact.
    pub const fn max_us(&self) -> u64 {
        self.max_us
    }

    /// The value below or at which `share` (0 to 1) of the values lie, to 1.6 %; never above the
    /// largest one. 0 when nothing was recorded.
    pub fn percentile_us(&self, share: f64) -> u64 {
        let rank = ((share.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (index, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                let (low, width) = bounds(*index);
                return (low + (width - 1) / 2).min(self.max_us.max(low));
            }
        }
        0
    }

    /// Adds what another histogram recorded.
    pub fn merge(&mut self, other: &Self) {
        let mut merged = Vec::with_capacity(self.buckets.len().max(other.buckets.len()));
        let (mut a, mut b) = (self.buckets.iter().peekable(), other.buckets.iter().peekable());
        loop {
            let next = match (a.peek(), b.peek()) {
                (Some(x), Some(y)) if x.0 == y.0 => (x.0, x.1 + y.1),
                (Some(x), Some(y)) => **x.min(y),
                (Some(x), None) => **x,
                (None, Some(y)) => **y,
                (None, None) => break,
            };
            a.next_if(|x| x.0 == next.0);
            b.next_if(|y| y.0 == next.0);
            merged.push(next);
        }
        self.buckets = merged;
        self.count += other.count;
        self.sum_us = self.sum_us.wrapping_add(other.sum_us);
        self.max_us = self.max_us.max(other.max_us);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_cover_all_values_without_gap() {
        let mut next = 0;
        for index in 0..BUCKETS {
            let (low, width) = bounds(index);
            assert_eq!(low, next, "bucket {index}");
            assert_eq!((bucket(low), bucket(low + width - 1)), (index, index));
            next = low + width;
        }
        assert_eq!(next, VALUE_MAX + 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn an_interval_ends_with_the_snapshot() {
        let cells = Arc::new(Cells::new());
        let histogram = Histogram(cells.clone());
        histogram.record(10);
        histogram.record_many(1_000, 3);
        histogram.record_many(5, 0);
        histogram.record_duration(Duration::from_millis(2));
        let first = cells.take();
        assert_eq!((first.count(), first.sum_us(), first.max_us()), (5, 5_010, 2_000));
        assert_eq!(first.percentile_us(0.0), 10);
        assert_eq!(cells.take(), HistogramSnapshot::default());
        assert_eq!(cells.take().percentile_us(0.99), 0);
    }

    proptest! {
        #[test]
        fn percentiles_are_within_two_percent(mut values in prop::collection::vec(0u64..100_000_000, 1..500), share in 0.0f64..=1.0) {
            let cells = Arc::new(Cells::new());
            values.iter().for_each(|value| Histogram(cells.clone()).record(*value));
            values.sort_unstable();
            let rank = ((share * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let reported = cells.take().percentile_us(share);
            prop_assert!(reported.abs_diff(exact) as f64 <= exact as f64 * 0.02, "{reported} for {exact}");
        }

        #[test]
        fn merging_equals_recording_together(a in prop::collection::vec(0u64..10_000_000, 0..200), b in prop::collection::vec(0u64..10_000_000, 0..200)) {
            let record = |parts: &[&[u64]]| {
                let cells = Arc::new(Cells::new());
                parts.iter().flat_map(|part| part.iter()).for_each(|value| Histogram(cells.clone()).record(*value));
                cells.take()
            };
            let mut merged = record(&[&a]);
            merged.merge(&record(&[&b]));
            prop_assert_eq!(merged, record(&[&a, &b]));
        }
    }
}
