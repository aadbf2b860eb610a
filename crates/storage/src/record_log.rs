//! The replica's records: DAG blocks, header votes, plan approvals.

use std::sync::Arc;

use shardpay_crypto::SealedBlock;
use shardpay_replica::{PersistId, Record, RecoveredRecords};
use shardpay_types::{BlockRef, Codec, Epoch, HeaderHash, Height, PlanHash, RawBlock, Round};

use crate::error::StorageError;
use crate::keys;
use crate::node_store::Shared;
use crate::tables::Table;

/// The replica's half of the store; handles are cheap to clone.
#[derive(Clone)]
pub struct RecordLog {
    shared: Arc<Shared>,
}

impl RecordLog {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Writes records in order, all or none; they survive the death of the process from here on, and a power
    /// loss once [`Self::sync`] was called after.
    pub fn write(&self, records: &[(PersistId, Record)]) -> Result<(), StorageError> {
        self.shared.healthy()?;
        let mut out = self.shared.db.batch();
        for (_, record) in records {
            match record {
                Record::Block(block) => {
                    out.put(Table::Dag, &keys::block(block.block().epoch, &block.reference()), &block.raw().0);
                }
                Record::HeaderVote { height, header } => {
                    out.put(Table::Votes, &keys::height(*height), header.as_bytes());
                }
                Record::PlanApproval { epoch, plan } => {
                    out.put(Table::Meta, &keys::meta::approval(*epoch), plan.as_bytes());
                }
            }
        }
        out.write()
    }

    /// Returns when everything written before the call, by any handle, survives a power loss; at once under
    /// [`crate::Durability::Os`]. Others may write meanwhile.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.shared.sync()
    }

    /// What a restarting replica is given: blocks of `epoch` (the ledger's) above round `above` and all of
    /// later epochs, header votes, plan approvals. Consensus needs no round at or below the ledger's last
    /// output less the gc depth.
    pub fn recovered(&self, epoch: Epoch, above: Round) -> Result<RecoveredRecords, StorageError> {
        let db = &self.shared.db;
        let mut recovered = RecoveredRecords::default();
        for entry in db.scan(Table::Dag, &keys::round(epoch, above.next()), None) {
            let raw = RawBlock(entry?.1.into());
            let block = SealedBlock::decode(raw).map_err(|error| db.corrupt(format!("a DAG block: {error}")))?;
            recovered.blocks.push(Arc::new(block));
        }
        for entry in db.scan(Table::Votes, &[], None) {
            let (key, header) = entry?;
            let height = Height::new(u64::from_be_bytes(db.array(Table::Votes, &key)?));
            recovered.votes.push((height, HeaderHash(db.array(Table::Votes, &header)?)));
        }
        let (from, end) = (keys::meta::approval(Epoch::ZERO), keys::meta::approval(Epoch::new(u64::MAX)));
        let prefix = from.len() - u64::MIN_LEN;
        for entry in db.scan(Table::Meta, &from, Some(&end)) {
            let (key, plan) = entry?;
            let epoch = Epoch::new(u64::from_be_bytes(db.array(Table::Meta, &key[prefix..])?));
            recovered.approvals.push((epoch, PlanHash(db.array(Table::Meta, &plan)?)));
        }
        Ok(recovered)
    }

    /// The bytes of a stored DAG block, to be served.
    pub fn block(&self, epoch: Epoch, reference: &BlockRef) -> Result<Option<Arc<[u8]>>, StorageError> {
        let bytes = self.shared.db.get(Table::Dag, &keys::block(epoch, reference))?;
        Ok(bytes.map(|bytes| Arc::from(&*bytes)))
    }

    /// Blocks of `epoch` below round `below` may go, and those of epochs before the last. They leave within
    /// [`crate::StoreOptions::prune_interval`], in the background.
    pub fn prune(&self, epoch: Epoch, below: Round) {
        self.shared.prune_later(epoch, below);
    }
}
