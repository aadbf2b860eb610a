//! Floor 4: the RocksDB store of a node and its recovery.
