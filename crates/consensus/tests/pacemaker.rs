//! When an own block is made: C1, C2, C3, the pace, and silence.

mod common;

use common::{Builder, Observer, member, payload};
use shardpay_consensus::{Consensus, Input, Output, Recovered, Start};
use shardpay_types::BlockRef;

/// Member 3 with work at hand; authors 0, 1 and 2 come from the builder, which never builds on member 3.
fn busy(builder: &Builder) -> Observer {
    let mut observer = Observer::new(builder, 3);
    observer.answer = true;
    observer.input(Input::WorkChanged { pending: true });
    observer
}

fn top(observer: &Observer) -> u64 {
    observer.status().own_round.get()
}

fn push_round(observer: &mut Observer, builder: &Builder, number: u64, authors: &[usize]) {
    for author in authors {
        observer.push(builder.get(&builder.at(number, *author)).unwrap());
    }
}

#[test]
fn the_first_payload_goes_out_at_once_and_wakes_everybody_at_once() {
    let mut builder = Builder::new(4);
    let observer = busy(&builder);
    assert_eq!(top(&observer), 1);
    assert_eq!(observer.proposals, [(1, true)]);
    let genesis: Vec<BlockRef> = (0..4).map(|author| builder.genesis(author)).collect();
    let first = builder.block_with(0, 1, &genesis, payload(1));
    let mut woken = Observer::new(&builder, 3);
    woken.answer = true;
    woken.pass(5_000);
    assert!(woken.proposals.is_empty());
    woken.push(builder.get(&first).unwrap());
    assert_eq!(woken.proposals, [(1, true)]);
}

#[test]
fn c1_the_leader_is_here_and_blocks_are_paced() {
    let mut builder = Builder::new(4);
    builder.only(1..=3, &[0, 1, 2]);
    let mut observer = busy(&builder);
    push_round(&mut observer, &builder, 1, &[0, 1]);
    assert_eq!(top(&observer), 1, "a quorum and the leader are here, 20 ms are not over");
    observer.pass(15);
    assert_eq!(top(&observer), 1);
    observer.pass(5);
    assert_eq!(top(&observer), 2);
    assert_eq!(observer.status().leader_timeouts, 0);
}

#[test]
fn c2_a_missing_leader_is_waited_for_until_the_timeout() {
    let mut builder = Builder::new(4);
    builder.only(1..=1, &[0, 1, 2]);
    let mut observer = busy(&builder);
    push_round(&mut observer, &builder, 1, &[0, 2]);
    observer.pass(245);
    assert_eq!(top(&observer), 1, "author 1 leads round 1");
    observer.pass(5);
    assert_eq!((top(&observer), observer.status().leader_timeouts), (2, 1));
    // With the leader's block it goes at once.
    let mut observer = busy(&builder);
    push_round(&mut observer, &builder, 1, &[0, 2]);
    observer.pass(100);
    push_round(&mut observer, &builder, 1, &[1]);
    assert_eq!((top(&observer), observer.status().leader_timeouts), (2, 0));
}

#[test]
fn c1_support_of_the_leader_before_is_waited_for() {
    let mut builder = Builder::new(4);
    builder.only(1..=1, &[0, 1, 2]);
    builder.layer(2, &[0, 1], &[0, 1, 2]);
    // Author 2 does not vote for the leader of round 1.
    let others: Vec<BlockRef> = [0, 2].map(|author| builder.at(1, author)).to_vec();
    let mut observer = busy(&builder);
    push_round(&mut observer, &builder, 1, &[0, 1, 2]);
    observer.pass(20);
    let own = observer.own_blocks()[0].reference();
    let against = builder.block(2, 2, &[others[0], others[1], own]);
    push_round(&mut observer, &builder, 2, &[0]);
    observer.push(builder.get(&against).unwrap());
    // Votes by 0 and ourselves, a blame by 2: open. The leader of round 2 (author 2) is here.
    observer.pass(200);
    assert_eq!(top(&observer), 2);
    push_round(&mut observer, &builder, 2, &[1]);
    assert_eq!((top(&observer), observer.status().leader_timeouts), (3, 0));
}

