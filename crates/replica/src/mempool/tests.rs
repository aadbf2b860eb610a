//! Rules of the mempool, one by one, and a random walk that checks what it hands out against a model.

use std::sync::Arc;

use proptest::prelude::*;
use shardpay_crypto::{Verified, shard_of, shard_of_deposit};
use shardpay_ledger::MadeBlock;
use shardpay_types::*;

use super::*;
use crate::config::Config;
use crate::tests_support::node;

const CHAIN: ChainId = ChainId([1; 32]);

/// The whole account space in one committee.
fn pool_with(adjust: impl Fn(&mut MempoolLimits)) -> Mempool {
    let mut limits = Config::standard(node(0, 0), CHAIN).mempool;
    adjust(&mut limits);
    let committee = CommitteePlan { shard_first: 0, shard_count: SHARDS, members: List::default() };
    let clock = LedgerClock { time: Timestamp::from_millis(100), minted: Total::ZERO };
    Mempool::new(limits, 5, committee, Constants::standard(1), clock)
}

fn pool() -> Mempool {
    pool_with(|_| {})
}

fn key(n: u8) -> PublicKey {
    PublicKey([n; 32])
}

fn payment(sender: u8, sequence: u64, micros: u64) -> Verified<IdentifiedTransaction> {
    payment_until(sender, sequence, (micros, Timestamp::ZERO))
}

fn payment_until(sender: u8, sequence: u64, what: (u64, Timestamp)) -> Verified<IdentifiedTransaction> {
    let body = Payment {
        sender: key(sender),
        recipient: key(200),
        amount: Amount::from_micros(what.0),
        sequence: Sequence::new(sequence),
        valid_until: what.1,
        reference: Reference([0; 16]),
    };
    let transaction = Transaction::Payment(SignedPayment { body, signature: Signature([0; 64]) });
    Verified::trust(IdentifiedTransaction::new(&CHAIN, transaction))
}

fn mint(deposit: u8, micros: u64) -> Verified<IdentifiedTransaction> {
    let body = Mint { recipient: key(3), amount: Amount::from_micros(micros), deposit_ref: DepositRef([deposit; 32]) };
    let transaction = Transaction::Mint(SignedMint { body, signature: Signature([0; 64]) });
    Verified::trust(IdentifiedTransaction::new(&CHAIN, transaction))
}

fn account(balance: u64, next: u64) -> AccountState {
    AccountState { balance: Amount::from_micros(balance), next_sequence: Sequence::new(next) }
}

fn rejected(reject: TxReject) -> Answer {
    Answer::Rejected(Refusal::Ledger(reject))
}

fn submit(pool: &mut Mempool, transaction: &Verified<IdentifiedTransaction>, state: AccountState) -> Answer {
    pool.submit(ClientToken(1), transaction, state)
}

/// (sender, sequence) of what goes into the next block.
fn taken(pool: &mut Mempool, round: u64) -> Vec<(u8, u64)> {
    let debit = |transaction: &Transaction| transaction.debit().map(|(sender, seq)| (sender.0[0], seq.get()));
    pool.take(Round::new(round), 100, 1 << 20).iter().filter_map(debit).collect()
}

fn applied(transaction: &Verified<IdentifiedTransaction>, state: AccountState) -> Executed {
    let verdict = Verdict::Executed { height: Height::new(1), leaf: 0, outcome: Outcome::Applied };
    let (sender, _) = transaction.transaction.debit().expect("a payment");
    Executed { verdicts: vec![(transaction.txid, verdict)], senders: vec![(sender, state)], ..Executed::default() }
}

fn dropped(transaction: &Verified<IdentifiedTransaction>, reject: TxReject) -> Executed {
    Executed { verdicts: vec![(transaction.txid, Verdict::Dropped(reject))], ..Executed::default() }
}

fn at_ledger_time(millis: u64) -> Executed {
    let header = LedgerHeader {
        version: Version,
        chain: CHAIN,
        committee: CommitteeId::at(0),
        epoch: Epoch::ZERO,
        height: Height::new(9),
        parent: HeaderHash::ZERO,
        history: Hash::ZERO,
        ledger_time: Timestamp::from_millis(millis),
        anchor: BlockRef { round: Round::new(1), author: MemberIndex::at(0), digest: BlockDigest::ZERO },
        leaders: Hash::ZERO,
        last_of_commit: true,
        leaf_count: 0,
        leaves: Hash::ZERO,
        outbox: Hash::ZERO,
        inbox: Hash::ZERO,
        effects: Hash::ZERO,
        totals: Totals {
            balances: Total::ZERO,
            burned: Total::ZERO,
            sent: Total::ZERO,
            suspense: Total::ZERO,
            minted: Total::ZERO,
            received: Total::ZERO,
        },
        next_plan: None,
    };
    let block = Arc::new(LedgerBlock { header, items: List::default() });
    Executed { blocks: vec![MadeBlock { hash: HeaderHash::ZERO, block }], ..Executed::default() }
}

