//! Credits between committees when relayers are dead, repeat themselves or lie.

mod common;

use std::sync::Arc;

use common::net::node_id;
use common::{Net, Setup, Wallet};
use shardpay_replica::verify::{MessageReject, check_message};
use shardpay_types::{Certificate, List, NodeId, PeerMessage, RelayNotice};

/// Two committees, and payers of the first one with funds.
fn network(seed: u64, payers: u64) -> (Net, Vec<Wallet>, Wallet) {
    let mut net = Net::new(Setup { committees: 2, members: 4, seed });
    let wallets: Vec<Wallet> = (0..payers).map(|n| Wallet::of(&net.genesis, 0, 10 + n)).collect();
    let payee = Wallet::of(&net.genesis, 1, 1);
    let everybody = wallets.clone();
    for wallet in &everybody {
        let number = 1_000 + wallet.public().0[0] as u64 * 256 + wallet.public().0[1] as u64;
        let mint = common::keys::mint(&net.genesis, &net.chain, 0, wallet.public(), (number, 1_000_000));
        net.submit(node_id(0, 0), mint);
    }
    net.run_until("funds arrive", |net| everybody.iter().all(|w| net.balance(&w.public()) == 1_000_000));
    (net, wallets, payee)
}

fn pay(net: &mut Net, wallets: &mut [Wallet], to: &Wallet, each: u64) -> u64 {
    let chain = net.chain;
    for wallet in wallets.iter_mut() {
        let homes: Vec<_> = net.members(0).into_iter().filter(|id| net.node(*id).is_up()).collect();
        for _ in 0..each {
            let home = homes[wallet.public().0[3] as usize % homes.len()];
            net.submit(home, wallet.pay(&chain, to.public(), 1));
        }
    }
    each * wallets.len() as u64
}

#[test]
fn a_dead_member_on_each_side() {
    for (dead_source, dead_destination) in [(0, 0), (1, 2), (3, 1)] {
        let (mut net, mut wallets, payee) = network(91, 3);
        net.crash(node_id(0, dead_source));
        net.crash(node_id(1, dead_destination));
        let mut sent = 0;
        for _ in 0..10 {
            sent += pay(&mut net, &mut wallets, &payee, 1);
            net.run_ms(100);
        }
        net.run_until("everything arrives", |net| net.balance(&payee.public()) == sent && net.all_settled());
    }
}

#[test]
fn everything_between_committees_comes_three_times() {
    let (mut net, mut wallets, payee) = network(92, 3);
    net.copies = 3;
    let mut sent = 0;
    for _ in 0..20 {
        sent += pay(&mut net, &mut wallets, &payee, 1);
        net.run_ms(50);
    }
    net.run_until("everything arrives once", |net| net.balance(&payee.public()) == sent && net.all_settled());
    net.run_ms(5_000);
    assert_eq!(net.balance(&payee.public()), sent);
}

#[test]
fn a_backlog_waits_for_a_destination_that_was_away() {
    let (mut net, mut wallets, payee) = network(93, 40);
    for id in net.members(1) {
        net.crash(id);
    }
    // three packs and a bit
    let sent = pay(&mut net, &mut wallets, &payee, 160);
    net.run_until("the source has debited", |net| {
        net.settled(0) && net.node(node_id(0, 0)).ledger().status().outbox_pending == sent
    });
    net.run_ms(20_000);
    for id in net.members(1) {
        net.start(id);
    }
    net.run_until("the backlog drains", |net| net.balance(&payee.public()) == sent && net.all_settled());
    net.run_until("the source has pruned its outbox", |net| {
        net.members(0).iter().all(|id| net.node(*id).ledger().status().outbox_pending == 0)
    });
    net.run_ms(3_000);
    net.keep_sent = true;
    net.run_ms(10_000);
    let relayed = net.sent.iter().filter(|sent| sent.from.committee != sent.to.committee).count();
    assert_eq!(relayed, 0, "nobody notifies of what is acknowledged");
}

#[test]
fn a_source_that_was_away_relays_what_it_owes() {
    let (mut net, mut wallets, payee) = network(94, 2);
    net.passes = Box::new(|from, to, _| from.committee == to.committee);
    let sent = pay(&mut net, &mut wallets, &payee, 20);
    net.run_until("debited", |net| net.settled(0) && net.node(node_id(0, 0)).ledger().status().outbox_pending == sent);
    for id in net.members(0) {
        net.crash(id);
    }
    net.run_ms(5_000);
    net.passes = Box::new(|_, _, _| true);
    for id in net.members(0) {
        net.start(id);
    }
    net.run_until("everything arrives", |net| net.balance(&payee.public()) == sent && net.all_settled());
}

