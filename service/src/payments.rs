//! Transactions that users signed: checked, put into the outbox, shown.
//!
//! The outbox is the table `transactions` itself: what stands there in state `submitted` is brought to the
//! ledger until certified blocks decide it (`crate::ledger::Follower`). Bytes are stored as they came.

use serde::Serialize;
use shardpay_crypto::{IdentifiedTransaction, SignatureScheme, transaction_message};
use shardpay_keystore::reference_text;
use shardpay_types::{Codec, PublicKey, Reference, Timestamp, Transaction};

use crate::app::App;
use crate::codec::{Purpose, TxKind, TxState, address_of, decimal, stored_key};
use crate::db::{Row, StoreError, Tx, Value};
use crate::error::{Code, Problem};
use crate::hub::Change;
use crate::ledger::apply::{Origin, insert};
use crate::ledger::facts::holder;

/// A transaction as users see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Payment {
    /// Its id.
    pub txid: String,
    /// `payment`, `redeem` or `mint`.
    pub kind: &'static str,
    /// Payer.
    pub sender: Option<String>,
    /// The same as an address.
    pub sender_address: Option<String>,
    /// The same as a name.
    pub sender_name: Option<String>,
    /// Payee.
    pub recipient: Option<String>,
    /// The same as an address.
    pub recipient_address: Option<String>,
    /// The same as a name.
    pub recipient_name: Option<String>,
    /// How much.
    pub amount: String,
    /// Its place among the sender's.
    pub sequence: Option<u64>,
    /// The payer's note.
    pub reference: Option<String>,
    /// The same, readable.
    pub reference_text: Option<String>,
    /// How it stands.
    pub state: &'static str,
    /// Whether nothing more happens.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// When it came in.
    pub submitted_us: Option<u64>,
    /// When the certificate was verified.
    pub certified_us: Option<u64>,
    /// The time between the two.
    pub latency_ms: Option<u64>,
    /// The committee that decides.
    pub committee: u64,
    /// Where it stands there.
    pub height: Option<u64>,
    /// The payee's committee, when it is another one.
    pub credited_committee: Option<u64>,
    /// Where the credit stands there.
    pub credited_height: Option<u64>,
    /// When its certificate was verified.
    pub credited_us: Option<u64>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT txid, kind, sender, recipient, amount, sequence, reference, state, reason, submitted_us, ",
            "certified_us, committee, height, credited_committee, credited_height, credited_us, ",
            "(SELECT MIN(name) FROM users WHERE public_key = sender), ",
            "(SELECT MIN(name) FROM users WHERE public_key = recipient), submitter, order_us ",
            "FROM transactions WHERE ",
            $rest
        )
    };
}
pub(crate) use select;

/// The reference's text, unless it is empty.
fn readable(reference: &str) -> Option<String> {
    let bytes = hex::decode(reference).ok()?.try_into().ok()?;
    Some(reference_text(&Reference(bytes))).filter(|text| !text.is_empty())
}

pub(crate) fn shown(row: &Row) -> Payment {
    let text = |column: usize| row.opt_text(column).map(str::to_owned);
    let (sender, recipient, reference) = (text(2), text(3), text(6));
    let state = TxState::parse(row.text(7)).expect("states are written by this crate");
    let credit_awaited = row.opt_int(13).is_some() && row.opt_int(14).is_none();
    let is_final = match state {
        TxState::Submitted => false,
        TxState::Certified => !credit_awaited,
        TxState::Credited | TxState::Returned | TxState::ShortBalance | TxState::Rejected => true,
    };
    let latency = row.opt_count(9).zip(row.opt_count(10)).map(|(from, to)| to.saturating_sub(from) / 1_000);
    Payment {
        txid: row.text(0).to_owned(),
        kind: TxKind::parse(row.text(1)).expect("kinds are written by this crate").name(),
        sender_address: sender.as_deref().and_then(address_of),
        sender_name: text(16),
        sender,
        recipient_address: recipient.as_deref().and_then(address_of),
        recipient_name: text(17),
        recipient,
        amount: decimal(row.count(4)),
        sequence: row.opt_count(5),
        reference_text: reference.as_deref().and_then(readable),
        reference,
        state: state.name(),
        is_final,
        reason: text(8),
        submitted_us: row.opt_count(9),
        certified_us: row.opt_count(10),
        latency_ms: latency,
        committee: row.count(11),
        height: row.opt_count(12),
        credited_committee: row.opt_count(13),
        credited_height: row.opt_count(14),
        credited_us: row.opt_count(15),
    }
}

