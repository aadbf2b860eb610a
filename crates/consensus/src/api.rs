//! The seam of consensus: facts in, orders out. The replica drives it; another protocol can stand here.

use std::sync::Arc;
use std::time::Duration;

use shardpay_crypto::{Commit, SealedBlock, Verified};
use shardpay_types::{
    BlockRef, ChainId, CommitteeId, CommitteePlan, Epoch, EquivocationProof, MemberIndex, Payload, PublicKey, Round,
    Timestamp, quorum,
};

/// The committee and epoch an instance of consensus runs for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The ledger.
    pub chain: ChainId,
    /// The epoch.
    pub epoch: Epoch,
    /// The committee.
    pub committee: CommitteeId,
    /// Its members.
    pub members: CommitteePlan,
    /// Signs mints; named in genesis.
    pub issuer: PublicKey,
    /// Longest opaque payload that a block may carry, 0: none; named in genesis.
    pub opaque_bytes_max: u32,
}

/// The numbers the protocol's safety rests on. Production uses [`Rules::sound`] and nothing else: other
/// values exist only so that the simulator can be shown to find the planted bugs "quorum of 2f" and
/// "highest instead of lowest anchor".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Blocks of a round that make a quorum: Q = n − f.
    pub quorum: usize,
    /// Which undecided-by-itself slot's anchor decides.
    pub anchor: AnchorRule,
}

/// Which slot at round ≥ r + 3 that is not decided skip is the anchor of slot r.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnchorRule {
    /// The lowest: the rule of DESIGN §4.
    Lowest,
    /// The highest: unsound.
    Highest,
}

impl Rules {
    /// The sound rules of a committee of `members`.
    pub const fn sound(members: usize) -> Self {
        Self { quorum: quorum(members), anchor: AnchorRule::Lowest }
    }
}

/// What an instance needs to know at its start. Times are the operator's, `gc_depth` is genesis'.
#[derive(Debug, Clone)]
pub struct Config {
    /// Committee and epoch.
    pub context: Arc<Context>,
    /// Who we are in it.
    pub own: MemberIndex,
    /// Thresholds and anchors; [`Rules::sound`].
    pub rules: Rules,
    /// Protocol constant: rounds below a leader that it can still commit.
    pub gc_depth: u64,
    /// Least time between two own blocks under load; catching up is not paced.
    pub min_round_delay: Duration,
    /// First leader timeout; doubles per n rounds without a committed leader.
    pub leader_timeout: Duration,
    /// Longest leader timeout (10 s).
    pub leader_timeout_max: Duration,
    /// First wait before a missing parent is asked for again; doubles, to [`Self::sync_retry_max`]. Longer where answers
    /// take longer.
    pub sync_retry: Duration,
    /// Longest wait before a missing parent is asked for again, and longest that a peer is taken to be late.
    pub sync_retry_max: Duration,
    /// Commits handed out and not yet executed at which output pauses.
    pub execution_queue_max: usize,
}

impl Config {
    /// The blueprint's values for member `own` of `context`'s committee.
    pub fn standard(context: Arc<Context>, own: MemberIndex) -> Self {
        Self {
            rules: Rules::sound(context.members.size()),
            context,
            own,
            gc_depth: 60,
            min_round_delay: Duration::from_millis(20),
            leader_timeout: Duration::from_millis(250),
            leader_timeout_max: Duration::from_secs(10),
            sync_retry: Duration::from_millis(100),
            sync_retry_max: Duration::from_secs(2),
            execution_queue_max: 16,
        }
    }
}

/// Where an instance starts from.
#[derive(Debug, Clone)]
pub enum Start {
    /// This process lived through the previous epoch's end: no peer can know a newer own block.
    NewEpoch,
    /// The process starts: before proposing it hears Q − 1 peers and adopts newer own blocks.
    Restart(Recovered),
}

/// What the store held.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// Round of the last output leader slot (committed or skipped) of the last durable state batch.
    pub last_output: Round,
    /// Leaders committed in (last anchor − gc depth, last anchor], ascending.
    pub leaders: Vec<BlockRef>,
    /// Every stored block of the epoch above `last_output − gc_depth`, any order.
    pub blocks: Vec<Arc<SealedBlock>>,
}

