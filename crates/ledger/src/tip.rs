//! What the store keeps in one small record: everything but accounts, references, messages and blocks.
//!
//! Guarantees: with the tip and the rest of the same batch, [`crate::Ledger::open`] rebuilds exactly the
//! ledger that wrote it. Plans are not in it: they stand in closing records and closing blocks.
//! The leaves under the headers that are not certified yet are kept as differences, one set per height.
#![allow(unreachable_pub, reason = "the codec's macro declares public structs; the module is private")]

use shardpay_crypto::Frontier;
use shardpay_types::{
    BlockRef, ChainId, CommitteeId, Epoch, Hash, HeaderHash, Height, InboxLeaf, LeaderList, List, OutboxLeaf, PlanHash,
    Round, Timestamp, Total, Totals, Version, wire_struct,
};

/// Committees at most; see `COMMITTEES_MAX`.
const COMMITTEES: usize = shardpay_types::COMMITTEES_MAX;

wire_struct! {
    /// The last header and what the next one continues.
    pub struct HeadTip {
        /// Its epoch.
        pub epoch: Epoch,
        /// Its height; zero before the first.
        pub height: Height,
        /// Its hash.
        pub hash: HeaderHash,
        /// Its ledger time.
        pub ledger_time: Timestamp,
        /// Its anchor's round, zero in a new epoch.
        pub anchor: Round,
        /// Its effects hash.
        pub effects: Hash,
        /// The log of all header hashes up to it.
        pub history: Frontier,
    }

    /// What is recorded about a committee's epoch.
    pub struct KeysetTip {
        /// The epoch.
        pub epoch: Epoch,
        /// Its plan.
        pub plan: PlanHash,
        /// The closing header before it.
        pub closing: HeaderHash,
    }

    /// An outbox that is not empty.
    pub struct OutboxTip {
        /// Whose messages.
        pub destination: CommitteeId,
        /// Messages ever.
        pub count: u64,
        /// Coins in them.
        pub amount: Total,
        /// The log up to the known cursor.
        pub acknowledged: Frontier,
    }

    /// A cursor that has moved.
    pub struct CursorTip {
        /// Whose messages.
        pub source: CommitteeId,
        /// Coins in them.
        pub amount: Total,
        /// The log consumed.
        pub frontier: Frontier,
    }

    /// Leaves under one header that differ from those under the header before in the list.
    pub struct LeavesTip {
        /// The header's height.
        pub height: Height,
        /// Outbox leaves.
        pub outbox: List<OutboxLeaf, COMMITTEES>,
        /// Inbox leaves.
        pub inbox: List<InboxLeaf, COMMITTEES>,
    }

    /// A recent header whose leader list is kept.
    pub struct RecentTip {
        /// Its height.
        pub height: Height,
        /// Its anchor's round.
        pub anchor: Round,
        /// The hash of its list.
        pub hash: Hash,
    }

    /// Leaders of the running epoch.
    pub struct LeadersTip {
        /// Round of the last executed anchor.
        pub last_output: Round,
        /// In (last anchor − gc depth, last anchor].
        pub current: LeaderList,
        /// Whether `current` is complete.
        pub known: bool,
        /// Leaders that recent headers' lists consist of.
        pub window: List<BlockRef, 65_536>,
        /// The recent headers.
        pub recent: List<RecentTip, 65_536>,
    }

    /// The tip.
    pub struct Tip {
        /// The protocol's version.
        pub version: Version,
        /// The ledger.
        pub chain: ChainId,
        /// The committee.
        pub committee: CommitteeId,
        /// The running epoch.
        pub epoch: Epoch,
        /// The block that brought its plan; zero: genesis.
        pub opened_by: Height,
        /// The block that closed it, when it has closed.
        pub closed_by: Option<Height>,
        /// The books.
        pub totals: Totals,
        /// The end of the chain.
        pub head: HeadTip,
        /// One per committee.
        pub keysets: List<KeysetTip, COMMITTEES>,
        /// Ascending.
        pub outboxes: List<OutboxTip, COMMITTEES>,
        /// Ascending.
        pub cursors: List<CursorTip, COMMITTEES>,
        /// The latest certified header (height 0: none yet, all empty), then every later one.
        pub leaves: List<LeavesTip, 1_048_576>,
        /// See there.
        pub leaders: LeadersTip,
    }
}
