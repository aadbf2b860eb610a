//! Whether a run kept the objective.

use shardpay_audit::{CheckName, Verdict};
use shardpay_run::{KneeObjective, LoadResult, MeasurementOutcome, Shortfall, Summary};

/// What a run says about its rate.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judgement {
    /// In one word.
    pub(super) outcome: MeasurementOutcome,
    /// Why it did not pass.
    pub(super) why: Vec<String>,
    /// Offered payments that were not certified in the end.
    pub(super) lost: u64,
}

/// Checks that failed although a rate too high is no reason for it: the run shows a fault, not a limit.
pub(super) fn broken(verdict: &Verdict) -> Vec<CheckName> {
    verdict.failed().into_iter().filter(|name| *name != CheckName::RateKept).collect()
}

/// Judges a run. Loadgen's own limits make it void, whatever its latencies were.
pub(super) fn judge(summary: &Summary, load: &LoadResult, kept_min: f64, objective: &KneeObjective) -> Judgement {
    let certified: u64 = load.series.iter().map(|second| second.certified).sum();
    let lost = load.offered.saturating_sub(certified);
    let loadgens: Vec<String> =
        load.shortfalls.iter().filter(|shortfall| shortfall.is_loadgens()).map(Shortfall::to_string).collect();
    if !loadgens.is_empty() {
        return Judgement { outcome: MeasurementOutcome::Void, why: loadgens, lost };
    }
    let mut why = Vec::new();
    let p99_ms = summary.total.all.latency_ms.p99;
    if summary.total.all.certified == 0 {
        why.push("nothing was certified in the measured part".to_owned());
    } else if p99_ms > objective.p99_ms_max {
        why.push(format!("p99 {p99_ms:.1} ms, {} allowed", objective.p99_ms_max));
    }
    if lost as f64 > objective.loss_max * load.offered as f64 {
        why.push(format!("{lost} of {} offered payments were not certified", load.offered));
    }
    if load.kept_rate() < kept_min {
        why.push(format!("{:.2} % of the load was sent", load.kept_rate() * 100.0));
    }
    if !summary.warmup.steady {
        why.push("never steady before its second half (MSER-5)".to_owned());
    }
    let outcome = if why.is_empty() { MeasurementOutcome::Passed } else { MeasurementOutcome::Failed };
    Judgement { outcome, why, lost }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use shardpay_run::{
        LatencyInterval, LatencyKind, LatencyTag, Lateness, MachineUse, SecondCounts, Spec, new_latencies,
    };
    use shardpay_types::CommitteeId;

    use super::*;

    /// A run of one second that offered 100 payments and certified so many in 10 ms each.
    fn judged(certified: u64, shortfalls: Vec<Shortfall>, p99_ms_max: f64, loss_max: f64) -> Judgement {
        let text = "name = 'x'\ncommittees = 1\nnodes_per_committee = 1\nduration_s = 1";
        let spec = Spec::parse("x", text, &[]).unwrap();
        let series = vec![SecondCounts { offered: 100, sent: 100, certified }];
        let load = LoadResult { seconds: 1.0, offered: 100, sent: 100, series, shortfalls, ..LoadResult::default() };
        let mut latencies = new_latencies();
        latencies.saturating_record_n(10_000, certified);
        let tag = LatencyTag { kind: LatencyKind::Intra, committee: CommitteeId::at(0) };
        let interval = LatencyInterval { tag, start: Duration::ZERO, length: Duration::from_secs(1), latencies };
        let summary = Summary::of(&spec, &load, &[interval], MachineUse::default(), true);
        judge(&summary, &load, 0.99, &KneeObjective { p99_ms_max, loss_max })
    }

    #[test]
    fn latency_and_loss_decide() {
        use MeasurementOutcome::{Failed, Passed};
        assert_eq!(judged(100, Vec::new(), 20.0, 0.0).outcome, Passed);
        let slow = judged(100, Vec::new(), 9.0, 0.0);
        assert_eq!((slow.outcome, slow.why.len()), (Failed, 1));
        let lost = judged(99, Vec::new(), 20.0, 0.0);
        assert_eq!((lost.outcome, lost.lost), (Failed, 1));
        assert_eq!(judged(99, Vec::new(), 20.0, 0.01).outcome, Passed);
        assert_eq!(judged(0, Vec::new(), 20.0, 0.5).why.len(), 2);
    }

    #[test]
    fn only_loadgens_own_limits_make_it_void() {
        let late = Lateness { skipped: 9, lag_p99_ms: 50.0, loadgen_cores: 1.0, machine_busy: 0.5 };
        assert_eq!(judged(100, vec![Shortfall::LoadgenLate(late)], 20.0, 0.0).outcome, MeasurementOutcome::Void);
        let full = judged(100, vec![Shortfall::MachineFull(late)], 20.0, 0.0);
        assert_eq!(full.outcome, MeasurementOutcome::Passed, "the objective was kept on a full machine");
    }
}
