//! The one task that writes down what the ledger certified, and keeps submitted transactions on their way.
//!
//! Guarantees: blocks of a committee are applied in order, each as a whole. A transaction stays `submitted` until
//! a certified leaf decides it, or certified state proves that it cannot be executed any more (its sequence is
//! used by another, its time is over), or members refuse it for a reason that does not pass. A certified leaf
//! wins over an earlier refusal.
//!
//! Blocks that touch no user are noted in memory and written down once a second.

use std::sync::Arc;
use std::time::Duration;

use shardpay_crypto::IdentifiedTransaction;
use shardpay_telemetry::{Recorder, names};
use shardpay_types::{Codec as _, CommitteeId, Height, RejectReason, Timestamp, Total, Totals, Transaction, TxId};
use tokio::sync::mpsc;

use super::apply::{Place, accounts_of, apply_block, move_cursor};
use super::facts::BlockFacts;
use super::port::{Ledger, LedgerEvent};
use super::view::{KnownAccount, Tip, View};
use crate::cash_out;
use crate::clock::Clock;
use crate::codec::{Purpose, TxKind, stored_key};
use crate::db::{Db, Row, StoreError, Value};
use crate::hub::{Change, Hub};

/// How often submitted transactions are looked at and cursors written.
const SWEEP: Duration = Duration::from_millis(500);
/// Transactions looked at in one sweep.
const SWEEP_MAX: i64 = 2_000;

/// The follower.
pub struct Follower {
    /// The store.
    pub db: Db,
    /// What requests read.
    pub view: Arc<View>,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Who waits for changes.
    pub hub: Hub,
    /// The time.
    pub clock: Clock,
    /// Where durations go.
    pub recorder: Recorder,
}

/// Reads what was known when the service stopped.
pub async fn load_view(db: &Db, committees: usize) -> Result<View, StoreError> {
    let view = View::new(committees);
    let sql = "SELECT committee, height, ledger_us, balances, burned, sent, suspense, minted, received FROM cursors";
    for row in db.read(sql, &[]).await? {
        let Some(committee) = CommitteeId::new(row.count(0) as usize).filter(|id| id.index() < committees) else {
            continue;
        };
        let ledger_time = Timestamp::from_micros(row.count(2));
        view.set_tip(
            committee,
            Tip { height: Height::new(row.count(1)), ledger_time, totals: totals(&row, 3), fresh_us: 0 },
        );
    }
    let sql = "SELECT public_key, balance, next_sequence, height FROM accounts";
    for row in db.read(sql, &[]).await? {
        if let Some(key) = stored_key(row.text(0)) {
            view.set_account(key, known(&row, 1));
        }
    }
    Ok(view)
}

/// Books in six columns of text.
pub(crate) fn totals(row: &Row, first: usize) -> Totals {
    let total = |column: usize| Total::from_micros(row.text(first + column).parse().unwrap_or(0));
    Totals {
        balances: total(0),
        burned: total(1),
        sent: total(2),
        suspense: total(3),
        minted: total(4),
        received: total(5),
    }
}

fn known(row: &Row, first: usize) -> KnownAccount {
    let state = shardpay_types::AccountState {
        balance: shardpay_types::Amount::from_micros(row.count(first)),
        next_sequence: shardpay_types::Sequence::new(row.count(first + 1)),
    };
    KnownAccount { state, height: Height::new(row.count(first + 2)) }
}

