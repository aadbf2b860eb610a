//! The store as a whole: what its handles share, the background thread, closing.
//!
//! The background thread flushes accounts and prunes the DAG. When it fails, it remembers why and ends; every
//! later write says so. Dropping all handles ends it without a flush, as the death of the process would.

use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use shardpay_types::{Epoch, Height, Round};

use crate::behind::{Behind, Waiting};
use crate::db::Db;
use crate::error::StorageError;
use crate::keys;
use crate::options::{Durability, StoreOptions};
use crate::stats::{self, StoreStats};
use crate::tables::Table;

/// The background thread rests after each piece of a flush for so many times as long as that took: all nodes of a machine
/// would else take its processors at once, every few seconds.
const REST: u32 = 9;
const REST_MAX: Duration = Duration::from_millis(100);

/// Small named values, figures and closing; handles are cheap to clone.
#[derive(Clone)]
pub struct NodeStore {
    pub(crate) shared: Arc<Shared>,
}

impl NodeStore {
    /// A small value kept under a name (the genesis plan with its approvals, say).
    pub fn meta_get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.shared.db.get(Table::Meta, &keys::meta::named(name))?.map(|bytes| bytes.to_vec()))
    }

    /// Keeps a small value under a name; durable on return, as [`StoreOptions::durability`] promises.
    pub fn meta_put(&self, name: &str, value: &[u8]) -> Result<(), StorageError> {
        self.shared.healthy()?;
        let mut out = self.shared.db.batch();
        out.put(Table::Meta, &keys::meta::named(name), value);
        out.write()?;
        self.shared.sync()
    }

    /// The encoding of the `CertifiedBlock` at `height`, as it stands on disk: nothing is decoded.
    pub fn certified_block_bytes(&self, height: Height) -> Result<Option<Vec<u8>>, StorageError> {
        stats::certified_block_bytes(&self.shared.db, height)
    }

    /// Height of the last ledger block written.
    pub fn height(&self) -> Height {
        self.shared.behind.height()
    }

    /// Figures for telemetry; reads the directory, so at most once a second.
    pub fn stats(&self) -> Result<StoreStats, StorageError> {
        stats::collect(&self.shared.db, &self.shared.behind)
    }

    /// Writes accounts that are behind, now.
    pub fn flush(&self) -> Result<(), StorageError> {
        // one that is under way in the background goes first, and rests no more
        self.shared.hurry(|waiting| waiting + 1);
        let done = self.shared.behind.flush(&mut |_| ());
        self.shared.hurry(|waiting| waiting - 1);
        done.map(|_| ())
    }

    /// Ends the background thread, writes what is behind and syncs. The next opening has nothing to replay.
    pub fn close(&self) -> Result<(), StorageError> {
        self.shared.stop();
        self.shared.healthy()?;
        self.flush()?;
        self.shared.db.sync()
    }
}

/// What the handles hold; dropping the last one ends the background thread and closes the database.
pub(crate) struct Shared {
    inner: Arc<Inner>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

/// What the background thread holds, too.
pub(crate) struct Inner {
    pub(crate) db: Arc<Db>,
    pub(crate) behind: Behind,
    pub(crate) options: StoreOptions,
    wanted: Mutex<Wanted>,
    wake: Condvar,
    failed: Mutex<Option<StorageError>>,
}

/// What the background thread is asked for.
#[derive(Debug, Default)]
struct Wanted {
    stop: bool,
    flush: bool,
    /// How many wait for a flush.
    hurry: usize,
    prune: Option<(Epoch, Round)>,
}

impl Deref for Shared {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl Shared {
    /// Starts the background thread on an open database.
    pub(crate) fn start(db: Arc<Db>, behind: Behind, options: StoreOptions) -> Result<Self, StorageError> {
        let (wanted, wake, failed) = (Mutex::default(), Condvar::new(), Mutex::default());
        let inner = Arc::new(Inner { db, behind, options, wanted, wake, failed });
        let of_thread = inner.clone();
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || of_thread.work());
        let worker = thread.map_err(|error| StorageError::io(inner.db.path(), &error))?;
        Ok(Self { inner, worker: Mutex::new(Some(worker)) })
    }

    /// Ends the background thread.
    fn stop(&self) {
        self.inner.wanted().stop = true;
        self.inner.wake.notify_all();
        let worker = self.worker.lock().ok().and_then(|mut worker| worker.take());
        // a panic of the thread was printed, and its flush is missing: opening replays it
        drop(worker.map(JoinHandle::join));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().expect("nobody panics while asking the background thread")
    }

