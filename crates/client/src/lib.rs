//! Floor 5: submit, await certified results, verify proofs, block streams, topology.
//!
//! A [`Client`] pins the genesis plan and trusts nobody else: what it returns was signed by a quorum (f + 1
//! members for a balance) of the committee concerned, and it checked the signatures and hashes itself. A
//! member that lies, is silent or disconnects costs a retry at another one.
//!
//! - [`Submitter`]: brings transactions to a committee until they are settled.
//! - [`OpaqueSubmitter`]: brings opaque payloads to a committee of an experiment, each once.
//! - [`BlockStream`]: a committee's certified blocks, whole or filtered by account.
//! - [`Client::balance`], [`Client::receipt`], [`Client::pay_and_wait`]: single questions.
//! - [`ReceiptFile`]: a payment with its proofs as a file, to be checked offline.
//! - [`topology`], [`signaler`]: where everybody is, as the signaler publishes it.
//! - [`health`]: whether a server answers on its own machine.
//! - [`service`]: the HTTP API of a payment service.

mod blocks;
mod check;
mod client;
mod directory;
mod error;
pub mod health;
mod keyring;
mod link;
mod opaque;
mod query;
mod receipt_file;
pub mod service;
pub mod signaler;
mod submit;
pub mod topology;

pub use blocks::{BlockStream, StreamStats, Subscription, Verified};
pub use check::{VerifiedBlock, VerifiedPart};
pub use client::Client;
pub use directory::{Directory, Endpoint};
pub use error::{ClientError, Lie, LinkError};
pub use opaque::{OpaqueEvent, OpaqueEvents, OpaqueSubmitter};
pub use query::Paid;
pub use receipt_file::{
    CreditPart, ProvenReceipt, RECEIPT_FILE_BYTES_MAX, RECEIPT_FORMAT, ReceiptFile, ReceiptFileError, ReceiptSummary,
};
pub use submit::{SubmitEvent, SubmitEvents, SubmitOptions, SubmitStats, Submitter};
