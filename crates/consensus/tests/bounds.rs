//! No peer makes an instance hold, ask or send without bound.

mod common;

use common::{Builder, Observer, member, payload, round};
use shardpay_consensus::{Input, Output};
use shardpay_types::{BlockDigest, BlockRef, Payload};

fn invented(author: usize, number: u64, mark: u8) -> BlockRef {
    BlockRef { round: round(number), author: member(author), digest: BlockDigest([mark; 32]) }
}

/// A chain of valid blocks of author 0 whose other parents nobody has ever seen.
fn unfounded(
    builder: &Builder,
    rounds: std::ops::RangeInclusive<u64>,
    mark: u8,
) -> Vec<std::sync::Arc<shardpay_crypto::SealedBlock>> {
    let mut last = invented(0, rounds.start() - 1, mark);
    rounds
        .map(|number| {
            let parents = [last, invented(1, number - 1, mark), invented(2, number - 1, mark)];
            let block = builder.sealed(0, number, &parents, Payload::default());
            last = block.reference();
            block
        })
        .collect()
}

#[test]
fn waiting_blocks_are_bounded_and_the_highest_go_first() {
    let mut builder = Builder::new(4);
    builder.only(1..=60, &[1, 2, 3]);
    let mut observer = Observer::new(&builder, 3);
    builder.blocks[..60].iter().for_each(|block| observer.push(block));
    unfounded(&builder, 22..=80, 9).iter().for_each(|block| observer.push(block));
    assert_eq!(observer.status().waiting_blocks, 59);
    // The horizon is the gc depth above the highest accepted round: with a higher front more may come.
    builder.blocks[60..].iter().for_each(|block| observer.push(block));
    let dropped = observer.status().dropped_blocks;
    unfounded(&builder, 81..=120, 9).iter().for_each(|block| observer.push(block));
    let status = observer.status();
    assert_eq!((status.waiting_blocks, status.dropped_blocks - dropped), (64, 35));
    assert!(status.waiting_bytes <= 8 << 20);
    assert!(status.missing <= 64 * 3);
    // A block below them comes: the highest one goes, not this one.
    let low = unfounded(&builder, 21..=21, 7);
    observer.push(&low[0]);
    let missing = invented(1, 20, 7);
    observer.pass(30);
    assert!(observer.requested().contains(&missing));
    assert_eq!(observer.status().waiting_blocks, 64);
}

#[test]
fn bytes_of_waiting_blocks_are_bounded_too() {
    let builder = Builder::new(4);
    let mut observer = Observer::new(&builder, 3);
    let many: Vec<_> = (0..2_900).map(|tag| payload(tag).transactions[0]).collect();
    for number in 2..=40 {
        let parents = [0, 1, 2].map(|author| invented(author, number - 1, 9));
        let payload = Payload { transactions: shardpay_types::List::bounded(many.clone()), ..Payload::default() };
        observer.push(&builder.sealed(0, number, &parents, payload));
        assert!(observer.status().waiting_bytes <= 8 << 20);
    }
    let status = observer.status();
    assert!(status.waiting_bytes > 7 << 20 && status.waiting_blocks < 39);
    assert_eq!(status.dropped_blocks as usize, 39 - status.waiting_blocks);
}

#[test]
fn garbage_below_the_front_goes_with_the_gc_round() {
    let mut builder = Builder::new(4);
    builder.only(1..=200, &[1, 2, 3]);
    let mut observer = Observer::new(&builder, 3);
    builder.blocks[..60].iter().for_each(|block| observer.push(block));
    unfounded(&builder, 22..=60, 9).iter().for_each(|block| observer.push(block));
    assert!(observer.status().missing > 0);
    builder.blocks[60..].iter().for_each(|block| observer.push(block));
    let status = observer.status();
    // When its parents fall below the gc round the first of the chain counts as founded, and so on up.
    assert_eq!((status.waiting_blocks, status.missing), (0, 0));
    assert_eq!(status.highest_accepted.get(), 200);
    assert!(status.blocks <= 4 * 64, "{} blocks held", status.blocks);
}

