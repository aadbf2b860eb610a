//! Opaque payloads through a committee: ordered once where genesis allows them, refused on every way in where not.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::net::{genesis_plan, node_id};
use common::{Net, Setup};
use shardpay_consensus::BlockReject;
use shardpay_crypto::{SealedBlock, opaque_id};
use shardpay_replica::verify::{CheckedMessage, check_message, check_opaque};
use shardpay_replica::{Answer, ClientToken, Config, Event};
use shardpay_types::*;

fn network(seed: u64, adjust: impl Fn(&mut Config)) -> Net {
    let mut genesis = genesis_plan(1, 4);
    genesis.constants.opaque_bytes_max = 64;
    Net::on(genesis, seed, adjust)
}

fn bytes(n: usize) -> Opaque {
    Opaque(n.to_le_bytes().repeat(8).into())
}

/// How often each id has a leaf in a node's ledger.
fn ordered(net: &Net, member: usize) -> BTreeMap<TxId, usize> {
    let ledger = net.node(node_id(0, member)).ledger();
    let mut counts = BTreeMap::new();
    let mut from = Height::new(1);
    loop {
        let blocks = ledger.blocks(from, 1 << 20).expect("memory does not fail");
        if blocks.is_empty() {
            return counts;
        }
        for block in blocks {
            from = block.block.header.height.next();
            for item in &block.block.items {
                let LedgerItem::Opaque(payload) = item else { continue };
                *counts.entry(opaque_id(&net.chain, payload)).or_default() += 1;
            }
        }
    }
}

fn executed(net: &Net, member: usize, client: ClientToken) -> Vec<TxId> {
    let answers = net.node(node_id(0, member)).answers.iter();
    let told = answers.filter(|(to, _, answer)| *to == client && matches!(answer, Answer::Executed { .. }));
    told.map(|(_, txid, _)| *txid).collect()
}

#[test]
fn what_clients_submit_is_ordered_once_everywhere_and_answered() {
    let mut net = network(1, |_| {});
    for round in 0..20 {
        for member in 0..4 {
            let client = ClientToken(member as u64);
            let payloads = (0..25).map(|n| bytes(round * 1_000 + member * 100 + n)).collect();
            net.submit_opaque(node_id(0, member), client, payloads).expect("allowed");
        }
        net.run_ms(20);
    }
    net.run_until("all is certified", |net| net.settled(0));
    for member in 0..4 {
        let counts = ordered(&net, member);
        assert_eq!(counts.len(), 2_000);
        assert!(counts.values().all(|count| *count == 1));
        let told = executed(&net, member, ClientToken(member as u64));
        assert_eq!(told.len(), 500);
        assert!(told.iter().all(|txid| counts.contains_key(txid)));
    }
}

#[test]
fn the_same_bytes_are_one_while_held_and_another_after_the_answer() {
    let mut net = network(2, |_| {});
    let (first, second) = (ClientToken(1), ClientToken(2));
    let id = opaque_id(&net.chain, &bytes(7));
    for client in [first, second, first] {
        net.submit_opaque(node_id(0, 0), client, vec![bytes(7), bytes(7)]).expect("allowed");
    }
    net.run_until("certified", |net| net.settled(0));
    assert_eq!((executed(&net, 0, first), executed(&net, 0, second)), (vec![id], vec![id]), "one answer each");
    assert_eq!(ordered(&net, 1)[&id], 1);
    // again after the answer, and at another member: two more
    for member in [0, 3] {
        net.submit_opaque(node_id(0, member), first, vec![bytes(7)]).expect("allowed");
    }
    net.run_until("certified", |net| net.settled(0));
    assert!((2..=3).contains(&ordered(&net, 1)[&id]), "{:?}", ordered(&net, 1));
}

