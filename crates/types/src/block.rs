//! DAG blocks: the only message of consensus. No votes: a parent reference is one.

use crate::codec::List;
use crate::ids::{BlockDigest, ChainId, CommitteeId, Epoch, MEMBERS_MAX, MemberIndex, Round, Signature};
use crate::message::{ClosingRecord, Pack};
use crate::plan::EpochChange;
use crate::time::Timestamp;
use crate::transaction::{Opaque, Transaction};
use crate::version::Version;
use crate::wire_struct;

/// Longest encoding of a block.
pub const BLOCK_BYTES_MAX: usize = 512 * 1024;
/// Most transactions in one block.
pub const BLOCK_TRANSACTIONS_MAX: usize = 3_000;
/// Most opaque payloads in one block.
pub const BLOCK_OPAQUE_MAX: usize = 4_096;
/// Most packs in one block (and at most one per source).
pub const BLOCK_PACKS_MAX: usize = 64;
/// Most closing records in one block.
pub const BLOCK_CLOSINGS_MAX: usize = 8;

wire_struct! {
    /// Names a block: its slot and its digest.
    #[derive(Copy, Hash)]
    pub struct BlockRef {
        /// The layer.
        pub round: Round,
        /// Who made it.
        pub author: MemberIndex,
        /// Which one, should the author have made two.
        pub digest: BlockDigest,
    }

    /// What a block carries.
    #[derive(Default)]
    pub struct Payload {
        /// Transactions in the order in which they shall execute.
        pub transactions: List<Transaction, BLOCK_TRANSACTIONS_MAX>,
        /// Opaque payloads, after the transactions; none unless the genesis plan allows them.
        pub opaque: List<Opaque, BLOCK_OPAQUE_MAX>,
        /// Credits from other committees.
        pub packs: List<Pack, BLOCK_PACKS_MAX>,
        /// Closing headers of other committees.
        pub closings: List<ClosingRecord, BLOCK_CLOSINGS_MAX>,
        /// The end of this epoch.
        pub epoch_change: Option<EpochChange>,
    }

    /// A signed block of the DAG.
    pub struct Block {
        /// The protocol's version.
        pub version: Version,
        /// The ledger.
        pub chain: ChainId,
        /// The epoch whose DAG it belongs to.
        pub epoch: Epoch,
        /// The committee.
        pub committee: CommitteeId,
        /// Who made it.
        pub author: MemberIndex,
        /// The layer, from 1.
        pub round: Round,
        /// The author's clock; only medians of it are used.
        pub timestamp: Timestamp,
        /// Own previous block first, then other authors' ascending; see DESIGN §4 "valid iff".
        pub parents: List<BlockRef, MEMBERS_MAX>,
        /// What it carries.
        pub payload: Payload,
        /// By the author over the SHA-256 of everything above.
        pub signature: Signature,
    }
}

impl PartialOrd for BlockRef {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for BlockRef {
    /// By (round, author, digest): the order in which a commit executes.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.round, self.author, self.digest).cmp(&(other.round, other.author, other.digest))
    }
}

impl Payload {
    /// Whether there is nothing to execute.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
            && self.opaque.is_empty()
            && self.packs.is_empty()
            && self.closings.is_empty()
            && self.epoch_change.is_none()
    }

    /// Transactions and opaque payloads.
    pub fn transaction_count(&self) -> usize {
        self.transactions.len() + self.opaque.len()
    }
}
