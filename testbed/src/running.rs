//! A cluster from its first process to its last: brought up in order, watched, stopped in order.
//!
//! Guarantees: whatever goes wrong, no process outlives [`Running`] unless it was released on purpose; the
//! registry holds the processes' names as long as they may live. A server that ends by itself is an error
//! that carries the end of its log.

use std::path::Path;
use std::time::{Duration, Instant};

use shardpay_client::signaler::{Phase, SignalerClient};
use shardpay_client::topology::{CommitteeEntry, NodeState, Topology};
use shardpay_run::{Spec, write_whole};
use shardpay_types::Codec as _;

use crate::backend::{Action, Launch};
use crate::cluster::Cluster;
use crate::control::Control;
use crate::deploy::{Deployment, nodes};
use crate::disk;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::live::Live;
use crate::procfs::ProcessId;
use crate::registry::{self, Registry};
use crate::server::{STOP_TURNS, Server};

/// Between two looks while something is waited for.
const POLL: Duration = Duration::from_millis(100);
/// A server that was asked to stop gets this long.
const STOP_WAIT_MAX: Duration = Duration::from_secs(20);
/// Lines of a log that are shown when its server ended by itself.
const TAIL_LINES: usize = 15;

/// A cluster that runs.
pub struct Running {
    /// Its processes.
    pub cluster: Cluster<Control>,
    /// What people see.
    pub live: Live,
    /// Who may stop it.
    pub interrupt: Interrupt,
    signaler: SignalerClient,
    registry: Registry,
    entry: registry::Cluster,
    started: Instant,
    sampled: Duration,
}

impl Running {
    /// A cluster whose processes are still to be started through `control`. The name is its name in the registry.
    pub fn new(
        deployment: &Deployment,
        launches: Vec<Launch>,
        control: Control,
        (name, registry): (String, Registry),
        interrupt: Interrupt,
    ) -> Result<Self, Failure> {
        let containers = matches!(control, Control::Docker(_)).then(|| name.clone());
        let cluster = Cluster::new(control, launches.clone(), &deployment.dir.resources())
            .map_err(Failure::io("resources.csv"))?;
        let owner = ProcessId::own().map_err(Failure::io("/proc"))?;
        let entry = registry::Cluster {
            name,
            owner: Some(owner),
            dir: deployment.dir.root().to_owned(),
            signaler: deployment.signaler.clone(),
            processes: Default::default(),
            launches,
            containers,
        };
        Ok(Self {
            cluster,
            live: Live::on_stderr(),
            interrupt,
            signaler: SignalerClient::new(&deployment.signaler)?,
            registry,
            entry,
            started: Instant::now(),
            sampled: Duration::ZERO,
        })
    }

    /// Starts a server and notes its process.
    pub fn start(&mut self, server: Server) -> Result<(), Failure> {
        self.cluster.start(server)?;
        self.note_processes()
    }

    /// Brings the processes' names in the registry up to date.
    pub fn note_processes(&mut self) -> Result<(), Failure> {
        let ids = self.cluster.backend().ids();
        if ids != self.entry.processes {
            self.entry.processes = ids;
            self.registry.save(&self.entry)?;
        }
        Ok(())
    }

    /// Looks after everything that goes on by itself: samples once a second, finds servers that died.
    pub fn tend(&mut self) -> Result<(), Failure> {
        let at = self.started.elapsed();
        if at >= self.sampled + Duration::from_secs(1) {
            self.sampled = at;
            self.cluster.sample(at).map_err(Failure::io("resources.csv"))?;
        }
        match self.cluster.unexpected_ends().into_iter().next() {
            None => Ok(()),
            Some(end) => Err(self.died(end.server, end.how)),
        }
    }

    /// The error about a server that ended by itself.
    pub fn died(&self, server: Server, how: String) -> Failure {
        Failure::Died { server, how, tail: self.cluster.log_tail(server, TAIL_LINES) }
    }

    /// Starts signaler and nodes, waits until every committee produces, and keeps the genesis plan.
    pub async fn bring_up(&mut self, spec: &Spec, genesis: &Path) -> Result<(), Failure> {
        let limit = Duration::from_secs_f64(spec.limits.startup_s);
        let deadline = Instant::now() + limit;
        let late = |what: String| Failure::TooSlow { what, seconds: limit.as_secs_f64() };
        if self.entry.launches.iter().any(|launch| launch.server == Server::Demo) {
            self.start(Server::Demo)?;
        }
        self.start(Server::Signaler)?;
        self.live.waiting("waiting for the signaler");
        while self.signaler.health().await.is_err() {
            if Instant::now() > deadline {
                return Err(late("the signaler answers".to_owned()));
            }
            self.pause().await?;
        }
        for node in nodes(spec) {
            self.start(Server::Node(node))?;
        }
        loop {
            let missing = match self.signaler.topology().await {
                Ok(topology) => match missing(&topology) {
                    None => return keep_genesis(&topology, genesis),
                    Some(missing) => missing,
                },
                Err(error) => format!("the signaler answers ({error})"),
            };
            self.live.waiting(&format!("waiting: {missing}"));
            if Instant::now() > deadline {
                return Err(late(missing));
            }
            self.pause().await?;
        }
    }

