//! What a transaction becomes: applied, failed, or no leaf.

mod common;

use common::*;
use shardpay_ledger::{TxReject, Verdict};
use shardpay_types::*;

/// A world of two committees where account 0 of committee 0 owns 1,000.
fn funded() -> (World, Key) {
    let mut world = World::of(2);
    let a = world.account(0, 0);
    let mint = world.mint(world.deposit(0, 0), a, 1_000);
    let executed = world.run(0, vec![mint]);
    assert_eq!(outcomes(&executed), [Outcome::Applied]);
    (world, a)
}

#[test]
fn a_payment_moves_coins_and_consumes_its_sequence() {
    let (mut world, a) = funded();
    let b = world.account(0, 1);
    let executed = world.run(0, vec![world.pay(a, b, 300, 0)]);
    assert_eq!(executed.verdicts[0].0, world.txid(&world.pay(a, b, 300, 0)));
    assert_eq!(place(&executed, 0), (Height::new(2), 0));
    assert_eq!((world.balance(0, a), world.sequence(0, a)), (700, 1));
    assert_eq!((world.balance(0, b), world.sequence(0, b)), (300, 0));
    assert_eq!(executed.senders, [(a.0, world.nodes[0].ledger.account(&a.0))]);
    let LedgerItem::Transaction(item) = &executed.blocks[0].block.items[0] else { panic!("a transaction") };
    assert_eq!(item.accounts.iter().map(|state| state.balance.micros()).collect::<Vec<_>>(), [700, 300]);
}

#[test]
fn a_payment_to_oneself_touches_one_account() {
    let (mut world, a) = funded();
    let executed = world.run(0, vec![world.pay(a, a, 1_000, 0), world.pay(a, a, 1_001, 1)]);
    assert_eq!(outcomes(&executed), [Outcome::Applied, Outcome::ShortBalance]);
    assert_eq!((world.balance(0, a), world.sequence(0, a)), (1_000, 2));
    let LedgerItem::Transaction(item) = &executed.blocks[0].block.items[0] else { panic!("a transaction") };
    assert_eq!(item.accounts.len(), 1);
}

#[test]
fn a_failed_payment_is_final() {
    let (mut world, a) = funded();
    let b = world.account(0, 1);
    let too_much = world.pay(a, b, 1_001, 0);
    assert_eq!(outcomes(&world.run(0, vec![too_much])), [Outcome::ShortBalance]);
    assert_eq!((world.balance(0, a), world.sequence(0, a), world.balance(0, b)), (1_000, 1, 0));
    let more = world.mint(world.deposit(0, 1), a, 5_000);
    let executed = world.run(0, vec![more, too_much]);
    assert_eq!(dropped(&executed), [TxReject::SequenceUsed]);
    assert_eq!(world.balance(0, b), 0);
}

#[test]
fn a_stranger_without_coins_fails_too() {
    let (mut world, a) = funded();
    let stranger = world.account(0, 9);
    let executed = world.run(0, vec![world.pay(stranger, a, 10, 0)]);
    assert_eq!(outcomes(&executed), [Outcome::ShortBalance]);
    assert_eq!(world.sequence(0, stranger), 1);
}

#[test]
fn a_redeem_burns() {
    let (mut world, a) = funded();
    let executed = world.run(0, vec![world.redeem(a, 400, 0), world.redeem(a, 601, 1)]);
    assert_eq!(outcomes(&executed), [Outcome::Applied, Outcome::ShortBalance]);
    assert_eq!(world.totals(0).burned, Total::from_micros(400));
    assert_eq!(world.totals(0).balances, Total::from_micros(600));
}

#[test]
fn static_errors_leave_no_leaf() {
    let (mut world, a) = funded();
    let (b, foreign) = (world.account(0, 1), world.account(1, 1));
    let weak = Key(PublicKey::ZERO);
    let executed = world.run(
        0,
        vec![
            world.pay(a, b, 9, 0),
            world.pay(foreign, b, 10, 0),
            world.pay(a, weak, 10, 0),
            world.redeem(a, 9, 0),
            world.mint(world.deposit(1, 1), a, 10),
            world.mint(world.deposit(0, 1), a, 0),
            world.mint(world.deposit(0, 1), weak, 10),
        ],
    );
    use TxReject::*;
    assert_eq!(
        dropped(&executed),
        [AmountTooSmall, WrongCommittee, BadRecipient, AmountTooSmall, WrongCommittee, AmountTooSmall, BadRecipient]
    );
    assert!(executed.blocks.is_empty());
    assert_eq!((world.balance(0, a), world.sequence(0, a)), (1_000, 0));
}