/// Node 0 of the source is a liar in its own way.
fn with_liar(alter: impl Fn(&PeerMessage) -> Option<PeerMessage> + 'static) -> (Net, u64) {
    let (mut net, mut wallets, payee) = network(95, 3);
    let liar = node_id(0, 0);
    net.alter = Box::new(move |from, to, message| {
        (from == liar && to.committee != liar.committee).then(|| alter(message)).flatten()
    });
    let mut sent = 0;
    for _ in 0..10 {
        sent += pay(&mut net, &mut wallets, &payee, 1);
        net.run_ms(100);
    }
    net.run_until("everything arrives", |net| net.balance(&payee.public()) == sent && net.all_settled());
    let refused = net.members(1).iter().map(|id| net.node(*id).refused("bad_pack")).sum();
    (net, refused)
}

#[test]
fn a_relayer_that_changes_amounts_is_refused_by_execution() {
    let (_, refused) = with_liar(|message| {
        let PeerMessage::Pack(pack) = message else { return None };
        let mut pack = (**pack).clone();
        let mut messages = pack.messages.into_vec();
        messages[0].payer = messages[0].payee;
        pack.messages = List::bounded(messages);
        Some(PeerMessage::Pack(Arc::new(pack)))
    });
    assert!(refused > 0, "the lie was met");
}

#[test]
fn a_relayer_that_promises_too_much_only_delays() {
    with_liar(|message| match message {
        PeerMessage::RelayNotice(notice) => {
            Some(PeerMessage::RelayNotice(RelayNotice { epoch: notice.epoch, count: u64::MAX }))
        }
        PeerMessage::Pack(_) => {
            Some(PeerMessage::RelayNotice(RelayNotice { epoch: shardpay_types::Epoch::ZERO, count: u64::MAX - 1 }))
        }
        _ => None,
    });
}

#[test]
fn a_pack_that_skips_or_repeats_is_not_proposed() {
    with_liar(|message| {
        let PeerMessage::Pack(pack) = message else { return None };
        let mut pack = (**pack).clone();
        pack.first = pack.first.saturating_sub(1);
        Some(PeerMessage::Pack(Arc::new(pack)))
    });
}

#[test]
fn packs_are_checked_before_the_machine_sees_them() {
    let (mut net, mut wallets, payee) = network(96, 1);
    net.keep_sent = true;
    let sent = pay(&mut net, &mut wallets, &payee, 3);
    net.run_until("arrived", |net| net.balance(&payee.public()) == sent && net.all_settled());
    let packs = net.sent.iter().find_map(|sent| match &*sent.message {
        PeerMessage::Pack(pack) => Some((sent.from, sent.to, pack.clone())),
        _ => None,
    });
    let (from, to, pack) = packs.expect("a pack was sent");
    let context = net.node(to).replica().verify_context();
    let check = |from: NodeId, change: &dyn Fn(&mut shardpay_types::Pack)| {
        let mut changed = (*pack).clone();
        change(&mut changed);
        check_message(&context, from, PeerMessage::Pack(Arc::new(changed))).err()
    };
    assert_eq!(check(from, &|_| {}), None);
    assert_eq!(
        check(from, &|pack| pack.certified.certificate = Certificate::default()),
        Some(MessageReject::BadSignature)
    );
    assert_eq!(check(from, &|pack| pack.certified.header.outbox.0[0] ^= 1), Some(MessageReject::Malformed));
    assert_eq!(check(from, &|pack| pack.log.amount = shardpay_types::Total::ZERO), Some(MessageReject::Malformed));
    assert_eq!(check(from, &|pack| pack.messages = List::default()), Some(MessageReject::Malformed));
    assert_eq!(check(from, &|pack| pack.first = u64::MAX), Some(MessageReject::Malformed));
    assert_eq!(check(from, &|pack| pack.source = to.committee), Some(MessageReject::Malformed));
    let peer = NodeId { committee: to.committee, member: shardpay_types::MemberIndex::at((to.member.index() + 1) % 4) };
    assert_eq!(check(peer, &|_| {}), Some(MessageReject::WrongCommittee));
    let stranger = NodeId { committee: from.committee, member: shardpay_types::MemberIndex::at(9) };
    assert_eq!(check(stranger, &|_| {}), Some(MessageReject::UnknownSender));
}
