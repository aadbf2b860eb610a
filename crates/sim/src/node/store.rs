//! A node's disk: the ledger's tables, the replica's records, and what of both survives a crash.
//!
//! There is one write-ahead log. Records of the replica stand in it in order; a batch of the ledger
//! stands behind all records that were written before it. A crash keeps what was synced and a random
//! prefix of the rest. The ledger's batches need no sync of their own (DESIGN §4, "persist, then
//! send"), so they may lag behind the records, but always form a prefix, too, and never outrun the
//! records that stand before them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use shardpay_crypto::SealedBlock;
use shardpay_ledger::{MemStore, StateBatch, Store, StoreError};
use shardpay_replica::{PersistId, Record, RecoveredRecords};
use shardpay_types::{
    AccountState, BlockRef, Certificate, CertifiedCheckpoint, ClosingRecord, CommitteeId, DepositRef, Epoch, Hash,
    HeaderHash, Height, LedgerBlock, OutboxMessage, PlanHash, PublicKey, Round,
};

use crate::rng::Stream;

/// The ledger's half of a disk; the node keeps a second handle.
#[derive(Debug, Clone)]
pub(crate) struct SimStore(Arc<Mutex<Cell>>);

#[derive(Debug, Default)]
struct Cell {
    /// Everything written.
    live: MemStore,
    /// Everything durable; `None` on a node that never crashes.
    durable: Option<MemStore>,
    /// Written, not durable: number of records before it, and the batch.
    pending: VecDeque<(u64, StateBatch)>,
    /// Number of records written so far, kept up to date by the node.
    records: u64,
}

impl SimStore {
    /// An empty store; `crashes`: whether what is durable must be kept apart.
    pub(crate) fn new(crashes: bool) -> Self {
        let durable = crashes.then(MemStore::new);
        Self(Arc::new(Mutex::new(Cell { durable, ..Cell::default() })))
    }

    fn cell(&self) -> MutexGuard<'_, Cell> {
        self.0.lock().expect("nobody panics while holding the store")
    }

    /// Number of batches that are not durable.
    pub(crate) fn pending(&self) -> usize {
        self.cell().pending.len()
    }

    /// The first `count` pending batches are durable now.
    fn flush(&self, count: usize) {
        let mut cell = self.cell();
        for _ in 0..count.min(cell.pending.len()) {
            let (_, batch) = cell.pending.pop_front().expect("counted");
            let durable = cell.durable.as_mut().expect("pending batches are kept for crashing nodes only");
            durable.write(batch).expect("memory does not fail");
        }
    }

    /// A crash: some of the pending batches that stand before record `records` survive. `torn`: the
    /// planted bug that writes the accounts of one more batch without its tip.
    fn crash(&self, records: u64, stream: &mut Stream, torn: bool) -> bool {
        let eligible = self.cell().pending.iter().take_while(|(before, _)| *before <= records).count();
        let survive = stream.between(0, eligible as u64) as usize;
        self.flush(survive);
        let mut cell = self.cell();
        let mut tore = false;
        if torn && let Some((_, batch)) = cell.pending.pop_front() {
            let tip = None;
            let accounts = StateBatch { accounts: batch.accounts, tip, ..StateBatch::default() };
            tore = !accounts.accounts.is_empty();
            let durable = cell.durable.as_mut().expect("kept");
            durable.write(accounts).expect("memory does not fail");
        }
        cell.pending.clear();
        cell.live = cell.durable.clone().expect("kept for crashing nodes");
        cell.records = 0;
        tore
    }

    /// The store is lost.
    fn wipe(&self) {
        let mut cell = self.cell();
        *cell = Cell { durable: Some(MemStore::new()), ..Cell::default() };
    }
}

impl Store for SimStore {
    fn tip(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.cell().live.tip()
    }
    fn accounts(&self, each: &mut dyn FnMut(PublicKey, AccountState)) -> Result<(), StoreError> {
        self.cell().live.accounts(each)
    }
    fn deposits(&self, each: &mut dyn FnMut(DepositRef)) -> Result<(), StoreError> {
        self.cell().live.deposits(each)
    }
    fn deposit_used(&self, deposit: &DepositRef) -> Result<bool, StoreError> {
        self.cell().live.deposit_used(deposit)
    }
    fn outbox(&self, destination: CommitteeId, first: u64, max: usize) -> Result<Vec<OutboxMessage>, StoreError> {
        self.cell().live.outbox(destination, first, max)
    }
    fn block(&self, height: Height) -> Result<Option<Arc<LedgerBlock>>, StoreError> {
        self.cell().live.block(height)
    }
    fn certificate(&self, height: Height) -> Result<Option<Certificate>, StoreError> {
        self.cell().live.certificate(height)
    }
    fn history_node(&self, level: u8, position: u64) -> Result<Option<Hash>, StoreError> {
        self.cell().live.history_node(level, position)
    }
    fn closings(&self, committee: CommitteeId, from: Epoch) -> Result<Vec<ClosingRecord>, StoreError> {
        self.cell().live.closings(committee, from)
    }
    fn checkpoint(&self) -> Result<Option<CertifiedCheckpoint>, StoreError> {
        self.cell().live.checkpoint()
    }
    fn write(&mut self, batch: StateBatch) -> Result<(), StoreError> {
        let mut cell = self.cell();
        if cell.durable.is_some() {
            let records = cell.records;
            cell.pending.push_back((records, batch.clone()));
        }
        cell.live.write(batch)
    }
}

