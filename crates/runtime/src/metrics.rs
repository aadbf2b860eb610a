//! Handles of the pipeline's metrics, made once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use shardpay_telemetry::{Counter, Gauge, Histogram, Recorder, Stage, names};
use shardpay_types::{CommitteeId, Height};

use crate::clock;

/// Least time between two task events about blocks: people read them.
const BLOCK_EVENT_EVERY_US: u64 = 500_000;

/// What the pipeline counts on its hot paths.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) recorder: Recorder,
    pub(crate) received: Counter,
    pub(crate) verified: Counter,
    pub(crate) admitted: Counter,
    pub(crate) proposed: Counter,
    pub(crate) committed: Counter,
    pub(crate) executed: Counter,
    pub(crate) short: Counter,
    pub(crate) certified: Counter,
    pub(crate) credits_executed: Counter,
    pub(crate) credits_certified: Counter,
    pub(crate) blocks_proposed: Counter,
    pub(crate) blocks_accepted: Counter,
    pub(crate) ledger_blocks: Counter,
    pub(crate) headers_certified: Counter,
    pub(crate) packs_applied: Counter,
    pub(crate) records: Counter,
    pub(crate) syncs: Counter,
    pub(crate) batches: Counter,
    pub(crate) results: Counter,
    pub(crate) blocks_sent: Counter,
    pub(crate) peer_transactions: Counter,
    pub(crate) queue_core: Gauge,
    pub(crate) queue_execution: Gauge,
    pub(crate) queue_sync: Gauge,
    pub(crate) subscriptions: Gauge,
    pub(crate) verify_batch: Histogram,
    pub(crate) execute_commit: Histogram,
    pub(crate) sync: Histogram,
    pub(crate) core_turn: Histogram,
    stages: [Histogram; 7],
    /// When the last task event about a block was told, in microseconds.
    block_told: Arc<AtomicU64>,
}

impl Metrics {
    pub(crate) fn new(recorder: Recorder) -> Self {
        let counter = |name| recorder.counter(name);
        let gauge = |name| recorder.gauge(name);
        let histogram = |name| recorder.histogram(name);
        Self {
            received: counter(names::PAYMENTS_RECEIVED),
            verified: counter(names::PAYMENTS_VERIFIED),
            admitted: counter(names::PAYMENTS_ADMITTED),
            proposed: counter(names::PAYMENTS_PROPOSED),
            committed: counter(names::PAYMENTS_COMMITTED),
            executed: counter(names::PAYMENTS_EXECUTED),
            short: counter(names::PAYMENTS_SHORT),
            certified: counter(names::PAYMENTS_CERTIFIED),
            credits_executed: counter(names::CREDITS_EXECUTED),
            credits_certified: counter(names::CREDITS_CERTIFIED),
            blocks_proposed: counter(names::BLOCKS_PROPOSED),
            blocks_accepted: counter(names::BLOCKS_ACCEPTED),
            ledger_blocks: counter(names::LEDGER_BLOCKS),
            headers_certified: counter(names::HEADERS_CERTIFIED),
            packs_applied: counter(names::PACKS_APPLIED),
            records: counter(names::RECORDS_PERSISTED),
            syncs: counter(names::STORE_SYNCS),
            batches: counter(names::STORE_BATCHES),
            results: counter(names::CLIENT_RESULTS),
            blocks_sent: counter(names::CLIENT_BLOCKS),
            peer_transactions: counter(names::PEER_TRANSACTIONS_VERIFIED),
            queue_core: gauge(names::QUEUE_CORE),
            queue_execution: gauge(names::QUEUE_EXECUTION),
            queue_sync: gauge(names::QUEUE_SYNC),
            subscriptions: gauge(names::SUBSCRIPTIONS),
            verify_batch: histogram(names::VERIFY_BATCH_US),
            execute_commit: histogram(names::EXECUTE_COMMIT_US),
            sync: histogram(names::SYNC_US),
            core_turn: histogram(names::CORE_BATCH_US),
            stages: Stage::ALL.map(|stage| recorder.stage(stage)),
            block_told: Arc::default(),
            recorder,
        }
    }

    /// The histogram of the time from the stage before to `stage`.
    pub(crate) fn stage(&self, stage: Stage) -> &Histogram {
        &self.stages[stage as usize]
    }

    /// Counts a refusal under its reason. The reasons are constants of the program.
    pub(crate) fn refuse(&self, metric: &'static str, reason: &str) {
        self.recorder.counter_of(metric, reason).add(1);
    }

    /// Messages between committees since genesis, with one of them.
    pub(crate) fn messages(&self, metric: &'static str, with: CommitteeId, count: u64) {
        self.recorder.counter_of(metric, &with.to_string()).advance_to(count);
    }

    /// Tells people which block was executed, now and then.
    pub(crate) fn tell_block(&self, height: Height, payments: u64, credits: u64) {
        let now = clock::now();
        if now.micros() < self.block_told.load(Relaxed) + BLOCK_EVENT_EVERY_US {
            return;
        }
        self.block_told.store(now.micros(), Relaxed);
        let text = format!("executing block {}: {payments} payments, {credits} credits", height.get());
        self.recorder.event(now, names::EVENT_BLOCK, text);
    }
}
