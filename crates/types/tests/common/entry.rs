//! What is checked of a decoder, shared by the stable tests and the fuzz targets (`fuzz/src/lib.rs`
//! includes this file): any byte string is refused with a typed error, or is *the* encoding of the
//! value it decodes to.

use std::fmt::Debug;

use shardpay_types::*;

/// Decodes `bytes` as a `T`; returns whether they were accepted.
///
/// # Panics
/// When the decoder breaks its promise.
pub fn check<T: Codec + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(value) = T::from_bytes(bytes) else { return false };
    assert!(bytes.len() >= T::MIN_LEN, "{} bytes accepted, MIN_LEN is {}", bytes.len(), T::MIN_LEN);
    assert_eq!(value.to_bytes(), bytes, "an accepted encoding is not canonical");
    assert_eq!(T::from_bytes(bytes).as_ref(), Ok(&value), "decoding twice gave two values");
    true
}

/// Calls `$each!` with every module of `shardpay-types` and the wire types it declares. `golden.rs`
/// compares the list with the sources, so a new type cannot be forgotten.
#[macro_export]
macro_rules! for_wire_types {
    ($each:ident) => {
        $each! {
            amount: Amount, Total;
            ids: Round, Height, Epoch, Sequence, MemberIndex, CommitteeId, ShardId, PublicKey, Signature, Hash, TxId,
                BlockDigest, HeaderHash, PlanHash, ChainId, DepositRef, PayoutRef, Reference;
            time: Timestamp;
            version: Version;
            transaction: Payment, Redeem, Mint, SignedPayment, SignedRedeem, SignedMint, Opaque,
                Transaction;
            proof: MerklePath, ConsistencyProof;
            plan: Constants, CommitteePlan, PlanApproval, EpochChange, Plan;
            header: Totals, LedgerHeader, MemberSignature, CertifiedHeader, AccountState, ExecutedTransaction,
                ExecutedCredit, ExecutedPack, LedgerBlock, CertifiedBlock, Checkpoint, Outcome, CreditOutcome,
                LedgerItem, Certificate;
            message: MessageKind, OutboxMessage, OutboxLeaf, InboxLeaf, Pack, ClosingRecord, CursorProof;
            block: BlockRef, Payload, Block;
            evidence: HeaderSeal, HistorySeal, Receipt, CreditReceipt, EpochChain, BalanceStatement, CertifiedBalance,
                CertifiedCheckpoint, EquivocationProof, ForkProof;
            wire: RawBlock, BlockRequest, Blocks, Heartbeat, HeaderVote, CheckpointVote, LedgerRequest, LedgerResponse,
                LeadersRequest, Leaders, RelayNotice, PackRequest, ClosingsRequest, Closings, Certificates, PeerMessage;
            client: Hello, Submit, SubmitOpaque, Subscribe, ReceiptRequest, BalanceRequest, EpochsRequest, ClientRequest, Welcome,
                ExecutedAt, RejectReason, TxAnswer, TxResult, Results, BlockPart, SignedBalance, EpochRecords,
                RefuseReason, Refused, ClientReply;
        }
    };
}

macro_rules! decoder_table {
    ($($module:ident: $($name:ident),+;)+) => {
        /// Name and [`check`] of every wire type, in the order of the list.
        pub const DECODERS: &[(&str, fn(&[u8]) -> bool)] = &[$($((stringify!($name), check::<$name>)),+),+];
    };
}
for_wire_types!(decoder_table);
