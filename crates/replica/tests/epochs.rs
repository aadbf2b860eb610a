//! Epochs closing and opening with unchanged members.

mod common;

use std::collections::BTreeSet;

use common::net::node_id;
use common::{Net, Setup, Wallet};
use shardpay_replica::Event;
use shardpay_types::{Epoch, Height, NodeId, PeerMessage};

fn epoch(net: &Net, id: NodeId) -> Epoch {
    net.node(id).replica().status().epoch
}

fn all_in_epoch(net: &Net, number: u64) -> bool {
    net.ids().into_iter().filter(|id| net.node(*id).is_up()).all(|id| epoch(net, id) == Epoch::new(number))
}

/// Payments in both directions between two committees, `count` rounds, one of each per `every_ms`.
struct Load {
    left: Wallet,
    right: Wallet,
    sent: u64,
}

impl Load {
    fn new(net: &mut Net) -> Self {
        let left = Wallet::of(&net.genesis, 0, 1);
        let right = Wallet::of(&net.genesis, net.genesis.committees.len() - 1, 2);
        net.fund(&left, 1_000_000);
        net.fund(&right, 1_000_000);
        Self { left, right, sent: 0 }
    }

    /// Both pay each other one unit at a member of their committee that is up.
    fn pay(&mut self, net: &mut Net) {
        let (chain, last) = (net.chain, net.genesis.committees.len() - 1);
        self.sent += 1;
        let homes = [net.members(0), net.members(last)].map(|members| {
            let up: Vec<_> = members.into_iter().filter(|id| net.node(*id).is_up()).collect();
            // always the same member: its sequences are in its own mempool
            up[0]
        });
        let (left, right) = (self.left.public(), self.right.public());
        net.submit(homes[0], self.left.pay(&chain, right, 3));
        net.submit(homes[1], self.right.pay(&chain, left, 1));
    }

    fn run(&mut self, net: &mut Net, count: u64, every_ms: u64) {
        for _ in 0..count {
            self.pay(net);
            net.run_ms(every_ms);
        }
    }

    fn arrived(&self, net: &Net) -> bool {
        net.balance(&self.left.public()) == 1_000_000 - 2 * self.sent
            && net.balance(&self.right.public()) == 1_000_000 + 2 * self.sent
            && net.all_settled()
    }
}

#[test]
fn three_epochs_under_load_lose_nothing() {
    let mut net = Net::new(Setup { committees: 2, members: 4, seed: 41 });
    let mut load = Load::new(&mut net);
    for number in 1..=3 {
        load.run(&mut net, 10, 30);
        net.close_epoch();
        load.run(&mut net, 10, 30);
        net.run_until("the next epoch", |net| all_in_epoch(net, number));
    }
    load.run(&mut net, 5, 30);
    net.run_until("all payments arrive", |net| load.arrived(net));
    for id in net.ids() {
        let checkpoints: Vec<_> = net.node(id).checkpoints.iter().map(|c| c.checkpoint.epoch.get()).collect();
        assert_eq!(checkpoints, [0, 1, 2], "{id:?}");
    }
    let roots: BTreeSet<_> = net
        .members(0)
        .iter()
        .flat_map(|id| net.node(*id).checkpoints.iter().map(|c| (c.checkpoint.epoch, c.checkpoint.state_root)))
        .collect();
    assert_eq!(roots.len(), 3, "one state root per epoch");
}

#[test]
fn epochs_of_single_nodes() {
    let mut net = Net::new(Setup { committees: 1, members: 1, seed: 42 });
    let alice = Wallet::of(&net.genesis, 0, 1);
    net.fund(&alice, 10);
    for number in 1..=3 {
        net.close_epoch();
        net.run_until("the next epoch", |net| all_in_epoch(net, number) && net.all_settled());
    }
    net.fund(&alice, 20);
    assert_eq!(net.node(node_id(0, 0)).checkpoints.len(), 3);
}

#[test]
fn members_crash_at_the_boundary() {
    // each seed crashes one member as soon as another has executed the closing block
    for seed in 50..62 {
        let mut net = Net::new(Setup { committees: 2, members: 4, seed });
        let mut load = Load::new(&mut net);
        load.run(&mut net, 5, 20);
        net.close_epoch();
        let victim = node_id(0, 1 + seed as usize % 3);
        let first = |net: &Net| net.members(0).iter().any(|id| epoch(net, *id) == Epoch::new(1));
        net.run_until("somebody is in the next epoch", first);
        net.run_ms(seed % 4 * 3);
        net.crash(victim);
        load.run(&mut net, 3, 20);
        net.start(victim);
        load.run(&mut net, 3, 20);
        net.run_until("everything arrives", |net| all_in_epoch(net, 1) && load.arrived(net));
        assert!(!net.node(victim).events.iter().any(|event| matches!(event, Event::StaysOut(_))), "seed {seed}");
    }
}

