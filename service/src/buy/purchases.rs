//! The workflow of a purchase: charge → mint → credited, or a refund.
//!
//! Guarantees, whatever is killed between any two steps and whatever is told twice: a captured charge gets
//! exactly one mint, or is refunded and gets none.
//! - The row is there before the gateway is asked; its id is the gateway's key.
//! - An answer that was lost is asked for with `settle`, which excludes a later capture.
//! - The mint is signed and put into the outbox in the transaction that leaves `captured`; a refund starts in
//!   the transaction that leaves `captured` too, so there is one or the other. Once signed, a mint is never
//!   taken back: it is brought to the ledger until it is certified.
//! - The mint's deposit reference is made from purchase and charge, so the ledger itself refuses a second one.
//!
//! Every change of state names the state it leaves; who comes second changes nothing.

use std::sync::Arc;

use serde::Serialize;
use shardpay_crypto::shard_of_deposit;
use shardpay_types::{Amount, PublicKey, Transaction};

use super::card::Card;
use super::gateway::{CardGateway, ChargeOutcome, NOT_CHARGED};
use crate::clock::Clock;
use crate::codec::{Purpose, decimal, stored_key, words};
use crate::db::{Db, Row, StoreError, Tx, Value};
use crate::hub::{Change, Hub};
use crate::issuer::Issuer;
use crate::ledger::apply::{Origin, insert};
use crate::ledger::{Ledger, View};

/// How long the gateway has for an answer before it is asked what became of the charge.
const ANSWER_US: u64 = 20_000_000;
/// How long the holder has to answer a challenge.
const CHALLENGE_US: u64 = 900_000_000;
/// Pause before a step that failed is tried again.
const RETRY_US: u64 = 1_000_000;

words! {
    /// How a purchase stands.
    PurchaseState {
        /// The gateway was, or will be, asked.
        Charging = "charging",
        /// The holder must answer.
        Challenge = "challenge",
        /// The money is here, nothing is minted.
        Captured = "captured",
        /// The mint is signed.
        Minting = "minting",
        /// The coins are in the account.
        Done = "done",
        /// Nothing was charged.
        Declined = "declined",
        /// The money goes back.
        Refunding = "refunding",
        /// It went back.
        Refunded = "refunded",
    }
}

impl PurchaseState {
    /// Whether nothing more happens.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Declined | Self::Refunded)
    }
}

/// A purchase as users see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Purchase {
    /// Its id.
    pub id: String,
    /// How many coins, and euros.
    pub amount: String,
    /// How it stands.
    pub state: &'static str,
    /// Whether nothing more happens.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Why it failed, or `disputed`.
    pub error: Option<String>,
    /// What may be shown of the card.
    pub card: ShownCard,
    /// What the holder is asked.
    pub challenge: Option<Prompt>,
    /// The mint.
    pub txid: Option<String>,
    /// When it began.
    pub created_us: u64,
    /// When it changed last.
    pub updated_us: u64,
}

/// What may be shown of a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShownCard {
    /// Its network.
    pub brand: String,
    /// Its last digits.
    pub last4: String,
}

/// What a holder is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prompt {
    /// In words.
    pub prompt: String,
}

/// What a purchase is begun with.
#[derive(Debug, Clone, Copy)]
pub struct NewPurchase<'a> {
    /// Its id, made from user and idempotency key.
    pub id: &'a str,
    /// Who buys.
    pub user: &'a str,
    /// Whom the coins are for.
    pub recipient: PublicKey,
    /// How many.
    pub amount: Amount,
}

/// The workflow.
#[derive(Clone)]
pub struct Purchases {
    /// The store.
    pub db: Db,
    /// Who charges.
    pub gateway: Arc<dyn CardGateway>,
    /// Who mints.
    pub issuer: Arc<Issuer>,
    /// Where mints go.
    pub ledger: Arc<dyn Ledger>,
    /// What is known of the ledger.
    pub view: Arc<View>,
    /// Who waits.
    pub hub: Hub,
    /// The time.
    pub clock: Clock,
    /// Most coins that may ever be minted against charges, in micro-units.
    pub mint_limit: u64,
}

