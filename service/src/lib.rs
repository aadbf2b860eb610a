//! The service: an HTTP API and pages for users, wallets, buying, paying, cashing out, merchants.
//!
//! Guarantees: it is no node and holds no user's key (but an encrypted keystore, when asked to keep one). What it
//! shows of the ledger was certified and verified by the client library. A charge is minted once or refunded, a
//! certified redeem is paid out once or minted back once, a submitted payment is brought to the ledger until
//! certified blocks decide it, whenever the process is killed.
//!
//! Assumes a card gateway and a bank that keep the promises of `buy::gateway` and `cash_out::bank`; those
//! here are sandboxes. There is no KYC or AML check.

pub mod api;
pub mod app;
pub mod buy;
pub mod cash_out;
pub mod clock;
pub mod codec;
pub mod config;
pub mod db;
pub mod error;
pub mod history;
pub mod hub;
pub mod issuer;
pub mod ledger;
pub mod listen;
pub mod merchant;
pub mod pages;
pub mod payments;
pub mod secret;
pub mod server;
pub mod supply;
pub mod users;
