//! The running service: ledger, store, socket, metrics, and the way to stop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use shardpay_client::signaler::SignalerClient;
use shardpay_client::topology::Topology;
use shardpay_client::{Client, ClientError, Directory};
use shardpay_crypto::chain_id;
use shardpay_push::{PushError, PushTargets, Pusher, measure_process};
use shardpay_telemetry::{Recorder, ServerKind, ServerTag, names};
use shardpay_types::{Codec as _, Plan, Timestamp};
use tokio::task::JoinHandle;

use crate::api;
use crate::app::{App, Euros, Parts};
use crate::clock::Clock;
use crate::config::{Config, Tls};
use crate::db::{Db, StoreError};
use crate::issuer::{Issuer, IssuerError};
use crate::ledger::{Follower, Ledger, LedgerError, Network, load_view};
use crate::listen::serve;

/// How long open requests may take once the service stops.
const DRAIN: Duration = Duration::from_secs(5);
/// How often members' addresses are looked up anew.
const TOPOLOGY_EVERY: Duration = Duration::from_secs(30);

/// Why the service does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger is out of reach.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The client library refuses plan or directory.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is no issuer's key.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The topology cannot be had.
    #[error("topology: {0}")]
    Topology(String),
    /// The genesis plan cannot be had, or is another one.
    #[error("genesis: {0}")]
    Genesis(String),
    /// A file or the socket.
    #[error("{what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Metrics cannot be pushed there.
    #[error(transparent)]
    Push(#[from] PushError),
    /// A certificate cannot be made.
    #[error("tls: {0}")]
    Tls(String),
}

fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> ServerError {
    let what = what.into();
    move |source| ServerError::Io { what, source }
}

/// A running service.
pub struct Server {
    app: Arc<App>,
    addr: SocketAddr,
    handle: Handle<SocketAddr>,
    serving: JoinHandle<std::io::Result<()>>,
    following: JoinHandle<Result<(), StoreError>>,
}

