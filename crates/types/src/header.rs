//! Ledger blocks: what a commit becomes after execution, and the certificates that make them proofs.
//!
//! A header commits to everything execution produced; Q member signatures over its hash are a
//! certificate. Signer sets and certificates enter no hash, so every replica computes equal headers.

use crate::amount::{Amount, Total};
use crate::block::BlockRef;
use crate::codec::{Codec, DecodeError, List, Reader};
use crate::ids::{
    ChainId, CommitteeId, Epoch, Hash, HeaderHash, Height, MEMBERS_MAX, MemberIndex, PlanHash, Sequence, Signature,
};
use crate::message::{ClosingRecord, Pack};
use crate::plan::EpochChange;
use crate::time::Timestamp;
use crate::transaction::{Opaque, Transaction};
use crate::version::Version;
use crate::{unit_enum, wire_enum, wire_struct};

wire_struct! {
    /// A committee's books. Invariant of every header:
    /// balances + burned + sent + suspense = minted + received.
    #[derive(Copy)]
    pub struct Totals {
        /// Sum over all accounts of the committee.
        pub balances: Total,
        /// Coins redeemed.
        pub burned: Total,
        /// Coins in messages ever appended to the outbox.
        pub sent: Total,
        /// Coins of returns that could not be credited.
        pub suspense: Total,
        /// Coins created here.
        pub minted: Total,
        /// Coins in messages ever consumed from inboxes.
        pub received: Total,
    }

    /// The header of a ledger block.
    pub struct LedgerHeader {
        /// The protocol's version.
        pub version: Version,
        /// The ledger.
        pub chain: ChainId,
        /// The committee.
        pub committee: CommitteeId,
        /// The epoch whose members sign.
        pub epoch: Epoch,
        /// Heights have no gaps and go on over epochs.
        pub height: Height,
        /// Hash of the header one below; zero for height 1.
        pub parent: HeaderHash,
        /// RFC 9162 root over the hashes of all earlier headers (heights 1..height).
        pub history: Hash,
        /// max(parent's, lower median of the leader's parents' timestamps at round − 1).
        pub ledger_time: Timestamp,
        /// The committed leader whose commit made the block.
        pub anchor: BlockRef,
        /// Hash of the list of all leaders committed in (anchor − gc depth, anchor].
        pub leaders: Hash,
        /// Whether the commit's execution ends with this block.
        pub last_of_commit: bool,
        /// Number of leaves.
        pub leaf_count: u32,
        /// RFC 9162 root over the leaves.
        pub leaves: Hash,
        /// RFC 9162 root over the [`crate::OutboxLeaf`]s of all destinations, by committee.
        pub outbox: Hash,
        /// RFC 9162 root over the [`crate::InboxLeaf`]s of all sources, by committee.
        pub inbox: Hash,
        /// Hash chain over the sorted changes of accounts, deposit references, cursors and keysets.
        pub effects: Hash,
        /// The books after the block.
        pub totals: Totals,
        /// In the closing header of an epoch only: the plan of the next one.
        pub next_plan: Option<PlanHash>,
    }

    /// One member's signature.
    pub struct MemberSignature {
        /// Who signed.
        pub member: MemberIndex,
        /// Over what the context says.
        pub signature: Signature,
    }

    /// A header with the signatures of Q members.
    pub struct CertifiedHeader {
        /// The header.
        pub header: LedgerHeader,
        /// Signatures over its hash.
        pub certificate: Certificate,
    }

    /// Balance and next sequence of an account.
    #[derive(Copy)]
    pub struct AccountState {
        /// Coins.
        pub balance: Amount,
        /// Sequence the account's next transaction must carry.
        pub next_sequence: Sequence,
    }

    /// A transaction that left a leaf, with what it did.
    pub struct ExecutedTransaction {
        /// The transaction.
        pub transaction: Transaction,
        /// What became of it.
        pub outcome: Outcome,
        /// State after it of each local account it touched: the debited one, then the credited one
        /// when it is local and another. A failed one touches the debited account only.
        pub accounts: List<AccountState, 2>,
    }

    /// A consumed outbox message, with what became of it.
    pub struct ExecutedCredit {
        /// What became of it.
        pub outcome: CreditOutcome,
        /// State after it of the account credited; `None` unless `Applied`.
        pub account: Option<AccountState>,
    }

    /// A pack that was applied.
    pub struct ExecutedPack {
        /// The pack.
        pub pack: Pack,
        /// One per message, in order.
        pub credits: List<ExecutedCredit, 2_048>,
    }

    /// A ledger block: a header and the items it was made from, enough to execute it again.
    pub struct LedgerBlock {
        /// The header.
        pub header: LedgerHeader,
        /// Only items that left something: in execution order.
        pub items: List<LedgerItem, 65_536>,
    }

    /// A ledger block with its certificate: what a rejoining node replays.
    pub struct CertifiedBlock {
        /// The block.
        pub block: LedgerBlock,
        /// Signatures over the header's hash; in a `LedgerResponse` there may be fewer than Q.
        pub certificate: Certificate,
    }

    /// What Q members sign when an epoch has closed: the whole state in one hash.
    pub struct Checkpoint {
        /// The ledger.
        pub chain: ChainId,
        /// The committee.
        pub committee: CommitteeId,
        /// The epoch that closed.
        pub epoch: Epoch,
        /// Height of the closing header.
        pub height: Height,
        /// The closing header.
        pub header: HeaderHash,
        /// Root over accounts, deposit references, cursors, source keysets and totals.
        pub state_root: Hash,
    }
}

