//! What people and testbed see while the load runs: a line of JSON per second on stdout, or one that is
//! painted over on a terminal.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use shardpay_run::{LatencyKind, LatencyTag, new_latencies};
use shardpay_types::CommitteeId;

use crate::tracker::quantile_ms;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ProgressKind {
    /// A JSON object per line and second.
    Json,
    /// One line on a terminal.
    Bar,
    /// Nothing.
    None,
}

/// Where the run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Accounts get their coins.
    Fund,
    /// Payments are signed.
    Sign,
    /// Waiting for the common start.
    Wait,
    /// A closed loop finds the rate.
    Probe,
    /// The load.
    Load,
    /// Waiting for what is in flight.
    Drain,
    /// The end.
    Done,
}

/// One line: counts since the phase began, latencies of the last second.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// The phase.
    pub phase: Phase,
    /// Seconds since it began.
    pub seconds: f64,
    /// Payments whose time came.
    pub offered: u64,
    /// Payments sent.
    pub sent: u64,
    /// Payments certified to their end.
    pub certified: u64,
    /// Payments certified in the last second.
    pub certified_per_second: f64,
    /// Payments skipped.
    pub skipped: u64,
    /// Payments in flight.
    pub in_flight: usize,
    /// Median from intended send to the end, milliseconds.
    pub p50_ms: Option<f64>,
    /// 99th percentile of the same.
    pub p99_ms: Option<f64>,
    /// The same by the committee where payments end.
    pub committees: Vec<CommitteeLine>,
}

/// A committee's part of a line.
#[derive(Debug, Clone, Serialize)]
pub struct CommitteeLine {
    /// The committee.
    pub committee: usize,
    /// Payments that ended there in the last second.
    pub certified: u64,
    /// Median, milliseconds.
    pub p50_ms: Option<f64>,
    /// 99th percentile, milliseconds.
    pub p99_ms: Option<f64>,
}

/// Sums latencies up by the committee where payments end; debits of cross-committee payments are no end.
pub fn by_committee(
    latencies: &BTreeMap<LatencyTag, Histogram<u64>>,
    committees: usize,
) -> (Histogram<u64>, Vec<CommitteeLine>) {
    let mut all = new_latencies();
    let mut lines = Vec::with_capacity(committees);
    for committee in 0..committees {
        let mut own = new_latencies();
        for kind in [LatencyKind::Intra, LatencyKind::CrossCredit] {
            if let Some(found) = latencies.get(&LatencyTag { kind, committee: CommitteeId::at(committee) }) {
                own.add(found).expect("all histograms have one shape");
            }
        }
        all.add(&own).expect("all histograms have one shape");
        let quantile = |q| (!own.is_empty()).then(|| quantile_ms(&own, q));
        lines.push(CommitteeLine { committee, certified: own.len(), p50_ms: quantile(0.5), p99_ms: quantile(0.99) });
    }
    (all, lines)
}

/// Shows lines.
pub struct Progress {
    kind: ProgressKind,
    bar: Option<ProgressBar>,
    funding_shown: Instant,
}

impl Progress {
    /// Shows in this way.
    pub fn new(kind: ProgressKind) -> Self {
        let bar = (kind == ProgressKind::Bar).then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}").expect("a valid template");
            ProgressBar::new_spinner().with_style(style)
        });
        Self { kind, bar, funding_shown: Instant::now() }
    }

    /// Shows a line.
    pub fn line(&mut self, line: &Line) {
        match (&self.bar, self.kind) {
            (Some(bar), _) => {
                let ms = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
                bar.set_message(format!(
                    "{:?} {:.0} s: {:.0}/s certified, p50 {} ms, p99 {} ms, {} in flight, {} skipped",
                    line.phase,
                    line.seconds,
                    line.certified_per_second,
                    ms(line.p50_ms),
                    ms(line.p99_ms),
                    line.in_flight,
                    line.skipped
                ));
                bar.tick();
            }
            (None, ProgressKind::Json) => {
                let text = serde_json::to_string(line).expect("a line has a JSON form");
                // Whoever read stdout has gone: the run goes on, its files are written.
                let _ = writeln!(std::io::stdout(), "{text}");
            }
            (None, _) => {}
        }
    }

    /// Shows how far funding is, at most five times a second.
    pub fn funding(&mut self, done: usize, total: usize) {
        if self.funding_shown.elapsed() < Duration::from_millis(200) && done < total {
            return;
        }
        self.funding_shown = Instant::now();
        match (&self.bar, self.kind) {
            (Some(bar), _) => {
                bar.set_message(format!("funding: {done} of {total} accounts"));
                bar.tick();
            }
            (None, ProgressKind::Json) => {
                let _ = writeln!(
                    std::io::stdout(),
                    "{}",
                    serde_json::json!({ "phase": Phase::Fund, "done": done, "total": total })
                );
            }
            (None, _) => {}
        }
    }
}
