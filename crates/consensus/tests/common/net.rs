//! A small network of instances in virtual time: links with latency and loss, stores that survive crashes,
//! execution with a delay, heartbeats. Every commit is compared with what the others handed out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use shardpay_consensus::{Config, Consensus, Context, Dag, Input, Output, Recovered, Start, Verifier, validate};
use shardpay_crypto::{Commit, SealedBlock};
use shardpay_types::{BLOCK_TRANSACTIONS_MAX, BlockRef, List, Payload, Round, Timestamp};

use super::build::{context, payload, tags};
use super::keys::{TestKey, TestScheme};
use super::{Chance, member};

#[derive(Debug, Clone)]
pub enum Message {
    Blocks { blocks: Vec<Arc<SealedBlock>>, requested: bool },
    Request(Vec<BlockRef>),
    Status(Vec<BlockRef>),
}

enum Event {
    Deliver { from: usize, to: usize, message: Message },
    Executed { node: usize, life: u64 },
    Heartbeat,
}

/// What a network is like.
#[derive(Debug, Clone)]
pub struct Options {
    pub members: usize,
    pub seed: u64,
    /// Latency of a message, drawn evenly.
    pub latency_ms: std::ops::RangeInclusive<u64>,
    /// A member whose queue is long: it sees everything so many milliseconds later.
    pub slow: Option<(usize, u64)>,
    pub loss_percent: usize,
    pub execution_ms: u64,
    pub heartbeat_ms: u64,
}

impl Options {
    pub fn new(members: usize) -> Self {
        Self { members, seed: 1, latency_ms: 2..=9, slow: None, loss_percent: 0, execution_ms: 1, heartbeat_ms: 500 }
    }
}

/// One member.
#[derive(Default)]
pub struct Node {
    pub dag: Option<Dag>,
    pub store: BTreeMap<BlockRef, Arc<SealedBlock>>,
    pub queue: VecDeque<u64>,
    /// Commits handed out in this life and the ones executed before it.
    pub commits: Vec<Arc<Commit>>,
    executed: usize,
    /// Payloads in `commits`.
    seen: BTreeSet<u64>,
    life: u64,
    /// Orders that are neither traffic nor commits.
    pub notices: Vec<Output>,
    /// Own blocks ever made, to find a second one in a slot.
    signed: BTreeMap<Round, BlockRef>,
    pub rejoined: bool,
}

/// What decides whether a message passes.
pub type Filter = Box<dyn FnMut(usize, usize, &Message) -> bool>;

/// The network.
pub struct Net {
    pub options: Options,
    pub context: Arc<Context>,
    pub nodes: Vec<Node>,
    pub now: Timestamp,
    /// Changes an instance's configuration at its start.
    pub tune: fn(&mut Config),
    pub filter: Option<Filter>,
    /// A member that is far behind gets what was executed elsewhere, as the ledger would fetch it.
    pub replays: bool,
    /// Block messages and requests sent so far, and when the last one was.
    pub traffic: u64,
    pub last_traffic: Timestamp,
    /// Blocks sent so far, to each member.
    pub blocks_to: Vec<u64>,
    agreed: BTreeMap<Round, Arc<Commit>>,
    events: BTreeMap<(Timestamp, u64), Event>,
    sequence: u64,
    chance: Chance,
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

impl Net {
    /// A committee in which all members start a new epoch.
    pub fn new(options: Options) -> Self {
        Self::tuned(options, |_| {})
    }

    pub fn tuned(options: Options, tune: fn(&mut Config)) -> Self {
        let mut net = Self {
            context: context(options.members),
            nodes: (0..options.members).map(|_| Node::default()).collect(),
            now: Timestamp::from_millis(10_000),
            tune,
            filter: None,
            replays: false,
            traffic: 0,
            last_traffic: Timestamp::ZERO,
            blocks_to: vec![0; options.members],
            agreed: BTreeMap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            chance: Chance(options.seed),
            options,
        };
        for node in 0..net.options.members {
            net.start(node, Start::NewEpoch);
        }
        net.schedule(net.options.heartbeat_ms, Event::Heartbeat);
        net
    }

