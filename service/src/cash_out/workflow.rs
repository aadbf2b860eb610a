//! The workflow of a cash-out: redeem certified → paid by the bank, or minted back.
//!
//! Guarantees, whatever is killed and whatever is told twice:
//! - the bank is ordered to pay only against a redeem that stands in a certified block as `Applied`;
//! - the payout's key is the redeem's txid, so it is paid once however often it is ordered;
//! - what the bank refused is minted back once: the mint is put into the outbox in the transaction that leaves
//!   `paying`, and its deposit reference is made from the redeem, so the ledger refuses a second one.

use std::sync::Arc;

use serde::Serialize;
use shardpay_crypto::shard_of_deposit;
use shardpay_types::{Amount, PayoutRef, Transaction};

use super::bank::{BankGateway, PayoutOrder, PayoutStatus};
use super::iban::Iban;
use super::pain001::{self, Debtor, Transfer};
use crate::clock::Clock;
use crate::codec::{MICROS_PER_CENT, Purpose, decimal, stored_key, words};
use crate::db::{Db, Row, StoreError, Tx, Value};
use crate::hub::{Change, Hub};
use crate::issuer::Issuer;
use crate::ledger::Ledger;
use crate::ledger::apply::{Origin, insert};
use crate::secret::hash;

/// Pause before the bank is asked again.
const ASK_US: u64 = 1_000_000;

words! {
    /// How a cash-out stands.
    CashOutState {
        /// The redeem is on its way.
        Submitted = "submitted",
        /// The redeem is certified.
        Redeemed = "redeemed",
        /// The order is written; the bank was, or will be, told.
        Paying = "paying",
        /// Paid.
        Paid = "paid",
        /// The bank refused; the coins are being minted back.
        Returning = "returning",
        /// They are back.
        Returned = "returned",
        /// The redeem was refused.
        Rejected = "rejected",
        /// The redeem failed: not enough coins.
        ShortBalance = "short_balance",
    }
}

impl CashOutState {
    /// Whether nothing more happens.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Paid | Self::Returned | Self::Rejected | Self::ShortBalance)
    }
}

/// A cash-out as users see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CashOut {
    /// Its id: the redeem's txid.
    pub id: String,
    /// The redeem's txid.
    pub txid: String,
    /// How much.
    pub amount: String,
    /// Where to, mostly hidden.
    pub iban_masked: String,
    /// Whose account.
    pub holder: String,
    /// How it stands.
    pub state: &'static str,
    /// Whether nothing more happens.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Why it failed.
    pub reason: Option<String>,
    /// The mint that gave the coins back.
    pub return_txid: Option<String>,
    /// When it began.
    pub created_us: u64,
    /// When it changed last.
    pub updated_us: u64,
}

/// What a cash-out is begun with: checked, and signed for.
#[derive(Debug)]
pub struct NewCashOut<'a> {
    /// Whose.
    pub user: &'a str,
    /// The redeem's sender.
    pub sender: String,
    /// The redeem's amount.
    pub amount: Amount,
    /// Where to.
    pub iban: &'a Iban,
    /// Whose account.
    pub holder: &'a str,
}

/// What a redeem's `payout_ref` must be.
pub fn payout_ref(salt: &[u8; 16], iban: &str, holder: &str) -> PayoutRef {
    PayoutRef(hash(&[b"shardpay/payout/v1\0", salt, iban.as_bytes(), b"\0", holder.as_bytes()]))
}

/// The workflow.
#[derive(Clone)]
pub struct CashOuts {
    /// The store.
    pub db: Db,
    /// Who pays.
    pub bank: Arc<dyn BankGateway>,
    /// Who mints back.
    pub issuer: Arc<Issuer>,
    /// Where mints go.
    pub ledger: Arc<dyn Ledger>,
    /// Who waits.
    pub hub: Hub,
    /// The time.
    pub clock: Clock,
    /// Whose account payouts leave.
    pub debtor: Debtor,
}

/// A cash-out's columns, as [`shown`] reads them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT txid, amount, iban, holder, state, reason, return_txid, created_us, updated_us ",
            "FROM cash_outs WHERE ",
            $rest
        )
    };
}

fn shown(row: &Row) -> CashOut {
    let state = CashOutState::parse(row.text(4)).expect("states are written by this module");
    let iban = row.text(2);
    CashOut {
        id: row.text(0).to_owned(),
        txid: row.text(0).to_owned(),
        amount: decimal(row.count(1)),
        iban_masked: Iban::parse(iban).map(|iban| iban.masked()).unwrap_or_default(),
        holder: row.text(3).to_owned(),
        state: state.name(),
        is_final: state.is_final(),
        reason: row.opt_text(5).map(str::to_owned),
        return_txid: row.opt_text(6).map(str::to_owned),
        created_us: row.count(7),
        updated_us: row.count(8),
    }
}

