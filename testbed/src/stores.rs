//! Stores that are dropped after the verdict, and what stays so that it can be worked out again.
//!
//! Guarantees: what is dropped is noted first, in `stores.json`; only a store whose last ledger block is that of the
//! store that stands in for it is dropped, so that one store per committee is enough to repeat every check over
//! blocks, accounts, certificates and acknowledgements. Header hashes chain: the noted header commits to all blocks
//! of the dropped replica. That it had this header is testimony of the run, not raw data.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shardpay_audit::{StoreView, ViewError};
use shardpay_crypto::header_hash;
use shardpay_run::{RunDir, RunError, Spec, StoresKept, read_json, write_json};
use shardpay_storage::{NodeStore, ReadOnlyStore};
use shardpay_types::{AccountState, Certificate, CommitteeId, Height, LedgerBlock, NodeId, PublicKey};
use thiserror::Error;

use crate::deploy::nodes;
use crate::server::Server;

/// What is left of a run's stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// One per committee.
    One,
    /// None.
    None,
}

/// A store that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Whose.
    pub node: Server,
    /// The node whose store is read instead.
    pub stands_in: Option<Server>,
    /// Of the last ledger block.
    pub height: u64,
    /// Hash of its header; empty for a node without blocks.
    pub header: String,
}

/// `stores.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoresRecord {
    /// Version of these keys.
    pub version: u32,
    /// What is left.
    pub kept: Left,
    /// The stores that are gone.
    pub nodes: Vec<Dropped>,
}

/// Why stores were not dropped, or what was noted does not serve.
#[derive(Debug, Error)]
pub enum StoresError {
    /// The note.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A store cannot be read.
    #[error("store of node {node}: {why}")]
    Store {
        /// Whose.
        node: Server,
        /// What is wrong.
        why: String,
    },
    /// A directory cannot be removed.
    #[error("{}: {source}", path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// What was noted; nothing when all stores are there.
pub fn read(dir: &RunDir) -> Result<Option<StoresRecord>, RunError> {
    if dir.stores().is_file() { read_json(&dir.stores()).map(Some) } else { Ok(None) }
}

/// Last block and hash of its header.
fn tip(dir: &RunDir, node: NodeId) -> Result<(Height, String), StoresError> {
    let wrong = |why: String| StoresError::Store { node: Server::Node(node), why };
    let store = NodeStore::open_read_only(&dir.node_store(node)).map_err(|error| wrong(error.to_string()))?;
    let height = ReadOnlyStore::height(&store);
    Ok((height, hash_at(&store, height).map_err(|error| wrong(error.to_string()))?))
}

fn hash_at(store: &dyn StoreView, height: Height) -> Result<String, ViewError> {
    if height == Height::ZERO {
        return Ok(String::new());
    }
    let block = store.block(height)?.ok_or_else(|| ViewError(format!("no block at its height {height}")))?;
    Ok(header_hash(&block.header).to_string())
}

/// Drops what a sweep does not keep. Returns how many stores are gone.
pub fn drop_stores(dir: &RunDir, spec: &Spec, keep: StoresKept) -> Result<usize, StoresError> {
    let left = match keep {
        StoresKept::All => return Ok(0),
        StoresKept::One => Left::One,
        StoresKept::None => Left::None,
    };
    let mut committees: BTreeMap<CommitteeId, (NodeId, Height, String)> = BTreeMap::new();
    let mut gone = Vec::new();
    for node in nodes(spec) {
        let (height, header) = tip(dir, node)?;
        let first = committees.entry(node.committee).or_insert_with(|| (node, height, header.clone()));
        let stands_in = (left == Left::One).then_some(Server::Node(first.0));
        // the first one stays with `one`, and so does who is not exactly as far
        if left == Left::None || (first.0 != node && (first.1, &first.2) == (height, &header)) {
            gone.push((node, Dropped { node: Server::Node(node), stands_in, height: height.get(), header }));
        }
    }
    let record = StoresRecord { version: 1, kept: left, nodes: gone.iter().map(|(_, noted)| noted.clone()).collect() };
    write_json(&dir.stores(), &record)?;
    for (node, _) in &gone {
        let path = dir.node_store(*node);
        fs::remove_dir_all(&path).map_err(|source| StoresError::Remove { path, source })?;
    }
    Ok(gone.len())
}

/// The store that stands in for a dropped one, held against what was noted of that.
pub struct StandIn(ReadOnlyStore);

impl StandIn {
    /// Opens it.
    pub fn open(dir: &RunDir, noted: &Dropped) -> Result<Self, String> {
        let Some(Server::Node(node)) = noted.stands_in else {
            return Err(format!("the store of {} was dropped, and none stands in for it", noted.node));
        };
        let store = NodeStore::open_read_only(&dir.node_store(node)).map_err(|error| error.to_string())?;
        let height = ReadOnlyStore::height(&store);
        let header = hash_at(&store, height).map_err(|error| error.to_string())?;
        if (height.get(), &header) != (noted.height, &noted.header) {
            let Dropped { node: dropped, height: of, header: hash, .. } = noted;
            return Err(format!(
                "the dropped store of {dropped} ended at height {of} with header {hash}; that of {node}, which stands in, \
                 ends at height {height} with header {header}",
                node = Server::Node(node),
            ));
        }
        Ok(Self(store))
    }
}

impl StoreView for StandIn {
    fn height(&self) -> Height {
        StoreView::height(&self.0)
    }
    fn block(&self, height: Height) -> Result<Option<LedgerBlock>, ViewError> {
        StoreView::block(&self.0, height)
    }
    fn certificate(&self, height: Height) -> Result<Option<Certificate>, ViewError> {
        StoreView::certificate(&self.0, height)
    }
    fn accounts(&self, each: &mut dyn FnMut(PublicKey, AccountState)) -> Result<(), ViewError> {
        StoreView::accounts(&self.0, each)
    }
}
