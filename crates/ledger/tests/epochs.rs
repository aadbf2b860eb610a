//! Closing and opening epochs, and what other committees make of it.

mod common;

use common::*;
use shardpay_crypto::{header_hash, plan_hash};
use shardpay_ledger::{ItemReject::*, Ledger, MemStore, TxReject, Verdict};
use shardpay_types::*;

/// Two committees, epoch 0; account 0 of committee 0 owns 10,000.
fn funded() -> (World, Key, Key) {
    let mut world = World::of(2);
    let (a, b) = (world.account(0, 0), world.account(1, 0));
    world.run(0, vec![world.mint(world.deposit(0, 0), a, 10_000)]);
    world.run(1, vec![world.mint(world.deposit(1, 0), b, 10_000)]);
    (world, a, b)
}

#[test]
fn an_epoch_closes_after_everything_else_of_its_commit() {
    let (mut world, a, b) = funded();
    let next = world.next_plan(&world.genesis, 1);
    let change = world.epoch_change(&next, 0);
    let payloads = vec![
        payload(vec![world.pay(a, b, 20, 1)]),
        with_change(change.clone()),
        with_change(change.clone()),
        payload(vec![world.pay(a, b, 10, 0)]),
    ];
    let executed = world.run_payloads(0, payloads);
    assert_eq!(outcomes(&executed), [Outcome::Applied; 2]);
    assert_eq!(executed.refused, [Duplicate]);
    assert_eq!(executed.closed.as_ref(), Some(&next));
    assert_eq!(executed.keysets, [(CommitteeId::at(0), Epoch::new(1))]);
    let block = &executed.blocks[0].block;
    assert_eq!((block.header.next_plan, block.header.last_of_commit), (Some(plan_hash(&next)), true));
    assert!(matches!(block.items.last(), Some(LedgerItem::EpochChange(_))));
    let ledger = &world.nodes[0].ledger;
    assert_eq!(
        (ledger.plan(), ledger.status().epoch, ledger.status().last_output),
        (&next, Epoch::new(1), Round::ZERO)
    );
    assert_eq!(ledger.closings(Epoch::ZERO).expect("memory").len(), 1);
    // The next epoch: rounds start again, heights go on, the new members sign.
    let executed = world.run(0, vec![world.pay(a, b, 30, 2)]);
    let header = &executed.blocks[0].block.header;
    assert_eq!((header.epoch.get(), header.height.get(), header.anchor.round.get()), (1, 3, 1));
    assert_eq!(world.nodes[0].ledger.status().certified, Height::new(3));
}

#[test]
fn a_closed_epoch_executes_nothing_more() {
    let (mut world, a, b) = funded();
    let next = world.next_plan(&world.genesis, 1);
    let change = world.epoch_change(&next, 0);
    let closing = world.commit(0, vec![with_change(change.clone())]);
    let payment = payload(vec![world.pay(a, b, 10, 0)]);
    let late = world.nodes[0].commit_of(world.chain, Epoch::ZERO, vec![payment]);
    let later = world.nodes[0].commit_of(world.chain, Epoch::ZERO, vec![with_change(change)]);
    let executed = world.nodes[0].ledger.execute(&closing).expect("memory");
    let view = world.nodes[0].ledger.view();
    assert_eq!((view.closed.as_ref(), view.plan.epoch, view.uncertified.len()), (Some(&next), Epoch::ZERO, 1));
    assert_same(&world.reopen(0), &world.nodes[0].ledger);
    let checkpoint = world.nodes[0].ledger.checkpoint().expect("memory");
    assert_eq!((checkpoint.epoch, checkpoint.header), (Epoch::ZERO, executed.blocks[0].hash));

    // Before and after the certificate: the old epoch is over.
    for certify in [false, true] {
        if certify {
            world.certify(0, &executed);
        }
        let ledger = &mut world.nodes[0].ledger;
        let nothing = ledger.execute(&late).expect("memory");
        assert_eq!(verdicts(&nothing), [Verdict::Dropped(TxReject::EpochClosed)]);
        assert!(nothing.blocks.is_empty() && nothing.senders.is_empty());
        assert_eq!(ledger.execute(&later).expect("memory").refused, [WrongEpoch]);
        assert_eq!(ledger.checkpoint().expect("memory"), checkpoint);
    }
    assert_eq!(world.nodes[0].ledger.view().closed, None);
    assert_same(&world.reopen(0), &world.nodes[0].ledger);
}