impl CashOuts {
    /// A user's cash-out.
    pub async fn get(&self, user: &str, txid: &str) -> Result<Option<CashOut>, StoreError> {
        let sql = select!("txid = $1 AND user_id = $2");
        Ok(self.db.read_one(sql, &[Value::text(txid), Value::text(user)]).await?.as_ref().map(shown))
    }

    /// A user's cash-outs, newest first, older than the one a cursor names.
    pub async fn list(&self, user: &str, before: (u64, &str), limit: u64) -> Result<Vec<CashOut>, StoreError> {
        let sql =
            select!("user_id = $1 AND (created_us, txid) < ($2, $3) ORDER BY created_us DESC, txid DESC LIMIT $4");
        let arguments = [Value::text(user), Value::count(before.0), Value::text(before.1), Value::count(limit)];
        Ok(self.db.read(sql, &arguments).await?.iter().map(shown).collect())
    }

    /// The order to the bank, once it is written.
    pub async fn order_xml(&self, user: &str, txid: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT pain001 FROM cash_outs WHERE txid = $1 AND user_id = $2";
        let row = self.db.read_one(sql, &[Value::text(txid), Value::text(user)]).await?;
        Ok(row.and_then(|row| row.opt_text(0).map(str::to_owned)))
    }

    /// Enters a cash-out, in the transaction that puts its redeem into the outbox.
    pub async fn enter(&self, tx: &mut Tx, txid: &str, new: &NewCashOut<'_>) -> Result<(), StoreError> {
        let sql = "INSERT INTO cash_outs (txid, user_id, sender, amount, iban, holder, state, created_us, updated_us, \
                   due_us) VALUES ($1, $2, $3, $4, $5, $6, 'submitted', $7, $7, $7) ON CONFLICT (txid) DO NOTHING";
        let arguments = [
            Value::text(txid),
            Value::text(new.user),
            Value::text(&new.sender),
            Value::count(new.amount.micros()),
            Value::text(new.iban.as_str()),
            Value::text(new.holder),
            Value::count(self.clock.now_us()),
        ];
        tx.write(sql, &arguments).await.map(|_| ())
    }

    /// Advances all cash-outs that are due.
    pub async fn advance_due(&self) -> Result<(), StoreError> {
        let sql = "SELECT txid FROM cash_outs WHERE state IN ('redeemed', 'paying') AND due_us <= $1 \
                   ORDER BY due_us LIMIT 200";
        for row in self.db.read(sql, &[Value::count(self.clock.now_us())]).await? {
            self.advance(row.text(0)).await?;
        }
        Ok(())
    }

    /// Carries out the steps of one cash-out that are due.
    pub async fn advance(&self, txid: &str) -> Result<(), StoreError> {
        loop {
            let sql = "SELECT state, amount, iban, holder, pain001, sender, user_id FROM cash_outs WHERE txid = $1";
            let Some(row) = self.db.read_one(sql, &[Value::text(txid)]).await? else { return Ok(()) };
            match CashOutState::parse(row.text(0)) {
                Some(CashOutState::Redeemed) => self.write_order(txid, &row).await?,
                Some(CashOutState::Paying) => return self.order(txid, &row).await,
                _ => return Ok(()),
            }
        }
    }

    async fn write_order(&self, txid: &str, row: &Row) -> Result<(), StoreError> {
        let now = self.clock.now_us();
        let transfer = Transfer {
            txid,
            cents: row.count(1) / MICROS_PER_CENT,
            holder: row.text(3),
            iban: row.text(2),
            now_us: now,
        };
        let xml = pain001::message(&self.debtor, &transfer);
        let sql = "UPDATE cash_outs SET state = 'paying', pain001 = $2, updated_us = $3, due_us = $3 \
                   WHERE txid = $1 AND state = 'redeemed'";
        self.db.write(sql, &[Value::text(txid), Value::text(xml), Value::count(now)]).await?;
        self.hub.tell([Change::CashOut(txid.to_owned())]);
        Ok(())
    }

