//! The client port in the node: admits connections within the limits and hands out their streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quinn::{Connection, Endpoint, Incoming};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::admission::{Admission, Admitted};
use super::limits::ClientLimits;
use super::stream::{FrameReceiver, FrameSender, Refuses, StreamSizes};
use super::{ReplySender, RequestReceiver};
use crate::endpoint::{self, handshake_refusal};
use crate::error::TransportError;
use crate::frame::Budget;
use crate::identity::Identity;
use crate::refusal::{CloseCode, RefusalCounters, RefusalCounts, TransportRefusal};
use crate::tasks::Tasks;
use crate::tls;
use crate::writer::Traffic;

/// How long a shutdown waits for the last packets.
const GOODBYE: std::time::Duration = std::time::Duration::from_millis(500);

/// A connection of this run of the node; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// The connection a stream belongs to.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Which one.
    pub id: ConnectionId,
    /// The client's address.
    pub remote: SocketAddr,
    connection: Connection,
}

impl ConnectionInfo {
    /// Closes the connection with all its streams.
    pub fn close(&self, code: CloseCode) {
        self.connection.close(code.varint(), b"");
    }
}

/// What the node does with client streams. No method may block.
pub trait ClientHandler: Send + Sync + 'static {
    /// A client opened a stream. The handler spawns what serves it; dropping both halves ends it.
    fn open(&self, connection: ConnectionInfo, send: ReplySender, requests: RequestReceiver);
    /// A connection is gone, with all its streams.
    fn closed(&self, connection: ConnectionId) {
        let _ = connection;
    }
    /// Something that was refused.
    fn refused(&self, what: TransportRefusal, from: SocketAddr);
}

/// Figures of the client port since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientServerStats {
    /// Connections now, handshakes included.
    pub connections: usize,
    /// Connections ever taken.
    pub connections_total: u64,
    /// Requests received.
    pub frames_in: u64,
    /// Bytes of their bodies.
    pub bytes_in: u64,
    /// Replies written.
    pub frames_out: u64,
    /// Bytes of their bodies.
    pub bytes_out: u64,
    /// What was refused.
    pub refusals: RefusalCounts,
}

/// The client port; a cheap handle. Its tasks run until [`Self::shutdown`].
#[derive(Clone)]
pub struct ClientServer(Arc<Port>);

struct Port {
    limits: ClientLimits,
    endpoint: Endpoint,
    tasks: Tasks,
    handler: Arc<dyn ClientHandler>,
    admission: Arc<Admission>,
    handshakes: Arc<Semaphore>,
    refusals: RefusalCounters,
    received: Arc<Traffic>,
    sent: Arc<Traffic>,
    connections_total: AtomicU64,
}

impl Refuses for Port {
    fn refuse(&self, what: TransportRefusal, from: SocketAddr) {
        tracing::debug!(%from, refused = %what, "client port");
        self.refusals.add(what);
        self.handler.refused(what, from);
    }
}

impl ClientServer {
    /// Opens the port.
    pub fn start(
        runtime: &Handle,
        listen: SocketAddr,
        limits: ClientLimits,
        identity: &Identity,
        handler: Arc<dyn ClientHandler>,
    ) -> Result<Self, TransportError> {
        limits.check()?;
        let _runtime = runtime.enter();
        let mut server = tls::client_server(&tls::provider(), identity)?;
        server.transport_config(endpoint::transport(&limits.flow())).max_incoming(limits.handshakes_max);
        let port = Arc::new(Port {
            endpoint: endpoint::open(listen, Some(server))?,
            tasks: Tasks::new(runtime),
            handler,
            admission: Arc::new(Admission::new(&limits)),
            handshakes: Arc::new(Semaphore::new(limits.handshakes_max)),
            refusals: RefusalCounters::default(),
            received: Arc::default(),
            sent: Arc::default(),
            connections_total: AtomicU64::new(0),
            limits,
        });
        port.tasks.spawn(accept(Arc::clone(&port)));
        Ok(Self(port))
    }

    /// Where the port listens.
    ///
    /// # Panics
    /// When the system has lost the socket.
    pub fn local_addr(&self) -> SocketAddr {
        self.0.endpoint.local_addr().expect("a bound socket has an address")
    }

    /// Figures since the start.
    pub fn stats(&self) -> ClientServerStats {
        ClientServerStats {
            connections: self.0.admission.connections(),
            connections_total: self.0.connections_total.load(Ordering::Relaxed),
            frames_in: self.0.received.frames(),
            bytes_in: self.0.received.bytes(),
            frames_out: self.0.sent.frames(),
            bytes_out: self.0.sent.bytes(),
            refusals: self.0.refusals.snapshot(),
        }
    }

    /// Closes all connections and waits for the port's own tasks.
    pub async fn shutdown(&self) {
        self.0.tasks.stop();
        self.0.endpoint.close(CloseCode::SHUTDOWN.varint(), b"stopping");
        self.0.tasks.ended().await;
        // clients that do not hear the goodbye find out by their idle timeout
        let _ = tokio::time::timeout(GOODBYE, self.0.endpoint.wait_idle()).await;
    }
}

async fn accept(port: Arc<Port>) {
    while let Some(incoming) = port.endpoint.accept().await {
        let from = incoming.remote_address();
        let under_way = port.limits.handshakes_max - port.handshakes.available_permits();
        if under_way >= port.limits.retry_above && !incoming.remote_address_validated() && incoming.may_retry() {
            incoming.retry().expect("checked to be possible");
            continue;
        }
        let admitted = match Arc::clone(&port.handshakes).try_acquire_owned() {
            Ok(permit) => port.admission.admit(from.ip(), Instant::now()).map(|place| (place, permit)),
            Err(_) => Err(TransportRefusal::HandshakesFull),
        };
        match admitted {
            Ok((place, permit)) => port.tasks.spawn_whole(serve(Arc::clone(&port), incoming, place, permit)),
            Err(what) => {
                incoming.refuse();
                port.refuse(what, from);
            }
        }
    }
}

async fn serve(port: Arc<Port>, incoming: Incoming, _place: Admitted, permit: OwnedSemaphorePermit) {
    let remote = incoming.remote_address();
    let connection = match tokio::time::timeout(port.limits.handshake_timeout, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return port.refuse(handshake_refusal(&error), remote),
        Err(_) => return port.refuse(TransportRefusal::HandshakeTimeout, remote),
    };
    drop(permit);
    let id = ConnectionId(port.connections_total.fetch_add(1, Ordering::Relaxed));
    let budget = Budget::new(port.limits.receive_budget, port.limits.request_bytes_max);
    let sizes = StreamSizes {
        send_max: port.limits.reply_bytes_max,
        receive_max: port.limits.request_bytes_max,
        queue_bytes_max: port.limits.reply_queue_bytes_max,
    };
    while let Ok((send, receive)) = connection.accept_bi().await {
        let replies = FrameSender::new(&port.tasks, send, sizes, Arc::clone(&port.sent));
        let requests = FrameReceiver::new(receive, budget.clone(), sizes, Arc::clone(&port.received))
            .refusing(Arc::clone(&port) as Arc<dyn Refuses>, remote);
        port.handler.open(ConnectionInfo { id, remote, connection: connection.clone() }, replies, requests);
    }
    port.handler.closed(id);
}
