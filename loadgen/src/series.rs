//! What the load generator measures, once a second: into `series.lp` of its directory, and pushed.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use shardpay_push::{PushTargets, Pusher, measure_process};
use shardpay_run::LatencyKind;
use shardpay_telemetry::{Counter, Gauge, Histogram, Recorder, ServerKind, ServerTag, names};
use shardpay_types::Timestamp;

use crate::progress::Phase;

/// How long the end waits until the last lines are pushed.
const PATIENCE: Duration = Duration::from_secs(2);

/// Handles of all metrics, and where they go.
pub struct Series {
    recorder: Recorder,
    /// Payments whose time came.
    pub offered: Counter,
    /// Payments sent.
    pub sent: Counter,
    /// Payments whose time came and that were not sent.
    pub skipped: Counter,
    /// Payments sent again.
    pub resent: Counter,
    /// Payments certified to their end.
    pub acknowledged: Counter,
    /// Certified blocks checked.
    pub blocks: Counter,
    /// Payments in flight.
    pub in_flight: Gauge,
    /// How late the last payment was sent.
    pub send_lag: Gauge,
    latencies: [Histogram; 3],
    file: File,
    pusher: Pusher,
    phase: Option<Phase>,
    buffer: Vec<u8>,
}

impl Series {
    /// Of process `process`, written to `path`; `targets` are what the flag `--telemetry-push` says.
    pub fn create(process: usize, path: &Path, targets: &PushTargets) -> Result<Self> {
        let recorder = Recorder::new(ServerTag::new(ServerKind::Loadgen, format!("loadgen-{process}")));
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).context("--out")?;
        }
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let latency = |name| recorder.histogram(name);
        Ok(Self {
            offered: recorder.counter(names::PAYMENTS_OFFERED),
            sent: recorder.counter(names::PAYMENTS_SENT),
            skipped: recorder.counter(names::PAYMENTS_SKIPPED),
            resent: recorder.counter(names::PAYMENTS_RESENT),
            acknowledged: recorder.counter(names::PAYMENTS_ACKNOWLEDGED),
            blocks: recorder.counter(names::BLOCKS_CHECKED),
            in_flight: recorder.gauge(names::PAYMENTS_IN_FLIGHT),
            send_lag: recorder.gauge(names::SEND_LAG_US),
            latencies: [
                latency(names::LATENCY_INTRA_US),
                latency(names::LATENCY_CROSS_DEBIT_US),
                latency(names::LATENCY_CROSS_CREDIT_US),
            ],
            pusher: Pusher::start(targets, "--telemetry-push", &recorder)?,
            recorder,
            file,
            phase: None,
            buffer: Vec::new(),
        })
    }

    /// Where latencies of a kind are recorded.
    pub fn latency(&self, kind: LatencyKind) -> &Histogram {
        match kind {
            LatencyKind::Intra => &self.latencies[0],
            LatencyKind::CrossDebit => &self.latencies[1],
            LatencyKind::CrossCredit => &self.latencies[2],
        }
    }

    /// Tells of a phase when it is another than before.
    pub fn phase(&mut self, phase: Phase) {
        if self.phase.replace(phase) == Some(phase) {
            return;
        }
        let text = match phase {
            Phase::Fund => "funding accounts",
            Phase::Sign => "signing payments",
            Phase::Wait => "waiting for the common start",
            Phase::Probe => "probing: a closed loop finds the rate",
            Phase::Load => "load begins",
            Phase::Drain => "load ended, waiting for what is in flight",
            Phase::Done => "done",
        };
        self.recorder.event(now(), names::EVENT_LOAD, text);
    }

    /// Ends an interval. A disk that refuses lines costs lines, which are counted, not the run.
    pub fn write(&mut self) {
        measure_process(&self.recorder);
        self.buffer.clear();
        self.recorder.snapshot(now(), &mut self.buffer);
        self.pusher.push(&self.buffer);
        if let Err(error) = self.file.write_all(&self.buffer) {
            let lines = self.buffer.iter().filter(|byte| **byte == b'\n').count();
            self.recorder.counter(names::LINES_DROPPED).add(lines as u64);
            tracing::warn!(%error, "series.lp is not written");
        }
    }

    /// Writes what is left and waits until it is pushed.
    pub async fn finish(mut self) {
        self.write();
        self.pusher.finish(PATIENCE).await;
    }
}

fn now() -> Timestamp {
    Timestamp::ZERO.after(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO))
}
