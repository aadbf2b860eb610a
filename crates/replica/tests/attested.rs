//! Certificates that stand still because nobody but an absent member could complete them: it comes back,
//! finds no certificate to replay by and no DAG to follow, and is brought level by f + 1 votes.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::net::node_id;
use common::{Net, Setup, Wallet};
use shardpay_replica::Input;
use shardpay_types::{Certificate, Epoch, Height, LedgerResponse, List, NodeId, PeerMessage};

/// Never hands out a vote or a certificate, else it is honest.
fn withholder() -> NodeId {
    node_id(0, 1)
}

fn away() -> NodeId {
    node_id(0, 0)
}

fn withholds(from: NodeId, message: &PeerMessage) -> bool {
    from == withholder()
        && matches!(
            message,
            PeerMessage::HeaderVote(_)
                | PeerMessage::Certificates(_)
                | PeerMessage::LedgerResponse(_)
                | PeerMessage::Leaders(_)
        )
}

fn network(seed: u64) -> (Net, Wallet, Wallet) {
    let mut net = Net::with(Setup { committees: 1, members: 4, seed }, |config| {
        config.consensus.min_round_delay = Duration::from_millis(20);
    });
    let (alice, bob) = (Wallet::of(&net.genesis, 0, 1), Wallet::of(&net.genesis, 0, 2));
    net.fund(&alice, 1_000_000);
    net.run_until("settled", Net::all_settled);
    net.passes = Box::new(|from, _, message| !withholds(from, message));
    (net, alice, bob)
}

fn load(net: &mut Net, alice: &mut Wallet, bob: &Wallet, count: u64) {
    let chain = net.chain;
    for _ in 0..count {
        net.submit(node_id(0, 2), alice.pay(&chain, bob.public(), 1));
        net.run_ms(20);
    }
}

fn heights(net: &Net, id: NodeId) -> (Height, Height) {
    let status = net.node(id).replica().status();
    (status.executed, status.certified)
}

/// Everybody is level and certified, and the member that was away counts.
fn recovers(net: &mut Net, alice: &mut Wallet, bob: &Wallet) {
    net.run_until("level", |net| net.settled(0));
    let before = net.balance(&bob.public());
    load(net, alice, bob, 5);
    net.run_until("payments go on", |net| net.balance(&bob.public()) == before + 5 && net.settled(0));
    for id in [away(), node_id(0, 2), node_id(0, 3)] {
        let ledger = net.node(id).ledger();
        let (_, certified) = heights(net, id);
        let mut height = Height::ZERO;
        while height < certified {
            let blocks = ledger.blocks(height.next(), 1 << 20).expect("memory does not fail");
            let last = blocks.last().expect("every height is served");
            assert!(blocks.iter().all(|block| block.certificate.signatures().len() >= 3), "{id:?} served fewer than Q");
            height = last.block.header.height;
        }
    }
}

#[test]
fn the_missing_vote_comes_back_within_an_epoch() {
    let (mut net, mut alice, bob) = network(91);
    net.crash(away());
    let (before, _) = heights(&net, node_id(0, 2));
    load(&mut net, &mut alice, &bob, 300);
    net.run_ms(5_000);
    let (executed, certified) = heights(&net, node_id(0, 2));
    assert!(certified <= before && executed > certified.plus(64), "more than one answer is uncertified: {executed:?}");
    net.start(away());
    recovers(&mut net, &mut alice, &bob);
}

#[test]
fn the_missing_vote_comes_back_after_the_epoch() {
    let (mut net, mut alice, bob) = network(92);
    let plan = Arc::new(Net::successor(&net.genesis));
    net.approve(&plan);
    let change = Arc::new(net.change(&plan));
    net.crash(away());
    load(&mut net, &mut alice, &bob, 150);
    for id in net.ids() {
        net.input(id, Input::EpochChangeProposed(change.clone()));
    }
    net.run_until("the others are in the next epoch", |net| {
        (1..4).all(|member| net.node(node_id(0, member)).replica().status().epoch == Epoch::new(1))
    });
    load(&mut net, &mut alice, &bob, 5);
    net.run_ms(5_000);

    // nobody helps to close the next epoch before the last one is certified
    let second = Arc::new(Net::successor(&plan));
    let count = |net: &Net, id| net.node(id).approvals.len();
    let approvals = count(&net, node_id(0, 2));
    net.approve(&second);
    assert_eq!(count(&net, node_id(0, 2)), approvals);
    assert!(net.node(node_id(0, 2)).refused("plan_too_early") > 0);

    // it restarts in the middle of catching up: with the leaders before its head known by their hash only
    for _ in 0..4 {
        net.start(away());
        net.run_ms(700);
        net.crash(away());
    }
    net.start(away());
    recovers(&mut net, &mut alice, &bob);
    assert_eq!(net.node(away()).replica().status().epoch, Epoch::new(1));
    let closings = net.node(away()).ledger().closings(Epoch::ZERO).expect("memory does not fail");
    assert_eq!(closings.len(), 1, "the closing header is certified");
    net.approve(&second);
    assert_eq!(count(&net, node_id(0, 2)), approvals + 1, "the next plan is approved by now");
}

#[test]
fn one_vote_attests_nothing() {
    let (mut net, mut alice, bob) = network(93);
    net.crash(away());
    load(&mut net, &mut alice, &bob, 150);
    net.run_ms(5_000);
    // every answer is cut to a single vote
    net.alter = Box::new(|_, _, message| {
        let PeerMessage::LedgerResponse(response) = message else { return None };
        let mut blocks = response.blocks.to_vec();
        for block in &mut blocks {
            let one = block.certificate.signatures()[..1].to_vec();
            block.certificate = Certificate::new(one).expect("one signature");
        }
        Some(PeerMessage::LedgerResponse(LedgerResponse { blocks: List::bounded(blocks), ..response.clone() }))
    });
    let (executed, _) = heights(&net, node_id(0, 2));
    net.start(away());
    net.run_ms(10_000);
    let status = net.node(away()).replica().status();
    assert!(status.executed < executed && net.node(away()).refused("bad_ledger_block") > 0, "{status:?}");
    net.alter = Box::new(|_, _, _| None);
    recovers(&mut net, &mut alice, &bob);
}
