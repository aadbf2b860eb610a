//! The back ends that a cluster can have, behind one type: everything above is the same for both.

use std::collections::BTreeMap;
use std::path::Path;

use shardpay_run::{RunDir, Spec};

use crate::backend::{Action, Backend, BackendError, Launch, State};
use crate::byzantine;
use crate::deploy::Deployment;
use crate::disk;
use crate::docker::compose::Plan;
use crate::docker::{self, Docker, Images};
use crate::failure::Failure;
use crate::local::Local;
use crate::procfs::{ProcessId, Usage};
use crate::registry::Cluster;
use crate::server::Server;

/// Control over the servers of a cluster.
pub enum Control {
    /// Processes of this machine.
    Local(Local),
    /// Containers.
    Docker(Docker),
}

impl Control {
    /// What a deployment is controlled through. Containers are made from the programs' images; nothing runs yet.
    pub fn prepare(
        deployment: &Deployment,
        spec: &Spec,
        launches: &[Launch],
        (name, state): (&str, &Path),
        programs: &Path,
    ) -> Result<Self, Failure> {
        let Some(subnet) = deployment.subnet else {
            mount(&deployment.dir, spec, (0, 0))?;
            return Ok(Self::Local(Local::default()));
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if let Some(warning) = too_much_cpu(spec, cores)? {
            eprintln!("testbed: {warning}");
        }
        let images = Images::build(programs, launches.iter().map(byzantine::program_of))?;
        let dir = &deployment.dir;
        let user = docker::hand_over(dir, spec.load.processes).map_err(Failure::io("chown of the run directory"))?;
        let plan = Plan { name, state, dir, spec, launches, images: &images, subnet, user };
        let created = Docker::create(&plan)?;
        mount(dir, spec, user)?;
        Ok(Self::Docker(created))
    }

    /// Takes over a cluster that somebody else started.
    pub fn adopt(cluster: &Cluster) -> Self {
        match &cluster.containers {
            None => Self::Local(Local::adopt(cluster.processes.clone())),
            Some(name) => Self::Docker(Docker::adopt(name, cluster.launches.iter().map(|launch| launch.server))),
        }
    }

    /// The processes, also those that ended.
    pub fn ids(&self) -> BTreeMap<Server, ProcessId> {
        match self {
            Self::Local(local) => local.ids(),
            Self::Docker(docker) => docker.ids(),
        }
    }

    /// Lets the servers live on when this value is dropped.
    pub fn release(&mut self) {
        match self {
            Self::Local(local) => local.release(),
            Self::Docker(docker) => docker.release(),
        }
    }

    /// Kills everything that runs, and removes what it ran in.
    pub fn kill_all(&mut self) {
        match self {
            Self::Local(local) => local.kill_all(),
            Self::Docker(docker) => docker.kill_all(),
        }
    }

    fn backend(&mut self) -> &mut dyn Backend {
        match self {
            Self::Local(local) => local,
            Self::Docker(docker) => docker,
        }
    }
}

/// Mounts the nodes' disks, all or none.
fn mount(dir: &RunDir, spec: &Spec, user: (u32, u32)) -> Result<(), Failure> {
    disk::mount(dir, spec, user).inspect_err(|_| {
        // what was mounted before the failure; the failure itself is what is told
        let _ = disk::abandon(dir.root());
    })
}

/// Shares that together are more than this machine has are no shares: a warning from there on, an error from twice as
/// much on.
fn too_much_cpu(spec: &Spec, cores: usize) -> Result<Option<String>, Failure> {
    let nodes = spec.committees * spec.nodes_per_committee;
    let asked = spec.node.cpu_share * nodes as f64;
    let share = spec.node.cpu_share;
    let text = format!("node.cpu_share = {share} for {nodes} nodes is {asked:.2} cores; this machine has {cores}");
    match asked / cores as f64 {
        times if times >= 2.0 => Err(Failure::Usage(format!("{text}: choose a smaller share or fewer nodes"))),
        times if times >= 1.0 => Ok(Some(format!("{text}: nodes will get less than their share"))),
        _ => Ok(None),
    }
}

impl Backend for Control {
    fn start(&mut self, launch: &Launch) -> Result<(), BackendError> {
        self.backend().start(launch)
    }

    fn act(&mut self, server: Server, action: Action) -> Result<(), BackendError> {
        self.backend().act(server, action)
    }

    fn state(&mut self, server: Server) -> State {
        self.backend().state(server)
    }

    fn usage(&self, server: Server) -> Option<Usage> {
        match self {
            Self::Local(local) => local.usage(server),
            Self::Docker(docker) => docker.usage(server),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_that_are_not_there_are_named() {
        let spec = |share: f64| {
            let text = "name = 't'\ncommittees = 2\nnodes_per_committee = 4\nduration_s = 5";
            Spec::parse("t.toml", text, &[format!("node.cpu_share={share}")]).unwrap()
        };
        assert_eq!(too_much_cpu(&spec(0.0), 2).unwrap(), None);
        assert_eq!(too_much_cpu(&spec(0.17), 2).unwrap(), None);
        let warning = too_much_cpu(&spec(0.3), 2).unwrap().unwrap();
        assert!(warning.contains("0.3 for 8 nodes is 2.40 cores; this machine has 2"), "{warning}");
        assert_eq!(too_much_cpu(&spec(0.5), 2).unwrap_err().exit_code(), 2);
    }
}
