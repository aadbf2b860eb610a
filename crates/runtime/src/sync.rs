//! The thread that makes records durable: one sync for everything written before it.
//!
//! Guarantees: [`Fact::Persisted`] for an id is sent only after a sync that began when its record stood in
//! the log. While nothing asks for a sync it sleeps.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crossbeam::channel::Sender;
use shardpay_replica::PersistId;
use shardpay_storage::RecordLog;

use crate::error::Halt;
use crate::mail::Fact;
use crate::metrics::Metrics;

/// What the core asks for.
#[derive(Debug, Default)]
struct Wanted {
    upto: PersistId,
    stop: bool,
}

/// The core's end: never waits for the disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SyncHandle {
    shared: Arc<(Mutex<Wanted>, Condvar)>,
}

impl SyncHandle {
    /// Everything up to `id` is written: make it durable.
    pub(crate) fn want(&self, id: PersistId) {
        self.change(|wanted| wanted.upto = wanted.upto.max(id));
    }

    /// Ends the thread, after what was asked for.
    pub(crate) fn stop(&self) {
        self.change(|wanted| wanted.stop = true);
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        let (lock, wake) = &*self.shared;
        change(&mut lock.lock().unwrap_or_else(PoisonError::into_inner));
        wake.notify_one();
    }

    /// Waits until more than `done` is wanted; `None`: the end.
    fn next(&self, done: PersistId) -> Option<PersistId> {
        let (lock, wake) = &*self.shared;
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |wanted: &mut Wanted| wanted.upto <= done && !wanted.stop;
        let wanted = wake.wait_while(guard, idle).unwrap_or_else(PoisonError::into_inner);
        (wanted.upto > done).then_some(wanted.upto)
    }
}

/// The thread.
pub(crate) fn run(
    wanted: &SyncHandle,
    records: &RecordLog,
    facts: &Sender<Fact>,
    metrics: &Metrics,
) -> Result<(), Halt> {
    let mut done = PersistId::default();
    while let Some(upto) = wanted.next(done) {
        metrics.queue_sync.set(upto.0 - done.0);
        let start = Instant::now();
        records.sync()?;
        metrics.sync.record_duration(start.elapsed());
        metrics.syncs.add(1);
        done = upto;
        if facts.send(Fact::Persisted(done)).is_err() {
            break;
        }
    }
    Ok(())
}
