//! A disk that takes no more: the store says so with the path and the system's reason, says so again at every
//! later write, and what it had made durable is there when the disk has room again.
//!
//! The disk is full for a child process: a shell gives it a limit on the size of files (`ulimit -f`) and ignores
//! the signal that comes with it, so that writes fail as they do on a full disk.

mod common;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::*;
use shardpay_ledger::Store;
use shardpay_storage::{Durability, NodeStore, Opened, StorageError, StoreOptions};
use shardpay_types::{Epoch, Height, Round};

const DIR: &str = "SHARDPAY_TEST_STORE";
/// In the shell's blocks of 512 bytes or 1 KiB: above what an empty store needs, below what is written.
const FILE_BLOCKS_MAX: u32 = 2_048;

/// One log file takes all, so that it meets the limit.
fn open_large(dir: &Path) -> Opened {
    let options = StoreOptions { memtable_bytes: 64 << 20, durability: Durability::Fsync, ..options() };
    NodeStore::open(dir, identity(), options).expect("own store")
}

/// Runs one test of this file, under the limit.
fn run_limited(test: &str, dir: &Path) -> String {
    let script = format!("trap '' XFSZ; ulimit -f {FILE_BLOCKS_MAX} || exit 9; exec \"$0\" \"$@\"");
    let own = std::env::current_exe().expect("this program");
    let mut child = Command::new("sh");
    child.arg("-c").arg(script).arg(own).args(["--exact", test, "--ignored", "--nocapture"]).env(DIR, dir);
    let output = child.output().expect("there is a shell");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert_ne!(output.status.code(), Some(9), "the shell sets no limit on the size of files: {text}");
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn what_was_durable_survives_and_the_failure_is_told() {
    let dir = tempfile::tempdir().expect("temp dir");
    let text = run_limited("child_writes_until_the_disk_is_full", dir.path());
    let durable: u64 = text
        .lines()
        .filter_map(|line| line.split("durable ").nth(1)?.split_whitespace().next()?.parse().ok())
        .max()
        .unwrap_or_else(|| panic!("nothing was written before the disk was full: {text}"));
    assert!(text.contains("the disk was full"), "{text}");

    // with room again: all that was durable, in one piece, and it goes on
    let mut opened = open_large(dir.path());
    let recovered = opened.records.recovered(Epoch::ZERO, Round::ZERO).expect("records");
    let mut votes: Vec<u64> = recovered.votes.iter().map(|(height, _)| height.get()).collect();
    votes.sort_unstable();
    let last = votes.last().copied().unwrap_or(0);
    assert!(last >= durable, "{durable} was durable, {last} is the last one there");
    assert!(last <= durable + 1, "only the write that failed can be there beside it");
    assert_eq!(votes, (1..=last).collect::<Vec<_>>(), "without holes");
    let blocks = recovered.blocks.iter().map(|block| block.reference().round.get()).collect::<Vec<_>>();
    assert_eq!(blocks.len() as u64, last, "a vote and its block stand in one batch");
    let before = contents(&opened.ledger);
    assert_eq!(before.blocks.len() as u64, opened.store.height().get());
    assert!(!before.blocks.is_empty(), "the ledger's batches were written first");
    opened.records.write(&[vote_record(1, last + 1)]).expect("written");
    opened.records.sync().expect("synced");
    opened.store.close().expect("closed");
    drop(opened);
    opened = open_large(dir.path());
    assert_eq!(contents(&opened.ledger), before);
    assert_eq!(opened.records.recovered(Epoch::ZERO, Round::ZERO).expect("records").votes.len() as u64, last + 1);
}

#[test]
#[ignore = "the child of what_was_durable_survives_and_the_failure_is_told"]
fn child_writes_until_the_disk_is_full() {
    let dir = PathBuf::from(std::env::var_os(DIR).expect("run by its parent"));
    let mut opened = open_large(&dir);
    history().into_iter().for_each(|batch| opened.ledger.write(batch).expect("written"));
    opened.store.flush().expect("accounts are flushed while there is room");
    let failed = (1..).find_map(|n| {
        let done = opened.records.write(&[block_record(n, &dag_block(0, n, 0, 20_000)), vote_record(n, n)]);
        match done.and_then(|()| opened.records.sync()) {
            Ok(()) => {
                println!("durable {n}");
                None
            }
            Err(error) => Some((n, error)),
        }
    });
    let (n, error) = failed.expect("the disk fills up");
    let StorageError::Io { path, what } = &error else { panic!("not the system's failure: {error:?}") };
    assert_eq!(path, &dir, "{error}");
    assert!(["File too large", "No space left"].iter().any(|reason| what.contains(reason)), "{error}");
    // nothing is passed over later on, by whoever writes
    for more in 0..5 {
        let record = opened.records.write(&[vote_record(n + more, n + more)]);
        assert!(record.and_then(|()| opened.records.sync()).is_err(), "a write after the failure is told to be done");
    }
    assert!(opened.store.meta_put("name", &[1; 100]).is_err());
    assert_eq!(opened.store.meta_get("name").expect("reading goes on"), None);
    assert!(opened.ledger.block(Height::new(1)).expect("reading goes on").is_some());
    println!("the disk was full: {error}");
    std::io::stdout().flush().expect("told");
}