    /// Waits until all running members of each committee have certified the same height. Returns who has
    /// not when the time is up.
    pub async fn settle(&mut self, limit: Duration) -> Result<Vec<String>, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            let behind = match self.signaler.topology().await {
                Ok(topology) => topology.committees.iter().flat_map(behind).collect(),
                Err(error) => vec![format!("the signaler does not answer: {error}")],
            };
            if behind.is_empty() || Instant::now() > deadline {
                return Ok(behind);
            }
            self.live.waiting("waiting until all nodes are equally far");
            self.pause().await?;
        }
    }

    /// Stops everything in order: load and shop, service, nodes, signaler. Who does not stop is killed and named.
    pub async fn stop(&mut self) -> Result<Vec<String>, Failure> {
        self.live.waiting("stopping");
        let mut stuck = Vec::new();
        for turn in 0..STOP_TURNS {
            let servers: Vec<Server> = self.cluster.servers().filter(|server| server.stop_turn() == turn).collect();
            let alive: Vec<Server> = servers.into_iter().filter(|server| self.cluster.is_alive(*server)).collect();
            for server in &alive {
                // it may end at this very moment
                let _ = self.cluster.act(*server, Action::Stop);
            }
            stuck.extend(self.wait_for_end(alive).await);
        }
        self.cluster.backend().kill_all();
        disk::release(&self.entry.dir).map_err(Failure::io("the nodes' disks"))?;
        self.registry.remove(&self.entry.name)?;
        Ok(stuck)
    }

    async fn wait_for_end(&mut self, mut alive: Vec<Server>) -> Vec<String> {
        let deadline = Instant::now() + STOP_WAIT_MAX;
        loop {
            alive.retain(|server| self.cluster.is_alive(*server));
            if alive.is_empty() {
                return Vec::new();
            }
            if Instant::now() > deadline {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        let stuck = |server: &Server| format!("{server} did not stop within {} s, killed", STOP_WAIT_MAX.as_secs());
        let found = alive.iter().map(stuck).collect();
        for server in alive {
            let _ = self.cluster.act(server, Action::Kill);
        }
        found
    }

    /// Leaves the processes running; the registry says where.
    pub fn release(mut self) -> Result<registry::Cluster, Failure> {
        self.entry.owner = None;
        self.entry.processes = self.cluster.backend().ids();
        self.registry.save(&self.entry)?;
        self.cluster.backend().release();
        Ok(self.entry)
    }

    /// A short wait in which everything is looked after.
    pub(crate) async fn pause(&mut self) -> Result<(), Failure> {
        self.tend()?;
        self.interrupt.sleep(POLL).await
    }
}

/// What a topology still lacks for a load, in words.
fn missing(topology: &Topology) -> Option<String> {
    if topology.phase != Phase::Producing {
        return Some(format!("the network is in phase {}, not producing", topology.phase));
    }
    let all = topology.members().count();
    let up = topology.members().filter(|(_, member)| member.state == NodeState::Up).count();
    (all == 0 || up < all).then(|| format!("{up} of {all} nodes report to the signaler"))
}

fn keep_genesis(topology: &Topology, path: &Path) -> Result<(), Failure> {
    let Some(genesis) = &topology.genesis else {
        return Err(Failure::Usage("the signaler produces without a genesis plan".to_owned()));
    };
    Ok(write_whole(path, &genesis.0.to_bytes())?)
}

/// Members of a committee that have certified less than the furthest one.
fn behind(committee: &CommitteeEntry) -> Vec<String> {
    let heights = committee.members.iter().map(|member| (member.member, member.progress.map(|p| p.certified)));
    let furthest = heights.clone().filter_map(|(_, height)| height).max().unwrap_or_default();
    let late = heights.filter(|(_, height)| *height != Some(furthest));
    late.map(|(member, height)| {
        let height = height.map_or_else(|| "unknown".to_owned(), |height| height.to_string());
        format!("node {}-{member} is at height {height}, its committee at {furthest}", committee.committee)
    })
    .collect()
}
