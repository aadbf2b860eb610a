//! The replica's records and the store's small services.

mod common;

use std::time::Duration;

use common::*;
use shardpay_ledger::{MemStore, Store};
use shardpay_replica::{PersistId, Record};
use shardpay_storage::{Durability, LedgerStore, NodeStore, RecordLog, StoreOptions};
use shardpay_types::*;

#[test]
fn handles_go_to_threads() {
    fn send<T: Send>() {}
    fn shared<T: Clone + Send + Sync>() {}
    send::<LedgerStore>();
    shared::<RecordLog>();
    shared::<NodeStore>();
}

#[test]
fn records_come_back_in_order() {
    let dir = tempfile::tempdir().expect("temp dir");
    let opened = NodeStore::open(dir.path(), identity(), StoreOptions::standard(Durability::Fsync)).expect("own store");
    let blocks: Vec<_> = [(0, 9, 1), (1, 2, 0), (1, 300, 0), (1, 256, 3), (1, 256, 1), (2, 1, 0)]
        .iter()
        .map(|(epoch, round, author)| dag_block(*epoch, *round, *author, 300))
        .collect();
    let mut records: Vec<_> = blocks.iter().map(|block| block_record(1, block)).collect();
    records.extend([vote_record(2, 300), vote_record(3, 5)]);
    let approval = |epoch, byte| (Epoch::new(epoch), PlanHash([byte; 32]));
    for (epoch, plan) in [approval(1, 1), approval(2, 2), approval(256, 3)] {
        records.push((PersistId(4), Record::PlanApproval { epoch, plan }));
    }
    opened.records.write(&records).expect("written");
    opened.records.sync().expect("synced");
    drop(opened);

    let opened = open(dir.path());
    let recovered = opened.records.recovered(Epoch::new(1), Round::new(2)).expect("records");
    assert_eq!(recovered.blocks, [4, 3, 2, 5].map(|n: usize| blocks[n].clone()));
    assert_eq!(recovered.votes.iter().map(|(height, _)| height.get()).collect::<Vec<_>>(), [5, 300]);
    assert_eq!(recovered.approvals, [approval(1, 1), approval(2, 2), approval(256, 3)]);
    let all = opened.records.recovered(Epoch::ZERO, Round::ZERO).expect("records");
    assert_eq!(all.blocks.len(), blocks.len());
    for block in &blocks {
        let bytes = opened.records.block(block.block().epoch, &block.reference()).expect("read");
        assert_eq!(bytes.as_deref(), Some(&*block.raw().0));
    }
    assert_eq!(opened.records.block(Epoch::new(7), &blocks[0].reference()).expect("read"), None);
}

#[test]
fn pruned_blocks_leave_and_the_last_epoch_stays() {
    let dir = tempfile::tempdir().expect("temp dir");
    let options = StoreOptions { prune_interval: Duration::from_millis(1), ..options() };
    let opened = NodeStore::open(dir.path(), identity(), options).expect("own store");
    let rounds = |epoch: u64| (1..=100).map(move |round| dag_block(epoch, round, 0, 2_000));
    let records: Vec<_> = (0..3).flat_map(rounds).map(|block| block_record(1, &block)).collect();
    opened.records.write(&records).expect("written");
    opened.records.prune(Epoch::new(2), Round::new(60));
    let kept = || {
        let recovered = opened.records.recovered(Epoch::ZERO, Round::ZERO).expect("records");
        recovered.blocks.iter().map(|block| (block.block().epoch.get(), block.reference().round.get())).collect()
    };
    let expected: Vec<_> = (1..=100).map(|round| (1, round)).chain((60..=100).map(|round| (2, round))).collect();
    let mut found: Vec<(u64, u64)> = kept();
    for _ in 0..2_000 {
        if found == expected {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
        found = kept();
    }
    assert_eq!(found, expected);
}

#[test]
fn votes_far_below_a_certificate_are_forgotten() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut opened = open(dir.path());
    let records: Vec<_> = (1..=5_000).map(|height| vote_record(height, height)).collect();
    opened.records.write(&records).expect("written");
    let certificates: Vec<_> = (1..=4_900).map(|n| (Height::new(n), Certificate::default())).collect();
    opened.ledger.write(shardpay_ledger::StateBatch { certificates, ..Default::default() }).expect("written");
    let votes = opened.records.recovered(Epoch::ZERO, Round::ZERO).expect("records").votes;
    assert_eq!(votes.first().map(|(height, _)| height.get()), Some(4_900 - 4_096 + 1));
    assert_eq!(votes.last().map(|(height, _)| height.get()), Some(5_000));
}

#[test]
fn a_reader_sees_what_the_node_wrote() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut opened = open(dir.path());
    let mut memory = MemStore::new();
    for batch in history() {
        memory.write(batch.clone()).expect("memory");
        opened.ledger.write(batch).expect("written");
    }
    opened.store.meta_put("genesis", b"plan").expect("written");
    let expected = contents(&memory);
    assert_eq!(opened.store.height().get(), expected.blocks.len() as u64);
    let served = opened.store.certified_block_bytes(Height::new(2)).expect("read").expect("certified");
    drop(opened);

    let read = NodeStore::open_read_only(dir.path()).expect("a store");
    assert_eq!(read.height().get(), expected.blocks.len() as u64);
    assert_eq!(read.meta_get("genesis").expect("read").as_deref(), Some(&b"plan"[..]));
    assert_eq!(read.meta_get("gen").expect("read"), None);
    let blocks: Vec<_> = read.blocks(Height::new(1)).collect::<Result<_, _>>().expect("blocks");
    assert!(blocks.iter().eq(expected.blocks.iter().map(|block| &**block)));
    let certified = read.certified_block(Height::new(2)).expect("read").expect("certified");
    assert_eq!(certified.to_bytes(), served);
    assert_eq!(Some(certified.block.header), read.certified_header(Height::new(2)).expect("read").map(|c| c.header));
    let mut sum = Total::ZERO;
    read.accounts(|_, state| sum = sum.checked_add(state.balance).expect("small")).expect("accounts");
    assert_eq!(read.totals().expect("totals").balances, sum);
    assert!(read.totals().expect("totals").conserved() && sum > Total::ZERO);
    assert!(read.stats().expect("figures").disk_bytes > 0);
}

#[test]
fn much_that_waits_is_flushed_by_itself() {
    let dir = tempfile::tempdir().expect("temp dir");
    let options = StoreOptions { unflushed_max: 4, ..options() };
    let mut opened = NodeStore::open(dir.path(), identity(), options).expect("own store");
    for batch in history() {
        opened.ledger.write(batch).expect("written");
        assert!(opened.store.stats().expect("figures").unflushed < 4 * 8, "bounded");
    }
    assert!(opened.store.stats().expect("figures").flushed > Height::ZERO);
}
