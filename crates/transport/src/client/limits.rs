//! What clients may use.

use std::time::Duration;

use crate::endpoint::Flow;
use crate::error::TransportError;
use crate::limits::{CLIENT_FRAME_BYTES_MAX, CLIENT_REPLY_BYTES_MAX};

/// Limits of the client port. An address is an IPv4 address or an IPv6 /64.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientLimits {
    /// Most connections, handshakes included.
    pub connections_max: usize,
    /// Most connections of one address, handshakes included.
    pub connections_per_address_max: usize,
    /// Most streams of one connection at a time.
    pub streams_per_connection_max: u32,
    /// Most handshakes at once.
    pub handshakes_max: usize,
    /// From this many handshakes at once on, a client must first show that its address is its own.
    pub retry_above: usize,
    /// Connection attempts of one address per second, and at once.
    pub attempts_per_address_per_second: u32,
    /// Longest a handshake may take.
    pub handshake_timeout: Duration,
    /// A connection without any packet for this long is closed.
    pub idle_timeout: Duration,
    /// Most bytes of received frames one connection may hold; at least one frame passes.
    pub receive_budget: usize,
    /// Most bytes of replies that wait on one stream.
    pub reply_queue_bytes_max: usize,
    /// Largest request.
    pub request_bytes_max: usize,
    /// Largest reply.
    pub reply_bytes_max: usize,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            connections_per_address_max: 128,
            streams_per_connection_max: 64,
            handshakes_max: 256,
            retry_above: 64,
            attempts_per_address_per_second: 64,
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            receive_budget: 4 << 20,
            reply_queue_bytes_max: 32 << 20,
            request_bytes_max: CLIENT_FRAME_BYTES_MAX,
            reply_bytes_max: CLIENT_REPLY_BYTES_MAX,
        }
    }
}

impl ClientLimits {
    pub(crate) fn check(&self) -> Result<(), TransportError> {
        let within = |field, value: usize, max: usize| {
            if (1..=max).contains(&value) {
                return Ok(());
            }
            Err(TransportError::Config { field, value: value as u64, min: 1, max: max as u64 })
        };
        within("connections_max", self.connections_max, 1 << 20)?;
        within("connections_per_address_max", self.connections_per_address_max, self.connections_max)?;
        within("streams_per_connection_max", self.streams_per_connection_max as usize, 1 << 16)?;
        within("handshakes_max", self.handshakes_max, 1 << 16)?;
        within("attempts_per_address_per_second", self.attempts_per_address_per_second as usize, 1 << 20)?;
        within("receive_budget", self.receive_budget, 1 << 30)?;
        within("reply_queue_bytes_max", self.reply_queue_bytes_max, 1 << 30)?;
        within("request_bytes_max", self.request_bytes_max, CLIENT_FRAME_BYTES_MAX)?;
        within("reply_bytes_max", self.reply_bytes_max, CLIENT_REPLY_BYTES_MAX)
    }

    pub(crate) fn flow(&self) -> Flow {
        Flow {
            idle_timeout: self.idle_timeout,
            keep_alive: None,
            uni_streams: 0,
            bidi_streams: self.streams_per_connection_max,
            stream_window: 1 << 20,
            connection_window: 4 << 20,
            send_window: 8 << 20,
        }
    }
}
