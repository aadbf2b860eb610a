//! Floor 2 of shardpay: deterministic execution of what a committee committed, and its proofs.
//!
//! A [`Ledger`] takes commits (or certified blocks of others) and gives ledger blocks; it knows no
//! clock, no network and no disk beyond the [`Store`] trait. [`verify`] is the client's side of the same
//! proofs and shares no code with execution.

mod accounts;
mod api;
mod books;
mod checkpoint;
mod draft;
mod epochs;
mod execute;
mod history;
mod inbox;
mod leaders;
mod leaf;
mod ledger;
mod memory;
mod open;
mod outbox;
mod replay;
mod roots;
mod serve;
#[cfg(test)]
mod tests;
mod tip;
pub mod verify;

pub use accounts::{Accounts, Slot};
pub use api::{Executed, ItemReject, LedgerStatus, MadeBlock, StateBatch, Store, StoreError, TxReject, Verdict};
pub use books::{Books, Decision, Rules, Touched};
pub use leaf::{item_leaves, opaque_leaf, transaction_leaf};
pub use ledger::{Config, Ledger, LedgerView};
pub use memory::MemStore;
pub use open::OpenError;
pub use replay::ReplayError;
pub use serve::BlockProofs;