/// The replica's half: records, and the node's view of the whole disk.
#[derive(Debug)]
pub(crate) struct Disk {
    /// The ledger's half.
    pub store: SimStore,
    kept: Kept,
    /// Written, not durable.
    pending: VecDeque<(PersistId, Record)>,
    /// Number of records durable and written.
    durable: u64,
    written: u64,
    /// A sync under way: up to which record, and how many batches.
    syncing: Option<(u64, usize)>,
    crashes: bool,
}

#[derive(Debug, Default)]
struct Kept {
    blocks: BTreeMap<(Epoch, BlockRef), Arc<SealedBlock>>,
    votes: BTreeMap<Height, HeaderHash>,
    approvals: BTreeMap<Epoch, PlanHash>,
}

impl Kept {
    fn take(&mut self, record: Record) {
        match record {
            Record::Block(block) => {
                self.blocks.insert((block.block().epoch, block.reference()), block);
            }
            Record::HeaderVote { height, header } => {
                self.votes.insert(height, header);
            }
            Record::PlanApproval { epoch, plan } => {
                self.approvals.insert(epoch, plan);
            }
        }
    }
}

impl Disk {
    /// An empty disk; `crashes`: whether its node can crash.
    pub(crate) fn new(crashes: bool) -> Self {
        Self {
            store: SimStore::new(crashes),
            kept: Kept::default(),
            pending: VecDeque::new(),
            durable: 0,
            written: 0,
            syncing: None,
            crashes,
        }
    }

    /// Writes a record. `forget`: the planted bug that only says so.
    pub(crate) fn write(&mut self, id: PersistId, record: Record, forget: bool) {
        self.written += 1;
        if forget {
            // The order is there to be reported, its content is gone.
            self.pending.push_back((id, Record::PlanApproval { epoch: Epoch::new(u64::MAX), plan: PlanHash::ZERO }));
        } else {
            self.pending.push_back((id, record));
        }
        self.store.cell().records = self.written;
    }

    /// Whether a sync should start: something is pending and none is under way.
    pub(crate) fn wants_sync(&self) -> bool {
        self.syncing.is_none() && (!self.pending.is_empty() || self.crashes && self.store.pending() > 0)
    }

    /// Whether records wait for a sync.
    pub(crate) fn has_records(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Starts a group sync over everything written; `lag`: the ledger's batches stay behind.
    pub(crate) fn start_sync(&mut self, lag: bool) {
        let batches = if lag { 0 } else { self.store.pending() };
        self.syncing = Some((self.written, batches));
    }

    /// The sync has ended: the highest record that is durable now, if any is new.
    pub(crate) fn end_sync(&mut self) -> Option<PersistId> {
        let (upto, batches) = self.syncing.take()?;
        let mut last = None;
        while self.durable < upto {
            let (id, record) = self.pending.pop_front().expect("written records are pending until durable");
            self.kept.take(record);
            self.durable += 1;
            last = Some(id);
        }
        self.store.flush(batches);
        last
    }

    /// The node dies. Returns (records lost, batches lost, whether the planted bug tore a batch).
    pub(crate) fn crash(&mut self, stream: &mut Stream, torn: bool) -> (usize, usize, bool) {
        let survive = stream.between(0, self.pending.len() as u64);
        for _ in 0..survive {
            let (_, record) = self.pending.pop_front().expect("counted");
            self.kept.take(record);
        }
        let lost = self.pending.len();
        let batches = self.store.pending();
        let tore = self.store.crash(self.durable + survive, stream, torn);
        self.pending.clear();
        self.syncing = None;
        self.durable = 0;
        self.written = 0;
        (lost, batches, tore)
    }

    /// The store is lost.
    pub(crate) fn wipe(&mut self) {
        *self = Self { store: self.store.clone(), ..Self::new(true) };
        self.store.wipe();
    }

    /// What a restarting replica is given.
    pub(crate) fn recovered(&self, epoch: Epoch) -> RecoveredRecords {
        let from = BlockRef {
            round: Round::ZERO,
            author: shardpay_types::MemberIndex::at(0),
            digest: shardpay_types::BlockDigest::ZERO,
        };
        RecoveredRecords {
            blocks: self.kept.blocks.range((epoch, from)..).map(|(_, block)| block.clone()).collect(),
            votes: self.kept.votes.iter().map(|(height, header)| (*height, *header)).collect(),
            approvals: self
                .kept
                .approvals
                .iter()
                .filter(|(epoch, _)| **epoch < Epoch::new(u64::MAX))
                .map(|(epoch, plan)| (*epoch, *plan))
                .collect(),
        }
    }

    /// A stored block, durable or not.
    pub(crate) fn block(&self, epoch: Epoch, reference: &BlockRef) -> Option<Arc<SealedBlock>> {
        let pending = || {
            self.pending.iter().find_map(|(_, record)| match record {
                Record::Block(block) if block.reference() == *reference => Some(block.clone()),
                _ => None,
            })
        };
        self.kept.blocks.get(&(epoch, *reference)).cloned().or_else(pending)
    }

    /// Blocks of `epoch` below `below` may go, and those of epochs before the last.
    pub(crate) fn prune(&mut self, epoch: Epoch, below: Round) {
        self.kept.blocks.retain(|(of, reference), _| {
            if *of == epoch { reference.round >= below } else { *of > epoch || of.next() == epoch }
        });
    }
}

#[cfg(test)]
mod tests;
