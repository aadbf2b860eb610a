//! The ledger's tables as ordered maps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shardpay_ledger::StateBatch;
use shardpay_types::{
    AccountState, Certificate, CertifiedCheckpoint, ClosingRecord, CommitteeId, DepositRef, Epoch, Height,
    LedgerBlock, OutboxMessage, PublicKey,
};

/// Everything a ledger store holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    pub(super) tip: Option<Vec<u8>>,
    pub(super) accounts: BTreeMap<PublicKey, AccountState>,
    pub(super) deposits: BTreeSet<DepositRef>,
    pub(super) outbox: BTreeMap<(CommitteeId, u64), OutboxMessage>,
    pub(super) blocks: BTreeMap<Height, Arc<LedgerBlock>>,
    pub(super) certificates: BTreeMap<Height, Certificate>,
    pub(super) closings: BTreeMap<(CommitteeId, Epoch), ClosingRecord>,
    pub(super) checkpoint: Option<CertifiedCheckpoint>,
}

impl Tables {
    /// Writes a batch; later batches overwrite earlier ones.
    pub(super) fn apply(&mut self, batch: StateBatch) {
        self.accounts.extend(batch.accounts);
        self.deposits.extend(batch.deposits);
        self.outbox.extend(batch.outbox.into_iter().map(|(to, index, message)| ((to, index), message)));
        for (destination, first) in batch.outbox_pruned {
            while let Some(((to, index), _)) = self.outbox.range((destination, 0)..).next()
                && *to == destination
                && *index < first
            {
                let key = (*to, *index);
                self.outbox.remove(&key);
            }
        }
        self.blocks.extend(batch.blocks.into_iter().map(|block| (block.header.height, block)));
        self.certificates.extend(batch.certificates);
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
    }
}
