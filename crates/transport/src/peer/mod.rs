//! The peer port: one connection to every other node that is talked to, kept up while both are members.
//!
//! Guarantees: a frame is handed over with the node that sent it, proven by its key. [`PeerHandler::connected`]
//! and [`PeerHandler::disconnected`] are called in turns for each node, frames only in between. Of two
//! connections between the same nodes the one dialled by the lower [`NodeId`] stays, unless it is old: then
//! the newer one replaces it, since a node only dials when it has none. Inside a committee the lower node
//! dials at once and the higher one when it stays alone, shortly after its start or a second later; to other committees a
//! node dials on first use.
//! Messages are not kept over a lost connection: protocols resend.

mod accept;
mod dial;
mod link;
mod session;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;
use quinn::Endpoint;
use rustls::crypto::CryptoProvider;
use shardpay_types::NodeId;
use shardpay_types::PublicKey;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::endpoint::{self, Flow};
use crate::error::TransportError;
use crate::frame::Frame;
use crate::identity::Identity;
use crate::limits::PEER_FRAME_BYTES_MAX;
use crate::refusal::{CloseCode, RefusalCounters, RefusalCounts, TransportRefusal};
use crate::rng::Chance;
use crate::shape::LinkShape;
use crate::tasks::Tasks;
use crate::tls::{self, Admits};
use crate::writer::Traffic;
use link::{Drops, Duty, Link};

/// How long a shutdown waits for the last packets.
const GOODBYE: Duration = Duration::from_millis(500);

/// Another node of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its place.
    pub node: NodeId,
    /// Its key.
    pub key: PublicKey,
    /// Its peer port.
    pub addr: SocketAddr,
}

/// Streams between nodes; each has its own queue, order and receive budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamClass {
    /// Blocks, votes, heartbeats, small requests. Written first.
    Prompt = 0,
    /// Ledger responses, packs, served blocks.
    Bulk = 1,
}

impl StreamClass {
    pub(crate) const ALL: [Self; 2] = [Self::Prompt, Self::Bulk];
}

/// What the node does with what comes from peers. No method may block.
pub trait PeerHandler: Send + Sync + 'static {
    /// A node can be sent to, and frames from it follow.
    fn connected(&self, node: NodeId);
    /// The connection is gone; no more frames from it.
    fn disconnected(&self, node: NodeId);
    /// A frame. Its share of the budget bounds what can be in flight.
    fn frame(&self, from: NodeId, frame: Frame);
    /// Something that was refused.
    fn refused(&self, what: TransportRefusal, from: SocketAddr);
}

/// Limits and times of the peer port.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Largest body, in either direction.
    pub frame_max: usize,
    /// Most bytes that wait for one peer, per class.
    pub queue_bytes_max: usize,
    /// Most bytes of received frames one peer may hold here, per class; at least one frame passes.
    pub receive_budget: usize,
    /// A connection without any packet for this long is lost.
    pub idle_timeout: Duration,
    /// A packet is sent on a silent connection this often.
    pub keep_alive: Duration,
    /// Longest a handshake may take.
    pub handshake_timeout: Duration,
    /// Most handshakes of strangers and members at once; from a quarter on addresses are validated first.
    pub handshakes_max: usize,
    /// First pause before dialling again.
    pub reconnect_min: Duration,
    /// Longest pause before dialling again.
    pub reconnect_max: Duration,
}

impl PeerConfig {
    /// What fits nodes in one data centre or on one machine.
    pub fn standard(listen: SocketAddr) -> Self {
        Self {
            listen,
            frame_max: PEER_FRAME_BYTES_MAX,
            queue_bytes_max: 32 << 20,
            receive_budget: 32 << 20,
            idle_timeout: Duration::from_secs(25),
            keep_alive: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(5),
            handshakes_max: 256,
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(2),
        }
    }

    fn check(&self) -> Result<(), TransportError> {
        let at_most = |field, value: usize, max: usize| {
            if (1..=max).contains(&value) {
                return Ok(());
            }
            Err(TransportError::Config { field, value: value as u64, min: 1, max: max as u64 })
        };
        at_most("frame_max", self.frame_max, PEER_FRAME_BYTES_MAX)?;
        at_most("receive_budget", self.receive_budget, 1 << 30)?;
        at_most("queue_bytes_max", self.queue_bytes_max, 1 << 30)?;
        at_most("handshakes_max", self.handshakes_max, 1 << 16)
    }

    fn flow(&self) -> Flow {
        Flow {
            idle_timeout: self.idle_timeout,
            keep_alive: Some(self.keep_alive),
            uni_streams: 4,
            bidi_streams: 0,
            stream_window: 4 << 20,
            connection_window: 12 << 20,
            send_window: 8 << 20,
        }
    }
}

