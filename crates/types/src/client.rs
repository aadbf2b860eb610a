//! Messages between a client and a node, on the client port.
//!
//! A client opens a stream, says [`Hello`], and sends requests; the node answers with replies. Requests of
//! one stream are answered in order, except that results of submissions and subscribed blocks come when
//! they are there.

use crate::codec::List;
use crate::evidence::{BalanceStatement, CreditReceipt, Receipt};
use crate::header::{CertifiedBlock, CertifiedHeader, Outcome};
use crate::ids::{ChainId, CommitteeId, Epoch, Height, MemberIndex, PublicKey, Signature, TxId};
use crate::message::ClosingRecord;
use crate::transaction::{Opaque, Transaction};
use crate::version::Version;
use crate::{unit_enum, wire_enum, wire_struct};

/// Most transactions in one submission, and results in one reply.
pub const SUBMIT_MAX: usize = 1_024;
/// Most accounts in a subscription's filter.
pub const FILTER_ACCOUNTS_MAX: usize = 4_096;

wire_struct! {
    /// The first frame of every client stream.
    #[derive(Copy)]
    pub struct Hello {
        /// Version the client speaks.
        pub version: Version,
        /// The ledger it means.
        pub chain: ChainId,
    }

    /// Transactions to execute. Each gets one [`TxResult`] or more: what was refused at once, what left no
    /// leaf, and what was executed.
    pub struct Submit {
        /// Signed transactions.
        pub transactions: List<Transaction, SUBMIT_MAX>,
    }

    /// Opaque payloads to order. Each gets one [`TxResult`].
    pub struct SubmitOpaque {
        /// The payloads.
        pub payloads: List<Opaque, SUBMIT_MAX>,
    }

    /// Asks for certified blocks from a height on, and all later ones as they are certified.
    pub struct Subscribe {
        /// First height; 0 means the next one to be certified.
        pub from: Height,
        /// Whose: only what touches these accounts, with a proof for each item, and every header. Nothing:
        /// whole blocks, which prove themselves.
        pub accounts: Option<List<PublicKey, FILTER_ACCOUNTS_MAX>>,
    }

    /// Asks for the proof of a leaf.
    #[derive(Copy)]
    pub struct ReceiptRequest {
        /// The ledger block's height.
        pub height: Height,
        /// Index of the leaf.
        pub leaf: u32,
    }

    /// Asks for the state of an account.
    #[derive(Copy)]
    pub struct BalanceRequest {
        /// The account.
        pub key: PublicKey,
        /// Drawn for this question.
        pub nonce: [u8; 16],
    }

    /// Asks for the committee's closing records, to learn the keyset of later epochs.
    #[derive(Copy)]
    pub struct EpochsRequest {
        /// First epoch.
        pub from: Epoch,
    }

    /// The node's answer to [`Hello`].
    #[derive(Copy)]
    pub struct Welcome {
        /// The committee of the node that answers.
        pub committee: CommitteeId,
        /// Its place in it.
        pub member: MemberIndex,
        /// Its epoch.
        pub epoch: Epoch,
        /// Its last executed height.
        pub executed: Height,
        /// Its last certified height.
        pub certified: Height,
        /// Whether it takes submissions now.
        pub proposing: bool,
    }

    /// What became of a submitted transaction.
    #[derive(Copy)]
    pub struct TxResult {
        /// The transaction.
        pub txid: TxId,
        /// What became of it.
        pub answer: TxAnswer,
    }

    /// What became of submitted transactions.
    pub struct Results {
        /// One per transaction told about.
        pub results: List<TxResult, SUBMIT_MAX>,
    }

    /// Where a transaction was executed; not certified yet.
    #[derive(Copy)]
    pub struct ExecutedAt {
        /// The ledger block's height.
        pub height: Height,
        /// Index of its leaf.
        pub leaf: u32,
        /// Applied, or short balance.
        pub outcome: Outcome,
    }

    /// A certified block's part for some accounts.
    pub struct BlockPart {
        /// The header with its certificate.
        pub certified: CertifiedHeader,
        /// Transactions that debit or credit one of the accounts.
        pub receipts: List<Receipt, 65_536>,
        /// Messages from other committees for one of the accounts.
        pub credits: List<CreditReceipt, 65_536>,
    }

    /// One member's statement about a balance.
    pub struct SignedBalance {
        /// The statement.
        pub statement: BalanceStatement,
        /// Who signs.
        pub member: MemberIndex,
        /// Over the statement.
        pub signature: Signature,
    }

    /// Closing records of the node's committee.
    pub struct EpochRecords {
        /// Ascending epochs from the one asked for; empty when there is none.
        pub records: List<ClosingRecord, 64>,
    }

    /// Why a request was not served.
    #[derive(Copy)]
    pub struct Refused {
        /// The reason.
        pub reason: RefuseReason,
        /// When to try again, in milliseconds; 0: not at all as it stands.
        pub retry_after_ms: u32,
    }
}

