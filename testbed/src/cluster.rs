//! The servers of a run as one thing: started, faulted, watched and stopped, with what they used.
//!
//! Guarantees: a server that ends although nobody asked it to is found by [`Cluster::unexpected_ends`];
//! CPU time is looked at right before a server is made to end, so none is lost but what the kernel still
//! counts in between.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::backend::{Action, Backend, BackendError, Launch, State};
use crate::resources::Resources;
use crate::server::Server;

/// A server that ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnexpectedEnd {
    /// Which one.
    pub server: Server,
    /// How.
    pub how: String,
}

/// The servers of a run.
pub struct Cluster<B> {
    backend: B,
    launches: BTreeMap<Server, Launch>,
    resources: Resources<File>,
    /// Servers that were made to end, or asked to.
    ending: BTreeSet<Server>,
}

impl<B: Backend> Cluster<B> {
    /// No server runs yet. `resources` is the file of what they will use.
    pub fn new(backend: B, launches: Vec<Launch>, resources: &Path) -> io::Result<Self> {
        let dirs = launches.iter().map(|launch| (launch.server, launch.store.clone()));
        let resources = Resources::new(File::create(resources)?, dirs)?;
        let launches = launches.into_iter().map(|launch| (launch.server, launch)).collect();
        Ok(Self { backend, launches, resources, ending: BTreeSet::new() })
    }

    /// What controls the processes.
    pub fn backend(&mut self) -> &mut B {
        &mut self.backend
    }

    /// How the servers are started.
    pub fn launches(&self) -> impl Iterator<Item = &Launch> {
        self.launches.values()
    }

    /// What they used.
    pub fn resources(&self) -> &Resources<File> {
        &self.resources
    }

    /// All servers that this cluster has.
    pub fn servers(&self) -> impl Iterator<Item = Server> + use<'_, B> {
        self.launches.keys().copied()
    }

    /// Starts a server, for the first time or again.
    pub fn start(&mut self, server: Server) -> Result<(), BackendError> {
        let launch = self.launches.get(&server).ok_or(BackendError::NotRunning { server, action: "start" })?;
        self.backend.start(launch)?;
        self.resources.restarted(server);
        self.ending.remove(&server);
        Ok(())
    }

    /// Kills, pauses or resumes a server, or asks it to stop.
    pub fn act(&mut self, server: Server, action: Action) -> Result<(), BackendError> {
        self.resources.look(&self.backend, server);
        if matches!(action, Action::Kill | Action::Stop) {
            self.ending.insert(server);
        }
        self.backend.act(server, action)
    }

    /// A server may end by itself from now on, until it is started again.
    pub fn may_end(&mut self, server: Server) {
        self.ending.insert(server);
    }

    /// A server that may have ended, and did not, is to live on.
    pub fn must_live(&mut self, server: Server) {
        self.ending.remove(&server);
    }

    /// The directory of a server's store.
    pub fn store(&self, server: Server) -> Option<&Path> {
        self.launches.get(&server)?.store.as_deref()
    }

    /// What a server does.
    pub fn state(&mut self, server: Server) -> State {
        self.backend.state(server)
    }

    /// Whether it runs or is paused.
    pub fn is_alive(&mut self, server: Server) -> bool {
        matches!(self.backend.state(server), State::Running | State::Paused)
    }

    /// Servers that nobody made to end, or end by themselves such as loadgen, and that did.
    pub fn unexpected_ends(&mut self) -> Vec<UnexpectedEnd> {
        let watched: Vec<Server> = self.launches.keys().copied().filter(|s| !self.ending.contains(s)).collect();
        let mut found = Vec::new();
        for server in watched {
            if matches!(server, Server::Loadgen(_)) {
                continue;
            }
            if let State::Ended(ended) = self.backend.state(server) {
                self.ending.insert(server);
                found.push(UnexpectedEnd { server, how: ended.how });
            }
        }
        found
    }

    /// Looks at everybody's CPU time, in microseconds.
    pub fn look(&mut self) -> BTreeMap<Server, u64> {
        for server in self.launches.keys() {
            self.resources.look(&self.backend, *server);
        }
        self.resources.cpu_us()
    }

    /// Looks at what everybody used and writes it down.
    pub fn sample(&mut self, at: Duration) -> io::Result<()> {
        self.resources.sample(&self.backend, at)
    }

    /// The last lines of a server's log.
    pub fn log_tail(&self, server: Server, lines: usize) -> Vec<String> {
        self.launches.get(&server).map(|launch| tail(&launch.log, lines)).unwrap_or_default()
    }
}

/// The last lines of a file, of which at most the last 64 KiB are read.
pub fn tail(path: &Path, lines: usize) -> Vec<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    const BYTES_MAX: u64 = 64 << 10;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_log_is_short() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert_eq!(tail(&path, 3), Vec::<String>::new());
        let text: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
        std::fs::write(&path, text).unwrap();
        assert_eq!(tail(&path, 2), ["line 19998", "line 19999"]);
    }
}
