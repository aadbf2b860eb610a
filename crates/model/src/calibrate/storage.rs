//! The node's store: ledger batches as two runs made them, records of two sizes, syncs.

use std::sync::Arc;
use std::time::Instant;

use shardpay_crypto::{SealedBlock, Signer};
use shardpay_ledger::{StateBatch, Store};
use shardpay_replica::{PersistId, Record};
use shardpay_sim::CheapKey;
use shardpay_storage::{Durability, NodeStore, Opened, RecordLog, StoreIdentity, StoreOptions};
use shardpay_types::{
    AccountState, Block, ChainId, CommitteeId, Epoch, LedgerBlock, LedgerItem, List, MemberIndex, Payload, Payment,
    PublicKey, Reference, Round, Sequence, Signature, SignedPayment, Timestamp, Transaction, Version,
};

use super::{CalibrateError, line, process_us, thread_us};
use crate::costs::Linear;

/// Encoded totals, cursors and leaders beside each batch.
const TIP_BYTES: usize = 3_000;
/// Batches of each kind.
const BATCHES_MAX: usize = 160;
/// Writes of each size, and payments in the large ones.
const WRITES: usize = 200;
const LARGE: usize = 256;
const SYNCS: u32 = 200;

/// Ledger blocks of two runs.
pub(super) struct Blocks {
    pub(super) large: Vec<Arc<LedgerBlock>>,
    pub(super) small: Vec<Arc<LedgerBlock>>,
}

/// What the store costs.
pub(super) struct Storage {
    pub(super) batch: Linear,
    pub(super) behind_us: f64,
    pub(super) record: Linear,
    pub(super) sync_us: f64,
    pub(super) sync_wait_us: f64,
}

pub(super) fn storage(blocks: &Blocks) -> Result<Storage, CalibrateError> {
    let (small, _) = batches(&blocks.small)?;
    let (large, behind_us) = batches(&blocks.large)?;
    let dir = tempfile::tempdir_in(".")?;
    let opened = open(dir.path())?;
    let record = line(records(&opened.records, 1)?, records(&opened.records, LARGE)?);
    let (sync_us, sync_wait_us) = syncs(&opened.records)?;
    opened.store.close()?;
    Ok(Storage { batch: line(small, large), behind_us, record, sync_us, sync_wait_us })
}

/// A store on the disk of the current directory, where runs keep theirs, too; `/tmp` may be memory.
fn open(dir: &std::path::Path) -> Result<Opened, CalibrateError> {
    let identity =
        StoreIdentity { chain: ChainId([1; 32]), node_key: PublicKey([2; 32]), committee: CommitteeId::at(0) };
    Ok(NodeStore::open(dir, identity, StoreOptions::standard(Durability::Fsync))?)
}

/// Payments in a batch and its cost in the thread that writes; and what else the process did, per payment.
fn batches(blocks: &[Arc<LedgerBlock>]) -> Result<((f64, f64), f64), CalibrateError> {
    let dir = tempfile::tempdir_in(".")?;
    let mut opened = open(dir.path())?;
    let with_payments = blocks.iter().filter(|block| block.header.leaf_count > 0).take(BATCHES_MAX);
    let ready: Vec<StateBatch> = with_payments.map(batch).collect();
    let (count, payments) = (ready.len() as f64, ready.iter().map(leaves).sum::<f64>());
    let (process, thread) = (process_us(), thread_us());
    for batch in ready {
        opened.ledger.write(batch)?;
    }
    let front = thread_us() - thread;
    opened.store.flush()?;
    opened.store.close()?;
    let behind = (process_us() - process - front).max(0.0);
    Ok(((payments / count, front / count), behind / payments))
}

fn leaves(batch: &StateBatch) -> f64 {
    batch.blocks.iter().map(|block| f64::from(block.header.leaf_count)).sum()
}

/// A block's batch, as far as its items tell.
fn batch(block: &Arc<LedgerBlock>) -> StateBatch {
    let mut accounts: Vec<(PublicKey, AccountState)> = Vec::new();
    for item in &block.items {
        if let LedgerItem::Transaction(executed) = item {
            let keys = executed.transaction.debit().map(|(key, _)| key).into_iter();
            let keys = keys.chain(executed.transaction.recipient());
            accounts.extend(keys.zip(executed.accounts.iter().copied()));
        }
    }
    StateBatch { accounts, blocks: vec![block.clone()], tip: Some(vec![7; TIP_BYTES]), ..StateBatch::default() }
}

/// Bytes of a record with so many payments, and the cost of writing it alone.
fn records(log: &RecordLog, payments: usize) -> Result<(f64, f64), CalibrateError> {
    let made: Vec<Record> = (0..WRITES).map(|round| Record::Block(dag_block(round, payments))).collect();
    let bytes = match &made[0] {
        Record::Block(block) => block.raw().0.len() as f64,
        Record::HeaderVote { .. } | Record::PlanApproval { .. } => 0.0,
    };
    let cpu = process_us();
    for (id, record) in (1..).zip(made) {
        log.write(&[(PersistId(id), record)])?;
    }
    Ok((bytes, (process_us() - cpu) / WRITES as f64))
}

/// Processor time of a sync after a small record, and its median duration.
fn syncs(log: &RecordLog) -> Result<(f64, f64), CalibrateError> {
    let (mut cpu, mut waits) = (0.0, Vec::new());
    for round in 0..SYNCS {
        log.write(&[(PersistId(u64::from(round)), Record::Block(dag_block(1 << 20 | round as usize, 1)))])?;
        let (before, start) = (process_us(), Instant::now());
        log.sync()?;
        cpu += process_us() - before;
        waits.push(start.elapsed().as_secs_f64() * 1e6);
    }
    waits.sort_by(f64::total_cmp);
    Ok((cpu / f64::from(SYNCS), waits[waits.len() / 2]))
}

fn dag_block(round: usize, payments: usize) -> Arc<SealedBlock> {
    let key = CheapKey::from_secret(&[3; 32]);
    let payment = |n: usize| {
        let body = Payment {
            sender: PublicKey([n as u8; 32]),
            recipient: key.public_key(),
            amount: shardpay_types::Amount::from_micros(1),
            sequence: Sequence::new(n as u64),
            valid_until: Timestamp::ZERO,
            reference: Reference::ZERO,
        };
        Transaction::Payment(SignedPayment { body, signature: Signature([round as u8; 64]) })
    };
    let block = Block {
        version: Version,
        chain: ChainId([1; 32]),
        epoch: Epoch::ZERO,
        committee: CommitteeId::at(0),
        author: MemberIndex::at(0),
        round: Round::new(round as u64 + 1),
        timestamp: Timestamp::ZERO,
        parents: List::default(),
        payload: Payload { transactions: List::bounded((0..payments).map(payment).collect()), ..Payload::default() },
        signature: Signature::ZERO,
    };
    SealedBlock::sign(block, &key)
}
