//! Members that were away for longer than the DAG reaches back, and servers that lie to them.

mod common;

use std::time::Duration;

use common::net::node_id;
use common::{Net, Setup, Wallet};
use shardpay_replica::verify::CheckedMessage;
use shardpay_replica::{Event, Input};
use shardpay_types::{LeaderList, Leaders, NodeId, PeerMessage};

/// A network whose gc depth passes in two seconds, and a payer with funds.
fn network(seed: u64) -> (Net, Wallet, Wallet) {
    let mut net = Net::with(Setup { committees: 1, members: 4, seed }, |config| {
        config.consensus.min_round_delay = Duration::from_millis(20);
    });
    let (alice, bob) = (Wallet::of(&net.genesis, 0, 1), Wallet::of(&net.genesis, 0, 2));
    net.fund(&alice, 1_000_000);
    net.run_until("settled", Net::all_settled);
    (net, alice, bob)
}

fn load(net: &mut Net, alice: &mut Wallet, bob: &Wallet, count: u64) {
    let chain = net.chain;
    for _ in 0..count {
        net.submit(node_id(0, 0), alice.pay(&chain, bob.public(), 1));
        net.run_ms(20);
    }
}

fn rejoined(net: &Net, id: NodeId) -> bool {
    net.node(id).events.iter().any(|event| matches!(event, Event::Rejoined(_)))
}

/// Level with the others, and its own blocks count again.
fn takes_part(net: &mut Net, id: NodeId, alice: &mut Wallet, bob: &Wallet) {
    net.run_until("level", |net| net.settled(0));
    net.crash(node_id(0, 2));
    let before = net.balance(&bob.public());
    load(net, alice, bob, 3);
    net.run_until("three of four go on, it being one of them", |net| {
        net.balance(&bob.public()) == before + 3 && net.settled(0)
    });
    assert!(net.node(id).is_up());
}

#[test]
fn a_member_cut_off_beyond_the_gc_depth_replays_ledger_blocks() {
    let (mut net, mut alice, bob) = network(81);
    let away = node_id(0, 3);
    net.passes = Box::new(move |from, to, _| from != away && to != away);
    load(&mut net, &mut alice, &bob, 400);
    net.passes = Box::new(|_, _, _| true);
    load(&mut net, &mut alice, &bob, 50);
    net.run_until("it rejoins", |net| rejoined(net, away));
    takes_part(&mut net, away, &mut alice, &bob);
}

#[test]
fn a_member_that_was_down_replays_and_a_restart_in_between_does_no_harm() {
    let (mut net, mut alice, bob) = network(82);
    let away = node_id(0, 3);
    net.crash(away);
    load(&mut net, &mut alice, &bob, 400);
    net.start(away);
    for _ in 0..6 {
        load(&mut net, &mut alice, &bob, 10);
        net.crash(away);
        net.run_ms(50);
        net.start(away);
    }
    load(&mut net, &mut alice, &bob, 50);
    net.run_until("level", |net| net.settled(0));
    takes_part(&mut net, away, &mut alice, &bob);
}

#[test]
fn an_idle_committee_helps_too() {
    let (mut net, mut alice, bob) = network(83);
    let away = node_id(0, 3);
    net.crash(away);
    load(&mut net, &mut alice, &bob, 900);
    net.run_until("the others are certified", |net| net.settled(0));
    net.run_ms(5_000);
    net.start(away);
    net.run_until("it catches up with nobody paying", |net| net.settled(0));
    takes_part(&mut net, away, &mut alice, &bob);
}

#[test]
fn silent_and_lying_servers_only_delay() {
    let (mut net, mut alice, bob) = network(84);
    let away = node_id(0, 3);
    net.crash(away);
    load(&mut net, &mut alice, &bob, 400);
    // member 0 never answers, member 1 keeps its leader lists to itself and sends wrong ones
    net.passes = Box::new(|from, _, message| {
        let leaders = matches!(message, PeerMessage::Leaders(_));
        let answer = leaders || matches!(message, PeerMessage::LedgerResponse(_));
        match from.member.index() {
            0 => !answer,
            1 => !leaders,
            _ => true,
        }
    });
    net.start(away);
    for _ in 0..40 {
        load(&mut net, &mut alice, &bob, 5);
        let list = LeaderList::new(Vec::new()).expect("an empty list");
        let height = net.node(away).replica().status().executed;
        let lie = CheckedMessage::Leaders(Leaders { height, leaders: list });
        net.input(away, Input::Message { from: node_id(0, 1), message: lie });
    }
    net.run_until("it rejoins all the same", |net| rejoined(net, away));
    net.run_until("level", |net| net.settled(0));
    takes_part(&mut net, away, &mut alice, &bob);
}

#[test]
fn one_liar_does_not_start_a_catch_up() {
    let (mut net, mut alice, bob) = network(85);
    net.keep_sent = true;
    let liar = node_id(0, 1);
    for _ in 0..100 {
        load(&mut net, &mut alice, &bob, 1);
        let heartbeat = shardpay_types::Heartbeat {
            epoch: shardpay_types::Epoch::ZERO,
            highest: shardpay_types::List::default(),
            executed: shardpay_types::Height::new(1_000_000),
            certified: shardpay_types::Height::new(1_000_000),
            wants_reply: true,
        };
        let message = CheckedMessage::Heartbeat(heartbeat);
        net.input(node_id(0, 0), Input::Message { from: liar, message });
    }
    net.run_ms(10_000);
    assert!(net.node(node_id(0, 0)).events.is_empty(), "{:?}", net.node(node_id(0, 0)).events);
    let replies = net.sent.iter().filter(|sent| {
        sent.from == node_id(0, 0) && sent.to == liar && matches!(*sent.message, PeerMessage::Heartbeat(_))
    });
    assert!(replies.count() < 40, "replies are limited");
}
