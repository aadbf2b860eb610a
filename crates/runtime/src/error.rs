//! Why a node does not start, or stops by itself.

use shardpay_ledger::{OpenError, StoreError};
use shardpay_storage::StorageError;
use shardpay_transport::TransportError;
use shardpay_types::NodeId;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port could not be opened.
    #[error("network: {0}")]
    Transport(#[from] TransportError),
    /// The ledger in the store cannot be opened.
    #[error("ledger: {0}")]
    Ledger(#[from] OpenError),
    /// The store cannot be read.
    #[error("store: {0}")]
    Storage(#[from] StorageError),
    /// The plan names another key at the node's place.
    #[error("the plan has another key, or none, at {0:?}")]
    NotMember(NodeId),
    /// The operating system gives no thread.
    #[error("thread {name}: {source}")]
    Thread {
        /// Which.
        name: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The operating system gives no randomness.
    #[error("randomness: {0}")]
    Randomness(getrandom::Error),
}

/// Why a running node stopped by itself. Nothing is resumed after one: a restart recovers from the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The store failed; a node without a store promises nothing.
    #[error("the store failed: {0}")]
    Store(String),
    /// A thread panicked: a bug.
    #[error("thread {thread} panicked: {message}")]
    Panic {
        /// Which.
        thread: &'static str,
        /// What it said.
        message: String,
    },
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<StorageError> for Halt {
    fn from(error: StorageError) -> Self {
        Self::Store(error.to_string())
    }
}