    async fn order(&self, txid: &str, row: &Row) -> Result<(), StoreError> {
        let order =
            PayoutOrder { key: txid, cents: row.count(1) / MICROS_PER_CENT, iban: row.text(2), xml: row.text(4) };
        let now = self.clock.now_us();
        match self.bank.pay(order).await {
            Ok(PayoutStatus::Paid) => {
                let sql = "UPDATE cash_outs SET state = 'paid', updated_us = $2 WHERE txid = $1 AND state = 'paying'";
                self.db.write(sql, &[Value::text(txid), Value::count(now)]).await?;
            }
            Ok(PayoutStatus::Rejected { reason }) => return self.give_back(txid, row, &reason).await,
            Ok(PayoutStatus::Pending) => self.postpone(txid, now).await?,
            Err(error) => {
                tracing::warn!(%error, txid, "the bank is asked again");
                self.postpone(txid, now).await?;
            }
        }
        self.hub.tell([Change::CashOut(txid.to_owned())]);
        Ok(())
    }

    async fn postpone(&self, txid: &str, now: u64) -> Result<(), StoreError> {
        let sql = "UPDATE cash_outs SET due_us = $2 WHERE txid = $1 AND state = 'paying'";
        self.db.write(sql, &[Value::text(txid), Value::count(now + ASK_US)]).await.map(|_| ())
    }

    /// One transaction: the state that says so, and the mint in the outbox.
    async fn give_back(&self, txid: &str, row: &Row, reason: &str) -> Result<(), StoreError> {
        let now = self.clock.now_us();
        let recipient = stored_key(row.text(5)).expect("keys are written by this module");
        let mint = self.issuer.give_back(recipient, Amount::from_micros(row.count(1)), txid);
        let mut tx = self.db.begin().await?;
        let sql = "UPDATE cash_outs SET state = 'returning', reason = $2, return_txid = $3, updated_us = $4 \
                   WHERE txid = $1 AND state = 'paying'";
        let minted = mint.txid.to_string();
        let arguments = [Value::text(txid), Value::text(reason), Value::text(minted), Value::count(now)];
        if tx.write(sql, &arguments).await? == 0 {
            return Ok(());
        }
        let Transaction::Mint(signed) = &mint.transaction else { unreachable!("the issuer signs mints") };
        let committee = self.ledger.genesis().owner(shard_of_deposit(&signed.body.deposit_ref));
        let purpose = Some((Purpose::Return, txid));
        let origin =
            Origin { submitter: Some(row.text(6)), purpose, submitted_us: Some(now), order_us: now, committee };
        insert(&mut tx, &mint.txid, &mint.transaction, &origin).await?;
        tx.commit().await?;
        self.ledger.submit(mint);
        self.hub.tell([Change::CashOut(txid.to_owned())]);
        Ok(())
    }
}

/// The redeem stands in a certified block.
pub(crate) async fn redeem_certified(
    tx: &mut Tx,
    txid: &str,
    applied: bool,
    now_us: u64,
    changes: &mut Vec<Change>,
) -> Result<(), StoreError> {
    let state = if applied { CashOutState::Redeemed } else { CashOutState::ShortBalance };
    let sql = "UPDATE cash_outs SET state = $2, reason = NULL, updated_us = $3, due_us = $3 \
               WHERE txid = $1 AND state IN ('submitted', 'rejected')";
    if tx.write(sql, &[Value::text(txid), Value::text(state.name()), Value::count(now_us)]).await? > 0 {
        changes.push(Change::CashOut(txid.to_owned()));
    }
    Ok(())
}

/// The redeem will not be executed. Does nothing when it belongs to no cash-out.
pub(crate) async fn redeem_rejected(
    tx: &mut Tx,
    txid: &str,
    reason: &str,
    now_us: u64,
    changes: &mut Vec<Change>,
) -> Result<(), StoreError> {
    let sql = "UPDATE cash_outs SET state = 'rejected', reason = $2, updated_us = $3 \
               WHERE txid = $1 AND state = 'submitted'";
    if tx.write(sql, &[Value::text(txid), Value::text(reason), Value::count(now_us)]).await? > 0 {
        changes.push(Change::CashOut(txid.to_owned()));
    }
    Ok(())
}

/// The coins that a mint gives back are in the account, by a certified block.
pub(crate) async fn return_credited(
    tx: &mut Tx,
    txid: &str,
    now_us: u64,
    changes: &mut Vec<Change>,
) -> Result<(), StoreError> {
    let sql = "UPDATE cash_outs SET state = 'returned', updated_us = $2 WHERE txid = $1 AND state = 'returning'";
    if tx.write(sql, &[Value::text(txid), Value::count(now_us)]).await? > 0 {
        changes.push(Change::CashOut(txid.to_owned()));
    }
    Ok(())
}
