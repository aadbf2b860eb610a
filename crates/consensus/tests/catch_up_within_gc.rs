//! A member that was cut off for fewer rounds than the gc depth catches up from the DAG alone.

mod common;

use common::{Builder, Net, Observer, Options};
use shardpay_consensus::{Input, Output};

fn cut_off(member: usize) -> Option<common::net::Filter> {
    Some(Box::new(move |from, to, _| from != member && to != member))
}

fn far_behind(net: &Net, node: usize) -> bool {
    net.nodes[node].notices.iter().any(|notice| matches!(notice, Output::FarBehind { .. }))
}

#[test]
fn blocks_are_fetched_and_missed_rounds_filled() {
    for members in [4, 7, 10] {
        let mut net = Net::new(Options::new(members));
        net.submit(0, 1);
        assert!(net.run_until(1_000, |net| net.all_have(1)));
        net.filter = cut_off(members - 1);
        let start = net.status(0).highest_accepted.get();
        let mut tag = 1;
        while net.status(0).highest_accepted.get() < start + 50 {
            tag += 1;
            net.submit(0, tag);
            net.run(20);
        }
        assert!(!net.has(members - 1, 2));
        net.filter = None;
        tag += 1;
        net.submit(1, tag);
        assert!(net.run_until(3_000, |net| net.all_have(tag)), "{members} members");
        assert!(!far_behind(&net, members - 1));
        // What the others decided meanwhile needs no own block; what they had not decided does.
        let status = net.status(members - 1);
        assert!(status.own_round.get() >= start + 50);
        net.check();
        net.run(2_000);
        net.assert_quiet(3_000);
    }
}

#[test]
fn under_load_it_catches_up_with_the_moving_front() {
    let mut net = Net::new(Options::new(4));
    net.filter = cut_off(3);
    let mut tag = 0;
    let mut load = |net: &mut Net, for_ms: u64| {
        for _ in 0..for_ms / 10 {
            tag += 1;
            net.submit((tag % 3) as usize, tag);
            net.run(10);
        }
        tag
    };
    load(&mut net, 900);
    assert!(net.status(0).highest_accepted.get() < 58, "{:?}", net.status(0).highest_accepted);
    net.filter = None;
    let tag = load(&mut net, 1_500);
    assert!(!far_behind(&net, 3));
    let lag = net.status(0).highest_accepted.since(net.status(3).highest_accepted);
    assert!(lag <= 3, "{lag} rounds behind after 1.5 s");
    assert!(net.run_until(2_000, |net| (1..=tag).all(|tag| net.all_have(tag))));
    net.check();
}

#[test]
fn missed_rounds_are_filled_one_by_one_without_payload() {
    let mut builder = Builder::new(4);
    builder.only(1..=9, &[0, 1, 2]);
    let mut observer = Observer::new(&builder, 3);
    observer.answer = true;
    // Nine rounds arrive at once, from the top: none of them is decided before the first is complete.
    for block in builder.blocks.iter().rev().take(builder.blocks.len() - 1) {
        observer.push(block);
    }
    observer.input(Input::WorkChanged { pending: true });
    let before: Vec<u64> = observer.proposals.iter().map(|(round, _)| *round).collect();
    assert_eq!(before, [1]);
    observer.push(&builder.blocks[0]);
    let rounds: Vec<u64> = observer.proposals.iter().map(|(round, _)| *round).collect();
    // Slots up to 7 were decided by the others: their rounds need no own block.
    assert_eq!(observer.status().last_output.get(), 7);
    assert_eq!(rounds, [1, 8, 9]);
    assert_eq!(observer.proposals[1..], [(8, false), (9, true)]);
    assert_eq!(observer.status().catch_up_blocks, 1);
}
