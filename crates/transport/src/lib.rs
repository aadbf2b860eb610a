//! Floor 4: QUIC endpoints, identities, framing, limits, link shaping.
//!
//! Guarantees: a frame that reaches a handler came from the node or client connection it is said to come
//! from, whole, within the size limit and in the order of its stream; everything else is refused with a
//! [`TransportRefusal`], counted, and costs only the connection it came on. Memory held for a connection is
//! bounded in bytes in both directions: a slow reader is waited for by QUIC flow control, a slow receiver
//! makes the sender's queue full. Frames are opaque here; decoding is the caller's.
//!
//! Peer port: [`PeerNet`]. Client port: [`ClientServer`] in the node, [`ClientConnector`] in clients.

pub mod client;
mod cut;
mod endpoint;
mod error;
mod frame;
mod identity;
mod limits;
mod peer;
mod queue;
mod refusal;
mod rng;
mod shape;
mod tasks;
mod tls;
mod writer;

pub use client::{
    ClientConnection, ClientConnector, ClientHandler, ClientLimits, ClientServer, ClientServerStats, ConnectionId,
    ConnectionInfo, FrameReceiver, FrameSender, ReplySender, RequestReceiver,
};
pub use error::{ConnectError, FrameError, SendError, TransportError};
pub use frame::Frame;
pub use identity::Identity;
pub use limits::{CLIENT_FRAME_BYTES_MAX, CLIENT_REPLY_BYTES_MAX, PEER_FRAME_BYTES_MAX};
pub use peer::{PeerAddress, PeerConfig, PeerHandler, PeerNet, PeerNetStats, PeerStats, StreamClass};
pub use refusal::{CloseCode, RefusalCounts, TransportRefusal};
pub use shape::LinkShape;