#[test]
fn sequences_leave_without_gaps_in_any_order_of_arrival() {
    let mut pool = pool();
    for sequence in [7, 5, 6, 9] {
        assert_eq!(submit(&mut pool, &payment(1, sequence, 1), account(100, 5)), Answer::Accepted);
    }
    assert_eq!(taken(&mut pool, 1), [(1, 5), (1, 6), (1, 7)]);
    assert!(!pool.has_ready(), "9 waits for 8");
    submit(&mut pool, &payment(1, 8, 1), account(100, 5));
    assert_eq!(taken(&mut pool, 2), [(1, 8), (1, 9)]);
}

#[test]
fn first_executable_first_out_over_senders() {
    let mut pool = pool();
    for (sender, sequence) in [(1, 0), (1, 1), (2, 1), (3, 0), (2, 0)] {
        submit(&mut pool, &payment(sender, sequence, 1), account(100, 0));
    }
    assert_eq!(taken(&mut pool, 1), [(1, 0), (1, 1), (3, 0), (2, 0), (2, 1)]);
}

#[test]
fn admission_answers_each_fault() {
    let mut pool = pool();
    let state = account(100, 5);
    assert_eq!(submit(&mut pool, &payment(1, 4, 1), state), rejected(TxReject::SequenceUsed));
    assert_eq!(submit(&mut pool, &payment(1, 5 + 65, 1), state), Answer::Rejected(Refusal::TooFarAhead));
    assert_eq!(submit(&mut pool, &payment(1, 5 + 64, 1), state), Answer::Accepted);
    assert_eq!(submit(&mut pool, &payment(1, 5, 0), state), rejected(TxReject::AmountTooSmall));
    let old = payment_until(1, 5, (1, Timestamp::from_millis(99)));
    assert_eq!(submit(&mut pool, &old, state), rejected(TxReject::Expired));
    let last = payment_until(1, 5, (1, Timestamp::from_millis(100)));
    assert_eq!(submit(&mut pool, &last, state), Answer::Accepted);
    assert_eq!(submit(&mut pool, &payment(1, 5, 2), state), Answer::Rejected(Refusal::SequencePending));
    assert_eq!(submit(&mut pool, &payment(1, 6, 99), state), Answer::Rejected(Refusal::ShortBalance));
    assert_eq!(submit(&mut pool, &payment(1, 6, 98), state), Answer::Accepted);
}

#[test]
fn another_committees_senders_and_deposits_are_refused() {
    let mut pool = pool();
    let pays = payment(1, 0, 1);
    let mints = mint(1, 1);
    let foreign = |shard: ShardId| CommitteePlan {
        shard_first: shard.index() as u16 + 1,
        shard_count: 1,
        members: List::default(),
    };
    pool.committee = foreign(shard_of(&key(1)));
    assert_eq!(submit(&mut pool, &pays, account(5, 0)), rejected(TxReject::WrongCommittee));
    pool.committee = foreign(shard_of_deposit(&DepositRef([1; 32])));
    assert_eq!(submit(&mut pool, &mints, account(0, 0)), rejected(TxReject::WrongCommittee));
}

#[test]
fn mints_are_named_by_their_deposit() {
    let mut pool = pool();
    assert_eq!(submit(&mut pool, &mint(1, 5), account(0, 0)), Answer::Accepted);
    assert_eq!(submit(&mut pool, &mint(1, 6), account(0, 0)), Answer::Rejected(Refusal::SequencePending));
    assert_eq!(submit(&mut pool, &mint(2, u64::MAX), account(0, 0)), rejected(TxReject::MintCapReached));
    assert_eq!(pool.take(Round::new(1), 9, 1 << 20).len(), 1);
    pool.executed(&dropped(&mint(1, 5), TxReject::DepositUsed));
    assert_eq!(pool.len(), 0);
    assert_eq!(pool.take_answers()[0].2, rejected(TxReject::DepositUsed));
}

