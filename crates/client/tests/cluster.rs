//! The client against members that are honest, absent or lying, over real QUIC.

mod common;

use std::time::Duration;

use common::{Cluster, Twist};
use shardpay_client::{BlockStream, Client, ClientError, SubmitOptions, Submitter, Subscription, Verified};
use shardpay_crypto::{IdentifiedTransaction, Keypair, Signer};
use shardpay_types::{CommitteeId, Height, Outcome, RejectReason, Transaction, TxId};

const AT_MOST: Duration = Duration::from_secs(90);

fn options() -> SubmitOptions {
    SubmitOptions {
        attempt_max: Duration::from_millis(300),
        certify_max: Duration::from_millis(300),
        ..SubmitOptions::default()
    }
}

/// A cluster with one funded account in committee 0.
async fn funded(committees: usize) -> (Cluster, Client, Keypair) {
    let cluster = Cluster::start(committees).await;
    let client = cluster.client();
    let payer = cluster.account(0, 0);
    let paid = client.pay_and_wait(cluster.mint(&payer, 0), false, AT_MOST).await.expect("the mint is certified");
    assert_eq!(paid.facts.outcome, Outcome::Applied);
    (cluster, client, payer)
}

/// Follows whole blocks until all of `wanted` were seen, and settles them.
async fn see_all(stream: &mut BlockStream, submitter: &Submitter, mut wanted: Vec<TxId>) -> Vec<Height> {
    let mut heights = Vec::new();
    let seeing = async {
        while !wanted.is_empty() {
            let Verified::Block(block) = stream.next().await.expect("the stream goes on") else { panic!("a part") };
            heights.push(block.certified.header.height);
            wanted.retain(|txid| !block.txids.contains(txid));
            submitter.settle(block.txids);
        }
    };
    tokio::time::timeout(AT_MOST, seeing).await.expect("in time");
    heights
}

async fn pay_ten(cluster: &Cluster, client: &Client, payer: &Keypair) -> (Submitter, Vec<Height>, BlockStream) {
    let payee = cluster.account(0, 1);
    let payments: Vec<Transaction> = (0..10).map(|sequence| cluster.pay(payer, &payee, sequence)).collect();
    let ids = payments.iter().map(|payment| IdentifiedTransaction::new(client.chain(), *payment).txid).collect();
    let mut subscription = Subscription::whole(CommitteeId::at(0), Height::new(1));
    subscription.silence = Duration::from_millis(200);
    let mut stream = client.blocks(subscription).expect("a committee");
    let (submitter, _events) = client.submitter(CommitteeId::at(0), options()).expect("a committee");
    submitter.submit(payments).await.expect("room");
    let heights = see_all(&mut stream, &submitter, ids).await;
    assert_eq!(cluster.balance(0, &payee).balance.micros(), 100, "each payment once");
    (submitter, heights, stream)
}

fn no_gap(heights: &[Height]) {
    assert_eq!(heights[0], Height::new(1));
    assert!(heights.windows(2).all(|pair| pair[1] == pair[0].next()), "{heights:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_between_committees_comes_with_both_proofs() {
    let (cluster, client, payer) = funded(2).await;
    let payee = cluster.account(1, 1);
    let paid = client.pay_and_wait(cluster.pay(&payer, &payee, 0), true, AT_MOST).await.expect("certified");
    assert_eq!(paid.facts.credited_by, Some(CommitteeId::at(1)));
    let (_, credit) = paid.credit.expect("waited for");
    assert_eq!((credit.txid, credit.amount.micros()), (paid.facts.txid, 10));
    let (_, state, certified) = client.balance(payee.public_key()).await.expect("f + 1 members agree");
    assert_eq!(state.balance.micros(), 10);
    assert!(certified.certificate.signatures().len() >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn final_refusals_are_told() {
    let (cluster, client, payer) = funded(1).await;
    let payee = cluster.account(0, 1);
    client.pay_and_wait(cluster.pay(&payer, &payee, 0), false, AT_MOST).await.expect("certified");
    let other = cluster.account(0, 2);
    let refused = client.pay_and_wait(cluster.pay(&payer, &other, 0), false, AT_MOST).await;
    assert!(matches!(refused, Err(ClientError::Refused(RejectReason::SequenceUsed))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_refuse_drop_or_forget_cost_a_retry() {
    for twist in [Twist::Busy, Twist::NotProposing, Twist::Drop, Twist::Forget, Twist::SayExecuted] {
        let (cluster, client, payer) = funded(1).await;
        (0..3).for_each(|member| cluster.twist(0, member, twist));
        let (submitter, heights, _stream) = pay_ten(&cluster, &client, &payer).await;
        no_gap(&heights);
        let waiting = async {
            while submitter.in_flight() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(AT_MOST, waiting).await.expect("settled ones leave");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lies_in_blocks_cost_the_member_its_turn() {
    for twist in [Twist::Omit, Twist::Forge, Twist::Gap] {
        let (cluster, client, payer) = funded(1).await;
        // Streams start at member 0.
        (0..3).for_each(|member| cluster.twist(0, member, twist));
        let (_submitter, heights, stream) = pay_ten(&cluster, &client, &payer).await;
        no_gap(&heights);
        assert!(stream.stats().lies >= 1, "{twist:?}: {:?}", stream.stats());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_member_is_overtaken() {
    let (cluster, client, payer) = funded(1).await;
    (0..3).for_each(|member| cluster.twist(0, member, Twist::Silent));
    let (_submitter, heights, stream) = pay_ten(&cluster, &client, &payer).await;
    no_gap(&heights);
    assert!(stream.stats().silences >= 1, "{:?}", stream.stats());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_balance_needs_one_honest_member() {
    let (cluster, client, payer) = funded(1).await;
    cluster.twist(0, 0, Twist::Rich);
    let (_, state, _) = client.balance(payer.public_key()).await.expect("two honest members agree");
    assert_eq!(state.balance.micros(), 1_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_is_bounded() {
    let (cluster, client, payer) = funded(1).await;
    (0..4).for_each(|member| cluster.twist(0, member, Twist::Forget));
    let payee = cluster.account(0, 1);
    let bounded = SubmitOptions { in_flight_max: 8, ..options() };
    let (submitter, _events) = client.submitter(CommitteeId::at(0), bounded).expect("a committee");
    let payment = |sequence| IdentifiedTransaction::new(client.chain(), cluster.pay(&payer, &payee, sequence));
    submitter.try_submit((0..8).map(payment).collect()).expect("room for eight");
    let back = submitter.try_submit(vec![payment(8)]).expect_err("no room for a ninth");
    assert_eq!(back, vec![payment(8)]);
    submitter.settle((0..3).map(|sequence| payment(sequence).txid).collect());
    tokio::time::timeout(AT_MOST, submitter.submit(vec![cluster.pay(&payer, &payee, 8)]))
        .await
        .expect("room")
        .expect("open");
    assert!(submitter.in_flight() <= 8);
}
