//! The DAG protocol as one machine: state, inputs and outputs.
//!
//! Guarantees (with at most f faulty members): all instances hand out the same commits in the same
//! order; an own block stands in the outputs after everything that must be durable before it; an author's
//! slot is never signed twice, also across restarts of a store that kept its blocks; every waiting set is
//! bounded; nothing happens, and no timer runs, when there is no work.
//!
//! The parts: [`crate::store`] keeps accepted blocks, [`crate::commit_rule`] decides slots,
//! [`crate::order`] lists what a leader commits, [`crate::waiting`] and [`crate::asks`] bring missing
//! parents, [`crate::pacemaker`] decides when to make a block. Here they are joined; the files `intake`,
//! `serve`, `proposer` and `recovery` hold one kind of input each.
//!
//! The gc round is `ordered − gc_depth`, where `ordered` is the last slot of the decided prefix. Commits are
//! listed when ordered and handed out when execution has room, so a slow ledger never holds the DAG.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use shardpay_crypto::{Commit, Signer};
use shardpay_types::{BlockRef, EquivocationProof, MemberIndex, MemberSet, Round, Timestamp};

use crate::api::{Config, Consensus, Input, Output, Start, Status};
use crate::asks::{Asks, Backoff};
use crate::commit_rule::{CommitRule, decision};
use crate::order::{LeaderWindow, commit};
use crate::pacemaker::Pacemaker;
use crate::peers::Peers;
use crate::recovery::AwaitingPeers;
use crate::store::{BlockId, Decision, Store};
use crate::validity::genesis_ref;
use crate::waiting::Waiting;

/// Blocks are kept in the driver's store that many gc depths below the last output.
const STORED_DEPTHS: u64 = 10;

/// Consensus on an uncertified DAG. See the module.
pub struct Dag {
    pub(crate) config: Config,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) store: Store,
    pub(crate) rule: CommitRule,
    pub(crate) waiting: Waiting,
    pub(crate) asks: Asks,
    pub(crate) peers: Peers,
    pub(crate) pacemaker: Pacemaker,
    pub(crate) commits: Commits,
    pub(crate) own: OwnChain,
    pub(crate) faults: Faults,
    pub(crate) stage: Stage,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) counts: Counts,
}

/// The decided prefix.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    /// Last slot of the decided prefix.
    pub(crate) ordered: Round,
    /// Commits ordered and not handed out.
    pub(crate) ready: VecDeque<Arc<Commit>>,
    /// Handed out and not executed.
    pub(crate) executing: usize,
    /// Leaders committed in the gc window.
    pub(crate) leaders: LeaderWindow,
    /// Leaders whose ancestors must be marked committed before ordering goes on (after a restart or a
    /// rejoin); fetched if need be.
    pub(crate) resuming: Option<Vec<BlockRef>>,
    /// First round kept in the driver's store, as last ordered.
    pruned_below: Round,
}

/// Our own blocks.
#[derive(Debug)]
pub(crate) struct OwnChain {
    /// The newest, accepted or not: never another one in its round or below.
    pub(crate) latest: BlockRef,
    /// The proposal the replica was asked for.
    pub(crate) proposing: Option<Proposing>,
    /// Whether the replica has something to propose.
    pub(crate) work: bool,
    /// For a round and version of the store: whether its block reaches an equivocator's payload.
    pub(crate) reach: Option<((Round, u64), bool)>,
}

/// A proposal the replica was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proposing {
    pub(crate) round: Round,
    pub(crate) payload_allowed: bool,
}

/// What is known about faulty members.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Proven to have made two blocks in one slot.
    pub(crate) equivocators: MemberSet,
    /// No far-behind hint before this time.
    pub(crate) hint_after: Timestamp,
    /// Per peer: blocks it reported that we lack; taken by digest.
    pub(crate) reported: Vec<BTreeSet<BlockRef>>,
}

/// What the instance may do.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    /// Peers' reports are awaited before the first own block.
    pub(crate) awaiting: Option<AwaitingPeers>,
    /// The store was lost, or our key signed twice: no own blocks in this epoch.
    pub(crate) stays_out: bool,
    /// The epoch has closed: no commits, no payload.
    pub(crate) closed: bool,
    pub(crate) halted: bool,
}

/// Counters of the status.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) leader_timeouts: u64,
    pub(crate) catch_up_blocks: u64,
    pub(crate) dropped_blocks: u64,
}

impl Dag {
    /// An instance for one committee and epoch. A restarted one hands out the commits above the last
    /// durable one again.
    pub fn new(now: Timestamp, config: Config, signer: Arc<dyn Signer>, start: Start) -> Self {
        let members = config.context.members.size();
        let backoff = Backoff { first: config.sync_retry, max: config.sync_retry_max };
        let mut dag = Self {
            signer,
            store: Store::new(members, config.rules.quorum),
            rule: CommitRule::new(config.rules, members),
            waiting: Waiting::new(members),
            asks: Asks::new(config.own, members, backoff),
            peers: Peers::new(members, config.sync_retry_max),
            pacemaker: Pacemaker::new(now),
            commits: Commits::default(),
            own: OwnChain {
                latest: genesis_ref(&config.context, config.own),
                proposing: None,
                work: false,
                reach: None,
            },
            faults: Faults { reported: vec![BTreeSet::new(); members], ..Faults::default() },
            stage: Stage::default(),
            outputs: VecDeque::new(),
            counts: Counts::default(),
            config,
        };
        if let Start::Restart(recovered) = start {
            dag.recover(now, recovered);
        }
        dag.settle(now);
        dag
    }

    /// Which member this instance is.
    pub fn own(&self) -> MemberIndex {
        self.config.own
    }

