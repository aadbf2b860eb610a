//! The seam of the ledger: what execution returns, and the small store it stands on.

use std::sync::Arc;

use shardpay_types::{
    AccountState, BlockRef, Certificate, CertifiedCheckpoint, ClosingRecord, CommitteeId, DepositRef, Epoch, Hash,
    HeaderHash, Height, InboxLeaf, LedgerBlock, OutboxMessage, Plan, PublicKey, Round, Totals, TxId,
};

/// What became of a transaction met in a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has a leaf: `Applied` or `Failed`, see the item.
    Executed {
        /// The ledger block.
        height: Height,
        /// Index of the leaf in it.
        leaf: u32,
        /// Applied, or short balance.
        outcome: shardpay_types::Outcome,
    },
    /// It left no leaf.
    Dropped(TxReject),
}

/// Why a transaction left no leaf. Counted, and answered to whoever waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum TxReject {
    /// The sequence was consumed before (by this transaction or another).
    #[error("sequence already used")]
    SequenceUsed,
    /// A lower sequence is missing, or too many future ones were met.
    #[error("a lower sequence is missing")]
    SequenceGap,
    /// The sender's (or deposit's) shard belongs to another committee.
    #[error("another committee decides this transaction")]
    WrongCommittee,
    /// Below the minimum amount.
    #[error("amount below the minimum")]
    AmountTooSmall,
    /// `valid_until` lies before ledger time.
    #[error("expired")]
    Expired,
    /// The deposit was minted before.
    #[error("deposit already minted")]
    DepositUsed,
    /// The committee's mint cap would be exceeded.
    #[error("mint cap reached")]
    MintCapReached,
    /// The payee's key may not own an account (not canonical, or weak).
    #[error("the payee's key is not acceptable")]
    BadRecipient,
    /// The payee's balance would overflow.
    #[error("the payee's balance would overflow")]
    RecipientFull,
    /// Too many unacknowledged messages wait for the payee's committee. An admission rule only: what
    /// is acknowledged differs from member to member, so execution never says this.
    #[error("the payee's committee is too far behind")]
    DestinationBusy,
    /// The epoch closed earlier in the commit: submit again.
    #[error("the epoch closed first")]
    EpochClosed,
    /// An opaque payload, or one so long, that the genesis plan does not allow.
    #[error("this ledger orders no such payload")]
    OpaqueRefused,
}

/// Why a pack, closing record or epoch change met in a commit was not applied. Counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum ItemReject {
    /// Not addressed to this committee, or from itself, or from a committee that does not exist.
    #[error("wrong committee")]
    WrongCommittee,
    /// It does not start at the cursor (a duplicate, or a gap).
    #[error("does not start at the cursor")]
    NotAtCursor,
    /// The header's epoch is retired, or not known yet.
    #[error("unknown or retired epoch")]
    WrongEpoch,
    /// Fewer than Q valid signatures.
    #[error("certificate does not verify")]
    BadCertificate,
    /// Messages, log and header do not belong together.
    #[error("proof does not verify")]
    BadProof,
    /// Log count, amounts or message fields contradict each other.
    #[error("malformed")]
    Malformed,
    /// Already recorded.
    #[error("already recorded")]
    Duplicate,
    /// Not a valid successor of the current plan, or approvals missing.
    #[error("plan not accepted")]
    BadPlan,
}

/// A ledger block just made.
#[derive(Debug, Clone)]
pub struct MadeBlock {
    /// Its header's hash.
    pub hash: HeaderHash,
    /// The block.
    pub block: Arc<LedgerBlock>,
}

/// What executing a commit (or replaying a certified block) did.
#[derive(Debug, Clone, Default)]
pub struct Executed {
    /// Round of the commit's anchor.
    pub round: Round,
    /// Ledger blocks made, ascending; often one, none for an empty commit.
    pub blocks: Vec<MadeBlock>,
    /// One per transaction of the commit's payload, in the order in which they were met.
    pub verdicts: Vec<(TxId, Verdict)>,
    /// State after it of every account a transaction debited.
    pub senders: Vec<(PublicKey, AccountState)>,
    /// Cursors that moved.
    pub cursors: Vec<InboxLeaf>,
    /// Destinations that got messages, with their new count.
    pub outboxes: Vec<(CommitteeId, u64)>,
    /// Committees whose epoch moved, with the new one.
    pub keysets: Vec<(CommitteeId, Epoch)>,
    /// Packs, closings and epoch changes that were not applied.
    pub refused: Vec<ItemReject>,
    /// The next plan, when the epoch closed.
    pub closed: Option<Arc<Plan>>,
}

