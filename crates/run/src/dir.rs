//! The run directory: where everything of one run lies.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use shardpay_types::NodeId;

/// Why a file of a run cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The operating system's answer.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What stands in it is not what belongs there.
    #[error("{}: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl RunError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        |error| Self::Io { path, error }
    }

    pub(crate) fn malformed(path: &Path, why: impl ToString) -> Self {
        Self::Malformed { path: path.to_owned(), why: why.to_string() }
    }
}

/// `<committee>-<member>`: a node's name in paths, tags and on the command line.
pub fn node_name(node: NodeId) -> String {
    format!("{}-{}", node.committee, node.member)
}

/// Paths of one run. Making one touches no file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    root: PathBuf,
}

macro_rules! paths {
    ($($(#[$meta:meta])* $name:ident = $path:literal;)*) => {$(
        $(#[$meta])*
        pub fn $name(&self) -> PathBuf {
            self.root.join($path)
        }
    )*};
}

impl RunDir {
    /// The run at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    paths! {
        /// The resolved spec.
        spec = "spec.toml";
        /// Facts of the run: seeds, commit, host. See [`crate::RunRecord`].
        record = "run.json";
        /// The genesis plan, canonically encoded.
        genesis = "genesis.plan";
        /// The signaler's directory.
        signaler = "signaler";
        /// The nodes' directories.
        nodes = "nodes";
        /// Loadgen's directories, one per process.
        loadgen = "loadgen";
        /// What every server used, once a second.
        resources = "resources.csv";
        /// CPU time of every thread, once a second.
        threads = "threads.csv";
        /// Which stores were dropped after the verdict.
        stores = "stores.json";
        /// Digests of all raw files. See [`crate::Manifest`].
        manifest = "manifest.json";
        /// The audit's verdict.
        verdict = "verdict.json";
        /// The figures. See [`crate::Summary`].
        summary = "summary.json";
    }

    /// A node's directory.
    pub fn node(&self, node: NodeId) -> PathBuf {
        self.nodes().join(node_name(node))
    }

    /// A node's configuration.
    pub fn node_config(&self, node: NodeId) -> PathBuf {
        self.node(node).join("config.toml")
    }

    /// A node's log for people.
    pub fn node_log(&self, node: NodeId) -> PathBuf {
        self.node(node).join("log")
    }

    /// A node's metrics, as line protocol.
    pub fn node_series(&self, node: NodeId) -> PathBuf {
        self.node(node).join("series.lp")
    }

    /// A node's store.
    pub fn node_store(&self, node: NodeId) -> PathBuf {
        self.node(node).join("store")
    }

    /// The directory of a loadgen process.
    pub fn loadgen_process(&self, process: usize) -> PathBuf {
        self.loadgen().join(process.to_string())
    }

    /// Its result. See [`crate::LoadResult`].
    pub fn load_result(&self, process: usize) -> PathBuf {
        self.loadgen_process(process).join("result.json")
    }

    /// Its latencies. See [`crate::LatencyWriter`].
    pub fn latencies(&self, process: usize) -> PathBuf {
        self.loadgen_process(process).join("latency.hlog")
    }

    /// Its acknowledged payments. See [`crate::AckWriter`].
    pub fn acks(&self, process: usize) -> PathBuf {
        self.loadgen_process(process).join("acks.bin")
    }

    /// Its metrics, as line protocol.
    pub fn load_series(&self, process: usize) -> PathBuf {
        self.loadgen_process(process).join("series.lp")
    }
}

/// Writes a file under a temporary name and renames it, so that a reader finds it whole or not at all.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(RunError::io(parent))?;
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    fs::write(&temporary, bytes).map_err(RunError::io(&temporary))?;
    fs::rename(&temporary, path).map_err(RunError::io(path))
}

/// Writes a value as JSON, as [`write_whole`] does.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), RunError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| RunError::malformed(path, error))?;
    text.push('\n');
    write_whole(path, text.as_bytes())
}

/// Reads a JSON file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RunError> {
    let text = fs::read_to_string(path).map_err(RunError::io(path))?;
    serde_json::from_str(&text).map_err(|error| RunError::malformed(path, error))
}