/// Figures of the peer port since its start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PeerNetStats {
    /// Frames received.
    pub frames_in: u64,
    /// Bytes of their bodies.
    pub bytes_in: u64,
    /// Frames written.
    pub frames_out: u64,
    /// Bytes of their bodies.
    pub bytes_out: u64,
    /// Messages dropped because the peer's queue was full.
    pub dropped_full: u64,
    /// Messages dropped because the peer was not connected, or the connection was lost before they were written.
    pub dropped_unconnected: u64,
    /// Messages lost by link shaping.
    pub dropped_shaped: u64,
    /// Messages of a size that cannot be sent: a bug of the caller.
    pub dropped_size: u64,
    /// Nodes connected now.
    pub connected: usize,
    /// What was refused.
    pub refusals: RefusalCounts,
    /// One entry per member.
    pub peers: Vec<PeerStats>,
}

/// Figures of one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerStats {
    /// Who.
    pub node: NodeId,
    /// Whether it is connected.
    pub connected: bool,
    /// Bytes that wait for it, all classes.
    pub queue_bytes: usize,
    /// The connection's round-trip time.
    pub rtt: Option<Duration>,
}

/// The peer port; a cheap handle. Its tasks run until [`Self::shutdown`].
#[derive(Clone)]
pub struct PeerNet(Arc<Net>);

/// Everything the tasks of the port share.
pub(crate) struct Net {
    config: PeerConfig,
    identity: Identity,
    provider: Arc<CryptoProvider>,
    transport: Arc<quinn::TransportConfig>,
    handler: Arc<dyn PeerHandler>,
    endpoint: Endpoint,
    tasks: Tasks,
    roster: Arc<Roster>,
    shapes: Mutex<Shapes>,
    handshakes: Arc<Semaphore>,
    refusals: RefusalCounters,
    received: Traffic,
    sent: Traffic,
    drops: Drops,
    dropped_size: AtomicU64,
}

/// What is done to links, those that are still to come included.
#[derive(Default)]
struct Shapes {
    /// To nodes without an entry of their own.
    all: LinkShape,
    of: HashMap<NodeId, LinkShape>,
}

impl Shapes {
    fn of(&self, node: NodeId) -> LinkShape {
        self.of.get(&node).copied().unwrap_or(self.all)
    }
}

/// The members: who they are by key, and the link to each.
#[derive(Default)]
pub(crate) struct Roster(RwLock<Members>);

#[derive(Default)]
struct Members {
    own: Option<NodeId>,
    links: HashMap<NodeId, Arc<Link>>,
    keys: HashMap<PublicKey, NodeId>,
}

impl Roster {
    fn read(&self) -> RwLockReadGuard<'_, Members> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
    fn link(&self, node: NodeId) -> Option<Arc<Link>> {
        self.read().links.get(&node).cloned()
    }
    fn link_of_key(&self, key: &PublicKey) -> Option<Arc<Link>> {
        let members = self.read();
        members.links.get(members.keys.get(key)?).cloned()
    }
}

impl Admits for Roster {
    fn admits(&self, key: &PublicKey) -> bool {
        self.read().keys.contains_key(key)
    }
}

impl Net {
    fn refuse(&self, what: TransportRefusal, from: SocketAddr) {
        tracing::debug!(%from, refused = %what, "peer port");
        self.refusals.add(what);
        self.handler.refused(what, from);
    }
}

impl PeerNet {
    /// Opens the port. Nobody is a member before [`Self::set_members`].
    pub fn start(
        runtime: &Handle,
        config: PeerConfig,
        identity: &Identity,
        handler: Arc<dyn PeerHandler>,
    ) -> Result<Self, TransportError> {
        config.check()?;
        let _runtime = runtime.enter();
        let provider = tls::provider();
        let roster = Arc::new(Roster::default());
        let transport = endpoint::transport(&config.flow());
        let mut server = tls::peer_server(&provider, identity, Arc::clone(&roster) as Arc<dyn Admits>)?;
        server.transport_config(Arc::clone(&transport)).migration(false).max_incoming(config.handshakes_max);
        let net = Arc::new(Net {
            endpoint: endpoint::open(config.listen, Some(server))?,
            identity: identity.clone(),
            provider,
            transport,
            handler,
            tasks: Tasks::new(runtime),
            roster,
            shapes: Mutex::default(),
            handshakes: Arc::new(Semaphore::new(config.handshakes_max)),
            refusals: RefusalCounters::default(),
            received: Traffic::default(),
            sent: Traffic::default(),
            drops: Drops::default(),
            dropped_size: AtomicU64::new(0),
            config,
        });
        net.tasks.spawn(accept::accept(Arc::clone(&net)));
        Ok(Self(net))
    }

