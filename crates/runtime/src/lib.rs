//! Floor 5: the node's threads and channels around replica and ledger.
//!
//! ```text
//! peers   → frame → peer lanes ────────────────┐
//! clients → frame → client lanes → ledger ──┐  │ checked messages
//!                     (accounts filled in)  ▼  ▼
//!                          facts ───────►  core (owns the replica)
//!                            ▲               │ records  → log → sync thread → durable
//!                            │               │ sends    → peers
//!                            │               │ answers  → clients
//!                            └── ledger ◄────┘ orders, in order
//!                     (owns the ledger)        certified blocks → feed → subscribers
//! ```
//!
//! Guarantees: orders of the replica are carried out as `shardpay-replica` asks ("persist, then send");
//! every queue is bounded, or bounded by what is in flight; a full one answers `Busy` or makes the sender
//! wait, never the core. A thread that panics and a store that fails stop the node ([`Halt`]).

mod bend;
mod clock;
mod config;
mod context;
mod core;
mod error;
mod execution;
mod feed;
mod front;
mod gate;
mod lanes;
mod mail;
mod metrics;
mod node;
mod outgoing;
mod ports;
mod sessions;
mod stages;
mod status;
mod sync;
mod threads;

pub use bend::Bend;
pub use clock::{now, set_clock_skew};
pub use config::{QueueLimits, RuntimeConfig};
pub use error::{Halt, StartError};
pub use node::{Node, NodeEvent, NodeParts};
pub use ports::{Ports, PortsConfig};
pub use status::{CoreFigures, LedgerFigures, NodeFigures};
