//! The epoch closes at one member before the others: it hands out nothing more, and still brings the others to
//! the same commit. (Opening the next epoch is the replica's.)

mod common;

use common::{Builder, Net, Observer, Options, member, payload};
use shardpay_consensus::{Input, Output};
use shardpay_types::{BlockDigest, BlockRef, Payload};

#[test]
fn members_that_closed_first_carry_the_others_to_the_same_commit() {
    for pause in 0..30 {
        let mut options = Options::new(4);
        options.seed = pause;
        options.latency_ms = 1..=20;
        let mut net = Net::new(options);
        net.submit(0, 1);
        // Member 3 hears nothing until two others have committed the payload and closed.
        net.filter = Some(Box::new(|_, to, _| to != 3));
        assert!(net.run_until(3_000, |net| net.has(0, 1) && net.has(1, 1)));
        net.input(0, Input::Close);
        net.input(1, Input::Close);
        let closed = [0, 1].map(|node| net.nodes[node].commits.len());
        // One more is gone for good: member 3 needs blocks of those that closed.
        net.crash(2);
        net.filter = None;
        assert!(net.run_until(5_000, |net| net.has(3, 1)), "pause {pause}: {:?}", net.status(3));
        net.input(3, Input::Close);
        net.run(3_000);
        assert_eq!([0, 1].map(|node| net.nodes[node].commits.len()), closed, "nothing is handed out after closing");
        net.check();
        net.assert_quiet(3_000);
    }
}

#[test]
fn a_closed_instance_proposes_no_payload_and_takes_no_work() {
    let mut builder = Builder::new(4);
    builder.only(1..=12, &[0, 1, 2]);
    let mut observer = Observer::new(&builder, 3);
    observer.answer = true;
    builder.blocks[..15].iter().for_each(|block| observer.push(block));
    let (commits, own) = (observer.commits.len(), observer.status().own_round);
    assert!(commits > 0);
    observer.input(Input::Close);
    observer.input(Input::WorkChanged { pending: true });
    observer.pass(2_000);
    assert_eq!(observer.status().own_round, own, "work is no reason any more");
    let before = observer.proposals.len();
    builder.blocks[15..].iter().for_each(|block| observer.push(block));
    assert!(observer.proposals.len() > before, "others' blocks are");
    assert!(observer.proposals[before..].iter().all(|(_, payload)| !payload));
    assert_eq!(observer.commits.len(), commits);
    assert!(observer.status().stopped);
    observer.others.clear();
    observer.input(Input::BlocksRequested { from: member(1), refs: vec![builder.at(2, 1)] });
    assert!(matches!(observer.others[..], [Output::Send { requested: true, .. }]));
}

#[test]
fn a_block_that_waits_for_parents_that_do_not_exist_holds_no_slot() {
    let mut builder = Builder::new(4);
    builder.full(1..=5);
    let mut observer = Observer::new(&builder, 3);
    builder.blocks[..16].iter().for_each(|block| observer.push(block));
    // Author 1 shows an unfounded block of round 5 first; its real one comes from somebody else.
    let invented = |author| BlockRef { digest: BlockDigest([9; 32]), ..builder.at(4, author) };
    let unfounded = builder.sealed(1, 5, &[0, 1, 2].map(invented), payload(1));
    observer.push(&unfounded);
    assert_eq!(observer.status().waiting_blocks, 1);
    let real = builder.get(&builder.at(5, 1)).unwrap();
    observer.push(real);
    assert!(observer.persisted.iter().any(|block| block.reference() == real.reference()));
    assert!(observer.others.iter().any(|output| matches!(output, Output::Equivocation(_))));
    // A twin of an accepted block is dropped unless asked for.
    let parents = [0, 1, 2].map(|author| builder.at(4, author));
    let twin = builder.sealed(1, 5, &parents, Payload::default());
    let dropped = observer.status().dropped_blocks;
    observer.push(&twin);
    assert_eq!(observer.status().dropped_blocks, dropped + 1);
    assert!(!observer.persisted.iter().any(|block| block.reference() == twin.reference()));
}
