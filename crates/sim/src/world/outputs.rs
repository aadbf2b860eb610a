//! Carrying out what replicas order: disks, the net, the ledger, answers.

use std::sync::Arc;

use shardpay_crypto::SealedBlock;
use shardpay_ledger::{Executed, ItemReject, Verdict};
use shardpay_replica::{Event as ReplicaEvent, Input, LedgerFact, LedgerOrder, Output, Record, perform};
use shardpay_types::{BlockRef, Blocks, Epoch, List, NodeId, PeerMessage};

use super::{Event, Phase, World, name_of};
use crate::checkers::{CommitKey, Violation};
use crate::scenario::CrashPoint;
use crate::variant::Variant;

impl World {
    /// Carries out every order of a body's replica, unless it dies of one.
    pub(super) fn drain(&mut self, at: usize) -> Result<(), Violation> {
        loop {
            let Some(machine) = self.bodies[at].machine.as_mut() else { return Ok(()) };
            let Some(output) = machine.replica.poll_output() else { break };
            self.carry_out(at, output)?;
        }
        self.start_sync(at);
        self.set_timer(at);
        Ok(())
    }

    fn carry_out(&mut self, at: usize, output: Output) -> Result<(), Violation> {
        match output {
            Output::Persist { id, record } => {
                self.persist(at, id, record);
                Ok(())
            }
            Output::Send { to, message } => self.send(at, to, message),
            Output::Ledger(order) => self.order(at, order),
            Output::ServeStored { to, epoch, refs } => self.serve_stored(at, to, epoch, &refs),
            Output::Prune { epoch, below } => {
                self.coverage.hit("dag: pruned");
                self.bodies[at].disk.prune(epoch, below);
                Ok(())
            }
            Output::Answer { client, txid, answer } => {
                let life = self.bodies[at].life();
                let now = self.line.now();
                if self.trace.is_written() {
                    self.trace.line(now, format_args!("{at:>3} answers {txid:?} {answer:?}"));
                }
                if let Some((sent, node)) = self.tokens.get(client.0 as usize)
                    && *sent == txid
                    && *node == at
                {
                    self.workload.answered(life, txid, &answer);
                }
                Ok(())
            }
            Output::Certified { certified, .. } => {
                if self.bodies[at].honest {
                    let scheme = &*self.shared.scheme;
                    self.certificates.certified(at, &self.books, scheme, &certified)?;
                }
                Ok(())
            }
            Output::PlanApproved(approval) => {
                if self.bodies[at].honest {
                    self.signatures.approved(at, &approval)?;
                }
                let epoch = approval.epoch.get() as usize;
                if let Some(current) = epoch.checked_sub(1).and_then(|epoch| self.books.plan(epoch)) {
                    self.signaler.approved(current, &approval);
                }
                Ok(())
            }
            Output::CheckpointCertified(_) => {
                self.coverage.hit("epoch: checkpoint certified");
                Ok(())
            }
            Output::EpochStarted(_) => {
                self.coverage.hit("epoch: started");
                Ok(())
            }
            Output::VerifyContextChanged(context) => {
                if let Some(machine) = self.bodies[at].machine.as_mut() {
                    machine.context = context;
                }
                Ok(())
            }
            Output::Event(event) => self.replica_event(at, &event),
        }
    }

    // ---- disk ------------------------------------------------------------------------------------

    fn persist(&mut self, at: usize, id: shardpay_replica::PersistId, record: Record) {
        let now = self.line.now();
        let is_vote = matches!(record, Record::HeaderVote { .. });
        self.trace.event(now, at as u32, "persist", id.0);
        if let Record::Block(block) = &record
            && block.reference().author == self.bodies[at].id.member
        {
            if self.bodies[at].honest && !block.block().payload.is_empty() {
                self.note_work(at);
            }
            let (reference, payload) = (block.reference(), &block.block().payload);
            let counts = (payload.transactions.len(), payload.packs.len(), payload.closings.len());
            self.trace.line(now, format_args!("{at:>3} made {reference:?} with {counts:?}"));
        }
        if let Record::Block(block) = &record {
            self.note_block(at, id, block);
        }
        let body = &mut self.bodies[at];
        match body.armed {
            Some(CrashPoint::BeforePersist) => return self.crash(at, "crash: before a persist"),
            Some(CrashPoint::AtVote) if is_vote => return self.crash(at, "crash: at a header vote"),
            _ => {}
        }
        let forget = self.scenario.variant == Some(Variant::ForgottenPersist) && body.stream.chance(500);
        self.planted += u64::from(forget);
        body.disk.write(id, record, forget);
        if body.armed == Some(CrashPoint::AfterPersist) {
            self.crash(at, "crash: after a persist");
        }
    }

