//! Writes certified facts to the store: what became of transactions, and what follows from it for purchases,
//! cash-outs and payment intents.
//!
//! Guarantees: a leaf has its effects once, however often it is applied (streams start again, history is
//! filled in later, two instances share a store); all effects of a block are written together with the cursor
//! that says the block is done.

use shardpay_types::{
    AccountState, CommitteeId, CreditOutcome, Height, MessageKind, Outcome, PublicKey, Timestamp, Totals, Transaction,
    TxId,
};

use super::facts::{BlockFacts, CreditFact, ExecutedFact, LeafFact};
use crate::codec::{Purpose, TxKind, TxState};
use crate::db::{StoreError, Tx, Value};
use crate::hub::Change;
use crate::{buy, cash_out, merchant};

/// Where a leaf stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) committee: CommitteeId,
    pub(crate) height: Height,
    pub(crate) ledger_time: Timestamp,
    /// Now, by the service's clock.
    pub(crate) now_us: u64,
}

/// A committee's block: its leaves, and the cursor.
pub(crate) async fn apply_block(tx: &mut Tx, block: &BlockFacts, now_us: u64) -> Result<Vec<Change>, StoreError> {
    let place = place_of(block, now_us);
    let mut changes = apply_leaves(tx, block, now_us, true).await?;
    move_cursor(tx, place, &block.totals).await?;
    changes.extend(block.leaves.iter().flat_map(accounts_of).map(|(key, _)| Change::Account(key)));
    Ok(changes)
}

/// A block's leaves without the cursor; `states`: also the accounts' states.
pub(crate) async fn apply_leaves(
    tx: &mut Tx,
    block: &BlockFacts,
    now_us: u64,
    states: bool,
) -> Result<Vec<Change>, StoreError> {
    let place = place_of(block, now_us);
    let mut changes = Vec::new();
    for leaf in &block.leaves {
        match leaf {
            LeafFact::Executed(fact) => executed(tx, place, fact, &mut changes).await?,
            LeafFact::Credit(fact) => credit(tx, place, fact, &mut changes).await?,
        }
        if states {
            for (key, state) in accounts_of(leaf) {
                set_account(tx, place, &key, state).await?;
            }
        }
    }
    Ok(changes)
}

/// Now, and the ledger time.
fn at_of(place: Place) -> (u64, u64) {
    (place.now_us, place.ledger_time.micros())
}

fn place_of(block: &BlockFacts, now_us: u64) -> Place {
    Place { committee: block.committee, height: block.height, ledger_time: block.ledger_time, now_us }
}

/// Accounts whose state a leaf tells.
pub(crate) fn accounts_of(leaf: &LeafFact) -> Vec<(PublicKey, AccountState)> {
    match leaf {
        LeafFact::Executed(fact) => fact.accounts.clone(),
        LeafFact::Credit(fact) => fact.account.into_iter().collect(),
    }
}

/// The cursor moves up only.
pub(crate) async fn move_cursor(tx: &mut Tx, place: Place, totals: &Totals) -> Result<(), StoreError> {
    let micros = |total: shardpay_types::Total| Value::text(total.micros().to_string());
    let sql = "INSERT INTO cursors (committee, height, ledger_us, balances, burned, sent, suspense, minted, received) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (committee) DO UPDATE SET \
               height = excluded.height, ledger_us = excluded.ledger_us, balances = excluded.balances, \
               burned = excluded.burned, sent = excluded.sent, suspense = excluded.suspense, \
               minted = excluded.minted, received = excluded.received WHERE cursors.height < excluded.height";
    let arguments = [
        Value::count(place.committee.index() as u64),
        Value::count(place.height.get()),
        Value::count(place.ledger_time.micros()),
        micros(totals.balances),
        micros(totals.burned),
        micros(totals.sent),
        micros(totals.suspense),
        micros(totals.minted),
        micros(totals.received),
    ];
    tx.write(sql, &arguments).await.map(|_| ())
}

async fn set_account(tx: &mut Tx, place: Place, key: &PublicKey, state: AccountState) -> Result<(), StoreError> {
    let sql = "UPDATE accounts SET balance = $2, next_sequence = $3, height = $4, ledger_us = $5 \
               WHERE public_key = $1 AND height <= $4";
    let arguments = [
        Value::text(key.to_string()),
        Value::count(state.balance.micros()),
        Value::count(state.next_sequence.get()),
        Value::count(place.height.get()),
        Value::count(place.ledger_time.micros()),
    ];
    tx.write(sql, &arguments).await.map(|_| ())
}

