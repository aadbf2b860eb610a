//! `node run`: from the configuration to a running node, and back to nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use shardpay_client::signaler::{Addresses, SignalerClient};
use shardpay_crypto::{Keypair, SignatureScheme, Signer, Zip215};
use shardpay_push::Pusher;
use shardpay_runtime::{Halt, Node, NodeEvent, NodeParts, Ports, PortsConfig};
use shardpay_storage::{NodeStore, StoreIdentity};
use shardpay_telemetry::{Recorder, ServerKind, ServerTag, names};
use shardpay_transport::{ClientLimits, Identity, PeerConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::bends::{Bends, ChoosePeers, Place};
use crate::conditions::Watched;
use crate::config::Config;
use crate::control::Control;
use crate::follow::{Follower, Peers};
use crate::genesis::{self, Genesis};
use crate::keyfile;
use crate::series::Series;

/// Between two attempts to learn the own address.
const ADDRESS_RETRY: Duration = Duration::from_millis(500);
/// Decompressed keys that are remembered.
const KEY_CACHE: usize = 65_536;
/// Name of the genesis plan and its co-signatures in the store.
const META_GENESIS: &str = "genesis";

/// Runs a node until it is told to stop. An error names what is wrong.
pub async fn run(config: Config, bends: Bends) -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stopped = async {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    };
    tokio::pin!(stopped);
    let start = start(&config, bends);
    let mut running = tokio::select! {
        running = start => running?,
        // nothing has been promised yet
        signal = &mut stopped => {
            tracing::info!(signal, "stopped before the start");
            return Ok(());
        }
    };
    let halted = running.node.halted();
    let cause = tokio::select! {
        signal = &mut stopped => {
            tracing::info!(signal, "stopping");
            None
        }
        _ = running.stop.recv() => {
            tracing::info!("stopping on order");
            None
        }
        cause = halted => Some(cause),
    };
    running.shutdown(cause).await
}

/// A node with everything around it.
struct Running {
    node: Arc<Node>,
    store: NodeStore,
    tasks: tokio::task::JoinSet<()>,
    stop: mpsc::Receiver<()>,
}

async fn start(config: &Config, bends: Bends) -> anyhow::Result<Running> {
    shardpay_runtime::set_clock_skew(config.clock_skew_ms);
    let (seed, keypair) = keyfile::read(&config.key_file)?;
    let keypair = Arc::new(keypair);
    let signaler = SignalerClient::new(&config.signaler)?;
    let mut weights = [0; 32];
    getrandom::fill(&mut weights).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let scheme: Arc<dyn SignatureScheme> = Arc::new(Zip215::new(weights, KEY_CACHE));
    std::fs::create_dir_all(&config.data_dir).with_context(|| format!("data_dir {}", config.data_dir.display()))?;

    let stored = genesis::stored(&config.data_dir, &*scheme)?;
    let name = stored.as_ref().and_then(|genesis| genesis.place_of(&keypair.public_key()));
    let tag = name.map_or_else(
        || ServerTag::new(ServerKind::Node, hex::encode(&keypair.public_key().0[..4])),
        |id| ServerTag::node(id.committee, id.member),
    );
    // before the plan is known the node has no name of its own: ports count into a recorder of their own
    let early = Recorder::new(tag);
    let runtime = tokio::runtime::Handle::current();
    let identity = Identity::from_seed(seed);
    let ports = Ports::open(&runtime, ports_config(config), &identity, &early)?;
    let addresses = own_addresses(config, (ports.peer_addr(), ports.client_addr())).await;
    tracing::info!(key = %keypair.public_key(), peers = %addresses.peer, clients = %addresses.client, "listening");
    let genesis = match stored {
        Some(genesis) => genesis,
        None => genesis::join(&config.data_dir, &signaler, &keypair, addresses, &*scheme).await?,
    };
    let own = genesis.place_of(&keypair.public_key()).context("the genesis plan has no place for this node's key")?;
    let recorder = if name.is_some() { early } else { Recorder::new(ServerTag::node(own.committee, own.member)) };

    let opened = open_store(config, &genesis, &keypair)?;
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let Bends { bend, peers: choose, hidden } = bends;
    let place = Place { own, chain: genesis.chain, plan: genesis.plan.clone(), keypair: keypair.clone() };
    let parts = NodeParts {
        config: config.runtime(own, genesis.chain, u64::from_le_bytes(seed)),
        genesis: genesis.plan.clone(),
        keypair: keypair.clone(),
        scheme,
        ledger: opened.ledger,
        records: opened.records,
        ports,
        recorder: recorder.clone(),
        bend: bend.map(|make| make(place)),
    };
    // opening reads all accounts: not on the network's threads
    let (node, events) = tokio::task::spawn_blocking(move || Node::start(parts)).await??;
    tracing::info!(committee = own.committee.index(), member = own.member.index(), chain = %genesis.chain, "running");
    let begun = Begun { node: Arc::new(node), store: opened.store, events, genesis, keypair, recorder };
    begun.surround(config, (signaler, addresses), (choose, hidden))
}

