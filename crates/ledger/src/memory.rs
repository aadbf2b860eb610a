//! The store in memory: ordered maps, cloned whole. For tests, benches and the simulator, where a clone
//! taken at a sync point is what survives a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shardpay_types::{
    AccountState, Certificate, CertifiedCheckpoint, ClosingRecord, CommitteeId, DepositRef, Epoch, Hash, Height,
    LedgerBlock, OutboxMessage, PublicKey,
};

use crate::api::{StateBatch, Store, StoreError};

/// A [`Store`] in memory; never fails.
#[derive(Debug, Clone, Default)]
pub struct MemStore {
    tip: Option<Vec<u8>>,
    accounts: BTreeMap<PublicKey, AccountState>,
    deposits: BTreeSet<DepositRef>,
    outbox: BTreeMap<(CommitteeId, u64), OutboxMessage>,
    blocks: BTreeMap<Height, Arc<LedgerBlock>>,
    certificates: BTreeMap<Height, Certificate>,
    history: BTreeMap<(u8, u64), Hash>,
    closings: BTreeMap<(CommitteeId, Epoch), ClosingRecord>,
    checkpoint: Option<CertifiedCheckpoint>,
}

impl MemStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// All ledger blocks, ascending; for checkers.
    pub fn all_blocks(&self) -> impl DoubleEndedIterator<Item = &Arc<LedgerBlock>> {
        self.blocks.values()
    }

    /// All certificates, ascending; for checkers.
    pub fn all_certificates(&self) -> impl DoubleEndedIterator<Item = (Height, &Certificate)> {
        self.certificates.iter().map(|(height, certificate)| (*height, certificate))
    }

    /// Outbox messages held, over all destinations; for checkers.
    pub fn outbox_len(&self) -> usize {
        self.outbox.len()
    }
}

impl Store for MemStore {
    fn tip(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tip.clone())
    }

    fn accounts(&self, each: &mut dyn FnMut(PublicKey, AccountState)) -> Result<(), StoreError> {
        self.accounts.iter().for_each(|(key, state)| each(*key, *state));
        Ok(())
    }

    fn deposits(&self, each: &mut dyn FnMut(DepositRef)) -> Result<(), StoreError> {
        self.deposits.iter().copied().for_each(each);
        Ok(())
    }

    fn deposit_used(&self, deposit: &DepositRef) -> Result<bool, StoreError> {
        Ok(self.deposits.contains(deposit))
    }

    fn outbox(&self, destination: CommitteeId, first: u64, max: usize) -> Result<Vec<OutboxMessage>, StoreError> {
        let from = self.outbox.range((destination, first)..=(destination, u64::MAX));
        Ok(from.take(max).map(|(_, message)| *message).collect())
    }

    fn block(&self, height: Height) -> Result<Option<Arc<LedgerBlock>>, StoreError> {
        Ok(self.blocks.get(&height).cloned())
    }

    fn certificate(&self, height: Height) -> Result<Option<Certificate>, StoreError> {
        Ok(self.certificates.get(&height).cloned())
    }

    fn history_node(&self, level: u8, position: u64) -> Result<Option<Hash>, StoreError> {
        Ok(self.history.get(&(level, position)).copied())
    }

    fn closings(&self, committee: CommitteeId, from: Epoch) -> Result<Vec<ClosingRecord>, StoreError> {
        let to = Epoch::new(u64::MAX);
        Ok(self.closings.range((committee, from)..=(committee, to)).map(|(_, record)| record.clone()).collect())
    }

    fn checkpoint(&self) -> Result<Option<CertifiedCheckpoint>, StoreError> {
        Ok(self.checkpoint.clone())
    }

    fn write(&mut self, batch: StateBatch) -> Result<(), StoreError> {
        self.accounts.extend(batch.accounts);
        self.deposits.extend(batch.deposits);
        self.outbox.extend(batch.outbox.into_iter().map(|(to, index, message)| ((to, index), message)));
        for (destination, first) in batch.outbox_pruned {
            let gone: Vec<_> = self.outbox.range((destination, 0)..(destination, first)).map(|(key, _)| *key).collect();
            for key in gone {
                self.outbox.remove(&key);
            }
        }
        self.blocks.extend(batch.blocks.into_iter().map(|block| (block.header.height, block)));
        self.certificates.extend(batch.certificates);
        self.history.extend(batch.history.into_iter().map(|(level, position, hash)| ((level, position), hash)));
        for record in batch.closings {
            let header = &record.certified.header;
            self.closings.insert((header.committee, header.epoch), record);
        }
        if batch.checkpoint.is_some() {
            self.checkpoint = batch.checkpoint;
        }
        if batch.tip.is_some() {
            self.tip = batch.tip;
        }
        Ok(())
    }
}
