//! Stores that are not to be used: each refusal is its own error and names what differs and where.

mod common;

use std::fs;
use std::path::Path;

use common::*;
use rocksdb::{DB, Options};
use shardpay_ledger::Store;
use shardpay_storage::{FORMAT_VERSION, NodeStore, StorageError, StoreIdentity};
use shardpay_types::{ChainId, CommitteeId, PublicKey};

fn refusal(dir: &Path, identity: StoreIdentity) -> StorageError {
    match NodeStore::open(dir, identity, options()) {
        Ok(_) => panic!("opened"),
        Err(error) => {
            assert!(error.to_string().contains(&dir.display().to_string()), "{error}");
            error
        }
    }
}

/// A store with some history, its tables in files.
fn filled(dir: &Path) {
    let mut opened = open(dir);
    history().into_iter().for_each(|batch| opened.ledger.write(batch).expect("written"));
    opened.store.close().expect("closed");
    drop(opened);
    let db = raw(dir, &[]);
    let names = DB::list_cf(&Options::default(), dir).expect("names");
    names.iter().for_each(|name| db.flush_cf(db.cf_handle(name).expect("listed")).expect("flushed"));
}

/// The database as RocksDB sees it, with more tables if wanted.
fn raw(dir: &Path, more: &[&str]) -> DB {
    let mut names = DB::list_cf(&Options::default(), dir).expect("names");
    names.extend(more.iter().map(|name| (*name).to_owned()));
    let mut options = Options::default();
    options.create_missing_column_families(true);
    DB::open_cf(&options, dir, names).expect("a database")
}

/// Files of the store with this ending, ascending.
fn files(dir: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let all = fs::read_dir(dir).expect("a store").map(|file| file.expect("a file").path());
    let mut found: Vec<_> = all.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    found.sort();
    found
}

#[test]
fn a_foreign_store_is_named() {
    let dir = tempfile::tempdir().expect("temp dir");
    drop(open(dir.path()));
    let own = identity();
    let others = [
        ("chain", StoreIdentity { chain: ChainId([7; 32]), ..own }),
        ("node key", StoreIdentity { node_key: PublicKey([7; 32]), ..own }),
        ("committee", StoreIdentity { committee: CommitteeId::at(7), ..own }),
    ];
    for (expected, other) in others {
        let error = refusal(dir.path(), other);
        assert!(matches!(&error, StorageError::Foreign { field, .. } if *field == expected), "{error:?}");
        assert!(error.to_string().contains(&format!("another {expected}")) && error.to_string().contains('7'));
    }
    drop(open(dir.path()));
    let read = NodeStore::open_read_only(dir.path()).expect("anybody may look");
    assert_eq!(*read.identity(), own);
}

#[test]
fn a_store_in_use_is_busy() {
    let dir = tempfile::tempdir().expect("temp dir");
    let opened = open(dir.path());
    assert!(matches!(refusal(dir.path(), identity()), StorageError::Busy { .. }));
    drop(opened);
    drop(open(dir.path()));
}

#[test]
fn a_newer_store_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("temp dir");
    drop(open(dir.path()));
    let db = raw(dir.path(), &["a table of tomorrow"]);
    db.put(b"version", (FORMAT_VERSION + 1).to_le_bytes()).expect("written");
    drop(db);
    let expected = FORMAT_VERSION + 1;
    for error in [refusal(dir.path(), identity()), NodeStore::open_read_only(dir.path()).err().expect("refused")] {
        assert!(matches!(error, StorageError::VersionTooNew { found, .. } if found == expected), "{error:?}");
    }
    // the newer format gave up a table of ours
    let mut db = raw(dir.path(), &[]);
    db.drop_cf("votes").expect("dropped");
    drop(db);
    assert!(matches!(refusal(dir.path(), identity()), StorageError::VersionTooNew { .. }));
}

#[test]
fn missing_things_are_corrupt() {
    let dir = tempfile::tempdir().expect("temp dir");
    filled(dir.path());
    let mut db = raw(dir.path(), &[]);
    db.drop_cf("votes").expect("dropped");
    drop(db);
    let error = refusal(dir.path(), identity());
    assert!(matches!(&error, StorageError::Corrupt { what, .. } if what.contains("tables")), "{error:?}");

    let dir = tempfile::tempdir().expect("temp dir");
    filled(dir.path());
    fs::remove_file(files(dir.path(), ".sst").first().expect("tables are in files")).expect("removed");
    assert!(matches!(refusal(dir.path(), identity()), StorageError::Corrupt { .. }));

    let dir = tempfile::tempdir().expect("temp dir");
    filled(dir.path());
    fs::remove_file(dir.path().join("CURRENT")).expect("removed");
    let error = refusal(dir.path(), identity());
    assert!(matches!(&error, StorageError::Corrupt { what, .. } if what.contains("CURRENT")), "{error:?}");
}

