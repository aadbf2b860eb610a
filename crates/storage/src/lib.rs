//! Floor 4: the RocksDB store of a node and its recovery.
//!
//! One database holds the ledger's tables ([`LedgerStore`]), the replica's records ([`RecordLog`]) and
//! small named values ([`NodeStore::meta_put`]). What it guarantees:
//!
//! - **One order.** Everything written goes through one write-ahead log in the order of the calls, each
//!   batch whole or not at all. A crash keeps a prefix of it: a ledger batch never outlives a record that
//!   was written before it.
//! - **Durable when synced.** [`RecordLog::sync`] makes everything written before it survive a power loss,
//!   under [`Durability::Fsync`]. Under [`Durability::Os`] writes survive the death of the process only.
//! - **Accounts are written behind.** A ledger batch puts its ledger blocks into the log at once; accounts
//!   and deposit references follow sorted and coalesced from a background thread, with the height they are
//!   of. Opening brings them up to the tip from the blocks above that height, so what a reopened store
//!   yields is exactly the state after its last batch.
//! - **No mix-ups.** A store of another chain, node or committee, one in use, a newer one and a corrupt one
//!   are refused, each with its own [`StorageError`].

mod behind;
mod db;
mod error;
mod keys;
mod ledger_store;
mod node_store;
mod open;
mod options;
mod outbox;
mod read_only;
mod record_log;
mod replay;
mod stats;
mod tables;

pub use error::StorageError;
pub use ledger_store::LedgerStore;
pub use node_store::NodeStore;
pub use open::{FORMAT_VERSION, Opened, StoreIdentity};
pub use options::{Durability, StoreOptions};
pub use read_only::ReadOnlyStore;
pub use record_log::RecordLog;
pub use stats::StoreStats;