#[test]
fn one_mint_per_deposit_and_no_more_than_the_cap() {
    let mut world = World::new(Setup { mint_cap: 1_000, ..Setup::of(2) });
    let (a, b) = (world.account(0, 0), world.account(0, 1));
    let deposit = world.deposit(0, 0);
    let first = world.mint(deposit, a, 400);
    let executed = world.run(0, vec![first, first, world.mint(deposit, b, 300)]);
    assert_eq!(dropped(&executed), [TxReject::DepositUsed, TxReject::DepositUsed]);
    let executed = world.run(0, vec![world.mint(deposit, b, 300), world.mint(world.deposit(0, 1), b, 601)]);
    assert_eq!(dropped(&executed), [TxReject::DepositUsed, TxReject::MintCapReached]);
    let executed = world.run(0, vec![world.mint(world.deposit(0, 1), b, 600)]);
    assert_eq!(outcomes(&executed), [Outcome::Applied]);
    assert_eq!(world.totals(0).minted, Total::from_micros(1_000));
}

#[test]
fn expiry_follows_ledger_time() {
    let (mut world, a) = funded();
    let b = world.account(0, 1);
    let now = world.nodes[0].time + 1_000;
    let executed = world.run(0, vec![world.pay_until(a, b, 10, (0, now)), world.pay_until(a, b, 10, (1, now - 1))]);
    assert_eq!(outcomes(&executed), [Outcome::Applied]);
    assert_eq!(dropped(&executed), [TxReject::Expired]);
    assert_eq!(executed.blocks[0].block.header.ledger_time, Timestamp::from_micros(now));
    // A median that falls back does not take ledger time with it.
    world.nodes[0].time = 0;
    let executed = world.run(0, vec![world.pay_until(a, b, 10, (1, now)), world.pay_until(a, b, 10, (2, now - 1))]);
    assert_eq!(dropped(&executed), [TxReject::Expired]);
    assert_eq!(executed.blocks[0].block.header.ledger_time, Timestamp::from_micros(now));
}

#[test]
fn a_balance_never_overflows() {
    let mut world = World::new(Setup { mint_cap: 1 << 62, ..Setup::of(2) });
    let (a, b) = (world.account(0, 0), world.account(0, 1));
    // Two committees can mint 2^63 in all; the rest comes from a lying third party, see packs.rs.
    let cap = 1 << 62;
    world.run(0, vec![world.mint(world.deposit(0, 0), a, cap)]);
    let executed = world.run(0, vec![world.pay(a, b, cap, 0), world.pay(b, a, cap, 0)]);
    assert_eq!(outcomes(&executed), [Outcome::Applied, Outcome::Applied]);
    assert_eq!(world.balance(0, a), cap);
}

#[test]
fn future_sequences_get_one_pass_at_the_end() {
    let (mut world, a) = funded();
    let b = world.account(0, 1);
    world.run(0, vec![world.pay(a, b, 100, 0)]);
    // Met in the order 3, 2, 1 over three DAG blocks; b's own future payment stands between.
    let payloads = vec![
        payload(vec![world.pay(a, b, 13, 3), world.pay(b, a, 21, 1)]),
        payload(vec![world.pay(a, b, 12, 2), world.pay(a, b, 99, 2)]),
        payload(vec![world.pay(a, b, 11, 1), world.pay(b, a, 20, 0), world.pay(a, b, 15, 5)]),
    ];
    let executed = world.run_payloads(0, payloads);
    let leaf = |n: usize| match executed.verdicts[n].1 {
        Verdict::Executed { leaf, .. } => Some(leaf),
        Verdict::Dropped(_) => None,
    };
    // In line: a's 1 and b's 0; then a (met first): 2, 3; then b: 1. The second 2 lost, 5 has a gap.
    assert_eq!([4, 5, 2, 0, 1].map(leaf), [Some(0), Some(1), Some(2), Some(3), Some(4)]);
    assert_eq!(executed.verdicts[3].1, Verdict::Dropped(TxReject::SequenceUsed));
    assert_eq!(executed.verdicts[6].1, Verdict::Dropped(TxReject::SequenceGap));
    assert_eq!((world.sequence(0, a), world.sequence(0, b)), (4, 2));
}

#[test]
fn no_more_than_so_many_future_sequences_wait() {
    let (mut world, a) = funded();
    let b = world.account(0, 1);
    let mut transactions: Vec<_> = (1..=66).map(|sequence| world.pay(a, b, 10, sequence)).collect();
    transactions.push(world.pay(a, b, 10, 0));
    let executed = world.run(0, transactions);
    assert_eq!(outcomes(&executed).len(), 65);
    assert_eq!(dropped(&executed), [TxReject::SequenceGap; 2]);
    assert_eq!(world.sequence(0, a), 65);
}