/// Reads and checks a signed transaction as far as that needs no state: kind, key, signature, amounts.
pub fn read_signed(app: &App, kind: TxKind, text: &str) -> Result<IdentifiedTransaction, Problem> {
    let wrong = |why: &str| Problem::field(Code::BadTransaction, "transaction", why);
    if text.len() > 2 * Transaction::LEN_MAX {
        return Err(wrong("longer than any transaction"));
    }
    let bytes = hex::decode(text).map_err(|_| wrong("hexadecimal digits are expected"))?;
    let transaction = Transaction::from_bytes(&bytes).map_err(|error| wrong(&error.to_string()))?;
    if TxKind::of(&transaction) != kind {
        return Err(wrong(&format!("a {} is expected, this is a {}", kind.name(), TxKind::of(&transaction).name())));
    }
    let Some((sender, _)) = transaction.debit() else { return Err(wrong("mints are not taken here")) };
    let message = transaction_message(app.ledger.chain(), &transaction);
    if !app.scheme.key_acceptable(&sender) || !app.scheme.verify(&sender, &message, transaction.signature()) {
        return Err(Problem::field(Code::BadSignature, "transaction", "the signature does not verify for this ledger"));
    }
    if transaction.recipient().is_some_and(|payee| !app.scheme.key_acceptable(&payee)) {
        return Err(wrong("the recipient's key cannot own an account"));
    }
    let least = app.plan().constants.amount_min;
    if transaction.amount() < least {
        let why = format!("the smallest amount is {least}");
        return Err(Problem::field(Code::AmountTooSmall, "transaction", why));
    }
    if transaction.amount().micros() > i64::MAX as u64 {
        return Err(Problem::field(Code::ShortBalance, "transaction", "nobody has so much"));
    }
    let until = transaction.valid_until();
    let tip = app.view.tip(holder(app.plan(), &sender));
    if until != Timestamp::ZERO && until < tip.ledger_time {
        return Err(Problem::field(Code::Expired, "transaction", "its time is over"));
    }
    Ok(IdentifiedTransaction::new(app.ledger.chain(), transaction))
}

/// Whether certified state already excludes it: better told now than by the committee.
pub async fn check_state(app: &App, signed: &IdentifiedTransaction) -> Result<(), Problem> {
    let sql = "SELECT state FROM transactions WHERE txid = $1";
    if app.db.read_one(sql, &[Value::text(signed.txid.to_string())]).await?.is_some() {
        return Ok(());
    }
    let Some((sender, sequence)) = signed.transaction.debit() else { return Ok(()) };
    let Some(account) = app.view.account(&sender) else { return Ok(()) };
    if sequence < account.state.next_sequence {
        let why = format!("the account's next sequence is {}", account.state.next_sequence);
        return Err(Problem::field(Code::SequenceUsed, "transaction", why));
    }
    let next = sequence == account.state.next_sequence;
    if next && signed.transaction.amount() > account.state.balance {
        let why = format!("the balance is {}", account.state.balance);
        return Err(Problem::field(Code::ShortBalance, "transaction", why));
    }
    Ok(())
}

/// Puts a signed transaction into the outbox, within a transaction of the store.
pub async fn enter(
    app: &App,
    tx: &mut Tx,
    user: &str,
    signed: &IdentifiedTransaction,
    purpose: Option<(Purpose, &str)>,
) -> Result<(), StoreError> {
    let now = app.clock.now_us();
    let (sender, _) = signed.transaction.debit().expect("users sign payments and redeems");
    let committee = holder(app.plan(), &sender);
    let origin = Origin { submitter: Some(user), purpose, submitted_us: Some(now), order_us: now, committee };
    insert(tx, &signed.txid, &signed.transaction, &origin).await?;
    // one that a certified block told of before gets its purpose now
    let sql = "UPDATE transactions SET purpose = $2, purpose_id = $3, submitter = COALESCE(submitter, $4) \
               WHERE txid = $1 AND purpose IS NULL";
    let (name, id) = purpose.map_or((None, None), |(purpose, id)| (Some(purpose.name()), Some(id)));
    let arguments =
        [Value::text(signed.txid.to_string()), Value::opt_text(name), Value::opt_text(id), Value::text(user)];
    tx.write(sql, &arguments).await.map(|_| ())
}

/// The whole of it: enter, and on its way.
pub async fn submit(
    app: &App,
    user: &str,
    signed: IdentifiedTransaction,
    purpose: Option<(Purpose, &str)>,
) -> Result<(), StoreError> {
    let mut tx = app.db.begin().await?;
    enter(app, &mut tx, user, &signed, purpose).await?;
    tx.commit().await?;
    bring(app, signed);
    Ok(())
}

/// What stands in the outbox sets out for the ledger.
pub fn bring(app: &App, signed: IdentifiedTransaction) {
    app.hub.tell([Change::Transaction(signed.txid)]);
    app.ledger.submit(signed);
}

/// A transaction, and who handed it in.
pub async fn get(app: &App, txid: &str) -> Result<Option<(Payment, Option<String>)>, StoreError> {
    let row = app.db.read_one(select!("txid = $1"), &[Value::text(txid)]).await?;
    Ok(row.map(|row| (shown(&row), row.opt_text(18).map(str::to_owned))))
}

/// Whether a transaction is a user's: by key, or handed in.
pub fn is_of(payment: &Payment, submitter: Option<&str>, user: &str, key: Option<&str>) -> bool {
    let party = key.is_some() && (payment.sender.as_deref() == key || payment.recipient.as_deref() == key);
    party || submitter == Some(user)
}

/// The user's key.
pub fn key_of(user: &crate::users::User) -> Result<PublicKey, Problem> {
    let key = user.public_key.as_deref().and_then(stored_key);
    key.ok_or_else(|| Problem::new(Code::NoKey, "make a wallet first: this user has no key yet"))
}