/// A purchase's columns, as [`shown`] reads them.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, amount, state, error, brand, last4, prompt, txid, created_us, updated_us, disputed ",
            "FROM purchases WHERE ",
            $rest
        )
    };
}

fn shown(row: &Row) -> Purchase {
    let state = PurchaseState::parse(row.text(2)).expect("states are written by this module");
    let error = if row.int(10) == 0 { row.opt_text(3).map(str::to_owned) } else { Some("disputed".to_owned()) };
    Purchase {
        id: row.text(0).to_owned(),
        amount: decimal(row.count(1)),
        state: state.name(),
        is_final: state.is_final(),
        error,
        card: ShownCard { brand: row.text(4).to_owned(), last4: row.text(5).to_owned() },
        challenge: row
            .opt_text(6)
            .filter(|_| state == PurchaseState::Challenge)
            .map(|prompt| Prompt { prompt: prompt.to_owned() }),
        txid: row.opt_text(7).map(str::to_owned),
        created_us: row.count(8),
        updated_us: row.count(9),
    }
}

impl Purchases {
    /// A user's purchase.
    pub async fn get(&self, user: &str, id: &str) -> Result<Option<Purchase>, StoreError> {
        let sql = select!("id = $1 AND user_id = $2");
        let row = self.db.read_one(sql, &[Value::text(id), Value::text(user)]).await?;
        Ok(row.as_ref().map(shown))
    }

    /// A user's purchases, newest first, older than the one a cursor names.
    pub async fn list(&self, user: &str, before: (u64, &str), limit: u64) -> Result<Vec<Purchase>, StoreError> {
        let sql = select!("user_id = $1 AND (created_us, id) < ($2, $3) ORDER BY created_us DESC, id DESC LIMIT $4");
        let arguments = [Value::text(user), Value::count(before.0), Value::text(before.1), Value::count(limit)];
        Ok(self.db.read(sql, &arguments).await?.iter().map(shown).collect())
    }

    /// Begins a purchase and charges the card. The same id again changes nothing.
    pub async fn begin(&self, new: NewPurchase<'_>, card: &Card) -> Result<(), StoreError> {
        let now = self.clock.now_us();
        let sql = "INSERT INTO purchases (id, user_id, recipient, amount, state, brand, last4, created_us, updated_us, \
                   due_us, disputed) VALUES ($1, $2, $3, $4, 'charging', $5, $6, $7, $7, $8, 0) \
                   ON CONFLICT (id) DO NOTHING";
        let arguments = [
            Value::text(new.id),
            Value::text(new.user),
            Value::text(new.recipient.to_string()),
            Value::count(new.amount.micros()),
            Value::text(card.brand()),
            Value::text(card.last4()),
            Value::count(now),
            Value::count(now + ANSWER_US),
        ];
        if self.db.write(sql, &arguments).await? == 0 {
            return Ok(());
        }
        let cents = new.amount.micros() / crate::codec::MICROS_PER_CENT;
        match self.gateway.charge(new.id, cents, card).await {
            Ok(outcome) => self.charged(new.id, outcome).await?,
            Err(error) => {
                tracing::warn!(%error, purchase = new.id, "asking what became of the charge");
                self.postpone(new.id, 0).await?;
            }
        }
        self.advance(new.id).await
    }

    /// The holder's answer to a challenge. False when none is awaited.
    pub async fn answer(&self, id: &str, code: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE purchases SET state = 'charging', due_us = $2 WHERE id = $1 AND state = 'challenge'";
        let due = self.clock.now_us() + ANSWER_US;
        if self.db.write(sql, &[Value::text(id), Value::count(due)]).await? == 0 {
            return Ok(false);
        }
        match self.gateway.answer(id, code).await {
            Ok(outcome) => self.charged(id, outcome).await?,
            Err(error) => {
                tracing::warn!(%error, purchase = id, "asking what became of the charge");
                self.postpone(id, 0).await?;
            }
        }
        self.advance(id).await?;
        Ok(true)
    }

