//! A sound system passes; each planted fault fails its check, with evidence, and the checks it must not touch
//! still pass.

mod world;

use shardpay_audit::CheckName::{self, *};
use shardpay_types::{AccountState, Amount, Height, Opaque, Sequence, Totals};

use world::World;

/// The verdict must fail exactly these checks, and say why.
fn fails(world: &World, expected: &[CheckName]) {
    let verdict = world.audit();
    assert_eq!(verdict.failed(), expected, "{verdict:#?}");
    assert!(!verdict.passed);
    assert!(expected.iter().all(|name| !verdict.check(*name).evidence.is_empty()));
}

#[test]
fn a_sound_system_passes() {
    let world = World::sound();
    let verdict = world.audit();
    assert!(verdict.passed, "{verdict:#?}");
    assert_eq!(verdict.check(ReplicasAgree).figures["ledger_blocks"], 5);
    assert_eq!(verdict.check(AcknowledgedStored).figures["acknowledged"], 3);
    assert_eq!(verdict.check(MessagesBetweenCommittees).figures["consumed"], 1);
    assert!(verdict.check(CertificatesVerify).figures["certificates"] > 0);
}

#[test]
fn a_replica_that_is_behind_is_a_prefix_and_passes() {
    let mut world = World::sound();
    world.cut(0, 3, 2);
    let verdict = world.audit();
    assert!(verdict.passed, "{verdict:#?}");
}

#[test]
fn a_missing_store_is_told() {
    let mut world = World::sound();
    world.stores.remove(&(1, 2));
    fails(&world, &[StoresReadable]);
}

#[test]
fn a_hole_in_a_store_is_told() {
    let mut world = World::sound();
    world.remove_block(0, 1, 2);
    fails(&world, &[StoresReadable]);
}

#[test]
fn an_altered_balance_is_found() {
    let mut world = World::sound();
    world.alter_account(0, 2, |state| AccountState {
        balance: Amount::from_micros(state.balance.micros() + 1),
        ..state
    });
    fails(&world, &[AccountsMatch]);
    let mut world = World::sound();
    world.alter_account(0, 2, |state| AccountState { next_sequence: Sequence::new(77), ..state });
    fails(&world, &[AccountsMatch]);
}

#[test]
fn a_fork_is_found() {
    let mut world = World::sound();
    world.fork(1, 3, 1);
    fails(&world, &[ReplicasAgree]);
    let evidence = world.audit().check(ReplicasAgree).evidence.join("\n");
    let headers = [0, 3].map(|member| world.header(1, member, 1));
    assert!(headers.iter().all(|header| evidence.contains(header)), "{evidence}\n names both of {headers:?}");
    assert!(evidence.contains("certified by members 0, 1, 2"), "{evidence}");
    assert!(evidence.contains("signed more than one of them: members 0, 1, 2"), "{evidence}");
}

#[test]
fn a_broken_parent_is_found() {
    let mut world = World::sound();
    world.rewrite(0, |block| {
        if block.header.height == Height::new(2) {
            block.header.parent = shardpay_types::HeaderHash([9; 32]);
        }
    });
    fails(&world, &[ChainIntact]);
}

#[test]
fn a_wrong_history_is_found() {
    let mut world = World::sound();
    world.rewrite(1, |block| block.header.history = shardpay_types::Hash([1; 32]));
    fails(&world, &[ChainIntact]);
}

#[test]
fn items_that_are_not_those_of_the_header_are_found() {
    let mut world = World::sound();
    world.rewrite(0, |block| {
        if block.header.height == Height::new(3) {
            block.header.leaf_count += 1;
        }
    });
    fails(&world, &[LeavesMatch]);
}

#[test]
fn coins_from_nowhere_are_found() {
    let mut world = World::sound();
    world.rewrite(0, |block| {
        let totals = block.header.totals;
        let more = |total: shardpay_types::Total| total.checked_add(Amount::from_micros(5)).expect("small");
        block.header.totals = Totals { minted: more(totals.minted), burned: more(totals.burned), ..totals };
    });
    fails(&world, &[SupplyPerCommittee]);
    let mut world = World::sound();
    world.rewrite(0, |block| block.header.totals.suspense = shardpay_types::Total::from_micros(3));
    fails(&world, &[SupplyPerCommittee, SupplyOverSystem]);
}

#[test]
fn a_payment_executed_twice_is_found() {
    let mut world = World::twice();
    fails(&world, &[ExecutedOnce]);
    world.acks.clear();
    fails(&world, &[ExecutedOnce]);
}

#[test]
fn a_credit_without_debit_is_found() {
    let world = World::forged_credit();
    fails(&world, &[MessagesBetweenCommittees]);
}

#[test]
fn a_bad_certificate_is_found() {
    let mut world = World::sound();
    world.spoil_certificate(0, 1, 2);
    fails(&world, &[CertificatesVerify]);
    let mut world = World::sound();
    world.thin_certificate(0, 1, 2);
    fails(&world, &[CertificatesVerify]);
}

#[test]
fn lost_acknowledgements_are_found() {
    type Spoil = fn(&mut shardpay_audit::Acknowledged);
    let spoils: [Spoil; 5] = [
        |ack| ack.txid = shardpay_types::TxId([8; 32]),
        |ack| ack.height = Height::new(99),
        |ack| ack.leaf += 1,
        |ack| ack.credit = !ack.credit,
        |ack| ack.committee = shardpay_types::CommitteeId::at(7),
    ];
    for spoil in spoils {
        let mut world = World::sound();
        spoil(&mut world.acks[0]);
        fails(&world, &[AcknowledgedStored]);
    }
}

#[test]
fn an_acknowledged_block_must_stand_in_a_quorum_of_stores() {
    let mut world = World::sound();
    world.cut(0, 3, 2);
    world.cut(0, 2, 2);
    fails(&world, &[AcknowledgedStored]);
}

#[test]
fn an_acknowledged_payment_must_be_applied() {
    fails(&World::short_balance_acknowledged(), &[AcknowledgedStored]);
}

#[test]
fn a_rate_that_was_not_kept_is_told() {
    let mut world = World::sound();
    world.load.sent = 90;
    fails(&world, &[RateKept]);
}

#[test]
fn a_verdict_reads_back() {
    let verdict = World::sound().audit();
    let text = serde_json::to_string(&verdict).expect("JSON");
    assert_eq!(serde_json::from_str::<shardpay_audit::Verdict>(&text).expect("read"), verdict);
}

#[test]
fn opaque_payloads_stand_once_where_genesis_allows_them() {
    let bytes = |n: u8| Opaque(vec![n; 16].into());
    let world = World::with_payloads(16, &[bytes(1), bytes(2)]);
    let verdict = world.audit();
    assert!(verdict.passed, "{verdict:#?}");
    assert_eq!(verdict.check(AcknowledgedStored).figures["acknowledged"], 5);
    fails(&World::with_payloads(16, &[bytes(1), bytes(2), bytes(1)]), &[ExecutedOnce]);
    fails(&World::with_payloads(15, &[bytes(1)]), &[LeavesMatch]);
    fails(&World::with_payloads(0, &[bytes(1)]), &[LeavesMatch]);
    let mut world = World::with_payloads(16, &[bytes(1), bytes(2)]);
    world.acks.last_mut().expect("acknowledged").leaf = 1;
    fails(&world, &[AcknowledgedStored]);
    let mut world = World::with_payloads(16, &[bytes(1)]);
    for member in 0..2 {
        world.cut(1, member, 1);
    }
    fails(&world, &[AcknowledgedStored]);
}
