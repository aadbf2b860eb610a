//! Floor 0 of shardpay: the values of the protocol and their canonical binary codec.
//!
//! No I/O, no clock, no randomness, no hashing: every other crate builds on this one. Layouts are
//! described in `docs/PROTOCOL.md` and held fast by the golden vectors beside it.

mod amount;
mod block;
mod client;
mod codec;
mod evidence;
mod header;
mod ids;
mod message;
mod plan;
mod proof;
mod time;
mod transaction;
mod version;
mod wire;

pub use amount::{Amount, MICROS_PER_COIN, Total};
pub use block::{
    BLOCK_BYTES_MAX, BLOCK_CLOSINGS_MAX, BLOCK_OPAQUE_MAX, BLOCK_PACKS_MAX, BLOCK_TRANSACTIONS_MAX, Block, BlockRef,
    Payload,
};
pub use client::{
    BalanceRequest, BlockPart, ClientReply, ClientRequest, EpochRecords, EpochsRequest, ExecutedAt,
    FILTER_ACCOUNTS_MAX, Hello, ReceiptRequest, RefuseReason, Refused, RejectReason, Results, SUBMIT_MAX,
    SignedBalance, Submit, SubmitOpaque, Subscribe, TxAnswer, TxResult, Welcome,
};
pub use codec::{Codec, DecodeError, List, Reader};
pub use evidence::{
    BalanceStatement, CertifiedBalance, CertifiedCheckpoint, CreditReceipt, EpochChain, EquivocationProof, ForkProof,
    HeaderSeal, HistorySeal, Receipt,
};
pub use header::{
    AccountState, Certificate, CertifiedBlock, CertifiedHeader, Checkpoint, CreditOutcome, ExecutedCredit,
    ExecutedPack, ExecutedTransaction, LedgerBlock, LedgerHeader, LedgerItem, MemberSignature, Outcome, Totals,
};
pub use ids::{
    BlockDigest, COMMITTEES_MAX, COUNTER_MAX, ChainId, CommitteeId, DepositRef, Epoch, Hash, HeaderHash, Height,
    MEMBERS_MAX, MemberIndex, MemberSet, PayoutRef, PlanHash, PublicKey, Reference, Round, SHARDS, Sequence, ShardId,
    Signature, TxId,
};
pub use message::{
    ClosingRecord, CursorProof, InboxLeaf, MessageKind, OutboxLeaf, OutboxMessage, PACK_MESSAGES_MAX, Pack,
};
pub use plan::{CommitteePlan, Constants, EpochChange, Plan, PlanApproval, faults_max, quorum};
pub use proof::{ConsistencyProof, MerklePath};
pub use time::{Timestamp, TypicalTime};
pub use transaction::{
    Mint, OPAQUE_BYTES_MAX, Opaque, Payment, Redeem, SignedMint, SignedPayment, SignedRedeem, Transaction,
};
pub use version::{PROTOCOL_VERSION, Version};
pub use wire::{
    BlockRequest, Blocks, Certificates, CheckpointVote, Closings, ClosingsRequest, HeaderVote, Heartbeat, LeaderList,
    Leaders, LeadersRequest, LedgerRequest, LedgerResponse, NodeId, PUSH_BLOCKS_MAX, PackRequest, PeerMessage,
    REQUEST_REFS_MAX, RawBlock, RelayNotice,
};
