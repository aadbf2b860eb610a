//! Payment intents: what a shop wants for an order, and what was paid for it.
//!
//! Guarantees: a payment counts once, and only when it is final for the merchant (certified where the merchant's
//! account is). Whether it was in time is decided by the ledger's time, not by when the service learnt of it. What
//! changes and the event that tells of it are written together.

use serde::Serialize;
use shardpay_types::Transaction;

use crate::clock::Clock;
use crate::codec::{address_of, decimal, words};
use crate::db::{Db, Reader, Row, StoreError, Tx, Value};
use crate::hub::{Change, Hub};
use crate::secret::random_hex;

/// How long after its end an intent is called expired: payments made in time may still be on their way.
const GRACE_US: u64 = 5_000_000;

words! {
    /// How an intent stands.
    IntentState {
        /// Nothing paid yet.
        Open = "open",
        /// Too little paid.
        Underpaid = "underpaid",
        /// Paid.
        Paid = "paid",
        /// Paid twice or too much.
        Overpaid = "overpaid",
        /// Nothing paid in time.
        Expired = "expired",
        /// Called off by the merchant.
        Cancelled = "cancelled",
    }
}

/// A payment on an intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IntentPayment {
    /// The payment.
    pub txid: String,
    /// Who paid.
    pub payer: String,
    /// The same as an address.
    pub payer_address: Option<String>,
    /// How much.
    pub amount: String,
    /// Whether it came after the end.
    pub late: bool,
    /// Ledger time at which it was final.
    pub at_us: u64,
}

/// An intent as merchants and payers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Intent {
    /// Its id, also the payment's reference.
    pub id: String,
    /// The shop's name for the order.
    pub order_id: String,
    /// What it is for.
    pub description: Option<String>,
    /// What is wanted.
    pub amount: String,
    /// What was paid.
    pub paid: String,
    /// What was paid back.
    pub refunded: String,
    /// How it stands.
    pub state: &'static str,
    /// Whether something was paid after the end.
    pub late: bool,
    /// The end.
    pub expires_us: u64,
    /// When it was made.
    pub created_us: u64,
    /// The payment's reference.
    pub reference: String,
    /// Where the shop wants its customer after the payment.
    pub return_url: Option<String>,
    /// What was paid, oldest first.
    pub payments: Vec<IntentPayment>,
}

/// What an intent is made with: checked.
#[derive(Debug)]
pub struct NewIntent<'a> {
    /// Made from merchant and idempotency key.
    pub id: &'a str,
    /// The merchant.
    pub user: &'a str,
    /// The merchant's key.
    pub key: &'a str,
    /// What is wanted, in micro-units.
    pub amount: u64,
    /// The shop's name for the order.
    pub order_id: &'a str,
    /// What it is for.
    pub description: Option<&'a str>,
    /// Seconds until its end.
    pub expires_in_s: u64,
    /// Where the shop wants its customer after the payment.
    pub return_url: Option<&'a str>,
}

/// The intents.
#[derive(Clone)]
pub struct Intents {
    /// The store.
    pub db: Db,
    /// Who waits.
    pub hub: Hub,
    /// The time.
    pub clock: Clock,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, order_id, description, amount, paid, refunded, state, late, expires_us, created_us, user_id, ",
            "return_url ",
            "FROM intents WHERE ",
            $rest
        )
    };
}

/// Reads an intent with its payments; also its merchant's id.
pub(super) async fn load(reader: &mut Reader<'_>, id: &str) -> Result<Option<(Intent, String)>, StoreError> {
    let rows = reader.read(select!("id = $1"), &[Value::text(id)]).await?;
    match rows.first() {
        Some(row) => Ok(Some((with_payments(reader, row).await?, row.text(10).to_owned()))),
        None => Ok(None),
    }
}

async fn with_payments(reader: &mut Reader<'_>, row: &Row) -> Result<Intent, StoreError> {
    let sql = "SELECT txid, party, amount, late, at_us FROM intent_payments \
               WHERE intent_id = $1 AND direction = 'in' ORDER BY at_us, txid LIMIT 100";
    let payments = reader.read(sql, &[Value::text(row.text(0))]).await?;
    let payments = payments.iter().map(|payment| IntentPayment {
        txid: payment.text(0).to_owned(),
        payer: payment.text(1).to_owned(),
        payer_address: address_of(payment.text(1)),
        amount: decimal(payment.count(2)),
        late: payment.int(3) != 0,
        at_us: payment.count(4),
    });
    let state = IntentState::parse(row.text(6)).expect("states are written by this module");
    Ok(Intent {
        id: row.text(0).to_owned(),
        order_id: row.text(1).to_owned(),
        description: row.opt_text(2).map(str::to_owned),
        amount: decimal(row.count(3)),
        paid: decimal(row.count(4)),
        refunded: decimal(row.count(5)),
        state: state.name(),
        late: row.int(7) != 0,
        expires_us: row.count(8),
        created_us: row.count(9),
        reference: row.text(0).to_owned(),
        return_url: row.opt_text(11).map(str::to_owned),
        payments: payments.collect(),
    })
}

