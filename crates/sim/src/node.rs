//! A simulated node: the real replica and the real ledger, a disk, a clock that is wrong, one
//! processor and one execution thread.
//!
//! The body keeps what a machine keeps over crashes (disk, key, clock); [`Machine`] is the process that
//! dies. Orders are carried out by [`crate::world`], in the order in which they come.

mod store;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use shardpay_crypto::{SealedBlock, SignatureScheme, Signer};
use shardpay_ledger::{Ledger, OpenError};
use shardpay_replica::verify::VerifyContext;
use shardpay_replica::{Config, Keys, LedgerOrder, PersistId, Replica};
use shardpay_types::{ChainId, NodeId, PeerMessage, Plan, Timestamp};

use crate::byzantine::{Twist, TwistContext};
use crate::engine::Instant;
use crate::rng::Stream;
use crate::scenario::CrashPoint;
use crate::topology::NodeIndex;
use crate::workload::Life;

pub(crate) use store::{Disk, SimStore};

/// The process of a node.
pub(crate) struct Machine {
    /// The protocol.
    pub replica: Replica,
    /// The ledger.
    pub ledger: Ledger<SimStore>,
    /// Keysets for verification, as of the replica's last change.
    pub context: Arc<VerifyContext>,
}

/// What all nodes of a run share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// The ledger.
    pub chain: ChainId,
    /// The plan of epoch 0.
    pub genesis: Arc<Plan>,
    /// The verifier.
    pub scheme: Arc<dyn SignatureScheme>,
}

/// A node, alive or not.
pub(crate) struct Body {
    /// Its place in the topology; twins share one.
    pub node: NodeIndex,
    /// Its name in the protocol.
    pub id: NodeId,
    /// Its key.
    pub signer: Arc<dyn Signer>,
    /// What the replica is told.
    pub config: Config,
    /// How it misbehaves.
    pub twist: Option<Box<dyn Twist>>,
    /// The twist's chance.
    pub twist_stream: Stream,
    /// Whether the checkers may hold it to the protocol.
    pub honest: bool,
    /// The process, when it runs.
    pub machine: Option<Machine>,
    /// How often it was started.
    pub incarnation: u32,
    /// What survives.
    pub disk: Disk,
    /// Chance of the disk, the processor and of what a crash leaves.
    pub stream: Stream,
    /// What its clock adds to virtual time.
    pub skew: Duration,
    /// Messages not looked at yet.
    pub inbox: VecDeque<(NodeId, Arc<PeerMessage>)>,
    /// The processor works until then.
    pub busy_until: Instant,
    /// Whether a look into the inbox is planned.
    pub waking: bool,
    /// Time per message.
    pub each: Duration,
    /// Orders to the ledger not carried out yet.
    pub orders: VecDeque<LedgerOrder>,
    /// Whether the execution thread is at work.
    pub executing: bool,
    /// Added to each order's time.
    pub execution_extra: Duration,
    /// Added to each sync's time.
    pub sync_extra: Duration,
    /// When the replica wants to be called, as planned.
    pub timer: Option<Instant>,
    /// Own blocks on their way to the disk.
    pub(crate) own_blocks: VecDeque<(PersistId, Arc<SealedBlock>)>,
    /// A crash that waits for its moment.
    pub armed: Option<CrashPoint>,
}

/// What a body is made from.
pub(crate) struct BodyParts {
    /// Its place in the topology.
    pub node: NodeIndex,
    /// Its key.
    pub signer: Arc<dyn Signer>,
    /// What the replica is told.
    pub config: Config,
    /// How it misbehaves.
    pub twist: Option<Box<dyn Twist>>,
    /// Whether the checkers may hold it to the protocol.
    pub honest: bool,
    /// Whether it can crash.
    pub crashes: bool,
    /// What its clock adds to virtual time.
    pub skew: Duration,
}

impl Body {
    /// A node that was never started, number `number` of the run `seed`.
    pub(crate) fn new(seed: u64, number: u64, parts: BodyParts) -> Self {
        Self {
            node: parts.node,
            id: parts.config.own,
            signer: parts.signer,
            config: parts.config,
            twist: parts.twist,
            twist_stream: Stream::new(seed, "twist", number),
            honest: parts.honest,
            machine: None,
            incarnation: 0,
            disk: Disk::new(parts.crashes),
            stream: Stream::new(seed, "node", number),
            skew: parts.skew,
            inbox: VecDeque::new(),
            busy_until: Instant(0),
            waking: false,
            each: Duration::ZERO,
            orders: VecDeque::new(),
            executing: false,
            execution_extra: Duration::ZERO,
            sync_extra: Duration::ZERO,
            timer: None,
            own_blocks: VecDeque::new(),
            armed: None,
        }
    }

    /// The node's clock.
    pub(crate) fn clock(&self, now: Instant) -> Timestamp {
        Timestamp::from_micros(now.after(self.skew).0)
    }

    /// The running process, for clients.
    pub(crate) const fn life(&self) -> Life {
        Life { node: self.node, incarnation: self.incarnation }
    }

    /// Starts the process from what the disk holds.
    pub(crate) fn start(&mut self, now: Instant, shared: &Shared) -> Result<(), OpenError> {
        let config = shardpay_ledger::Config {
            genesis: shared.genesis.clone(),
            committee: self.id.committee,
            scheme: shared.scheme.clone(),
            hash_seed: self.config.hash_seed,
        };
        let ledger = Ledger::open(config, self.disk.store.clone())?;
        let view = ledger.view();
        let records = self.disk.recovered(view.status.epoch);
        self.incarnation += 1;
        let mut config = self.config.clone();
        config.hash_seed = config.hash_seed.wrapping_add(u64::from(self.incarnation) << 32);
        let keys = Keys { signer: self.signer.clone(), scheme: shared.scheme.clone() };
        let replica = Replica::new(self.clock(now), config, keys, view, records);
        let context = replica.verify_context();
        self.machine = Some(Machine { replica, ledger, context });
        (self.busy_until, self.waking, self.executing) = (now, false, false);
        (self.timer, self.armed) = (None, None);
        Ok(())
    }

    /// Ends the process. Returns what the crash cost: (records, batches, whether a batch was torn).
    pub(crate) fn crash(&mut self, torn: bool) -> (usize, usize, bool) {
        self.machine = None;
        self.inbox.clear();
        self.orders.clear();
        self.own_blocks.clear();
        self.executing = false;
        (self.timer, self.armed) = (None, None);
        self.disk.crash(&mut self.stream, torn)
    }

    /// Lets the twist act, if there is one.
    pub(crate) fn twisted<T>(
        &mut self,
        now: Instant,
        shared: &Shared,
        act: impl FnOnce(&mut dyn Twist, &mut TwistContext<'_>) -> T,
    ) -> Option<T> {
        let clock = self.clock(now);
        let twist = self.twist.as_deref_mut()?;
        let mut context = TwistContext {
            now: clock,
            own: self.id,
            chain: shared.chain,
            plan: &shared.genesis,
            signer: &*self.signer,
            stream: &mut self.twist_stream,
        };
        Some(act(twist, &mut context))
    }
}