impl Follower {
    /// Works until the events end or the store fails.
    pub async fn run(self, mut events: mpsc::Receiver<LedgerEvent>) -> Result<(), StoreError> {
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.handle(event).await?,
                    None => return Ok(()),
                },
                _ = sweep.tick() => {
                    self.write_cursors().await?;
                    self.sweep().await?;
                }
            }
        }
    }

    /// Carries out one event.
    pub async fn handle(&self, event: LedgerEvent) -> Result<(), StoreError> {
        match event {
            LedgerEvent::Block(block) => self.block(&block).await,
            LedgerEvent::Refused(txid, reason) => self.refused(txid, reason).await,
            // the next sweep brings it again
            LedgerEvent::GaveUp(_) => Ok(()),
            LedgerEvent::Fresh(committee) => {
                self.view.set_fresh(committee, self.clock.now_us());
                Ok(())
            }
        }
    }

    async fn block(&self, block: &BlockFacts) -> Result<(), StoreError> {
        let now_us = self.clock.now_us();
        let mut changes = Vec::new();
        if !block.leaves.is_empty() {
            let mut tx = self.db.begin().await?;
            changes = apply_block(&mut tx, block, now_us).await?;
            tx.commit().await?;
        }
        for (key, state) in block.leaves.iter().flat_map(accounts_of) {
            if self.view.tracks(&key) {
                self.view.set_account(key, KnownAccount { state, height: block.height });
            }
        }
        let (height, ledger_time, totals) = (block.height, block.ledger_time, block.totals);
        self.view.set_tip(block.committee, Tip { height, ledger_time, totals, fresh_us: now_us });
        for change in &changes {
            if let Change::Transaction(txid) = change {
                self.ledger.settle(*txid);
                self.measure(txid).await?;
            }
        }
        self.hub.tell(changes);
        Ok(())
    }

    /// How long an own transaction took.
    async fn measure(&self, txid: &TxId) -> Result<(), StoreError> {
        let sql = "SELECT kind, submitted_us, certified_us, credited_us, purpose FROM transactions WHERE txid = $1";
        let Some(row) = self.db.read_one(sql, &[Value::text(txid.to_string())]).await? else { return Ok(()) };
        let (Some(submitted), Some(certified), None) = (row.opt_count(1), row.opt_count(2), row.opt_count(3)) else {
            return Ok(());
        };
        let name = match (TxKind::parse(row.text(0)), row.opt_text(4).and_then(Purpose::parse)) {
            (Some(TxKind::Mint), Some(Purpose::Purchase)) => names::OPERATION_BUY_US,
            (Some(TxKind::Redeem), _) => names::OPERATION_CASH_OUT_US,
            (Some(TxKind::Payment), _) => names::OPERATION_PAY_US,
            _ => return Ok(()),
        };
        self.recorder.histogram(name).record(certified.saturating_sub(submitted));
        Ok(())
    }

    async fn refused(&self, txid: TxId, reason: RejectReason) -> Result<(), StoreError> {
        let word = match reason {
            RejectReason::AmountTooSmall => "amount_too_small",
            RejectReason::BadRecipient => "bad_recipient",
            RejectReason::RecipientFull => "recipient_full",
            RejectReason::ShortBalance => "short_balance",
            RejectReason::BadSignature => "bad_signature",
            RejectReason::WrongCommittee => "wrong_committee",
            // proven by certified state or not at all: the sweep decides, and brings it again until then
            RejectReason::SequenceUsed
            | RejectReason::SequencePending
            | RejectReason::SequenceGap
            | RejectReason::TooFarAhead
            | RejectReason::Expired
            | RejectReason::DepositUsed
            | RejectReason::MintCapReached
            | RejectReason::DestinationBusy
            | RejectReason::EpochClosed
            | RejectReason::NotProposing
            | RejectReason::OpaqueRefused => return Ok(()),
        };
        tracing::debug!(%txid, %reason, "refused");
        self.reject(&txid, word).await
    }

    /// A payment or redeem will not be executed. Mints are ours and never given up: a captured charge stands
    /// behind each.
    async fn reject(&self, txid: &TxId, reason: &str) -> Result<(), StoreError> {
        let id = txid.to_string();
        let mut changes = Vec::new();
        let mut tx = self.db.begin().await?;
        let sql = "UPDATE transactions SET state = 'rejected', reason = $2 \
                   WHERE txid = $1 AND state = 'submitted' AND kind <> 'mint'";
        if tx.write(sql, &[Value::text(&id), Value::text(reason)]).await? > 0 {
            changes.push(Change::Transaction(*txid));
            cash_out::redeem_rejected(&mut tx, &id, reason, self.clock.now_us(), &mut changes).await?;
        }
        tx.commit().await?;
        self.ledger.settle(*txid);
        self.hub.tell(changes);
        Ok(())
    }

    /// Brings what is submitted to the ledger, and finds what cannot be executed any more.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let sql = "SELECT txid, bytes FROM transactions WHERE state = 'submitted' ORDER BY order_us LIMIT $1";
        for row in self.db.read(sql, &[Value::int(SWEEP_MAX)]).await? {
            let Ok(transaction) = Transaction::from_bytes(row.bytes(1)) else {
                tracing::error!(txid = row.text(0), "a stored transaction cannot be read");
                continue;
            };
            let identified = IdentifiedTransaction::new(self.ledger.chain(), transaction);
            match self.proven_dead(&transaction) {
                Some(reason) => self.reject(&identified.txid, reason).await?,
                None => self.ledger.submit(identified),
            }
        }
        Ok(())
    }

    /// Why certified state excludes that a transaction without a leaf is ever executed. The view follows the
    /// store: a leaf that stands in a block counted here was written before.
    fn proven_dead(&self, transaction: &Transaction) -> Option<&'static str> {
        let (sender, sequence) = transaction.debit()?;
        let tip = self.view.tip(super::facts::holder(self.ledger.genesis(), &sender));
        let account = self.view.account(&sender)?;
        if account.height <= tip.height && account.state.next_sequence > sequence {
            return Some("sequence_used");
        }
        let until = transaction.valid_until();
        (until != Timestamp::ZERO && tip.ledger_time > until).then_some("expired")
    }

    /// Writes down how far each committee was followed. A cursor that is lost is only read again.
    pub async fn write_cursors(&self) -> Result<(), StoreError> {
        let mut tx = self.db.begin_note().await?;
        let now_us = self.clock.now_us();
        for committee in self.ledger.genesis().committee_ids() {
            let Tip { height, ledger_time, totals, .. } = self.view.tip(committee);
            if height > Height::ZERO {
                move_cursor(&mut tx, Place { committee, height, ledger_time, now_us }, &totals).await?;
            }
        }
        tx.commit().await
    }
}
