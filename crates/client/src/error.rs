//! Why a call of this crate failed. What a node said wrongly is a [`Lie`]; it costs that node its turn, and
//! reaches the caller only when no member is left to ask.

use shardpay_ledger::verify::ProofError;
use shardpay_types::{CommitteeId, DecodeError, Epoch, Height, NodeId, RefuseReason, RejectReason};

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The plan is no genesis plan, or the directory does not fit it.
    #[error("genesis plan and directory do not fit: {0}")]
    BadDirectory(String),
    /// There is no such committee.
    #[error("no committee {0} in the plan")]
    NoCommittee(CommitteeId),
    /// Every member was asked, none gave an answer that verifies.
    #[error("committee {committee}: no member gave a valid answer within {attempts} attempts; the last: {last}")]
    NoAnswer {
        /// The committee asked.
        committee: CommitteeId,
        /// How often.
        attempts: usize,
        /// What the last one did.
        last: LinkError,
    },
    /// The transaction was refused for good.
    #[error("refused: {0}")]
    Refused(RejectReason),
    /// The transaction has no certified result yet; it may still get one.
    #[error("no certified result in time; it may still be executed")]
    TimedOut,
    /// The operating system gave no randomness.
    #[error("no randomness: {0}")]
    Randomness(String),
    /// A task of this crate ended: the runtime is shutting down.
    #[error("the runtime is shutting down")]
    Stopped,
}

/// What went wrong with one member.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No connection, or it broke.
    #[error("{node:?}: {error}")]
    Transport {
        /// The member.
        node: NodeId,
        /// What the transport says.
        error: String,
    },
    /// It closed the stream.
    #[error("{0:?}: stream closed")]
    Closed(NodeId),
    /// It did not answer in time.
    #[error("{0:?}: no answer in time")]
    Silent(NodeId),
    /// It refused.
    #[error("{node:?}: refused: {reason}")]
    Refused {
        /// The member.
        node: NodeId,
        /// Why.
        reason: RefuseReason,
        /// When to try again, in milliseconds.
        retry_after_ms: u32,
    },
    /// What it said does not hold.
    #[error("{node:?}: {lie}")]
    Lie {
        /// The member.
        node: NodeId,
        /// What was wrong.
        lie: Lie,
    },
}

/// An answer that no honest member gives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lie {
    /// Not a canonical reply.
    #[error("undecodable reply: {0}")]
    Malformed(#[from] DecodeError),
    /// A reply to another question.
    #[error("unexpected reply")]
    Unexpected,
    /// It says it is another node than the one whose key it has.
    #[error("claims another place in the plan")]
    WrongPlace,
    /// The proof does not hold.
    #[error("proof: {0}")]
    Proof(#[from] ProofError),
    /// A block is missing, or comes twice.
    #[error("height {found}, expected {expected}")]
    Gap {
        /// The height that comes next.
        expected: Height,
        /// The height that came.
        found: Height,
    },
    /// The header does not name the one below as its parent.
    #[error("height {0}: not a child of the header below")]
    WrongParent(Height),
    /// The items are not those the header commits to.
    #[error("height {0}: items do not give the leaves root")]
    WrongItems(Height),
    /// The header before an epoch's first is not the closing header of the epoch before.
    #[error("epoch {0} did not end with its closing header")]
    WrongClosing(Epoch),
    /// A part's proof stands under another header, or touches no account of the filter.
    #[error("height {0}: a proof that was not asked for")]
    NotAskedFor(Height),
}
