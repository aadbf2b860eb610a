//! What the audit reads from a node's store.

use shardpay_ledger::{MemStore, Store};
use shardpay_storage::ReadOnlyStore;
use shardpay_types::{AccountState, Certificate, Height, LedgerBlock, PublicKey};

/// A store that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ViewError(pub String);

/// A node's store as it was left.
pub trait StoreView {
    /// Height of the last ledger block; zero when there is none.
    fn height(&self) -> Height;
    /// The ledger block at `height`.
    fn block(&self, height: Height) -> Result<Option<LedgerBlock>, ViewError>;
    /// The certificate at `height`.
    fn certificate(&self, height: Height) -> Result<Option<Certificate>, ViewError>;
    /// Calls `each` with every account as of the last ledger block.
    fn accounts(&self, each: &mut dyn FnMut(PublicKey, AccountState)) -> Result<(), ViewError>;
}

fn failed(error: impl std::error::Error) -> ViewError {
    ViewError(error.to_string())
}

impl StoreView for ReadOnlyStore {
    fn height(&self) -> Height {
        self.height()
    }
    fn block(&self, height: Height) -> Result<Option<LedgerBlock>, ViewError> {
        self.block(height).map_err(failed)
    }
    fn certificate(&self, height: Height) -> Result<Option<Certificate>, ViewError> {
        self.certificate(height).map_err(failed)
    }
    fn accounts(&self, each: &mut dyn FnMut(PublicKey, AccountState)) -> Result<(), ViewError> {
        self.accounts(each).map_err(failed)
    }
}

impl StoreView for MemStore {
    fn height(&self) -> Height {
        self.all_blocks().next_back().map_or(Height::ZERO, |block| block.header.height)
    }
    fn block(&self, height: Height) -> Result<Option<LedgerBlock>, ViewError> {
        let block = Store::block(self, height).map_err(failed)?;
        Ok(block.map(|block| LedgerBlock::clone(&block)))
    }
    fn certificate(&self, height: Height) -> Result<Option<Certificate>, ViewError> {
        Store::certificate(self, height).map_err(failed)
    }
    fn accounts(&self, each: &mut dyn FnMut(PublicKey, AccountState)) -> Result<(), ViewError> {
        Store::accounts(self, each).map_err(failed)
    }
}
