//! Catching up by ledger blocks of others when the DAG alone cannot (DESIGN §4, rejoin).
//!
//! Guarantees: only blocks signed by f + 1 members of their epoch are replayed, so blocks that an honest
//! member executed; in order, after every commit handed to the ledger came back; the DAG resumes above the
//! last replayed anchor, by a leader list that the header commits to. So nothing executes twice and nothing
//! is left out. A lying or silent server costs its timeout, then the next one is asked.
//!
//! Blocks normally come certified, by Q signatures. Where certificates stand still because our own vote is
//! missing in them, nobody can have Q: then the block is *attested* by f + 1 and we sign it, too.
//!
//! Bounded: one request under way, one answer held, one replay order at a time.
//!
//! Starts when f + 1 members claim to be further and either the DAG is more than the gc depth behind theirs
//! or execution stands still: one liar cannot start it.

use std::collections::VecDeque;
use std::time::Duration;

use shardpay_crypto::leaders_hash;
use shardpay_types::{
    BlockRef, Certificate, CertifiedBlock, CertifiedHeader, Height, Leaders, LeadersRequest, LedgerHeader,
    LedgerRequest, LedgerResponse, NodeId, PeerMessage, Round, Timestamp,
};

use crate::api::{Event, Output};
use crate::core::{Core, Membership};
use crate::counters::Refused;
use crate::heartbeat::Heartbeats;
use crate::verify::valid_signatures;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The DAG drives execution.
    Idle,
    /// Commits handed to the ledger are awaited, no more are handed out.
    Draining,
    /// Ledger blocks are asked for and replayed.
    Blocks,
    /// A replay order is under way.
    Replaying,
    /// The leader list at the head is asked for.
    Leaders,
}

/// Where the replica stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) in_flight: usize,
    pub(crate) executed: Height,
    pub(crate) certified: Height,
    pub(crate) head: Option<&'a LedgerHeader>,
    /// Of the running epoch's DAG; `None`: it has not started.
    pub(crate) last_output: Option<Round>,
}

/// What the machine must do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Wait.
    Nothing,
    /// Hand the block to the ledger.
    Replay(Box<CertifiedBlock>),
    /// A certificate of a block executed before.
    Certificate(Box<CertifiedHeader>),
    /// Resume the DAG above the head, which it has not reached itself.
    Rejoin { anchor: BlockRef, leaders: Vec<BlockRef> },
    /// Resume: the DAG has got there by itself, or a new epoch starts.
    Resume,
}

pub(crate) struct Rejoin {
    phase: Phase,
    /// Counts servers tried for ledger blocks.
    server: usize,
    /// Counts servers tried for leader lists. A count of its own: with one for both, a member that is silent about blocks
    /// can make it come round so that the same other one is asked for leaders each time.
    leaders_server: usize,
    asked: Option<NodeId>,
    deadline: Option<Timestamp>,
    queue: VecDeque<CertifiedBlock>,
    /// When execution moved last, or nobody was ahead.
    progress_at: Timestamp,
    executed: Height,
    hinted_at: Option<Timestamp>,
    /// Of the block being replayed.
    certificate: Option<Certificate>,
    /// There are no certificates yet for what was executed: ask for what lies above it.
    above_executed: bool,
}

impl Rejoin {
    pub(crate) fn new(now: Timestamp, own: usize) -> Self {
        Self {
            phase: Phase::Idle,
            server: own,
            leaders_server: own,
            asked: None,
            deadline: None,
            queue: VecDeque::new(),
            progress_at: now,
            executed: Height::ZERO,
            hinted_at: None,
            certificate: None,
            above_executed: false,
        }
    }

