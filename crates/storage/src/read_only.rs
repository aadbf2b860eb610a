//! A store opened to be looked at: by `inspect-store` and by the audit of a run. Takes no lock and changes
//! nothing; meant for stores whose node has stopped.

use std::path::Path;
use std::sync::Arc;

use shardpay_types::{
    AccountState, Certificate, CertifiedBlock, CertifiedHeader, CommitteeId, DepositRef, Height, LedgerBlock,
    OutboxMessage, PublicKey, Totals,
};

use crate::behind::Behind;
use crate::db::Db;
use crate::error::StorageError;
use crate::keys;
use crate::open::{self, StoreIdentity};
use crate::outbox;
use crate::stats::{self, StoreStats};
use crate::tables::Table;

/// A store as of the last batch its log holds.
pub struct ReadOnlyStore {
    db: Arc<Db>,
    behind: Behind,
    identity: StoreIdentity,
}

impl ReadOnlyStore {
    /// Opens the store of any node.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        let (db, identity) = open::read_only(dir)?;
        let db = Arc::new(db);
        let behind = Behind::recover(db.clone())?;
        Ok(Self { db, behind, identity })
    }

    /// Whose store it is.
    pub const fn identity(&self) -> &StoreIdentity {
        &self.identity
    }

    /// Height of the last ledger block; zero when there is none.
    pub fn height(&self) -> Height {
        self.behind.height()
    }

    /// The ledger block at `height`.
    pub fn block(&self, height: Height) -> Result<Option<LedgerBlock>, StorageError> {
        self.db.read(Table::Blocks, &keys::height(height))
    }

    /// The certificate at `height`.
    pub fn certificate(&self, height: Height) -> Result<Option<Certificate>, StorageError> {
        self.db.read(Table::Certificates, &keys::height(height))
    }

    /// The header at `height` with its certificate, if it is certified.
    pub fn certified_header(&self, height: Height) -> Result<Option<CertifiedHeader>, StorageError> {
        let certified = self.certified_block(height)?;
        Ok(certified.map(|CertifiedBlock { block, certificate }| CertifiedHeader { header: block.header, certificate }))
    }

    /// The block at `height` with its certificate, if it is certified.
    pub fn certified_block(&self, height: Height) -> Result<Option<CertifiedBlock>, StorageError> {
        let bytes = stats::certified_block_bytes(&self.db, height)?;
        bytes.map(|bytes| self.db.decode(Table::Blocks, &bytes)).transpose()
    }

    /// Blocks from `from` on, ascending.
    pub fn blocks(&self, from: Height) -> impl Iterator<Item = Result<LedgerBlock, StorageError>> {
        let entries = self.db.scan(Table::Blocks, &keys::height(from), None);
        entries.map(|entry| self.db.decode(Table::Blocks, &entry?.1))
    }

    /// The books after the last block; zero when there is none.
    pub fn totals(&self) -> Result<Totals, StorageError> {
        let last = self.block(self.height())?;
        Ok(last.map_or(Totals::ZERO, |block| block.header.totals))
    }

    /// Calls `each` with every account after the last block, ascending.
    pub fn accounts(&self, mut each: impl FnMut(PublicKey, AccountState)) -> Result<(), StorageError> {
        self.behind.accounts(&mut each)
    }

    /// Calls `each` with every deposit reference consumed up to the last block, ascending.
    pub fn deposits(&self, mut each: impl FnMut(DepositRef)) -> Result<(), StorageError> {
        self.behind.deposits(&mut each)
    }

    /// Outbox messages not pruned, for `destination` from index `first`, at most `max`.
    pub fn outbox(&self, destination: CommitteeId, first: u64, max: usize) -> Result<Vec<OutboxMessage>, StorageError> {
        outbox::messages(&self.db, destination, first, max)
    }

    /// The ledger's encoded tip, if there is one.
    pub fn tip(&self) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.db.get(Table::Meta, keys::meta::TIP)?.map(|bytes| bytes.to_vec()))
    }

    /// A small value the node kept under a name.
    pub fn meta_get(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.db.get(Table::Meta, &keys::meta::named(name))?.map(|bytes| bytes.to_vec()))
    }

    /// Figures.
    pub fn stats(&self) -> Result<StoreStats, StorageError> {
        stats::collect(&self.db, &self.behind)
    }
}