    /// An honest member accepted a block. An own one counts when it is durable: before that a crash can lose
    /// it, and it has not left the node.
    fn note_block(&mut self, at: usize, id: shardpay_replica::PersistId, block: &Arc<SealedBlock>) {
        if self.bodies[at].honest && block.reference().author == self.bodies[at].id.member {
            self.bodies[at].own_blocks.push_back((id, block.clone()));
        } else {
            self.accept_block(at, block);
        }
    }

    fn note_durable(&mut self, at: usize, last: Option<shardpay_replica::PersistId>) {
        while let Some((id, _)) = self.bodies[at].own_blocks.front()
            && last.is_some_and(|last| *id <= last)
            && let Some((_, block)) = self.bodies[at].own_blocks.pop_front()
        {
            self.accept_block(at, &block);
        }
    }

    /// The DAG of a node's committee gets a block.
    pub(super) fn accept_block(&mut self, at: usize, block: &SealedBlock) {
        if self.bodies[at].honest {
            let committee = self.bodies[at].id.committee.index();
            let key = CommitKey { committee, epoch: block.block().epoch.get() };
            self.rule.accepted(key, self.scenario.topology.sizes()[committee], block);
        }
    }

    pub(super) fn start_sync(&mut self, at: usize) {
        let body = &mut self.bodies[at];
        if body.machine.is_none() || !body.disk.wants_sync() {
            return;
        }
        let lag = body.stream.chance(self.scenario.ledger_lag_permille);
        body.disk.start_sync(lag);
        let (low, high) = self.scenario.timing.sync;
        let wait = body.stream.micros(low.as_micros() as u64, high.as_micros() as u64) + body.sync_extra;
        self.line.after(wait, Event::Synced { body: at, incarnation: body.incarnation });
    }

    pub(super) fn synced(&mut self, at: usize, incarnation: u32) -> Result<(), Violation> {
        let body = &mut self.bodies[at];
        if body.incarnation != incarnation || body.machine.is_none() {
            return Ok(());
        }
        let last = body.disk.end_sync();
        self.note_durable(at, last);
        let body = &mut self.bodies[at];
        if body.armed == Some(CrashPoint::AfterSync) {
            self.crash(at, "crash: after a sync");
            return Ok(());
        }
        let now = self.line.now();
        self.trace.event(now, at as u32, "synced", last.map_or(0, |id| id.0));
        match last {
            Some(id) => self.drive(at, Input::Persisted(id)),
            None => {
                // Only batches were synced, or nothing because they lag: those wait for a later sync. Records
                // written meanwhile do not.
                if self.bodies[at].disk.has_records() {
                    self.start_sync(at);
                }
                Ok(())
            }
        }
    }

    // ---- net -------------------------------------------------------------------------------------

    fn send(&mut self, at: usize, to: NodeId, message: Arc<PeerMessage>) -> Result<(), Violation> {
        let now = self.line.now();
        let body = &mut self.bodies[at];
        if body.armed == Some(CrashPoint::BetweenSends) && body.stream.chance(300) {
            self.crash(at, "crash: between sends");
            return Ok(());
        }
        if self.bodies[at].honest {
            self.signatures.sent(at, self.bodies[at].id.member.index(), &message)?;
            self.check_silence(at, to, &message)?;
            return self.transmit(at, to, &message);
        }
        // In the quiet phase twists only leave out: a lie is work for those who hear it.
        let kind = self.scenario.byzantine.get(&self.bodies[at].node);
        if matches!(self.phase, Phase::Quiet { .. }) && !kind.is_some_and(|kind| kind.only_leaves_out()) {
            return self.transmit(at, to, &message);
        }
        let mut out = Vec::new();
        let body = &mut self.bodies[at];
        let bent = body.twisted(now, &self.shared, |twist, context| twist.send(context, to, message.clone(), &mut out));
        if bent.is_none() {
            return self.transmit(at, to, &message);
        }
        self.transmit_all(at, out)
    }

    fn transmit_all(&mut self, at: usize, out: Vec<(NodeId, Arc<PeerMessage>)>) -> Result<(), Violation> {
        out.iter().try_for_each(|(to, message)| self.transmit(at, *to, message))
    }

