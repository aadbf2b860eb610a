//! The node's two UDP ports. They are opened before the node knows its plan: their addresses are what it
//! registers with. Until the pipeline is there, frames are dropped and streams refused.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use crossbeam::channel::Sender;
use shardpay_telemetry::{Recorder, names};
use shardpay_transport::{
    ClientHandler, ClientLimits, ClientServer, ConnectionInfo, Frame, Identity, PeerConfig, PeerHandler, PeerNet,
    ReplySender, RequestReceiver, TransportRefusal,
};
use shardpay_types::{ClientReply, Codec, NodeId, RefuseReason, Refused};

use crate::error::StartError;
use crate::front::Front;
use crate::lanes::{PeerFrame, PeerLanes};
use crate::mail::Mail;

/// What a client is told to wait while the node starts.
const NOT_READY_MS: u32 = 500;

/// The open ports.
pub struct Ports {
    pub(crate) net: PeerNet,
    pub(crate) clients: ClientServer,
    pub(crate) peer_door: Arc<PeerDoor>,
    pub(crate) client_door: Arc<ClientDoor>,
    pub(crate) runtime: tokio::runtime::Handle,
}

/// Where the ports listen, and within which limits.
pub struct PortsConfig {
    /// For nodes.
    pub peers: PeerConfig,
    /// For clients.
    pub clients: SocketAddr,
    /// What clients may use.
    pub client_limits: ClientLimits,
}

impl Ports {
    /// Opens both.
    pub fn open(
        runtime: &tokio::runtime::Handle,
        config: PortsConfig,
        identity: &Identity,
        recorder: &Recorder,
    ) -> Result<Self, StartError> {
        let peer_door = Arc::new(PeerDoor::new(recorder));
        let client_door = Arc::new(ClientDoor::new(runtime.clone(), recorder));
        let net = PeerNet::start(runtime, config.peers, identity, peer_door.clone())?;
        let clients =
            ClientServer::start(runtime, config.clients, config.client_limits, identity, client_door.clone())?;
        Ok(Self { net, clients, peer_door, client_door, runtime: runtime.clone() })
    }

    /// Where nodes reach this one.
    pub fn peer_addr(&self) -> SocketAddr {
        self.net.local_addr()
    }

    /// Where clients reach this one.
    pub fn client_addr(&self) -> SocketAddr {
        self.clients.local_addr()
    }
}

/// What stands behind a port while the pipeline lives.
struct Door<T>(RwLock<Option<T>>);

impl<T> Default for Door<T> {
    fn default() -> Self {
        Self(RwLock::new(None))
    }
}

impl<T> Door<T> {
    fn set(&self, behind: Option<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = behind;
    }

    fn with<R>(&self, act: impl FnOnce(&T) -> R) -> Option<R> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(act)
    }
}

/// Takes what peers send.
pub(crate) struct PeerDoor {
    recorder: Recorder,
    pipeline: Door<(PeerLanes, Sender<Mail>)>,
}

impl PeerDoor {
    fn new(recorder: &Recorder) -> Self {
        Self { recorder: recorder.clone(), pipeline: Door::default() }
    }

    /// The pipeline is there.
    pub(crate) fn attach(&self, lanes: PeerLanes, core: Sender<Mail>) {
        self.pipeline.set(Some((lanes, core)));
    }

    /// The pipeline stops: its lanes end when nobody holds their entrances.
    pub(crate) fn detach(&self) {
        self.pipeline.set(None);
    }
}

impl PeerHandler for PeerDoor {
    fn connected(&self, node: NodeId) {
        tracing::debug!(?node, "peer connected");
        self.pipeline.with(|(_, core)| {
            // a core too busy to take it hears the peer's heartbeat within a second
            let _ = core.try_send(Mail::Connected(node));
        });
    }

    fn disconnected(&self, node: NodeId) {
        tracing::debug!(?node, "peer disconnected");
    }

    fn frame(&self, from: NodeId, frame: Frame) {
        self.pipeline.with(|(lanes, _)| lanes.push(PeerFrame { from, frame }));
    }

    fn refused(&self, what: TransportRefusal, from: SocketAddr) {
        tracing::debug!(%what, %from, "refused on the peer port");
        self.recorder.counter_of(names::PEER_REFUSED, &what.to_string()).add(1);
    }
}

/// Takes clients' streams.
pub(crate) struct ClientDoor {
    recorder: Recorder,
    runtime: tokio::runtime::Handle,
    front: Door<Arc<Front>>,
}

impl ClientDoor {
    fn new(runtime: tokio::runtime::Handle, recorder: &Recorder) -> Self {
        Self { recorder: recorder.clone(), runtime, front: Door::default() }
    }

    /// The pipeline is there.
    pub(crate) fn attach(&self, front: Arc<Front>) {
        self.front.set(Some(front));
    }

    /// The pipeline stops.
    pub(crate) fn detach(&self) {
        self.front.set(None);
    }
}

impl ClientHandler for ClientDoor {
    fn open(&self, _connection: ConnectionInfo, send: ReplySender, requests: RequestReceiver) {
        match self.front.with(Arc::clone) {
            Some(front) => {
                self.runtime.spawn(front.serve(send, requests));
            }
            None => {
                let refusal = Refused { reason: RefuseReason::ShuttingDown, retry_after_ms: NOT_READY_MS };
                let frame = ClientReply::Refused(refusal).to_bytes();
                self.runtime.spawn(async move { send.send(frame.into()).await });
            }
        }
    }

    fn refused(&self, what: TransportRefusal, from: SocketAddr) {
        tracing::debug!(%what, %from, "refused on the client port");
        self.recorder.counter_of(names::CLIENT_REFUSED, &what.to_string()).add(1);
    }
}