    /// Where the port listens.
    ///
    /// # Panics
    /// When the system has lost the socket.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.endpoint.local_addr().expect("a bound socket has an address")
    }

    /// Says who is a member: connections of others are closed, new members are dialled, and a changed
    /// address is used for the next dial. With no `own` place nobody is connected.
    pub fn set_members(&self, own: Option<NodeId>, peers: Vec<PeerAddress>) {
        let mut members = self.0.roster.0.write().unwrap_or_else(PoisonError::into_inner);
        let same_place = members.own == own;
        let mut former = std::mem::take(&mut members.links);
        members.own = own;
        members.keys.clear();
        let Some(own) = own else {
            drop(members);
            former.values().for_each(|link| link.leave());
            return;
        };
        for peer in peers.into_iter().filter(|peer| peer.node != own && peer.key != self.0.identity.public()) {
            let old = former.remove(&peer.node);
            let link = match old {
                Some(link) if same_place && link.key == peer.key => {
                    link.move_to(peer.addr);
                    link
                }
                old => self.new_link(own, &peer, old.as_deref()),
            };
            members.keys.insert(peer.key, peer.node);
            members.links.insert(peer.node, link);
        }
        drop(members);
        former.values().for_each(|link| link.leave());
    }

    fn new_link(&self, own: NodeId, peer: &PeerAddress, old: Option<&Link>) -> Arc<Link> {
        if let Some(old) = old {
            old.leave();
        }
        let duty = match (peer.node.committee == own.committee, own < peer.node) {
            (false, _) => Duty::OnUse,
            (true, true) => Duty::AtOnce,
            (true, false) => Duty::WhenAlone,
        };
        let shape = self.0.shapes.lock().unwrap_or_else(PoisonError::into_inner).of(peer.node);
        // without randomness jitter repeats itself, and nothing else depends on it
        let chance = Chance::new(getrandom::u64().unwrap_or_default());
        let link = Arc::new(Link::new(peer, duty, self.0.config.queue_bytes_max, (shape, chance), old));
        self.0.tasks.spawn(dial::keep(Arc::clone(&self.0), Arc::clone(&link), own));
        link
    }

    /// Queues a message; its bytes are shared, not copied, when large. Drops and counts it when the peer's
    /// queue is full or the peer is not connected. To a node of another committee the first message dials.
    pub fn send(&self, to: NodeId, class: StreamClass, body: Bytes) {
        if body.is_empty() || body.len() > self.0.config.frame_max {
            tracing::error!(bytes = body.len(), max = self.0.config.frame_max, "message of a size that cannot be sent");
            self.0.dropped_size.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match self.0.roster.link(to) {
            Some(link) => link.send(class, body, &self.0.drops),
            None => self.0.drops.unconnected(1),
        }
    }

    /// Shapes what is sent to one node, or to all, now and after they come back.
    pub fn shape(&self, to: Option<NodeId>, shape: LinkShape) {
        let mut shapes = self.0.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        match to {
            Some(node) => {
                shapes.of.insert(node, shape);
            }
            None => *shapes = Shapes { all: shape, of: HashMap::new() },
        }
        drop(shapes);
        let links: Vec<Arc<Link>> = self.0.roster.read().links.values().map(Arc::clone).collect();
        links.iter().filter(|link| to.is_none_or(|node| link.node == node)).for_each(|link| link.shape(shape));
    }

    /// Shapes what is sent to these nodes, and leaves all others as they are by nature.
    pub fn shape_only(&self, shapes: HashMap<NodeId, LinkShape>) {
        let links: Vec<Arc<Link>> = self.0.roster.read().links.values().map(Arc::clone).collect();
        let mut held = self.0.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        for link in links {
            let (before, now) = (held.of(link.node), shapes.get(&link.node).copied().unwrap_or_default());
            // a shape that stays keeps what is under way
            if before != now {
                link.shape(now);
            }
        }
        *held = Shapes { all: LinkShape::default(), of: shapes };
    }

    /// Figures since the start.
    pub fn stats(&self) -> PeerNetStats {
        let net = &self.0;
        let mut peers: Vec<_> = net.roster.read().links.values().map(|link| link.stats()).collect();
        peers.sort_by_key(|peer| peer.node);
        PeerNetStats {
            frames_in: net.received.frames(),
            bytes_in: net.received.bytes(),
            frames_out: net.sent.frames(),
            bytes_out: net.sent.bytes(),
            dropped_full: net.drops.full.load(Ordering::Relaxed),
            dropped_unconnected: net.drops.unconnected.load(Ordering::Relaxed),
            dropped_shaped: net.drops.shaped.load(Ordering::Relaxed),
            dropped_size: net.dropped_size.load(Ordering::Relaxed),
            connected: peers.iter().filter(|peer| peer.connected).count(),
            refusals: net.refusals.snapshot(),
            peers,
        }
    }

    /// Closes all connections and waits for all tasks. Every connected node is reported as disconnected.
    pub async fn shutdown(&self) {
        self.0.tasks.stop();
        self.0.endpoint.close(CloseCode::SHUTDOWN.varint(), b"stopping");
        self.0.tasks.ended().await;
        // peers that do not hear the goodbye find out by their idle timeout
        let _ = tokio::time::timeout(GOODBYE, self.0.endpoint.wait_idle()).await;
    }
}
