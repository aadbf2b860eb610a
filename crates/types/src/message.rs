//! Credits between committees: outbox messages, their logs, packs, and closing records.
//!
//! The payer's committee appends a message to an append-only RFC 9162 log per destination; the
//! destination keeps a cursor per source. A pack carries messages from the cursor on, with
//! everything needed to check them against the source's keyset in the destination's ledger state.

use crate::amount::{Amount, Total};
use crate::codec::List;
use crate::header::CertifiedHeader;
use crate::ids::{CommitteeId, Hash, PublicKey, TxId};
use crate::plan::Plan;
use crate::proof::{ConsistencyProof, MerklePath};
use crate::{unit_enum, wire_struct};

/// Most messages in one pack.
pub const PACK_MESSAGES_MAX: usize = 2_048;

unit_enum! {
    /// What a message asks the destination to do.
    pub enum MessageKind {
        /// Credit the payee.
        1 => Credit,
        /// A credit that could not be made comes back: credit the payer.
        2 => Return,
        /// Credit the payee of a mint; there is no payer to return it to.
        3 => MintCredit,
    }
}

wire_struct! {
    /// One entry of an outbox log. 105 bytes.
    #[derive(Copy)]
    pub struct OutboxMessage {
        /// What to do.
        pub kind: MessageKind,
        /// The transaction that moved the coins.
        pub txid: TxId,
        /// Whose coins they were (the issuer, for a mint).
        pub payer: PublicKey,
        /// Whom they are for.
        pub payee: PublicKey,
        /// How many.
        pub amount: Amount,
    }

    /// The state of one destination's log, a leaf under a header's `outbox` root.
    #[derive(Copy)]
    pub struct OutboxLeaf {
        /// The log's destination; also the leaf's position.
        pub destination: CommitteeId,
        /// Messages ever appended.
        pub count: u64,
        /// Coins in them.
        pub amount: Total,
        /// RFC 9162 root over the messages.
        pub root: Hash,
    }

    /// The cursor into one source's log, a leaf under a header's `inbox` root.
    #[derive(Copy)]
    pub struct InboxLeaf {
        /// The log's source; also the leaf's position.
        pub source: CommitteeId,
        /// Messages consumed.
        pub count: u64,
        /// Coins in them.
        pub amount: Total,
        /// RFC 9162 root over the consumed messages.
        pub root: Hash,
    }

    /// Messages for a destination from its cursor on, with their proof.
    pub struct Pack {
        /// The committee that sent them.
        pub source: CommitteeId,
        /// The committee they are for.
        pub destination: CommitteeId,
        /// Index of the first message; must equal the cursor's count.
        pub first: u64,
        /// In log order; at least one.
        pub messages: List<OutboxMessage, PACK_MESSAGES_MAX>,
        /// From the log of `first + messages` entries to `log`.
        pub consistency: ConsistencyProof,
        /// The log as the header commits to it.
        pub log: OutboxLeaf,
        /// From `log` to the header's outbox root.
        pub path: MerklePath,
        /// The certified header of the source.
        pub certified: CertifiedHeader,
    }

    /// The end of a committee's epoch and the plan that follows: teaches the next keyset.
    pub struct ClosingRecord {
        /// The closing header; its `next_plan` is the hash of `plan`.
        pub certified: CertifiedHeader,
        /// The plan of the next epoch.
        pub plan: Plan,
    }

    /// A destination's certified cursor: tells a source what need not be relayed any more.
    pub struct CursorProof {
        /// The cursor.
        pub cursor: InboxLeaf,
        /// From the cursor to the header's inbox root.
        pub path: MerklePath,
        /// The certified header of the destination.
        pub certified: CertifiedHeader,
    }
}
