//! Latencies from intended times, by kind and committee: of the second that runs, and since they were last shown.

use std::collections::BTreeMap;
use std::time::Instant;

use hdrhistogram::Histogram;
use shardpay_run::{LatencyTag, new_latencies};

/// Histograms by tag.
pub type ByTag = BTreeMap<LatencyTag, Histogram<u64>>;

/// What was recorded and not taken yet.
#[derive(Default)]
pub struct Latencies {
    interval: ByTag,
    total: ByTag,
}

impl Latencies {
    /// Counts what ended at `now`; only what is `measured` enters intervals.
    pub fn record(&mut self, tag: LatencyTag, (intended, now): (Instant, Instant), measured: bool) {
        let micros = now.saturating_duration_since(intended).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX).max(1);
        self.total.entry(tag).or_insert_with(new_latencies).saturating_record(micros);
        if measured {
            self.interval.entry(tag).or_insert_with(new_latencies).saturating_record(micros);
        }
    }

    /// The latencies of the interval that ends now.
    pub fn take_interval(&mut self) -> ByTag {
        std::mem::take(&mut self.interval)
    }

    /// Latencies since the last call of this.
    pub fn take_total(&mut self) -> ByTag {
        std::mem::take(&mut self.total)
    }
}