impl Server {
    /// Starts on the current tokio runtime.
    pub async fn start(mut config: Config) -> Result<Self, ServerError> {
        tokio::fs::create_dir_all(&config.data_dir).await.map_err(io("data_dir"))?;
        // password hashes, webhook secrets and the certificate's key are nobody else's business
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        tokio::fs::set_permissions(&config.data_dir, private).await.map_err(io("data_dir"))?;
        let topology = read_topology(&config.topology).await?;
        let plan = genesis(&config, &topology)?;
        let issuer = Issuer::read(&config.issuer_seed, chain_id(&plan), plan.issuer)?;
        let db = Db::open(&config.database_url).await?;
        db.bind(&chain_id(&plan).to_string()).await?;
        let view = Arc::new(load_view(&db, plan.committees.len()).await?);
        let client = Client::new(plan, Directory::from_topology(&topology))?;
        tokio::spawn(refresh_directory(client.clone(), config.topology.clone()));
        let (network, events) = Network::start(client, &view)?;
        let ledger: Arc<dyn Ledger> = Arc::new(network);
        let recorder = Recorder::new(ServerTag::new(ServerKind::Service, "service"));
        let listener = std::net::TcpListener::bind(config.listen).map_err(io(format!("listen {}", config.listen)))?;
        listener.set_nonblocking(true).map_err(io("listen"))?;
        let addr = listener.local_addr().map_err(io("listen"))?;
        if !config.public_url_given {
            let scheme = if config.tls == Tls::Off { "http" } else { "https" };
            config.settings.public_url = format!("{scheme}://{addr}");
        }
        let tls = rustls_config(&config).await?;
        let (clock, settings) = (Clock::system(), config.settings);
        let euros = Euros::sandbox(&db, &clock);
        let parts = Parts { db, clock, ledger, view, issuer, euros, settings, recorder };
        let app = App::new(parts);
        let following = tokio::spawn(follower(&app).run(events));
        app.start();
        let pusher = pusher(&config.telemetry_push, &app.metrics.recorder)?;
        tokio::spawn(write_metrics(app.clone(), config.data_dir.clone(), pusher));
        let handle = Handle::new();
        let serving = tokio::spawn(serve(api::router(app.clone()), listener, tls, handle.clone()));
        write_address(&config.data_dir, addr).await.map_err(io("data_dir"))?;
        recorder_event(&app, format!("listening on {addr}"));
        tracing::info!(%addr, url = app.settings.public_url, chain = %app.ledger.chain(), "service up");
        Ok(Self { app, addr, handle, serving, following })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it works with.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Ends when the socket or the store fails.
    pub async fn failed(&mut self) {
        tokio::select! {
            ended = &mut self.serving => tracing::error!(?ended, "serving ended"),
            ended = &mut self.following => tracing::error!(?ended, "following the ledger ended"),
        }
    }

    /// Takes no new requests, ends streams, waits for open requests a few seconds, closes the store.
    pub async fn shutdown(self) {
        self.app.stopping.send_replace(true);
        self.handle.graceful_shutdown(Some(DRAIN));
        if !self.serving.is_finished() && tokio::time::timeout(DRAIN * 2, self.serving).await.is_err() {
            tracing::warn!("some connections did not end");
        }
        self.following.abort();
        if let Err(error) = follower(&self.app).write_cursors().await {
            tracing::warn!(%error, "the cursors were not written; blocks are read again at the next start");
        }
        self.app.db.close().await;
    }
}

/// The follower of an app's ledger.
pub fn follower(app: &App) -> Follower {
    Follower {
        db: app.db.clone(),
        view: app.view.clone(),
        ledger: app.ledger.clone(),
        hub: app.hub.clone(),
        clock: app.clock.clone(),
        recorder: app.metrics.recorder.clone(),
    }
}

/// Reads a topology from a signaler or a file.
pub async fn read_topology(source: &str) -> Result<Topology, ServerError> {
    let wrong = |error: &dyn std::fmt::Display| ServerError::Topology(format!("{source}: {error}"));
    if source.starts_with("http://") || source.starts_with("https://") {
        let signaler = SignalerClient::new(source).map_err(|error| wrong(&error))?;
        return signaler.topology().await.map_err(|error| wrong(&error));
    }
    let bytes = tokio::fs::read(source).await.map_err(|error| wrong(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| wrong(&error))
}

/// The pinned plan; without one, the topology's.
fn genesis(config: &Config, topology: &Topology) -> Result<Plan, ServerError> {
    if let Some(path) = &config.genesis {
        let bytes =
            std::fs::read(path).map_err(|error| ServerError::Genesis(format!("{}: {error}", path.display())))?;
        return Plan::from_bytes(&bytes).map_err(|error| ServerError::Genesis(error.to_string()));
    }
    tracing::warn!("no genesis plan is pinned (genesis): the signaler's is taken on trust");
    let plan =
        topology.genesis.clone().ok_or_else(|| ServerError::Genesis("the topology names none yet".to_owned()))?;
    Ok(plan.0)
}

async fn refresh_directory(client: Client, source: String) {
    loop {
        tokio::time::sleep(TOPOLOGY_EVERY).await;
        match read_topology(&source).await {
            Ok(topology) => {
                if let Err(error) = client.set_directory(Directory::from_topology(&topology)) {
                    tracing::warn!(%error, "the topology does not fit");
                }
            }
            Err(error) => tracing::debug!(%error, "addresses stay as they are"),
        }
    }
}

async fn rustls_config(config: &Config) -> Result<Option<RustlsConfig>, ServerError> {
    let (certificate, key) = match &config.tls {
        Tls::Off => return Ok(None),
        Tls::Files { certificate, key } => (certificate.clone(), key.clone()),
        Tls::SelfMade => {
            let (certificate, key) = (config.data_dir.join("tls.crt"), config.data_dir.join("tls.key"));
            if !certificate.is_file() || !key.is_file() {
                make_certificate(config, &certificate, &key)?;
            }
            (certificate, key)
        }
    };
    let loaded = RustlsConfig::from_pem_file(certificate, key).await;
    loaded.map(Some).map_err(|error| ServerError::Tls(error.to_string()))
}

fn make_certificate(config: &Config, certificate: &Path, key: &Path) -> Result<(), ServerError> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut hosts = vec!["localhost".to_owned(), config.listen.ip().to_string()];
    if let Ok(url) = reqwest::Url::parse(&config.settings.public_url) {
        hosts.extend(url.host_str().map(str::to_owned));
    }
    hosts.sort();
    hosts.dedup();
    let made = rcgen::generate_simple_self_signed(hosts).map_err(|error| ServerError::Tls(error.to_string()))?;
    std::fs::write(certificate, pem("CERTIFICATE", made.cert.der())).map_err(io(certificate.display().to_string()))?;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(key)
        .map_err(io(key.display().to_string()))?;
    file.write_all(pem("PRIVATE KEY", &made.signing_key.serialize_der()).as_bytes())
        .map_err(io(key.display().to_string()))
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned());
    let lines: Vec<String> = lines.collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

async fn write_address(dir: &Path, addr: SocketAddr) -> std::io::Result<()> {
    let temporary = dir.join("address.tmp");
    tokio::fs::write(&temporary, addr.to_string()).await?;
    tokio::fs::rename(&temporary, dir.join("address")).await
}

fn recorder_event(app: &App, text: String) {
    app.metrics.recorder.event(Timestamp::from_micros(app.clock.now_us()), names::EVENT_SERVICE, text);
}

fn pusher(targets: &PushTargets, recorder: &Recorder) -> Result<Pusher, PushError> {
    Pusher::start(targets, "telemetry.push", recorder)
}

/// Once a second, until the service stops.
async fn write_metrics(app: Arc<App>, dir: std::path::PathBuf, pusher: Pusher) {
    use tokio::io::AsyncWriteExt as _;
    let recorder = &app.metrics.recorder;
    let now = || Timestamp::from_micros(app.clock.now_us());
    recorder.event(now(), names::EVENT_LIFECYCLE, "started");
    let opened = tokio::fs::File::options().create(true).append(true).open(dir.join("series.lp")).await;
    let mut file = match opened {
        Ok(file) => file,
        Err(error) => return tracing::warn!(%error, "series.lp cannot be written; no metrics"),
    };
    let mut stop = app.stopping.subscribe();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        let last = tokio::select! {
            _ = second.tick() => false,
            _ = stop.changed() => true,
        };
        if last {
            recorder.event(now(), names::EVENT_LIFECYCLE, "stopping");
        }
        let mut lines = Vec::new();
        measure_process(recorder);
        recorder.snapshot(now(), &mut lines);
        pusher.push(&lines);
        let written = async {
            file.write_all(&lines).await?;
            file.flush().await
        };
        if let Err(error) = written.await {
            return tracing::warn!(%error, "series.lp cannot be written; no more metrics");
        }
        if last {
            return pusher.finish(Duration::from_secs(1)).await;
        }
    }
}
