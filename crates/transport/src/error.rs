//! What can go wrong for the caller. What peers do wrong is a [`crate::TransportRefusal`] instead.

use std::io;
use std::net::SocketAddr;

use shardpay_types::PublicKey;

/// An endpoint could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The UDP port could not be bound.
    #[error("cannot bind UDP {addr}: {source}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The TLS settings were refused: a fault of this crate or of the key.
    #[error("TLS settings: {0}")]
    Tls(#[from] rustls::Error),
    /// The node's certificate could not be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A limit in the configuration is outside what the transport can do.
    #[error("{field} = {value} is not within {min}..={max}")]
    Config {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
        /// Least allowed.
        min: u64,
        /// Most allowed.
        max: u64,
    },
    /// The system gave no randomness.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
}

/// A stream ended in another way than between two frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length announced is above the limit.
    #[error("frame of {bytes} bytes is above the limit of {max}")]
    TooLarge {
        /// Length announced.
        bytes: u64,
        /// Most allowed.
        max: u64,
    },
    /// The length announced is zero.
    #[error("frame of zero bytes")]
    Empty,
    /// The stream was finished inside a frame.
    #[error("stream ended inside a frame")]
    Truncated,
    /// The other side gave the stream up with this application error code.
    #[error("stream reset with code {0}")]
    Reset(u64),
    /// The connection is gone.
    #[error("connection lost: {0}")]
    Lost(String),
}

/// A frame was not taken for sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The queue has no room for it (`try_send` only).
    #[error("send queue is full")]
    Full,
    /// The stream or its connection is closed.
    #[error("stream is closed")]
    Closed,
    /// The frame is empty or above the stream's limit.
    #[error("frame of {bytes} bytes is not within 1..={max}")]
    Size {
        /// Its length.
        bytes: usize,
        /// Most allowed.
        max: usize,
    },
}

/// A client could not connect to a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The node at the address holds another key than expected, or shows no proof for it.
    #[error("node does not hold key {expected}: {detail}")]
    WrongKey {
        /// The key that was pinned.
        expected: PublicKey,
        /// What the handshake said.
        detail: String,
    },
    /// The node does not take this connection now (limits, or stopping).
    #[error("node refuses the connection")]
    Refused,
    /// No answer within the time.
    #[error("no answer in time")]
    Timeout,
    /// Anything else.
    #[error("cannot connect: {0}")]
    Failed(String),
}
