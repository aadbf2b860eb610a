//! The seam of a node's protocol machine: facts in, orders out.
//!
//! The driver (the node's runtime, or the simulator) carries out orders in the sequence they are
//! polled. A [`Output::Send`] appears only when everything it depends on was reported durable, so a
//! driver that just obeys cannot break "persist, then send".

use std::sync::Arc;

use shardpay_consensus::Status as ConsensusStatus;
use shardpay_crypto::{Commit, IdentifiedOpaque, IdentifiedTransaction, SealedBlock, Verified};
use shardpay_ledger::{Executed, ReplayError, TxReject};
use shardpay_types::{
    AccountState, BlockRef, CertifiedBlock, CertifiedCheckpoint, CertifiedHeader, CommitteeId, CursorProof, Epoch,
    EpochChange, EquivocationProof, ForkProof, HeaderHash, Height, LedgerBlock, NodeId, PeerMessage, Plan,
    PlanApproval, PlanHash, Round, TxId,
};

use crate::verify::{CheckedMessage, VerifyContext};

/// Number of a persist order; orders are made durable in sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PersistId(pub u64);

/// Whoever waits for an answer about a transaction; chosen by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ClientToken(pub u64);

/// Facts.
#[derive(Debug, Clone)]
pub enum Input {
    /// A message of another node, checked by [`crate::verify`].
    Message {
        /// Who sent it, from the connection.
        from: NodeId,
        /// What came.
        message: CheckedMessage,
    },
    /// A connection to a node came up (again).
    PeerConnected(NodeId),
    /// A client submits a transaction.
    Submitted {
        /// Whom to answer.
        client: ClientToken,
        /// Signature and keys checked.
        transaction: Verified<IdentifiedTransaction>,
        /// The debited account as last executed; empty for a mint.
        sender: AccountState,
    },
    /// A client submits opaque payloads.
    OpaqueSubmitted {
        /// Whom to answer.
        client: ClientToken,
        /// The genesis plan allows them.
        payloads: Vec<Verified<IdentifiedOpaque>>,
    },
    /// Everything up to this persist order is durable.
    Persisted(PersistId),
    /// The ledger carried out an order.
    Ledger(LedgerFact),
    /// The signaler proposes a plan.
    PlanProposed(Arc<Plan>),
    /// The signaler collected the approvals that close the epoch.
    EpochChangeProposed(Arc<EpochChange>),
    /// Nothing happened but time.
    Tick,
}

/// What is made durable outside the ledger's own batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A DAG block, own or a peer's.
    Block(Arc<SealedBlock>),
    /// A header was signed: never another one at this height.
    HeaderVote {
        /// Its height.
        height: Height,
        /// The header.
        header: HeaderHash,
    },
    /// A plan was approved: never another one for this epoch.
    PlanApproval {
        /// Its epoch.
        epoch: Epoch,
        /// The plan.
        plan: PlanHash,
    },
}

/// What a driver can tell a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// In the mempool. Volatile: only a certificate is a promise.
    Accepted,
    /// Try again later, or another member.
    Busy {
        /// After that many milliseconds.
        retry_after_ms: u32,
    },
    /// Refused for good, or until its cause is gone.
    Rejected(Refusal),
    /// It has a leaf in a block of that height; the certificate follows with [`Output::Certified`].
    Executed {
        /// The ledger block.
        height: Height,
        /// Index of the leaf.
        leaf: u32,
        /// Applied, or short balance.
        outcome: shardpay_types::Outcome,
    },
}

/// Why a transaction was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    /// By the ledger's rules, at admission or when met in a commit.
    #[error(transparent)]
    Ledger(#[from] TxReject),
    /// Its sequence is too far ahead of the account's.
    #[error("sequence too far in the future")]
    TooFarAhead,
    /// Another transaction with this sequence is pending here.
    #[error("another transaction holds this sequence")]
    SequencePending,
    /// The balance does not cover what is pending and this one.
    #[error("balance too small for all that is pending")]
    ShortBalance,
    /// The node is halted or stays out of this epoch: try another member.
    #[error("node does not propose")]
    NotProposing,
}

/// Orders to the ledger machine; [`crate::perform`] carries them out on a `Ledger`.
#[derive(Debug, Clone)]
pub enum LedgerOrder {
    /// Execute a commit. Answered by [`LedgerFact::Executed`].
    Execute(Arc<Commit>),
    /// Execute a certified block while catching up. Answered by [`LedgerFact::Replayed`].
    Replay(Box<CertifiedBlock>),
    /// A certificate is known. No answer.
    Certify(Box<CertifiedHeader>),
    /// A destination's certified cursor is known: prune. Answered by [`LedgerFact::Acknowledged`] when it
    /// proves something.
    Acknowledge(Box<CursorProof>),
    /// A certified checkpoint is known: store it. No answer.
    StoreCheckpoint(Box<CertifiedCheckpoint>),
    /// Compute the checkpoint of a closed epoch. Answered by [`LedgerFact::Checkpoint`].
    Checkpoint,
    /// Build an answer for a peer. Answered by [`LedgerFact::Served`] when there is one.
    Serve {
        /// Who asked.
        to: NodeId,
        /// For what.
        what: Service,
    },
}

/// What peers ask the ledger for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// A pack for the asker's committee from this index on.
    Pack {
        /// Its cursor.
        first: u64,
    },
    /// Certified ledger blocks from this height on.
    Blocks {
        /// First height.
        from: Height,
    },
    /// Certificates from this height on.
    Certificates {
        /// First height.
        from: Height,
    },
    /// The leader list at this height's anchor.
    Leaders {
        /// The height.
        height: Height,
    },
    /// Own closing records from this epoch on.
    Closings {
        /// First epoch.
        from: Epoch,
    },
    /// The cursor into the asker's committee's log.
    Cursor,
}

