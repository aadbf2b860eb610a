//! What follows from what: consensus orders, commits, executed blocks, the end of an epoch, catching up.
//! Everything here runs inside `handle`, until nothing more follows.

use std::sync::Arc;

use shardpay_consensus::{Input as DagInput, Output as Order, Recovered, Start};
use shardpay_crypto::{SealedBlock, Verified};
use shardpay_ledger::Executed;
use shardpay_types::{
    BlockRequest, Blocks, CertifiedHeader, LedgerItem, List, MemberIndex, NodeId, Payload, PeerMessage, Plan, Round,
};

use crate::api::{Event, LedgerOrder, Output, Record};
use crate::certificates::Step;
use crate::core::Membership;
use crate::instances::Which;
use crate::machine::Replica;
use crate::propose::Sources;
use crate::rejoin::{Action, Facts};
use crate::verify::is_certified;

impl Replica {
    /// Carries on until nothing more follows from the last input.
    pub(crate) fn settle(&mut self) {
        loop {
            self.after_certified();
            self.catch_up();
            self.hand_over_commits();
            self.tell_work();
            let Some((which, order)) = self.instances.poll_output() else { break };
            self.consensus_order(which, order);
            while let Some((which, order)) = self.instances.poll_output() {
                self.consensus_order(which, order);
            }
        }
        for (client, txid, answer) in self.mempool.take_answers().into_iter().chain(self.opaque.take_answers()) {
            self.core.out.push(Output::Answer { client, txid, answer });
        }
        self.count_overflows();
    }

    fn node(&self, member: MemberIndex) -> NodeId {
        NodeId { committee: self.members.committee, member }
    }

    fn consensus_order(&mut self, which: Which, order: Order) {
        match order {
            Order::Persist(block) => self.persist_block(which, block),
            Order::Propose { round, payload_allowed, bytes_max } => {
                let allowed = payload_allowed && which == Which::Running && self.proposes();
                let payload = if allowed { self.payload(round, bytes_max) } else { Payload::default() };
                let carries = !payload.is_empty();
                self.tell(which, DagInput::Proposal { round, payload });
                if carries && self.instances.running_ref().is_none_or(|dag| dag.status().own_round != round) {
                    self.proposal_lapsed(round);
                }
            }
            Order::Send { to, blocks, requested } => self.send_blocks(which, to, &blocks, requested),
            Order::Request { to, refs } => {
                let Some(epoch) = self.instances.get(which).map(|instance| instance.context.epoch) else { return };
                let request = BlockRequest { epoch, refs: List::bounded(refs) };
                let to = self.node(to);
                self.core.send(to, PeerMessage::BlockRequest(request));
            }
            Order::ServeStored { to, refs } => {
                let Some(epoch) = self.instances.get(which).map(|instance| instance.context.epoch) else { return };
                let to = self.node(to);
                self.core.out.push(Output::ServeStored { to, epoch, refs });
            }
            Order::Commit(commit) if which == Which::Running => {
                // making room while catching up lets the DAG hand out what the ledger has replayed since
                if !self.execution.push(commit) {
                    self.tell(which, DagInput::CommitExecuted);
                }
            }
            Order::Reclaimed(blocks) if which == Which::Running => self.reclaim(&blocks),
            // the epoch's end took back everything that was proposed in it
            Order::Commit(_) | Order::Reclaimed(_) => {}
            Order::Prune { below } => {
                let Some(epoch) = self.instances.get(which).map(|instance| instance.context.epoch) else { return };
                self.core.out.push(Output::Prune { epoch, below });
            }
            Order::FarBehind { .. } if which == Which::Running && self.rejoin.is_idle() => {
                // a hint by one peer; what everybody says decides
                if self.rejoin.hint(self.core.now, self.core.config.catch_up_retry) {
                    self.ask_for_heartbeats();
                }
            }
            Order::FarBehind { .. } => {}
            Order::Equivocation(proof) => self.core.out.push(Output::Event(Event::Equivocation(proof))),
            Order::StayOut { newest } => {
                self.mode.stays_out = true;
                self.core.out.push(Output::Event(Event::StaysOut(newest)));
                self.stop_proposing();
            }
            Order::Halt(proof) => {
                self.core.out.push(Output::Event(Event::HaltedByFork(proof)));
                self.halt();
            }
        }
    }

    fn tell(&mut self, which: Which, input: DagInput) {
        let now = self.core.now;
        if let Some(instance) = self.instances.get(which) {
            instance.handle(now, input);
        }
    }

    /// Whether own blocks may carry payload.
    pub(crate) fn proposes(&self) -> bool {
        !self.mode.halted && !self.mode.stays_out && self.rejoin.is_idle() && self.members.own.is_some()
    }

    fn payload(&mut self, round: Round, bytes_max: usize) -> Payload {
        let sources = Sources {
            mempool: &mut self.mempool,
            opaque: &mut self.opaque,
            destination: &mut self.destination,
            epochs: &mut self.epochs,
        };
        sources.payload(&self.core, round, bytes_max)
    }

