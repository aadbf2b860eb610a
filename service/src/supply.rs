//! Coins and euros: what the committees' certified headers say, and what the bank's books say.
//!
//! The committees' side is worked out by `shardpay-audit` from the totals in the last certified header applied
//! of each committee. All figures are read in one transaction, so that a mint is either in the headers and its
//! purchase done, or neither.

use serde::Serialize;
use shardpay_audit::Supply as Audited;

use crate::app::App;
use crate::codec::{MICROS_PER_CENT, signed_decimal};
use crate::db::StoreError;
use crate::ledger::totals;

/// A committee's books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommitteeSupply {
    /// Which.
    pub committee: u64,
    /// After this height.
    pub height: u64,
    /// Its ledger time.
    pub ledger_time_us: u64,
    /// Coins in accounts.
    pub balances: String,
    /// Coins redeemed.
    pub burned: String,
    /// Coins sent to other committees, ever.
    pub sent: String,
    /// Coins received from other committees, ever.
    pub received: String,
    /// Coins that could not be credited.
    pub suspense: String,
    /// Coins created.
    pub minted: String,
}

/// The whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Supply {
    /// By committee.
    pub committees: Vec<CommitteeSupply>,
    /// Coins ever created.
    pub minted: String,
    /// Coins ever redeemed.
    pub burned: String,
    /// Coins that exist: in accounts, in flight and in suspense.
    pub in_circulation: String,
    /// Coins on their way between committees.
    pub in_flight: String,
    /// What the sandbox bank holds.
    pub bank_balance: String,
    /// Charged, and neither minted nor given back.
    pub captured_not_minted: String,
    /// Redeemed, and neither paid out nor given back.
    pub redeemed_not_paid: String,
    /// Charges that the cards' holders took back.
    pub charged_back: String,
    /// Coins created by the issuer's key without this service.
    pub minted_elsewhere: String,
    /// Whether bank balance + charged back = circulation + captured not minted + redeemed not paid.
    pub agrees: bool,
    /// Left side less right side.
    pub difference: String,
}

fn micros(cents: u64) -> i128 {
    i128::from(cents) * i128::from(MICROS_PER_CENT)
}

/// Works everything out.
pub async fn supply(app: &App) -> Result<Supply, StoreError> {
    let mut tx = app.db.begin().await?;
    let sql = "SELECT committee, height, ledger_us, balances, burned, sent, suspense, minted, received FROM cursors \
               ORDER BY committee";
    let cursors = tx.read(sql, &[]).await?;
    // a certified mint made its coins, though they may be on their way to another committee yet
    let sql = "SELECT \
        (SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM purchases WHERE state IN ('captured', 'minting', 'refunding') \
           AND NOT EXISTS (SELECT 1 FROM transactions AS mint WHERE mint.txid = purchases.txid AND mint.state IN ('certified', 'credited'))), \
        (SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM cash_outs WHERE state IN ('redeemed', 'paying', 'returning') \
           AND NOT EXISTS (SELECT 1 FROM transactions AS mint WHERE mint.txid = cash_outs.return_txid AND mint.state IN ('certified', 'credited'))), \
        (SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM transactions \
           WHERE purpose IN ('purchase', 'return') AND state IN ('certified', 'credited')), \
        (SELECT CAST(COALESCE(SUM(cents), 0) AS BIGINT) FROM sandbox_charges WHERE state = 'captured'), \
        (SELECT CAST(COALESCE(SUM(cents), 0) AS BIGINT) FROM sandbox_charges WHERE state = 'captured' AND disputed = 2), \
        (SELECT CAST(COALESCE(SUM(cents), 0) AS BIGINT) FROM sandbox_payouts WHERE state = 'paid')";
    let sums = tx.read_one(sql, &[]).await?.expect("sums have a row");
    tx.commit().await?;
    let books: Vec<_> = cursors.iter().map(|row| totals(row, 3)).collect();
    let audited = Audited::of(&books);
    let of = |column: usize| i128::from(sums.int(column));
    let (captured, redeemed, minted) = (of(0), of(1), of(2));
    let (charged, charged_back, paid) = (micros(sums.count(3)), micros(sums.count(4)), micros(sums.count(5)));
    let bank = charged - charged_back - paid;
    let difference = bank + charged_back - (audited.in_circulation + captured + redeemed);
    let committees = cursors.iter().zip(&books).map(|(row, books)| {
        let text = |total: shardpay_types::Total| signed_decimal(i128::try_from(total.micros()).unwrap_or(i128::MAX));
        CommitteeSupply {
            committee: row.count(0),
            height: row.count(1),
            ledger_time_us: row.count(2),
            balances: text(books.balances),
            burned: text(books.burned),
            sent: text(books.sent),
            received: text(books.received),
            suspense: text(books.suspense),
            minted: text(books.minted),
        }
    });
    Ok(Supply {
        committees: committees.collect(),
        minted: signed_decimal(audited.minted),
        burned: signed_decimal(audited.burned),
        in_circulation: signed_decimal(audited.in_circulation),
        in_flight: signed_decimal(audited.in_flight),
        bank_balance: signed_decimal(bank),
        captured_not_minted: signed_decimal(captured),
        redeemed_not_paid: signed_decimal(redeemed),
        charged_back: signed_decimal(charged_back),
        minted_elsewhere: signed_decimal(audited.minted - minted),
        agrees: audited.conserved && difference == 0,
        difference: signed_decimal(difference),
    })
}