/// Everything a commit changed, written atomically. Later batches overwrite earlier ones.
#[derive(Debug, Clone, Default)]
pub struct StateBatch {
    /// Accounts after the commit.
    pub accounts: Vec<(PublicKey, AccountState)>,
    /// Deposit references consumed.
    pub deposits: Vec<DepositRef>,
    /// Messages appended: (destination, index, message).
    pub outbox: Vec<(CommitteeId, u64, OutboxMessage)>,
    /// Outbox messages no longer needed: (destination, first index kept).
    pub outbox_pruned: Vec<(CommitteeId, u64)>,
    /// Ledger blocks made.
    pub blocks: Vec<Arc<LedgerBlock>>,
    /// Certificates that became known: (height, certificate).
    pub certificates: Vec<(Height, Certificate)>,
    /// Nodes of the history log that became complete: (level, position, hash); level 0 are its leaves.
    pub history: Vec<(u8, u64, Hash)>,
    /// Closing records (own committee's and others').
    pub closings: Vec<ClosingRecord>,
    /// A certified checkpoint, at an epoch's end.
    pub checkpoint: Option<CertifiedCheckpoint>,
    /// Everything small, encoded by the ledger: totals, log frontiers, cursors, keysets, last output
    /// slot, leader list, plan. `None`: unchanged.
    pub tip: Option<Vec<u8>>,
}

/// A failing store. The ledger does not go on after one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store: {0}")]
pub struct StoreError(pub String);

/// What the ledger keeps state in. Memory is the truth for accounts (loaded at the start); the rest is
/// read when needed.
pub trait Store: Send {
    /// The last tip written, if any.
    fn tip(&self) -> Result<Option<Vec<u8>>, StoreError>;
    /// Calls `each` with every account.
    fn accounts(&self, each: &mut dyn FnMut(PublicKey, AccountState)) -> Result<(), StoreError>;
    /// Calls `each` with every deposit reference consumed, in ascending order.
    fn deposits(&self, each: &mut dyn FnMut(DepositRef)) -> Result<(), StoreError>;
    /// Whether a deposit reference was consumed.
    fn deposit_used(&self, deposit: &DepositRef) -> Result<bool, StoreError>;
    /// Messages for `destination` from index `first`, at most `max`.
    fn outbox(&self, destination: CommitteeId, first: u64, max: usize) -> Result<Vec<OutboxMessage>, StoreError>;
    /// The ledger block at `height`.
    fn block(&self, height: Height) -> Result<Option<Arc<LedgerBlock>>, StoreError>;
    /// The certificate at `height`.
    fn certificate(&self, height: Height) -> Result<Option<Certificate>, StoreError>;
    /// The node of the history log at `level` and `position`.
    fn history_node(&self, level: u8, position: u64) -> Result<Option<Hash>, StoreError>;
    /// Closing records of `committee` from epoch `from`, ascending.
    fn closings(&self, committee: CommitteeId, from: Epoch) -> Result<Vec<ClosingRecord>, StoreError>;
    /// The last certified checkpoint written, if any.
    fn checkpoint(&self) -> Result<Option<CertifiedCheckpoint>, StoreError>;
    /// Writes a batch atomically. Durable when the driver syncs, or lost as a whole.
    fn write(&mut self, batch: StateBatch) -> Result<(), StoreError>;
}

/// Gauges for telemetry and checkers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerStatus {
    /// Last executed height.
    pub height: Height,
    /// Its header's hash.
    pub head: HeaderHash,
    /// Last certified height known to the ledger.
    pub certified: Height,
    /// Current epoch.
    pub epoch: Epoch,
    /// Last output slot.
    pub last_output: Round,
    /// Leaders committed in the gc window below the last anchor.
    pub leaders: Vec<BlockRef>,
    /// Whether `leaders` is that list. Not after replaying certified blocks: headers hold its hash only,
    /// so whoever restarts then must ask peers for the list again.
    pub leaders_known: bool,
    /// The books.
    pub totals: Totals,
    /// Accounts that exist.
    pub accounts: usize,
    /// Messages not acknowledged, over all destinations.
    pub outbox_pending: u64,
}
