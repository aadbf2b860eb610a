//! What the signaler keeps on disk: a small typed key-value table.
//!
//! Guarantees: a write is one atomic batch and durable when it returns; what was acknowledged to a node was
//! written before. The phase is never stored: it follows from which rows exist, so a crash between two
//! writes leaves a phase that was real.
//!
//! Two stores: RocksDB, which also refuses a second signaler (its lock), and memory for tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rocksdb::{DB, IteratorMode, Options, WriteBatch, WriteOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

mod rows;

pub use rows::{EpochStart, NodeRow, Row, Rows, SettingsRow};

/// Why the store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database does not open; another signaler may hold it.
    #[error("store {path:?} does not open (is another signaler running on it?): {source}")]
    Open {
        /// Where.
        path: PathBuf,
        /// RocksDB's reason.
        source: rocksdb::Error,
    },
    /// Reading or writing failed.
    #[error("store: {0}")]
    Io(#[from] rocksdb::Error),
    /// A row is not what this program writes.
    #[error("store: row {key:?}: {why}")]
    Corrupt {
        /// The row's key.
        key: String,
        /// What is wrong.
        why: String,
    },
}

/// An encoded row.
pub(crate) type Encoded = (String, Vec<u8>);

/// Rows on a medium.
pub trait Store: Send + Sync {
    /// All rows.
    fn load(&self) -> Result<Rows, StoreError>;
    /// Writes `rows` in one batch; durable on return.
    fn write(&self, rows: &[Row]) -> Result<(), StoreError>;
}

/// Rows in RocksDB.
pub struct RocksStore {
    db: DB,
}

impl RocksStore {
    /// Opens or creates the database at `path`.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_size(4 << 20);
        options.set_keep_log_file_num(2);
        options.set_max_open_files(64);
        let db = DB::open(&options, path).map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
        Ok(Self { db })
    }
}

impl Store for RocksStore {
    fn load(&self) -> Result<Rows, StoreError> {
        let mut rows = Rows::default();
        for entry in self.db.iterator(IteratorMode::Start) {
            let (key, value) = entry?;
            rows.read(&String::from_utf8_lossy(&key), &value)?;
        }
        Ok(rows)
    }

    fn write(&self, rows: &[Row]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for (key, value) in rows.iter().map(Row::encode) {
            batch.put(key, value);
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.db.write_opt(batch, &options)?)
    }
}

/// Rows in memory, encoded as on disk.
#[derive(Default)]
pub struct MemoryStore {
    rows: std::sync::Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Store for MemoryStore {
    fn load(&self) -> Result<Rows, StoreError> {
        let mut out = Rows::default();
        let rows = self.rows.lock().expect("no writer panics");
        rows.iter().try_for_each(|(key, value)| out.read(key, value))?;
        Ok(out)
    }

    fn write(&self, rows: &[Row]) -> Result<(), StoreError> {
        self.rows.lock().expect("no writer panics").extend(rows.iter().map(Row::encode));
        Ok(())
    }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("rows have no maps with foreign keys")
}

fn from_json<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(value).map_err(|err| StoreError::Corrupt { key: key.to_owned(), why: err.to_string() })
}