/// Facts from the ledger machine.
#[derive(Debug, Clone)]
pub enum LedgerFact {
    /// A commit was executed.
    Executed(Box<Executed>),
    /// A certified block was replayed, or refused.
    Replayed(Result<Box<Executed>, ReplayError>),
    /// A destination consumed that many messages, as the ledger checked.
    Acknowledged {
        /// The destination.
        destination: CommitteeId,
        /// Its cursor.
        count: u64,
    },
    /// The checkpoint of the epoch that closed.
    Checkpoint(Box<shardpay_types::Checkpoint>),
    /// An answer for a peer.
    Served {
        /// Who asked.
        to: NodeId,
        /// The answer.
        message: Arc<PeerMessage>,
    },
}

/// Orders.
#[derive(Debug, Clone)]
pub enum Output {
    /// Make a record durable, after all earlier ones; report [`Input::Persisted`].
    Persist {
        /// Its number.
        id: PersistId,
        /// What.
        record: Record,
    },
    /// Send a message to a node.
    Send {
        /// The node.
        to: NodeId,
        /// The message.
        message: Arc<PeerMessage>,
    },
    /// Carry out an order on the ledger.
    Ledger(LedgerOrder),
    /// Send stored blocks to a peer (those that the store still has).
    ServeStored {
        /// The peer.
        to: NodeId,
        /// Their epoch.
        epoch: Epoch,
        /// Which blocks.
        refs: Vec<BlockRef>,
    },
    /// Blocks of this epoch and rounds below may leave the store.
    Prune {
        /// The epoch; all blocks of earlier epochs but the last one go.
        epoch: Epoch,
        /// First round kept.
        below: Round,
    },
    /// Answer a client.
    Answer {
        /// Whom.
        client: ClientToken,
        /// About which transaction.
        txid: TxId,
        /// What.
        answer: Answer,
    },
    /// A ledger block is certified: subscribers and waiting clients get it. Ascending heights.
    Certified {
        /// Its header with the certificate.
        certified: Arc<CertifiedHeader>,
        /// The block, when it was executed here in this run (not when replayed long ago).
        block: Option<Arc<LedgerBlock>>,
    },
    /// Our consent to a plan, for the signaler.
    PlanApproved(Box<PlanApproval>),
    /// The epoch's end is certified.
    CheckpointCertified(Box<CertifiedCheckpoint>),
    /// Verification lanes use this from now on: an epoch started or a keyset became known.
    VerifyContextChanged(Arc<VerifyContext>),
    /// Consensus of a new epoch started.
    EpochStarted(Epoch),
    /// Something an operator wants to know.
    Event(Event),
}

/// Rare events, for the log and the checkers.
#[derive(Debug, Clone)]
pub enum Event {
    /// An author made two blocks in one slot.
    Equivocation(Box<EquivocationProof>),
    /// The node's store was lost: it stays out of the epoch.
    StaysOut(BlockRef),
    /// Two certified blocks in one slot: the committee halts.
    HaltedByFork(Box<EquivocationProof>),
    /// Two certified headers at one height: the committee halts.
    HaltedByHeaders(Box<ForkProof>),
    /// The store remembers our signature over another header of this height: execution differs from what
    /// it was before the restart. The node halts.
    SignedAnother {
        /// The height.
        height: Height,
        /// The header signed earlier.
        remembered: HeaderHash,
    },
    /// More than the gc depth behind: replaying ledger blocks.
    CatchUpStarted,
    /// Replayed far enough: the DAG goes on above this round.
    Rejoined(Round),
    /// Another committee's records could not be verified; counted by reason in the status.
    RelayRefused(CommitteeId),
}

/// What a restarting replica is given, apart from the ledger's own store.
#[derive(Debug, Clone, Default)]
pub struct RecoveredRecords {
    /// Stored DAG blocks of the ledger's current epoch and of every later one: the ledger's last durable
    /// batch may be older than the newest blocks, so an epoch that opens while re-executing after a
    /// restart starts from its stored blocks ([`shardpay_consensus::Start::Restart`]), never afresh: a
    /// fresh start would sign a second block in a slot.
    pub blocks: Vec<Arc<SealedBlock>>,
    /// Stored header votes above the last certified height (older ones may be given too).
    pub votes: Vec<(Height, HeaderHash)>,
    /// Stored plan approvals.
    pub approvals: Vec<(Epoch, PlanHash)>,
}

/// Gauges and counters; every waiting set's size is here, for telemetry and the bound checkers.
#[derive(Debug, Clone)]
pub struct Status {
    /// Of the running epoch's consensus.
    pub consensus: ConsensusStatus,
    /// The epoch.
    pub epoch: Epoch,
    /// As of the last fact from the ledger.
    pub executed: Height,
    /// Highest height below which everything is certified.
    pub certified: Height,
    /// Transactions and opaque payloads in the mempool, proposed ones included.
    pub mempool: usize,
    /// Ledger blocks executed and not certified.
    pub uncertified: usize,
    /// Header votes held for heights not executed yet.
    pub early_votes: usize,
    /// Sends withheld for a persist.
    pub withheld: usize,
    /// Packs held for proposing.
    pub packs: usize,
    /// Commits handed out by consensus and not executed, those waiting for their turn included.
    pub commits: usize,
    /// Ledger blocks of a server that wait to be replayed.
    pub replays: usize,
    /// Whether the machine has halted for good (forks); it only serves.
    pub halted: bool,
    /// Refusals by reason, in a fixed order of names.
    pub refusals: Vec<(&'static str, u64)>,
}
