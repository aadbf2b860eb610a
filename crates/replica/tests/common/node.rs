//! One node: replica, ledger, and a disk that a crash leaves as it was last reported durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shardpay_ledger::{Config as LedgerConfig, Ledger, MemStore};
use shardpay_replica::{Answer, ClientToken, Config, Event, Keys, PersistId, Record, RecoveredRecords, Replica};
use shardpay_types::{
    AccountState, BlockRef, CertifiedCheckpoint, Epoch, HeaderHash, Height, NodeId, Plan, PlanApproval, PublicKey, TxId,
};

use super::keys::FakeKey;

/// What survives a crash.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub records: Vec<Record>,
    pub store: MemStore,
}

pub struct Node {
    pub id: NodeId,
    pub key: FakeKey,
    pub config: Config,
    pub ledger_config: LedgerConfig,
    pub replica: Option<Replica>,
    pub ledger: Option<Ledger<MemStore>>,
    pub disk: Disk,
    /// Ordered durable, not reported yet.
    pub pending: Vec<(PersistId, Record)>,
    /// Counts lives: what a former one left in flight is void.
    pub life: u32,
    pub answers: Vec<(ClientToken, TxId, Answer)>,
    pub certified: BTreeMap<Height, HeaderHash>,
    pub last_certified: Height,
    pub events: Vec<Event>,
    pub approvals: Vec<PlanApproval>,
    pub checkpoints: Vec<CertifiedCheckpoint>,
    pub epochs: Vec<Epoch>,
    /// Own blocks that ever became durable; pruning takes them off the disk.
    pub own_durable: BTreeSet<BlockRef>,
}

impl Node {
    pub fn new(id: NodeId, key: FakeKey, config: Config, ledger_config: LedgerConfig) -> Self {
        Self {
            id,
            key,
            config,
            ledger_config,
            replica: None,
            ledger: None,
            disk: Disk::default(),
            pending: Vec::new(),
            life: 0,
            answers: Vec::new(),
            certified: BTreeMap::new(),
            last_certified: Height::ZERO,
            events: Vec::new(),
            approvals: Vec::new(),
            checkpoints: Vec::new(),
            epochs: Vec::new(),
            own_durable: BTreeSet::new(),
        }
    }

    /// Starts from the disk.
    pub fn start(&mut self, now: shardpay_types::Timestamp) {
        let ledger = Ledger::open(self.ledger_config.clone(), self.disk.store.clone()).expect("the store is sound");
        let view = ledger.view();
        let mut records = RecoveredRecords::default();
        for record in &self.disk.records {
            match record {
                Record::Block(block) if block.block().epoch >= view.status.epoch => records.blocks.push(block.clone()),
                Record::Block(_) => {}
                Record::HeaderVote { height, header } => records.votes.push((*height, *header)),
                Record::PlanApproval { epoch, plan } => records.approvals.push((*epoch, *plan)),
            }
        }
        let keys = Keys { signer: Arc::new(self.key), scheme: self.ledger_config.scheme.clone() };
        self.last_certified = view.status.certified;
        self.replica = Some(Replica::new(now, self.config.clone(), keys, view, records));
        self.ledger = Some(ledger);
    }

    /// These records are durable now.
    pub fn durable(&mut self, records: Vec<Record>) {
        for record in &records {
            if let Record::Block(block) = record
                && block.reference().author == self.id.member
            {
                self.own_durable.insert(block.reference());
            }
        }
        self.disk.records.extend(records);
    }

    /// Loses everything that was not reported durable.
    pub fn crash(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            self.disk.store = ledger.store().clone();
        }
        self.replica = None;
        self.pending.clear();
        self.life += 1;
    }

    pub fn is_up(&self) -> bool {
        self.replica.is_some()
    }

    pub fn replica(&self) -> &Replica {
        self.replica.as_ref().expect("the node is up")
    }

    pub fn ledger(&self) -> &Ledger<MemStore> {
        self.ledger.as_ref().expect("the node is up")
    }

    pub fn account(&self, key: &PublicKey) -> AccountState {
        self.ledger().account(key)
    }

    pub fn plan(&self) -> Arc<Plan> {
        self.ledger().plan().clone()
    }

    /// A refusal counter.
    pub fn refused(&self, name: &str) -> u64 {
        let status = self.replica().status();
        let found = status.refusals.iter().find(|(reason, _)| *reason == name);
        found.unwrap_or_else(|| panic!("no refusal is called {name}")).1
    }
}
