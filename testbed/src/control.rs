//! The back ends that a cluster can have, behind one type: everything above is the same for both.

use std::collections::BTreeMap;
use std::path::Path;

use shardpay_run::Spec;

use crate::backend::{Action, Backend, BackendError, Launch, State};
use crate::deploy::Deployment;
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
        let Some(subnet) = deployment.subnet else { return Ok(Self::Local(Local::default())) };
        let images = Images::build(programs)?;
        let dir = &deployment.dir;
        let user = docker::hand_over(dir, spec.load.processes).map_err(Failure::io("chown of the run directory"))?;
        let plan = Plan { name, state, dir, spec, launches, images: &images, subnet, user };
        Ok(Self::Docker(Docker::create(&plan)?))
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