    /// Once all work ended, honest nodes send each other heartbeats and nothing else.
    fn check_silence(&self, at: usize, to: NodeId, message: &PeerMessage) -> Result<(), Violation> {
        let Phase::Quiet { since } = self.phase else { return Ok(()) };
        let now = self.line.now();
        let quiet = now.since(since.max(self.last_work)) > super::check::SETTLE;
        let receiver = self.scenario.topology.node(to);
        let among_honest = receiver.is_some_and(|node| self.bodies[node].honest && !self.kept_awake(node));
        // A block that a byzantine member held back is followed whenever it comes.
        let late = matches!(message, PeerMessage::Blocks(_) | PeerMessage::BlockRequest(_)) && self.has_byzantine(at);
        // Votes for a checkpoint are volatile: after crashes too few may be left, and it is asked for a while.
        let lost = matches!(message, PeerMessage::CheckpointVote(_)) && self.has_restarted(at);
        if quiet
            && among_honest
            && !late
            && !lost
            && !self.kept_awake(at)
            && !matches!(message, PeerMessage::Heartbeat(_))
        {
            let what = format!("node {at} sends {} to {to:?} at {:.3}", name_of(message), now.seconds());
            return Err(Violation::new("silence when idle", what));
        }
        Ok(())
    }

    /// Whether a member can keep the node's committee at work for ever: a proven equivocator's payload is
    /// reached by nobody's blocks, so it goes on making rounds for it, and others follow; and a block that
    /// names parents which its author keeps back is asked for again and again.
    fn kept_awake(&self, at: usize) -> bool {
        let committee = self.scenario.topology.committee_of(self.bodies[at].node);
        let kinds = &self.scenario.byzantine;
        let wakes = |node: usize| kinds.get(&node).map_or(!self.bodies[node].honest, |kind| kind.may_equivocate());
        self.scenario.topology.members(committee).any(wakes)
    }

    fn has_restarted(&self, at: usize) -> bool {
        let committee = self.scenario.topology.committee_of(self.bodies[at].node);
        self.scenario.topology.members(committee).any(|node| self.bodies[node].incarnation > 1)
    }

    fn has_byzantine(&self, at: usize) -> bool {
        let committee = self.scenario.topology.committee_of(self.bodies[at].node);
        self.scenario.topology.members(committee).any(|node| !self.bodies[node].honest)
    }

    /// An honest node proposed, committed or executed something.
    fn note_work(&mut self, at: usize) {
        if !self.kept_awake(at) {
            self.last_work = self.line.now();
        }
    }

    pub(super) fn twist(&mut self, at: usize) -> Result<(), Violation> {
        let now = self.line.now();
        if matches!(self.phase, Phase::Faulty | Phase::Healing) {
            let wait = self.bodies[at].twist_stream.micros(20_000, 80_000);
            self.line.after(wait, Event::Twist(at));
        }
        let mut out = Vec::new();
        if self.bodies[at].machine.is_some() && !matches!(self.phase, Phase::Quiet { .. }) {
            self.bodies[at].twisted(now, &self.shared, |twist, context| twist.tick(context, &mut out));
        }
        self.transmit_all(at, out)
    }

    fn serve_stored(&mut self, at: usize, to: NodeId, epoch: Epoch, refs: &[BlockRef]) -> Result<(), Violation> {
        let disk = &self.bodies[at].disk;
        let found: Vec<_> = refs.iter().filter_map(|reference| disk.block(epoch, reference)).collect();
        if found.is_empty() {
            return Ok(());
        }
        self.coverage.hit("dag: block served from the store");
        let blocks = List::bounded(found.iter().map(|block| block.raw().clone()).collect());
        self.send(at, to, Arc::new(PeerMessage::Blocks(Blocks { epoch, requested: true, blocks })))
    }

    // ---- ledger ----------------------------------------------------------------------------------

    fn order(&mut self, at: usize, order: LedgerOrder) -> Result<(), Violation> {
        if let LedgerOrder::Execute(commit) = &order {
            let now = self.line.now();
            self.trace.event(now, at as u32, "commit", commit.anchor.round.get());
            if self.trace.is_written() {
                self.trace
                    .line(now, format_args!("{at:>3} commits {:?} blocks {}", commit.anchor, commit.blocks.len()));
            }
            if self.bodies[at].honest {
                if commit.blocks.iter().any(|block| !block.block().payload.is_empty()) {
                    self.note_work(at);
                }
                let committee = self.bodies[at].id.committee.index();
                let epoch = commit.blocks.last().map_or(0, |block| block.block().epoch.get());
                self.commits.committed(at, CommitKey { committee, epoch }, commit)?;
                self.rule.committed(CommitKey { committee, epoch }, commit.anchor)?;
            }
        }
        self.bodies[at].orders.push_back(order);
        self.start_execution(at);
        Ok(())
    }

    fn start_execution(&mut self, at: usize) {
        let body = &mut self.bodies[at];
        if body.executing || body.orders.is_empty() {
            return;
        }
        body.executing = true;
        let (low, high) = self.scenario.timing.execution;
        let wait = body.stream.micros(low.as_micros() as u64, high.as_micros() as u64) + body.execution_extra;
        self.line.after(wait, Event::Executed { body: at, incarnation: body.incarnation });
    }

