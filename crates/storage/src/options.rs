//! What a store is opened with, and how RocksDB is set up for it.
//!
//! Sized for many nodes on one small machine: a node's store takes at most
//! [`StoreOptions::memtable_bytes`] + [`StoreOptions::cache_bytes`] and the accounts not flushed yet.

use std::time::Duration;

use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DBRecoveryMode, LogLevel, Options};

use crate::tables::Table;

/// What a sync promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// What was synced survives a power loss.
    Fsync,
    /// What was written survives the death of the process, not of the machine.
    Os,
}

/// Tuning of a store; [`StoreOptions::standard`] suits a node.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// What a sync promises.
    pub durability: Durability,
    /// Most bytes in memtables, over all tables; half of it for one of the large ones.
    pub memtable_bytes: usize,
    /// Whether what is flushed and compacted passes the page cache by: less processor time, but what is read soon after
    /// comes from the disk.
    pub direct_io: bool,
    /// Bytes of the cache of blocks, indices and filters.
    pub cache_bytes: usize,
    /// Accounts are flushed that often.
    pub flush_interval: Duration,
    /// Old DAG blocks are deleted that often: what goes while it is in a memtable is never written to a table.
    pub prune_interval: Duration,
    /// Accounts and deposit references not flushed yet that start a flush early. At twice as many, writing
    /// waits for a flush.
    pub unflushed_max: usize,
    /// Bytes of ledger blocks above the flushed height that start a flush early: bounds what opening reads.
    pub replay_bytes_max: usize,
    /// From 0 to below 1: how far this store is ahead of one that began at the same time and writes the same, with what
    /// it does now and then (flushing accounts, flushing memtables). Members of a committee have different ones, so that
    /// they do not all stall at once.
    pub phase: f64,
}

impl StoreOptions {
    /// The options of a node.
    pub const fn standard(durability: Durability) -> Self {
        Self {
            durability,
            memtable_bytes: 32 << 20,
            direct_io: false,
            cache_bytes: 8 << 20,
            flush_interval: Duration::from_secs(10),
            prune_interval: Duration::from_secs(1),
            unflushed_max: 200_000,
            replay_bytes_max: 64 << 20,
            phase: 0.0,
        }
    }

    /// What becomes of a limit of bytes: the farther this store is ahead, the sooner it is reached.
    fn sooner(&self, bytes: usize) -> usize {
        (bytes as f64 * (1.0 - AHEAD_MAX * self.phase.clamp(0.0, 1.0))) as usize
    }

    /// Until the first flush of accounts.
    pub(crate) fn first_flush(&self) -> Duration {
        self.flush_interval.mul_f64(1.0 - self.phase.clamp(0.0, 1.0) / 2.0)
    }
}

/// Most bytes of write-ahead log that opening reads again, or three times as much as memtables hold: above it, RocksDB
/// flushes the oldest table.
const WAL_BYTES_MAX: usize = 96 << 20;
/// By what share the memtables of a store that is farthest ahead are smaller.
const AHEAD_MAX: f64 = 0.4;
/// Memtable of a large table, or half of what all may have.
const LARGE_MEMTABLE_BYTES: usize = 16 << 20;

/// Options of the database.
pub(crate) fn database(options: &StoreOptions) -> Options {
    let mut db = Options::default();
    db.set_db_write_buffer_size(options.sooner(options.memtable_bytes));
    db.set_max_total_wal_size(WAL_BYTES_MAX.max(3 * options.memtable_bytes) as u64);
    db.set_use_direct_io_for_flush_and_compaction(options.direct_io);
    // After a crash the log ends at its first torn write; what was synced stands before it.
    db.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    db.set_paranoid_checks(true);
    db.set_max_background_jobs(2);
    db.set_max_open_files(256);
    db.set_max_file_opening_threads(1);
    db.set_bytes_per_sync(1 << 20);
    db.set_skip_stats_update_on_db_open(true);
    db.set_avoid_unnecessary_blocking_io(true);
    // The program has its own telemetry; RocksDB's log keeps warnings.
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    db.set_log_level(LogLevel::Warn);
    db.set_keep_log_file_num(2);
    db.set_max_log_file_size(1 << 20);
    db
}

/// The tables with their options, all on one cache.
pub(crate) fn descriptors(options: &StoreOptions) -> Vec<ColumnFamilyDescriptor> {
    let cache = Cache::new_lru_cache(options.cache_bytes);
    let describe = |table: &Table| ColumnFamilyDescriptor::new(table.name(), family(*table, options, &cache));
    Table::ALL.iter().map(describe).collect()
}

fn family(table: Table, options: &StoreOptions, cache: &Cache) -> Options {
    let large = options.sooner(LARGE_MEMTABLE_BYTES.max(options.memtable_bytes / 2));
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_block_size(16 << 10);
    if matches!(table, Table::Deposits) {
        // Every mint asks whether its reference is new, and it is.
        blocks.set_bloom_filter(10.0, false);
    }
    let mut family = Options::default();
    family.set_block_based_table_factory(&blocks);
    family.set_compression_type(DBCompressionType::None);
    family.set_write_buffer_size(if table.is_large() { large } else { 4 << 20 });
    family.set_max_write_buffer_number(3);
    family.set_arena_block_size(256 << 10);
    // Small files of the DAG leave whole when their rounds are pruned, without a compaction.
    family.set_target_file_size_base(16 << 20);
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_ahead_flushes_sooner() {
        let of = |phase| {
            let options = StoreOptions { phase, ..StoreOptions::standard(Durability::Os) };
            (options.first_flush(), options.sooner(1_000))
        };
        assert_eq!(of(0.0), (Duration::from_secs(10), 1_000));
        assert_eq!(of(0.5), (Duration::from_millis(7_500), 800));
        assert_eq!((of(7.0), of(-1.0)), (of(1.0), of(0.0)));
    }
}
