//! Events and jobs: who does what next.

use std::sync::Arc;
use std::time::{Duration, Instant as Wall};

use shardpay_replica::verify::{CheckedMessage, check_message, check_transactions};
use shardpay_replica::{Answer, ClientToken, Input, LedgerFact, LedgerOrder, Output, Record, perform};
use shardpay_sim::NodeIndex;
use shardpay_types::{AccountState, LedgerBlock, NodeId, PeerMessage, Transaction};

use super::node::Node;
use super::{Event, Then, World, is_for_clients};
use crate::machines::{Kind, ThreadId, Work};
use crate::setup::Load;

/// As `shardpay-runtime`: a client lane waits that long for a batch of so many.
const LANE_WAIT: Duration = Duration::from_millis(2);
const LANE_BATCH: usize = 512;
/// A refused payment goes out again after that long.
const AGAIN: Duration = Duration::from_millis(50);

impl World {
    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Turn(turn) => {
                if let Some(then) = self.machines.turn_over(turn) {
                    self.follow(then);
                }
                if let Some(next) = self.machines.go_on(turn.thread) {
                    self.line.after(Duration::from_micros(next.us), Event::Turn(next));
                }
            }
            Event::Arrived { node, from, message } => {
                let work = self.network_work(node, self.bytes(&message));
                self.job(self.nodes[node].threads.net, work, Then::Peer { node, from, message });
            }
            Event::Submitted { node, batch } => {
                let work = self.network_work(node, self.batch_bytes(&batch));
                self.job(self.nodes[node].threads.net, work, Then::Client { node, batch });
            }
            Event::LaneDue { node } => self.lane(node),
            Event::Timer { node } => self.timer(node),
            Event::Synced { node, upto } => {
                self.nodes[node].syncing = false;
                self.give_core(node, vec![Input::Persisted(upto)]);
                self.start_sync(node);
            }
            Event::Delivered(block) => {
                let work = self.client_work(&block);
                self.job(self.client_thread, work, Then::Seen(block));
            }
            Event::Due => {
                self.pay();
                self.line.after(self.clients.pause(), Event::Due);
            }
            Event::Linger { committee } => self.send_batch(committee),
            Event::Again { txid } => {
                if let Some((committee, transaction)) = self.clients.again(&txid) {
                    let node = self.clients.next_member(committee);
                    self.line.after(Duration::from_micros(10), Event::Submitted { node, batch: vec![transaction] });
                }
            }
        }
    }

    fn follow(&mut self, then: Then) {
        match then {
            Then::Peer { node, from, message } => self.check(node, from, message),
            Then::Client { node, batch } => {
                let of = &mut self.nodes[node];
                of.waiting.extend(batch);
                let full = of.waiting.len() * self.setup.grain >= LANE_BATCH;
                if !of.lane_taken {
                    of.lane_taken = true;
                    let wait = if full { Duration::ZERO } else { LANE_WAIT };
                    self.line.after(wait, Event::LaneDue { node });
                }
            }
            Then::Accounts { node, batch } => self.accounts(node, &batch),
            Then::Core { node, inputs } => self.give_core(node, inputs),
            Then::Handle { node, inputs } => self.handle(node, inputs),
            Then::Written { node, upto, urgent } => {
                if urgent {
                    self.nodes[node].wanted = Some(upto);
                    self.start_sync(node);
                }
            }
            Then::Perform { node, order } => self.perform(node, order),
            Then::Leave { node, to, message, bytes } => {
                let from = self.nodes[node].id;
                let Some(target) = self.topology.node(to) else { return };
                let delay = self.way(node, from.member.index(), to.member.index(), bytes);
                self.line.after(delay, Event::Arrived { node: target, from, message });
            }
            Then::Deliver { node, block, bytes } => {
                let id = self.nodes[node].id;
                let delay = self.way(node, id.member.index(), id.member.index(), bytes);
                self.line.after(delay, Event::Delivered(block));
            }
            Then::Sync { node, upto } => {
                let wait = Duration::from_micros(if self.charging { self.costs.sync_wait_us as u64 } else { 0 });
                let disk = &mut self.disks[self.nodes[node].machine];
                *disk = (*disk).max(self.line.now()).after(wait);
                self.line.at(*disk, Event::Synced { node, upto });
            }
            Then::Seen(block) => self.seen(&block),
            Then::Send { node, batch } => {
                let member = self.nodes[node].id.member.index();
                let home = self.nodes[node].id.committee.index() % self.setup.members;
                let delay = Duration::from_micros(self.setup.links.delay_us(home, member));
                self.line.after(delay, Event::Submitted { node, batch });
            }
            Then::Done => {}
        }
    }

    /// A thread gets a job.
    pub(super) fn job(&mut self, thread: ThreadId, work: Work, then: Then) {
        let work = if self.charging { work } else { Work::default() };
        if let Some(turn) = self.machines.submit(thread, work, then) {
            self.line.after(Duration::from_micros(turn.us), Event::Turn(turn));
        }
    }

    /// How long bytes are on their way from now on: they wait for the line out, take their time on it, and travel.
    fn way(&mut self, node: NodeIndex, from: usize, to: usize, bytes: f64) -> Duration {
        let now = self.line.now();
        let of = &mut self.nodes[node];
        let on_line = Duration::from_micros((bytes / self.setup.links.bytes_per_us) as u64);
        of.line_free = of.line_free.max(now).after(on_line);
        of.line_free.since(now) + Duration::from_micros(self.setup.links.delay_us(from, to))
    }

    fn check(&mut self, node: NodeIndex, from: NodeId, message: Arc<PeerMessage>) {
        let bytes = self.bytes(&message);
        let start = Wall::now();
        let Ok(message) = check_message(&self.nodes[node].context, from, Arc::unwrap_or_clone(message)) else { return };
        if let Some(probe) = &mut self.probe {
            probe.check.add(payments_in(&message), start);
        }
        let work = self.check_work(&message, bytes);
        let lane = self.nodes[node].lane_for(from);
        self.job(lane, work, Then::Core { node, inputs: vec![Input::Message { from, message }] });
    }

    /// A client lane takes what waits, or sleeps.
    fn lane(&mut self, node: NodeIndex) {
        let of = &mut self.nodes[node];
        if of.waiting.is_empty() {
            of.lane_taken = false;
            return;
        }
        let count = of.waiting.len().min((2 * LANE_BATCH).div_ceil(self.setup.grain));
        let batch: Vec<Transaction> = of.waiting.drain(..count).collect();
        let work = self.admit_work(batch.len());
        self.job(self.nodes[node].threads.clients, work, Then::Accounts { node, batch });
    }

    fn accounts(&mut self, node: NodeIndex, batch: &[Transaction]) {
        let start = Wall::now();
        let verdicts = check_transactions(&self.nodes[node].context, batch);
        if let Some(probe) = &mut self.probe {
            probe.admit.add(batch.len(), start);
        }
        let of = &self.nodes[node];
        let submitted = verdicts.into_iter().flatten().map(|transaction| {
            let payer = transaction.transaction.debit();
            let sender = payer.map_or(AccountState::EMPTY, |(key, _)| of.ledger.account(&key));
            Input::Submitted { client: ClientToken(0), transaction, sender }
        });
        let inputs = submitted.collect();
        self.job(of.threads.ledger, Work::default(), Then::Core { node, inputs });
        let more = self.nodes[node].waiting.len() * self.setup.grain >= LANE_BATCH;
        let wait = if more { Duration::ZERO } else { LANE_WAIT };
        self.line.after(wait, Event::LaneDue { node });
    }

    pub(super) fn give_core(&mut self, node: NodeIndex, inputs: Vec<Input>) {
        let work = self.core_work(&inputs);
        self.job(self.nodes[node].threads.core, work, Then::Handle { node, inputs });
    }

    pub(super) fn handle(&mut self, node: NodeIndex, inputs: Vec<Input>) {
        let clock = Node::clock(self.line.now());
        let mut outputs = Vec::new();
        for input in inputs {
            let items = payments_of(&input);
            let replica = &mut self.nodes[node].replica;
            let start = Wall::now();
            replica.handle(clock, input);
            outputs.extend(std::iter::from_fn(|| replica.poll_output()));
            if let Some(probe) = &mut self.probe {
                probe.core.add(items, start);
            }
        }
        self.carry_out(node, outputs);
        self.set_timer(node);
    }

    fn carry_out(&mut self, node: NodeIndex, outputs: Vec<Output>) {
        let (mut written, mut urgent, mut records) = (None, false, Work::default());
        let own = self.nodes[node].id;
        // what else waits for the core is of the same turn, and its records of the same write
        let ends_turn = self.machines.has_no_more(self.nodes[node].threads.core);
        for output in outputs {
            match output {
                Output::Persist { id, record } => {
                    let is_own = match &record {
                        Record::Block(block) => block.block().author == own.member,
                        Record::HeaderVote { .. } | Record::PlanApproval { .. } => true,
                    };
                    records.add(&self.record_work(&record, is_own, ends_turn && written.is_none()));
                    (written, urgent) = (Some(id), urgent || is_own);
                }
                Output::Send { to, message } => self.send(node, to, message),
                Output::Ledger(order) => {
                    let work = self.order_work(&order);
                    self.job(self.nodes[node].threads.ledger, work, Then::Perform { node, order });
                }
                Output::Certified { block: Some(block), .. } if is_for_clients(&self.setup, own) => {
                    let bytes = self.block_bytes(&block);
                    let work = self.network_work(node, bytes);
                    self.job(self.nodes[node].threads.net, work, Then::Deliver { node, block, bytes });
                }
                Output::Answer { txid, answer: Answer::Busy { .. } | Answer::Rejected(_), .. } => {
                    self.busy += u64::from(self.charging);
                    self.line.after(AGAIN, Event::Again { txid });
                }
                Output::VerifyContextChanged(context) => self.nodes[node].context = context,
                Output::Certified { .. }
                | Output::Answer { .. }
                // older than what is in memory: nobody asks when nobody fails
                | Output::ServeStored { .. }
                | Output::Prune { .. }
                | Output::PlanApproved(_)
                | Output::CheckpointCertified(_)
                | Output::EpochStarted(_)
                | Output::Event(_) => {}
            }
        }
        if let Some(upto) = written {
            self.job(self.nodes[node].threads.core, records, Then::Written { node, upto, urgent });
        }
    }

    fn send(&mut self, node: NodeIndex, to: NodeId, message: Arc<PeerMessage>) {
        let bytes = self.bytes(&message);
        let work = self.network_work(node, bytes);
        self.job(self.nodes[node].threads.net, work, Then::Leave { node, to, message, bytes });
    }

    fn start_sync(&mut self, node: NodeIndex) {
        let of = &mut self.nodes[node];
        if of.syncing {
            return;
        }
        if let Some(upto) = of.wanted.take() {
            of.syncing = true;
            let thread = of.threads.sync;
            self.job(thread, Work::of(Kind::Store, self.costs.sync_us), Then::Sync { node, upto });
        }
    }

    fn perform(&mut self, node: NodeIndex, order: LedgerOrder) {
        let start = Wall::now();
        let executes = matches!(order, LedgerOrder::Execute(_));
        let fact = perform(&mut self.nodes[node].ledger, order).expect("memory does not fail");
        let Some(fact) = fact else { return };
        if let (true, LedgerFact::Executed(executed)) = (executes, &fact) {
            let leaves = executed.blocks.iter().map(|made| made.block.header.leaf_count as usize).sum::<usize>();
            if let Some(probe) = &mut self.probe {
                probe.execute.add(leaves, start);
            }
            if self.keep_made && node == 0 {
                self.made.extend(executed.blocks.iter().map(|made| made.block.clone()));
            }
            if leaves > 0 {
                let behind = self.costs.store_behind_us * (leaves * self.setup.grain) as f64;
                self.job(self.nodes[node].threads.store, Work::of(Kind::Store, behind), Then::Done);
            }
        }
        self.give_core(node, vec![Input::Ledger(fact)]);
    }

    fn timer(&mut self, node: NodeIndex) {
        let now = self.line.now();
        if self.nodes[node].timer != Some(now) {
            return;
        }
        self.nodes[node].timer = None;
        let due = self.nodes[node].replica.poll_timeout();
        if due.is_some_and(|due| due <= Node::clock(now)) {
            self.give_core(node, vec![Input::Tick]);
        } else {
            self.set_timer(node);
        }
    }

    fn set_timer(&mut self, node: NodeIndex) {
        let now = self.line.now();
        let of = &mut self.nodes[node];
        let Some(due) = of.replica.poll_timeout() else { return };
        let wait = due.since(Node::clock(now)).max(Duration::from_micros(1));
        let due = now.after(wait);
        if of.timer.is_none_or(|planned| due < planned) {
            of.timer = Some(due);
            self.line.at(due, Event::Timer { node });
        }
    }

    /// A client pays.
    pub(super) fn pay(&mut self) {
        if let Some(committee) = self.clients.pay(self.line.now()) {
            self.line.after(super::clients::LINGER, Event::Linger { committee });
        }
    }

    fn send_batch(&mut self, committee: usize) {
        for (node, batch) in self.clients.take_batch(committee) {
            let work = self.client_message_work(self.batch_bytes(&batch));
            self.job(self.client_thread, work, Then::Send { node, batch });
        }
    }

    fn seen(&mut self, block: &LedgerBlock) {
        let start = Wall::now();
        let ended = self.clients.seen(self.line.now(), block);
        if let Some(probe) = &mut self.probe {
            probe.client.add(block.header.leaf_count as usize, start);
        }
        if self.charging && matches!(self.setup.load, Load::Closed(_)) {
            (0..ended).for_each(|_| self.pay());
        }
    }
}

/// Payments and credits in an input of the core.
pub(super) fn payments_of(input: &Input) -> usize {
    match input {
        Input::Message { message, .. } => payments_in(message),
        Input::Submitted { .. } => 1,
        Input::Ledger(LedgerFact::Executed(executed)) => executed.verdicts.len(),
        _ => 0,
    }
}

/// Payments and credits in a message.
pub(super) fn payments_in(message: &CheckedMessage) -> usize {
    match message {
        CheckedMessage::Blocks { blocks, .. } => {
            let in_block = |payload: &shardpay_types::Payload| {
                payload.transactions.len() + payload.packs.iter().map(|pack| pack.messages.len()).sum::<usize>()
            };
            blocks.iter().map(|block| in_block(&block.block().payload)).sum()
        }
        CheckedMessage::Pack(pack) => pack.as_ref().into_inner().messages.len(),
        _ => 0,
    }
}
