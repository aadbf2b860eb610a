//! A leader with two blocks in its slot: at most one is committed, both may be ordered, everybody agrees.

mod common;

use common::{Builder, Observer, member, payload};
use shardpay_consensus::{Config, Input, Output, Rules, Start};
use shardpay_types::{BlockRef, EquivocationProof};

/// Author 1 leads round 1 with two blocks; `votes` says which one each author of round 2 stands on.
fn split(votes: [usize; 4]) -> (Builder, [BlockRef; 2]) {
    let mut builder = Builder::new(4);
    builder.full(1..=1);
    let genesis: Vec<BlockRef> = (0..4).map(|author| builder.genesis(author)).collect();
    let twins = [builder.at(1, 1), builder.block_with(1, 1, &genesis, payload(9))];
    for (author, twin) in votes.into_iter().enumerate() {
        let parents = [builder.at(1, 0), twins[twin], builder.at(1, 2), builder.at(1, 3)];
        builder.block(author, 2, &parents);
    }
    (builder, twins)
}

fn proofs(observer: &Observer) -> Vec<&EquivocationProof> {
    let mut found: Vec<&EquivocationProof> = Vec::new();
    for output in &observer.others {
        if let Output::Equivocation(proof) = output {
            found.push(proof);
        }
    }
    found
}

#[test]
fn three_votes_commit_one_of_the_twins() {
    for winner in 0..2 {
        let mut votes = [winner; 4];
        votes[3] = 1 - winner;
        let (mut builder, twins) = split(votes);
        builder.full(3..=6);
        for own in [0, 2] {
            let mut observer = Observer::new(&builder, own);
            observer.feed(&builder);
            assert_eq!(observer.anchors()[0], twins[winner]);
            let all: Vec<BlockRef> =
                observer.commits.iter().flat_map(|commit| &commit.blocks).map(|block| block.reference()).collect();
            assert!(all.contains(&twins[1 - winner]), "the other twin is an ancestor of later leaders");
        }
    }
}

#[test]
fn split_votes_skip_the_slot_and_order_both_blocks() {
    let (mut builder, twins) = split([0, 0, 1, 1]);
    builder.full(3..=8);
    let mut observer = Observer::new(&builder, 0);
    observer.feed(&builder);
    let reversed: Vec<usize> = (0..builder.blocks.len()).rev().collect();
    let mut other = Observer::new(&builder, 3);
    other.feed_in(&builder, &reversed);
    assert_eq!(observer.commits, other.commits);
    assert_eq!(observer.committed()[0], 2);
    let first: Vec<BlockRef> = observer.commits[..2].iter().flat_map(|c| &c.blocks).map(|b| b.reference()).collect();
    assert!(twins.iter().all(|twin| first.contains(twin)));
}

#[test]
fn a_twin_is_taken_only_when_somebody_built_on_it_and_proven_once() {
    let (builder, twins) = split([0, 0, 0, 0]);
    let mut observer = Observer::new(&builder, 0);
    builder.blocks[..5].iter().for_each(|block| observer.push(block));
    assert_eq!(observer.persisted.len(), 4, "the pushed twin is dropped");
    assert_eq!(proofs(&observer).len(), 1);
    let proof = proofs(&observer)[0];
    assert_eq!((proof.first.author, proof.second.author), (member(1), member(1)));
    assert_eq!(proof.first.round, proof.second.round);
    assert_ne!(proof.first, proof.second);
    // The same proof again changes nothing.
    observer.push(&builder.blocks[4]);
    assert_eq!(proofs(&observer).len(), 1);
    // Somebody builds on the twin: it is asked for and taken.
    let (builder, _) = split([1, 0, 0, 0]);
    let mut observer = Observer::new(&builder, 2);
    observer.feed(&builder);
    assert!(observer.persisted.iter().any(|block| block.reference() == twins[1]));
}

#[test]
fn a_proven_equivocator_is_no_parent_while_a_quorum_stands_without_it() {
    let (builder, _) = split([0, 0, 0, 0]);
    let mut observer = Observer::new(&builder, 3);
    observer.answer = true;
    // Round 1 of the others, author 1 twice.
    [0, 1, 2, 4].into_iter().for_each(|index| observer.push(&builder.blocks[index]));
    observer.input(Input::WorkChanged { pending: true });
    observer.pass(25);
    let own = observer.own_blocks();
    let second = own.iter().find(|block| block.reference().round.get() == 2).expect("made");
    let authors: Vec<usize> = second.block().parents.iter().map(|parent| parent.author.index()).collect();
    assert_eq!(authors, [3, 0, 2]);
}

#[test]
fn an_equivocator_is_a_parent_when_there_is_no_quorum_without_it() {
    let (builder, _) = split([0, 0, 0, 0]);
    let mut observer = Observer::new(&builder, 3);
    observer.answer = true;
    observer.input(Input::WorkChanged { pending: true });
    // Round 1 of authors 0 and 1 (twice): with ours that is a quorum, with author 1 only.
    for index in [0, 1, 4] {
        observer.push(&builder.blocks[index]);
    }
    observer.pass(600);
    let own = observer.own_blocks();
    let second = own.iter().find(|block| block.reference().round.get() == 2).expect("made after the timeout");
    let authors: Vec<usize> = second.block().parents.iter().map(|parent| parent.author.index()).collect();
    assert_eq!(authors, [3, 0, 1]);
}

#[test]
fn two_certified_twins_halt_the_node_with_a_proof() {
    // More than f members vote for both: authors 1, 2 and 3 make two blocks in round 2.
    let (mut builder, twins) = split([0, 0, 0, 0]);
    let parents = [builder.at(1, 0), twins[1], builder.at(1, 2), builder.at(1, 3)];
    let second: Vec<BlockRef> = (1..4).map(|author| builder.block(author, 2, &parents)).collect();
    let first: Vec<BlockRef> = (0..4).map(|author| builder.at(2, author)).collect();
    builder.block(0, 3, &first);
    builder.block(1, 3, &second);
    builder.layer(3, &[2, 3], &[0, 1, 2, 3]);
    builder.full(4..=6);
    let mut observer = Observer::new(&builder, 0);
    observer.feed(&builder);
    let Some(Output::Halt(proof)) = observer.others.last() else { panic!("halted") };
    assert_eq!((proof.first.author, proof.first.round.get()), (member(1), 1));
    assert_ne!(proof.first, proof.second);
    let status = observer.status();
    assert!(status.stopped);
    // Nothing more comes out, whatever comes in.
    let outputs = observer.others.len();
    observer.feed(&builder);
    observer.pass(60_000);
    assert_eq!((observer.others.len(), observer.status()), (outputs, status));
}

#[test]
fn a_quorum_of_2f_can_certify_both_twins() {
    // The planted rule: with Q = 2 of 4, a single equivocator is enough for two certified blocks.
    let (mut builder, _) = split([0, 0, 1, 1]);
    builder.layer(3, &[0, 1], &[0, 1]);
    builder.layer(3, &[2, 3], &[2, 3]);
    let planted = |config: Config| Config { rules: Rules { quorum: 2, ..config.rules }, ..config };
    let mut observer = Observer::start(planted(builder.config(0)), Start::NewEpoch);
    observer.feed(&builder);
    assert!(matches!(observer.others.last(), Some(Output::Halt(_))));
}
