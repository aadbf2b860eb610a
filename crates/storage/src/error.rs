//! What can go wrong with a store; every message names the path.

use std::path::{Path, PathBuf};

use rocksdb::ErrorKind;
use shardpay_ledger::StoreError;

/// Why a store cannot be opened, read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The store belongs to another chain, node or committee.
    #[error("store {} belongs to another {field}: it holds {found}, this node has {expected}", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What differs: `chain`, `node key` or `committee`.
        field: &'static str,
        /// What the store says.
        found: String,
        /// What the node says.
        expected: String,
    },
    /// Another process (or another handle of this one) has the store open.
    #[error("store {} is in use by another process", path.display())]
    Busy {
        /// Where.
        path: PathBuf,
    },
    /// A newer version of this program wrote the store.
    #[error("store {} has format {found}, this program knows formats up to {known}", path.display())]
    VersionTooNew {
        /// Where.
        path: PathBuf,
        /// The store's format.
        found: u32,
        /// [`crate::FORMAT_VERSION`].
        known: u32,
    },
    /// There is no store to read.
    #[error("no store at {}", path.display())]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// The store contradicts itself, or its files are damaged.
    #[error("store {} is corrupt: {what}", path.display())]
    Corrupt {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The operating system failed: disk full, no permission, a broken disk.
    #[error("store {}: {what}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        what: String,
    },
}

impl StorageError {
    /// A value in the store that cannot be.
    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), what: what.into() }
    }

    /// An error of the operating system.
    pub(crate) fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), what: error.to_string() }
    }

    /// An error of RocksDB, by its kind. RocksDB has no kind of its own for a lock that is held and for a
    /// file that is gone: its words tell them from other I/O errors.
    pub(crate) fn rocks(path: &Path, error: &rocksdb::Error) -> Self {
        let (path, what) = (path.to_owned(), error.to_string());
        match error.kind() {
            ErrorKind::Corruption | ErrorKind::InvalidArgument => Self::Corrupt { path, what },
            ErrorKind::IOError if what.contains("lock file") || what.contains("lock hold") => Self::Busy { path },
            ErrorKind::IOError if what.contains("No such file") => Self::Corrupt { path, what },
            _ => Self::Io { path, what },
        }
    }
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> Self {
        Self(error.to_string())
    }
}