#[test]
fn the_first_commit_opens_an_epoch_whose_closing_is_not_certified_here() {
    let (mut world, a, b) = funded();
    let next = world.next_plan(&world.genesis, 1);
    let closing = world.commit(0, vec![with_change(world.epoch_change(&next, 0))]);
    let closed = world.nodes[0].ledger.execute(&closing).expect("memory");
    world.nodes[0].round = 0;
    world.nodes[0].leaders.clear();
    let payment = payload(vec![world.pay(a, b, 10, 0)]);
    let first = world.nodes[0].commit_of(world.chain, Epoch::new(1), vec![payment]);
    let executed = world.nodes[0].ledger.execute(&first).expect("memory");
    assert_eq!(executed.blocks[0].block.header.epoch, Epoch::new(1));
    assert_eq!(world.nodes[0].ledger.view().uncertified.len(), 2);
    assert_same(&world.reopen(0), &world.nodes[0].ledger);
    world.certify(0, &closed);
    world.certify(0, &executed);
    assert_eq!(world.nodes[0].ledger.status().certified, Height::new(3));
}

#[test]
fn unapproved_and_unfit_plans_are_refused() {
    let (mut world, _, _) = funded();
    let next = world.next_plan(&world.genesis, 1);
    let good = world.epoch_change(&next, 0);
    let with =
        |approvals: Vec<PlanApproval>| EpochChange { plan: Plan::clone(&next), approvals: List::bounded(approvals) };
    let all = good.approvals.to_vec();
    let mut forged = all.clone();
    forged[0].signature = Signature::ZERO;
    let mut other_plan = all.clone();
    other_plan[0].plan = PlanHash([1; 32]);
    let mut unsorted = all.clone();
    unsorted.swap(0, 1);
    let twice = [&all[..1], &all[..]].concat();
    let only_own: Vec<_> = all.iter().filter(|approval| approval.committee.index() == 0).copied().collect();
    let mut skipping = Plan::clone(&next);
    skipping.epoch = Epoch::new(2);
    let mut moving = Plan::clone(&next);
    moving.constants.gc_depth += 1;
    let cases = [
        (with(forged), BadPlan),
        (with(other_plan), BadPlan),
        (with(unsorted), Malformed),
        (with(twice), Malformed),
        (with(only_own), BadPlan),
        (with(all[1..].to_vec()), BadPlan),
        (with(Vec::new()), BadPlan),
        (world.epoch_change(&next, 1), BadPlan),
        (world.epoch_change(&skipping, 0), BadPlan),
        (world.epoch_change(&moving, 0), BadPlan),
        (world.epoch_change(&world.genesis, 0), BadPlan),
    ];
    for (n, (change, reject)) in cases.into_iter().enumerate() {
        let executed = world.run_payloads(0, vec![with_change(change)]);
        assert_eq!((executed.refused, executed.closed), (vec![reject], None), "case {n}");
        assert!(executed.blocks.is_empty());
    }
    // A bad one does not stand in the way of the good one behind it.
    let payloads = vec![with_change(with(Vec::new())), with_change(good)];
    let executed = world.run_payloads(0, payloads);
    assert_eq!((executed.refused, executed.closed), (vec![BadPlan], Some(next)));
}

#[test]
fn a_recorded_closing_retires_the_epoch() {
    let (mut world, a, b) = funded();
    world.run(0, vec![world.pay(a, b, 10, 0)]);
    let before_closing = world.pack(0, 1).expect("a message");
    world.run(0, vec![world.pay(a, b, 11, 1)]);
    let next = world.next_plan(&world.genesis, 1);
    world.close(0, &world.epoch_change(&next, 0));
    let at_closing = world.pack(0, 1).expect("messages");
    assert!(at_closing.certified.header.is_closing());
    world.run(0, vec![world.pay(a, b, 12, 2)]);
    let after = world.pack(0, 1).expect("messages");
    let record = world.nodes[0].ledger.closings(Epoch::ZERO).expect("memory").remove(0);

    // Not recorded yet: the new epoch's members are unknown.
    assert_eq!(world.run_payloads(1, vec![with_pack(after.clone())]).refused, [WrongEpoch]);
    let executed = world.run_payloads(1, vec![with_closing(record.clone())]);
    assert_eq!(executed.keysets, [(CommitteeId::at(0), Epoch::new(1))]);
    assert_eq!((executed.blocks.len(), executed.blocks[0].block.header.leaf_count), (1, 0));
    assert_eq!(world.nodes[1].ledger.view().keysets[0].1, Epoch::new(1));
    assert_same(&world.reopen(1), &world.nodes[1].ledger);
    // Recorded: older headers are worth nothing, whoever signs them now.
    assert_eq!(world.run_payloads(1, vec![with_pack(before_closing)]).refused, [WrongEpoch]);
    assert_eq!(world.run_payloads(1, vec![with_closing(record)]).refused, [Duplicate]);
    // The closing header itself, and later ones, prove.
    assert_eq!(world.run_payloads(1, vec![with_pack(at_closing)]).refused, []);
    assert_eq!(world.relay(0, 1), 1);
    assert_eq!(world.balance(1, b), 10_000 + 33);
}

