//! What the signaler measures about itself, once a second as line protocol to `series.lp` and pushed.

use std::path::Path;

use shardpay_client::signaler::{Health, Phase};
use shardpay_push::{PushTargets, Pusher, measure_process};
use shardpay_telemetry::{Counter, Gauge, Recorder, ServerKind, ServerTag, names};
use shardpay_types::Timestamp;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use crate::server::ServerError;

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
        measure_process(&self.recorder);
        let mut lines = Vec::new();
        self.recorder.snapshot(Timestamp::from_micros(health.time_us), &mut lines);
        lines
    }

    /// Where the lines go: a file in `dir`, and endpoints.
    pub(crate) async fn series(&self, dir: &Path, push: &PushTargets) -> Result<Series, ServerError> {
        let pusher = Pusher::start(push, "telemetry.push", &self.recorder)?;
        let path = dir.join("series.lp");
        let file = File::options().create(true).append(true).open(path).await.map_err(ServerError::DataDir)?;
        Ok(Series { file, pusher })
    }
}

/// Where the lines go.
pub(crate) struct Series {
    file: File,
    pusher: Pusher,
}

impl Series {
    pub(crate) async fn write(&mut self, lines: &[u8]) -> std::io::Result<()> {
        self.pusher.push(lines);
        self.file.write_all(lines).await?;
        self.file.flush().await
    }
}
