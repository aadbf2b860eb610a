//! A node: the real replica and ledger, and the threads its work is charged to.

use std::sync::Arc;

use shardpay_crypto::{SignatureScheme, Signer};
use shardpay_ledger::{Ledger, MemStore};
use shardpay_replica::verify::VerifyContext;
use shardpay_replica::{Config, Keys, PersistId, RecoveredRecords, Replica};
use shardpay_sim::{Instant, NodeIndex};
use shardpay_types::{ChainId, NodeId, Plan, Timestamp, Transaction};

use super::Then;
use crate::machines::{Machines, ThreadId};
use crate::setup::Setup;

/// Clocks are that far from zero, as they are in the world.
pub(super) const CLOCK_START_US: u64 = 1_000_000;

/// What all nodes share.
pub(super) struct Shared {
    pub(super) chain: ChainId,
    pub(super) genesis: Arc<Plan>,
    pub(super) scheme: Arc<dyn SignatureScheme>,
}

/// A node's threads.
#[derive(Debug, Clone)]
pub(super) struct Threads {
    pub(super) net: ThreadId,
    pub(super) peers: Vec<ThreadId>,
    pub(super) clients: ThreadId,
    pub(super) core: ThreadId,
    pub(super) ledger: ThreadId,
    pub(super) sync: ThreadId,
    pub(super) store: ThreadId,
}

/// A node.
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) machine: usize,
    pub(super) threads: Threads,
    pub(super) replica: Replica,
    pub(super) ledger: Ledger<MemStore>,
    pub(super) context: Arc<VerifyContext>,
    /// Payments that wait for a lane.
    pub(super) waiting: Vec<Transaction>,
    /// Whether a lane is at work or waits for more.
    pub(super) lane_taken: bool,
    /// When the replica is called next, as planned.
    pub(super) timer: Option<Instant>,
    /// A sync is under way.
    pub(super) syncing: bool,
    /// What is to be synced next.
    pub(super) wanted: Option<PersistId>,
    /// When the line out is free again.
    pub(super) line_free: Instant,
}

impl Node {
    pub(super) fn new(
        (at, id): (NodeIndex, NodeId),
        setup: &Setup,
        shared: &Shared,
        signer: Arc<dyn Signer>,
        (machine, machines): (usize, &mut Machines<Then>),
    ) -> Self {
        let mut config = Config::standard(id, shared.chain);
        config.hash_seed = at as u64 + 1;
        config.consensus.min_round_delay = setup.round_delay;
        let of_ledger = shardpay_ledger::Config {
            genesis: shared.genesis.clone(),
            committee: id.committee,
            scheme: shared.scheme.clone(),
            hash_seed: config.hash_seed,
        };
        let ledger = Ledger::open(of_ledger, MemStore::new()).expect("an empty store opens");
        let keys = Keys { signer, scheme: shared.scheme.clone() };
        let now = Timestamp::from_micros(CLOCK_START_US);
        let replica = Replica::new(now, config, keys, ledger.view(), RecoveredRecords::default());
        let context = replica.verify_context();
        let mut thread = || machines.add_thread(machine);
        let threads = Threads {
            net: thread(),
            peers: (0..setup.lanes.max(1)).map(|_| thread()).collect(),
            clients: thread(),
            core: thread(),
            ledger: thread(),
            sync: thread(),
            store: thread(),
        };
        Self {
            id,
            machine,
            threads,
            replica,
            ledger,
            context,
            waiting: Vec::new(),
            lane_taken: false,
            timer: None,
            syncing: false,
            wanted: None,
            line_free: Instant(0),
        }
    }

    pub(super) fn clock(now: Instant) -> Timestamp {
        Timestamp::from_micros(now.0 + CLOCK_START_US)
    }

    /// The lane that checks what this node sends.
    pub(super) fn lane_for(&self, from: NodeId) -> ThreadId {
        self.threads.peers[(from.committee.index() + from.member.index()) % self.threads.peers.len()]
    }
}
