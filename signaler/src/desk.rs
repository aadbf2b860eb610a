//! The one place where requests, clock and store meet the network's state.
//!
//! Guarantees: changes are made one after the other under one lock; their rows are durable before the lock
//! is released, so nobody reads, and nobody is answered, what a crash could undo. When the store fails the
//! signaler stops: its state is ahead of its disk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::response::Response;
use serde::Serialize;
use shardpay_client::signaler::{ErrorCode, Health};
use shardpay_crypto::sha256;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tracing::{error, info, warn};

use crate::api;
use crate::metrics::Metrics;
use crate::network::{Effect, Network};
use crate::refusal::Refusal;
use crate::store::{Row, Store};

/// Most request bodies in memory at once.
const CHANGES_AT_ONCE_MAX: usize = 256;
/// Most long polls at once.
const WAITING_MAX: usize = 4_096;

/// The operator's secret; only its hash is kept.
pub struct OperatorToken([u8; 32]);

impl OperatorToken {
    /// Of the token's text.
    pub fn new(text: &str) -> Self {
        Self(sha256(&[text.as_bytes()]))
    }

    /// Whether `given` is the token. Compared as hashes, so time tells nothing about the token.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        sha256(&[given]) == self.0
    }
}

/// State, store and whoever waits.
pub(crate) struct Desk {
    network: Mutex<Network>,
    store: Box<dyn Store>,
    version: watch::Sender<u64>,
    stopping: watch::Sender<Option<Stop>>,
    changes: Arc<Semaphore>,
    waiting: Semaphore,
    started: Instant,
    pub(crate) operator: Option<OperatorToken>,
    pub(crate) metrics: Metrics,
}

/// Why the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Somebody asked for it.
    Asked,
    /// The store failed.
    StoreFailed,
}

impl Desk {
    pub(crate) fn new(
        network: Network,
        store: Box<dyn Store>,
        operator: Option<OperatorToken>,
        metrics: Metrics,
    ) -> Self {
        Self {
            version: watch::Sender::new(network.version()),
            network: Mutex::new(network),
            store,
            stopping: watch::Sender::new(None),
            changes: Arc::new(Semaphore::new(CHANGES_AT_ONCE_MAX)),
            waiting: Semaphore::new(WAITING_MAX),
            started: Instant::now(),
            operator,
            metrics,
        }
    }

    /// A place for one body; held while it is read.
    pub(crate) fn admit(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let busy = |_| Refusal::new(ErrorCode::Unavailable, "too many requests at once");
        self.changes.clone().try_acquire_owned().map_err(busy)
    }

    /// Applies `change` and answers when it is durable.
    pub(crate) async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Network, u64) -> Result<(T, Effect), Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let desk = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut network = desk.lock();
            if desk.stopping.borrow().is_some() {
                return Err(Refusal::new(ErrorCode::Unavailable, "the signaler stops"));
            }
            let (reply, effect) = change(&mut network, now_us())?;
            desk.commit(&network, &effect)?;
            Ok(reply)
        });
        match done.await {
            Ok(reply) => reply,
            Err(err) => {
                error!(%err, "a change did not end; stopping");
                self.stop(Stop::StoreFailed);
                Err(Refusal::new(ErrorCode::Unavailable, "the signaler stops"))
            }
        }
    }

    /// Lets time pass.
    pub(crate) async fn tick(self: &Arc<Self>) {
        // a refusal here means that the signaler stops, which its caller sees
        let _ = self.change(|network, now| Ok(((), network.tick(now)))).await;
    }

    fn commit(&self, network: &Network, effect: &Effect) -> Result<(), Refusal> {
        if !effect.rows.is_empty()
            && let Err(err) = self.store.write(&effect.rows)
        {
            error!(%err, "the store does not write; stopping");
            self.stop(Stop::StoreFailed);
            return Err(Refusal::new(ErrorCode::Unavailable, "the signaler's store failed"));
        }
        for row in &effect.rows {
            self.tell(row, network);
        }
        if effect.changed {
            self.version.send_replace(network.version());
        }
        Ok(())
    }

    fn tell(&self, row: &Row, network: &Network) {
        let phase = network.phase();
        match row {
            Row::Settings(settings) => info!(network = %*settings.network, "new network"),
            Row::Node(node) => info!(key = %*node.key, order = node.order, peer = %node.peer_addr,
                client = %node.client_addr, "node registered"),
            Row::Plan(plan) => {
                info!(epoch = %plan.epoch, %phase, "plan proposed");
                self.metrics.epoch_event(now_us(), format!("plan of epoch {} proposed", plan.epoch));
            }
            Row::Approval(approval) => {
                info!(epoch = %approval.epoch, committee = %approval.committee, member = %approval.member, "co-signature");
            }
            Row::Change(change) => {
                info!(epoch = %change.plan.epoch, approvals = change.approvals.len(), "epoch change complete");
                self.metrics.epoch_event(now_us(), format!("change to epoch {} complete", change.plan.epoch));
            }
            Row::Epoch(epoch, _) => {
                info!(%epoch, "epoch started");
                self.metrics.epoch_event(now_us(), format!("epoch {epoch} started"));
            }
        }
    }

    /// What `view` reads from the state.
    pub(crate) fn view<T>(&self, view: impl FnOnce(&Network, u64) -> T) -> T {
        view(&self.lock(), now_us())
    }

    /// The signaler's own state.
    pub(crate) fn health(&self) -> Health {
        self.view(|network, now| network.health(now, self.started.elapsed().as_secs()))
    }

    /// Waits until the version is not `seen`, `wait` is over, or the server stops.
    pub(crate) async fn wait_until_not(&self, seen: Option<u64>, wait: Duration) -> Result<(), Refusal> {
        let Some(seen) = seen.filter(|_| !wait.is_zero()) else { return Ok(()) };
        let busy = |_| Refusal::new(ErrorCode::Unavailable, "too many readers wait");
        let _place = self.waiting.try_acquire().map_err(busy)?;
        let mut versions = self.version.subscribe();
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            _ = versions.wait_for(|version| *version != seen) => {}
            _ = stopping.wait_for(Option::is_some) => {}
            () = tokio::time::sleep(wait) => {}
        }
        Ok(())
    }

    /// Counts and renders an answer.
    pub(crate) fn answer<T: Serialize>(&self, reply: Result<T, Refusal>) -> Response {
        self.metrics.requests.add(1);
        if let Err(refusal) = &reply {
            self.metrics.refused(refusal.label());
            warn!(error = refusal.label(), field = refusal.0.field.as_deref(), detail = refusal.0.detail, "refused");
        }
        api::response(reply)
    }

    /// Ends the server; the first reason stays.
    pub(crate) fn stop(&self, why: Stop) {
        self.stopping.send_if_modified(|stop| stop.is_none() && stop.replace(why).is_none());
    }

    /// Resolves when the server is to end.
    pub(crate) async fn stopped(&self) -> Stop {
        let mut stopping = self.stopping.subscribe();
        stopping.wait_for(Option::is_some).await.ok().and_then(|stop| *stop).unwrap_or(Stop::Asked)
    }

    fn lock(&self) -> MutexGuard<'_, Network> {
        // a panic under the lock stops the server (`change`); until then readers see the last state
        self.network.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
