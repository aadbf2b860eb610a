//! Figures about a store.

use std::fs;

use shardpay_types::Height;

use crate::behind::Behind;
use crate::db::Db;
use crate::error::StorageError;
use crate::keys;
use crate::tables::Table;

/// What a store takes and has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreStats {
    /// Bytes of all files of the store.
    pub disk_bytes: u64,
    /// Bytes of memtables.
    pub memtable_bytes: u64,
    /// Bytes in the block cache.
    pub cache_bytes: u64,
    /// Estimate of what compactions have to rewrite.
    pub pending_compaction_bytes: u64,
    /// Accounts and deposit references not flushed yet.
    pub unflushed: usize,
    /// Height of the last ledger block.
    pub height: Height,
    /// Height up to which accounts are flushed.
    pub flushed: Height,
}

pub(crate) fn collect(db: &Db, behind: &Behind) -> Result<StoreStats, StorageError> {
    let sum = |name| Table::ALL.iter().map(|table| db.property(*table, name)).sum();
    Ok(StoreStats {
        disk_bytes: disk_bytes(db)?,
        memtable_bytes: sum("rocksdb.size-all-mem-tables"),
        cache_bytes: db.property(Table::Meta, "rocksdb.block-cache-usage"),
        pending_compaction_bytes: sum("rocksdb.estimate-pending-compaction-bytes"),
        unflushed: behind.waiting().entries,
        height: behind.height(),
        flushed: behind.flushed(),
    })
}

/// Files come and go meanwhile; one that has gone counts nothing.
fn disk_bytes(db: &Db) -> Result<u64, StorageError> {
    let files = fs::read_dir(db.path()).map_err(|error| StorageError::io(db.path(), &error))?;
    Ok(files.filter_map(|file| file.ok()?.metadata().ok()).map(|file| file.len()).sum())
}

/// Block and certificate one after the other: the encoding of a `CertifiedBlock`.
pub(crate) fn certified_block_bytes(db: &Db, height: Height) -> Result<Option<Vec<u8>>, StorageError> {
    let key = keys::height(height);
    let Some(certificate) = db.get(Table::Certificates, &key)? else { return Ok(None) };
    let block = db.get(Table::Blocks, &key)?;
    Ok(block.map(|block| [&*block, &*certificate].concat()))
}