    /// An accepted block, own or another's.
    fn persist_block(&mut self, which: Which, block: Arc<SealedBlock>) {
        let own = Some(block.reference().author) == self.members.own;
        if which == Which::Running {
            self.destination.seen(self.core.now, own, &block.block().payload);
        }
        let id = self.core.out.persist(Record::Block(block.clone()));
        if let Some(instance) = self.instances.get(which).filter(|_| own) {
            instance.own_block(block.reference().digest, id);
        }
    }

    /// Persist, then send: own blocks wait for their record.
    fn send_blocks(&mut self, which: Which, to: MemberIndex, blocks: &[Arc<SealedBlock>], requested: bool) {
        let to = self.node(to);
        let Some(instance) = self.instances.get(which) else { return };
        let epoch = instance.context.epoch;
        let durable_at = instance.durable_at(blocks);
        let blocks = List::bounded(blocks.iter().map(|block| block.raw().clone()).collect());
        let message = Arc::new(PeerMessage::Blocks(Blocks { epoch, requested, blocks }));
        self.core.out.push_after(durable_at, Output::Send { to, message });
    }

    fn reclaim(&mut self, blocks: &[Arc<SealedBlock>]) {
        self.mempool.reclaim(blocks);
        self.opaque.reclaim(blocks);
        let lost = |round: Round| blocks.iter().any(|block| block.reference().round == round);
        self.destination.reclaim(lost);
        self.epochs.reclaim(lost);
    }

    /// No block came of the payload for `round`: the DAG has moved on since it asked for it.
    fn proposal_lapsed(&mut self, round: Round) {
        self.mempool.reclaim_round(round);
        self.opaque.reclaim_round(round);
        self.destination.reclaim(|lost| lost == round);
        self.epochs.reclaim(|lost| lost == round);
    }

    /// What was proposed is proposed again: sequences, cursors and epochs make that harmless. Opaque payloads have
    /// none, so the caller says what becomes of them.
    fn reclaim_everything(&mut self) {
        self.mempool.reclaim_all();
        self.destination.reclaim(|_| true);
        self.epochs.reclaim(|_| true);
    }

    fn hand_over_commits(&mut self) {
        while !self.mode.halted
            && self.rejoin.is_idle()
            && self.certificates.uncertified() < self.core.config.uncertified_max
        {
            let Some(commit) = self.execution.next(self.members.own) else { break };
            // What is executed never rests on an own block that a crash can still lose: nobody else need
            // have it, so it may be made otherwise afterwards (a committee of one would fork from itself).
            let durable_at = self.instances.running_ref().map(|instance| instance.last_own()).unwrap_or_default();
            self.core.out.push_after(durable_at, Output::Ledger(LedgerOrder::Execute(commit)));
        }
    }

    fn tell_work(&mut self) {
        let pending = self.proposes()
            && (self.mempool.has_ready()
                || self.opaque.has_ready()
                || self.destination.has_work(&self.core)
                || self.epochs.offer().is_some());
        if pending != self.work_told {
            self.work_told = pending;
            self.tell(Which::Running, DagInput::WorkChanged { pending });
        }
    }

    /// A commit was executed.
    pub(crate) fn commit_executed(&mut self, executed: &Executed) {
        let flight = self.execution.executed(executed.round);
        self.tell(Which::Running, DagInput::CommitExecuted);
        for made in &executed.blocks {
            let members = self.members_of(made.block.header.epoch);
            let step = self.certificates.made(&mut self.core, &members, made);
            self.follow(step);
        }
        self.absorb(executed, &flight.own);
    }

    /// Takes over what executed blocks did. `own`: rounds of own blocks that were executed.
    pub(crate) fn absorb(&mut self, executed: &Executed, own: &[Round]) {
        if let Some(made) = executed.blocks.last() {
            let header = &made.block.header;
            self.execution.set_head(header);
            self.source.executed(header.height, &executed.outboxes);
            self.destination.executed(header.height, &executed.cursors);
        }
        self.destination.moved(&mut self.core, &self.members, &executed.cursors);
        self.learn_keysets(executed);
        let is_own = |round: Round| own.contains(&round);
        self.destination.settled(&mut self.core, &self.members, is_own);
        self.mempool.executed(executed);
        self.opaque.executed(executed, own);
        self.core.refused.add(crate::counters::Refused::LedgerItem, executed.refused.len());
        match &executed.closed {
            Some(plan) => self.close_epoch(plan.clone()),
            None => self.epochs.settled(&mut self.core, is_own),
        }
    }

    fn learn_keysets(&mut self, executed: &Executed) {
        let mut learned = false;
        let items = executed.blocks.iter().flat_map(|made| made.block.items.iter());
        for item in items {
            let LedgerItem::Closing(record) = item else { continue };
            let committee = record.certified.header.committee;
            self.verification.keysets.insert(committee, Arc::new(record.plan.clone()));
            self.destination.keyset_moved(&self.core, committee, record.plan.epoch);
            learned = true;
        }
        if learned {
            self.refresh_verification();
        }
    }