    fn start(&mut self, node: usize, start: Start) {
        let mut config = Config::standard(self.context.clone(), member(node));
        (self.tune)(&mut config);
        let dag = Dag::new(self.now, config, Arc::new(TestKey::new("member", node)), start);
        self.nodes[node].dag = Some(dag);
        self.nodes[node].life += 1;
        self.drain(node);
        self.input(node, Input::WorkChanged { pending: !self.nodes[node].queue.is_empty() });
    }

    /// Ends an instance; its store and what it executed stay.
    pub fn crash(&mut self, node: usize) {
        self.nodes[node].dag = None;
        let executed = self.nodes[node].executed;
        self.nodes[node].commits.truncate(executed);
        let kept = self.nodes[node].commits.iter().flat_map(|commit| &commit.blocks).flat_map(|block| tags(block));
        self.nodes[node].seen = kept.collect();
    }

    /// Starts an instance from its store.
    pub fn restart(&mut self, node: usize) {
        let last = self.nodes[node].commits.last();
        let last_output = last.map_or(Round::ZERO, |commit| commit.anchor.round);
        let leaders = last.map_or(Vec::new(), |commit| commit.leaders.clone());
        let mut probe = Config::standard(self.context.clone(), member(node));
        (self.tune)(&mut probe);
        let above = last_output.minus(probe.gc_depth);
        let stored = self.nodes[node].store.values().filter(|block| block.reference().round > above);
        let mut blocks: Vec<_> = stored.cloned().collect();
        self.chance.shuffle(&mut blocks);
        self.start(node, Start::Restart(Recovered { last_output, leaders, blocks }));
    }

    /// Loses a store.
    pub fn wipe(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        *node = Node { life: node.life, ..Node::default() };
    }

    /// Gives a member something to propose.
    pub fn submit(&mut self, node: usize, tag: u64) {
        self.nodes[node].queue.push_back(tag);
        self.input(node, Input::WorkChanged { pending: true });
    }

    pub fn input(&mut self, node: usize, input: Input) {
        if let Some(dag) = &mut self.nodes[node].dag {
            dag.handle(self.now, input);
            self.drain(node);
        }
    }

    /// Sends a message as `from`, whoever that is.
    pub fn send(&mut self, from: usize, to: usize, message: Message) {
        if !matches!(message, Message::Status(_)) {
            self.traffic += 1;
            self.last_traffic = self.now;
        }
        if let Message::Blocks { blocks, .. } = &message {
            self.blocks_to[to] += blocks.len() as u64;
        }
        let passes = self.filter.as_mut().is_none_or(|filter| filter(from, to, &message));
        if !passes || self.chance.percent(self.options.loss_percent) {
            return;
        }
        let (least, most) = (*self.options.latency_ms.start(), *self.options.latency_ms.end());
        let queue = self.options.slow.filter(|(member, _)| *member == to).map_or(0, |(_, ms)| ms);
        let delay = queue + least + self.chance.next() % (most - least + 1);
        self.schedule(delay, Event::Deliver { from, to, message });
    }

