//! A member restarts between a leader's block and its commit: it hands out the same commits again, signs
//! no slot twice, and waits for its peers before it goes on.

mod common;

use common::{Builder, Net, Observer, Options, payload, round};
use shardpay_consensus::{Input, Output, Recovered, Start};
use shardpay_types::BlockRef;

#[test]
fn at_any_moment_of_a_wave() {
    for pause in 0..60 {
        let mut options = Options::new(4);
        options.seed = pause;
        let mut net = Net::new(options);
        for tag in 1..=5 {
            net.submit((tag % 4) as usize, tag);
            net.run(15);
        }
        net.run(pause * 3);
        let victim = (pause % 4) as usize;
        net.crash(victim);
        net.run((pause * 7) % 50);
        net.restart(victim);
        net.submit(victim, 6);
        assert!(net.run_until(5_000, |net| net.all_have(6)), "pause {pause}");
        net.check();
        net.run(2_000);
        net.assert_quiet(2_000);
    }
}

#[test]
fn all_members_at_once() {
    let mut net = Net::new(Options::new(7));
    (0..7).for_each(|node| net.submit(node, node as u64));
    net.run(45);
    (0..7).for_each(|node| net.crash(node));
    (0..7).for_each(|node| net.restart(node));
    net.submit(3, 100);
    assert!(net.run_until(5_000, |net| net.all_have(100)));
    net.check();
    net.run(2_000);
    net.assert_quiet(2_000);
}

#[test]
fn stored_blocks_give_the_same_commits_from_every_cut() {
    let mut builder = Builder::new(4);
    builder.full(1..=40);
    let mut whole = Observer::new(&builder, 0);
    whole.push_all(&builder);
    for cut in [0, 1, 2, 7, 20, 38] {
        let done = &whole.commits[..cut];
        let recovered = Recovered {
            last_output: done.last().map_or(round(0), |commit| commit.anchor.round),
            leaders: done.last().map_or(Vec::new(), |commit| commit.leaders.clone()),
            blocks: builder.blocks.iter().rev().cloned().collect(),
        };
        let observer = Observer::start(builder.config(0), Start::Restart(recovered));
        assert_eq!(observer.commits, whole.commits[cut..], "cut {cut}");
        assert!(observer.persisted.is_empty(), "they are durable already");
        assert!(observer.status().awaiting_peers);
        assert_eq!(observer.status().own_round.get(), 40);
    }
}

fn restarted(blocks: &Builder) -> Observer {
    let recovered = Recovered { blocks: blocks.blocks.clone(), ..Recovered::default() };
    let mut observer = Observer::start(blocks.config(0), Start::Restart(recovered));
    observer.answer = true;
    observer.input(Input::WorkChanged { pending: true });
    observer
}

fn report(observer: &mut Observer, from: usize, highest: &[BlockRef]) {
    observer.input(Input::PeerStatus { from: common::member(from), highest: highest.to_vec() });
}

#[test]
fn a_newer_own_block_reported_by_a_peer_is_adopted_first() {
    let mut builder = Builder::new(4);
    builder.full(1..=5);
    let known: Vec<BlockRef> = (0..4).map(|author| builder.at(5, author)).collect();
    // It left before the crash, but the store lost it.
    let lost = builder.sealed(0, 6, &known, payload(1));
    let mut observer = restarted(&builder);
    observer.pass(1_000);
    assert!(observer.own_blocks().is_empty(), "nobody was heard");
    report(&mut observer, 1, &known);
    report(&mut observer, 2, &[lost.reference(), known[1], known[2], known[3]]);
    observer.pass(1_000);
    assert!(observer.status().awaiting_peers, "what peer 2 has under our key is not here");
    assert!(observer.own_blocks().is_empty());
    assert!(observer.requested().contains(&lost.reference()));
    observer.receive(&lost, true);
    assert_eq!(observer.status().own_round.get(), 6);
    assert!(
        !observer
            .own_blocks()
            .iter()
            .any(|block| block.reference() != lost.reference() && block.reference().round.get() <= 6)
    );
}

#[test]
fn a_liar_about_our_blocks_delays_nobody() {
    let mut builder = Builder::new(4);
    builder.full(1..=5);
    let known: Vec<BlockRef> = (0..4).map(|author| builder.at(5, author)).collect();
    let mut observer = restarted(&builder);
    let invented = BlockRef { round: round(9), ..known[0] };
    report(&mut observer, 1, &[invented]);
    report(&mut observer, 2, &known);
    assert!(observer.status().awaiting_peers);
    report(&mut observer, 3, &known);
    assert!(!observer.status().awaiting_peers);
    assert_eq!(observer.own_blocks().len(), 1);
}

#[test]
fn a_lost_store_keeps_the_member_out_but_serving() {
    let mut net = Net::new(Options::new(4));
    net.submit(0, 1);
    assert!(net.run_until(2_000, |net| net.all_have(1)));
    net.run(1_000);
    net.crash(3);
    net.wipe(3);
    net.restart(3);
    assert!(net.run_until(5_000, |net| net.status(3).stopped));
    assert!(net.nodes[3].notices.iter().any(|notice| matches!(notice, Output::StayOut { .. })));
    net.submit(1, 2);
    assert!(net.run_until(5_000, |net| net.all_have(1) && net.all_have(2)), "it still commits");
    let own = net.status(3).own_round;
    net.run(2_000);
    assert_eq!(net.status(3).own_round, own);
    // And after another restart it still knows that it must not sign.
    net.crash(3);
    net.restart(3);
    assert!(net.run_until(5_000, |net| net.status(3).stopped));
    net.check();
}

#[test]
fn two_own_blocks_in_one_slot_end_proposing() {
    let mut builder = Builder::new(4);
    builder.full(1..=3);
    let mut observer = Observer::new(&builder, 0);
    observer.push_all(&builder);
    let parents: Vec<BlockRef> = (0..4).map(|author| builder.at(2, author)).collect();
    let twin = builder.sealed(0, 3, &parents, payload(1));
    observer.push(&twin);
    assert!(observer.status().stopped);
    assert!(observer.others.iter().any(|output| matches!(output, Output::StayOut { .. })));
}

#[test]
fn a_peer_is_served_while_the_member_recovers() {
    let mut builder = Builder::new(4);
    builder.full(1..=5);
    let mut observer = restarted(&builder);
    let refs = vec![builder.at(2, 1), builder.at(3, 3)];
    observer.input(Input::BlocksRequested { from: common::member(2), refs: refs.clone() });
    let sent = observer.others.iter().find_map(|output| match output {
        Output::Send { blocks, requested: true, .. } => Some(blocks.iter().map(|b| b.reference()).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(sent, Some(refs));
}