wire_enum! {
    /// A client's request.
    pub enum ClientRequest {
        /// Transactions.
        1 => Submit(Submit),
        /// Certified blocks.
        2 => Subscribe(Subscribe),
        /// A proof.
        3 => Receipt(ReceiptRequest),
        /// An account.
        4 => Balance(BalanceRequest),
        /// Keysets.
        5 => Epochs(EpochsRequest),
        /// Opaque payloads, refused unless the genesis plan allows them.
        6 => Opaque(SubmitOpaque),
    }

    /// A node's reply.
    pub enum ClientReply {
        /// To [`Hello`].
        1 => Welcome(Welcome),
        /// To submissions.
        2 => Results(Results),
        /// A whole certified block.
        3 => Block(Box<CertifiedBlock>),
        /// A certified block's part for a filter.
        4 => Part(Box<BlockPart>),
        /// A transaction's proof.
        5 => Receipt(Box<Receipt>),
        /// A credit's proof.
        6 => CreditReceipt(Box<CreditReceipt>),
        /// An account.
        7 => Balance(Box<SignedBalance>),
        /// Keysets.
        8 => Epochs(EpochRecords),
        /// The request was not served; the stream goes on unless the reason says otherwise.
        9 => Refused(Refused),
    }

    /// What a node says about a submitted transaction.
    #[derive(Copy)]
    pub enum TxAnswer {
        /// No room: try again after so many milliseconds, here or at another member.
        1 => Busy(u32),
        /// Refused, or met in a commit and dropped without a leaf.
        2 => Rejected(RejectReason),
        /// It has a leaf; the certificate follows.
        3 => Executed(ExecutedAt),
    }
}

unit_enum! {
    /// Why a transaction was refused.
    #[derive(thiserror::Error)]
    pub enum RejectReason {
        /// Sequence already used.
        #[error("sequence already used")]
        1 => SequenceUsed,
        /// A lower sequence is missing.
        #[error("a lower sequence is missing")]
        2 => SequenceGap,
        /// Another committee decides this transaction.
        #[error("another committee decides this transaction")]
        3 => WrongCommittee,
        /// Amount below the minimum.
        #[error("amount below the minimum")]
        4 => AmountTooSmall,
        /// Expired.
        #[error("expired")]
        5 => Expired,
        /// Deposit already minted.
        #[error("deposit already minted")]
        6 => DepositUsed,
        /// Mint cap reached.
        #[error("mint cap reached")]
        7 => MintCapReached,
        /// The payee's key is not acceptable.
        #[error("the payee's key is not acceptable")]
        8 => BadRecipient,
        /// The payee's balance would overflow.
        #[error("the payee's balance would overflow")]
        9 => RecipientFull,
        /// The payee's committee is too far behind.
        #[error("the payee's committee is too far behind")]
        10 => DestinationBusy,
        /// The epoch closed first: submit again.
        #[error("the epoch closed first: submit again")]
        11 => EpochClosed,
        /// Sequence too far in the future.
        #[error("sequence too far in the future")]
        12 => TooFarAhead,
        /// Another transaction holds this sequence.
        #[error("another transaction holds this sequence")]
        13 => SequencePending,
        /// Balance too small for all that is pending.
        #[error("balance too small for all that is pending")]
        14 => ShortBalance,
        /// Node does not propose: try another member.
        #[error("node does not propose: try another member")]
        15 => NotProposing,
        /// Signature or key does not verify.
        #[error("signature or key does not verify")]
        16 => BadSignature,
        /// This ledger orders no opaque payloads, or none so long.
        #[error("this ledger orders no such payload")]
        17 => OpaqueRefused,
    }

    /// Why a request was refused.
    #[derive(thiserror::Error)]
    pub enum RefuseReason {
        /// Malformed frame; the stream ends.
        #[error("malformed frame; the stream ends")]
        1 => Malformed,
        /// Frame too large; the stream ends.
        #[error("frame too large; the stream ends")]
        2 => TooLarge,
        /// Another ledger; the stream ends.
        #[error("another ledger; the stream ends")]
        3 => WrongChain,
        /// The first frame must be Hello; the stream ends.
        #[error("the first frame must be Hello; the stream ends")]
        4 => HelloExpected,
        /// No such leaf, or not certified yet.
        #[error("no such leaf, or not certified yet")]
        5 => NoSuchLeaf,
        /// Another committee owns this account.
        #[error("another committee owns this account")]
        6 => WrongCommittee,
        /// Too many subscriptions on this connection.
        #[error("too many subscriptions on this connection")]
        7 => TooManySubscriptions,
        /// Too many requests: slow down.
        #[error("too many requests: slow down")]
        8 => TooManyRequests,
        /// The subscriber reads too slowly; the stream ends.
        #[error("the subscriber reads too slowly; the stream ends")]
        9 => TooSlow,
        /// The node is stopping.
        #[error("the node is stopping")]
        10 => ShuttingDown,
        /// Too many connections from this address.
        #[error("too many connections from this address")]
        11 => TooManyConnections,
        /// Height lies beyond the certified tip.
        #[error("height lies beyond the certified tip")]
        12 => HeightTooFar,
    }
}
