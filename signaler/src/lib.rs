//! The signaler: organises committees, plans and epochs, and says who is where (`docs/SIGNALER.md`).
//!
//! It is no node and holds no key. It is trusted for admission and liveness, not for safety: plans count
//! when members co-signed them, and act only once ordered in the ledgers. Payments go on without it.

mod api;
mod config;
mod desk;
mod door;
mod metrics;
mod network;
mod refusal;
mod server;
mod settings;
mod store;

pub use config::{Config, Flags};
pub use desk::OperatorToken;
pub use door::ConnectionLimits;
pub use network::RestoreError;
pub use server::{Server, ServerError, Start};
pub use settings::{EpochClock, Settings};
pub use store::{EpochStart, MemoryStore, NodeRow, RocksStore, Row, Rows, SettingsRow, Store, StoreError};