    fn schedule(&mut self, delay_ms: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now.after(millis(delay_ms)), self.sequence), event);
    }

    fn drain(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].dag.as_mut().and_then(Consensus::poll_output) {
            match output {
                Output::Persist(block) => self.persist(node, block),
                Output::Propose { round, payload_allowed, bytes_max } => {
                    assert!(bytes_max > 500_000);
                    self.propose(node, round, payload_allowed);
                }
                Output::Send { to, blocks, requested } => {
                    assert!(blocks.len() <= 64 && !blocks.is_empty());
                    self.send(node, to.index(), Message::Blocks { blocks, requested });
                }
                Output::Request { to, refs } => {
                    assert!(refs.len() <= 32 && refs.is_sorted());
                    self.send(node, to.index(), Message::Request(refs));
                }
                Output::ServeStored { to, refs } => {
                    let blocks: Vec<_> = refs.iter().filter_map(|r| self.nodes[node].store.get(r)).cloned().collect();
                    if !blocks.is_empty() {
                        self.send(node, to.index(), Message::Blocks { blocks, requested: true });
                    }
                }
                Output::Commit(commit) => self.committed(node, commit),
                Output::FarBehind { .. } if self.replays => {
                    self.nodes[node].notices.push(output);
                    self.replay(node);
                }
                Output::Prune { below } => self.nodes[node].store.retain(|block, _| block.round >= below),
                other => self.nodes[node].notices.push(other),
            }
        }
    }

    /// The ledger of a member that is far behind catches up by certified blocks.
    fn replay(&mut self, node: usize) {
        let tip = |other: &Node| other.commits[..other.executed].last().map(|commit| commit.anchor.round);
        let Some(tip) = self.nodes.iter().filter_map(tip).max() else { return };
        if self.nodes[node].commits.last().is_some_and(|own| own.anchor.round >= tip) {
            return;
        }
        let state = &mut self.nodes[node];
        state.commits = self.agreed.range(..=tip).map(|(_, commit)| commit.clone()).collect();
        state.executed = state.commits.len();
        state.seen.extend(state.commits.iter().flat_map(|commit| &commit.blocks).flat_map(|block| tags(block)));
        // Commits in execution belong to the life before.
        state.life += 1;
        let last = state.commits.last().expect("the tip is agreed").clone();
        let dag = state.dag.as_mut().expect("it gave the order");
        dag.handle(self.now, Input::Rejoin { anchor: last.anchor, leaders: last.leaders.clone() });
    }

    fn persist(&mut self, node: usize, block: Arc<SealedBlock>) {
        let reference = block.reference();
        if reference.author == member(node) {
            let first = *self.nodes[node].signed.entry(reference.round).or_insert(reference);
            assert_eq!(first, reference, "member {node} signed twice in round {}", reference.round);
        }
        self.nodes[node].store.insert(reference, block);
    }

    fn propose(&mut self, node: usize, round: Round, payload_allowed: bool) {
        let queue = &mut self.nodes[node].queue;
        let count = if payload_allowed { queue.len().min(BLOCK_TRANSACTIONS_MAX) } else { 0 };
        let transactions = queue.drain(..count).flat_map(|tag| payload(tag).transactions.into_vec()).collect();
        let payload = Payload { transactions: List::bounded(transactions), ..Payload::default() };
        let pending = !queue.is_empty();
        let dag = self.nodes[node].dag.as_mut().expect("it asked");
        dag.handle(self.now, Input::Proposal { round, payload });
        dag.handle(self.now, Input::WorkChanged { pending });
    }

    fn committed(&mut self, node: usize, commit: Arc<Commit>) {
        let agreed = self.agreed.entry(commit.anchor.round).or_insert_with(|| commit.clone());
        assert_eq!(**agreed, *commit, "member {node} commits something else");
        let state = &mut self.nodes[node];
        assert!(state.commits.last().is_none_or(|last| last.anchor.round < commit.anchor.round));
        state.seen.extend(commit.blocks.iter().flat_map(|block| tags(block)));
        state.commits.push(commit);
        let life = state.life;
        self.schedule(self.options.execution_ms, Event::Executed { node, life });
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, message } => self.deliver(from, to, message),
            Event::Executed { node, life } => {
                let state = &mut self.nodes[node];
                if state.life == life && state.dag.is_some() {
                    state.executed = (state.executed + 1).min(state.commits.len());
                    self.input(node, Input::CommitExecuted);
                }
            }
            Event::Heartbeat => {
                for node in 0..self.nodes.len() {
                    let Some(dag) = &self.nodes[node].dag else { continue };
                    let highest = dag.status().highest;
                    for to in (0..self.nodes.len()).filter(|to| *to != node) {
                        self.send(node, to, Message::Status(highest.clone()));
                    }
                }
                self.schedule(self.options.heartbeat_ms, Event::Heartbeat);
            }
        }
    }

    fn deliver(&mut self, from: usize, to: usize, message: Message) {
        let from = member(from);
        match message {
            Message::Blocks { blocks, requested } => {
                let verifier = Verifier::sound(&self.context, &TestScheme, None);
                for block in blocks {
                    let block =
                        validate(&self.context, &verifier, block.raw().clone()).expect("members send valid blocks");
                    self.input(to, Input::BlockReceived { from, block, requested });
                }
            }
            Message::Request(refs) => self.input(to, Input::BlocksRequested { from, refs }),
            Message::Status(highest) => self.input(to, Input::PeerStatus { from, highest }),
        }
    }

    /// One event or timer.
    fn step(&mut self, until: Timestamp) -> bool {
        let timer = |node: &Node| node.dag.as_ref().and_then(Consensus::poll_timeout);
        let (due, node) = (0..self.nodes.len())
            .filter_map(|node| timer(&self.nodes[node]).map(|due| (due, node)))
            .min()
            .unwrap_or((Timestamp::from_micros(u64::MAX), 0));
        let event = self.events.keys().next().copied();
        let next = event.map_or(due, |(at, _)| at.min(due));
        if next > until {
            self.now = until;
            return false;
        }
        self.now = self.now.max(next);
        match event {
            Some(key) if key.0 <= due => {
                let event = self.events.remove(&key).expect("it is there");
                self.dispatch(event);
            }
            _ => self.input(node, Input::Tick),
        }
        true
    }

    /// Lets virtual time pass.
    pub fn run(&mut self, duration_ms: u64) {
        let until = self.now.after(millis(duration_ms));
        while self.step(until) {}
    }

    /// Runs until `done`, at most so long; whether it was reached.
    pub fn run_until(&mut self, most_ms: u64, done: impl Fn(&Self) -> bool) -> bool {
        let until = self.now.after(millis(most_ms));
        while !done(self) {
            if !self.step(until) {
                return done(self);
            }
        }
        true
    }

    /// Whether a member has committed a payload.
    pub fn has(&self, node: usize, tag: u64) -> bool {
        self.nodes[node].seen.contains(&tag)
    }

    /// Whether all running members have committed a payload.
    pub fn all_have(&self, tag: u64) -> bool {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].dag.is_some()).all(|node| self.has(node, tag))
    }

    pub fn status(&self, node: usize) -> shardpay_consensus::Status {
        self.nodes[node].dag.as_ref().expect("it runs").status()
    }

    /// Every member's commits are an unbroken piece of what was agreed; none stands twice.
    pub fn check(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(first) = node.commits.first() else { continue };
            let start = if node.rejoined { first.anchor.round } else { Round::ZERO };
            if node.rejoined {
                continue;
            }
            let agreed = self.agreed.range(start..).map(|(_, commit)| commit.anchor);
            let own: Vec<BlockRef> = node.commits.iter().map(|commit| commit.anchor).collect();
            assert_eq!(agreed.take(own.len()).collect::<Vec<_>>(), own, "member {index} left a commit out");
        }
        let mut seen = BTreeSet::new();
        for commit in self.agreed.values() {
            assert!(commit.blocks.iter().all(|block| seen.insert(block.reference())), "a block is committed twice");
        }
    }

    /// Everything is quiet: nothing but heartbeats for `idle_ms`, and no timer runs.
    pub fn assert_quiet(&mut self, idle_ms: u64) {
        let before = self.traffic;
        self.run(idle_ms);
        assert_eq!(self.traffic, before, "traffic while idle");
        for (index, node) in self.nodes.iter().enumerate() {
            let due = node.dag.as_ref().and_then(Consensus::poll_timeout);
            assert_eq!(due, None, "member {index} keeps a timer");
        }
    }
}