    /// The epoch closed by execution: its consensus only serves from now on, the next one starts.
    pub(crate) fn close_epoch(&mut self, plan: Arc<Plan>) {
        let now = self.core.now;
        self.execution.close();
        self.instances.close(now);
        // before anything of the next epoch is executed: the checkpoint is over the state at the end
        self.core.out.push(Output::Ledger(LedgerOrder::Checkpoint));
        self.epochs.closed(self.members.clone());
        let members = Membership::new(plan, self.members.committee, &*self.core.signer);
        let closed = std::mem::replace(&mut self.members, members);
        self.remember_members(closed);
        self.reclaim_everything();
        self.opaque.reclaim_all();
        self.heartbeats.restart(now);
        self.budgets.clear();
        self.work_told = false;
        let start = self.past.start_of(self.members.epoch());
        if !self.mode.stays_out && !self.mode.halted {
            self.instances.start(&self.core, &self.members, start);
        }
        if self.members.own.is_none() {
            self.stop_proposing();
        }
        self.refresh_verification();
        self.core.out.push(Output::Prune { epoch: self.members.epoch(), below: Round::ZERO });
        self.core.out.push(Output::EpochStarted(self.members.epoch()));
        self.ask_for_heartbeats();
    }

    /// Passes on what became certified.
    fn after_certified(&mut self) {
        for certified in self.certificates.take_newly_certified() {
            let (height, epoch) = (certified.header.height, certified.header.epoch);
            self.source.certified(self.core.now, height, epoch);
            self.destination.certified(&mut self.core, height);
        }
    }

    pub(crate) fn follow(&mut self, step: Step) {
        if step == Step::Halt {
            self.halt();
        }
    }

    fn halt(&mut self) {
        self.mode.halted = true;
        self.stop_proposing();
        let now = self.core.now;
        if let Some(instance) = self.instances.running() {
            instance.handle(now, DagInput::Close);
        }
    }

    /// Goes on catching up, as far as it can.
    fn catch_up(&mut self) {
        while !self.mode.halted && !self.rejoin.is_idle() {
            let last_output = self.instances.running_ref().map(|instance| instance.last_output());
            let facts = facts(&self.execution, &self.certificates, last_output);
            match self.rejoin.step(&mut self.core, &self.members, &facts) {
                Action::Nothing => break,
                Action::Replay(block) => {
                    self.core.out.push(Output::Ledger(LedgerOrder::Replay(block)));
                    break;
                }
                Action::Certificate(certified) => self.served_certificate(*certified),
                Action::Resume => self.resume(),
                Action::Rejoin { anchor, leaders } => {
                    self.rejoin_dag(anchor, leaders);
                }
            }
        }
    }

    /// A certificate that came with a ledger block executed before.
    fn served_certificate(&mut self, certified: CertifiedHeader) {
        let members = self.members_of(certified.header.epoch);
        let good = certified.header.epoch == members.epoch()
            && certified.header.committee == members.committee
            && is_certified(&*self.core.scheme, &self.core.config.chain, members.members(), &certified);
        if good {
            let step = self.certificates.certificate(&mut self.core, Verified::trust(certified));
            self.follow(step);
        } else {
            self.rejoin.replayed(&mut self.core, false);
        }
    }

    /// The DAG has got beyond the ledger's head by itself.
    fn resume(&mut self) {
        for _ in 0..self.execution.skip_replayed() {
            self.tell(Which::Running, DagInput::CommitExecuted);
        }
        self.reclaim_everything();
        self.opaque.give_up_proposed();
    }

    /// The DAG resumes above the ledger's head.
    pub(crate) fn rejoin_dag(&mut self, anchor: shardpay_types::BlockRef, leaders: Vec<shardpay_types::BlockRef>) {
        for _ in 0..self.execution.skip_all() {
            self.tell(Which::Running, DagInput::CommitExecuted);
        }
        self.reclaim_everything();
        self.opaque.give_up_proposed();
        if self.instances.running_ref().is_some() {
            self.tell(Which::Running, DagInput::Rejoin { anchor, leaders });
        } else if !self.mode.stays_out {
            let blocks = self.past.take(self.members.epoch());
            let recovered = Recovered { last_output: anchor.round, leaders, blocks };
            self.instances.start(&self.core, &self.members, Start::Restart(recovered));
            self.work_told = false;
            self.ask_for_heartbeats();
        }
    }
}

/// Where the replica stands, for [`crate::rejoin`].
pub(crate) fn facts<'a>(
    execution: &'a crate::execution::Execution,
    certificates: &crate::certificates::Certificates,
    last_output: Option<Round>,
) -> Facts<'a> {
    Facts {
        in_flight: execution.in_flight(),
        executed: certificates.executed(),
        certified: certificates.certified(),
        head: execution.head(),
        last_output,
    }
}