    pub(super) fn executed(&mut self, at: usize, incarnation: u32) -> Result<(), Violation> {
        let body = &mut self.bodies[at];
        let Some(machine) = body.machine.as_mut().filter(|_| body.incarnation == incarnation) else { return Ok(()) };
        body.executing = false;
        let Some(order) = body.orders.pop_front() else { return Ok(()) };
        let fact = match perform(&mut machine.ledger, order) {
            Ok(fact) => fact,
            Err(error) => return Err(Violation::new("ledger", format!("node {at}: {error}"))),
        };
        match &fact {
            Some(LedgerFact::Executed(executed)) => self.note_executed(at, executed)?,
            Some(LedgerFact::Replayed(Ok(executed))) => {
                self.coverage.hit("ledger: replayed");
                self.note_executed(at, executed)?;
            }
            _ => {}
        }
        if self.bodies[at].armed == Some(CrashPoint::AfterExecution) {
            self.crash(at, "crash: after execution");
            return Ok(());
        }
        self.start_execution(at);
        match fact {
            Some(fact) => self.drive(at, Input::Ledger(fact)),
            None => {
                self.start_sync(at);
                Ok(())
            }
        }
    }

    fn note_executed(&mut self, at: usize, executed: &Executed) -> Result<(), Violation> {
        let now = self.line.now();
        for (txid, verdict) in &executed.verdicts {
            if let Verdict::Dropped(reject) = verdict {
                self.coverage.hit("ledger: dropped without a leaf");
                self.trace.line(now, format_args!("{at:>3} drops {txid:?}: {reject}"));
            }
        }
        for refused in &executed.refused {
            self.coverage.hit(item_name(*refused));
        }
        if !self.bodies[at].honest {
            let now = self.line.now();
            for made in &executed.blocks {
                let header = &made.block.header;
                self.trace
                    .line(now, format_args!("{at:>3} makes block {} of round {}", header.height, header.anchor.round));
            }
            return Ok(());
        }
        let now = self.line.now();
        let committee = self.bodies[at].id.committee.index();
        for made in &executed.blocks {
            let new = self.books.executed(now, committee, made.hash, &made.block)?;
            self.trace.event(now, at as u32, "block", made.block.header.height.get());
            if self.trace.is_written() {
                let header = &made.block.header;
                let anchor = header.anchor.round;
                self.trace
                    .line(now, format_args!("{at:>3} makes block {} of round {anchor}, new: {new}", header.height));
            }
            if new {
                self.note_work(at);
                for id in self.books.take_fresh() {
                    self.workload.executed(&id);
                }
            }
        }
        Ok(())
    }

    fn replica_event(&mut self, at: usize, event: &ReplicaEvent) -> Result<(), Violation> {
        let now = self.line.now();
        if self.trace.is_written() {
            let text = format!("{event:?}");
            let text: String = text.chars().take(200).collect();
            self.trace.line(now, format_args!("{at:>3} says {text}"));
        }
        let honest = self.bodies[at].honest;
        match event {
            ReplicaEvent::Equivocation(_) => self.coverage.hit("dag: equivocation seen"),
            ReplicaEvent::StaysOut(_) => {
                self.coverage.hit("replica: stays out");
                if honest {
                    return Err(Violation::new("stays out", format!("node {at} lost nothing and stays out")));
                }
            }
            ReplicaEvent::HaltedByFork(_) | ReplicaEvent::HaltedByHeaders(_) => {
                if honest {
                    return Err(Violation::new("halts", format!("node {at} halts with at most f faulty members")));
                }
            }
            ReplicaEvent::SignedAnother { height, .. } => {
                if honest {
                    let what = format!("node {at} executes height {height} otherwise than before its restart");
                    return Err(Violation::new("one header per height", what));
                }
            }
            ReplicaEvent::CatchUpStarted => {
                self.coverage.hit("replica: catch-up started");
                self.commits.resumed(at);
            }
            ReplicaEvent::Rejoined(_) => {
                self.coverage.hit("replica: rejoined");
                self.commits.resumed(at);
            }
            ReplicaEvent::RelayRefused(_) => self.coverage.hit("replica: relay refused"),
        }
        Ok(())
    }
}

const fn item_name(reject: ItemReject) -> &'static str {
    match reject {
        ItemReject::WrongCommittee => "item: wrong committee",
        ItemReject::NotAtCursor => "item: does not start at the cursor",
        ItemReject::WrongEpoch => "item: unknown or retired epoch",
        ItemReject::BadCertificate => "item: certificate does not verify",
        ItemReject::BadProof => "item: proof does not verify",
        ItemReject::Malformed => "item: malformed",
        ItemReject::Duplicate => "item: already recorded",
        ItemReject::BadPlan => "item: plan not accepted",
    }
}
