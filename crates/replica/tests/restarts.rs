//! Crashes and restarts with what was durable. That own blocks and votes left only after their records,
//! and never twice for one slot or height, is checked on every message (`common::watch`).

mod common;

use std::time::Duration;

use common::net::node_id;
use common::{Net, Setup, Wallet};
use shardpay_replica::{Event, Record};
use shardpay_types::{Height, PeerMessage, PublicKey};

fn certified(net: &Net, id: shardpay_types::NodeId) -> Height {
    net.node(id).replica().status().certified
}

/// A steady stream of payments from wallets of committee 0, one per `every_ms`, for `count` payments.
fn stream(net: &mut Net, wallets: &mut [Wallet], to: PublicKey, count: usize, every_ms: u64) {
    let chain = net.chain;
    for turn in 0..count {
        let index = turn % wallets.len();
        let homes: Vec<_> = net.members(0).into_iter().filter(|id| net.node(*id).is_up()).collect();
        let home = homes[index % homes.len()];
        net.submit(home, wallets[index].pay(&chain, to, 1));
        net.run_ms(every_ms);
    }
}

fn wallets(net: &mut Net, count: u64) -> Vec<Wallet> {
    let wallets: Vec<Wallet> = (0..count).map(|n| Wallet::of(&net.genesis, 0, 10 + n)).collect();
    for wallet in &wallets {
        net.fund(wallet, 1_000_000);
    }
    wallets
}

#[test]
fn one_member_restarts_under_load() {
    let mut net = Net::new(Setup { committees: 1, members: 4, seed: 11 });
    let mut payers = wallets(&mut net, 4);
    let bob = Wallet::of(&net.genesis, 0, 1).public();
    stream(&mut net, &mut payers, bob, 20, 20);
    let victim = node_id(0, 2);
    // wallet 2's transactions stood in the victim's mempool; it pays no more after the crash
    net.crash(victim);
    stream(&mut net, &mut payers[..2], bob, 20, 20);
    net.start(victim);
    stream(&mut net, &mut payers[..2], bob, 20, 20);
    net.run_until("the restarted member is level", |net| {
        net.settled(0) && net.ids().iter().all(|id| certified(net, *id) == certified(net, node_id(0, 0)))
    });
    assert!(net.balance(&bob) >= 56);
    assert!(!net.node(victim).events.iter().any(|event| matches!(event, Event::StaysOut(_))));
}

#[test]
fn everybody_restarts_at_once_and_goes_on() {
    for seed in 20..30 {
        let mut net = Net::new(Setup { committees: 2, members: 4, seed });
        let mut payers = wallets(&mut net, 4);
        let bob = Wallet::of(&net.genesis, 1, 1).public();
        stream(&mut net, &mut payers, bob, 12, 7);
        for id in net.ids() {
            net.crash(id);
        }
        net.run_ms(500);
        for id in net.ids() {
            net.start(id);
        }
        // the DAGs first commit what was on its way
        net.run_ms(5_000);
        net.run_until("everything certified again", Net::all_settled);
        let before = net.balance(&bob);
        for payer in &mut payers {
            payer.next = net.node(node_id(0, 0)).account(&payer.public()).next_sequence.get();
        }
        stream(&mut net, &mut payers, bob, 8, 20);
        net.run_until("new payments arrive", |net| net.balance(&bob) == before + 8 && net.all_settled());
    }
}

#[test]
fn a_vote_that_was_recorded_and_not_certified_is_sent_again() {
    let mut net = Net::new(Setup { committees: 1, members: 4, seed: 31 });
    let mut payers = wallets(&mut net, 1);
    let bob = Wallet::of(&net.genesis, 0, 1).public();
    net.run_until("the funds are certified", |net| net.settled(0));
    // votes are lost: everything is executed, nothing certified
    net.passes = Box::new(|_, _, message| !matches!(message, PeerMessage::HeaderVote(_)));
    let before = certified(&net, node_id(0, 0));
    stream(&mut net, &mut payers, bob, 3, 50);
    net.run_until("the payments are executed", |net| net.balance(&bob) == 3);
    assert_eq!(certified(&net, node_id(0, 0)), before);
    for id in net.ids() {
        net.crash(id);
        net.start(id);
    }
    net.run_ms(1_000);
    assert_eq!(certified(&net, node_id(0, 0)), before);
    net.passes = Box::new(|_, _, _| true);
    net.run_until("they are certified", |net| net.settled(0));
    assert!(certified(&net, node_id(0, 0)) > before);
}

#[test]
fn nothing_own_leaves_while_the_disk_stands_still() {
    let mut net = Net::new(Setup { committees: 1, members: 4, seed: 32 });
    let mut payers = wallets(&mut net, 1);
    let bob = Wallet::of(&net.genesis, 0, 1).public();
    let slow = node_id(0, 0);
    net.run_ms(3_000);
    net.stall_disk(slow, true);
    net.keep_sent = true;
    let chain = net.chain;
    net.submit(slow, payers[0].pay(&chain, bob, 1));
    net.run_ms(3_000);
    let own = net
        .sent
        .iter()
        .filter(|sent| sent.from == slow)
        .filter(|sent| !matches!(*sent.message, PeerMessage::Heartbeat(_) | PeerMessage::BlockRequest(_)));
    assert_eq!(own.count(), 0, "neither blocks nor votes leave");
    assert!(net.node(slow).replica().status().withheld > 0);
    net.stall_disk(slow, false);
    net.run_until_within("the payment arrives", Duration::from_secs(20), |net| {
        net.balance(&bob) == 1 && net.settled(0)
    });
    assert_eq!(net.node(slow).replica().status().withheld, 0);
}

#[test]
fn another_signature_on_the_disk_halts_the_node() {
    let mut net = Net::new(Setup { committees: 1, members: 4, seed: 33 });
    let mut payers = wallets(&mut net, 1);
    let bob = Wallet::of(&net.genesis, 0, 1).public();
    let victim = node_id(0, 3);
    net.crash(victim);
    let next = certified(&net, node_id(0, 0)).next();
    let header = shardpay_types::HeaderHash([9; 32]);
    net.node_mut(victim).disk.records.push(Record::HeaderVote { height: next, header });
    net.start(victim);
    stream(&mut net, &mut payers, bob, 3, 50);
    net.run_until("the others go on", |net| certified(net, node_id(0, 0)) >= next);
    net.run_ms(2_000);
    let node = net.node(victim);
    assert!(node.events.iter().any(|event| matches!(event, Event::SignedAnother { height, .. } if *height == next)));
    assert!(node.replica().status().halted);
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let trace = || {
        let mut net = Net::new(Setup { committees: 2, members: 4, seed: 34 });
        net.keep_sent = true;
        let mut payers = wallets(&mut net, 2);
        let bob = Wallet::of(&net.genesis, 1, 1).public();
        stream(&mut net, &mut payers, bob, 6, 20);
        net.run_until("settled", Net::all_settled);
        net.sent.iter().map(|sent| format!("{:?} {:?} {:?} {:?}", sent.at, sent.from, sent.to, sent.message)).collect()
    };
    let (first, second): (Vec<String>, Vec<String>) = (trace(), trace());
    assert!(first == second, "a run is reproducible");
    assert!(first.len() > 100);
}

#[test]
fn an_idle_single_node_needs_no_clock() {
    let net = Net::new(Setup { committees: 1, members: 1, seed: 35 });
    let replica = net.node(node_id(0, 0)).replica();
    assert_eq!(replica.poll_timeout(), None);
}
