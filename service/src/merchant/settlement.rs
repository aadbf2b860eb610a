//! What a merchant took in on a day (UTC, by the ledger's time).

use serde::Serialize;

use crate::codec::{address_of, decimal, signed_decimal};
use crate::db::{Db, Row, StoreError, Value};

/// A line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettlementItem {
    /// The payment.
    pub txid: String,
    /// The intent.
    pub intent: String,
    /// The shop's name for the order.
    pub order_id: String,
    /// `payment` or `refund`.
    pub kind: &'static str,
    /// Payer, or payee of a refund.
    pub party_address: Option<String>,
    /// How much.
    pub amount: String,
    /// When it was final.
    pub at_us: u64,
}

/// A day's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settlement {
    /// The day.
    pub date: String,
    /// Number of payments.
    pub payments: u64,
    /// Their sum.
    pub paid: String,
    /// Number of refunds.
    pub refunds: u64,
    /// Their sum.
    pub refunded: String,
    /// The difference.
    pub net: String,
    /// Each of them, oldest first, at most 10,000.
    pub items: Vec<SettlementItem>,
}

/// First microsecond of a day and of the next.
pub fn day_bounds(text: &str) -> Option<(u64, u64)> {
    let date: jiff::civil::Date = text.parse().ok()?;
    if date.to_string() != text {
        return None;
    }
    let start = |date: jiff::civil::Date| {
        let time = jiff::tz::TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
        u64::try_from(time.as_microsecond()).ok()
    };
    Some((start(date)?, start(date.tomorrow().ok()?)?))
}

/// The report of a day.
pub async fn settlement(db: &Db, user: &str, date: &str, (from, to): (u64, u64)) -> Result<Settlement, StoreError> {
    let sql = "SELECT intent_payments.txid, intents.id, intents.order_id, direction, party, intent_payments.amount, at_us \
               FROM intent_payments JOIN intents ON intents.id = intent_payments.intent_id \
               WHERE intents.user_id = $1 AND at_us >= $2 AND at_us < $3 ORDER BY at_us, intent_payments.txid LIMIT 10000";
    let of_day = [Value::text(user), Value::count(from), Value::count(to)];
    let rows = db.read(sql, &of_day).await?;
    // the list has an end, the sums have none
    let sql = "SELECT CAST(COALESCE(SUM(CASE WHEN direction = 'in' THEN 1 ELSE 0 END), 0) AS BIGINT), \
               CAST(COALESCE(SUM(CASE WHEN direction = 'in' THEN intent_payments.amount ELSE 0 END), 0) AS BIGINT), \
               CAST(COALESCE(SUM(CASE WHEN direction = 'in' THEN 0 ELSE 1 END), 0) AS BIGINT), \
               CAST(COALESCE(SUM(CASE WHEN direction = 'in' THEN 0 ELSE intent_payments.amount END), 0) AS BIGINT) \
               FROM intent_payments JOIN intents ON intents.id = intent_payments.intent_id \
               WHERE intents.user_id = $1 AND at_us >= $2 AND at_us < $3";
    let sums = db.read_one(sql, &of_day).await?.expect("sums have a row");
    let item = |row: &Row| SettlementItem {
        txid: row.text(0).to_owned(),
        intent: row.text(1).to_owned(),
        order_id: row.text(2).to_owned(),
        kind: if row.text(3) == "in" { "payment" } else { "refund" },
        party_address: address_of(row.text(4)),
        amount: decimal(row.count(5)),
        at_us: row.count(6),
    };
    let (payments, paid) = (sums.count(0), sums.count(1));
    let (refunds, refunded) = (sums.count(2), sums.count(3));
    Ok(Settlement {
        date: date.to_owned(),
        payments,
        paid: decimal(paid),
        refunds,
        refunded: decimal(refunded),
        net: signed_decimal(i128::from(paid) - i128::from(refunded)),
        items: rows.iter().map(item).collect(),
    })
}
