//! `result.json` of a loadgen process: what was offered, sent and refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::dir::{RunDir, RunError, read_json};
use crate::shortfall::Shortfall;

/// What a loadgen process did. Several processes of one run are added up with [`LoadResult::merge`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LoadResult {
    /// When the load began, in microseconds since the Unix epoch.
    pub started_us: u64,
    /// Seconds of load.
    pub seconds: f64,
    /// Rate asked for, per second; the mean when it changes, 0 for a closed loop.
    pub asked_per_second: f64,
    /// Rate found by the probe of a fraction load, per second; 0 without one.
    pub probe_per_second: f64,
    /// Payments whose time to be sent came.
    pub offered: u64,
    /// Payments sent, each counted once.
    pub sent: u64,
    /// Of the offered, those that were not sent: too late, too many in flight, none signed.
    pub skipped: u64,
    /// Payments sent again.
    pub resent: u64,
    /// Payments refused for good, and answers `Busy`, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Sent, and neither certified nor refused when the run ended.
    pub unresolved: u64,
    /// 99th percentile of how late payments were sent after their time, in microseconds.
    pub send_lag_p99_us: u64,
    /// CPU time of the process over the load, in microseconds.
    pub cpu_us: u64,
    /// Share of all the machine's cores in use over the load; 1 is all of them.
    #[serde(default)]
    pub machine_busy: f64,
    /// Why the load fell short of what was asked; empty when it did not.
    #[serde(default)]
    pub shortfalls: Vec<Shortfall>,
    /// Per second of the load.
    pub series: Vec<SecondCounts>,
}

/// Counts of one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SecondCounts {
    /// Payments offered.
    pub offered: u64,
    /// Payments sent.
    pub sent: u64,
    /// Payments certified: within a committee, or credited at the other one.
    pub certified: u64,
}

impl LoadResult {
    /// What all load generators of a run did, added up.
    pub fn of_run(dir: &RunDir, processes: usize) -> Result<Self, RunError> {
        let mut all = Self::default();
        for process in 0..processes {
            all.merge(&read_json(&dir.load_result(process))?);
        }
        Ok(all)
    }

    /// Adds another process's figures. Rates and counts add up; times are those of the longer one.
    pub fn merge(&mut self, other: &Self) {
        self.started_us = if self.started_us == 0 { other.started_us } else { self.started_us.min(other.started_us) };
        self.seconds = self.seconds.max(other.seconds);
        self.asked_per_second += other.asked_per_second;
        self.probe_per_second += other.probe_per_second;
        self.offered += other.offered;
        self.sent += other.sent;
        self.skipped += other.skipped;
        self.resent += other.resent;
        self.unresolved += other.unresolved;
        self.cpu_us += other.cpu_us;
        self.send_lag_p99_us = self.send_lag_p99_us.max(other.send_lag_p99_us);
        self.machine_busy = self.machine_busy.max(other.machine_busy);
        Shortfall::merge(&mut self.shortfalls, &other.shortfalls);
        for (reason, count) in &other.refusals {
            *self.refusals.entry(reason.clone()).or_default() += count;
        }
        self.series.resize(self.series.len().max(other.series.len()), SecondCounts::default());
        for (sum, counts) in self.series.iter_mut().zip(&other.series) {
            sum.offered += counts.offered;
            sum.sent += counts.sent;
            sum.certified += counts.certified;
        }
    }

    /// The share of the offered payments that were sent; 1 when none was offered.
    pub fn kept_rate(&self) -> f64 {
        if self.offered == 0 { 1.0 } else { self.sent as f64 / self.offered as f64 }
    }
}
