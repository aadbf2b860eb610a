//! Payments inside a committee and between committees, and silence afterwards.

mod common;

use common::{Net, Setup, Wallet};
use shardpay_replica::Answer;
use shardpay_types::{Outcome, PeerMessage};

fn pays(setup: Setup) {
    let mut net = Net::new(setup);
    let last = setup.committees - 1;
    let (mut alice, bob, carol) =
        (Wallet::of(&net.genesis, 0, 1), Wallet::of(&net.genesis, 0, 2), Wallet::of(&net.genesis, last, 3));
    net.fund(&alice, 1_000_000);
    let chain = net.chain;
    let home = net.members(0)[setup.members - 1];
    let local = net.submit(home, alice.pay(&chain, bob.public(), 300));
    let remote = net.submit(home, alice.pay(&chain, carol.public(), 500));
    net.run_until("payments arrive", |net| {
        net.balance(&bob.public()) == 300 && net.balance(&carol.public()) == 500 && net.all_settled()
    });
    assert_eq!(net.balance(&alice.public()), 999_200);
    for txid in [local, remote] {
        let executed =
            net.node(home).answers.iter().any(|(_, id, answer)| {
                *id == txid && matches!(answer, Answer::Executed { outcome: Outcome::Applied, .. })
            });
        assert!(executed, "the client hears of its payment");
    }
}

#[test]
fn one_committee_of_four() {
    pays(Setup { committees: 1, members: 4, seed: 1 });
}

#[test]
fn three_committees_of_four() {
    pays(Setup { committees: 3, members: 4, seed: 2 });
}

#[test]
fn two_committees_of_seven() {
    pays(Setup { committees: 2, members: 7, seed: 3 });
}

#[test]
fn a_single_node_is_a_ledger() {
    pays(Setup { committees: 1, members: 1, seed: 4 });
}

#[test]
fn two_single_nodes_pay_each_other() {
    pays(Setup { committees: 2, members: 1, seed: 5 });
}

#[test]
fn two_seconds_after_the_last_work_nothing_but_heartbeats() {
    for members in [1, 4] {
        let mut net = Net::new(Setup { committees: 2, members, seed: 6 });
        let (mut alice, bob) = (Wallet::of(&net.genesis, 0, 1), Wallet::of(&net.genesis, 1, 2));
        net.fund(&alice, 1_000);
        let (chain, home) = (net.chain, net.members(0)[0]);
        net.submit(home, alice.pay(&chain, bob.public(), 10));
        net.run_until("the payment arrives", |net| net.balance(&bob.public()) == 10 && net.all_settled());
        net.run_ms(2_000);
        net.keep_sent = true;
        net.run_ms(10_000);
        let loud: Vec<_> = net.sent.iter().filter(|sent| !matches!(*sent.message, PeerMessage::Heartbeat(_))).collect();
        assert!(loud.is_empty(), "{} messages, first {:?}", loud.len(), loud.first());
        assert_eq!(net.sent.is_empty(), members == 1, "heartbeats go on");
    }
}
