//! The thread that owns the ledger: orders of the core first, questions of clients in between.
//!
//! Guarantees: orders are carried out in the sequence in which the core gave them. Between two orders at
//! most one question is answered, and a question does a bounded amount of work, so clients cannot starve
//! commits. A question sees at least everything that the core had ordered when it was asked.
//! A failing store ends the thread, and with it the node.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, TryRecvError, select};
use shardpay_crypto::{Signer, balance_message, shard_of};
use shardpay_ledger::{BlockProofs, Executed, Ledger, Store};
use shardpay_replica::{LedgerFact, LedgerOrder, perform};
use shardpay_telemetry::names;
use shardpay_types::{
    BalanceStatement, CertifiedBlock, ClientReply, Epoch, EpochRecords, Height, LedgerItem, List, NodeId, Outcome,
    PublicKey, RefuseReason, Refused, SignedBalance,
};
use tokio::sync::oneshot;

use crate::error::Halt;
use crate::mail::{Candidate, Fact};
use crate::metrics::Metrics;
use crate::status::{LedgerFigures, StatusCell};

/// Bytes of blocks in one answer, unless a single one is larger.
const READ_BYTES_MAX: usize = 1 << 20;
/// Closing records in one answer.
const EPOCHS_MAX: usize = 64;
/// Balances that wait for their height's certificate.
const BALANCES_MAX: usize = 4_096;

/// A question to the ledger.
pub(crate) enum Ask {
    /// Fill in the payers' accounts and hand the transactions to the core.
    Accounts(Vec<Candidate>),
    /// An account's certified state, signed.
    Balance { key: PublicKey, nonce: [u8; 16], reply: oneshot::Sender<ClientReply> },
    /// The proof of a leaf.
    Receipt { height: Height, leaf: u32, reply: oneshot::Sender<ClientReply> },
    /// Closing records.
    Epochs { from: Epoch, reply: oneshot::Sender<ClientReply> },
    /// Certified blocks from a height on, at least one if there is one.
    Blocks { from: Height, reply: oneshot::Sender<Vec<CertifiedBlock>> },
    /// What the receipts of a block are made of.
    Proofs { height: Height, reply: oneshot::Sender<Option<Arc<BlockProofs>>> },
}

/// A balance that is told once its height is certified.
struct Waiting {
    statement: BalanceStatement,
    reply: oneshot::Sender<ClientReply>,
}

/// What the thread works with.
pub(crate) struct Execution<S: Store> {
    pub(crate) own: NodeId,
    pub(crate) ledger: Ledger<S>,
    pub(crate) orders: Receiver<LedgerOrder>,
    pub(crate) asks: Receiver<Ask>,
    pub(crate) facts: Sender<Fact>,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) metrics: Metrics,
    pub(crate) status: StatusCell,
}

/// The thread's own state beside the ledger.
#[derive(Default)]
struct Desk {
    balances: VecDeque<Waiting>,
    /// Of the block asked for last: receipts are often asked for in a row.
    proofs: Option<(Height, Arc<BlockProofs>)>,
}

impl<S: Store> Execution<S> {
    /// Works until the core has gone.
    pub(crate) fn run(mut self) -> Result<(), Halt> {
        let mut desk = Desk::default();
        let asks = self.asks.clone();
        self.report();
        loop {
            match self.orders.try_recv() {
                Ok(order) => {
                    self.order(order, &mut desk)?;
                    // one question per order, so that neither side waits for ever
                    if let Ok(ask) = asks.try_recv() {
                        self.answer(ask, &mut desk)?;
                    }
                }
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => select! {
                    recv(self.orders) -> order => match order {
                        Ok(order) => self.order(order, &mut desk)?,
                        Err(_) => return Ok(()),
                    },
                    recv(asks) -> ask => {
                        // what the core ordered before the question was asked comes first
                        while let Ok(order) = self.orders.try_recv() {
                            self.order(order, &mut desk)?;
                        }
                        match ask {
                            Ok(ask) => self.answer(ask, &mut desk)?,
                            Err(_) => return Ok(()),
                        }
                    }
                },
            }
        }
    }

    fn order(&mut self, order: LedgerOrder, desk: &mut Desk) -> Result<(), Halt> {
        self.metrics.queue_execution.set(self.orders.len() as u64);
        let certifies = matches!(order, LedgerOrder::Certify(_));
        let executes = matches!(order, LedgerOrder::Execute(_));
        let start = Instant::now();
        let fact = perform(&mut self.ledger, order)?;
        match &fact {
            Some(LedgerFact::Executed(executed)) => self.count(executed),
            Some(LedgerFact::Replayed(Ok(executed))) => self.count(executed),
            _ => {}
        }
        if executes {
            self.metrics.execute_commit.record_duration(start.elapsed());
            self.metrics.batches.add(1);
        }
        if certifies {
            self.settle_balances(desk);
        }
        self.report();
        if let Some(fact) = fact {
            // a core that has gone needs no facts
            let _ = self.facts.send(Fact::Ledger(fact));
        }
        Ok(())
    }