impl Intents {
    /// Makes an intent; the same id again changes nothing.
    pub async fn create(&self, new: &NewIntent<'_>) -> Result<(), StoreError> {
        let now = self.clock.now_us();
        let sql = "INSERT INTO intents (id, user_id, merchant_key, amount, order_id, description, state, late, paid, \
                   refunded, cancelled, created_us, expires_us, return_url) \
                   VALUES ($1, $2, $3, $4, $5, $6, 'open', 0, 0, 0, 0, $7, $8, $9) ON CONFLICT (id) DO NOTHING";
        let arguments = [
            Value::text(new.id),
            Value::text(new.user),
            Value::text(new.key),
            Value::count(new.amount),
            Value::text(new.order_id),
            Value::opt_text(new.description),
            Value::count(now),
            Value::count(now + new.expires_in_s * 1_000_000),
            Value::opt_text(new.return_url),
        ];
        self.db.write(sql, &arguments).await.map(|_| ())
    }

    /// An intent and its merchant's id.
    pub async fn get(&self, id: &str) -> Result<Option<(Intent, String)>, StoreError> {
        load(&mut Reader::Db(&self.db), id).await
    }

    /// A merchant's intents, newest first, in a state if one is given.
    pub async fn list(
        &self,
        user: &str,
        state: Option<IntentState>,
        before: (u64, &str),
        limit: u64,
    ) -> Result<Vec<Intent>, StoreError> {
        let sql = select!(
            "user_id = $1 AND ($2 = '' OR state = $2) AND (created_us, id) < ($3, $4) \
             ORDER BY created_us DESC, id DESC LIMIT $5"
        );
        let arguments = [
            Value::text(user),
            Value::text(state.map_or("", IntentState::name)),
            Value::count(before.0),
            Value::text(before.1),
            Value::count(limit),
        ];
        let mut intents = Vec::new();
        for row in self.db.read(sql, &arguments).await? {
            intents.push(with_payments(&mut Reader::Db(&self.db), &row).await?);
        }
        Ok(intents)
    }

    /// Calls an intent off. False when something was paid, or it is over.
    pub async fn cancel(&self, user: &str, id: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE intents SET state = 'cancelled', cancelled = 1 \
                   WHERE id = $1 AND user_id = $2 AND state = 'open'";
        let changed = self.db.write(sql, &[Value::text(id), Value::text(user)]).await? > 0;
        self.hub.tell([Change::Intent(id.to_owned())]);
        Ok(changed)
    }

    /// Whether a key paid an intent, and what of it was not paid back yet, in micro-units. Holds the intent until the
    /// transaction ends, so that of two refunds the second sees the first.
    pub async fn refundable(&self, tx: &mut Tx, id: &str, payer: &str) -> Result<Option<u64>, StoreError> {
        tx.write("UPDATE intents SET refunded = refunded WHERE id = $1", &[Value::text(id)]).await?;
        let sql = "SELECT CAST(COALESCE(SUM(CASE WHEN direction = 'in' THEN amount ELSE -amount END), 0) AS BIGINT), \
                   CAST(COUNT(*) AS BIGINT) FROM intent_payments WHERE intent_id = $1 AND party = $2";
        let row = tx.read_one(sql, &[Value::text(id), Value::text(payer)]).await?.expect("sums have a row");
        if row.int(1) == 0 {
            return Ok(None);
        }
        // refunds that are on their way count as made
        let sql = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM transactions WHERE purpose = 'refund' \
                   AND purpose_id = $1 AND recipient = $2 AND state IN ('submitted', 'certified', 'credited') \
                   AND txid NOT IN (SELECT txid FROM intent_payments WHERE intent_id = $1)";
        let open = tx.read_one(sql, &[Value::text(id), Value::text(payer)]).await?.expect("sums have a row");
        Ok(Some(u64::try_from(row.int(0) - open.int(0)).unwrap_or(0)))
    }

    /// Ends intents on which nothing was paid in time.
    pub async fn expire_due(&self) -> Result<(), StoreError> {
        let now = self.clock.now_us();
        let sql = "SELECT id FROM intents WHERE state = 'open' AND expires_us < $1 LIMIT 200";
        for row in self.db.read(sql, &[Value::count(now.saturating_sub(GRACE_US))]).await? {
            let mut changes = Vec::new();
            let mut tx = self.db.begin().await?;
            let sql = "UPDATE intents SET state = 'expired' WHERE id = $1 AND state = 'open'";
            if tx.write(sql, &[Value::text(row.text(0))]).await? > 0 {
                tell_merchant(&mut tx, row.text(0), "intent.expired", now, &mut changes).await?;
            }
            tx.commit().await?;
            self.hub.tell(changes);
        }
        Ok(())
    }
}

