//! Bare QUIC to a node's ports: whatever bytes one likes, with rustls' and quinn's own means.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use shardpay_types::{ClientReply, Codec};

use crate::common::PATIENCE;
use crate::keys::{client_config, peer_config};

/// A body with its length before it.
pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).expect("short").to_le_bytes()[..], body].concat()
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct NotConnected(ConnectionError);

impl NotConnected {
    /// Whether the node said so.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(&self.0, ConnectionError::ConnectionClosed(close)
            if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED)
    }
}

async fn connect(
    from: IpAddr,
    config: quinn::ClientConfig,
    to: SocketAddr,
) -> Result<(Endpoint, Connection), NotConnected> {
    let endpoint = Endpoint::client((from, 0).into()).expect("a socket");
    let connecting = endpoint.connect_with(config, to, "anything").expect("a good configuration");
    match tokio::time::timeout(Duration::from_secs(5), connecting).await {
        Ok(connected) => connected.map(|connection| (endpoint, connection)).map_err(NotConnected),
        Err(_) => Err(NotConnected(ConnectionError::TimedOut)),
    }
}

/// A stream on the client port.
pub(crate) struct RawClient {
    _endpoint: Endpoint,
    _connection: Connection,
    send: SendStream,
    receive: RecvStream,
}

impl RawClient {
    pub(crate) async fn connect(from: IpAddr, to: SocketAddr) -> Result<Self, NotConnected> {
        let (endpoint, connection) = connect(from, client_config(b"shardpay-client/1"), to).await?;
        let (send, receive) = connection.open_bi().await.map_err(NotConnected)?;
        Ok(Self { _endpoint: endpoint, _connection: connection, send, receive })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.expect("the node reads");
    }

    /// Ends this side of the stream.
    pub(crate) fn finish(&mut self) {
        // the node may have stopped it already
        let _ = self.send.finish();
    }

    /// The next reply; `None` when the stream has ended.
    pub(crate) async fn reply(&mut self) -> Option<ClientReply> {
        let read = async {
            let mut length = [0; 4];
            self.receive.read_exact(&mut length).await.ok()?;
            let mut body = vec![0; u32::from_le_bytes(length) as usize];
            self.receive.read_exact(&mut body).await.ok()?;
            Some(ClientReply::from_bytes(&body).expect("canonical"))
        };
        tokio::time::timeout(PATIENCE, read).await.expect("an answer in time")
    }
}

/// A connection to the peer port.
pub(crate) struct RawPeer {
    _endpoint: Endpoint,
    connection: Connection,
    stream: Option<SendStream>,
}

/// Dials with the raw key of `seed`.
pub(crate) async fn dial_peer(seed: u8, alpn: &[u8], to: SocketAddr) -> Result<RawPeer, NotConnected> {
    let (endpoint, connection) = connect([127, 0, 0, 1].into(), peer_config(seed, alpn), to).await?;
    Ok(RawPeer { _endpoint: endpoint, connection, stream: None })
}

impl RawPeer {
    /// Opens a stream of that class.
    pub(crate) async fn open(&mut self, class: u8) {
        let mut stream = self.connection.open_uni().await.expect("a stream");
        stream.write_all(&[class]).await.expect("the node reads");
        self.stream = Some(stream);
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.as_mut().expect("opened").write_all(bytes).await.expect("the node reads");
    }

    /// Waits for the end; the application's code when there is one.
    pub(crate) async fn closed(&self) -> Option<u64> {
        match tokio::time::timeout(PATIENCE, self.connection.closed()).await.expect("closed") {
            ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
            _ => None,
        }
    }
}
