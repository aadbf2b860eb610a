//! What the signaler measures about itself, written once a second as line protocol to `series.lp`.

use std::path::Path;

use shardpay_client::signaler::{Health, Phase};
use shardpay_telemetry::{Counter, Gauge, Recorder, ServerKind, ServerTag, names};
use shardpay_types::Timestamp;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// Handles of all metrics.
pub(crate) struct Metrics {
    recorder: Recorder,
    pub(crate) requests: Counter,
    pub(crate) registrations: Counter,
    pub(crate) heartbeats: Counter,
    pub(crate) approvals: Counter,
    epoch: Gauge,
    phase: Gauge,
    registered: Gauge,
    healthy: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let recorder = Recorder::new(ServerTag::new(ServerKind::Signaler, "signaler"));
        Self {
            requests: recorder.counter(names::HTTP_REQUESTS),
            registrations: recorder.counter(names::REGISTRATIONS),
            heartbeats: recorder.counter(names::HEARTBEATS),
            approvals: recorder.counter(names::APPROVALS),
            epoch: recorder.gauge(names::EPOCH),
            phase: recorder.gauge(names::PHASE),
            registered: recorder.gauge(names::NODES_REGISTERED),
            healthy: recorder.gauge(names::NODES_HEALTHY),
            recorder,
        }
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, label: &'static str) {
        self.recorder.counter_of(names::HTTP_REFUSED, label).add(1);
    }

    /// Something happened to an epoch.
    pub(crate) fn epoch_event(&self, now_us: u64, text: String) {
        self.recorder.event(Timestamp::from_micros(now_us), names::EVENT_EPOCH, text);
    }

    /// The lines of the second that ends now.
    pub(crate) fn lines(&self, health: &Health) -> Vec<u8> {
        self.epoch.set(health.epoch.get());
        self.registered.set(health.registered as u64);
        self.healthy.set(health.up as u64);
        self.phase.set(match health.phase {
            Phase::Registering => 0,
            Phase::Genesis => 1,
            Phase::Producing => 2,
            Phase::Closing => 3,
            Phase::Handover => 4,
        });
        let mut lines = Vec::new();
        self.recorder.snapshot(Timestamp::from_micros(health.time_us), &mut lines);
        lines
    }
}

/// The file the lines go to.
pub(crate) struct Series(File);

impl Series {
    /// Opens the file in `dir` to append.
    pub(crate) async fn open(dir: &Path) -> std::io::Result<Self> {
        let path = dir.join("series.lp");
        Ok(Self(File::options().create(true).append(true).open(path).await?))
    }

    pub(crate) async fn write(&mut self, lines: &[u8]) -> std::io::Result<()> {
        self.0.write_all(lines).await?;
        self.0.flush().await
    }
}
