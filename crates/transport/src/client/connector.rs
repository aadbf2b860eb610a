//! The client port in clients: dials nodes by address and key.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::{Connection, ConnectionError, Endpoint, TransportConfig, TransportErrorCode};
use rustls::crypto::CryptoProvider;
use shardpay_types::PublicKey;
use tokio::runtime::Handle;

use super::stream::{FrameReceiver, FrameSender, StreamSizes};
use crate::endpoint::{self, Flow};
use crate::error::{ConnectError, TransportError};
use crate::frame::Budget;
use crate::limits::{CLIENT_FRAME_BYTES_MAX, CLIENT_REPLY_BYTES_MAX, SERVER_NAME};
use crate::refusal::CloseCode;
use crate::tasks::Tasks;
use crate::tls;
use crate::writer::Traffic;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const QUEUE_BYTES_MAX: usize = 8 << 20;
const RECEIVE_BUDGET: usize = 64 << 20;
/// How long a shutdown waits for the last packets.
const GOODBYE: Duration = Duration::from_millis(500);

/// Dials nodes; a cheap handle. Connections of one connector share a UDP socket per address family.
#[derive(Clone)]
pub struct ClientConnector(Arc<Dialler>);

struct Dialler {
    runtime: Handle,
    tasks: Tasks,
    provider: Arc<CryptoProvider>,
    transport: Arc<TransportConfig>,
    /// For IPv4 and IPv6, opened when first needed.
    endpoints: [Mutex<Option<Endpoint>>; 2],
}

impl ClientConnector {
    /// A connector whose tasks run on `runtime`.
    pub fn new(runtime: &Handle) -> Self {
        let flow = Flow {
            idle_timeout: Duration::from_secs(15),
            keep_alive: Some(Duration::from_secs(5)),
            uni_streams: 0,
            bidi_streams: 0,
            stream_window: 8 << 20,
            connection_window: 16 << 20,
            send_window: 8 << 20,
        };
        Self(Arc::new(Dialler {
            runtime: runtime.clone(),
            tasks: Tasks::new(runtime),
            provider: tls::provider(),
            transport: endpoint::transport(&flow),
            endpoints: [Mutex::new(None), Mutex::new(None)],
        }))
    }

    fn endpoint(&self, to: SocketAddr) -> Result<Endpoint, TransportError> {
        let from: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let mut held = self.0.endpoints[usize::from(to.is_ipv6())].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = &*held {
            return Ok(endpoint.clone());
        }
        let _runtime = self.0.runtime.enter();
        let endpoint = endpoint::open(from, None)?;
        *held = Some(endpoint.clone());
        Ok(endpoint)
    }

    /// Connects to the node at `addr`, which must prove that it holds `expected`.
    pub async fn connect(&self, addr: SocketAddr, expected: PublicKey) -> Result<ClientConnection, ConnectError> {
        let failed = |error: &dyn std::fmt::Display| ConnectError::Failed(error.to_string());
        let mut config = tls::client_client(&self.0.provider, expected).map_err(|error| failed(&error))?;
        config.transport_config(Arc::clone(&self.0.transport));
        let endpoint = self.endpoint(addr).map_err(|error| failed(&error))?;
        let connecting = endpoint.connect_with(config, addr, SERVER_NAME).map_err(|error| failed(&error))?;
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => Ok(ClientConnection {
                dialler: Arc::clone(&self.0),
                connection,
                budget: Budget::new(RECEIVE_BUDGET, CLIENT_REPLY_BYTES_MAX),
                traffic: Arc::default(),
            }),
            Ok(Err(error)) => Err(connect_error(&error, expected)),
            Err(_) => Err(ConnectError::Timeout),
        }
    }

    /// Closes all connections and waits for all tasks.
    pub async fn shutdown(&self) {
        self.0.tasks.stop();
        let held = |slot: &Mutex<Option<Endpoint>>| slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let endpoints: Vec<_> = self.0.endpoints.iter().filter_map(held).collect();
        for endpoint in &endpoints {
            endpoint.close(CloseCode::DONE.varint(), b"");
        }
        self.0.tasks.ended().await;
        for endpoint in &endpoints {
            let _ = tokio::time::timeout(GOODBYE, endpoint.wait_idle()).await;
        }
    }
}

/// What a failed handshake means for the caller.
fn connect_error(error: &ConnectionError, expected: PublicKey) -> ConnectError {
    match error {
        // a TLS alert of our own: the verifier did not take what the node showed
        ConnectionError::TransportError(own) if (0x100..0x200).contains(&u64::from(own.code)) => {
            ConnectError::WrongKey { expected, detail: own.reason.clone() }
        }
        ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::CONNECTION_REFUSED => {
            ConnectError::Refused
        }
        ConnectionError::ApplicationClosed(_) => ConnectError::Refused,
        ConnectionError::TimedOut => ConnectError::Timeout,
        other => ConnectError::Failed(other.to_string()),
    }
}

/// A connection to a node that has proven its key; clones share it.
#[derive(Clone)]
pub struct ClientConnection {
    dialler: Arc<Dialler>,
    connection: Connection,
    budget: Budget,
    traffic: Arc<[Arc<Traffic>; 2]>,
}

impl ClientConnection {
    /// Opens a stream; waits while the node's limit of streams is reached.
    pub async fn open(&self) -> Result<(FrameSender, FrameReceiver), ConnectError> {
        let (send, receive) =
            self.connection.open_bi().await.map_err(|error| ConnectError::Failed(error.to_string()))?;
        let sizes = StreamSizes {
            send_max: CLIENT_FRAME_BYTES_MAX,
            receive_max: CLIENT_REPLY_BYTES_MAX,
            queue_bytes_max: QUEUE_BYTES_MAX,
        };
        let [sent, received] = &*self.traffic;
        Ok((
            FrameSender::new(&self.dialler.tasks, send, sizes, Arc::clone(sent)),
            FrameReceiver::new(receive, self.budget.clone(), sizes, Arc::clone(received)),
        ))
    }

    /// The node's address.
    pub fn remote(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// The round-trip time as it is estimated.
    pub fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    /// Bytes of request and reply bodies so far.
    pub fn bytes(&self) -> (u64, u64) {
        (self.traffic[0].bytes(), self.traffic[1].bytes())
    }

    /// Whether it is lost or closed.
    pub fn is_closed(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    /// Waits until it is lost or closed and says why.
    pub async fn closed(&self) -> String {
        self.connection.closed().await.to_string()
    }

    /// Closes it with all its streams.
    pub fn close(&self) {
        self.connection.close(CloseCode::DONE.varint(), b"");
    }
}
