//! Why a load fell short of what was asked, from what was counted.

use shardpay_run::{Lateness, LoadResult, SEND_LAG_P99_MAX_MS, SHORTFALL_SHARE, Shortfall};

use crate::cpu::CpuUse;
use crate::pacer::PaceCounts;

/// The causes that hold. `result` has its counts already.
pub fn shortfalls(result: &LoadResult, counts: &PaceCounts, cpu: &CpuUse, max_in_flight: usize) -> Vec<Shortfall> {
    let much = |count: u64| count > 0 && count.saturating_mul(SHORTFALL_SHARE) > result.offered;
    let late = Lateness {
        skipped: counts.skipped_late,
        lag_p99_ms: result.send_lag_p99_us as f64 / 1_000.0,
        loadgen_cores: cpu.own_cores,
        machine_busy: cpu.machine_busy,
    };
    let mut causes = Vec::new();
    if much(late.skipped) || late.lag_p99_ms > SEND_LAG_P99_MAX_MS {
        causes.push(late.cause());
    }
    if much(counts.unsigned) {
        causes.push(Shortfall::Unsigned { times: counts.unsigned });
    }
    if much(counts.skipped_full) {
        causes.push(Shortfall::InFlightFull { skipped: counts.skipped_full, max_in_flight });
    }
    if much(counts.payers_full) {
        causes.push(Shortfall::PayersFull { times: counts.payers_full });
    }
    causes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn causes(counts: PaceCounts, lag_us: u64, machine_busy: f64) -> Vec<Shortfall> {
        let result = LoadResult { offered: 20_000, send_lag_p99_us: lag_us, ..LoadResult::default() };
        let cpu = CpuUse { own: Duration::from_secs(1), own_cores: 0.1, machine_busy };
        shortfalls(&result, &counts, &cpu, 500)
    }

    #[test]
    fn a_cause_needs_more_than_one_in_two_hundred() {
        let counts =
            |n| PaceCounts { skipped_full: n, skipped_late: n, unsigned: n, payers_full: n, ..PaceCounts::default() };
        assert_eq!(causes(counts(0), 20_000, 1.0), []);
        assert_eq!(causes(counts(100), 20_000, 1.0), []);
        let late = Lateness { skipped: 101, lag_p99_ms: 1.0, loadgen_cores: 0.1, machine_busy: 0.5 };
        let full = Shortfall::InFlightFull { skipped: 101, max_in_flight: 500 };
        assert_eq!(
            causes(counts(101), 1_000, 0.5),
            [
                Shortfall::LoadgenLate(late),
                Shortfall::Unsigned { times: 101 },
                full,
                Shortfall::PayersFull { times: 101 }
            ]
        );
    }

    #[test]
    fn a_full_pipe_is_not_blamed_on_loadgen_nor_a_full_machine() {
        let pipe = causes(PaceCounts { skipped_full: 9_000, ..PaceCounts::default() }, 1_000, 1.0);
        let machine = causes(PaceCounts::default(), 20_001, 0.95);
        for found in [&pipe, &machine] {
            assert!(found.len() == 1 && !found[0].is_loadgens(), "{found:?}");
        }
        assert!(causes(PaceCounts::default(), 20_001, 0.5)[0].is_loadgens());
    }
}
