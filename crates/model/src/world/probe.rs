//! Wall-clock times of what is really done in a run, by stage: what the calibration makes costs of.

use std::time::{Duration, Instant};

use crate::costs::Linear;

/// Calls of a stage, payments in them, time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sum {
    /// How often.
    pub calls: f64,
    /// Payments or credits in all of them.
    pub items: f64,
    /// Microseconds.
    pub us: f64,
}

/// The stages that are timed.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// A peer's message is checked.
    pub check: Sum,
    /// A client's batch is checked.
    pub admit: Sum,
    /// The replica takes an input.
    pub core: Sum,
    /// A commit is executed.
    pub execute: Sum,
    /// A client checks a block.
    pub client: Sum,
}

impl Sum {
    /// Adds a call that began at `start`.
    pub(super) fn add(&mut self, items: usize, start: Instant) {
        self.calls += 1.0;
        self.items += items as f64;
        self.us += us(start.elapsed());
    }

    /// The cost that gives both sums: `us = calls × fixed + items × each`. `self` has more items per call.
    pub fn solve(&self, small: &Self) -> Linear {
        let per_call = |sum: &Self| (sum.items / sum.calls, sum.us / sum.calls);
        Linear::through(per_call(small), per_call(self))
    }
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sums_give_both_parts() {
        let sum = |calls: f64, items: f64| Sum { calls, items, us: 3.0 * calls + 0.5 * items };
        let cost = sum(10.0, 1_000.0).solve(&sum(100.0, 50.0));
        assert!((cost.fixed_us - 3.0).abs() < 1e-9 && (cost.each_us - 0.5).abs() < 1e-9, "{cost:?}");
    }
}
