//! The network and its clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use shardpay_crypto::{chain_id, plan_hash};
use shardpay_ledger::Config as LedgerConfig;
use shardpay_replica::verify::{CheckedMessage, check_message, check_opaque, check_transaction};
use shardpay_replica::{ClientToken, Config, Input, LedgerFact, Output, PersistId, Record, perform};
use shardpay_types::*;

use super::keys::{FakeKey, Wallet, fake_scheme, issuer, mint};
use super::node::Node;
use super::watch::Watch;

/// What a network is made of.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub committees: usize,
    pub members: usize,
    pub seed: u64,
}

/// Something on its way.
enum Event {
    Deliver { from: NodeId, to: NodeId, message: Arc<PeerMessage> },
    Persisted { node: NodeId, life: u32, id: PersistId },
    Fact { node: NodeId, life: u32, fact: LedgerFact },
}

/// A message that left a node.
#[derive(Debug, Clone)]
pub struct Sent {
    pub at: Timestamp,
    pub from: NodeId,
    pub to: NodeId,
    pub message: Arc<PeerMessage>,
}

type Filter = Box<dyn Fn(NodeId, NodeId, &PeerMessage) -> bool>;
type Alter = Box<dyn Fn(NodeId, NodeId, &PeerMessage) -> Option<PeerMessage>>;

pub struct Net {
    pub now: Timestamp,
    pub chain: ChainId,
    pub genesis: Arc<Plan>,
    pub nodes: BTreeMap<NodeId, Node>,
    pub sent: Vec<Sent>,
    pub keep_sent: bool,
    /// Messages for which it is false are lost.
    pub passes: Filter,
    /// Replaces messages on their way.
    pub alter: Alter,
    /// Messages between committees are delivered that many times.
    pub copies: usize,
    pub watch: Watch,
    /// Nodes whose records do not become durable.
    stalled: BTreeSet<NodeId>,
    queue: BTreeMap<(Timestamp, u64), Event>,
    sequence: u64,
    chance: u64,
    clients: u64,
}

pub fn node_id(committee: usize, member: usize) -> NodeId {
    NodeId { committee: CommitteeId::at(committee), member: MemberIndex::at(member) }
}

pub fn genesis_plan(committees: usize, members: usize) -> Plan {
    let key = |c: usize, m: usize| FakeKey::numbered(1, (c * 64 + m) as u64).0;
    let committee = |(index, (shard_first, shard_count)): (usize, (u16, u16))| CommitteePlan {
        shard_first,
        shard_count,
        members: List::bounded((0..members).map(|m| key(index, m)).collect()),
    };
    Plan {
        version: Version,
        epoch: Epoch::ZERO,
        previous: PlanHash::ZERO,
        salt: [3; 32],
        issuer: issuer().0,
        constants: Constants::standard(committees),
        committees: List::bounded(Plan::even_shards(committees).into_iter().enumerate().map(committee).collect()),
    }
}

impl Net {
    pub fn new(setup: Setup) -> Self {
        Self::with(setup, |_| {})
    }

    /// A network whose nodes' configuration `adjust` has changed. All nodes start at time zero.
    pub fn with(setup: Setup, adjust: impl Fn(&mut Config)) -> Self {
        Self::on(genesis_plan(setup.committees, setup.members), setup.seed, adjust)
    }

    /// The same on a plan of the test's own.
    pub fn on(genesis: Plan, seed: u64, adjust: impl Fn(&mut Config)) -> Self {
        let genesis = Arc::new(genesis);
        let chain = chain_id(&genesis);
        let mut net = Self {
            now: Timestamp::from_millis(1_000),
            chain,
            genesis: genesis.clone(),
            nodes: BTreeMap::new(),
            sent: Vec::new(),
            keep_sent: false,
            passes: Box::new(|_, _, _| true),
            alter: Box::new(|_, _, _| None),
            copies: 1,
            watch: Watch::default(),
            stalled: BTreeSet::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            chance: seed | 1,
            clients: 0,
        };
        for (c, committee) in genesis.committees.iter().enumerate() {
            for m in 0..committee.size() {
                let id = node_id(c, m);
                let mut config = Config::standard(id, chain);
                config.hash_seed = seed;
                adjust(&mut config);
                let committee = id.committee;
                let scheme = fake_scheme();
                let ledger = LedgerConfig { genesis: genesis.clone(), committee, scheme, hash_seed: seed };
                let key = FakeKey::numbered(1, (c * 64 + m) as u64);
                net.nodes.insert(id, Node::new(id, key, config, ledger));
            }
        }
        for id in net.ids() {
            net.start(id);
        }
        net
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub fn members(&self, committee: usize) -> Vec<NodeId> {
        self.ids().into_iter().filter(|id| id.committee.index() == committee).collect()
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[&id]
    }

    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node of the network")
    }

