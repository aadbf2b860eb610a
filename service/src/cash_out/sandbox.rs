//! A bank that only plays: what happens follows from the IBAN. It keeps its payouts in a table of its own.

use super::bank::{BankError, BankGateway, PayoutOrder, PayoutStatus};
use crate::clock::Clock;
use crate::db::{Db, StoreError, Value};
use crate::ledger::port::Later;

/// Payouts to this account are refused.
pub const IBAN_REFUSED: &str = "GB33BUKB20201555555555";
/// Payouts to this account take a while.
pub const IBAN_SLOW: &str = "NL91ABNA0417164300";
/// How long.
const SLOW_US: u64 = 3_000_000;

/// The sandbox.
pub struct SandboxBank {
    /// Where the payouts stand.
    pub db: Db,
    /// The time.
    pub clock: Clock,
}

impl SandboxBank {
    async fn order(&self, order: PayoutOrder<'_>) -> Result<PayoutStatus, StoreError> {
        let now = self.clock.now_us();
        let (state, reason, due) = match order.iban {
            IBAN_REFUSED => ("rejected", Some("AC04: the account is closed (sandbox)"), now),
            IBAN_SLOW => ("pending", None, now + SLOW_US),
            _ => ("paid", None, now),
        };
        let sql = "INSERT INTO sandbox_payouts (payout_key, cents, iban, state, reason, at_us, due_us) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (payout_key) DO NOTHING";
        let arguments = [
            Value::text(order.key),
            Value::count(order.cents),
            Value::text(order.iban),
            Value::text(state),
            Value::opt_text(reason),
            Value::count(now),
            Value::count(due),
        ];
        self.db.write(sql, &arguments).await?;
        let sql =
            "UPDATE sandbox_payouts SET state = 'paid' WHERE payout_key = $1 AND state = 'pending' AND due_us <= $2";
        self.db.write(sql, &[Value::text(order.key), Value::count(now)]).await?;
        let sql = "SELECT state, reason FROM sandbox_payouts WHERE payout_key = $1";
        let row = self.db.read_one(sql, &[Value::text(order.key)]).await?.expect("inserted above, never deleted");
        Ok(match row.text(0) {
            "paid" => PayoutStatus::Paid,
            "rejected" => PayoutStatus::Rejected { reason: row.text(1).to_owned() },
            _ => PayoutStatus::Pending,
        })
    }

    /// Cents paid out so far.
    pub async fn paid(db: &Db) -> Result<u64, StoreError> {
        let sql = "SELECT CAST(COALESCE(SUM(cents), 0) AS BIGINT) FROM sandbox_payouts WHERE state = 'paid'";
        Ok(db.read_one(sql, &[]).await?.expect("sums have a row").count(0))
    }
}

impl BankGateway for SandboxBank {
    fn pay<'a>(&'a self, order: PayoutOrder<'a>) -> Later<'a, Result<PayoutStatus, BankError>> {
        Box::pin(async move { self.order(order).await.map_err(|error| BankError(error.to_string())) })
    }
}
