//! The node's two UDP ports. They are opened before the node knows its plan: their addresses are what it
//! registers with. Until the pipeline is there, frames are dropped and streams refused.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

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

/// Takes what peers send.
pub(crate) struct PeerDoor {
    recorder: Recorder,
    pipeline: OnceLock<(PeerLanes, Sender<Mail>)>,
}

impl PeerDoor {
    fn new(recorder: &Recorder) -> Self {
        Self { recorder: recorder.clone(), pipeline: OnceLock::new() }
    }

    /// The pipeline is there.
    pub(crate) fn attach(&self, lanes: PeerLanes, core: Sender<Mail>) {
        let _ = self.pipeline.set((lanes, core));
    }
}

impl PeerHandler for PeerDoor {
    fn connected(&self, node: NodeId) {
        tracing::debug!(?node, "peer connected");
        if let Some((_, core)) = self.pipeline.get() {
            // a core too busy to take it hears the peer's heartbeat within a second
            let _ = core.try_send(Mail::Connected(node));
        }
    }

    fn disconnected(&self, node: NodeId) {
        tracing::debug!(?node, "peer disconnected");
    }

    fn frame(&self, from: NodeId, frame: Frame) {
        if let Some((lanes, _)) = self.pipeline.get() {
            lanes.push(PeerFrame { from, frame });
        }
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
    front: OnceLock<Arc<Front>>,
}

impl ClientDoor {
    fn new(runtime: tokio::runtime::Handle, recorder: &Recorder) -> Self {
        Self { recorder: recorder.clone(), runtime, front: OnceLock::new() }
    }

    /// The pipeline is there.
    pub(crate) fn attach(&self, front: Arc<Front>) {
        let _ = self.front.set(front);
    }
}

impl ClientHandler for ClientDoor {
    fn open(&self, _connection: ConnectionInfo, send: ReplySender, requests: RequestReceiver) {
        match self.front.get() {
            Some(front) => {
                self.runtime.spawn(front.clone().serve(send, requests));
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
