//! Opaque payloads: a leaf each where genesis allows them, nothing anywhere else.

mod common;

use common::*;
use shardpay_crypto::{opaque_id, root};
use shardpay_ledger::{Ledger, MemStore, ReplayError, TxReject, Verdict, item_leaves, opaque_leaf};
use shardpay_types::*;

fn allowing(opaque_bytes_max: u32) -> World {
    World::new(Setup { opaque_bytes_max, ..Setup::of(1) })
}

fn bytes(n: u8, len: usize) -> Opaque {
    Opaque(vec![n; len].into())
}

fn carrying(transactions: Vec<Transaction>, opaque: Vec<Opaque>) -> Payload {
    Payload { opaque: List::bounded(opaque), ..payload(transactions) }
}

#[test]
fn each_gets_a_leaf_after_the_transactions_and_moves_nothing() {
    let mut world = allowing(512);
    let a = world.account(0, 0);
    let mint = world.mint(world.deposit(0, 0), a, 1_000);
    let executed = world.run_payloads(0, vec![carrying(vec![mint], vec![bytes(1, 512), bytes(2, 0)])]);
    assert_eq!(outcomes(&executed), [Outcome::Applied; 3]);
    assert_eq!([0, 1, 2].map(|n| place(&executed, n)), [0, 1, 2].map(|leaf| (Height::new(1), leaf)));
    let block = &executed.blocks[0].block;
    let id = opaque_id(&world.chain, &bytes(1, 512));
    assert_eq!(executed.verdicts[1].0, id);
    let leaves: Vec<Hash> = block.items.iter().flat_map(|item| item_leaves(&world.chain, item)).collect();
    assert_eq!(leaves[1], opaque_leaf(&id));
    assert_eq!((block.header.leaf_count, block.header.leaves), (3, root(&leaves)));
    assert!(executed.senders.is_empty());

    let before = world.totals(0);
    let executed = world.run_payloads(0, vec![carrying(vec![], vec![bytes(3, 1)])]);
    assert_eq!(executed.blocks.len(), 1, "a payload alone makes a block");
    assert_eq!(world.totals(0), before);
}

#[test]
fn the_same_bytes_are_ordered_as_often_as_they_come() {
    let mut world = allowing(16);
    let twice = carrying(vec![], vec![bytes(1, 16), bytes(1, 16)]);
    let executed = world.run_payloads(0, vec![twice.clone(), twice]);
    assert_eq!(outcomes(&executed).len(), 4);
    let id = opaque_id(&world.chain, &bytes(1, 16));
    assert!(executed.verdicts.iter().all(|(txid, _)| *txid == id));
    assert_eq!((0..4).map(|n| place(&executed, n).1).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn one_that_genesis_does_not_allow_leaves_no_leaf() {
    for (allowed, payload) in [(0, bytes(1, 0)), (0, bytes(1, 16)), (16, bytes(1, 17))] {
        let mut world = allowing(allowed);
        let executed = world.run_payloads(0, vec![carrying(vec![], vec![payload])]);
        assert_eq!(dropped(&executed), [TxReject::OpaqueRefused]);
        assert_eq!(executed.blocks.len(), 0);
    }
}

#[test]
fn blocks_are_cut_at_the_limits() {
    let mut world = World::new(Setup { block_bytes_max: 1 << 20, opaque_bytes_max: 200_000, ..Setup::of(1) });
    let payloads = (0..4).map(|round| carrying(vec![], vec![bytes(round, 200_000), bytes(round, 199_999)]));
    let executed = world.run_payloads(0, payloads.collect());
    let counts: Vec<u32> = executed.blocks.iter().map(|made| made.block.header.leaf_count).collect();
    assert_eq!(counts, [5, 3]);
    assert!(executed.blocks.iter().all(|made| made.block.to_bytes().len() < (1 << 20) + 2_048));
    let mut world = World::new(Setup { leaves_max: 4_096, opaque_bytes_max: 4, ..Setup::of(1) });
    let payloads = (0..2).map(|_| carrying(vec![], vec![bytes(1, 4); 4_096]));
    let executed = world.run_payloads(0, payloads.collect());
    assert!(executed.blocks.iter().all(|made| made.block.header.leaf_count == 4_096));
}

#[test]
fn a_replica_that_replays_gets_the_same_ledger() {
    let mut world = allowing(64);
    for round in 0..5 {
        world.run_payloads(0, vec![carrying(vec![], vec![bytes(round, 64), bytes(7, 9)])]);
    }
    let mut replica = Ledger::open(config(&world.genesis, 0), MemStore::new()).expect("fresh");
    for block in &chain_of(&world.nodes[0].ledger) {
        let executed = replica.replay(block).expect("an honest block");
        assert_eq!(executed.verdicts.len(), 2);
        let again = Ledger::open(config(&world.genesis, 0), replica.store().clone()).expect("opens");
        assert_eq!(again.status(), replica.status());
    }
    assert_same(&replica, &world.nodes[0].ledger);
}

/// Even when a quorum signed it: a block of a ledger without payloads that holds one is not replayed.
#[test]
fn a_certified_block_with_a_forbidden_one_is_not_replayed() {
    for (allowed, expected) in [(0, Err(ReplayError::Diverged)), (16, Ok(()))] {
        let mut world = allowing(allowed);
        let a = world.account(0, 0);
        world.run(0, vec![world.mint(world.deposit(0, 0), a, 1_000)]);
        let mut block = chain_of(&world.nodes[0].ledger)[0].clone();
        let mut items = block.block.items.to_vec();
        items.push(LedgerItem::Opaque(bytes(1, 16)));
        let leaves: Vec<Hash> = items.iter().flat_map(|item| item_leaves(&world.chain, item)).collect();
        let header = &mut block.block.header;
        (header.leaf_count, header.leaves) = (2, root(&leaves));
        block.certificate = world.signatures(0, header, &[0, 1, 2]);
        block.block.items = List::bounded(items);
        let mut replica = Ledger::open(config(&world.genesis, 0), MemStore::new()).expect("fresh");
        let before = replica.checkpoint();
        assert_eq!(replica.replay(&block).map(|_| ()), expected, "{allowed}");
        assert_eq!(replica.checkpoint() == before, allowed == 0);
    }
}

#[test]
fn after_the_epochs_end_none_is_ordered() {
    let mut world = allowing(16);
    let next = world.next_plan(&world.genesis, 0);
    let change = world.epoch_change(&next, 0);
    let both = Payload { epoch_change: Some(change), ..carrying(vec![], vec![bytes(1, 16)]) };
    let late = world.commit(0, vec![both]);
    let closed = world.nodes[0].ledger.execute(&late).expect("memory");
    assert_eq!(outcomes(&closed).len(), 1);
    let (chain, epoch) = (world.chain, Epoch::ZERO);
    let commit = world.nodes[0].commit_of(chain, epoch, vec![carrying(vec![], vec![bytes(2, 16)])]);
    let executed = world.nodes[0].ledger.execute(&commit).expect("memory");
    assert_eq!(verdicts(&executed), [Verdict::Dropped(TxReject::EpochClosed)]);
}
