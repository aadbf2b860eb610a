//! The consensus instances: the running epoch's, and the last epoch's, which only serves stragglers.

use std::collections::BTreeMap;
use std::sync::Arc;

use shardpay_consensus::{Config as DagConfig, Consensus, Context, Dag, Input, Output as Order, Start};
use shardpay_crypto::SealedBlock;
use shardpay_types::{BlockDigest, Epoch, MemberIndex, Round, Timestamp};

use crate::api::PersistId;
use crate::core::{Core, Membership, earlier};

/// One epoch's consensus.
pub(crate) struct Instance {
    pub(crate) context: Arc<Context>,
    dag: Box<dyn Consensus>,
    /// Records of own blocks on their way to the disk.
    own: BTreeMap<BlockDigest, PersistId>,
    last_own: PersistId,
}

/// Which instance an order comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Running,
    Last,
}

#[derive(Default)]
pub(crate) struct Instances {
    running: Option<Instance>,
    last: Option<Instance>,
}

/// The committee and epoch of a plan, as consensus wants it.
pub(crate) fn context_of(core: &Core, members: &Membership) -> Arc<Context> {
    Arc::new(Context {
        chain: core.config.chain,
        epoch: members.epoch(),
        committee: members.committee,
        members: members.members().clone(),
        issuer: members.plan.issuer,
        opaque_bytes_max: members.plan.constants.opaque_bytes_max,
    })
}

impl Instance {
    fn new(core: &Core, members: &Membership, own: MemberIndex, start: Start) -> Self {
        let context = context_of(core, members);
        let times = core.config.consensus;
        let config = DagConfig {
            own,
            rules: (core.config.rules)(context.members.size()),
            gc_depth: u64::from(members.plan.constants.gc_depth),
            min_round_delay: times.min_round_delay,
            leader_timeout: times.leader_timeout,
            leader_timeout_max: times.leader_timeout_max,
            sync_retry: times.sync_retry,
            sync_retry_max: times.sync_retry_max,
            execution_queue_max: times.execution_queue_max,
            context: context.clone(),
        };
        let dag = Box::new(Dag::new(core.now, config, core.signer.clone(), start));
        Self { context, dag, own: BTreeMap::new(), last_own: PersistId::default() }
    }

    pub(crate) fn handle(&mut self, now: Timestamp, input: Input) {
        self.dag.handle(now, input);
    }

    pub(crate) fn status(&self) -> shardpay_consensus::Status {
        self.dag.status()
    }

    pub(crate) fn last_output(&self) -> Round {
        self.dag.status().last_output
    }

    /// An own block's record is on order.
    pub(crate) fn own_block(&mut self, digest: BlockDigest, id: PersistId) {
        self.own.insert(digest, id);
        self.last_own = id;
    }

    /// Records up to `id` are durable.
    pub(crate) fn persisted(&mut self, id: PersistId) {
        self.own.retain(|_, pending| *pending > id);
    }

    /// The record that all own blocks among `blocks` wait for.
    pub(crate) fn durable_at(&self, blocks: &[Arc<SealedBlock>]) -> PersistId {
        let pending = blocks.iter().filter_map(|block| self.own.get(&block.reference().digest));
        pending.copied().max().unwrap_or_default()
    }

    /// The record of the newest own block.
    pub(crate) fn last_own(&self) -> PersistId {
        self.last_own
    }
}

impl Instances {
    pub(crate) fn running(&mut self) -> Option<&mut Instance> {
        self.running.as_mut()
    }

    pub(crate) fn running_ref(&self) -> Option<&Instance> {
        self.running.as_ref()
    }

    pub(crate) fn get(&mut self, which: Which) -> Option<&mut Instance> {
        match which {
            Which::Running => self.running.as_mut(),
            Which::Last => self.last.as_mut(),
        }
    }

    /// The instance of `epoch`, if it is served.
    pub(crate) fn of(&mut self, epoch: Epoch) -> Option<&mut Instance> {
        let instances = [self.running.as_mut(), self.last.as_mut()];
        instances.into_iter().flatten().find(|instance| instance.context.epoch == epoch)
    }

    /// Epochs served, the running one first.
    pub(crate) fn contexts(&self) -> impl Iterator<Item = &Arc<Context>> {
        [&self.running, &self.last].into_iter().flatten().map(|instance| &instance.context)
    }

    /// The running epoch closed.
    pub(crate) fn close(&mut self, now: Timestamp) {
        if let Some(mut closed) = self.running.take() {
            closed.handle(now, Input::Close);
            self.last = Some(closed);
        }
    }

    /// Nobody needs the last epoch's instance any more. True when there was one.
    pub(crate) fn retire_last(&mut self) -> bool {
        self.last.take().is_some()
    }

    pub(crate) fn start(&mut self, core: &Core, members: &Membership, start: Start) {
        self.running = members.own.map(|own| Instance::new(core, members, own, start));
    }

    pub(crate) fn poll_output(&mut self) -> Option<(Which, Order)> {
        let running = self.running.as_mut().and_then(|instance| instance.dag.poll_output());
        if let Some(order) = running {
            return Some((Which::Running, order));
        }
        self.last.as_mut().and_then(|instance| instance.dag.poll_output()).map(|order| (Which::Last, order))
    }

    pub(crate) fn next_timer(&self) -> Option<Timestamp> {
        let timer = |instance: &Option<Instance>| instance.as_ref().and_then(|instance| instance.dag.poll_timeout());
        earlier(timer(&self.running), timer(&self.last))
    }

    pub(crate) fn tick(&mut self, now: Timestamp) {
        for instance in [&mut self.running, &mut self.last].into_iter().flatten() {
            if instance.dag.poll_timeout().is_some_and(|at| at <= now) {
                instance.dag.handle(now, Input::Tick);
            }
        }
    }

    pub(crate) fn persisted(&mut self, id: PersistId) {
        for instance in [&mut self.running, &mut self.last].into_iter().flatten() {
            instance.persisted(id);
        }
    }
}