    fn count(&self, executed: &Executed) {
        self.metrics.ledger_blocks.add(executed.blocks.len() as u64);
        for (destination, sent) in &executed.outboxes {
            self.metrics.messages(names::MESSAGES_SENT, *destination, *sent);
        }
        for cursor in &executed.cursors {
            self.metrics.messages(names::MESSAGES_CONSUMED, cursor.source, cursor.count);
        }
        for made in &executed.blocks {
            let (mut transactions, mut short, mut packs, mut credits) = (0, 0, 0, 0);
            for item in &made.block.items {
                match item {
                    LedgerItem::Transaction(done) => {
                        transactions += 1;
                        short += u64::from(done.outcome == Outcome::ShortBalance);
                    }
                    LedgerItem::Opaque(_) => transactions += 1,
                    LedgerItem::Pack(done) => {
                        packs += 1;
                        credits += done.credits.len() as u64;
                    }
                    LedgerItem::Closing(_) | LedgerItem::EpochChange(_) => {}
                }
            }
            self.metrics.executed.add(transactions);
            self.metrics.short.add(short);
            self.metrics.packs_applied.add(packs);
            self.metrics.credits_executed.add(credits);
            self.metrics.tell_block(made.block.header.height, transactions, credits);
        }
        for reject in &executed.refused {
            self.metrics.refuse(names::ITEMS_REFUSED, &reject.to_string());
        }
    }

    fn report(&self) {
        self.status.set_ledger(|| LedgerFigures::from(self.ledger.status()));
    }

    fn answer(&mut self, ask: Ask, desk: &mut Desk) -> Result<(), Halt> {
        // whoever asked may have gone: that is not our concern
        match ask {
            Ask::Accounts(mut candidates) => {
                for candidate in &mut candidates {
                    if let Some((payer, _)) = candidate.transaction.transaction.debit() {
                        candidate.sender = self.ledger.account(&payer);
                    }
                }
                let _ = self.facts.send(Fact::Submitted(candidates));
            }
            Ask::Balance { key, nonce, reply } => self.balance(key, nonce, reply, desk),
            Ask::Receipt { height, leaf, reply } => {
                let proofs = self.proofs(height, desk)?;
                let receipt = proofs.as_ref().and_then(|proofs| proofs.receipt(leaf));
                let credit = || proofs.as_ref().and_then(|proofs| proofs.credit_receipt(leaf));
                let receipt = receipt.map(|receipt| ClientReply::Receipt(Box::new(receipt)));
                let found = receipt.or_else(|| credit().map(|credit| ClientReply::CreditReceipt(Box::new(credit))));
                let _ = reply.send(found.unwrap_or_else(|| refused(RefuseReason::NoSuchLeaf)));
            }
            Ask::Epochs { from, reply } => {
                let mut records = self.ledger.closings(from)?;
                records.truncate(EPOCHS_MAX);
                let _ = reply.send(ClientReply::Epochs(EpochRecords { records: List::bounded(records) }));
            }
            Ask::Blocks { from, reply } => {
                if !reply.is_closed() {
                    let _ = reply.send(self.ledger.blocks(from, READ_BYTES_MAX)?);
                }
            }
            Ask::Proofs { height, reply } => {
                let _ = reply.send(self.proofs(height, desk)?);
            }
        }
        Ok(())
    }

    fn proofs(&self, height: Height, desk: &mut Desk) -> Result<Option<Arc<BlockProofs>>, Halt> {
        if let Some((of, proofs)) = &desk.proofs
            && *of == height
        {
            return Ok(Some(proofs.clone()));
        }
        let proofs = self.ledger.proofs(height)?.map(Arc::new);
        desk.proofs = proofs.clone().map(|proofs| (height, proofs));
        Ok(proofs)
    }

    /// The state as executed is told when its height is certified: at once on an idle ledger.
    fn balance(&self, key: PublicKey, nonce: [u8; 16], reply: oneshot::Sender<ClientReply>, desk: &mut Desk) {
        let plan = self.ledger.plan();
        if plan.owner(shard_of(&key)) != self.own.committee {
            let _ = reply.send(refused(RefuseReason::WrongCommittee));
            return;
        }
        let state = self.ledger.account(&key);
        let status = self.ledger.status();
        let statement = BalanceStatement {
            chain: *self.ledger.chain(),
            committee: self.own.committee,
            epoch: plan.epoch,
            height: status.height,
            key,
            balance: state.balance,
            next_sequence: state.next_sequence,
            nonce,
        };
        if status.certified >= status.height {
            let _ = reply.send(self.signed(statement));
        } else if desk.balances.len() < BALANCES_MAX {
            desk.balances.push_back(Waiting { statement, reply });
        } else {
            let _ = reply.send(refused(RefuseReason::TooManyRequests));
        }
    }

    fn settle_balances(&self, desk: &mut Desk) {
        if desk.balances.is_empty() {
            return;
        }
        let certified = self.ledger.status().certified;
        while let Some(waiting) = desk.balances.pop_front_if(|waiting| waiting.statement.height <= certified) {
            let _ = waiting.reply.send(self.signed(waiting.statement));
        }
    }

    fn signed(&self, statement: BalanceStatement) -> ClientReply {
        let signature = self.signer.sign(&balance_message(&statement));
        ClientReply::Balance(Box::new(SignedBalance { statement, member: self.own.member, signature }))
    }
}

/// A refusal that another time makes no better, except where requests are too many.
pub(crate) fn refused(reason: RefuseReason) -> ClientReply {
    let retry_after_ms = if reason == RefuseReason::TooManyRequests { 100 } else { 0 };
    ClientReply::Refused(Refused { reason, retry_after_ms })
}