    /// The failure of the background thread, if any.
    pub(crate) fn healthy(&self) -> Result<(), StorageError> {
        match &*self.failed.lock().expect("nobody panics while reading the failure") {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }

    /// Starts a flush when much waits, and waits for one when too much does.
    pub(crate) fn pace(&self, waiting: Waiting) -> Result<(), StorageError> {
        if waiting.entries >= 2 * self.options.unflushed_max {
            return self.behind.flush(&mut |_| ()).map(|_| ());
        }
        if waiting.entries >= self.options.unflushed_max || waiting.block_bytes >= self.options.replay_bytes_max {
            self.wanted().flush = true;
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Makes everything written durable, if that was asked for.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        match self.options.durability {
            Durability::Fsync => self.db.sync(),
            Durability::Os => Ok(()),
        }
    }

    /// Remembers what may be pruned.
    pub(crate) fn prune_later(&self, epoch: Epoch, below: Round) {
        let mut wanted = self.wanted();
        // the thread sleeps until the next flush as long as nothing is to be pruned
        if wanted.prune.is_none() {
            self.wake.notify_one();
        }
        wanted.prune = wanted.prune.max(Some((epoch, below)));
    }

    fn work(&self) {
        let mut pruned = (Epoch::ZERO, Round::ZERO);
        let mut due = Due::from_now(&self.options);
        due.flush = Instant::now() + self.options.first_flush();
        while let Some(turn) = self.wait(&mut due) {
            let rests_until = Instant::now() + self.options.flush_interval / 2;
            let mut rest = |took| {
                if !turn.is_urgent {
                    self.rest(took, rests_until);
                }
            };
            let flushed = if turn.flush { self.behind.flush(&mut rest).map(|_| ()) } else { Ok(()) };
            let done =
                flushed.and_then(|()| turn.prune.map_or(Ok(()), |below| prune_dag(&self.db, &mut pruned, below)));
            if let Err(error) = done {
                *self.failed.lock().expect("nobody panics while reading the failure") = Some(error);
                return;
            }
        }
    }

    fn hurry(&self, change: impl FnOnce(usize) -> usize) {
        let mut wanted = self.wanted();
        wanted.hurry = change(wanted.hurry);
        drop(wanted);
        self.wake.notify_all();
    }

    /// After a piece of a flush that took so long: leaves processors and disk to others, not beyond `last`, and not while
    /// much waits or somebody waits for the flush.
    fn rest(&self, took: Duration, last: Instant) {
        let until = (Instant::now() + took.saturating_mul(REST).min(REST_MAX)).min(last);
        let mut wanted = self.wanted();
        while !(wanted.stop || wanted.flush || wanted.hurry > 0) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            wanted = self.wake.wait_timeout(wanted, left).expect("nobody panics while asking the background thread").0;
        }
    }

    /// Waits for the next turn; `None`: stop.
    fn wait(&self, due: &mut Due) -> Option<Turn> {
        let mut wanted = self.wanted();
        loop {
            let now = Instant::now();
            let is_urgent = wanted.flush;
            let flush = is_urgent || now >= due.flush;
            let prune = now >= due.prune && wanted.prune.is_some();
            if wanted.stop {
                return None;
            }
            let next = Due::from_now(&self.options);
            if flush {
                (wanted.flush, due.flush) = (false, next.flush);
            }
            if prune {
                due.prune = next.prune;
            }
            if flush || prune {
                return Some(Turn { flush, is_urgent, prune: if prune { wanted.prune.take() } else { None } });
            }
            let until = if wanted.prune.is_some() { due.flush.min(due.prune) } else { due.flush };
            let waited = self.wake.wait_timeout(wanted, until.saturating_duration_since(now));
            wanted = waited.expect("nobody panics while asking the background thread").0;
        }
    }
}

/// When the background thread has something to do next.
struct Due {
    flush: Instant,
    prune: Instant,
}

impl Due {
    fn from_now(options: &StoreOptions) -> Self {
        let now = Instant::now();
        Self { flush: now + options.flush_interval, prune: now + options.prune_interval }
    }
}

/// What it does now.
struct Turn {
    flush: bool,
    /// Much waits to be flushed.
    is_urgent: bool,
    prune: Option<(Epoch, Round)>,
}

/// Removes blocks of `epoch` below `below` and those of epochs before the last. Files whose blocks have all
/// gone leave at once; for the rest there is one range deletion per turn, found by later compactions.
fn prune_dag(db: &Db, pruned: &mut (Epoch, Round), (epoch, below): (Epoch, Round)) -> Result<(), StorageError> {
    if (epoch, below) <= *pruned {
        return Ok(());
    }
    let mut ranges = Vec::new();
    let since = if epoch == pruned.0 { pruned.1 } else { Round::ZERO };
    ranges.push((keys::round(epoch, since), keys::round(epoch, below)));
    if epoch > pruned.0 {
        ranges.push((keys::round(Epoch::ZERO, Round::ZERO), keys::round(epoch.previous(), Round::ZERO)));
    }
    ranges.retain(|(from, to)| from < to);
    let mut out = db.batch();
    ranges.iter().for_each(|(from, to)| out.delete_range(Table::Dag, from, to));
    out.write()?;
    let first = keys::round(Epoch::ZERO, Round::ZERO);
    db.drop_files(Table::Dag, &first, &keys::round(epoch.previous(), Round::ZERO))?;
    db.drop_files(Table::Dag, &keys::round(epoch, Round::ZERO), &keys::round(epoch, below))?;
    *pruned = (epoch, below);
    Ok(())
}
