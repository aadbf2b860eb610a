//! A user's history: pages, filters, CSV.

use serde::Serialize;

use crate::app::App;
use crate::db::{Row, StoreError, Value};
use crate::payments::{Payment, select, shown};

/// Most lines of a CSV export.
pub const CSV_LINES_MAX: u64 = 10_000;

/// Which entries are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// `in`, `out`, or both.
    pub direction: Option<Direction>,
    /// With this reference, hexadecimal.
    pub reference: Option<String>,
    /// Not older.
    pub from_us: u64,
    /// Not younger.
    pub to_us: Option<u64>,
}

/// Seen from the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Coins came.
    In,
    /// Coins went.
    Out,
}

/// A line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The transaction.
    pub txid: String,
    /// `in` or `out`.
    pub direction: &'static str,
    /// `payment`, `redeem` or `mint`.
    pub kind: &'static str,
    /// The other side; nobody for mints and redeems.
    pub counterparty: Option<String>,
    /// The same as an address.
    pub counterparty_address: Option<String>,
    /// The same as a name.
    pub counterparty_name: Option<String>,
    /// How much.
    pub amount: String,
    /// The payer's note.
    pub reference: Option<String>,
    /// The same, readable.
    pub reference_text: Option<String>,
    /// How it stands.
    pub state: &'static str,
    /// When it came in, or its ledger time.
    pub at_us: u64,
    /// The committee that decides.
    pub committee: u64,
    /// Where it stands there.
    pub height: Option<u64>,
}

fn entry(payment: Payment, at_us: u64, key: &str) -> Entry {
    let out = payment.sender.as_deref() == Some(key);
    let (counterparty, counterparty_address, counterparty_name) = if out {
        (payment.recipient, payment.recipient_address, payment.recipient_name)
    } else {
        (payment.sender, payment.sender_address, payment.sender_name)
    };
    Entry {
        txid: payment.txid,
        direction: if out { "out" } else { "in" },
        kind: payment.kind,
        counterparty,
        counterparty_address,
        counterparty_name,
        amount: payment.amount,
        reference: payment.reference,
        reference_text: payment.reference_text,
        state: payment.state,
        at_us,
        committee: payment.committee,
        height: payment.height,
    }
}

/// Entries of an account, newest first, older than the one a cursor names.
pub async fn entries(
    app: &App,
    key: &str,
    filter: &Filter,
    before: (u64, &str),
    limit: u64,
) -> Result<Vec<Entry>, StoreError> {
    let sql = select!(
        "((sender = $1 AND $2 <> 'in') OR (recipient = $1 AND $2 <> 'out' AND (sender IS NULL OR sender <> $1 OR $2 = 'in'))) \
         AND ($3 = '' OR reference = $3) AND order_us >= $4 AND order_us <= $5 AND (order_us, txid) < ($6, $7) \
         ORDER BY order_us DESC, txid DESC LIMIT $8"
    );
    let direction = match filter.direction {
        None => "",
        Some(Direction::In) => "in",
        Some(Direction::Out) => "out",
    };
    let arguments = [
        Value::text(key),
        Value::text(direction),
        Value::text(filter.reference.clone().unwrap_or_default()),
        Value::count(filter.from_us.min(i64::MAX as u64)),
        Value::count(filter.to_us.unwrap_or(u64::MAX).min(i64::MAX as u64)),
        Value::count(before.0),
        Value::text(before.1),
        Value::count(limit),
    ];
    let rows = app.db.read(sql, &arguments).await?;
    Ok(rows.iter().map(|row: &Row| entry(shown(row), row.count(19), key)).collect())
}

/// Entries as CSV. Cells that a spreadsheet would take for a formula get an apostrophe in front.
pub fn csv(entries: &[Entry]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let safe = |text: Option<&str>| {
        let text = text.unwrap_or_default();
        if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
    };
    let head = ["time", "direction", "kind", "amount", "counterparty", "name", "reference", "state", "txid"];
    writer.write_record(head).expect("writing into memory");
    for entry in entries {
        let time = jiff::Timestamp::from_microsecond(i64::try_from(entry.at_us).unwrap_or(i64::MAX));
        let record = [
            time.map(|time| time.to_string()).unwrap_or_default(),
            entry.direction.to_owned(),
            entry.kind.to_owned(),
            entry.amount.clone(),
            entry.counterparty_address.clone().unwrap_or_default(),
            safe(entry.counterparty_name.as_deref()),
            safe(entry.reference_text.as_deref()),
            entry.state.to_owned(),
            entry.txid.clone(),
        ];
        writer.write_record(&record).expect("writing into memory");
    }
    writer.into_inner().expect("writing into memory")
}