    pub fn start(&mut self, id: NodeId) {
        let now = self.now;
        self.node_mut(id).start(now);
        self.drain(id);
        for other in self.ids() {
            if other != id && self.node(other).is_up() {
                self.input(other, Input::PeerConnected(id));
                self.input(id, Input::PeerConnected(other));
            }
        }
    }

    /// Whether a node's disk stands still.
    pub fn stall_disk(&mut self, id: NodeId, stalled: bool) {
        if stalled {
            self.stalled.insert(id);
        } else {
            self.stalled.remove(&id);
        }
    }

    pub fn crash(&mut self, id: NodeId) {
        self.node_mut(id).crash();
    }

    /// Gives a node a fact.
    pub fn input(&mut self, id: NodeId, input: Input) {
        let now = self.now;
        let Some(replica) = self.node_mut(id).replica.as_mut() else { return };
        replica.handle(now, input);
        self.drain(id);
    }

    /// A client submits to a node.
    pub fn submit(&mut self, id: NodeId, transaction: Transaction) -> TxId {
        self.clients += 1;
        let client = ClientToken(self.clients);
        let node = self.node(id);
        let checked = check_transaction(&node.replica().verify_context(), transaction).expect("test signatures hold");
        let sender = transaction.debit().map(|(key, _)| node.account(&key));
        let empty = AccountState { balance: Amount::ZERO, next_sequence: Sequence::ZERO };
        let txid = checked.txid;
        let input = Input::Submitted { client, transaction: checked, sender: sender.unwrap_or(empty) };
        self.input(id, input);
        txid
    }

    /// A client submits opaque payloads to a node; the error is what the lanes refuse.
    pub fn submit_opaque(&mut self, id: NodeId, client: ClientToken, payloads: Vec<Opaque>) -> Result<(), TxId> {
        let context = self.node(id).replica().verify_context();
        let payloads = check_opaque(&context, payloads).collect::<Result<Vec<_>, TxId>>()?;
        self.input(id, Input::OpaqueSubmitted { client, payloads });
        Ok(())
    }

    /// Mints coins for a wallet at its own committee and waits until they are there.
    pub fn fund(&mut self, wallet: &Wallet, micros: u64) {
        let committee = self.genesis.owner(shardpay_crypto::shard_of(&wallet.public())).index();
        self.clients += 1;
        let number = self.clients;
        let transaction = mint(&self.genesis, &self.chain, committee, wallet.public(), (number, micros));
        let to = self.members(committee).into_iter().find(|id| self.node(*id).is_up()).expect("somebody is up");
        self.submit(to, transaction);
        let key = wallet.public();
        self.run_until("funds arrive", |net| net.balance(&key) >= micros);
    }

    /// The balance of an account at the member of its committee that has executed least.
    pub fn balance(&self, key: &PublicKey) -> u64 {
        let committee = self.genesis.owner(shardpay_crypto::shard_of(key)).index();
        let up = self.members(committee).into_iter().filter(|id| self.node(*id).is_up());
        up.map(|id| self.node(id).account(key).balance.micros()).min().unwrap_or(0)
    }

