//! Carries out a spec's timeline of faults.
//!
//! What cannot be done at once (starting a server whose killed process has not ended yet) waits for the
//! next turn. A fault that fails fails the run: a timeline that was not carried out proves nothing.

use std::collections::VecDeque;
use std::time::Duration;

use shardpay_run::{FaultAction, PlannedFault};

use crate::backend::{Action, Backend, BackendError};
use crate::cluster::Cluster;
use crate::server::Server;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    at: Duration,
    action: FaultAction,
    server: Server,
}

/// The faults that are still to come.
pub struct Faults {
    steps: VecDeque<Step>,
    /// Restarts that wait for a process to end.
    restarts: VecDeque<Server>,
}

impl Faults {
    /// A timeline, ascending in time.
    pub fn new(timeline: &[PlannedFault]) -> Self {
        let steps = timeline.iter().flat_map(|fault| {
            let step = |node| Step { at: fault.at, action: fault.action, server: Server::Node(node) };
            fault.nodes.iter().copied().map(step)
        });
        Self { steps: steps.collect(), restarts: VecDeque::new() }
    }

    /// Whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        self.steps.is_empty() && self.restarts.is_empty()
    }

    /// Does what is due `elapsed` after the load began. Returns lines that say what was done.
    pub fn advance<B: Backend>(
        &mut self,
        elapsed: Duration,
        cluster: &mut Cluster<B>,
    ) -> Result<Vec<String>, BackendError> {
        let mut done = Vec::new();
        while let Some(step) = self.steps.front().copied().filter(|step| step.at <= elapsed) {
            self.steps.pop_front();
            match step.action {
                FaultAction::Kill | FaultAction::StopCommittee => self.act(cluster, step.server, Action::Kill)?,
                FaultAction::Pause => self.act(cluster, step.server, Action::Pause)?,
                FaultAction::Resume => self.act(cluster, step.server, Action::Resume)?,
                FaultAction::Restart => {
                    if cluster.is_alive(step.server) {
                        self.act(cluster, step.server, Action::Kill)?;
                    }
                    self.restarts.push_back(step.server);
                }
            }
            done.push(format!("{} {}", word(step.action), step.server));
        }
        for _ in 0..self.restarts.len() {
            let Some(server) = self.restarts.pop_front() else { break };
            if cluster.is_alive(server) {
                self.restarts.push_back(server);
            } else {
                cluster.start(server)?;
            }
        }
        Ok(done)
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

/// The word for an action, as in a spec.
const fn word(action: FaultAction) -> &'static str {
    match action {
        FaultAction::Kill => "kill",
        FaultAction::Restart => "restart",
        FaultAction::Pause => "pause",
        FaultAction::Resume => "resume",
        FaultAction::StopCommittee => "stop-committee",
    }
}

#[cfg(test)]
#[path = "faults_tests.rs"]
mod tests;