async fn executed(tx: &mut Tx, place: Place, fact: &ExecutedFact, changes: &mut Vec<Change>) -> Result<(), StoreError> {
    let txid = fact.txid.to_string();
    insert_if_absent(tx, place, fact).await?;
    let state = match fact.outcome {
        Outcome::Applied => TxState::Certified,
        Outcome::ShortBalance => TxState::ShortBalance,
    };
    let sql = "UPDATE transactions SET state = $2, reason = NULL, certified_us = $3, committee = $4, height = $5, \
               leaf = $6, ledger_us = $7, credited_committee = $8 WHERE txid = $1 AND height IS NULL";
    let arguments = [
        Value::text(&txid),
        Value::text(state.name()),
        Value::count(place.now_us),
        Value::count(place.committee.index() as u64),
        Value::count(place.height.get()),
        Value::count(u64::from(fact.leaf)),
        Value::count(place.ledger_time.micros()),
        Value::opt_count(fact.credited_by.map(|to| to.index() as u64)),
    ];
    if tx.write(sql, &arguments).await? == 0 {
        return Ok(());
    }
    changes.push(Change::Transaction(fact.txid));
    purpose_fulfilled(tx, place, fact, changes).await?;
    if fact.credited_by.is_none() {
        if state == TxState::Certified {
            merchant::payment_final(tx, at_of(place), &fact.transaction, &txid, changes).await?;
        }
        return Ok(());
    }
    let sql = "SELECT committee, height, leaf, ledger_us FROM early_credits WHERE txid = $1";
    if let Some(row) = tx.read_one(sql, &[Value::text(&txid)]).await? {
        let at = [row.count(0), row.count(1), row.count(2)];
        mark_credited(tx, (place.now_us, row.count(3)), &fact.txid, at, changes).await?;
        tx.write("DELETE FROM early_credits WHERE txid = $1", &[Value::text(&txid)]).await?;
    }
    Ok(())
}

async fn insert_if_absent(tx: &mut Tx, place: Place, fact: &ExecutedFact) -> Result<(), StoreError> {
    let sql = "SELECT state FROM transactions WHERE txid = $1";
    if tx.read_one(sql, &[Value::text(fact.txid.to_string())]).await?.is_some() {
        return Ok(());
    }
    let order_us = place.ledger_time.micros();
    let origin = Origin { submitter: None, purpose: None, submitted_us: None, order_us, committee: place.committee };
    insert(tx, &fact.txid, &fact.transaction, &origin).await
}

/// Where a row of the table `transactions` comes from.
pub(crate) struct Origin<'a> {
    pub(crate) submitter: Option<&'a str>,
    pub(crate) purpose: Option<(Purpose, &'a str)>,
    pub(crate) submitted_us: Option<u64>,
    pub(crate) order_us: u64,
    pub(crate) committee: CommitteeId,
}

/// Inserts a transaction in state `submitted`, unless it is there.
pub(crate) async fn insert(
    tx: &mut Tx,
    txid: &TxId,
    transaction: &Transaction,
    origin: &Origin<'_>,
) -> Result<(), StoreError> {
    use shardpay_types::Codec as _;
    let sql = "INSERT INTO transactions (txid, kind, sender, recipient, amount, sequence, reference, valid_until_us, \
               bytes, submitter, purpose, purpose_id, state, submitted_us, committee, order_us) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'submitted', $13, $14, $15) \
               ON CONFLICT (txid) DO NOTHING";
    let reference = match transaction {
        Transaction::Payment(payment) => Some(payment.body.reference.to_string()),
        Transaction::Redeem(_) | Transaction::Mint(_) => None,
    };
    let arguments = [
        Value::text(txid.to_string()),
        Value::text(TxKind::of(transaction).name()),
        Value::opt_text(transaction.debit().map(|(sender, _)| sender.to_string())),
        Value::opt_text(transaction.recipient().map(|recipient| recipient.to_string())),
        Value::count(transaction.amount().micros()),
        Value::opt_count(transaction.debit().map(|(_, sequence)| sequence.get())),
        Value::opt_text(reference),
        Value::count(transaction.valid_until().micros()),
        Value::bytes(transaction.to_bytes()),
        Value::opt_text(origin.submitter),
        Value::opt_text(origin.purpose.map(|(purpose, _)| purpose.name())),
        Value::opt_text(origin.purpose.map(|(_, id)| id)),
        Value::opt_count(origin.submitted_us),
        Value::count(origin.committee.index() as u64),
        Value::count(origin.order_us),
    ];
    tx.write(sql, &arguments).await.map(|_| ())
}