    fn random(&mut self, below: u64) -> u64 {
        self.chance ^= self.chance >> 12;
        self.chance ^= self.chance << 25;
        self.chance ^= self.chance >> 27;
        self.chance.wrapping_mul(0x2545_f491_4f6c_dd1d) % below
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now.after(after), self.sequence), event);
    }

    /// Carries out what a node ordered.
    fn drain(&mut self, id: NodeId) {
        while let Some(output) = self.node_mut(id).replica.as_mut().and_then(|replica| replica.poll_output()) {
            self.obey(id, output);
        }
    }

    fn obey(&mut self, id: NodeId, output: Output) {
        let life = self.node(id).life;
        match output {
            Output::Persist { id: persist, record } => {
                self.node_mut(id).pending.push((persist, record));
                self.schedule(Duration::from_millis(1), Event::Persisted { node: id, life, id: persist });
            }
            Output::Send { to, message } => self.send(id, to, message),
            Output::Ledger(order) => {
                let ledger = self.node_mut(id).ledger.as_mut().expect("a running node has a ledger");
                if let Some(fact) = perform(ledger, order).expect("memory does not fail") {
                    self.schedule(Duration::from_micros(300), Event::Fact { node: id, life, fact });
                }
            }
            Output::ServeStored { to, epoch, refs } => {
                let stored = self.node(id).disk.records.iter().filter_map(|record| match record {
                    Record::Block(block) if block.block().epoch == epoch && refs.contains(&block.reference()) => {
                        Some(block.raw().clone())
                    }
                    _ => None,
                });
                let blocks = List::bounded(stored.collect());
                let message = PeerMessage::Blocks(Blocks { epoch, requested: true, blocks });
                self.send(id, to, Arc::new(message));
            }
            Output::Prune { epoch, below } => {
                let keep = |record: &Record| match record {
                    Record::Block(block) if block.block().epoch == epoch => block.reference().round >= below,
                    Record::Block(block) => block.block().epoch.next() >= epoch,
                    _ => true,
                };
                self.node_mut(id).disk.records.retain(keep);
            }
            Output::Answer { client, txid, answer } => self.node_mut(id).answers.push((client, txid, answer)),
            Output::Certified { certified, .. } => {
                let mut node = self.nodes.remove(&id).expect("a node of the network");
                self.watch.certified(&mut node, &certified);
                self.nodes.insert(id, node);
            }
            Output::PlanApproved(approval) => {
                self.watch.approved(&self.nodes[&id], approval.epoch, approval.plan);
                self.node_mut(id).approvals.push(*approval);
            }
            Output::CheckpointCertified(checkpoint) => self.node_mut(id).checkpoints.push(*checkpoint),
            Output::EpochStarted(epoch) => self.node_mut(id).epochs.push(epoch),
            Output::Event(event) => self.node_mut(id).events.push(event),
            Output::VerifyContextChanged(_) => {}
        }
    }

    fn send(&mut self, from: NodeId, to: NodeId, message: Arc<PeerMessage>) {
        self.watch.sent(&self.nodes[&from], &message);
        if self.keep_sent {
            self.sent.push(Sent { at: self.now, from, to, message: message.clone() });
        }
        if !(self.passes)(from, to, &message) {
            return;
        }
        let message = (self.alter)(from, to, &message).map_or(message, Arc::new);
        let copies = if from.committee == to.committee { 1 } else { self.copies };
        for _ in 0..copies {
            let latency = Duration::from_micros(4_000 + self.random(8_000));
            self.schedule(latency, Event::Deliver { from, to, message: message.clone() });
        }
    }

    fn next_wake(&self) -> Option<(Timestamp, NodeId)> {
        let wakes = self.nodes.iter().filter_map(|(id, node)| Some((node.replica.as_ref()?.poll_timeout()?, *id)));
        wakes.min()
    }

    /// Does the next thing that happens before `end`; false when nothing does.
    fn step(&mut self, end: Timestamp) -> bool {
        let event_at = self.queue.first_key_value().map(|((at, _), _)| *at);
        let wake = self.next_wake();
        let next = [event_at, wake.map(|(at, _)| at)].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        if event_at == Some(next) {
            let (_, event) = self.queue.pop_first().expect("an event is due");
            self.happen(event);
        } else if let Some((_, id)) = wake {
            self.input(id, Input::Tick);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, message } => {
                let Some(replica) = &self.node(to).replica else { return };
                let bytes = message.to_bytes();
                let decoded = PeerMessage::from_bytes(&bytes).expect("messages survive their encoding");
                let context = replica.verify_context();
                if let Ok(message) = check_message(&context, from, decoded) {
                    self.deliver(from, to, message);
                }
            }
            Event::Persisted { node, life, id } if self.stalled.contains(&node) => {
                self.schedule(Duration::from_millis(5), Event::Persisted { node, life, id });
            }
            Event::Persisted { node, life, id } if self.node(node).life == life => {
                let target = self.node_mut(node);
                let durable: Vec<_> = target.pending.extract_if(.., |(pending, _)| *pending <= id).collect();
                target.durable(durable.into_iter().map(|(_, record)| record).collect());
                self.input(node, Input::Persisted(id));
            }
            Event::Fact { node, life, fact } if self.node(node).life == life => {
                self.input(node, Input::Ledger(fact));
            }
            Event::Persisted { .. } | Event::Fact { .. } => {}
        }
    }

    pub fn deliver(&mut self, from: NodeId, to: NodeId, message: CheckedMessage) {
        self.input(to, Input::Message { from, message });
    }

    /// Lets time pass.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now.after(duration);
        while self.step(end) {}
    }

    pub fn run_ms(&mut self, ms: u64) {
        self.run(Duration::from_millis(ms));
    }

    /// Lets time pass until `done`, at most 60 virtual seconds.
    ///
    /// # Panics
    /// When it does not come to that.
    pub fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        self.run_until_within(what, Duration::from_secs(60), done);
    }

    pub fn run_until_within(&mut self, what: &str, within: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now.after(within);
        while !done(self) {
            assert!(self.step(end), "{what}: not within {within:?}\n{}", self.describe());
        }
    }

    /// Whether all running nodes of a committee are certified at one height and have nothing to do.
    pub fn settled(&self, committee: usize) -> bool {
        let heights: BTreeSet<_> = self
            .members(committee)
            .into_iter()
            .filter_map(|id| self.node(id).replica.as_ref())
            .map(|replica| {
                let status = replica.status();
                (status.epoch, status.executed, status.certified, status.mempool, status.packs)
            })
            .collect();
        heights.len() == 1
            && heights
                .iter()
                .all(|(_, executed, certified, mempool, packs)| executed == certified && *mempool == 0 && *packs == 0)
    }

    pub fn all_settled(&self) -> bool {
        (0..self.genesis.committees.len()).all(|committee| self.settled(committee))
    }

    /// Everybody's figures, for failures.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for (id, node) in &self.nodes {
            let line = match &node.replica {
                None => format!("{id:?} down\n"),
                Some(replica) => {
                    let mut status = replica.status();
                    status.refusals.retain(|(_, count)| *count > 0);
                    status.consensus.highest.clear();
                    format!("{id:?} {status:?} {:?}\n", node.events)
                }
            };
            text.push_str(&line);
        }
        text
    }

    /// The plan after `current` with the same members.
    pub fn successor(current: &Plan) -> Plan {
        Plan { epoch: current.epoch.next(), previous: plan_hash(current), ..current.clone() }
    }

    /// The signaler's work: proposes the next plan, collects all approvals, closes the epoch everywhere.
    pub fn close_epoch(&mut self) -> Arc<Plan> {
        let first = self.nodes.values().find(|node| node.is_up()).expect("somebody is up");
        let plan = Arc::new(Self::successor(&first.plan()));
        self.approve(&plan);
        let change = Arc::new(self.change(&plan));
        for id in self.ids() {
            self.input(id, Input::EpochChangeProposed(change.clone()));
        }
        plan
    }

    /// Proposes a plan to all nodes and waits for the approvals of those that are up.
    pub fn approve(&mut self, plan: &Arc<Plan>) {
        for id in self.ids() {
            self.input(id, Input::PlanProposed(plan.clone()));
        }
        self.run_ms(50);
    }

    /// The epoch change with all approvals of a plan that nodes gave.
    pub fn change(&self, plan: &Plan) -> EpochChange {
        let hash = plan_hash(plan);
        let mut approvals: Vec<PlanApproval> =
            self.nodes.values().flat_map(|node| node.approvals.iter().copied()).filter(|a| a.plan == hash).collect();
        approvals.sort_by_key(|approval| (approval.committee, approval.member));
        approvals.dedup_by_key(|approval| (approval.committee, approval.member));
        EpochChange { plan: plan.clone(), approvals: List::bounded(approvals) }
    }
}