    /// What the gateway says of a charge, now or in an event, once or often.
    pub async fn charged(&self, id: &str, outcome: ChargeOutcome) -> Result<(), StoreError> {
        let now = self.clock.now_us();
        let (id_, time) = (Value::text(id), Value::count(now));
        match outcome {
            ChargeOutcome::Captured { charge_id } => {
                // a capture after it was called off cannot be: the gateway promised. If it breaks its word
                // nobody loses money either: it is given back.
                let sql = "UPDATE purchases SET charge_id = $2, updated_us = $3, due_us = $3, prompt = NULL, \
                           state = CASE WHEN state = 'declined' THEN 'refunding' ELSE 'captured' END \
                           WHERE id = $1 AND state IN ('charging', 'challenge', 'declined')";
                self.db.write(sql, &[id_, Value::text(charge_id), time]).await?;
            }
            ChargeOutcome::Declined(reason) => {
                let sql = "UPDATE purchases SET state = 'declined', error = $2, updated_us = $3, prompt = NULL \
                           WHERE id = $1 AND state IN ('charging', 'challenge')";
                self.db.write(sql, &[id_, Value::text(reason), time]).await?;
            }
            ChargeOutcome::Challenge { prompt } => {
                let sql = "UPDATE purchases SET state = 'challenge', prompt = $2, updated_us = $3, due_us = $4 \
                           WHERE id = $1 AND state = 'charging'";
                self.db.write(sql, &[id_, Value::text(prompt), time, Value::count(now + CHALLENGE_US)]).await?;
            }
        }
        self.hub.tell([Change::Purchase(id.to_owned())]);
        Ok(())
    }

    /// The card's holder took the money back: it shows in the books, the coins stay.
    pub async fn disputed(&self, id: &str) -> Result<(), StoreError> {
        let sql = "UPDATE purchases SET disputed = 1, updated_us = $2 WHERE id = $1 AND disputed = 0";
        self.db.write(sql, &[Value::text(id), Value::count(self.clock.now_us())]).await?;
        self.hub.tell([Change::Purchase(id.to_owned())]);
        Ok(())
    }

    /// Advances all purchases that are due. A step that fails is tried again later.
    pub async fn advance_due(&self) -> Result<(), StoreError> {
        let sql = "SELECT id FROM purchases WHERE state IN ('charging', 'challenge', 'captured', 'refunding') \
                   AND due_us <= $1 ORDER BY due_us LIMIT 200";
        for row in self.db.read(sql, &[Value::count(self.clock.now_us())]).await? {
            self.advance(row.text(0)).await?;
        }
        Ok(())
    }

    /// Carries out the steps that are due of one purchase.
    pub async fn advance(&self, id: &str) -> Result<(), StoreError> {
        loop {
            let sql = "SELECT state, due_us FROM purchases WHERE id = $1";
            let Some(row) = self.db.read_one(sql, &[Value::text(id)]).await? else { return Ok(()) };
            let due = row.count(1) <= self.clock.now_us();
            let on = match PurchaseState::parse(row.text(0)) {
                Some(PurchaseState::Charging | PurchaseState::Challenge) if due => self.settle(id).await?,
                Some(PurchaseState::Captured) => self.mint(id).await?,
                Some(PurchaseState::Refunding) if due => self.refund(id).await?,
                _ => false,
            };
            if !on {
                return Ok(());
            }
        }
    }

    async fn settle(&self, id: &str) -> Result<bool, StoreError> {
        match self.gateway.settle(id).await {
            Ok(ChargeOutcome::Challenge { .. }) => {
                self.charged(id, ChargeOutcome::Declined(NOT_CHARGED)).await?;
                Ok(true)
            }
            Ok(outcome) => {
                self.charged(id, outcome).await?;
                Ok(true)
            }
            Err(error) => {
                tracing::warn!(%error, purchase = id, "the gateway is asked again");
                self.postpone(id, RETRY_US).await?;
                Ok(false)
            }
        }
    }