#[test]
fn everybody_crashes_at_the_boundary() {
    for seed in 70..82 {
        let mut net = Net::new(Setup { committees: 2, members: 4, seed });
        let mut load = Load::new(&mut net);
        load.run(&mut net, 3, 20);
        net.run_until("the first payments arrive", |net| load.arrived(net));
        net.close_epoch();
        let first = |net: &Net| net.ids().iter().any(|id| epoch(net, *id) == Epoch::new(1));
        net.run_until("somebody is in the next epoch", first);
        net.run_ms(seed % 6 * 2);
        for id in net.ids() {
            net.crash(id);
        }
        for id in net.ids() {
            net.start(id);
        }
        if net.ids().iter().any(|id| epoch(&net, *id) == Epoch::ZERO) {
            // the change may have been in a mempool only; the signaler brings it again
            let plan = std::sync::Arc::new(Net::successor(&net.genesis));
            let change = std::sync::Arc::new(net.change(&plan));
            for id in net.ids() {
                net.input(id, shardpay_replica::Input::EpochChangeProposed(change.clone()));
            }
        }
        net.run_until("everybody is in the next epoch", |net| all_in_epoch(net, 1) && net.all_settled());
        load.run(&mut net, 3, 20);
        net.run_until("payments go on", |net| load.arrived(net));
        for id in net.ids() {
            let closing = net.node(id).ledger().closings(Epoch::ZERO).expect("memory does not fail");
            assert_eq!(closing.len(), 1, "{id:?}: the closing header is certified (seed {seed})");
            let early = net.node(id).replica().status().executed > closing[0].certified.header.height;
            assert!(early && !net.node(id).checkpoints.is_empty(), "{id:?}: so is the checkpoint (seed {seed})");
        }
    }
}

#[test]
fn a_straggler_crosses_two_boundaries() {
    let mut net = Net::new(Setup { committees: 1, members: 4, seed: 43 });
    let mut load = Load::new(&mut net);
    let straggler = node_id(0, 3);
    net.run_until("settled", Net::all_settled);
    net.passes = Box::new(move |from, to, _| from != straggler && to != straggler);
    for number in 1..=2 {
        load.run(&mut net, 10, 30);
        let plan = net.node(node_id(0, 0)).plan();
        let next = std::sync::Arc::new(Net::successor(&plan));
        net.approve(&next);
        let change = std::sync::Arc::new(net.change(&next));
        for member in 0..3 {
            net.input(node_id(0, member), shardpay_replica::Input::EpochChangeProposed(change.clone()));
        }
        net.run_until("the others go on", |net| {
            (0..3).all(|member| epoch(net, node_id(0, member)) == Epoch::new(number))
        });
        net.run_until("the epoch's end is certified", |net| {
            (0..3).all(|member| net.node(node_id(0, member)).checkpoints.len() == number as usize)
        });
    }
    assert_eq!(epoch(&net, straggler), Epoch::ZERO);
    net.passes = Box::new(|_, _, _| true);
    load.run(&mut net, 10, 30);
    net.run_until("the straggler is level", |net| all_in_epoch(net, 2) && load.arrived(net));
    assert!(net.node(straggler).events.iter().any(|event| matches!(event, Event::CatchUpStarted)));
    // and it takes part: without it and one more member nothing would be certified any more
    net.crash(node_id(0, 0));
    let before = net.node(straggler).replica().status().certified;
    load.run(&mut net, 3, 30);
    net.run_until("the straggler's votes count", |net| {
        net.node(straggler).replica().status().certified > before && net.settled(0)
    });
}

#[test]
fn nothing_is_signed_above_a_closing_header_in_its_epoch() {
    let mut net = Net::new(Setup { committees: 1, members: 4, seed: 44 });
    net.keep_sent = true;
    let mut load = Load::new(&mut net);
    load.run(&mut net, 5, 10);
    net.close_epoch();
    load.run(&mut net, 20, 10);
    net.run_until("the next epoch", |net| all_in_epoch(net, 1) && load.arrived(net));
    let closing = net.node(node_id(0, 0)).ledger().closings(Epoch::ZERO).expect("memory does not fail");
    let last: Height = closing[0].certified.header.height;
    let above = net.sent.iter().filter(|sent| {
        matches!(&*sent.message, PeerMessage::HeaderVote(vote) if vote.epoch == Epoch::ZERO && vote.height > last)
    });
    assert_eq!(above.count(), 0);
    assert!(net.node(node_id(0, 0)).replica().status().certified > last);
}