#[test]
fn requests_name_at_most_32_references_ascending_and_rotate() {
    let mut builder = Builder::new(64);
    builder.full(1..=3);
    let mut observer = Observer::new(&builder, 63);
    builder.blocks[128..].iter().for_each(|block| observer.push(block));
    observer.pass(5_000);
    let mut asked = std::collections::BTreeMap::<BlockRef, std::collections::BTreeSet<_>>::new();
    for output in &observer.others {
        let Output::Request { to, refs } = output else { continue };
        assert!(!refs.is_empty() && refs.len() <= 32 && refs.is_sorted());
        assert_ne!(*to, member(63));
        refs.iter().for_each(|reference| {
            asked.entry(*reference).or_default().insert(*to);
        });
    }
    assert_eq!(asked.len(), 64, "all of round 2");
    assert!(asked.values().all(|peers| peers.len() >= 4), "another peer each time");
}

#[test]
fn a_reference_that_does_not_exist_soon_costs_little() {
    let mut builder = Builder::new(4);
    builder.full(1..=3);
    let mut observer = Observer::new(&builder, 3);
    observer.push_all(&builder);
    unfounded(&builder, 5..=5, 9).iter().for_each(|block| observer.push(block));
    observer.pass(60_000);
    let requests = observer.others.iter().filter(|output| matches!(output, Output::Request { .. })).count();
    assert!((10..=120).contains(&requests), "{requests} requests in a minute");
}

#[test]
fn old_repeated_and_foreign_blocks_are_dropped_and_counted() {
    let mut builder = Builder::new(4);
    builder.full(1..=100);
    let mut observer = Observer::new(&builder, 3);
    observer.push_all(&builder);
    let before = observer.status();
    observer.push(&builder.blocks[0]);
    observer.push(&builder.blocks[399]);
    let after = observer.status();
    assert_eq!(after.dropped_blocks, before.dropped_blocks + 2);
    assert_eq!((after.blocks, after.waiting_blocks), (before.blocks, 0));
    // A member that does not exist, or ourselves, is no peer.
    let next = builder.sealed(0, 101, &(0..4).map(|a| builder.at(100, a)).collect::<Vec<_>>(), payload(1));
    for from in [3, 9, 63] {
        let block = shardpay_crypto::Verified::trust(next.clone());
        observer.input(Input::BlockReceived { from: member(from), block, requested: true });
        observer.input(Input::PeerStatus { from: member(from), highest: vec![invented(1, 140, 1)] });
        observer.input(Input::BlocksRequested { from: member(from), refs: vec![builder.at(100, 0)] });
    }
    assert_eq!(observer.status().dropped_blocks, after.dropped_blocks + 3);
    assert_eq!(observer.status().highest_accepted.get(), 100);
}

#[test]
fn a_report_costs_one_request_and_64_blocks_at_most() {
    let mut builder = Builder::new(16);
    builder.full(1..=40);
    let mut observer = Observer::new(&builder, 15);
    observer.push_all(&builder);
    observer.pass(1_000);
    observer.others.clear();
    // It claims to have nothing but blocks that do not exist (some of members that do not).
    let highest: Vec<BlockRef> = (0..64).map(|author| invented(author, 41, 9)).collect();
    for _ in 0..10 {
        observer.input(Input::PeerStatus { from: member(2), highest: highest.clone() });
    }
    observer.pass(10_000);
    let requests = observer.requested().len();
    assert!(requests <= 16, "{requests}: each is asked for once per report that is still standing");
    observer.others.clear();
    observer.input(Input::PeerStatus { from: member(2), highest: Vec::new() });
    let sent: Vec<usize> = observer
        .others
        .iter()
        .filter_map(|output| match output {
            Output::Send { to, blocks, .. } => {
                assert_eq!(*to, member(2));
                assert!(blocks.is_sorted_by_key(|block| block.reference()));
                Some(blocks.len())
            }
            _ => None,
        })
        .collect();
    assert_eq!(sent, [64]);
    assert_eq!(observer.status().missing, 0);
}

