//! Payments over a bare stream, and somebody who goes on paying while a test does its worst.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shardpay_crypto::{Keypair, Signer, chain_id, transaction_message};
use shardpay_types::{
    Amount, ChainId, ClientReply, ClientRequest, Codec, Hello, List, Outcome, Payment, Plan, PublicKey, Reference,
    RejectReason, Sequence, Signature, SignedPayment, Submit, Timestamp, Transaction, TxAnswer, Version, Welcome,
};

use crate::common::{PATIENCE, account, mint};
use crate::raw::{RawClient, framed};

/// Those who do no wrong come from here.
pub(crate) const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(crate) fn hello(plan: &Plan) -> Vec<u8> {
    Hello { version: Version, chain: chain_id(plan) }.to_bytes()
}

/// A greeted stream, once the node takes submissions, with what it said.
pub(crate) async fn ready(plan: &Plan, from: IpAddr, to: SocketAddr) -> (RawClient, Welcome) {
    let started = Instant::now();
    loop {
        if let Ok(mut client) = RawClient::connect(from, to).await {
            client.send(&framed(&hello(plan))).await;
            match client.reply().await {
                Some(ClientReply::Welcome(welcome)) if welcome.proposing => return (client, welcome),
                _ => {}
            }
        }
        assert!(started.elapsed() < PATIENCE, "the node at {to} does not get ready");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(crate) fn payment(chain: &ChainId, payer: &Keypair, to: PublicKey, micros: u64, sequence: u64) -> Transaction {
    let body = Payment {
        sender: payer.public_key(),
        recipient: to,
        amount: Amount::from_micros(micros),
        sequence: Sequence::new(sequence),
        valid_until: Timestamp::ZERO,
        reference: Reference::ZERO,
    };
    signed(chain, payer, body)
}

pub(crate) fn signed(chain: &ChainId, payer: &Keypair, body: Payment) -> Transaction {
    let unsigned = Transaction::Payment(SignedPayment { body, signature: Signature::ZERO });
    let signature = payer.sign(&transaction_message(chain, &unsigned));
    Transaction::Payment(SignedPayment { body, signature })
}

pub(crate) fn submission(transactions: Vec<Transaction>) -> Vec<u8> {
    ClientRequest::Submit(Submit { transactions: List::bounded(transactions) }).to_bytes()
}

/// Submits one transaction and waits for its answer.
pub(crate) async fn submit(client: &mut RawClient, transaction: Transaction) -> TxAnswer {
    client.send(&framed(&submission(vec![transaction]))).await;
    match client.reply().await {
        Some(ClientReply::Results(results)) => results.results[0].answer,
        other => panic!("no result: {other:?}"),
    }
}

pub(crate) fn assert_applied(answer: TxAnswer) {
    assert!(matches!(answer, TxAnswer::Executed(at) if at.outcome == Outcome::Applied), "{answer:?}");
}

/// Somebody who pays at one node, one payment after the other, as long as the test runs.
pub(crate) struct Payer {
    paid: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Payer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Payer {
    /// Begins.
    pub(crate) async fn start(plan: &Arc<Plan>, at: SocketAddr) -> Self {
        let paid = Arc::new(AtomicU64::new(0));
        let (client, _) = ready(plan, HOME, at).await;
        let payer = Self { task: tokio::spawn(pay_on(plan.clone(), client, paid.clone())), paid };
        payer.goes_on("at first").await;
        payer
    }

    /// Payments executed so far.
    pub(crate) fn paid(&self) -> u64 {
        self.paid.load(Ordering::Relaxed)
    }

    /// Waits until some more payments are executed.
    pub(crate) async fn goes_on(&self, after: &str) {
        let goal = self.paid() + 3;
        let started = Instant::now();
        while self.paid() < goal {
            assert!(!self.task.is_finished(), "the payer has failed: {after}");
            assert!(started.elapsed() < PATIENCE, "no payments go on: {after}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn pay_on(plan: Arc<Plan>, mut client: RawClient, paid: Arc<AtomicU64>) {
    let (payer, payee) = (account(&plan, 0, 201), account(&plan, 0, 202));
    until_applied(&mut client, mint(&plan, payer.public_key(), 1_000_000_000, 1_000)).await;
    for sequence in 0.. {
        until_applied(&mut client, payment(&chain_id(&plan), &payer, payee.public_key(), 1, sequence)).await;
        paid.fetch_add(1, Ordering::Relaxed);
    }
}

/// Submits again while the node is full for a moment, or between two epochs.
async fn until_applied(client: &mut RawClient, transaction: Transaction) {
    loop {
        match submit(client, transaction).await {
            TxAnswer::Busy(_) | TxAnswer::Rejected(RejectReason::EpochClosed | RejectReason::NotProposing) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            answer => return assert_applied(answer),
        }
    }
}
