//! Messages between a client and a node, on the client port.
//!
//! A client opens a stream, says [`Hello`], and sends requests; the node answers with replies. Requests of
//! one stream are answered in order, except that results of submissions and subscribed blocks come when
//! they are there.

use crate::codec::{Codec, DecodeError, List, Reader};
use crate::evidence::{BalanceStatement, CreditReceipt, Receipt};
use crate::header::{CertifiedBlock, CertifiedHeader, Outcome};
use crate::ids::{ChainId, CommitteeId, Epoch, Height, MemberIndex, PublicKey, Signature, TxId};
use crate::message::ClosingRecord;
use crate::transaction::Transaction;
use crate::version::Version;
use crate::{wire_enum, wire_struct};

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

/// Defines a fieldless enumeration that is encoded as one byte, with the texts for people.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident { $($tag:literal => $variant:ident $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
        pub enum $name {
            $(#[doc = $text] #[error($text)] $variant = $tag,)*
        }

        impl $name {
            /// All of them, in the order of their tags.
            pub const ALL: &[Self] = &[$(Self::$variant),*];
        }

        impl Codec for $name {
            const MIN_LEN: usize = 1;
            fn encode(&self, out: &mut Vec<u8>) {
                out.push(*self as u8);
            }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                match u8::decode(reader)? {
                    $($tag => Ok(Self::$variant),)*
                    tag => Err(DecodeError::UnknownTag { what: stringify!($name), tag }),
                }
            }
        }
    };
}

reasons! {
    /// Why a transaction was refused.
    RejectReason {
        1 => SequenceUsed "sequence already used",
        2 => SequenceGap "a lower sequence is missing",
        3 => WrongCommittee "another committee decides this transaction",
        4 => AmountTooSmall "amount below the minimum",
        5 => Expired "expired",
        6 => DepositUsed "deposit already minted",
        7 => MintCapReached "mint cap reached",
        8 => BadRecipient "the payee's key is not acceptable",
        9 => RecipientFull "the payee's balance would overflow",
        10 => DestinationBusy "the payee's committee is too far behind",
        11 => EpochClosed "the epoch closed first: submit again",
        12 => TooFarAhead "sequence too far in the future",
        13 => SequencePending "another transaction holds this sequence",
        14 => ShortBalance "balance too small for all that is pending",
        15 => NotProposing "node does not propose: try another member",
        16 => BadSignature "signature or key does not verify",
    }
}

reasons! {
    /// Why a request was refused.
    RefuseReason {
        1 => Malformed "malformed frame; the stream ends",
        2 => TooLarge "frame too large; the stream ends",
        3 => WrongChain "another ledger; the stream ends",
        4 => HelloExpected "the first frame must be Hello; the stream ends",
        5 => NoSuchLeaf "no such leaf, or not certified yet",
        6 => WrongCommittee "another committee owns this account",
        7 => TooManySubscriptions "too many subscriptions on this connection",
        8 => TooManyRequests "too many requests: slow down",
        9 => TooSlow "the subscriber reads too slowly; the stream ends",
        10 => ShuttingDown "the node is stopping",
        11 => TooManyConnections "too many connections from this address",
        12 => HeightTooFar "height lies beyond the certified tip",
    }
}
