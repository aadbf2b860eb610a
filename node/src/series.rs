//! The node's metrics: one snapshot of line protocol per interval, appended to `series.lp` and pushed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shardpay_push::{Pusher, measure_process};
use shardpay_runtime::Node;
use shardpay_storage::NodeStore;
use shardpay_telemetry::{Recorder, names};

/// Bytes on disk are looked up every so many snapshots: it reads the directory.
const STORE_EVERY: u64 = 5;

/// Where snapshots go.
pub struct Series {
    file: File,
    recorder: Recorder,
    pusher: Pusher,
    buffer: Vec<u8>,
    snapshots: u64,
}

impl Series {
    /// Appends to `series.lp` in the data directory, and pushes.
    pub fn open(data_dir: &Path, recorder: Recorder, pusher: Pusher) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(data_dir.join("series.lp"))?;
        Ok(Self { file, recorder, pusher, buffer: Vec::new(), snapshots: 0 })
    }

    /// Writes a snapshot per interval until dropped.
    pub async fn run(mut self, node: Arc<Node>, store: NodeStore, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.snapshot(&node, &store);
        }
    }

    /// Writes a snapshot. A disk that refuses it costs lines, which are counted, not the node.
    pub fn snapshot(&mut self, node: &Node, store: &NodeStore) {
        node.measure();
        measure_process(&self.recorder);
        if self.snapshots.is_multiple_of(STORE_EVERY)
            && let Ok(stats) = store.stats()
        {
            self.recorder.gauge(names::STORE_BYTES).set(stats.disk_bytes);
            self.recorder.gauge(names::STORE_DIRTY_ACCOUNTS).set(stats.unflushed as u64);
            self.recorder.gauge(names::STORE_PENDING_COMPACTION_BYTES).set(stats.pending_compaction_bytes);
        }
        self.snapshots += 1;
        self.buffer.clear();
        self.recorder.snapshot(shardpay_runtime::now(), &mut self.buffer);
        self.pusher.push(&self.buffer);
        if let Err(error) = self.file.write_all(&self.buffer) {
            let lines = self.buffer.iter().filter(|byte| **byte == b'\n').count();
            self.recorder.counter(names::LINES_DROPPED).add(lines as u64);
            tracing::warn!(%error, "metrics are not written");
        }
    }
}