#[test]
fn the_same_transaction_again_gets_the_same_answer() {
    let mut pool = pool_with(|limits| limits.clients_max = 2);
    let pays = payment(1, 0, 1);
    for client in [1, 2, 2] {
        assert_eq!(pool.submit(ClientToken(client), &pays, account(5, 0)), Answer::Accepted);
    }
    assert!(matches!(pool.submit(ClientToken(3), &pays, account(5, 0)), Answer::Busy { .. }));
    assert_eq!(pool.len(), 1);
    pool.executed(&applied(&pays, account(4, 1)));
    let clients: Vec<u64> = pool.take_answers().iter().map(|(client, ..)| client.0).collect();
    assert_eq!(clients, [1, 2]);
    assert_eq!(submit(&mut pool, &pays, account(5, 0)), rejected(TxReject::SequenceUsed), "an older view does no harm");
}

#[test]
fn a_client_with_an_older_view_of_its_account_is_not_left_waiting() {
    let mut pool = pool();
    let first = payment(1, 0, 1);
    submit(&mut pool, &first, account(9, 0));
    pool.executed(&applied(&first, account(8, 1)));
    // read before the execution, arrived after it
    assert_eq!(submit(&mut pool, &payment(1, 1, 1), account(9, 0)), Answer::Accepted);
    assert_eq!(taken(&mut pool, 1), [(1, 1)]);
}

#[test]
fn reclaimed_blocks_are_proposed_again_before_what_follows() {
    let mut pool = pool();
    let state = account(100, 0);
    let all: Vec<_> = (0..4).map(|sequence| payment(1, sequence, 1)).collect();
    submit(&mut pool, &all[0], state);
    submit(&mut pool, &all[1], state);
    assert_eq!(taken(&mut pool, 1), [(1, 0), (1, 1)]);
    submit(&mut pool, &all[2], state);
    submit(&mut pool, &all[3], state);
    pool.reclaim_all();
    assert_eq!(taken(&mut pool, 2), [(1, 0), (1, 1), (1, 2), (1, 3)]);
    // a commit met the later ones without the earlier ones
    pool.executed(&dropped(&all[2], TxReject::SequenceGap));
    pool.executed(&dropped(&all[3], TxReject::EpochClosed));
    assert_eq!(taken(&mut pool, 3), [(1, 2), (1, 3)]);
    assert!(pool.take_answers().is_empty(), "nothing is final yet");
}

#[test]
fn a_refused_sequence_leaves_the_later_ones_waiting_for_another() {
    let mut pool = pool();
    let state = account(100, 0);
    let all: Vec<_> = (0..3).map(|sequence| payment(1, sequence, 1)).collect();
    for transaction in &all {
        submit(&mut pool, transaction, state);
    }
    taken(&mut pool, 1);
    pool.executed(&dropped(&all[0], TxReject::AmountTooSmall));
    pool.executed(&dropped(&all[1], TxReject::SequenceGap));
    pool.executed(&dropped(&all[2], TxReject::SequenceGap));
    assert!(!pool.has_ready());
    assert_eq!(submit(&mut pool, &payment(1, 0, 2), state), Answer::Accepted);
    assert_eq!(taken(&mut pool, 2), [(1, 0), (1, 1), (1, 2)]);
}

#[test]
fn another_transaction_with_the_sequence_settles_the_held_one() {
    let mut pool = pool();
    let held = payment(1, 0, 1);
    submit(&mut pool, &held, account(9, 0));
    submit(&mut pool, &payment(1, 1, 1), account(9, 0));
    pool.executed(&applied(&payment(1, 0, 2), account(7, 1)));
    assert_eq!(pool.take_answers(), [(ClientToken(1), held.txid, rejected(TxReject::SequenceUsed))]);
    assert_eq!(taken(&mut pool, 1), [(1, 1)]);
}

#[test]
fn ledger_time_drops_what_is_too_late_unless_it_was_proposed() {
    let mut pool = pool();
    let until = Timestamp::from_millis(200);
    for sequence in [0, 1, 5] {
        submit(&mut pool, &payment_until(1, sequence, (1, until)), account(9, 0));
    }
    pool.take(Round::new(1), 1, 1 << 20);
    pool.executed(&at_ledger_time(200));
    assert_eq!(pool.len(), 3);
    pool.executed(&at_ledger_time(201));
    assert_eq!(pool.len(), 1, "the proposed one may be in a commit");
    pool.reclaim_all();
    assert_eq!(pool.len(), 0);
    assert!(pool.take_answers().iter().all(|(.., answer)| *answer == rejected(TxReject::Expired)));
}

