//! Client streams as the rest of the node sees them: where answers go, and whose signatures were bad.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use shardpay_replica::ClientToken;
use shardpay_types::TxResult;
use tokio::sync::Notify;

/// How long a stream with a bad signature is verified alone.
const SUSPECT_FOR: Duration = Duration::from_secs(10);

/// Where one stream's results wait to be written.
///
/// Bounded: a result is pushed for a transaction that [`Mailbox::admit`] counted, and not more than once,
/// so at most the stream's share of transactions wait here.
pub(crate) struct Mailbox {
    token: ClientToken,
    started: Instant,
    results: Mutex<Vec<TxResult>>,
    wake: Notify,
    open: AtomicUsize,
    open_max: usize,
    /// Milliseconds after `started` until which the stream is verified alone.
    suspect_until: AtomicU64,
}

impl Mailbox {
    fn new(token: ClientToken, open_max: usize) -> Self {
        Self {
            token,
            started: Instant::now(),
            results: Mutex::default(),
            wake: Notify::new(),
            open: AtomicUsize::new(0),
            open_max,
            suspect_until: AtomicU64::new(0),
        }
    }

    /// The stream's name towards the replica.
    pub(crate) fn token(&self) -> ClientToken {
        self.token
    }

    /// Takes on `count` transactions, all or none.
    pub(crate) fn admit(&self, count: usize) -> bool {
        let fits = |open: usize| open.checked_add(count).filter(|sum| *sum <= self.open_max);
        self.open.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    /// Results for transactions that were admitted.
    pub(crate) fn push(&self, results: &[TxResult]) {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(results);
        self.wake.notify_one();
    }

    /// Waits for results and takes all there are.
    pub(crate) async fn take(&self) -> Vec<TxResult> {
        loop {
            let results = std::mem::take(&mut *self.results.lock().unwrap_or_else(PoisonError::into_inner));
            if !results.is_empty() {
                return results;
            }
            self.wake.notified().await;
        }
    }

    /// `count` results were handed to the stream.
    pub(crate) fn told(&self, count: usize) {
        // a replica may answer twice (a resubmission that was executed meanwhile)
        let _ = self.open.fetch_update(Relaxed, Relaxed, |open| Some(open.saturating_sub(count)));
    }

    /// A signature was bad.
    pub(crate) fn suspect(&self) {
        let until = (self.started.elapsed() + SUSPECT_FOR).as_millis();
        self.suspect_until.store(u64::try_from(until).unwrap_or(u64::MAX), Relaxed);
    }

    /// Whether a signature was bad lately.
    pub(crate) fn is_suspect(&self) -> bool {
        let until = self.suspect_until.load(Relaxed);
        until > 0 && self.started.elapsed() < Duration::from_millis(until)
    }
}

/// All open streams.
#[derive(Default)]
pub(crate) struct Sessions {
    next: AtomicU64,
    mailboxes: RwLock<HashMap<ClientToken, Arc<Mailbox>>>,
}

impl Sessions {
    /// A new stream.
    pub(crate) fn open(&self, open_max: usize) -> Arc<Mailbox> {
        let token = ClientToken(self.next.fetch_add(1, Relaxed) + 1);
        let mailbox = Arc::new(Mailbox::new(token, open_max));
        self.mailboxes.write().unwrap_or_else(PoisonError::into_inner).insert(token, mailbox.clone());
        mailbox
    }

    /// A stream is gone; answers to it are dropped from now on.
    pub(crate) fn close(&self, token: ClientToken) {
        self.mailboxes.write().unwrap_or_else(PoisonError::into_inner).remove(&token);
    }

    /// The stream's mailbox, if it is open.
    pub(crate) fn get(&self, token: ClientToken) -> Option<Arc<Mailbox>> {
        self.mailboxes.read().unwrap_or_else(PoisonError::into_inner).get(&token).cloned()
    }
}
