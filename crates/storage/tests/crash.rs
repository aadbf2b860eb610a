//! Kills at any point: the log is cut at a random byte, and what a reopened store holds must be a prefix of
//! what was written, the same prefix for the ledger and for the records.

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use common::*;
use proptest::prelude::*;
use shardpay_ledger::{MemStore, StateBatch, Store};
use shardpay_storage::Opened;
use shardpay_types::{Epoch, Round};

static HISTORY: LazyLock<Vec<StateBatch>> = LazyLock::new(history);

/// Something written.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The ledger's next batch.
    Batch,
    /// A record: a DAG block of about so many bytes, or a vote.
    Block(usize),
    Vote,
}

/// What happens around a step.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Around {
    Nothing,
    /// Accounts are flushed.
    Flush,
    /// The process dies and starts again; nothing is lost.
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<(Step, Around)>> {
    let step = prop_oneof![
        6 => Just(Step::Batch),
        2 => (0usize..20_000).prop_map(Step::Block),
        2 => Just(Step::Vote),
    ];
    let around = prop_oneof![12 => Just(Around::Nothing), 2 => Just(Around::Flush), 1 => Just(Around::Kill)];
    prop::collection::vec((step, around), 1..140)
}

/// Writes one step; `n` numbers the records.
fn write(opened: &mut Opened, step: Step, batches: &mut std::slice::Iter<'_, StateBatch>, n: u64) {
    let record = match step {
        Step::Batch => {
            let Some(batch) = batches.next() else { return };
            return opened.ledger.write(batch.clone()).expect("written");
        }
        Step::Block(bytes) => block_record(n, &dag_block(0, n, 0, bytes)),
        Step::Vote => vote_record(n, n),
    };
    opened.records.write(&[record]).expect("written");
}

/// Numbers of the records a store holds, ascending.
fn records(opened: &Opened) -> Vec<u64> {
    let recovered = opened.records.recovered(Epoch::ZERO, Round::ZERO).expect("records");
    let blocks = recovered.blocks.iter().map(|block| block.reference().round.get());
    let mut numbers: Vec<_> = blocks.chain(recovered.votes.iter().map(|(height, _)| height.get())).collect();
    numbers.sort_unstable();
    numbers
}

/// The newest file of the log.
fn log_file(dir: &Path) -> PathBuf {
    let files = fs::read_dir(dir).expect("a store").map(|file| file.expect("a file").path());
    files.filter(|path| path.extension().is_some_and(|e| e == "log")).max().expect("a store has a log")
}

/// Cuts the newest log file to `kept` of 1,000 parts.
fn cut(dir: &Path, kept: u64) {
    let file = File::options().write(true).open(log_file(dir)).expect("a log");
    let len = file.metadata().expect("a log").len();
    file.set_len(len * kept / 1_000).expect("cut");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_cut_log_holds_a_prefix(steps in steps(), kept in 0u64..=1_000) {
        let dir = tempfile::tempdir().expect("temp dir");
        let mut opened = open(dir.path());
        let mut batches = HISTORY.iter();
        for (n, (step, around)) in (1..).zip(&steps) {
            write(&mut opened, *step, &mut batches, n);
            match around {
                Around::Nothing => {}
                Around::Flush => opened.store.flush().expect("flushed"),
                Around::Kill => {
                    drop(opened);
                    opened = open(dir.path());
                }
            }
        }
        let whole = contents(&opened.ledger);
        prop_assert_eq!(records(&opened), numbers_of_records(&steps, steps.len()));
        drop(opened);
        cut(dir.path(), kept);
        check_and_go_on(dir.path(), &steps, &whole, kept == 1_000)?;
    }
}

fn numbers_of_records(steps: &[(Step, Around)], count: usize) -> Vec<u64> {
    let numbered = (1..).zip(&steps[..count]);
    numbered.filter(|(_, (step, _))| !matches!(step, Step::Batch)).map(|(n, _)| n).collect()
}

/// A prefix of `steps` is in the store; the rest, written now, gives the whole.
fn check_and_go_on(dir: &Path, steps: &[(Step, Around)], whole: &Contents, uncut: bool) -> Result<(), TestCaseError> {
    let mut opened = open(dir);
    let (survived, found) = (records(&opened), contents(&opened.ledger));
    let mut memory = MemStore::new();
    let mut batches = HISTORY.iter();
    let mut written = None;
    for count in 0..=steps.len() {
        if count > 0
            && matches!(steps[count - 1].0, Step::Batch)
            && let Some(batch) = batches.next()
        {
            memory.write(batch.clone()).expect("memory");
        }
        if numbers_of_records(steps, count) == survived
            && memory.tip().expect("memory") == found.tip
            && contents(&memory) == found
        {
            written = Some(count);
            break;
        }
    }
    prop_assert!(written.is_some(), "no prefix of the steps has these records and this ledger");
    let written = written.unwrap_or(0);
    prop_assert!(!uncut || contents(&opened.ledger) == *whole);
    for (n, (step, _)) in (1..).zip(steps).skip(written) {
        write(&mut opened, *step, &mut batches, n);
    }
    prop_assert_eq!(&contents(&opened.ledger), whole);
    opened.store.close().expect("closed");
    drop(opened);
    let opened = open(dir);
    prop_assert_eq!(opened.store.stats().expect("figures").unflushed, 0);
    prop_assert_eq!(&contents(&opened.ledger), whole);
    Ok(())
}

#[test]
fn the_history_has_everything() {
    let mut memory = MemStore::new();
    HISTORY.iter().for_each(|batch| memory.write(batch.clone()).expect("memory"));
    let whole = contents(&memory);
    assert!(HISTORY.iter().any(|batch| !batch.outbox_pruned.is_empty()));
    let messages: usize = HISTORY.iter().map(|batch| batch.outbox.len()).sum();
    assert!(whole.accounts.len() >= 4 && whole.deposits.len() >= 20 && messages > 40);
    assert!(!whole.outbox.concat().is_empty());
    assert!(whole.closings.concat().len() == 1 && whole.history.iter().flatten().count() > 20);
}

#[test]
fn accounts_flushed_in_part_are_brought_up_to_the_tip() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut opened = open(dir.path());
    let (first, second) = HISTORY.split_at(HISTORY.len() / 2);
    first.iter().for_each(|batch| opened.ledger.write(batch.clone()).expect("written"));
    opened.store.flush().expect("flushed");
    second.iter().for_each(|batch| opened.ledger.write(batch.clone()).expect("written"));
    let whole = contents(&opened.ledger);
    let before = File::open(log_file(dir.path())).and_then(|log| log.metadata()).expect("a log").len();
    opened.store.flush().expect("flushed");
    let after = File::open(log_file(dir.path())).and_then(|log| log.metadata()).expect("a log").len();
    drop(opened);
    // The flush wrote deposits, accounts, the height: all cuts between leave the tip as it is.
    for len in (before..=after).rev().step_by(97) {
        File::options().write(true).open(log_file(dir.path())).and_then(|log| log.set_len(len)).expect("cut");
        let read = shardpay_storage::NodeStore::open_read_only(dir.path()).expect("a store");
        let mut accounts = Vec::new();
        read.accounts(|key, state| accounts.push((key, state))).expect("accounts");
        assert_eq!(accounts, whole.accounts, "cut at {len}");
        let mut deposits = Vec::new();
        read.deposits(|deposit| deposits.push(deposit)).expect("deposits");
        assert_eq!(deposits, whole.deposits, "cut at {len}");
    }
}