    pub(crate) fn members(&self) -> usize {
        self.config.context.members.size()
    }

    pub(crate) const fn quorum(&self) -> usize {
        self.config.rules.quorum
    }

    pub(crate) fn is_peer(&self, member: MemberIndex) -> bool {
        member.index() < self.members() && member != self.config.own
    }

    /// Everybody else.
    pub(crate) fn others(&self) -> impl Iterator<Item = MemberIndex> + use<> {
        let own = self.config.own;
        self.config.context.members.indices().filter(move |member| *member != own)
    }

    /// Last slot handed out: everything ordered, less the commits that wait for execution.
    pub(crate) fn last_output(&self) -> Round {
        let first_waiting = self.commits.ready.front().map(|commit| commit.anchor.round.previous());
        first_waiting.unwrap_or(self.commits.ordered)
    }

    /// After a block was accepted: decide, order, collect garbage. Returns waiting blocks that lack
    /// nothing any more.
    pub(crate) fn decide(&mut self) -> Vec<BlockRef> {
        self.rule.evaluate(&mut self.store, self.commits.ordered);
        let before = self.commits.ordered;
        while self.commits.resuming.is_none() {
            let round = self.commits.ordered.next();
            match decision(&self.store, round) {
                Decision::Undecided => break,
                Decision::Skip => {}
                Decision::Commit(twin) => self.order(BlockId { round, author: self.rule.leader(round), twin }),
            }
            self.commits.ordered = round;
        }
        if self.commits.ordered > before { self.collect_garbage() } else { Vec::new() }
    }

    fn order(&mut self, leader: BlockId) {
        let gc_depth = self.config.gc_depth;
        let anchor = self.store.entry(leader).expect("a committed leader is held").block.reference();
        self.commits.leaders.push(anchor, gc_depth);
        let leaders = self.commits.leaders.list().to_vec();
        let commit = commit(&mut self.store, leader, leaders, gc_depth).expect("a committed leader is held");
        if !self.stage.closed {
            self.commits.ready.push_back(Arc::new(commit));
        }
    }

    /// Hands out commits while execution has room.
    fn hand_out(&mut self) {
        while self.commits.executing < self.config.execution_queue_max.max(1) {
            let Some(commit) = self.commits.ready.pop_front() else { break };
            self.commits.executing += 1;
            self.outputs.push_back(Output::Commit(commit));
        }
        let below = self.last_output().minus(STORED_DEPTHS.saturating_mul(self.config.gc_depth));
        if below.since(self.commits.pruned_below) >= (self.config.gc_depth / 4).max(1) {
            self.commits.pruned_below = below;
            self.outputs.push_back(Output::Prune { below });
        }
    }

    /// Two certified blocks in one slot: nothing more comes out.
    pub(crate) fn halt(&mut self, fork: [BlockRef; 2]) {
        let block = |reference: &BlockRef| {
            let id = self.store.find(reference)?;
            self.store.entry(id).map(|entry| entry.block.block().clone())
        };
        let [first, second] = fork.each_ref().map(|reference| block(reference).expect("certified blocks are held"));
        self.stage.halted = true;
        self.outputs.push_back(Output::Halt(Box::new(EquivocationProof { first, second })));
    }

    /// What follows every input.
    fn settle(&mut self, now: Timestamp) {
        if self.stage.halted {
            return;
        }
        self.check_reports();
        self.hand_out();
        self.send_requests(now);
        self.pace(now);
    }

    /// The epoch has closed by a commit handed out. Members that have not got that far still need this one's
    /// empty blocks: it goes on, orders what it no longer hands out, and falls silent with the rest.
    fn close(&mut self) {
        self.stage.closed = true;
        self.commits.ready.clear();
        self.commits.executing = 0;
        self.own.work = false;
    }
}

impl Consensus for Dag {
    fn handle(&mut self, now: Timestamp, input: Input) {
        if self.stage.halted {
            return;
        }
        match input {
            Input::BlockReceived { from, block, requested } => {
                self.block_received(now, from, block.into_inner(), requested);
            }
            Input::BlocksRequested { from, refs } => self.blocks_requested(from, &refs),
            Input::PeerStatus { from, highest } => self.peer_status(now, from, &highest),
            Input::WorkChanged { pending } => self.own.work = pending && !self.stage.closed,
            Input::Proposal { round, payload } => self.proposal(now, round, payload),
            Input::CommitExecuted => self.commits.executing = self.commits.executing.saturating_sub(1),
            Input::Rejoin { anchor, leaders } => self.rejoin(now, anchor, leaders),
            Input::Close => self.close(),
            Input::Tick => {}
        }
        self.settle(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        if self.stage.halted {
            return None;
        }
        [self.asks.due(), self.pacemaker.due].into_iter().flatten().min()
    }

    fn status(&self) -> Status {
        let decided = self.rule.decided;
        Status {
            own_round: self.own.latest.round,
            highest_accepted: self.store.highest_round(),
            last_output: self.last_output(),
            highest: self.store.frontier(),
            blocks: self.store.len(),
            waiting_blocks: self.waiting.len(),
            waiting_bytes: self.waiting.bytes(),
            missing: self.asks.len(),
            executing: self.commits.executing,
            direct_commits: decided.direct_commits,
            direct_skips: decided.direct_skips,
            indirect_commits: decided.indirect_commits,
            indirect_skips: decided.indirect_skips,
            leader_timeouts: self.counts.leader_timeouts,
            catch_up_blocks: self.counts.catch_up_blocks,
            dropped_blocks: self.counts.dropped_blocks,
            awaiting_peers: self.stage.awaiting.is_some(),
            stopped: self.stage.halted || self.stage.stays_out || self.stage.closed,
        }
    }
}
