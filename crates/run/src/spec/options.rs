//! How the points of a file are carried out: `[sweep]` and `[knee]`.

use serde::{Deserialize, Serialize};

use super::check::{Problem, require, seconds};

/// What is done with a sweep that would take longer than its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverBudget {
    /// Nothing is started.
    #[default]
    Refuse,
    /// Fewer repeats, down to one; refused when one is too long, too.
    FewerRepeats,
}

/// Which stores stay after the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoresKept {
    /// All.
    #[default]
    All,
    /// One per committee, from which the verdict can be worked out again.
    One,
    /// None: the verdict stands for itself.
    None,
}

/// `[sweep]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SweepOptions {
    /// Runs of each point.
    pub repeats: usize,
    /// The order of the points within a repeat is drawn from it.
    pub seed: u64,
    /// Seconds that all may take together; 0: no budget.
    pub budget_s: f64,
    /// What is done when the estimate is above it.
    pub over_budget: OverBudget,
    /// Which stores stay.
    pub stores: StoresKept,
    /// Points that are not run: all whose grid has these values.
    pub leave_out: Vec<toml::Table>,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self {
            repeats: 1,
            seed: 1,
            budget_s: 0.0,
            over_budget: OverBudget::Refuse,
            stores: StoresKept::All,
            leave_out: Vec::new(),
        }
    }
}

impl SweepOptions {
    pub(super) fn check(&self) -> Result<(), Problem> {
        require((1..=1_000).contains(&self.repeats), "sweep.repeats", "must be 1 to 1,000")?;
        seconds(self.budget_s, "sweep.budget_s")?;
        require(i64::try_from(self.seed).is_ok(), "sweep.seed", "must be below 2^63, as TOML knows no larger integers")
    }
}

/// `[knee]`: what a knee search looks for, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KneeOptions {
    /// The objective: 99th percentile of the latency, in milliseconds.
    pub p99_ms_max: f64,
    /// Share of the offered payments that need not be certified in the end.
    #[serde(default)]
    pub loss_max: f64,
    /// Widest bracket that counts as found.
    #[serde(default = "defaults::bracket")]
    pub bracket: f64,
    /// Runs at each end of the bracket.
    #[serde(default = "defaults::repeats")]
    pub repeats: usize,
    /// How many of them must pass at the lower end and fail at the upper one.
    #[serde(default = "defaults::needed")]
    pub needed: usize,
    /// The first rate: this share of what a closed loop reaches.
    #[serde(default = "defaults::start")]
    pub start: f64,
    /// Factor between two rates until one passes and one fails.
    #[serde(default = "defaults::growth")]
    pub growth: f64,
    /// Payments in flight in the closed loop.
    #[serde(default = "defaults::probe_in_flight")]
    pub probe_in_flight: usize,
    /// The search gives up after so many measurements.
    #[serde(default = "defaults::measurements_max")]
    pub measurements_max: usize,
}

mod defaults {
    pub(super) const fn bracket() -> f64 {
        0.05
    }
    pub(super) const fn repeats() -> usize {
        5
    }
    pub(super) const fn needed() -> usize {
        4
    }
    pub(super) const fn start() -> f64 {
        0.7
    }
    pub(super) const fn growth() -> f64 {
        1.25
    }
    pub(super) const fn probe_in_flight() -> usize {
        8_192
    }
    pub(super) const fn measurements_max() -> usize {
        60
    }
}

impl KneeOptions {
    pub(super) fn check(&self) -> Result<(), Problem> {
        require(self.p99_ms_max > 0.0 && self.p99_ms_max.is_finite(), "knee.p99_ms_max", "must be above 0")?;
        require((0.0..1.0).contains(&self.loss_max), "knee.loss_max", "must be 0 or more and below 1")?;
        require(self.bracket >= 0.001 && self.bracket <= 1.0, "knee.bracket", "must be 0.001 to 1")?;
        require((1..=100).contains(&self.repeats), "knee.repeats", "must be 1 to 100")?;
        let majority = 2 * self.needed > self.repeats && self.needed <= self.repeats;
        require(majority, "knee.needed", "must be more than half of `repeats`, and no more than all")?;
        require(self.start > 0.0 && self.start <= 1.0, "knee.start", "must be above 0 and at most 1")?;
        let factor = self.growth > 1.0 + self.bracket && self.growth <= 10.0;
        require(factor, "knee.growth", "must be above 1 + `bracket` and at most 10")?;
        require(self.probe_in_flight >= 1, "knee.probe_in_flight", "must be at least 1")?;
        let enough = (2 * self.repeats..=1_000).contains(&self.measurements_max);
        require(enough, "knee.measurements_max", "must be at least twice `repeats` and at most 1,000")
    }
}
