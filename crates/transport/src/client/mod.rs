//! The client port: [`ClientServer`] in the node, [`ClientConnector`] in clients.
//!
//! Guarantees: a client talks to the node whose key it has pinned, or not at all. What one client does costs
//! others nothing: connections, attempts, streams and bytes are limited per connection and per address, and
//! a malformed frame ends its own stream only.

mod admission;
mod connector;
mod limits;
mod server;
mod stream;

pub use connector::{ClientConnection, ClientConnector};
pub use limits::ClientLimits;
pub use server::{ClientHandler, ClientServer, ClientServerStats, ConnectionId, ConnectionInfo};
pub use stream::{FrameReceiver, FrameSender};

/// Sends replies on one stream.
pub type ReplySender = FrameSender;
/// Receives the requests of one stream.
pub type RequestReceiver = FrameReceiver;