#[test]
fn a_missing_ledger_block_is_corrupt() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut opened = open(dir.path());
    history().into_iter().for_each(|batch| opened.ledger.write(batch).expect("written"));
    drop(opened);
    let db = raw(dir.path(), &[]);
    db.delete_cf(db.cf_handle("blocks").expect("a table"), 3u64.to_be_bytes()).expect("deleted");
    drop(db);
    let error = refusal(dir.path(), identity());
    assert!(error.to_string().contains("ledger block 3"), "{error}");
}

#[test]
fn flipped_bytes_are_found_not_used() {
    let dir = tempfile::tempdir().expect("temp dir");
    filled(dir.path());
    let pristine: Vec<_> = files(dir.path(), "")
        .iter()
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(path).expect("read")))
        .collect();
    let whole = contents(&open(dir.path()).ledger);
    let damaged = files(dir.path(), ".sst");
    assert!(damaged.len() >= 5);
    for path in damaged {
        restore(dir.path(), &pristine);
        let mut bytes = fs::read(&path).expect("read");
        let middle = bytes.len() / 4;
        bytes[middle] ^= 0x40;
        fs::write(&path, bytes).expect("written");
        // found when opened or when read: a reader gets an error or what was written
        if let Ok(opened) = NodeStore::open(dir.path(), identity(), options()) {
            let mut accounts = Vec::new();
            let read = opened.ledger.accounts(&mut |key, state| accounts.push((key, state)));
            assert!(read.is_err() || accounts == whole.accounts, "{path:?}");
            for (n, expected) in (1..).zip(&whole.blocks) {
                let block = opened.ledger.block(shardpay_types::Height::new(n));
                assert!(block.is_err() || block.as_ref() == Ok(&Some(expected.clone())), "{path:?}");
            }
        }
    }
    for name in ["CURRENT", "MANIFEST"] {
        restore(dir.path(), &pristine);
        let path = fs::read_dir(dir.path()).expect("a store").map(|file| file.expect("a file").path());
        let path = path.into_iter().find(|path| path.to_string_lossy().contains(name)).expect("there");
        let mut bytes = fs::read(&path).expect("read");
        bytes[5] ^= 0xff;
        fs::write(&path, bytes).expect("written");
        let error = refusal(dir.path(), identity());
        assert!(matches!(error, StorageError::Corrupt { .. }), "{name}: {error:?}");
    }
}

fn restore(dir: &Path, pristine: &[(std::path::PathBuf, Vec<u8>)]) {
    files(dir, "").into_iter().for_each(|path| fs::remove_file(path).expect("removed"));
    pristine.iter().for_each(|(path, bytes)| fs::write(path, bytes).expect("written"));
}

#[test]
fn creation_cut_short_is_taken_up_again() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut options = Options::default();
    options.create_if_missing(true);
    drop(DB::open(&options, dir.path()).expect("a database without our tables"));
    assert!(matches!(NodeStore::open_read_only(dir.path()), Err(StorageError::Missing { .. })));
    drop(open(dir.path()));
    drop(open(dir.path()));
}

#[test]
fn nothing_to_read_is_missing() {
    let dir = tempfile::tempdir().expect("temp dir");
    let none = dir.path().join("none");
    assert!(matches!(NodeStore::open_read_only(&none), Err(StorageError::Missing { .. })));
    assert!(!none.exists());
    fs::write(&none, b"a file").expect("written");
    assert!(matches!(refusal(&none, identity()), StorageError::Io { .. }));
}

#[test]
fn a_database_of_somebody_else_is_not_claimed() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut options = Options::default();
    options.create_if_missing(true);
    let db = DB::open(&options, dir.path()).expect("a database");
    db.put(b"something", b"else").expect("written");
    drop(db);
    let error = refusal(dir.path(), identity());
    assert!(matches!(&error, StorageError::Corrupt { what, .. } if what.contains("no version")), "{error:?}");
}
