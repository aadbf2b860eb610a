//! The node's metrics as a file: one snapshot of line protocol per interval, appended to `series.lp`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shardpay_runtime::Node;
use shardpay_storage::NodeStore;
use shardpay_telemetry::{Recorder, names};

use crate::process;

/// Bytes on disk are looked up every so many snapshots: it reads the directory.
const STORE_EVERY: u64 = 5;

/// Where snapshots go.
pub struct Series {
    file: File,
    recorder: Recorder,
    buffer: Vec<u8>,
    snapshots: u64,
}

impl Series {
    /// Appends to `series.lp` in the data directory.
    pub fn open(data_dir: &Path, recorder: Recorder) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(data_dir.join("series.lp"))?;
        Ok(Self { file, recorder, buffer: Vec::new(), snapshots: 0 })
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
        self.measure_process();
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
        if let Err(error) = self.file.write_all(&self.buffer) {
            let lines = self.buffer.iter().filter(|byte| **byte == b'\n').count();
            self.recorder.counter(names::LINES_DROPPED).add(lines as u64);
            tracing::warn!(%error, "metrics are not written");
        }
    }

    fn measure_process(&self) {
        if let Ok(used) = process::used() {
            self.recorder.counter(names::PROCESS_CPU_US).advance_to(used.cpu_us);
            self.recorder.counter(names::PROCESS_READ_BYTES).advance_to(used.read_bytes);
            self.recorder.counter(names::PROCESS_WRITTEN_BYTES).advance_to(used.written_bytes);
            self.recorder.gauge(names::MEMORY_BYTES).set(used.rss_bytes);
        }
    }
}