#[test]
fn c3_a_late_node_goes_on_without_pace_or_leader() {
    let mut builder = Builder::new(4);
    builder.only(1..=2, &[0, 1, 2]);
    let mut observer = busy(&builder);
    // Q blocks of round 2 exist: their arrival is enough, 20 ms or not.
    push_round(&mut observer, &builder, 1, &[0, 1, 2]);
    assert_eq!(top(&observer), 1);
    push_round(&mut observer, &builder, 2, &[0, 1, 2]);
    assert_eq!(top(&observer), 2);
    assert_eq!(observer.proposals, [(1, true), (2, true)], "it is late by nothing: payload is allowed");
}

#[test]
fn a_silent_leader_is_not_waited_for_after_eight_rounds() {
    let mut builder = Builder::new(4);
    // Author 1 made the first three rounds and stopped.
    builder.only(1..=3, &[0, 1, 2]);
    let mut observer = busy(&builder);
    let mut waited = Vec::new();
    for number in 1..=40u64 {
        if number > 3 {
            let own = observer.own_blocks().iter().map(|b| b.reference()).find(|b| b.round.get() == number - 1);
            let parents = [builder.at(number - 1, 0), builder.at(number - 1, 2), own.expect("it keeps up")];
            [0, 2].into_iter().for_each(|author| {
                builder.block(author, number, &parents);
            });
        }
        let before = observer.status().leader_timeouts;
        push_round(&mut observer, &builder, number, if number > 3 { &[0, 2] } else { &[0, 1, 2] });
        observer.pass(1_100);
        if observer.status().leader_timeouts > before {
            waited.push(number + 1);
        }
    }
    assert_eq!(top(&observer), 41);
    // It leads 5, 9, 13, ...: a missing leader is waited for at the round after its slot, up to round 11.
    assert_eq!(waited, [6, 10]);
}

#[test]
fn the_timeout_doubles_without_committed_leaders_up_to_its_bound() {
    // Author 1 leads these rounds and its block is missing; no leader before was ever decided.
    for (last, expected_ms) in [(5, 250), (9, 500), (13, 1_000), (21, 4_000), (25, 8_000), (29, 10_000), (61, 10_000)] {
        let mut builder = Builder::new(4);
        builder.full(1..=1);
        for number in 2..=last {
            // Two votes and two blames for each leader.
            let leader = ((number - 1) % 4) as usize;
            let without: Vec<usize> = (0..4).filter(|author| *author != leader).collect();
            for author in 0..4 {
                let votes = author == leader || author == (leader + 1) % 4;
                builder.layer(number, &[author], if votes { &[0, 1, 2, 3] } else { &without });
            }
        }
        let missing = builder.at(last, 1);
        let blocks = builder.blocks.iter().filter(|block| block.reference() != missing).cloned().collect();
        let recovered = Recovered { blocks, ..Recovered::default() };
        let mut observer = Observer::start(builder.config(3), Start::Restart(recovered));
        let start = observer.now;
        observer.input(Input::WorkChanged { pending: true });
        (0..2).for_each(|from| observer.input(Input::PeerStatus { from: member(from), highest: Vec::new() }));
        while observer.proposals.is_empty() {
            observer.pass(5);
            assert!(observer.now.since(start).as_millis() <= expected_ms, "round {last}");
        }
        assert_eq!(observer.proposals[0].0, last + 1);
        assert_eq!(observer.now.since(start).as_millis(), expected_ms, "round {last}");
        assert_eq!(observer.status().leader_timeouts, 1);
    }
}

#[test]
fn nothing_runs_without_work() {
    let mut builder = Builder::new(4);
    builder.full(1..=20);
    let mut observer = Observer::new(&builder, 3);
    assert_eq!(observer.dag.poll_timeout(), None);
    observer.push_all(&builder);
    assert_eq!(observer.dag.poll_timeout(), None, "the last round has no payload and nobody is above");
    assert_eq!(observer.status().own_round.get(), 20);
    assert!(!observer.others.iter().any(|output| matches!(output, Output::Request { .. })));
}
