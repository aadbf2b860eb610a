//! A gateway that only plays: outcomes follow from test numbers. It keeps its charges in tables of its own, as
//! a real gateway would in its own house, and never sees more of a card than the last request needs.

use crate::clock::Clock;
use crate::db::{Db, StoreError, Value};
use crate::ledger::port::Later;
use crate::secret::random_hex;

use super::card::Card;
use super::gateway::{CardGateway, ChargeOutcome, GatewayError, NOT_CHARGED};

/// The right answer to a challenge.
pub const CHALLENGE_CODE: &str = "123456";

/// The sandbox.
pub struct SandboxCards {
    /// Where the charges stand.
    pub db: Db,
    /// The time.
    pub clock: Clock,
}

fn unknown(error: StoreError) -> GatewayError {
    GatewayError(error.to_string())
}

impl SandboxCards {
    /// Enters a charge under its key, unless the key has one.
    async fn enter(
        &self,
        key: &str,
        cents: u64,
        (state, note): (&str, &str),
        disputed: bool,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO sandbox_charges (charge_key, charge_id, cents, state, note, at_us, disputed) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (charge_key) DO NOTHING";
        let arguments = [
            Value::text(key),
            Value::text(format!("ch_{}", random_hex::<12>())),
            Value::count(cents),
            Value::text(state),
            Value::text(note),
            Value::count(self.clock.now_us()),
            Value::int(i64::from(disputed)),
        ];
        self.db.write(sql, &arguments).await.map(|_| ())
    }

    async fn look(&self, key: &str) -> Result<ChargeOutcome, StoreError> {
        let sql = "SELECT state, charge_id, note FROM sandbox_charges WHERE charge_key = $1";
        let Some(row) = self.db.read_one(sql, &[Value::text(key)]).await? else {
            return Ok(ChargeOutcome::Declined(NOT_CHARGED));
        };
        Ok(match row.text(0) {
            "captured" | "refunded" => ChargeOutcome::Captured { charge_id: row.text(1).to_owned() },
            "challenge" => ChargeOutcome::Challenge {
                prompt: "Your bank wants to be sure it is you: enter the code it sent (123456 in the sandbox)."
                    .to_owned(),
            },
            _ => ChargeOutcome::Declined(match row.text(2) {
                "card_declined" => "card_declined",
                "insufficient_funds" => "insufficient_funds",
                "challenge_failed" => "challenge_failed",
                _ => NOT_CHARGED,
            }),
        })
    }

    /// Charges captured and not refunded, charges disputed: in cents.
    pub async fn balance(db: &Db) -> Result<(u64, u64), StoreError> {
        let sql = "SELECT CAST(COALESCE(SUM(cents), 0) AS BIGINT), \
                   CAST(COALESCE(SUM(CASE WHEN disputed = 2 THEN cents ELSE 0 END), 0) AS BIGINT) \
                   FROM sandbox_charges WHERE state = 'captured'";
        let row = db.read_one(sql, &[]).await?.expect("sums have a row");
        Ok((row.count(0), row.count(1)))
    }

    /// Keys of the charges whose card's holder disputes them now.
    pub async fn disputes_due(&self, older_than_us: u64) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT charge_key FROM sandbox_charges WHERE disputed = 1 AND state = 'captured' AND at_us < $1";
        let rows = self.db.read(sql, &[Value::count(older_than_us)]).await?;
        Ok(rows.iter().map(|row| row.text(0).to_owned()).collect())
    }

    /// The charge is taken back: called when the service has noted it, so that a crash in between tells it again.
    pub async fn dispute(&self, key: &str) -> Result<(), StoreError> {
        let sql = "UPDATE sandbox_charges SET disputed = 2 WHERE charge_key = $1 AND disputed = 1";
        self.db.write(sql, &[Value::text(key)]).await.map(|_| ())
    }
}

impl CardGateway for SandboxCards {
    fn charge<'a>(
        &'a self,
        key: &'a str,
        cents: u64,
        card: &'a Card,
    ) -> Later<'a, Result<ChargeOutcome, GatewayError>> {
        Box::pin(async move {
            let (state, note) = match card.digits() {
                "4000000000000002" => ("declined", "card_declined"),
                "4000000000009995" => ("declined", "insufficient_funds"),
                "4000000000003220" => ("challenge", ""),
                _ => ("captured", ""),
            };
            let disputed = card.digits() == "4000000000000259";
            self.enter(key, cents, (state, note), disputed).await.map_err(unknown)?;
            if card.digits() == "4000000000006975" {
                return Err(GatewayError("timed out after charging (sandbox)".to_owned()));
            }
            self.look(key).await.map_err(unknown)
        })
    }

    fn answer<'a>(&'a self, key: &'a str, code: &'a str) -> Later<'a, Result<ChargeOutcome, GatewayError>> {
        Box::pin(async move {
            let (state, note) =
                if code == CHALLENGE_CODE { ("captured", "") } else { ("declined", "challenge_failed") };
            let sql = "UPDATE sandbox_charges SET state = $2, note = $3 WHERE charge_key = $1 AND state = 'challenge'";
            self.db.write(sql, &[Value::text(key), Value::text(state), Value::text(note)]).await.map_err(unknown)?;
            self.look(key).await.map_err(unknown)
        })
    }

    fn settle<'a>(&'a self, key: &'a str) -> Later<'a, Result<ChargeOutcome, GatewayError>> {
        Box::pin(async move {
            self.enter(key, 0, ("declined", NOT_CHARGED), false).await.map_err(unknown)?;
            let sql = "UPDATE sandbox_charges SET state = 'declined', note = 'not_charged' \
                       WHERE charge_key = $1 AND state = 'challenge'";
            self.db.write(sql, &[Value::text(key)]).await.map_err(unknown)?;
            self.look(key).await.map_err(unknown)
        })
    }

    fn refund<'a>(&'a self, key: &'a str) -> Later<'a, Result<(), GatewayError>> {
        Box::pin(async move {
            let sql = "UPDATE sandbox_charges SET state = 'refunded' WHERE charge_key = $1 AND state = 'captured'";
            self.db.write(sql, &[Value::text(key)]).await.map(|_| ()).map_err(unknown)
        })
    }
}