/// Facts.
#[expect(clippy::large_enum_variant, reason = "one proposal per round; an input is moved once and never kept")]
#[derive(Debug, Clone)]
pub enum Input {
    /// A valid block came from a peer; `requested`: in answer to our request.
    BlockReceived {
        /// The peer (not always the author).
        from: MemberIndex,
        /// The block; [`crate::validate`] was passed.
        block: Verified<Arc<SealedBlock>>,
        /// Whether it answers a request.
        requested: bool,
    },
    /// A peer asks for blocks.
    BlocksRequested {
        /// The peer.
        from: MemberIndex,
        /// At most 32.
        refs: Vec<BlockRef>,
    },
    /// A peer told its highest accepted block per author.
    PeerStatus {
        /// The peer.
        from: MemberIndex,
        /// One per author it has a block of.
        highest: Vec<BlockRef>,
    },
    /// Whether the replica has something that can execute in the next own block.
    WorkChanged {
        /// True: propose even when the DAG is idle.
        pending: bool,
    },
    /// The answer to [`Output::Propose`], given before any other input.
    Proposal {
        /// The same round.
        round: Round,
        /// Empty when payload was not allowed.
        payload: Payload,
    },
    /// The ledger executed the oldest commit handed out and not yet reported.
    CommitExecuted,
    /// The ledger stands at `anchor` by certified ledger blocks: resume above it.
    Rejoin {
        /// The anchor of a certified header with `last_of_commit`.
        anchor: BlockRef,
        /// The leaders its `leaders` hash commits to.
        leaders: Vec<BlockRef>,
    },
    /// The epoch has closed by a commit already handed out: no more commits, no more payload. Peers are
    /// still served, and empty blocks still made as far as members need them that have not got that far
    /// (a leader is decided everywhere only while Q members go on).
    Close,
    /// Nothing happened but time.
    Tick,
}

/// Orders.
#[derive(Debug, Clone)]
pub enum Output {
    /// Store an accepted block. An own block must be durable, with all before it, before it is sent.
    Persist(Arc<SealedBlock>),
    /// Ask the replica for payload; it answers with [`Input::Proposal`] at once.
    Propose {
        /// The round of the block being made.
        round: Round,
        /// False while catching up or overloaded: answer with an empty payload.
        payload_allowed: bool,
        /// Bytes the payload may take, at most.
        bytes_max: usize,
    },
    /// Send blocks to a peer, ascending rounds first, at most 64.
    Send {
        /// The peer.
        to: MemberIndex,
        /// The blocks.
        blocks: Vec<Arc<SealedBlock>>,
        /// Whether they answer a request of the peer.
        requested: bool,
    },
    /// Ask a peer for blocks, ascending rounds first, at most 32.
    Request {
        /// The peer.
        to: MemberIndex,
        /// Which blocks.
        refs: Vec<BlockRef>,
    },
    /// A peer asks for blocks that are in the store only: send those that are there.
    ServeStored {
        /// The peer.
        to: MemberIndex,
        /// Which blocks.
        refs: Vec<BlockRef>,
    },
    /// A leader is committed: execute it.
    Commit(Arc<Commit>),
    /// Own blocks fell below gc uncommitted: their payload returns to the mempool.
    Reclaimed(Vec<Arc<SealedBlock>>),
    /// Blocks of rounds below this one leave the store (10 × gc depth below the last output).
    Prune {
        /// First round kept.
        below: Round,
    },
    /// A peer is more than the gc depth ahead: the DAG alone will not catch up.
    FarBehind {
        /// The peer's round.
        round: Round,
    },
    /// An author made two blocks in one slot.
    Equivocation(Box<EquivocationProof>),
    /// The store was lost: blocks under our key exist that it does not hold. We stay out of this epoch.
    StayOut {
        /// A block of ours the store should hold.
        newest: BlockRef,
    },
    /// More than f members are faulty: two certified blocks in one slot. Nothing more comes out.
    Halt(Box<EquivocationProof>),
}

/// Gauges, counters and bounds, for telemetry and checkers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Round of the last own block.
    pub own_round: Round,
    /// Highest round with an accepted block.
    pub highest_accepted: Round,
    /// Round of the last decided and handed-out slot.
    pub last_output: Round,
    /// Highest accepted block per author.
    pub highest: Vec<BlockRef>,
    /// Blocks held in memory.
    pub blocks: usize,
    /// Blocks waiting for parents, over all authors.
    pub waiting_blocks: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
    /// References asked for and not answered yet.
    pub missing: usize,
    /// Commits handed out and not executed.
    pub executing: usize,
    /// Slots decided by their own certificates, by Q blames, by an anchor (commit and skip).
    pub direct_commits: u64,
    /// See `direct_commits`.
    pub direct_skips: u64,
    /// See `direct_commits`.
    pub indirect_commits: u64,
    /// See `direct_commits`.
    pub indirect_skips: u64,
    /// Own blocks made because of the leader timeout.
    pub leader_timeouts: u64,
    /// Own empty blocks made to catch up.
    pub catch_up_blocks: u64,
    /// Blocks dropped: beyond bounds, duplicate, too far ahead, below gc.
    pub dropped_blocks: u64,
    /// Whether proposing waits for peers' status after a restart.
    pub awaiting_peers: bool,
    /// Whether the instance has halted, stays out of proposing, or is closed.
    pub stopped: bool,
}

/// A BFT ordering protocol for one committee and epoch, without I/O, clock or randomness.
///
/// After each `handle`, poll outputs until `None`; call `handle(now, Input::Tick)` when `poll_timeout`
/// is due.
pub trait Consensus: Send {
    /// Takes a fact.
    fn handle(&mut self, now: Timestamp, input: Input);
    /// The next order.
    fn poll_output(&mut self) -> Option<Output>;
    /// When to call with [`Input::Tick`] at the latest; `None`: silence is fine.
    fn poll_timeout(&self) -> Option<Timestamp>;
    /// Gauges and counters.
    fn status(&self) -> Status;
}