/// A payment is final for its payee: does it belong to an intent?
pub(crate) async fn payment_final(
    tx: &mut Tx,
    (now_us, ledger_us): (u64, u64),
    transaction: &Transaction,
    txid: &str,
    changes: &mut Vec<Change>,
) -> Result<(), StoreError> {
    let Transaction::Payment(payment) = transaction else { return Ok(()) };
    let body = &payment.body;
    let id = body.reference.to_string();
    let sql = "SELECT merchant_key, amount, paid, expires_us, cancelled FROM intents WHERE id = $1";
    let Some(intent) = tx.read_one(sql, &[Value::text(&id)]).await? else { return Ok(()) };
    let (sender, recipient) = (body.sender.to_string(), body.recipient.to_string());
    let merchant = intent.text(0).to_owned();
    let (incoming, party) = match (recipient == merchant, sender == merchant) {
        (true, false) => (true, sender),
        (false, true) => (false, recipient),
        _ => return Ok(()),
    };
    if !incoming {
        let sql = "SELECT 1 FROM intent_payments WHERE intent_id = $1 AND direction = 'in' AND party = $2";
        if tx.read_one(sql, &[Value::text(&id), Value::text(&party)]).await?.is_none() {
            // the merchant paid somebody who paid nothing here: no refund
            return Ok(());
        }
    }
    let late = incoming && (ledger_us > intent.count(3) || intent.int(4) != 0);
    let sql = "INSERT INTO intent_payments (txid, intent_id, direction, party, amount, late, at_us, counted) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, 1) ON CONFLICT (txid) DO NOTHING";
    let arguments = [
        Value::text(txid),
        Value::text(&id),
        Value::text(if incoming { "in" } else { "out" }),
        Value::text(party),
        Value::count(body.amount.micros()),
        Value::int(i64::from(late)),
        Value::count(ledger_us),
    ];
    if tx.write(sql, &arguments).await? == 0 {
        return Ok(());
    }
    if !incoming {
        let sql = "UPDATE intents SET refunded = refunded + $2 WHERE id = $1";
        tx.write(sql, &[Value::text(&id), Value::count(body.amount.micros())]).await?;
        return tell_merchant(tx, &id, "intent.refunded", now_us, changes).await;
    }
    let sql = "UPDATE intents SET paid = paid + $2, late = CASE WHEN $3 = 1 THEN 1 ELSE late END, \
               state = CASE WHEN paid + $2 < amount THEN 'underpaid' WHEN paid + $2 = amount THEN 'paid' \
               ELSE 'overpaid' END WHERE id = $1";
    let arguments = [Value::text(&id), Value::count(body.amount.micros()), Value::int(i64::from(late))];
    tx.write(sql, &arguments).await?;
    let (wanted, paid) = (intent.count(1), intent.count(2) + body.amount.micros());
    let kind = match paid.cmp(&wanted) {
        _ if late => "intent.late",
        std::cmp::Ordering::Less => "intent.underpaid",
        std::cmp::Ordering::Equal => "intent.paid",
        std::cmp::Ordering::Greater => "intent.overpaid",
    };
    tell_merchant(tx, &id, kind, now_us, changes).await
}

#[derive(Serialize)]
struct Event<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    created_us: u64,
    data: &'a Intent,
}

/// Writes an event down, to be delivered.
async fn tell_merchant(
    tx: &mut Tx,
    intent: &str,
    kind: &str,
    now_us: u64,
    changes: &mut Vec<Change>,
) -> Result<(), StoreError> {
    changes.push(Change::Intent(intent.to_owned()));
    let Some((data, user)) = load(&mut Reader::Tx(tx), intent).await? else { return Ok(()) };
    let id = format!("evt_{}", random_hex::<12>());
    let event = Event { id: &id, kind, created_us: now_us, data: &data };
    let body = serde_json::to_string(&event).expect("string keys only");
    let sql = "INSERT INTO webhook_events (id, user_id, intent_id, type, body, created_us, attempts, due_us) \
               SELECT $1, $2, $3, $4, $5, $6, 0, CASE WHEN webhook_url IS NULL THEN NULL ELSE $6 END \
               FROM users WHERE id = $2";
    let arguments = [
        Value::text(&id),
        Value::text(user),
        Value::text(intent),
        Value::text(kind),
        Value::text(body),
        Value::count(now_us),
    ];
    tx.write(sql, &arguments).await?;
    changes.push(Change::Webhook);
    Ok(())
}
