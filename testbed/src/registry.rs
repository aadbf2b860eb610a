//! What testbeds on this machine have started: one small file per cluster, so that `status`, `down` and the
//! faults by hand find a cluster that `up` left running, and so that the next testbed can end what a
//! killed one left behind.
//!
//! A cluster with an owner belongs to a testbed that runs; when that process is gone, the cluster is
//! abandoned. Processes are named by id and start time, so a number that the system gave to somebody else
//! is never signalled. Clusters of other testbeds that live are left alone.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::backend::Launch;
use crate::control::Control;
use crate::disk;
use crate::local;
use crate::procfs::ProcessId;
use crate::server::Server;

/// Environment variable that names the directory of the files.
pub const STATE_DIR_VARIABLE: &str = "SHARDPAY_STATE_DIR";

/// A cluster that was started on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its name, also that of its file.
    pub name: String,
    /// The testbed it belongs to; absent when `up` left it running.
    pub owner: Option<ProcessId>,
    /// Its run directory.
    pub dir: PathBuf,
    /// Where its signaler answers.
    pub signaler: String,
    /// Its processes, the last one of each server.
    pub processes: BTreeMap<Server, ProcessId>,
    /// How its servers are started.
    pub launches: Vec<Launch>,
    /// The name its containers carry; absent when its servers are local processes.
    #[serde(default)]
    pub containers: Option<String>,
}

/// Why the registry could not be used.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// A file or directory cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{}: {source}; remove it if no cluster of that name runs", path.display())]
    Malformed {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// No directory is known.
    #[error("neither {STATE_DIR_VARIABLE} nor XDG_STATE_HOME nor HOME is set")]
    NoHome,
    /// There is no such cluster.
    #[error("no cluster {name:?} is up (known: {known})")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The name cannot be a file's.
    #[error("cluster name {name:?}: letters, digits, '-', '_' and '.' are meant")]
    Name {
        /// What was given.
        name: String,
    },
}

/// The directory of cluster files.
pub struct Registry {
    dir: PathBuf,
}

impl Registry {
    /// The registry of this user.
    pub fn of_user() -> Result<Self, RegistryError> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let dir = variable(STATE_DIR_VARIABLE)
            .or_else(|| Some(variable("XDG_STATE_HOME")?.join("shardpay")))
            .or_else(|| Some(variable("HOME")?.join(".local/state/shardpay")))
            .ok_or(RegistryError::NoHome)?;
        Ok(Self::at(dir))
    }

    /// A registry in `dir`.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Where the files are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a cluster's file, whole or not at all.
    pub fn save(&self, cluster: &Cluster) -> Result<(), RegistryError> {
        let path = self.path(&cluster.name)?;
        let text = serde_json::to_vec_pretty(cluster).expect("a cluster is plain data");
        let temporary = path.with_extension("json.new");
        let write = || {
            fs::create_dir_all(&self.dir)?;
            fs::write(&temporary, text)?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|source| RegistryError::Io { path: path.clone(), source })
    }

    /// Forgets a cluster.
    pub fn remove(&self, name: &str) -> Result<(), RegistryError> {
        let path = self.path(name)?;
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(RegistryError::Io { path, source }),
            _ => Ok(()),
        }
    }

    /// All clusters, by name.
    pub fn list(&self) -> Result<Vec<Cluster>, RegistryError> {
        let failed = |source| RegistryError::Io { path: self.dir.clone(), source };
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(failed)?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        paths.iter().map(|path| load(path)).filter_map(Result::transpose).collect()
    }

    /// The cluster `name`; without a name the only one that `up` left running.
    pub fn find(&self, name: Option<&str>) -> Result<Cluster, RegistryError> {
        let mut clusters = self.list()?;
        clusters.retain(|cluster| name.map_or(cluster.owner.is_none(), |name| cluster.name == name));
        if clusters.len() == 1 {
            return Ok(clusters.remove(0));
        }
        let known: Vec<String> = self.list()?.into_iter().map(|cluster| cluster.name).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(RegistryError::Unknown { name: name.unwrap_or("(say which with --cluster)").to_owned(), known })
    }

    /// Ends what testbeds left behind that are gone, and says which clusters these were.
    pub fn reap(&self) -> Result<Vec<String>, RegistryError> {
        let mut reaped = Vec::new();
        for cluster in self.list()? {
            if let Some(owner) = cluster.owner
                && !owner.is_alive()
            {
                Control::adopt(&cluster).kill_all();
                // what was started in the moment in which its testbed ended stands in no file
                local::kill_marked(owner);
                disk::abandon(&cluster.dir)
                    .map_err(|source| RegistryError::Io { path: cluster.dir.clone(), source })?;
                self.remove(&cluster.name)?;
                reaped.push(cluster.name);
            }
        }
        Ok(reaped)
    }

    fn path(&self, name: &str) -> Result<PathBuf, RegistryError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(allowed) {
            return Err(RegistryError::Name { name: name.to_owned() });
        }
        Ok(self.dir.join(format!("{name}.json")))
    }
}