    /// Signs the mint, or turns to a refund when the limit is reached: one transaction.
    async fn mint(&self, id: &str) -> Result<bool, StoreError> {
        let now = self.clock.now_us();
        let mut tx = self.db.begin().await?;
        let sql = "SELECT recipient, amount, charge_id, user_id FROM purchases WHERE id = $1 AND state = 'captured'";
        let Some(row) = tx.read_one(sql, &[Value::text(id)]).await? else { return Ok(false) };
        let recipient = stored_key(row.text(0)).expect("keys are written by this module");
        let (amount, user) = (row.count(1), row.text(3).to_owned());
        let mint = self.issuer.purchase(recipient, Amount::from_micros(amount), id, row.text(2));
        let sql = "UPDATE mint_limit SET used = used + $1 WHERE id = 1 AND used + $1 <= $2";
        let room = self.room_in_committee(&mint.transaction, amount)
            && tx.write(sql, &[Value::count(amount), Value::count(self.mint_limit)]).await? > 0;
        let txid = mint.txid.to_string();
        let (state, error, minted) =
            if room { ("minting", None, Some(txid)) } else { ("refunding", Some("mint_limit"), None) };
        let sql = "UPDATE purchases SET state = $2, error = $3, txid = $4, updated_us = $5, due_us = $5 \
                   WHERE id = $1 AND state = 'captured'";
        let arguments =
            [Value::text(id), Value::text(state), Value::opt_text(error), Value::opt_text(minted), Value::count(now)];
        if tx.write(sql, &arguments).await? == 0 {
            // another instance was faster; dropping the transaction gives the limit back
            return Ok(false);
        }
        if room {
            let committee = self.ledger.genesis().owner(shard_of_deposit(&deposit(&mint.transaction)));
            let purpose = Some((Purpose::Purchase, id));
            let origin = Origin { submitter: Some(&user), purpose, submitted_us: Some(now), order_us: now, committee };
            insert(&mut tx, &mint.txid, &mint.transaction, &origin).await?;
        }
        tx.commit().await?;
        if room {
            self.ledger.submit(mint);
        }
        self.hub.tell([Change::Purchase(id.to_owned())]);
        Ok(!room)
    }

    /// A committee's cap on minted coins, as far as it is known; the ledger enforces it.
    fn room_in_committee(&self, mint: &Transaction, amount: u64) -> bool {
        let plan = self.ledger.genesis();
        let tip = self.view.tip(plan.owner(shard_of_deposit(&deposit(mint))));
        tip.totals.minted.micros() + u128::from(amount) <= u128::from(plan.constants.mint_cap.micros())
    }

    async fn refund(&self, id: &str) -> Result<bool, StoreError> {
        if let Err(error) = self.gateway.refund(id).await {
            tracing::warn!(%error, purchase = id, "the refund is tried again");
            self.postpone(id, RETRY_US).await?;
            return Ok(false);
        }
        let sql = "UPDATE purchases SET state = 'refunded', updated_us = $2 WHERE id = $1 AND state = 'refunding'";
        self.db.write(sql, &[Value::text(id), Value::count(self.clock.now_us())]).await?;
        self.hub.tell([Change::Purchase(id.to_owned())]);
        Ok(false)
    }

    async fn postpone(&self, id: &str, by_us: u64) -> Result<(), StoreError> {
        let sql = "UPDATE purchases SET due_us = $2 WHERE id = $1 AND state IN ('charging', 'challenge', 'refunding')";
        self.db.write(sql, &[Value::text(id), Value::count(self.clock.now_us() + by_us)]).await.map(|_| ())
    }
}

fn deposit(transaction: &Transaction) -> shardpay_types::DepositRef {
    match transaction {
        Transaction::Mint(mint) => mint.body.deposit_ref,
        Transaction::Payment(_) | Transaction::Redeem(_) => unreachable!("the issuer signs mints"),
    }
}

/// The minted coins are in the buyer's account, by a certified block.
pub(crate) async fn mint_credited(
    tx: &mut Tx,
    id: &str,
    now_us: u64,
    changes: &mut Vec<Change>,
) -> Result<(), StoreError> {
    let sql = "UPDATE purchases SET state = 'done', updated_us = $2 WHERE id = $1 AND state = 'minting'";
    if tx.write(sql, &[Value::text(id), Value::count(now_us)]).await? > 0 {
        changes.push(Change::Purchase(id.to_owned()));
    }
    Ok(())
}
