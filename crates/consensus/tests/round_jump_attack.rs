//! A member that runs ahead must not make others jump: they make every round's block, and what lies
//! further ahead than the gc depth is a hint only.

mod common;

use common::net::Message;
use common::{Builder, Net, Observer, Options, member};
use shardpay_consensus::Output;
use shardpay_types::{BlockDigest, BlockRef, Payload};

#[test]
fn every_round_gets_an_own_block() {
    let mut builder = Builder::new(4);
    // Others are at round 3; author 2 shows its newest block before anything else.
    builder.only(1..=3, &[0, 1, 2]);
    let mut observer = Observer::new(&builder, 3);
    observer.answer = true;
    let order: Vec<usize> = (0..builder.blocks.len()).rev().collect();
    observer.feed_in(&builder, &order);
    let rounds: Vec<u64> = observer.own_blocks().iter().map(|block| block.reference().round.get()).collect();
    let first = observer.own_blocks()[0].block().parents[0];
    assert_eq!(first, builder.genesis(3));
    assert_eq!(rounds, (rounds[0]..rounds[0] + rounds.len() as u64).collect::<Vec<_>>());
    assert_eq!(*rounds.last().unwrap(), 3);
    // Each stands on the one before.
    for pair in observer.own_blocks().windows(2) {
        assert_eq!(pair[1].block().parents[0], pair[0].reference());
    }
}

#[test]
fn no_round_begins_without_a_quorum_of_the_one_before() {
    let mut builder = Builder::new(4);
    builder.only(1..=1, &[0, 1, 2]);
    builder.layer(2, &[2], &[0, 1, 2]);
    let mut observer = Observer::new(&builder, 3);
    observer.answer = true;
    observer.push_all(&builder);
    observer.pass(20_000);
    let rounds: Vec<u64> = observer.own_blocks().iter().map(|block| block.reference().round.get()).collect();
    assert_eq!(rounds, [1, 2], "round 2 has two blocks, not three");
}

#[test]
fn far_ahead_is_a_hint_and_nothing_waits() {
    let builder = Builder::new(4);
    let invented = |author: usize, round: u64| BlockRef {
        round: common::round(round),
        author: member(author),
        digest: BlockDigest([author as u8; 32]),
    };
    let mut observer = Observer::new(&builder, 3);
    for ahead in [62, 500, 1_000_000] {
        let parents: Vec<BlockRef> = (0..3).map(|author| invented(author, ahead - 1)).collect();
        observer.push(&builder.sealed(0, ahead, &parents, Payload::default()));
    }
    let status = observer.status();
    assert_eq!((status.waiting_blocks, status.missing, status.dropped_blocks), (0, 0, 3));
    let hints: Vec<&Output> = observer.others.iter().collect();
    assert!(matches!(hints[..], [Output::FarBehind { .. }]), "one hint at a time: {hints:?}");
    observer.pass(3_000);
    let parents: Vec<BlockRef> = (0..3).map(|author| invented(author, 99)).collect();
    observer.push(&builder.sealed(0, 100, &parents, Payload::default()));
    assert_eq!(observer.others.len(), 2);
    assert!(observer.proposals.is_empty());
}

#[test]
fn a_committee_with_a_runner_commits_at_its_pace() {
    // Member 3 is a runner: as soon as a quorum of a round exists it shows the next block, to all.
    let mut net = Net::new(Options::new(4));
    net.crash(3);
    let mut runner = Builder::new(4);
    let mut made = 0;
    for tag in 1..=60 {
        net.submit((tag % 3) as usize, tag);
        net.run(10);
        let top = net.status(0).highest_accepted.get();
        while made < top {
            made += 1;
            let below: Vec<BlockRef> =
                net.nodes[0].store.keys().filter(|block| block.round.get() == made - 1).copied().collect();
            let parents: Vec<BlockRef> = if made == 1 { (0..4).map(|a| runner.genesis(a)).collect() } else { below };
            let own = parents.iter().any(|parent| parent.author == member(3));
            if parents.len() < 3 || !own {
                continue;
            }
            let block = runner.block(3, made, &parents);
            let block = runner.get(&block).unwrap().clone();
            (0..3).for_each(|to| net.send(3, to, Message::Blocks { blocks: vec![block.clone()], requested: false }));
        }
    }
    assert!(net.run_until(3_000, |net| (1..=60).all(|tag| net.all_have(tag))));
    net.check();
}
