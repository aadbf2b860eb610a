//! Sizes and names both ends of a connection have to agree on (docs/PROTOCOL.md).

/// Largest frame on the peer port.
pub const PEER_FRAME_BYTES_MAX: usize = 8 << 20;
/// Largest frame a client may send.
pub const CLIENT_FRAME_BYTES_MAX: usize = 256 << 10;
/// Largest frame a node sends to a client.
pub const CLIENT_REPLY_BYTES_MAX: usize = 24 << 20;

/// ALPN of the peer port.
pub(crate) const PEER_ALPN: &[u8] = b"shardpay-peer/1";
/// ALPN of the client port.
pub(crate) const CLIENT_ALPN: &[u8] = b"shardpay-client/1";
/// The name in a node's certificate and in the TLS server-name extension. Keys say who a node is; the
/// name is there because TLS wants one.
pub(crate) const SERVER_NAME: &str = "node.shardpay";
