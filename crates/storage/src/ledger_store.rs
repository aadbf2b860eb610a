//! The ledger's tables as its [`Store`].
//!
//! [`LedgerStore::write`] puts a batch into the log whole, accounts and deposit references excepted: those
//! follow behind (see [`crate::behind`]) and can be had from the batch's blocks at any time.

use std::sync::Arc;

use shardpay_ledger::{StateBatch, Store, StoreError};
use shardpay_types::{
    AccountState, Certificate, CertifiedCheckpoint, ClosingRecord, Codec, CommitteeId, DepositRef, Epoch, Hash, Height,
    LedgerBlock, OutboxMessage, PublicKey,
};

use crate::db::{Batch, Db};
use crate::error::StorageError;
use crate::keys;
use crate::node_store::Shared;
use crate::outbox::{self, Firsts};
use crate::tables::Table;

/// A header vote is forgotten when the certificate that many heights above it is known. Heights are
/// certified in order, so its own height is certified long since and is never signed again.
const VOTES_KEPT: u64 = 4_096;

/// The ledger's store; owned by its ledger, which is the only writer.
pub struct LedgerStore {
    shared: Arc<Shared>,
    firsts: Firsts,
    /// Encodings on their way into a batch.
    buffer: Vec<u8>,
}

impl LedgerStore {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, firsts: Firsts::default(), buffer: Vec::new() }
    }

    fn try_write(&mut self, batch: StateBatch) -> Result<(), StorageError> {
        self.shared.healthy()?;
        let db = &self.shared.db;
        let changes = !batch.accounts.is_empty() || !batch.deposits.is_empty();
        assert!(!changes || !batch.blocks.is_empty(), "accounts change in ledger blocks only");
        let mut out = db.batch();
        let (height, block_bytes) = put_blocks(&mut out, &batch.blocks, &mut self.buffer);
        put_records(&mut out, &batch, &mut self.buffer);
        for (destination, first) in &batch.outbox_pruned {
            self.firsts.prune(db, &mut out, *destination, *first)?;
        }
        outbox::append(&mut out, batch.outbox);
        out.write()?;
        if let Some(height) = height {
            let waiting = self.shared.behind.take(batch.accounts, batch.deposits, height, block_bytes);
            self.shared.pace(waiting)?;
        }
        Ok(())
    }
}

/// Adds blocks; returns the highest height and the bytes of all.
fn put_blocks(out: &mut Batch<'_>, blocks: &[Arc<LedgerBlock>], buffer: &mut Vec<u8>) -> (Option<Height>, usize) {
    let (mut highest, mut bytes) = (None, 0);
    for block in blocks {
        let height = block.header.height;
        put(out, Table::Blocks, &keys::height(height), &**block, buffer);
        highest = highest.max(Some(height));
        bytes += buffer.len();
    }
    (highest, bytes)
}

/// Adds what is small.
fn put_records(out: &mut Batch<'_>, batch: &StateBatch, buffer: &mut Vec<u8>) {
    for (height, certificate) in &batch.certificates {
        put(out, Table::Certificates, &keys::height(*height), certificate, buffer);
        if height.get() > VOTES_KEPT {
            out.delete(Table::Votes, &keys::height(height.minus(VOTES_KEPT)));
        }
    }
    for (level, position, hash) in &batch.history {
        out.put(Table::History, &keys::history(*level, *position), hash.as_bytes());
    }
    for record in &batch.closings {
        let header = &record.certified.header;
        put(out, Table::Meta, &keys::meta::closing(header.committee, header.epoch), record, buffer);
    }
    if let Some(checkpoint) = &batch.checkpoint {
        put(out, Table::Meta, keys::meta::CHECKPOINT, checkpoint, buffer);
    }
    if let Some(tip) = &batch.tip {
        out.put(Table::Meta, keys::meta::TIP, tip);
    }
}

fn put(out: &mut Batch<'_>, table: Table, key: &[u8], value: &impl Codec, buffer: &mut Vec<u8>) {
    buffer.clear();
    value.encode(buffer);
    out.put(table, key, buffer);
}

/// Closing records of `committee` from epoch `from`, ascending.
fn closings(db: &Db, committee: CommitteeId, from: Epoch) -> Result<Vec<ClosingRecord>, StorageError> {
    let (from, end) = (keys::meta::closing(committee, from), keys::meta::closing(committee, Epoch::new(u64::MAX)));
    let records = db.scan(Table::Meta, &from, Some(&end));
    records.map(|entry| db.decode(Table::Meta, &entry?.1)).collect()
}

impl Store for LedgerStore {
    fn tip(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.shared.db.get(Table::Meta, keys::meta::TIP)?.map(|bytes| bytes.to_vec()))
    }

    fn accounts(&self, each: &mut dyn FnMut(PublicKey, AccountState)) -> Result<(), StoreError> {
        Ok(self.shared.behind.accounts(each)?)
    }

    fn deposits(&self, each: &mut dyn FnMut(DepositRef)) -> Result<(), StoreError> {
        Ok(self.shared.behind.deposits(each)?)
    }

    fn deposit_used(&self, deposit: &DepositRef) -> Result<bool, StoreError> {
        Ok(self.shared.behind.deposit_used(deposit)?)
    }

    fn outbox(&self, destination: CommitteeId, first: u64, max: usize) -> Result<Vec<OutboxMessage>, StoreError> {
        Ok(outbox::messages(&self.shared.db, destination, first, max)?)
    }

    fn block(&self, height: Height) -> Result<Option<Arc<LedgerBlock>>, StoreError> {
        Ok(self.shared.db.read(Table::Blocks, &keys::height(height))?)
    }

    fn certificate(&self, height: Height) -> Result<Option<Certificate>, StoreError> {
        Ok(self.shared.db.read(Table::Certificates, &keys::height(height))?)
    }

    fn history_node(&self, level: u8, position: u64) -> Result<Option<Hash>, StoreError> {
        Ok(self.shared.db.read(Table::History, &keys::history(level, position))?)
    }

    fn closings(&self, committee: CommitteeId, from: Epoch) -> Result<Vec<ClosingRecord>, StoreError> {
        Ok(closings(&self.shared.db, committee, from)?)
    }

    fn checkpoint(&self) -> Result<Option<CertifiedCheckpoint>, StoreError> {
        Ok(self.shared.db.read(Table::Meta, keys::meta::CHECKPOINT)?)
    }

    fn write(&mut self, batch: StateBatch) -> Result<(), StoreError> {
        Ok(self.try_write(batch)?)
    }
}