/// A node that works, and of which nobody knows yet.
struct Begun {
    node: Arc<Node>,
    store: NodeStore,
    events: mpsc::Receiver<NodeEvent>,
    genesis: Genesis,
    keypair: Arc<Keypair>,
    recorder: Recorder,
}

impl Begun {
    /// Starts everything around it.
    fn surround(
        self,
        config: &Config,
        (signaler, addresses): (SignalerClient, Addresses),
        (choose, hidden): (Option<ChoosePeers>, bool),
    ) -> anyhow::Result<Running> {
        let Self { node, store, events, genesis, keypair, recorder } = self;
        let mut tasks = tokio::task::JoinSet::new();
        if let Some(path) = config.conditions.clone() {
            let mut conditions = Watched::new(path, config.clock_skew_ms);
            conditions.look(&node);
            tasks.spawn(conditions.run(node.clone()));
        }
        let kept = Peers::kept(&config.data_dir).addresses(&node.plan(), node.id());
        node.set_peers(match &choose {
            Some(choose) => choose(kept),
            None => kept,
        });
        let (stop, stopped) = mpsc::channel(1);
        let (control, listener) = Control::open(config.control_socket.clone(), node.clone(), keypair.clone(), stop)
            .with_context(|| format!("control_socket {}", config.control_socket.display()))?;
        tasks.spawn(control.run(listener));
        if let Some(every) = config.telemetry {
            recorder.event(shardpay_runtime::now(), names::EVENT_LIFECYCLE, "running");
            let pusher = Pusher::start(&config.telemetry_push, "telemetry_push", &recorder)?;
            let series = Series::open(&config.data_dir, recorder, pusher).context("series.lp")?;
            tasks.spawn(series.run(node.clone(), store.clone(), every));
        }
        let follower = Follower {
            node: node.clone(),
            signaler,
            network: genesis.network(),
            keypair,
            addresses,
            data_dir: config.data_dir.clone(),
            report: config.report,
            choose,
            hidden,
        };
        tasks.spawn(follower.run(events));
        Ok(Running { node, store, tasks, stop: stopped })
    }
}

/// What others are told. Who listens on all addresses tells the one from which it reaches the signaler.
async fn own_addresses(config: &Config, (peers, clients): (SocketAddr, SocketAddr)) -> Addresses {
    let given =
        |given: Option<SocketAddr>, listens: SocketAddr| given.or((!listens.ip().is_unspecified()).then_some(listens));
    let (peer, client) = (given(config.advertise_peers, peers), given(config.advertise_clients, clients));
    if let (Some(peer), Some(client)) = (peer, client) {
        return Addresses { peer, client };
    }
    loop {
        match address_towards(&config.signaler).await {
            Ok(ip) => {
                let at = |listens: SocketAddr| SocketAddr::new(ip, listens.port());
                return Addresses {
                    peer: peer.unwrap_or_else(|| at(peers)),
                    client: client.unwrap_or_else(|| at(clients)),
                };
            }
            Err(error) => tracing::warn!(%error, "no address to tell: the signaler's is not known yet"),
        }
        tokio::time::sleep(ADDRESS_RETRY).await;
    }
}

/// The own address on the way to a URL's host. Nothing is sent.
async fn address_towards(url: &str) -> std::io::Result<IpAddr> {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or(host);
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let target = tokio::net::lookup_host(host).await?.next().ok_or(std::io::ErrorKind::NotFound)?;
    let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = tokio::net::UdpSocket::bind((any, 0)).await?;
    socket.connect(target).await?;
    Ok(socket.local_addr()?.ip())
}

fn ports_config(config: &Config) -> PortsConfig {
    let mut client_limits = ClientLimits::default();
    if let Some(max) = config.client_connections_per_address {
        client_limits.connections_per_address_max = max;
    }
    PortsConfig { peers: PeerConfig::standard(config.listen_peers), clients: config.listen_clients, client_limits }
}

/// The store in the data directory.
pub fn store_dir(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join("store")
}

fn open_store(config: &Config, genesis: &Genesis, keypair: &Keypair) -> anyhow::Result<shardpay_storage::Opened> {
    let own = genesis.place_of(&keypair.public_key()).context("the genesis plan has no place for this node's key")?;
    let identity = StoreIdentity { chain: genesis.chain, node_key: keypair.public_key(), committee: own.committee };
    let opened = NodeStore::open(&store_dir(&config.data_dir), identity, config.store(own))?;
    if opened.store.meta_get(META_GENESIS)?.is_none() {
        opened.store.meta_put(META_GENESIS, &genesis::encode(genesis))?;
    }
    Ok(opened)
}

impl Running {
    /// Stops in good order; after a halt the process is left to recovery at its next start.
    async fn shutdown(mut self, cause: Option<Halt>) -> anyhow::Result<()> {
        self.tasks.shutdown().await;
        let node = Arc::into_inner(self.node).context("a task still holds the node")?;
        let cause = cause.or(node.shutdown().await);
        if let Some(cause) = cause {
            return Err(cause).context("the node halted");
        }
        self.store.close()?;
        tracing::info!("stopped");
        Ok(())
    }
}
