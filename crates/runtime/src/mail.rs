//! What the node's threads tell each other.
//!
//! The core takes from two queues. `mail` is bounded: lanes wait when it is full, and so do the
//! connections behind them. `facts` is not, because neither the ledger nor the disk may ever wait for the
//! core (it waits for nobody): each fact answers an order of the core, or brings transactions that
//! [`crate::gate::Gate`] counts, so its length is bounded by both.

use std::sync::Arc;
use std::time::Instant;

use shardpay_crypto::{IdentifiedOpaque, IdentifiedTransaction, Verified};
use shardpay_replica::verify::CheckedMessage;
use shardpay_replica::{ClientToken, LedgerFact, PersistId};
use shardpay_transport::Frame;
use shardpay_types::{AccountState, EpochChange, NodeId, Plan};

/// To the core, from lanes and the outside.
pub(crate) enum Mail {
    /// A message of a peer that passed verification.
    Message {
        from: NodeId,
        message: CheckedMessage,
        /// Holds its share of the connection's budget until the core is done.
        _frame: Frame,
    },
    /// A connection came up.
    Connected(NodeId),
    /// The signaler proposes a plan.
    Plan(Arc<Plan>),
    /// The signaler proposes to close the epoch.
    Change(Arc<EpochChange>),
    /// The end.
    Stop,
}

/// To the core, from the ledger and the disk.
pub(crate) enum Fact {
    /// The ledger answered an order.
    Ledger(LedgerFact),
    /// Records are durable.
    Persisted(PersistId),
    /// Client transactions with the payers' accounts.
    Submitted(Vec<Candidate>),
    /// A client's opaque payloads, straight from a lane.
    Opaque {
        client: ClientToken,
        payloads: Vec<Verified<IdentifiedOpaque>>,
        /// What the submission took of the gate.
        weight: usize,
        verified_at: Instant,
    },
}

/// A client's transaction on its way to the mempool.
pub(crate) struct Candidate {
    pub(crate) client: ClientToken,
    pub(crate) transaction: Verified<IdentifiedTransaction>,
    pub(crate) sender: AccountState,
    /// When its signature was found good.
    pub(crate) verified_at: Instant,
}
