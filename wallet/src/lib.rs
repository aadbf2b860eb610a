//! Command-line wallet with an encrypted keystore.
//!
//! Guarantees: the key is opened in this process and goes nowhere; a passphrase comes from the terminal or a
//! file, never from an argument or the environment; the keystore file is written whole, with mode 0600, and
//! never over another one. Talking to the nodes directly, what is shown was verified here against the
//! genesis plan; through the service, a payment's receipt is, when a genesis file is given.
//!
//! Exit codes: see `Failure`.

pub mod cli;
mod commands;
mod direct;
mod failure;
mod offline;
mod secrets;
mod service;
mod signing;
mod store;

pub use failure::Failure;