    /// Whether commits may be handed to the ledger.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Blocks waiting to be replayed.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn next_timer(&self) -> Option<Timestamp> {
        self.deadline
    }

    /// A peer's block is far ahead: whether everybody is to be asked, at most once in `gap`.
    pub(crate) fn hint(&mut self, now: Timestamp, gap: Duration) -> bool {
        let due = self.hinted_at.is_none_or(|at| now >= at.after(gap));
        if due {
            self.hinted_at = Some(now);
        }
        due
    }

    /// A restart after replayed blocks: the leaders before the head are known by their hash only.
    pub(crate) fn ask_for_leaders(&mut self) {
        self.phase = Phase::Blocks;
    }

    /// Starts when enough members are ahead and the DAG does not get us there.
    pub(crate) fn consider(
        &mut self,
        core: &mut Core,
        members: &Membership,
        heartbeats: &Heartbeats,
        own: (Height, Round),
    ) {
        let (executed, highest_accepted) = own;
        let enough = members.members().faults_max() + 1;
        // what they executed counts, too: its certificate may lack our vote only
        let ahead = heartbeats
            .claims()
            .filter(|(_, claim)| claim.executed.max(claim.certified) > executed || claim.epoch > members.epoch())
            .count();
        if executed > self.executed || ahead < enough {
            self.executed = executed;
            self.progress_at = core.now;
        }
        if self.phase != Phase::Idle || ahead < enough {
            return;
        }
        let gc_depth = u64::from(members.plan.constants.gc_depth);
        let far = heartbeats
            .claims()
            .filter(|(_, claim)| {
                claim.epoch > members.epoch()
                    || (claim.epoch == members.epoch() && claim.top > highest_accepted.plus(gc_depth))
            })
            .count();
        let stalled = core.now.since(self.progress_at) >= core.config.stall;
        if far >= enough || stalled {
            self.phase = Phase::Draining;
            self.queue.clear();
            self.asked = None;
            core.out.push(Output::Event(Event::CatchUpStarted));
        }
    }

    /// A server's answer.
    pub(crate) fn blocks(
        &mut self,
        core: &mut Core,
        members: &Membership,
        (from, response): (NodeId, LedgerResponse),
        facts: &Facts<'_>,
    ) {
        if self.phase != Phase::Blocks || self.asked != Some(from) {
            return core.refused.count(Refused::Unasked);
        }
        self.asked = None;
        self.deadline = None;
        self.queue = response.blocks.into_vec().into();
        let quorum = members.members().quorum();
        self.queue.retain(|block| {
            let height = block.block.header.height;
            let is_certificate = height > facts.certified && block.certificate.signatures().len() >= quorum;
            height > facts.executed || is_certificate
        });
        if !self.queue.is_empty() {
            return;
        }
        if !self.above_executed && facts.executed > facts.certified {
            self.above_executed = true;
            return;
        }
        // it has no more: go on from here, unless the head lies inside a commit
        self.above_executed = false;
        self.server += 1;
        if facts.head.is_none_or(|head| head.last_of_commit) {
            self.phase = Phase::Leaders;
        } else {
            self.deadline = Some(core.now.after(core.config.catch_up_retry));
        }
    }

    /// A server's leader list.
    pub(crate) fn leaders(&mut self, core: &mut Core, from: NodeId, leaders: Leaders, facts: &Facts<'_>) -> Action {
        if self.phase != Phase::Leaders || self.asked != Some(from) {
            core.refused.count(Refused::Unasked);
            return Action::Nothing;
        }
        self.asked = None;
        self.deadline = None;
        let fitting =
            facts.head.filter(|head| leaders.height == head.height && leaders_hash(&leaders.leaders) == head.leaders);
        let Some(head) = fitting else {
            core.refused.count(Refused::BadLeaders);
            self.leaders_server += 1;
            return Action::Nothing;
        };
        self.finish(core, head.anchor.round);
        Action::Rejoin { anchor: head.anchor, leaders: leaders.leaders.into_vec() }
    }

    /// The certificate of the block just replayed.
    pub(crate) fn take_certificate(&mut self) -> Option<Certificate> {
        self.certificate.take()
    }

    /// The ledger carried out a replay order, or refused it.
    pub(crate) fn replayed(&mut self, core: &mut Core, good: bool) {
        if self.phase == Phase::Replaying {
            self.phase = Phase::Blocks;
        }
        if !good {
            core.refused.count(Refused::BadLedgerBlock);
            self.queue.clear();
            self.server += 1;
        }
    }

    fn finish(&mut self, core: &mut Core, round: Round) {
        self.phase = Phase::Idle;
        self.queue.clear();
        self.above_executed = false;
        self.asked = None;
        self.deadline = None;
        self.progress_at = core.now;
        core.out.push(Output::Event(Event::Rejoined(round)));
    }

    /// Goes on as far as it can.
    pub(crate) fn step(&mut self, core: &mut Core, members: &Membership, facts: &Facts<'_>) -> Action {
        match self.phase {
            Phase::Idle | Phase::Replaying => Action::Nothing,
            Phase::Draining if facts.in_flight > 0 => Action::Nothing,
            Phase::Draining => {
                self.phase = Phase::Blocks;
                self.step(core, members, facts)
            }
            Phase::Blocks => self.next_block(core, members, facts),
            Phase::Leaders => {
                let Some(head) = facts.head.filter(|head| !head.is_closing() && head.epoch == members.epoch()) else {
                    self.finish(core, Round::ZERO);
                    return Action::Resume;
                };
                if facts.last_output.is_some_and(|round| round >= head.anchor.round) {
                    self.finish(core, head.anchor.round);
                    return Action::Resume;
                }
                if self.asked.is_some() && self.deadline.is_some_and(|at| at <= core.now) {
                    // the list may be too old to be served by now: the head must move on first
                    (self.asked, self.deadline) = (None, None);
                    self.leaders_server += 1;
                    self.phase = Phase::Blocks;
                    return self.step(core, members, facts);
                }
                let request = PeerMessage::LeadersRequest(LeadersRequest { height: head.height });
                self.ask(core, members, request);
                Action::Nothing
            }
        }
    }

    fn next_block(&mut self, core: &mut Core, members: &Membership, facts: &Facts<'_>) -> Action {
        while let Some(block) = self.queue.pop_front() {
            let height = block.block.header.height;
            if height <= facts.certified {
                continue;
            }
            let certified =
                CertifiedHeader { header: block.block.header.clone(), certificate: block.certificate.clone() };
            if height <= facts.executed {
                return Action::Certificate(Box::new(certified));
            }
            let header = &block.block.header;
            let ours = header.committee == members.committee && header.epoch == members.epoch();
            let signatures = valid_signatures(&*core.scheme, &core.config.chain, members.members(), &certified);
            let enough = signatures.len() > members.members().faults_max();
            let certificate = Certificate::new(signatures).filter(|_| enough && ours);
            let Some(certificate) = certificate.filter(|_| height == facts.executed.next()) else {
                self.replayed(core, false);
                break;
            };
            self.phase = Phase::Replaying;
            self.above_executed |= certificate.signatures().len() < members.members().quorum();
            self.certificate = Some(certificate.clone());
            return Action::Replay(Box::new(CertifiedBlock { block: block.block, certificate }));
        }
        let last = if self.above_executed { facts.executed } else { facts.certified };
        let request = PeerMessage::LedgerRequest(LedgerRequest { from: last.next() });
        self.ask(core, members, request);
        Action::Nothing
    }

    /// Asks the server whose turn it is; the next one when the last did not answer in time.
    fn ask(&mut self, core: &mut Core, members: &Membership, request: PeerMessage) {
        if self.deadline.is_some_and(|at| at > core.now) {
            return;
        }
        let turn = if self.phase == Phase::Leaders { &mut self.leaders_server } else { &mut self.server };
        if self.asked.take().is_some() {
            *turn += 1;
        }
        let peers: Vec<NodeId> = members.peers().collect();
        let Some(server) = peers.get(*turn % peers.len().max(1)).copied() else { return };
        self.asked = Some(server);
        self.deadline = Some(core.now.after(core.config.catch_up_retry));
        core.send(server, request);
    }
}
