//! Many seeds on several threads, and their sum.
//!
//! A run that panics is a violation like any other: an assertion of the core that fails is what the
//! simulator looks for.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::checkers::Violation;
use crate::coverage::Coverage;
use crate::report::{Figures, Outcome, git_commit, replay_command};
use crate::scenario::{Overrides, Scenario};
use crate::world::World;

/// What to run.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Which seeds.
    pub seeds: Range<u64>,
    /// On how many threads.
    pub jobs: usize,
    /// What is not drawn.
    pub overrides: Overrides,
    /// No new seed is begun after that long.
    pub time_max: Option<Duration>,
    /// Stop at the first violation.
    pub stop_at_first: bool,
}

/// A violation found by a sweep.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// What is wrong.
    #[serde(flatten)]
    pub violation: Violation,
    /// The command that shows it again.
    pub replay: String,
}

/// The sum of a sweep.
#[derive(Debug, Clone, Serialize)]
pub struct SweepSummary {
    /// The commit.
    pub commit: String,
    /// Seeds run.
    pub seeds: u64,
    /// Wall time in seconds.
    pub wall_seconds: f64,
    /// Sums; of healing times the worst.
    pub figures: Figures,
    /// The seed that took longest to heal.
    pub slowest_heal_seed: u64,
    /// The seed that took longest to run, and how long.
    pub slowest_run: (u64, f64),
    /// Sums by name.
    pub coverage: Coverage,
    /// Required names that were not met.
    pub missing: Vec<&'static str>,
    /// How often planted bugs had their chance.
    pub planted: u64,
    /// How many runs had how many committees.
    pub committees: BTreeMap<usize, u64>,
    /// How many committees had how many members.
    pub sizes: BTreeMap<usize, u64>,
    /// Violations by seed.
    pub violations: Vec<Found>,
}

impl SweepSummary {
    fn new() -> Self {
        Self {
            commit: git_commit(),
            seeds: 0,
            wall_seconds: 0.0,
            figures: Figures::default(),
            slowest_heal_seed: 0,
            slowest_run: (0, 0.0),
            coverage: Coverage::default(),
            missing: Vec::new(),
            planted: 0,
            committees: BTreeMap::new(),
            sizes: BTreeMap::new(),
            violations: Vec::new(),
        }
    }

    fn add(&mut self, outcome: Outcome, took: f64, overrides: &Overrides) {
        self.seeds += 1;
        let (sum, one) = (&mut self.figures, &outcome.figures);
        sum.virtual_micros += one.virtual_micros;
        sum.events += one.events;
        sum.messages += one.messages;
        sum.payments += one.payments;
        sum.submitted += one.submitted;
        sum.certified += one.certified;
        sum.blocks += one.blocks;
        sum.commits += one.commits;
        sum.faults += one.faults;
        if one.heal_micros > sum.heal_micros {
            sum.heal_micros = one.heal_micros;
            self.slowest_heal_seed = outcome.seed;
        }
        if took > self.slowest_run.1 {
            self.slowest_run = (outcome.seed, took);
        }
        self.planted += outcome.planted;
        self.coverage.merge(&outcome.coverage);
        *self.committees.entry(outcome.sizes.len()).or_default() += 1;
        for size in &outcome.sizes {
            *self.sizes.entry(*size).or_default() += 1;
        }
        if let Some(violation) = outcome.violation {
            let replay = replay_command(outcome.seed, overrides);
            self.violations.push(Found { seed: outcome.seed, violation, replay });
        }
    }
}

impl Sweep {
    /// Runs all seeds. `progress` is called after each with (done, violations so far).
    pub fn run(&self, progress: &(dyn Fn(u64, u64) + Sync)) -> SweepSummary {
        let start = Instant::now();
        let next = AtomicU64::new(self.seeds.start);
        let stop = AtomicBool::new(false);
        let summary = Mutex::new(SweepSummary::new());
        let work = || {
            while !stop.load(Ordering::Relaxed) && self.time_max.is_none_or(|most| start.elapsed() < most) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= self.seeds.end {
                    break;
                }
                let began = Instant::now();
                let outcome = run_seed(seed, &self.overrides);
                let took = began.elapsed().as_secs_f64();
                let mut summary = summary.lock().expect("runs catch their panics");
                if outcome.violation.is_some() && self.stop_at_first {
                    stop.store(true, Ordering::Relaxed);
                }
                summary.add(outcome, took, &self.overrides);
                progress(summary.seeds, summary.violations.len() as u64);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(work);
            }
        });
        let mut summary = summary.into_inner().expect("runs catch their panics");
        summary.wall_seconds = start.elapsed().as_secs_f64();
        summary.missing = summary.coverage.missing();
        summary.violations.sort_by_key(|found| found.seed);
        summary
    }
}

/// Runs one seed; a panic is a violation.
pub(crate) fn run_seed(seed: u64, overrides: &Overrides) -> Outcome {
    let scenario = Scenario::draw(seed, overrides);
    let sizes = scenario.topology.sizes().to_vec();
    match catch_unwind(AssertUnwindSafe(|| World::run(scenario, None))) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            Outcome {
                seed,
                digest: crate::trace::TraceDigest([0; 32]),
                figures: Figures::default(),
                coverage: Coverage::default(),
                most_in_flight: 0,
                planted: 0,
                violation: Some(Violation::new("no panic", text.unwrap_or_default())),
                at: crate::engine::Instant(0),
                sizes,
            }
        }
    }
}