#[test]
fn bounds_hold_and_executable_ones_push_out_those_with_gaps() {
    let mut pool = pool_with(|limits| limits.count_max = 3);
    submit(&mut pool, &payment(1, 3, 1), account(9, 0));
    submit(&mut pool, &payment(2, 3, 1), account(9, 0));
    submit(&mut pool, &payment(3, 0, 1), account(9, 0));
    assert!(matches!(submit(&mut pool, &payment(4, 3, 1), account(9, 0)), Answer::Busy { .. }));
    assert_eq!(submit(&mut pool, &payment(4, 0, 1), account(9, 0)), Answer::Accepted);
    assert_eq!(pool.take_answers()[0].2, rejected(TxReject::SequenceGap), "the oldest one with a gap");
    assert_eq!(pool.take_evicted(), 1);
    submit(&mut pool, &payment(5, 0, 1), account(9, 0));
    assert!(matches!(submit(&mut pool, &payment(6, 0, 1), account(9, 0)), Answer::Busy { .. }));
    let mut pool = pool_with(|limits| limits.per_sender_max = 2);
    for sequence in 0..2 {
        assert_eq!(submit(&mut pool, &payment(1, sequence, 1), account(9, 0)), Answer::Accepted);
    }
    assert!(matches!(submit(&mut pool, &payment(1, 2, 1), account(9, 0)), Answer::Busy { .. }));
    let len = payment(1, 0, 1).transaction.encoded_len();
    let mut pool = pool_with(|limits| limits.bytes_max = 2 * len);
    for sender in 1..=2 {
        assert_eq!(submit(&mut pool, &payment(sender, 0, 1), account(9, 0)), Answer::Accepted);
    }
    assert!(matches!(submit(&mut pool, &payment(3, 0, 1), account(9, 0)), Answer::Busy { .. }));
    assert_eq!(pool.take(Round::new(1), 9, 2 * len - 1).len(), 1, "no more bytes than there is room for");
}

/// What may happen to a pool.
#[derive(Debug, Clone)]
enum Step {
    Submit {
        sender: u8,
        sequence: u64,
    },
    Take {
        max: usize,
    },
    /// The oldest proposed transaction is executed.
    Execute,
    /// All proposed ones come back.
    Reclaim,
    /// Some proposed one met a gap.
    Gap {
        nth: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u8..4, 0u64..12).prop_map(|(sender, sequence)| Step::Submit { sender, sequence }),
        3 => (1usize..4).prop_map(|max| Step::Take { max }),
        3 => Just(Step::Execute),
        1 => Just(Step::Reclaim),
        1 => (0usize..8).prop_map(|nth| Step::Gap { nth }),
    ]
}

proptest! {
    #[test]
    fn what_is_proposed_never_has_a_gap_and_nothing_is_lost(steps in prop::collection::vec(step(), 1..120)) {
        let mut pool = pool();
        let mut next = [0u64; 4];
        let mut proposed: Vec<(u8, u64)> = Vec::new();
        let mut held: std::collections::BTreeSet<(u8, u64)> = Default::default();
        for (round, step) in steps.into_iter().enumerate() {
            match step {
                Step::Submit { sender, sequence } => {
                    let state = account(1_000, next[sender as usize]);
                    if submit(&mut pool, &payment(sender, sequence, 1), state) == Answer::Accepted {
                        held.insert((sender, sequence));
                    }
                }
                Step::Take { max } => {
                    for transaction in pool.take(Round::new(round as u64), max, 1 << 20) {
                        let (sender, sequence) = transaction.debit().expect("a payment");
                        let item = (sender.0[0], sequence.get());
                        let before = (next[item.0 as usize]..item.1).all(|lower| proposed.contains(&(item.0, lower)));
                        prop_assert!(before, "{item:?} was proposed with a gap before it");
                        prop_assert!(!proposed.contains(&item), "{item:?} was proposed twice");
                        proposed.push(item);
                    }
                }
                Step::Execute => {
                    let first = proposed.iter().position(|(sender, sequence)| next[*sender as usize] == *sequence);
                    if let Some(index) = first {
                        let (sender, sequence) = proposed.remove(index);
                        next[sender as usize] += 1;
                        pool.executed(&applied(&payment(sender, sequence, 1), account(1_000, next[sender as usize])));
                        held.remove(&(sender, sequence));
                    }
                }
                Step::Reclaim => {
                    pool.reclaim_all();
                    proposed.clear();
                }
                Step::Gap { nth } if nth < proposed.len() => {
                    let (sender, sequence) = proposed[nth];
                    pool.executed(&dropped(&payment(sender, sequence, 1), TxReject::SequenceGap));
                    proposed.remove(nth);
                }
                Step::Gap { .. } => {}
            }
            prop_assert_eq!(pool.len(), held.len());
            prop_assert_eq!(pool.waiting.len() + pool.ready.len() + pool.proposed.len(), held.len());
            prop_assert_eq!(pool.proposed.len(), proposed.len());
        }
    }
}
