//! The running signaler: socket, clock, metrics, and the way to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shardpay_client::signaler::NetworkId;
use shardpay_crypto::Zip215;
use shardpay_push::{PushError, PushTargets};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::api;
use crate::desk::{Desk, OperatorToken, Stop, now_us};
use crate::door::{ConnectionLimits, Door};
use crate::metrics::{Metrics, Series};
use crate::network::{Network, RestoreError};
use crate::settings::Settings;
use crate::store::{Store, StoreError};

/// How often silent nodes and the epoch clock are looked at.
const TICK: Duration = Duration::from_millis(200);
/// How long open requests may take once the server stops.
const DRAIN: Duration = Duration::from_secs(3);
/// Keys remembered decompressed.
const KEYS_CACHED: usize = 4_096;

/// Why the server does not start, or ended.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store is another network's.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The socket cannot be opened.
    #[error("listen {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file in the data directory cannot be written.
    #[error("data_dir: {0}")]
    DataDir(#[source] std::io::Error),
    /// Metrics cannot be pushed there.
    #[error(transparent)]
    Push(#[from] PushError),
    /// The system gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
    /// The store failed while running.
    #[error("stopped because the store failed")]
    StoreFailed,
}

/// What a server is started with.
pub struct Start {
    /// Where to listen; port 0 lets the system pick.
    pub listen: SocketAddr,
    /// How many may connect.
    pub connections: ConnectionLimits,
    /// Where `series.lp` and `address` are written; none writes neither.
    pub data_dir: Option<PathBuf>,
    /// The network.
    pub settings: Settings,
    /// The operator's secret.
    pub operator: Option<OperatorToken>,
    /// Who gets the metrics beside `series.lp`; nobody when there is no data directory.
    pub telemetry_push: PushTargets,
    /// The rows.
    pub store: Box<dyn Store>,
}

/// A running signaler.
pub struct Server {
    addr: SocketAddr,
    desk: Arc<Desk>,
    serving: JoinHandle<()>,
    ticking: JoinHandle<()>,
}

impl Server {
    /// Starts on the current tokio runtime.
    pub async fn start(start: Start) -> Result<Self, ServerError> {
        let (mut name, mut seed) = ([0; 32], [0; 32]);
        getrandom::fill(&mut name).map_err(ServerError::Random)?;
        getrandom::fill(&mut seed).map_err(ServerError::Random)?;
        let scheme = Zip215::new(seed, KEYS_CACHED);
        let rows = start.store.load()?;
        let (network, effect) = Network::restore(start.settings, rows, scheme, NetworkId(name), now_us())?;
        if !effect.rows.is_empty() {
            start.store.write(&effect.rows)?;
        }
        let listen = |source| ServerError::Listen { addr: start.listen, source };
        let listener = TcpListener::bind(start.listen).await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let metrics = Metrics::new();
        let series = match &start.data_dir {
            Some(dir) => {
                let temporary = dir.join("address.tmp");
                tokio::fs::write(&temporary, addr.to_string()).await.map_err(ServerError::DataDir)?;
                tokio::fs::rename(&temporary, dir.join("address")).await.map_err(ServerError::DataDir)?;
                Some(metrics.series(dir, &start.telemetry_push).await?)
            }
            None => None,
        };
        info!(%addr, network = %network.name(), phase = %network.phase(), epoch = %network.epoch(), "signaler up");
        let desk = Arc::new(Desk::new(network, start.store, start.operator, metrics));
        let ticking = tokio::spawn(tick(desk.clone(), series));
        let serving = tokio::spawn(serve(desk.clone(), Door::new(listener, start.connections, desk.clone())));
        Ok(Self { addr, desk, serving, ticking })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends when the store fails.
    pub async fn failed(&self) {
        self.desk.stopped().await;
    }

    /// Takes no new requests, ends long polls, waits for open requests a few seconds, closes the store.
    pub async fn shutdown(mut self) -> Result<(), ServerError> {
        self.desk.stop(Stop::Asked);
        // the store closes with the last holder of the desk: these two and open connections
        if tokio::time::timeout(DRAIN, &mut self.serving).await.is_err() {
            warn!("some connections did not end");
            self.serving.abort();
        }
        if let Err(err) = self.ticking.await {
            warn!(%err, "the clock had failed");
        }
        match self.desk.stopped().await {
            Stop::Asked => Ok(()),
            Stop::StoreFailed => Err(ServerError::StoreFailed),
        }
    }
}

async fn serve(desk: Arc<Desk>, door: Door) {
    let stopping = desk.clone();
    let stopped = async move {
        stopping.stopped().await;
    };
    if let Err(err) = axum::serve(door, api::router(desk.clone())).with_graceful_shutdown(stopped).await {
        warn!(%err, "serving ended");
        desk.stop(Stop::Asked);
    }
}

async fn tick(desk: Arc<Desk>, mut series: Option<Series>) {
    let mut clock = tokio::time::interval(TICK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut second = 0;
    loop {
        tokio::select! {
            _ = clock.tick() => desk.tick().await,
            _ = desk.stopped() => break,
        }
        let health = desk.health();
        if health.uptime_s > second {
            second = health.uptime_s;
            record(&desk, &mut series).await;
        }
    }
    record(&desk, &mut series).await;
}

async fn record(desk: &Desk, series: &mut Option<Series>) {
    let Some(file) = series else { return };
    let lines = desk.metrics.lines(&desk.health());
    if let Err(err) = file.write(&lines).await {
        warn!(%err, "series.lp cannot be written; no more metrics");
        *series = None;
    }
}
