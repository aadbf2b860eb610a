//! Messages between nodes. Who sent one is known from the connection, so no message names its sender.

use std::sync::Arc;

use crate::block::{BLOCK_BYTES_MAX, BlockRef};
use crate::codec::{Codec, DecodeError, List, Reader};
use crate::header::{CertifiedBlock, CertifiedHeader, Checkpoint};
use crate::ids::{CommitteeId, Epoch, HeaderHash, Height, MEMBERS_MAX, MemberIndex, Signature};
use crate::message::{ClosingRecord, CursorProof, Pack};
use crate::plan::PlanApproval;
use crate::{wire_enum, wire_struct};

/// Most block references in one request.
pub const REQUEST_REFS_MAX: usize = 32;
/// Most blocks pushed in one message.
pub const PUSH_BLOCKS_MAX: usize = 64;

/// A node: a member of a committee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// The committee.
    pub committee: CommitteeId,
    /// The position in it.
    pub member: MemberIndex,
}

/// A DAG block as it was encoded by its author: encoded once, forwarded as is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RawBlock(pub Arc<[u8]>);

impl Codec for RawBlock {
    const MIN_LEN: usize = 4;
    fn encode(&self, out: &mut Vec<u8>) {
        u32::try_from(self.0.len()).expect("blocks are bounded").encode(out);
        out.extend_from_slice(&self.0);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let len = u32::decode(reader)? as usize;
        if len > BLOCK_BYTES_MAX {
            return Err(DecodeError::OutOfRange { what: "block", value: len as u64, max: BLOCK_BYTES_MAX as u64 });
        }
        reader.take(len).map(|bytes| Self(bytes.into()))
    }
}

wire_struct! {
    /// Asks for blocks by digest, ascending rounds first.
    pub struct BlockRequest {
        /// The epoch whose DAG they belong to.
        pub epoch: Epoch,
        /// Which blocks.
        pub refs: List<BlockRef, REQUEST_REFS_MAX>,
    }

    /// Blocks, pushed by their author or a peer, or in answer to a request.
    pub struct Blocks {
        /// The epoch whose DAG they belong to.
        pub epoch: Epoch,
        /// Whether they answer a [`BlockRequest`].
        pub requested: bool,
        /// The blocks, ascending rounds first.
        pub blocks: List<RawBlock, PUSH_BLOCKS_MAX>,
    }

    /// What a node has, sent every few seconds and on (re)connecting.
    pub struct Heartbeat {
        /// The sender's epoch.
        pub epoch: Epoch,
        /// Highest accepted block per author; authors without one are left out.
        pub highest: List<BlockRef, MEMBERS_MAX>,
        /// Last executed height.
        pub executed: Height,
        /// Last certified height.
        pub certified: Height,
        /// Whether the sender wants a heartbeat back (after a restart).
        pub wants_reply: bool,
    }

    /// A member's signature over a ledger-block header.
    #[derive(Copy)]
    pub struct HeaderVote {
        /// The header's epoch.
        pub epoch: Epoch,
        /// The header's height.
        pub height: Height,
        /// The header.
        pub header: HeaderHash,
        /// Over chain id ‖ kind `Header` ‖ header hash.
        pub signature: Signature,
    }

    /// A member's signature over a checkpoint.
    pub struct CheckpointVote {
        /// The checkpoint.
        pub checkpoint: Checkpoint,
        /// Over it.
        pub signature: Signature,
    }

    /// Asks for ledger blocks.
    #[derive(Copy)]
    pub struct LedgerRequest {
        /// First height wanted.
        pub from: Height,
    }

    /// Ledger blocks from the height asked for: certified, or above the last certified height attested by
    /// the signatures of f + 1 members or more.
    pub struct LedgerResponse {
        /// First height that was asked for.
        pub from: Height,
        /// Ascending heights without gaps; fewer than asked for when they would be too many bytes.
        pub blocks: List<CertifiedBlock, 64>,
        /// The sender's last certified height.
        pub tip: Height,
    }

    /// Asks for the leaders committed in (anchor − gc depth, anchor] of a header's anchor.
    #[derive(Copy)]
    pub struct LeadersRequest {
        /// The header's height.
        pub height: Height,
    }

    /// The leader list a header's `leaders` hash commits to.
    pub struct Leaders {
        /// The header's height.
        pub height: Height,
        /// Ascending rounds.
        pub leaders: LeaderList,
    }

    /// Tells a destination that certified messages wait for it.
    #[derive(Copy)]
    pub struct RelayNotice {
        /// Epoch of the header that certifies them.
        pub epoch: Epoch,
        /// Messages ever appended for the destination, certified.
        pub count: u64,
    }

    /// Asks a source for messages.
    #[derive(Copy)]
    pub struct PackRequest {
        /// Index of the first message wanted: the asker's cursor.
        pub first: u64,
    }

    /// Asks a committee for its closing records.
    #[derive(Copy)]
    pub struct ClosingsRequest {
        /// First epoch wanted.
        pub from: Epoch,
    }

    /// A committee's closing records.
    pub struct Closings {
        /// Ascending epochs.
        pub records: List<ClosingRecord, 4>,
    }

    /// Certificates a peer lacks.
    pub struct Certificates {
        /// Ascending heights.
        pub headers: List<CertifiedHeader, 32>,
    }
}

/// Leaders committed in a window of the gc depth.
pub type LeaderList = List<BlockRef, 1_024>;

wire_enum! {
    /// A message between two nodes: 1–15 inside a committee, from 16 between committees.
    pub enum PeerMessage {
        /// DAG blocks.
        1 => Blocks(Blocks),
        /// Asks for DAG blocks.
        2 => BlockRequest(BlockRequest),
        /// What the sender has.
        3 => Heartbeat(Heartbeat),
        /// A signature over a header.
        4 => HeaderVote(HeaderVote),
        /// A signature over a checkpoint.
        5 => CheckpointVote(CheckpointVote),
        /// Certificates the receiver lacks.
        6 => Certificates(Certificates),
        /// Asks for ledger blocks.
        7 => LedgerRequest(LedgerRequest),
        /// Ledger blocks.
        8 => LedgerResponse(LedgerResponse),
        /// Asks for a leader list.
        9 => LeadersRequest(LeadersRequest),
        /// A leader list.
        10 => Leaders(Leaders),
        /// Consent to a plan.
        11 => PlanApproval(PlanApproval),
        /// Certified messages wait.
        16 => RelayNotice(RelayNotice),
        /// Asks for messages.
        17 => PackRequest(PackRequest),
        /// Messages with their proof.
        18 => Pack(Arc<Pack>),
        /// The sender's committee's cursor.
        19 => Cursor(Box<CursorProof>),
        /// Asks for closing records.
        20 => ClosingsRequest(ClosingsRequest),
        /// Closing records.
        21 => Closings(Closings),
    }
}