/// What a certified transaction was for has happened, or cannot happen any more.
async fn purpose_fulfilled(
    tx: &mut Tx,
    place: Place,
    fact: &ExecutedFact,
    changes: &mut Vec<Change>,
) -> Result<(), StoreError> {
    let applied = fact.outcome == Outcome::Applied;
    match purpose_of(tx, &fact.txid).await? {
        Some((Purpose::CashOut, id)) => cash_out::redeem_certified(tx, &id, applied, place.now_us, changes).await,
        Some(_) if applied && fact.credited_by.is_none() => coins_arrived(tx, &fact.txid, place.now_us, changes).await,
        Some(_) | None => Ok(()),
    }
}

/// The coins of a transaction are in the recipient's account: what was minted for somebody can be spent.
async fn coins_arrived(tx: &mut Tx, txid: &TxId, now_us: u64, changes: &mut Vec<Change>) -> Result<(), StoreError> {
    match purpose_of(tx, txid).await? {
        Some((Purpose::Purchase, id)) => buy::mint_credited(tx, &id, now_us, changes).await,
        Some((Purpose::Return, id)) => cash_out::return_credited(tx, &id, now_us, changes).await,
        Some((Purpose::CashOut | Purpose::Refund, _)) | None => Ok(()),
    }
}

async fn purpose_of(tx: &mut Tx, txid: &TxId) -> Result<Option<(Purpose, String)>, StoreError> {
    let sql = "SELECT purpose, purpose_id FROM transactions WHERE txid = $1 AND purpose IS NOT NULL";
    let row = tx.read_one(sql, &[Value::text(txid.to_string())]).await?;
    Ok(row.and_then(|row| Some((Purpose::parse(row.text(0))?, row.text(1).to_owned()))))
}

async fn credit(tx: &mut Tx, place: Place, fact: &CreditFact, changes: &mut Vec<Change>) -> Result<(), StoreError> {
    let message = &fact.message;
    let at = [place.committee.index() as u64, place.height.get(), u64::from(fact.leaf)];
    match (message.kind, fact.outcome) {
        (MessageKind::Credit | MessageKind::MintCredit, CreditOutcome::Applied) => {
            if mark_credited(tx, at_of(place), &message.txid, at, changes).await? {
                return Ok(());
            }
            let sql = "INSERT INTO early_credits (txid, committee, height, leaf, ledger_us) \
                       SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT 1 FROM transactions WHERE txid = $1 AND height IS NOT NULL) \
                       ON CONFLICT (txid) DO NOTHING";
            let arguments = [
                Value::text(message.txid.to_string()),
                Value::count(at[0]),
                Value::count(at[1]),
                Value::count(at[2]),
                Value::count(place.ledger_time.micros()),
            ];
            tx.write(sql, &arguments).await.map(|_| ())
        }
        (MessageKind::Return, CreditOutcome::Applied) => {
            let sql = "UPDATE transactions SET state = 'returned' WHERE txid = $1 AND state = 'certified'";
            if tx.write(sql, &[Value::text(message.txid.to_string())]).await? > 0 {
                changes.push(Change::Transaction(message.txid));
            }
            Ok(())
        }
        (_, CreditOutcome::Returned | CreditOutcome::Suspended) => Ok(()),
    }
}

/// False when the debit is not known, or not certified yet.
async fn mark_credited(
    tx: &mut Tx,
    (now_us, ledger_us): (u64, u64),
    txid: &TxId,
    [committee, height, leaf]: [u64; 3],
    changes: &mut Vec<Change>,
) -> Result<bool, StoreError> {
    use shardpay_types::Codec as _;
    let id = txid.to_string();
    let sql = "UPDATE transactions SET state = 'credited', credited_committee = $2, credited_height = $3, \
               credited_leaf = $4, credited_us = $5 WHERE txid = $1 AND state = 'certified' AND credited_height IS NULL";
    let arguments =
        [Value::text(&id), Value::count(committee), Value::count(height), Value::count(leaf), Value::count(now_us)];
    if tx.write(sql, &arguments).await? == 0 {
        let sql = "SELECT 1 FROM transactions WHERE txid = $1 AND credited_height IS NOT NULL";
        return Ok(tx.read_one(sql, &[Value::text(&id)]).await?.is_some());
    }
    changes.push(Change::Transaction(*txid));
    coins_arrived(tx, txid, now_us, changes).await?;
    let row = tx.read_one("SELECT bytes FROM transactions WHERE txid = $1", &[Value::text(&id)]).await?;
    if let Some(transaction) = row.and_then(|row| Transaction::from_bytes(row.bytes(0)).ok()) {
        merchant::payment_final(tx, (now_us, ledger_us), &transaction, &id, changes).await?;
    }
    Ok(true)
}
