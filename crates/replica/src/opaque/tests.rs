use std::time::Duration;

use shardpay_crypto::opaque_id;
use shardpay_ledger::TxReject;
use shardpay_types::{ChainId, Height, Outcome};

use super::*;

const CHAIN: ChainId = ChainId([4; 32]);
const CLIENT: ClientToken = ClientToken(1);

fn pool(count_max: usize, bytes_max: usize) -> OpaquePool {
    let limits = MempoolLimits {
        count_max,
        bytes_max,
        per_sender_max: 1,
        clients_max: 2,
        recent_accounts_max: 1,
        retry_after: Duration::from_millis(7),
    };
    OpaquePool::new(limits, 5)
}

fn payload(n: u8) -> Opaque {
    Opaque(vec![n; 10].into())
}

fn submit(pool: &mut OpaquePool, client: ClientToken, n: u8) -> Answer {
    pool.submit(client, Verified::trust(IdentifiedOpaque::new(&CHAIN, payload(n))))
}

fn filled(count: u8) -> OpaquePool {
    let mut pool = pool(100, 10_000);
    (0..count).for_each(|n| assert_eq!(submit(&mut pool, CLIENT, n), Answer::Accepted));
    pool
}

fn take(pool: &mut OpaquePool, round: u64, count: usize) -> Vec<u8> {
    pool.take(Round::new(round), count, 10_000).iter().map(|payload| payload.0[0]).collect()
}

fn executed(n: u8) -> Executed {
    let verdict = Verdict::Executed { height: Height::new(3), leaf: 2, outcome: Outcome::Applied };
    Executed { verdicts: vec![(opaque_id(&CHAIN, &payload(n)), verdict)], ..Executed::default() }
}

#[test]
fn first_in_first_out_within_count_and_bytes() {
    let mut pool = filled(5);
    assert_eq!(take(&mut pool, 1, 2), [0, 1]);
    // a payload of ten bytes takes fourteen
    assert_eq!(pool.take(Round::new(2), 9, 41).len(), 2);
    assert!(pool.has_ready());
    assert_eq!((take(&mut pool, 3, 9), pool.len()), (vec![4], 5));
    assert!(!pool.has_ready());
}

#[test]
fn memory_is_bounded_by_count_and_bytes() {
    let busy = Answer::Busy { retry_after_ms: 7 };
    let mut by_count = pool(2, 10_000);
    let mut by_bytes = pool(100, 28);
    for pool in [&mut by_count, &mut by_bytes] {
        let answers: Vec<Answer> = (0..3).map(|n| submit(pool, CLIENT, n)).collect();
        assert_eq!(answers, [Answer::Accepted, Answer::Accepted, busy]);
        pool.executed(&executed(0), &[]);
        assert_eq!(submit(pool, CLIENT, 2), Answer::Accepted, "room again");
    }
}

#[test]
fn clients_that_bring_the_same_bytes_share_one_proposal() {
    let mut pool = filled(1);
    assert_eq!(submit(&mut pool, CLIENT, 0), Answer::Accepted);
    assert_eq!(submit(&mut pool, ClientToken(2), 0), Answer::Accepted);
    assert_eq!(submit(&mut pool, ClientToken(3), 0), Answer::Busy { retry_after_ms: 7 });
    assert_eq!(take(&mut pool, 1, 9), [0]);
    pool.executed(&executed(0), &[Round::new(1)]);
    let told: Vec<ClientToken> = pool.take_answers().into_iter().map(|(client, ..)| client).collect();
    assert_eq!((told, pool.len()), (vec![CLIENT, ClientToken(2)], 0));
}

#[test]
fn a_block_that_cannot_be_committed_gives_back_what_it_carried_in_order() {
    let mut pool = filled(4);
    take(&mut pool, 1, 2);
    take(&mut pool, 2, 1);
    pool.reclaim_round(Round::new(1));
    assert_eq!(take(&mut pool, 3, 9), [0, 1, 3]);
    pool.reclaim_all();
    assert_eq!(take(&mut pool, 4, 9), [2, 0, 1, 3]);
    pool.reclaim_round(Round::new(3));
    assert_eq!(take(&mut pool, 5, 9), [], "that round carried nothing any more");
}

#[test]
fn what_was_executed_or_given_up_is_not_proposed_again() {
    let mut pool = filled(4);
    take(&mut pool, 1, 2);
    // ordered through another member, while it waits here and while it is proposed here
    pool.executed(&executed(3), &[]);
    pool.executed(&executed(0), &[]);
    pool.reclaim_all();
    assert_eq!(take(&mut pool, 2, 9), [1, 2]);
    pool.give_up_proposed();
    let refused = pool.take_answers().split_off(2);
    let given_up = Answer::Rejected(Refusal::NotProposing);
    assert_eq!(refused, [1, 2].map(|n| (CLIENT, opaque_id(&CHAIN, &payload(n)), given_up)));
    assert_eq!((take(&mut pool, 3, 9), pool.len(), pool.bytes), (vec![], 0, 0));
}

#[test]
fn what_a_closed_epoch_dropped_waits_for_the_next() {
    let mut pool = filled(2);
    take(&mut pool, 1, 2);
    let dropped = Verdict::Dropped(TxReject::EpochClosed);
    let late = Executed { verdicts: vec![(opaque_id(&CHAIN, &payload(0)), dropped)], ..Executed::default() };
    pool.reclaim_all();
    pool.executed(&late, &[]);
    assert_eq!(take(&mut pool, 1, 9), [0, 1]);
    pool.refuse_all(Refusal::NotProposing);
    assert_eq!((pool.take_answers().len(), pool.len()), (2, 0));
}