#[test]
fn a_silent_peer_gets_own_blocks_only() {
    let mut builder = Builder::new(4);
    builder.only(1..=60, &[0, 1]);
    // Authors 0, 1 and the observer (3); author 2 never says anything.
    let mut observer = Observer::new(&builder, 3);
    observer.answer = true;
    observer.input(Input::WorkChanged { pending: true });
    let mut chain = Builder::new(4);
    for number in 1..=60u64 {
        let mut parents: Vec<BlockRef> = (0..2)
            .map(|author| if number == 1 { chain.genesis(author) } else { chain.at(number - 1, author) })
            .collect();
        parents.push(match observer.own_blocks().iter().rev().find(|b| b.reference().round.get() == number - 1) {
            Some(block) => block.reference(),
            None => chain.genesis(3),
        });
        for author in 0..2 {
            let block = chain.block(author, number, &parents);
            observer.push(chain.get(&block).unwrap());
        }
        observer.pass(300);
    }
    assert!(observer.status().own_round.get() >= 60);
    for output in &observer.others {
        if let Output::Send { to, blocks, .. } = output
            && *to == member(2)
        {
            assert!(blocks.iter().all(|block| block.reference().author == member(3)));
        }
    }
}

#[test]
fn answers_are_bounded_and_older_blocks_come_from_the_store() {
    let mut builder = Builder::new(4);
    builder.full(1..=100);
    let mut observer = Observer::new(&builder, 3);
    observer.push_all(&builder);
    observer.others.clear();
    let refs: Vec<BlockRef> = (1..=100).map(|number| builder.at(number, 0)).collect();
    observer.input(Input::BlocksRequested { from: member(1), refs });
    let [Output::ServeStored { refs, .. }] = &observer.others[..] else { panic!("{:?}", observer.others) };
    assert_eq!(refs.len(), 32, "the first 32 lie below gc");
    observer.others.clear();
    observer.input(Input::BlocksRequested { from: member(1), refs: vec![builder.at(99, 2), invented(1, 99, 7)] });
    let [Output::Send { blocks, requested: true, .. }] = &observer.others[..] else { panic!("{:?}", observer.others) };
    assert!(blocks.len() <= 64 && blocks.iter().any(|block| block.reference() == builder.at(99, 2)));
}

#[test]
fn own_payload_below_gc_comes_back_and_the_store_is_told_to_forget() {
    let mut builder = Builder::new(4);
    builder.full(1..=1);
    // Own block of round 2 that nobody ever builds on.
    let parents: Vec<BlockRef> = (0..4).map(|author| builder.at(1, author)).collect();
    let lost = builder.block_with(3, 2, &parents, payload(5));
    for number in 2..=700 {
        let all: Vec<BlockRef> = (0..3).map(|author| builder.at(number - 1, author)).collect();
        (0..3).for_each(|author| {
            builder.block(author, number, &all);
        });
    }
    let mut observer = Observer::new(&builder, 3);
    observer.push_all(&builder);
    let back: Vec<BlockRef> = observer
        .others
        .iter()
        .filter_map(|output| match output {
            Output::Reclaimed(blocks) => Some(blocks.iter().map(|block| block.reference()).collect::<Vec<_>>()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(back, [lost]);
    let below = observer.others.iter().rev().find_map(|output| match output {
        Output::Prune { below } => Some(below.get()),
        _ => None,
    });
    let last = observer.status().last_output.get();
    assert!(below.is_some_and(|below| below <= last - 600 && below + 15 >= last - 600), "{below:?} of {last}");
    assert!(observer.status().blocks <= 3 * 64);
}