#[test]
fn a_full_pool_says_busy_and_takes_more_once_it_has_room() {
    let mut net = network(3, |config| (config.mempool.count_max, config.mempool.clients_max) = (4, 2));
    let client = ClientToken(1);
    net.submit_opaque(node_id(0, 0), client, (0..6).map(bytes).collect()).expect("allowed");
    let busy = |net: &Net| {
        let answers = net.node(node_id(0, 0)).answers.iter();
        answers.filter(|(_, _, answer)| matches!(answer, Answer::Busy { .. })).count()
    };
    assert_eq!(busy(&net), 2);
    net.submit_opaque(node_id(0, 0), ClientToken(2), vec![bytes(0)]).expect("allowed");
    net.submit_opaque(node_id(0, 0), ClientToken(3), vec![bytes(0)]).expect("allowed");
    assert_eq!(busy(&net), 3, "two wait for it already");
    net.run_until("certified", |net| net.settled(0));
    net.submit_opaque(node_id(0, 0), client, vec![bytes(5)]).expect("allowed");
    net.run_until("certified", |net| net.settled(0));
    assert_eq!((ordered(&net, 2).len(), busy(&net)), (5, 3));
}

/// A member that was away replays what the others ordered; what it had proposed it does not order again.
#[test]
fn a_member_that_crashed_replays_and_orders_nothing_twice() {
    let mut net = network(4, |config| config.consensus.min_round_delay = Duration::from_millis(20));
    let victim = node_id(0, 2);
    for round in 0..5 {
        net.submit_opaque(victim, ClientToken(1), (0..20).map(|n| bytes(round * 100 + n)).collect()).expect("allowed");
        net.run_ms(30);
    }
    net.crash(victim);
    for round in 0..400 {
        net.submit_opaque(node_id(0, 0), ClientToken(2), vec![bytes(10_000 + round)]).expect("allowed");
        net.run_ms(20);
    }
    net.start(victim);
    net.run_until("level again", |net| net.settled(0));
    assert!(net.node(victim).events.iter().any(|event| matches!(event, Event::CatchUpStarted)), "it replayed");
    net.submit_opaque(victim, ClientToken(3), vec![bytes(99_999)]).expect("allowed");
    net.run_until("it proposes again", |net| !executed(net, 2, ClientToken(3)).is_empty() && net.settled(0));
    let counts = ordered(&net, 2);
    assert_eq!(counts, ordered(&net, 0));
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    assert!(counts.len() >= 401);
}

#[test]
fn epochs_come_and_go_and_nothing_is_lost() {
    let mut net = network(5, |_| {});
    let client = ClientToken(1);
    for epoch in 0..2 {
        for n in 0..10 {
            net.submit_opaque(node_id(0, n % 4), client, vec![bytes(epoch * 100 + n)]).expect("allowed");
            net.run_ms(5);
        }
        net.close_epoch();
        for n in 10..20 {
            net.submit_opaque(node_id(0, n % 4), client, vec![bytes(epoch * 100 + n)]).expect("allowed");
            net.run_ms(5);
        }
        net.run_until("settled in the next epoch", |net| {
            net.settled(0) && net.node(node_id(0, 0)).plan().epoch == Epoch::new(epoch as u64 + 1)
        });
    }
    let counts = ordered(&net, 3);
    assert_eq!(counts.len(), 40);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}

/// A ledger that holds money: the standard constants.
fn production(seed: u64) -> Net {
    Net::new(Setup { committees: 1, members: 4, seed })
}

#[test]
fn a_production_ledger_refuses_submissions() {
    let mut net = production(6);
    let id = opaque_id(&net.chain, &bytes(1));
    assert_eq!(net.submit_opaque(node_id(0, 0), ClientToken(1), vec![bytes(1)]), Err(id));
    let context = net.node(node_id(0, 0)).replica().verify_context();
    let empty = Opaque(Vec::new().into());
    assert!(check_opaque(&context, vec![empty, bytes(1)]).all(|checked| checked.is_err()));
    let allowed = network(7, |_| {}).node(node_id(0, 0)).replica().verify_context();
    let checked = check_opaque(&allowed, vec![bytes(1), Opaque(vec![0; 65].into())]);
    assert_eq!(checked.map(|checked| checked.is_ok()).collect::<Vec<_>>(), [true, false]);
}

