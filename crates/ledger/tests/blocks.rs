//! How commits become ledger blocks: which do, where they are cut, what their headers say.

mod common;

use common::*;
use shardpay_crypto::{MerkleLog, header_hash, leaders_hash, leaf_hash};
use shardpay_ledger::{MadeBlock, item_leaves};
use shardpay_types::*;

fn funded(setup: Setup) -> (World, Key, Key) {
    let mut world = World::new(setup);
    let (a, b) = (world.account(0, 0), world.account(0, 1));
    world.run(0, vec![world.mint(world.deposit(0, 0), a, 1 << 40)]);
    (world, a, b)
}

fn payments(world: &World, from: Key, to: Key, sequences: std::ops::Range<u64>) -> Vec<Payload> {
    let all: Vec<_> = sequences.map(|sequence| world.pay(from, to, 10, sequence)).collect();
    all.chunks(3_000).map(|chunk| payload(chunk.to_vec())).collect()
}

fn leaf_counts(blocks: &[MadeBlock]) -> Vec<u32> {
    blocks.iter().map(|made| made.block.header.leaf_count).collect()
}

#[test]
fn a_commit_is_cut_at_the_leaf_limit() {
    let (mut world, a, b) = funded(Setup { leaves_max: 4_096, ..Setup::of(1) });
    let payloads = payments(&world, a, b, 0..9_000);
    let executed = world.run_payloads(0, payloads);
    assert_eq!(leaf_counts(&executed.blocks), [4_096, 4_096, 808]);
    let last: Vec<_> = executed.blocks.iter().map(|made| made.block.header.last_of_commit).collect();
    assert_eq!(last, [false, false, true]);
    assert_eq!(place(&executed, 4_095), (Height::new(2), 4_095));
    assert_eq!(place(&executed, 4_096), (Height::new(3), 0));
    assert_eq!(place(&executed, 8_999), (Height::new(4), 807));
}

#[test]
fn a_commit_is_cut_at_the_byte_limit() {
    let (mut world, a, b) = funded(Setup { leaves_max: 65_536, block_bytes_max: 1 << 20, ..Setup::of(1) });
    let executed = world.run_payloads(0, payments(&world, a, b, 0..9_000));
    let bytes = |made: &MadeBlock| made.block.items.iter().map(|item| item.to_bytes().len()).sum::<usize>();
    let each = executed.blocks[0].block.items[0].to_bytes().len();
    let fit = (1 << 20) / each;
    assert_eq!(leaf_counts(&executed.blocks)[0] as usize, fit);
    assert!(executed.blocks.iter().all(|made| bytes(made) <= 1 << 20));
    assert_eq!(leaf_counts(&executed.blocks).iter().sum::<u32>(), 9_000);
}

#[test]
fn a_pack_is_never_split() {
    let mut world = World::new(Setup { leaves_max: 4_096, ..Setup::of(2) });
    let (a, b, c) = (world.account(0, 0), world.account(1, 0), world.account(1, 1));
    world.run(0, vec![world.mint(world.deposit(0, 0), a, 1 << 40)]);
    world.run(1, vec![world.mint(world.deposit(1, 0), b, 1 << 40)]);
    world.run(0, (0..2_048).map(|n| world.pay(a, b, 10, n)).collect());
    let pack = world.pack(0, 1).expect("messages wait");
    // 2,049 leaves, then a pack of 2,048: it does not fit, and goes into the next block whole.
    let mut payloads = payments(&world, b, c, 0..2_049);
    payloads.push(with_pack(pack));
    let executed = world.run_payloads(1, payloads);
    assert_eq!(leaf_counts(&executed.blocks), [2_049, 2_048]);
    let mut payloads = payments(&world, b, c, 2_049..4_097);
    world.run(0, (2_048..4_096).map(|n| world.pay(a, b, 10, n)).collect());
    payloads.push(with_pack(world.pack(0, 1).expect("messages wait")));
    assert_eq!(leaf_counts(&world.run_payloads(1, payloads).blocks), [4_096], "exactly full");
}

#[test]
fn quiet_commits_make_a_block_every_32_rounds_only() {
    let (mut world, _, _) = funded(Setup::of(1));
    assert_eq!(world.nodes[0].round, 1);
    let mut made = Vec::new();
    for _ in 0..70 {
        let executed = world.run(0, vec![]);
        made.extend(executed.blocks.iter().map(|block| (executed.round.get(), block.block.header.leaf_count)));
    }
    assert_eq!(made, [(33, 0), (65, 0)]);
    assert_eq!(world.nodes[0].ledger.status().last_output, Round::new(71));
}

