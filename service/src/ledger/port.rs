//! The seam to the ledger: what the service needs of it. Implemented by `super::Network` over the client
//! library, and by a small ledger in memory for tests.

use std::future::Future;
use std::pin::Pin;

use shardpay_client::{ClientError, ReceiptFile};
use shardpay_crypto::IdentifiedTransaction;
use shardpay_types::{AccountState, ChainId, CommitteeId, Height, Plan, PublicKey, RejectReason, TxId};

use super::facts::BlockFacts;

/// A future behind a trait object.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The ledger did not answer.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The client library says why.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// This implementation has no such thing.
    #[error("{0}")]
    Other(String),
}

/// Where a transaction's proofs lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofPlace {
    /// The committee that decided, the height and the leaf.
    pub decided: (CommitteeId, Height, u32),
    /// The same of the credit.
    pub credited: Option<(CommitteeId, Height, u32)>,
}

/// What the ledger tells by itself.
#[derive(Debug)]
pub enum LedgerEvent {
    /// The next certified block of a committee.
    Block(BlockFacts),
    /// Members refused a transaction.
    Refused(TxId, RejectReason),
    /// It was tried for long without a result.
    GaveUp(TxId),
    /// The committee was asked for its tip, which the stream has reached.
    Fresh(CommitteeId),
}

/// Everything the service asks of the ledger.
pub trait Ledger: Send + Sync {
    /// The genesis plan.
    fn genesis(&self) -> &Plan;

    /// The ledger's id.
    fn chain(&self) -> &ChainId;

    /// An account's state at a certified height, as f + 1 members sign it.
    fn balance(&self, key: PublicKey) -> Later<'_, Result<(Height, AccountState), LedgerError>>;

    /// Brings a transaction to its committee, again and again with the same bytes, until it is settled,
    /// refused or given up. One that is in flight already is left alone.
    fn submit(&self, transaction: IdentifiedTransaction);

    /// Says that a verified result is there.
    fn settle(&self, txid: TxId);

    /// A committee's leaves that touch an account, from the first block to `height`, with their heights and ledger times.
    fn past(
        &self,
        committee: CommitteeId,
        key: PublicKey,
        height: Height,
    ) -> Later<'_, Result<Vec<BlockFacts>, LedgerError>>;

    /// The receipt file of a transaction.
    fn receipt_file(&self, place: ProofPlace) -> Later<'_, Result<ReceiptFile, LedgerError>>;
}