/// Nothing when the file went away meanwhile.
fn load(path: &Path) -> Result<Option<Cluster>, RegistryError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RegistryError::Io { path: path.to_owned(), source }),
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| RegistryError::Malformed { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backend as _;
    use crate::local::Local;
    use crate::procfs::STARTED_BY_VARIABLE;

    fn cluster(name: &str, owner: Option<ProcessId>, processes: BTreeMap<Server, ProcessId>) -> Cluster {
        let signaler = "http://127.0.0.1:1".to_owned();
        Cluster {
            name: name.to_owned(),
            owner,
            dir: "/run".into(),
            signaler,
            processes,
            launches: Vec::new(),
            containers: None,
        }
    }

    fn sleeper(dir: &Path) -> Local {
        let mut local = Local::default();
        let log = dir.join("log");
        let args = vec!["60".to_owned()];
        let launch = Launch { server: Server::Signaler, program: "sleep".into(), args, log, output: None, store: None };
        local.start(&launch).unwrap();
        local
    }

    #[test]
    fn clusters_are_saved_found_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::at(dir.path().join("state"));
        assert_eq!(registry.list().unwrap(), []);
        let own = ProcessId::own().unwrap();
        let up = cluster("one", None, [(Server::Signaler, own)].into());
        let run = cluster("two", Some(own), BTreeMap::new());
        registry.save(&up).unwrap();
        registry.save(&run).unwrap();
        assert_eq!(registry.find(None).unwrap(), up, "a run is not meant when no name is given");
        assert_eq!(registry.find(Some("two")).unwrap(), run);
        let error = registry.find(Some("three")).unwrap_err().to_string();
        assert_eq!(error, "no cluster \"three\" is up (known: one, two)");
        registry.remove("one").unwrap();
        registry.remove("one").unwrap();
        assert_eq!(registry.list().unwrap(), [run]);
        assert!(matches!(registry.remove("../x"), Err(RegistryError::Name { .. })));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("bad.json"), "{").unwrap();
        let error = Registry::at(dir.path().to_owned()).list().unwrap_err();
        assert!(error.to_string().contains("bad.json"), "{error}");
    }

    #[test]
    fn only_abandoned_clusters_are_reaped() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::at(dir.path().join("state"));
        let own = ProcessId::own().unwrap();
        let gone = ProcessId { started_ticks: own.started_ticks + 1, ..own };
        let (abandoned, owned, up) = (sleeper(dir.path()), sleeper(dir.path()), sleeper(dir.path()));
        registry.save(&cluster("abandoned", Some(gone), abandoned.ids())).unwrap();
        registry.save(&cluster("owned", Some(own), owned.ids())).unwrap();
        registry.save(&cluster("up", None, up.ids())).unwrap();
        let mut unnoted =
            std::process::Command::new("sleep").arg("60").env(STARTED_BY_VARIABLE, gone.mark()).spawn().unwrap();
        assert_eq!(registry.reap().unwrap(), ["abandoned"]);
        assert!(unnoted.try_wait().unwrap().is_some(), "started by the testbed that is gone, and in no file");
        let alive = |local: &Local| local.ids()[&Server::Signaler].is_alive();
        assert_eq!([&abandoned, &owned, &up].map(alive), [false, true, true]);
        assert_eq!(registry.list().unwrap().len(), 2);
    }
}
