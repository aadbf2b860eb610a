//! Carries out a spec's timeline of faults.
//!
//! What cannot be done at once (starting a server whose killed process has not ended yet) waits for the
//! next turn. A fault that fails fails the run: a timeline that was not carried out proves nothing.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use shardpay_run::{FaultAction, FaultDetail, PlannedFault, RunError};
use shardpay_types::NodeId;

use crate::backend::{Action, Backend, BackendError};
use crate::cluster::Cluster;
use crate::conditions::Conditions;
use crate::disk;
use crate::server::Server;

#[derive(Debug, Clone, PartialEq)]
struct Step {
    at: Duration,
    action: FaultAction,
    node: NodeId,
    detail: FaultDetail,
}

/// The faults that are still to come.
pub struct Faults {
    steps: VecDeque<Step>,
    /// Wipes that wait for a process to end.
    wipes: VecDeque<Server>,
    /// Restarts that wait for a process to end.
    restarts: VecDeque<Server>,
    conditions: Conditions,
}

impl Faults {
    /// A timeline, ascending in time.
    pub fn new(timeline: &[PlannedFault], conditions: Conditions) -> Self {
        let steps = timeline.iter().flat_map(|fault| {
            let step = |node| Step { at: fault.at, action: fault.action, node, detail: fault.detail.clone() };
            fault.nodes.iter().copied().map(step)
        });
        Self { steps: steps.collect(), wipes: VecDeque::new(), restarts: VecDeque::new(), conditions }
    }

    /// Whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        self.steps.is_empty() && self.restarts.is_empty() && self.wipes.is_empty()
    }

    /// Does what is due `elapsed` after the load began. Returns lines that say what was done.
    pub fn advance<B: Backend>(
        &mut self,
        elapsed: Duration,
        cluster: &mut Cluster<B>,
    ) -> Result<Vec<String>, BackendError> {
        let mut done = Vec::new();
        while self.steps.front().is_some_and(|step| step.at <= elapsed) {
            let Some(step) = self.steps.pop_front() else { break };
            self.step(&step, cluster)?;
            done.push(format!("{} {}", step.action, Server::Node(step.node)));
        }
        for _ in 0..self.wipes.len() {
            let Some(server) = self.wipes.pop_front() else { break };
            if cluster.is_alive(server) {
                self.wipes.push_back(server);
            } else if let Some(data_dir) = cluster.store(server).and_then(|store| store.parent()) {
                disk::wipe(data_dir).map_err(|source| refused(server, FaultAction::WipeDisk, source))?;
            }
        }
        for _ in 0..self.restarts.len() {
            let Some(server) = self.restarts.pop_front() else { break };
            if cluster.is_alive(server) || self.wipes.contains(&server) {
                self.restarts.push_back(server);
            } else {
                cluster.start(server)?;
            }
        }
        Ok(done)
    }

    fn step<B: Backend>(&mut self, step: &Step, cluster: &mut Cluster<B>) -> Result<(), BackendError> {
        let server = Server::Node(step.node);
        match (step.action, &step.detail) {
            (FaultAction::Kill | FaultAction::StopCommittee, _) => self.act(cluster, server, Action::Kill)?,
            (FaultAction::Stop, _) => self.act(cluster, server, Action::Stop)?,
            (FaultAction::Pause, _) => self.act(cluster, server, Action::Pause)?,
            (FaultAction::Resume, _) => self.act(cluster, server, Action::Resume)?,
            (FaultAction::Disconnect, _) => self.act(cluster, server, Action::Disconnect)?,
            (FaultAction::Connect, _) => self.act(cluster, server, Action::Connect)?,
            (FaultAction::Throttle | FaultAction::Unthrottle, FaultDetail::CpuShare(share)) => {
                self.act(cluster, server, Action::CpuShare(*share))?;
            }
            (FaultAction::Restart, _) => self.restart(cluster, server)?,
            (FaultAction::WipeDisk, _) => {
                self.act(cluster, server, Action::Kill)?;
                self.wipes.push_back(server);
            }
            (FaultAction::FillDisk | FaultAction::FreeDisk, _) => self.room(step.action, cluster, server)?,
            (FaultAction::SkewClock | FaultAction::RightClock, FaultDetail::SkewMs(ms)) => {
                self.conditions.skew(step.node, *ms).map_err(|source| unwritten(server, step.action, source))?;
            }
            (_, FaultDetail::Links { to, both_ways, link }) => {
                let from = [step.node];
                let there = self.conditions.links(&from, to, *link);
                let back = || if *both_ways { self.conditions.links(to, &from, *link) } else { Ok(()) };
                there.and_then(|()| back()).map_err(|source| unwritten(server, step.action, source))?;
            }
            (action, detail) => unreachable!("{action} is never planned with {detail:?}"),
        }
        Ok(())
    }

    fn restart<B: Backend>(&mut self, cluster: &mut Cluster<B>, server: Server) -> Result<(), BackendError> {
        if cluster.is_alive(server) {
            self.act(cluster, server, Action::Kill)?;
        }
        self.restarts.push_back(server);
        Ok(())
    }

    /// Takes all room from a node's disk, or gives it back and starts the node if it ended for lack of it.
    fn room<B: Backend>(
        &mut self,
        action: FaultAction,
        cluster: &mut Cluster<B>,
        server: Server,
    ) -> Result<(), BackendError> {
        let Some(store) = cluster.store(server).map(ToOwned::to_owned) else { return Ok(()) };
        if action == FaultAction::FillDisk {
            cluster.may_end(server);
            return disk::fill(&store).map_err(|source| refused(server, action, source));
        }
        disk::free(&store).map_err(|source| refused(server, action, source))?;
        if cluster.is_alive(server) {
            cluster.must_live(server);
        } else {
            self.restarts.push_back(server);
        }
        Ok(())
    }

    /// A second kill of a node that is down already is no error: two faults may overlap.
    fn act<B: Backend>(
        &mut self,
        cluster: &mut Cluster<B>,
        server: Server,
        action: Action,
    ) -> Result<(), BackendError> {
        self.restarts.retain(|waiting| *waiting != server || action != Action::Kill);
        match cluster.act(server, action) {
            Err(BackendError::NotRunning { .. }) => Ok(()),
            other => other,
        }
    }
}

fn refused(server: Server, action: FaultAction, source: io::Error) -> BackendError {
    BackendError::Refused { server, action: action.name(), source }
}

fn unwritten(server: Server, action: FaultAction, source: RunError) -> BackendError {
    BackendError::File { server, action: action.name(), source }
}

#[cfg(test)]
#[path = "faults_tests.rs"]
mod tests;