/// A faulty member puts payloads into its blocks: on a production ledger nobody takes them, where they are allowed all do.
#[test]
fn a_faulty_members_blocks_with_payloads_are_refused() {
    for (mut net, expected) in [(production(8), Some(BlockReject::OpaqueRefused)), (network(8, |_| {}), None)] {
        let faulty = node_id(0, 1);
        net.run_ms(100);
        net.crash(faulty);
        let context = net.node(node_id(0, 0)).replica().verify_context();
        let mut block = Block {
            version: Version,
            chain: net.chain,
            epoch: Epoch::ZERO,
            committee: CommitteeId::at(0),
            author: faulty.member,
            round: Round::new(1),
            timestamp: Timestamp::from_millis(1),
            parents: List::default(),
            payload: Payload { opaque: List::bounded(vec![bytes(1)]), ..Payload::default() },
            signature: Signature::ZERO,
        };
        let consensus = shardpay_consensus::Context {
            chain: net.chain,
            epoch: Epoch::ZERO,
            committee: CommitteeId::at(0),
            members: net.genesis.committees[0].clone(),
            issuer: net.genesis.issuer,
            opaque_bytes_max: net.genesis.constants.opaque_bytes_max,
        };
        let authors = [1, 0, 2, 3].map(MemberIndex::at);
        let parents = authors.map(|author| shardpay_consensus::genesis_ref(&consensus, author));
        block.parents = List::bounded(parents.to_vec());
        let raw = SealedBlock::sign(block, &net.node(faulty).key).raw().clone();
        let blocks = Blocks { epoch: Epoch::ZERO, requested: false, blocks: List::bounded(vec![raw]) };
        for requested in [false, true] {
            let message = PeerMessage::Blocks(Blocks { requested, ..blocks.clone() });
            let checked = check_message(&context, faulty, message).expect("a message of a member");
            let CheckedMessage::Blocks { blocks, rejected, .. } = &checked else { panic!("blocks") };
            assert_eq!((blocks.len(), rejected.first()), (usize::from(expected.is_none()), expected.as_ref()));
            net.deliver(faulty, node_id(0, 0), checked);
        }
        net.run_ms(2_000);
        assert_eq!(ordered(&net, 0).len(), usize::from(expected.is_none()));
        assert_eq!(net.node(node_id(0, 0)).refused("bad_block"), if expected.is_some() { 2 } else { 0 });
    }
}

/// A server of ledger blocks hands a production member, which was away, a block with a payload.
#[test]
fn a_production_member_that_catches_up_refuses_ledger_blocks_with_payloads() {
    let mut net = Net::with(Setup { committees: 1, members: 4, seed: 9 }, |config| {
        config.consensus.min_round_delay = Duration::from_millis(20);
    });
    let mut alice = common::Wallet::of(&net.genesis, 0, 1);
    net.fund(&alice, 1_000_000);
    let victim = node_id(0, 3);
    net.crash(victim);
    let chain = net.chain;
    for _ in 0..400 {
        net.submit(node_id(0, 0), alice.pay(&chain, alice.public(), 1));
        net.run_ms(20);
    }
    net.alter = Box::new(|from, _, message| {
        let PeerMessage::LedgerResponse(response) = message else { return None };
        if from.member != MemberIndex::at(0) {
            return None;
        }
        let mut response = response.clone();
        let mut blocks = response.blocks.to_vec();
        for certified in &mut blocks {
            let mut items = certified.block.items.to_vec();
            items.push(LedgerItem::Opaque(bytes(1)));
            certified.block.items = List::bounded(items);
        }
        response.blocks = List::bounded(blocks);
        Some(PeerMessage::LedgerResponse(response))
    });
    net.start(victim);
    net.run_until("level again", |net| net.settled(0));
    assert!(net.node(victim).refused("bad_ledger_block") > 0, "{}", net.describe());
    assert_eq!(ordered(&net, 3).len(), 0);
}
