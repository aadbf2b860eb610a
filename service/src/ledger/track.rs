//! Takes up a user's account: its certified state now, every later block, and its history until now.

use std::sync::Arc;
use std::time::Duration;

use shardpay_types::{AccountState, Height, PublicKey};

use super::apply::apply_leaves;
use super::facts::holder;
use super::port::{Ledger, LedgerError};
use super::view::{KnownAccount, View};
use crate::clock::Clock;
use crate::db::{Db, StoreError, Value};
use crate::hub::Hub;

/// How often members are asked before giving up; they may be a block behind the stream.
const ATTEMPTS_MAX: usize = 50;

/// Why an account cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum TrackError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Takes an account up. History is filled in behind, by a task of its own.
pub async fn track(
    (db, view, ledger): (&Db, &Arc<View>, &Arc<dyn Ledger>),
    hub: &Hub,
    clock: &Clock,
    key: PublicKey,
) -> Result<(), TrackError> {
    if view.tracks(&key) {
        return Ok(());
    }
    let taken = take_up((db, view, ledger), hub, clock, key).await;
    if taken.is_err() {
        view.forget(&key);
    }
    taken
}

async fn take_up(
    (db, view, ledger): (&Db, &Arc<View>, &Arc<dyn Ledger>),
    hub: &Hub,
    clock: &Clock,
    key: PublicKey,
) -> Result<(), TrackError> {
    let committee = holder(ledger.genesis(), &key);
    let mut attempt = 0;
    let nothing = KnownAccount { state: AccountState::EMPTY, height: Height::ZERO };
    view.set_account(key, nothing);
    // blocks up to here may have been looked through without this account
    let missed: Vec<_> = ledger.genesis().committee_ids().map(|id| (id, view.read(id))).collect();
    let floor = view.read(committee);
    let account = loop {
        let (height, state) = ledger.balance(key).await?;
        if height >= floor || attempt >= ATTEMPTS_MAX {
            break KnownAccount { state, height };
        }
        attempt += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    if account.height < floor {
        return Err(LedgerError::Other("the committee's members are behind".to_owned()).into());
    }
    let sql = "INSERT INTO accounts (public_key, balance, next_sequence, committee, height, ledger_us, complete) \
               VALUES ($1, $2, $3, $4, $5, 0, 1) ON CONFLICT (public_key) DO NOTHING";
    let arguments = [
        Value::text(key.to_string()),
        Value::count(account.state.balance.micros()),
        Value::count(account.state.next_sequence.get()),
        Value::count(committee.index() as u64),
        Value::count(account.height.get()),
    ];
    db.write(sql, &arguments).await?;
    view.set_account(key, account);
    if account.state != AccountState::EMPTY {
        let (db, ledger, hub, clock) = (db.clone(), ledger.clone(), hub.clone(), clock.clone());
        tokio::spawn(async move {
            for (committee, height) in missed {
                if let Err(error) = fill_in(&db, &ledger, &hub, &clock, (committee, key, height)).await {
                    tracing::warn!(%error, %key, "the account's history is incomplete");
                }
            }
        });
    }
    Ok(())
}

async fn fill_in(
    db: &Db,
    ledger: &Arc<dyn Ledger>,
    hub: &Hub,
    clock: &Clock,
    (committee, key, height): (shardpay_types::CommitteeId, PublicKey, Height),
) -> Result<(), TrackError> {
    for block in ledger.past(committee, key, height).await? {
        let mut tx = db.begin().await?;
        let changes = apply_leaves(&mut tx, &block, clock.now_us(), false).await?;
        tx.commit().await?;
        hub.tell(changes);
    }
    Ok(())
}
