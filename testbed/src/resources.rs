//! What the servers of a run use: sampled once a second into `resources.csv`, and summed for the table.
//!
//! CPU time of a server counts on over its restarts. The kernel forgets the figures of a process when it
//! ends, so a server is sampled once more right before it is killed or stopped.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use crate::backend::Backend;
use crate::procfs::disk_bytes;
use crate::server::Server;

/// First line of the file.
pub const HEADER: &str = "at_ms,server,cpu_us,memory_bytes,disk_bytes";

#[derive(Default)]
struct Account {
    /// CPU time of the processes before the present one.
    ended_cpu_us: u64,
    /// CPU time of the present process when it was last looked at.
    cpu_us: u64,
    memory_bytes: u64,
    memory_bytes_max: u64,
    disk_bytes: u64,
    dir: Option<PathBuf>,
}

/// The sampler.
pub struct Resources<W> {
    out: W,
    accounts: BTreeMap<Server, Account>,
}

impl<W: Write> Resources<W> {
    /// Samples the servers with the directories whose bytes count as theirs.
    pub fn new(mut out: W, servers: impl IntoIterator<Item = (Server, Option<PathBuf>)>) -> io::Result<Self> {
        writeln!(out, "{HEADER}")?;
        let account = |(server, dir)| (server, Account { dir, ..Account::default() });
        Ok(Self { out, accounts: servers.into_iter().map(account).collect() })
    }

    /// Looks at one server; when it does not run, what was seen last stays.
    pub fn look(&mut self, backend: &impl Backend, server: Server) {
        let Some(account) = self.accounts.get_mut(&server) else { return };
        let Some(usage) = backend.usage(server) else { return };
        account.cpu_us = account.cpu_us.max(usage.cpu_us);
        account.memory_bytes = usage.memory_bytes;
        account.memory_bytes_max = account.memory_bytes_max.max(usage.memory_bytes);
    }

    /// A new process of `server` starts from zero.
    pub fn restarted(&mut self, server: Server) {
        if let Some(account) = self.accounts.get_mut(&server) {
            account.ended_cpu_us += std::mem::take(&mut account.cpu_us);
        }
    }

    /// Looks at all servers and writes a line for each.
    pub fn sample(&mut self, backend: &impl Backend, at: Duration) -> io::Result<()> {
        let servers: Vec<Server> = self.accounts.keys().copied().collect();
        for server in servers {
            self.look(backend, server);
        }
        for (server, account) in &mut self.accounts {
            if let Some(dir) = &account.dir {
                account.disk_bytes = disk_bytes(dir);
            }
            let (memory, disk) = (account.memory_bytes, account.disk_bytes);
            let cpu_us = account.ended_cpu_us + account.cpu_us;
            writeln!(self.out, "{},{server},{cpu_us},{memory},{disk}", at.as_millis())?;
        }
        self.out.flush()
    }

    /// CPU time of each server up to the last look.
    pub fn cpu_us(&self) -> BTreeMap<Server, u64> {
        self.accounts.iter().map(|(server, account)| (*server, account.ended_cpu_us + account.cpu_us)).collect()
    }

    /// Bytes on disk of all servers at the last sample.
    pub fn disk_bytes(&self) -> u64 {
        self.accounts.values().map(|account| account.disk_bytes).sum()
    }

    /// The most memory a single node had.
    pub fn node_memory_bytes_max(&self) -> u64 {
        let nodes = self.accounts.iter().filter(|(server, _)| matches!(server, Server::Node(_)));
        nodes.map(|(_, account)| account.memory_bytes_max).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Action, BackendError, Launch, State};
    use crate::procfs::Usage;

    struct Fixed(BTreeMap<Server, Usage>);

    impl Backend for Fixed {
        fn start(&mut self, _: &Launch) -> Result<(), BackendError> {
            unreachable!("nothing is started here")
        }
        fn act(&mut self, _: Server, _: Action) -> Result<(), BackendError> {
            unreachable!("nothing is acted on here")
        }
        fn state(&mut self, _: Server) -> State {
            State::Running
        }
        fn usage(&self, server: Server) -> Option<Usage> {
            self.0.get(&server).copied()
        }
    }

    #[test]
    fn cpu_time_counts_on_over_a_restart() {
        let node = Server::node(1, 2).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("store"), [1; 5000]).unwrap();
        let mut backend = Fixed([(node, Usage { cpu_us: 30_000, memory_bytes: 900 })].into());
        let mut out = Vec::new();
        let mut resources =
            Resources::new(&mut out, [(node, Some(dir.path().to_owned())), (Server::Signaler, None)]).unwrap();
        resources.sample(&backend, Duration::from_secs(1)).unwrap();
        backend.0.insert(node, Usage { cpu_us: 50_000, memory_bytes: 800 });
        resources.look(&backend, node);
        backend.0.clear();
        resources.sample(&backend, Duration::from_secs(2)).unwrap();
        resources.restarted(node);
        backend.0.insert(node, Usage { cpu_us: 10_000, memory_bytes: 100 });
        resources.sample(&backend, Duration::from_secs(3)).unwrap();

        assert_eq!(resources.cpu_us(), BTreeMap::from([(node, 60_000), (Server::Signaler, 0)]));
        assert_eq!(resources.node_memory_bytes_max(), 900);
        assert!(resources.disk_bytes() >= 5000);
        let text = String::from_utf8(out).unwrap();
        let cpu: Vec<&str> =
            text.lines().filter(|line| line.contains(",1-2,")).map(|line| line.split(',').nth(2).unwrap()).collect();
        assert_eq!(cpu, ["30000", "50000", "60000"]);
        assert!(text.starts_with(HEADER));
    }
}