#[test]
fn headers_chain_and_say_what_they_must() {
    let (mut world, a, b) = funded(Setup::of(1));
    let mut all = vec![];
    let mut history = MerkleLog::new();
    for n in 0..20 {
        let executed = world.run(0, vec![world.pay(a, b, 10, n)]);
        all.extend(executed.blocks);
    }
    let chain = chain_of(&world.nodes[0].ledger);
    let mut parent = HeaderHash::ZERO;
    for (n, block) in chain.iter().enumerate() {
        let header = &block.block.header;
        assert_eq!((header.height.get(), header.parent), (n as u64 + 1, parent));
        assert_eq!(header.history, history.root());
        let leaves: Vec<Hash> = block.block.items.iter().flat_map(|item| item_leaves(&world.chain, item)).collect();
        assert_eq!((header.leaf_count as usize, header.leaves), (leaves.len(), shardpay_crypto::root(&leaves)));
        assert!(header.totals.conserved() && header.last_of_commit && !header.is_closing());
        assert_eq!(header.totals.balances, Total::from_micros(1 << 40));
        parent = header_hash(header);
        history.append(leaf_hash(parent.as_bytes()));
    }
    assert_eq!(chain.len(), 21);
    assert_eq!(all.last().expect("made").hash, parent);
    let effects: std::collections::BTreeSet<_> = chain.iter().map(|block| block.block.header.effects).collect();
    assert_eq!(effects.len(), 21, "effects chain");
}

#[test]
fn leader_lists_are_those_the_headers_commit_to() {
    let (mut world, a, b) = funded(Setup::of(1));
    for n in 0..200 {
        let transactions = if n % 10 == 0 { vec![world.pay(a, b, 10, n / 10)] } else { vec![] };
        world.run(0, transactions);
    }
    let ledger = &world.nodes[0].ledger;
    let height = ledger.status().height;
    for height in (1..=height.get()).map(Height::new) {
        let list = ledger.leaders(height).expect("recent");
        let header = &ledger.blocks(height, 1).expect("memory")[0].block.header;
        assert_eq!(leaders_hash(&list), header.leaders);
        assert_eq!(list.last(), Some(&header.anchor));
    }
    assert_eq!(ledger.leaders(height.next()), None);
    let reopened = world.reopen(0);
    assert_eq!(reopened.leaders(height), ledger.leaders(height));
    assert_eq!(reopened.status(), ledger.status());
    for n in 0..1_000 {
        let transactions = if n % 10 == 0 { vec![world.pay(a, b, 10, 20 + n / 10)] } else { vec![] };
        world.run(0, transactions);
    }
    let ledger = &world.nodes[0].ledger;
    assert_eq!(ledger.leaders(Height::new(1)), None, "forgotten");
    assert!(ledger.leaders(ledger.status().height).is_some());
}

#[test]
fn only_own_headers_are_certified() {
    let (mut world, a, b) = funded(Setup::of(1));
    let commit = world.commit(0, vec![payload(vec![world.pay(a, b, 10, 0)])]);
    let executed = world.nodes[0].ledger.execute(&commit).expect("memory");
    let certified = world.certified(0, &executed.blocks[0]);
    let ledger = &mut world.nodes[0].ledger;
    let other = LedgerHeader { leaf_count: 7, ..certified.header.clone() };
    ledger.certify(&CertifiedHeader { header: other, ..certified.clone() }).expect("memory");
    let unknown = LedgerHeader { height: Height::new(9), ..certified.header.clone() };
    ledger.certify(&CertifiedHeader { header: unknown, ..certified.clone() }).expect("memory");
    assert_eq!((ledger.status().certified, ledger.view().uncertified.len()), (Height::new(1), 1));
    assert_eq!(ledger.receipt(Height::new(2), 0), Ok(None), "not certified yet");
    ledger.certify(&certified).expect("memory");
    ledger.certify(&certified).expect("memory");
    assert_eq!((ledger.status().certified, ledger.view().uncertified.len()), (Height::new(2), 0));
    assert_eq!(ledger.certificates(Height::ZERO, 10).expect("memory").len(), 2);
}
