//! RocksDB behind typed tables: every error carries the path, every scan has an end.

use std::path::{Path, PathBuf};

use rocksdb::{
    ColumnFamily, DBIterator, DBPinnableSlice, Direction, IteratorMode, ReadOptions, WriteBatch, WriteOptions,
};
use shardpay_types::Codec;

use crate::error::StorageError;
use crate::tables::Table;

/// Bytes read ahead by a scan.
const READAHEAD_BYTES: usize = 1 << 20;

/// An open database.
pub(crate) struct Db {
    inner: rocksdb::DB,
    path: PathBuf,
}

impl Db {
    /// Wraps a database that has all tables.
    pub(crate) fn new(inner: rocksdb::DB, path: &Path) -> Self {
        Self { inner, path: path.to_owned() }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn family(&self, table: Table) -> &ColumnFamily {
        self.inner.cf_handle(table.name()).expect("a store is opened with all its tables")
    }

    /// Types an error of RocksDB.
    fn error(&self, error: &rocksdb::Error) -> StorageError {
        StorageError::rocks(&self.path, error)
    }

    /// A value that contradicts the format.
    pub(crate) fn corrupt(&self, what: impl Into<String>) -> StorageError {
        StorageError::corrupt(&self.path, what)
    }

    /// The value of a key.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StorageError> {
        self.inner.get_pinned_cf(self.family(table), key).map_err(|error| self.error(&error))
    }

    /// The decoded value of a key.
    pub(crate) fn read<T: Codec>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StorageError> {
        self.get(table, key)?.map(|bytes| self.decode(table, &bytes)).transpose()
    }

    /// Decodes a value of a table.
    pub(crate) fn decode<T: Codec>(&self, table: Table, bytes: &[u8]) -> Result<T, StorageError> {
        T::from_bytes(bytes).map_err(|error| self.corrupt(format!("a value of table {}: {error}", table.name())))
    }

    /// Fixed-size key or value bytes of a table.
    pub(crate) fn array<const N: usize>(&self, table: Table, bytes: &[u8]) -> Result<[u8; N], StorageError> {
        bytes
            .try_into()
            .map_err(|_| self.corrupt(format!("{} bytes instead of {N} in table {}", bytes.len(), table.name())))
    }

    /// Entries from `from` on, below `to` when given; ascending.
    pub(crate) fn scan(&self, table: Table, from: &[u8], to: Option<&[u8]>) -> Scan<'_> {
        let mut options = ReadOptions::default();
        options.set_readahead_size(READAHEAD_BYTES);
        // A scan passes once: it must not push out what mints ask for.
        options.fill_cache(false);
        if let Some(to) = to {
            options.set_iterate_upper_bound(to);
        }
        let mode = IteratorMode::From(from, Direction::Forward);
        Scan { db: self, inner: self.inner.iterator_cf_opt(self.family(table), options, mode) }
    }

    /// The last entry at or below `key`.
    pub(crate) fn last_at(&self, table: Table, key: &[u8]) -> Result<Option<Entry>, StorageError> {
        let mode = IteratorMode::From(key, Direction::Reverse);
        let mut entries = self.inner.iterator_cf(self.family(table), mode);
        entries.next().transpose().map_err(|error| self.error(&error))
    }

    /// Starts a batch.
    pub(crate) fn batch(&self) -> Batch<'_> {
        Batch { db: self, inner: WriteBatch::default() }
    }

    /// Makes all that was written durable.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        self.inner.flush_wal(true).map_err(|error| self.error(&error))
    }

    /// Drops the files whose keys all lie in `from..to`.
    pub(crate) fn drop_files(&self, table: Table, from: &[u8], to: &[u8]) -> Result<(), StorageError> {
        self.inner.delete_file_in_range_cf(self.family(table), from, to).map_err(|error| self.error(&error))
    }

    /// A number RocksDB keeps about one table; zero when it does not know.
    pub(crate) fn property(&self, table: Table, name: &str) -> u64 {
        self.inner.property_int_value_cf(self.family(table), name).ok().flatten().unwrap_or(0)
    }
}

/// Key and value.
pub(crate) type Entry = (Box<[u8]>, Box<[u8]>);

/// Entries of a table.
pub(crate) struct Scan<'a> {
    db: &'a Db,
    inner: DBIterator<'a>,
}

impl Iterator for Scan<'_> {
    type Item = Result<Entry, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.inner.next().map(|entry| entry.map_err(|error| self.db.error(&error)))
    }
}

/// Writes that become visible and survive together.
pub(crate) struct Batch<'a> {
    db: &'a Db,
    inner: WriteBatch,
}

impl Batch<'_> {
    /// Sets a key.
    pub(crate) fn put(&mut self, table: Table, key: &[u8], value: &[u8]) {
        self.inner.put_cf(self.db.family(table), key, value);
    }

    /// Removes a key.
    pub(crate) fn delete(&mut self, table: Table, key: &[u8]) {
        self.inner.delete_cf(self.db.family(table), key);
    }

    /// Removes the keys in `from..to`.
    pub(crate) fn delete_range(&mut self, table: Table, from: &[u8], to: &[u8]) {
        self.inner.delete_range_cf(self.db.family(table), from, to);
    }

    /// Appends the batch to the log; not synced.
    pub(crate) fn write(self) -> Result<(), StorageError> {
        self.db.inner.write(self.inner).map_err(|error| self.db.error(&error))
    }

    /// The same for ascending keys, which then need no search.
    pub(crate) fn write_sorted(self) -> Result<(), StorageError> {
        let mut options = WriteOptions::default();
        options.set_memtable_insert_hint_per_batch(true);
        self.db.inner.write_opt(self.inner, &options).map_err(|error| self.db.error(&error))
    }
}