unit_enum! {
    /// What became of a transaction that consumed its sequence or deposit reference.
    pub enum Outcome {
        /// Carried out.
        1 => Applied,
        /// The balance was too small: the sequence is consumed, nothing moved. Final.
        2 => ShortBalance,
    }

    /// What became of an outbox message at its destination.
    pub enum CreditOutcome {
        /// The account was credited.
        1 => Applied,
        /// It could not be credited and went back as a return message.
        2 => Returned,
        /// A return (or a mint's credit) that could not be credited: the coins stand in `suspense`.
        3 => Suspended,
    }
}

wire_enum! {
    /// An item of a ledger block.
    pub enum LedgerItem {
        /// One leaf.
        1 => Transaction(ExecutedTransaction),
        /// One leaf per message.
        2 => Pack(ExecutedPack),
        /// Another committee's closing header was recorded: no leaf.
        3 => Closing(ClosingRecord),
        /// The epoch closes here: no leaf, last item of the epoch.
        4 => EpochChange(EpochChange),
        /// An opaque payload: one leaf.
        5 => Opaque(Opaque),
    }
}

impl LedgerHeader {
    /// Whether this header closes its epoch.
    pub const fn is_closing(&self) -> bool {
        self.next_plan.is_some()
    }
}

impl LedgerItem {
    /// Number of leaves the item leaves.
    pub fn leaf_count(&self) -> usize {
        match self {
            Self::Transaction(_) | Self::Opaque(_) => 1,
            Self::Pack(executed) => executed.credits.len(),
            Self::Closing(_) | Self::EpochChange(_) => 0,
        }
    }
}

impl AccountState {
    /// An account nobody has paid yet.
    pub const EMPTY: Self = Self { balance: Amount::ZERO, next_sequence: Sequence::ZERO };
}

impl Totals {
    /// The books before anything happened.
    pub const ZERO: Self = Self {
        balances: Total::ZERO,
        burned: Total::ZERO,
        sent: Total::ZERO,
        suspense: Total::ZERO,
        minted: Total::ZERO,
        received: Total::ZERO,
    };

    /// Whether balances + burned + sent + suspense = minted + received.
    pub fn conserved(&self) -> bool {
        let sum = |parts: &[Total]| parts.iter().try_fold(Total::ZERO, |sum, part| sum.checked_plus(*part));
        let out = sum(&[self.balances, self.burned, self.sent, self.suspense]);
        out.is_some() && out == sum(&[self.minted, self.received])
    }
}

/// Signatures of distinct members, ascending by member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Certificate {
    signatures: List<MemberSignature, MEMBERS_MAX>,
}

impl Certificate {
    /// Makes a certificate from signatures of distinct members, in any order; `None` when a member
    /// stands twice.
    pub fn new(mut signatures: Vec<MemberSignature>) -> Option<Self> {
        signatures.sort_by_key(|s| s.member);
        if signatures.windows(2).any(|pair| pair[0].member == pair[1].member) {
            return None;
        }
        List::new(signatures).map(|signatures| Self { signatures })
    }

    /// The signatures, ascending by member.
    pub fn signatures(&self) -> &[MemberSignature] {
        &self.signatures
    }
}

impl Codec for Certificate {
    const MIN_LEN: usize = 4;
    fn encode(&self, out: &mut Vec<u8>) {
        self.signatures.encode(out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let signatures = List::<MemberSignature, MEMBERS_MAX>::decode(reader)?;
        if signatures.windows(2).any(|pair| pair[0].member >= pair[1].member) {
            return Err(DecodeError::NotCanonical { what: "Certificate", why: "members must ascend" });
        }
        Ok(Self { signatures })
    }
}
