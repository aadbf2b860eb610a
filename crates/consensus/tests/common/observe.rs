//! One instance that is fed blocks by hand and never answers a proposal, so that it adds nothing of its own.

use std::sync::Arc;

use shardpay_consensus::{Config, Consensus, Dag, Input, Output, Start, Status};
use shardpay_crypto::{Commit, SealedBlock, Verified};
use shardpay_types::{BlockRef, Payload, Timestamp};

use super::keys::TestKey;
use super::{Builder, member};

/// An instance under test.
pub struct Observer {
    pub dag: Dag,
    pub now: Timestamp,
    /// All commits handed out; executed at once unless `hold` is set.
    pub commits: Vec<Arc<Commit>>,
    /// Accepted blocks.
    pub persisted: Vec<Arc<SealedBlock>>,
    /// Everything else but proposals.
    pub others: Vec<Output>,
    /// Rounds it would have proposed, with the permission for payload.
    pub proposals: Vec<(u64, bool)>,
    pub hold: bool,
    /// Answers proposals with empty payloads; the blocks stand in `persisted`.
    pub answer: bool,
}

impl Observer {
    /// Member `own` of the builder's committee.
    pub fn new(builder: &Builder, own: usize) -> Self {
        Self::start(builder.config(own), Start::NewEpoch)
    }

    pub fn start(config: Config, start: Start) -> Self {
        let now = Timestamp::from_millis(1_000);
        let signer = Arc::new(TestKey::new("member", config.own.index()));
        let dag = Dag::new(now, config, signer, start);
        let mut observer = Self {
            dag,
            now,
            commits: Vec::new(),
            persisted: Vec::new(),
            others: Vec::new(),
            proposals: Vec::new(),
            hold: false,
            answer: false,
        };
        observer.drain();
        observer
    }

    pub fn input(&mut self, input: Input) {
        self.dag.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut executed = 0;
        while let Some(output) = self.dag.poll_output() {
            match output {
                Output::Commit(commit) => {
                    self.commits.push(commit);
                    executed += usize::from(!self.hold);
                }
                Output::Persist(block) => self.persisted.push(block),
                Output::Propose { round, payload_allowed, .. } => {
                    self.proposals.push((round.get(), payload_allowed));
                    if self.answer {
                        self.dag.handle(self.now, Input::Proposal { round, payload: Payload::default() });
                    }
                }
                other => self.others.push(other),
            }
        }
        if executed > 0 {
            (0..executed).for_each(|_| self.dag.handle(self.now, Input::CommitExecuted));
            self.drain();
        }
    }

    /// A block, pushed by its author (by somebody else, when it is our own).
    pub fn push(&mut self, block: &Arc<SealedBlock>) {
        self.receive(block, false);
    }

    /// A block in answer to a request.
    pub fn receive(&mut self, block: &Arc<SealedBlock>, requested: bool) {
        let author = block.reference().author;
        let own = self.dag.own();
        let from = if author == own { member(usize::from(own.index() == 0)) } else { author };
        self.input(Input::BlockReceived { from, block: Verified::trust(block.clone()), requested });
    }

    /// The builder's blocks in order, and whatever is asked for.
    pub fn feed(&mut self, builder: &Builder) {
        self.feed_in(builder, &(0..builder.blocks.len()).collect::<Vec<_>>());
    }

    /// The builder's blocks in another order, and whatever is asked for.
    pub fn feed_in(&mut self, builder: &Builder, order: &[usize]) {
        for index in order {
            self.push(&builder.blocks[*index]);
            self.pass(30);
            self.answer_requests(builder);
        }
        for _ in 0..100 {
            if self.status().missing == 0 {
                break;
            }
            self.pass(100);
            self.answer_requests(builder);
        }
    }

    fn answer_requests(&mut self, builder: &Builder) {
        let wanted = self.requested();
        self.others.retain(|output| !matches!(output, Output::Request { .. }));
        for block in wanted.iter().filter_map(|reference| builder.get(reference)) {
            self.receive(block, true);
        }
    }

    /// Every block of the builder, in order.
    pub fn push_all(&mut self, builder: &Builder) {
        for block in &builder.blocks {
            self.push(block);
        }
    }

    pub fn status(&self) -> Status {
        self.dag.status()
    }

    /// Rounds of the committed leaders.
    pub fn committed(&self) -> Vec<u64> {
        self.commits.iter().map(|commit| commit.anchor.round.get()).collect()
    }

    /// Committed leaders.
    pub fn anchors(&self) -> Vec<BlockRef> {
        self.commits.iter().map(|commit| commit.anchor).collect()
    }

    /// Own blocks made, in order.
    pub fn own_blocks(&self) -> Vec<&Arc<SealedBlock>> {
        let own = self.dag.own();
        self.persisted.iter().filter(|block| block.reference().author == own).collect()
    }

    /// References asked for so far.
    pub fn requested(&self) -> Vec<BlockRef> {
        let refs = self.others.iter().filter_map(|output| match output {
            Output::Request { refs, .. } => Some(refs.clone()),
            _ => None,
        });
        refs.flatten().collect()
    }

    /// Lets time pass in steps of 5 ms.
    pub fn pass(&mut self, millis: u64) {
        for _ in 0..millis.div_ceil(5) {
            self.now = self.now.after(std::time::Duration::from_millis(5));
            if self.dag.poll_timeout().is_some_and(|due| due <= self.now) {
                self.input(Input::Tick);
            }
        }
    }
}