#[test]
fn a_record_and_its_pack_may_come_in_one_block() {
    let (mut world, a, b) = funded();
    let next = world.next_plan(&world.genesis, 1);
    world.close(0, &world.epoch_change(&next, 0));
    world.run(0, vec![world.pay(a, b, 10, 0)]);
    let record = world.nodes[0].ledger.closings(Epoch::ZERO).expect("memory").remove(0);
    let pack = world.pack(0, 1).expect("a message");
    let both = Payload { closings: List::bounded(vec![record]), ..with_pack(pack) };
    let executed = world.run_payloads(1, vec![both]);
    assert_eq!((executed.refused, world.balance(1, b)), (vec![], 10_010));
}

#[test]
fn closing_records_that_prove_nothing_are_refused() {
    let (mut world, _, _) = funded();
    let next = world.next_plan(&world.genesis, 1);
    world.close(0, &world.epoch_change(&next, 0));
    let good = world.nodes[0].ledger.closings(Epoch::ZERO).expect("memory").remove(0);
    world.nodes[0].generation = 0;
    let header = good.certified.header.clone();
    let signed = |header: LedgerHeader, plan: &Plan| ClosingRecord {
        certified: CertifiedHeader { certificate: world.signatures(0, &header, &[0, 1, 2]), header },
        plan: plan.clone(),
    };
    let mut few = good.clone();
    few.certified.certificate = world.signatures(0, &header, &[0, 1]);
    let mut moving = Plan::clone(&next);
    moving.constants.gc_depth += 1;
    let naming = |plan: &Plan| LedgerHeader { next_plan: Some(plan_hash(plan)), ..header.clone() };
    let own = LedgerHeader { committee: CommitteeId::at(1), ..header.clone() };
    let nobody = LedgerHeader { committee: CommitteeId::at(2), ..header.clone() };
    let cases = [
        (few, BadCertificate),
        (ClosingRecord { plan: moving.clone(), ..good.clone() }, Malformed),
        (signed(naming(&moving), &moving), BadPlan),
        (signed(LedgerHeader { next_plan: None, ..header.clone() }, &next), Malformed),
        (signed(LedgerHeader { epoch: Epoch::new(1), ..header.clone() }, &next), WrongEpoch),
        (signed(own, &next), WrongCommittee),
        (signed(nobody, &next), WrongCommittee),
    ];
    for (n, (record, reject)) in cases.into_iter().enumerate() {
        let executed = world.run_payloads(1, vec![with_closing(record)]);
        assert_eq!((executed.refused, executed.blocks.len()), (vec![reject], 0), "case {n}");
    }
    assert_eq!(world.run_payloads(1, vec![with_closing(good)]).refused, []);
}

#[test]
fn replicas_agree_over_epochs() {
    let (mut world, a, b) = funded();
    let mut plan = world.genesis.clone();
    for epoch in 0..3u64 {
        world.run(0, vec![world.pay(a, b, 10, epoch)]);
        world.settle();
        let next = world.next_plan(&plan, epoch + 1);
        let change = world.epoch_change(&next, epoch);
        world.close(0, &change);
        world.close(1, &change);
        plan = next;
    }
    world.settle();
    assert_eq!(world.balance(1, b), 10_030);
    for c in 0..2 {
        let live = &world.nodes[c].ledger;
        let mut replica = Ledger::open(config(&world.genesis, c), MemStore::new()).expect("fresh");
        for block in chain_of(live) {
            replica.replay(&block).expect("an honest block");
            assert_same(&Ledger::open(config(&world.genesis, c), replica.store().clone()).expect("opens"), &replica);
        }
        assert_same(&replica, live);
        assert_eq!(replica.status().epoch, Epoch::new(3));
        let closings = replica.closings(Epoch::ZERO).expect("memory");
        assert_eq!(closings, live.closings(Epoch::ZERO).expect("memory"));
        let epochs: Vec<_> = closings.iter().map(|record| record.certified.header.epoch.get()).collect();
        assert_eq!(epochs, [0, 1, 2]);
        assert_eq!(header_hash(&chain_of(live).last().expect("blocks").block.header), replica.status().head);
    }
}
