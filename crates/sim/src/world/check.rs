//! Looking at every gauge, and deciding when a run has ended well.

use std::time::Duration;

use super::build::WATCH;
use super::{Event, Phase, World};
use crate::checkers::Violation;
use crate::node::Body;
use crate::report::Outcome;

/// After the last work nodes may go on talking for that long.
pub(super) const SETTLE: Duration = Duration::from_secs(2);
/// All proposals have ended after that long.
const QUIET_MAX: Duration = Duration::from_secs(40);
/// Then only heartbeats are seen for that long.
const SILENCE: Duration = Duration::from_millis(1_500);

impl World {
    /// Every gauge of every honest node, and whether the run has come to its end.
    pub(super) fn watch(&mut self) -> Result<(), Violation> {
        let now = self.line.now();
        for (at, body) in self.bodies.iter().enumerate() {
            let Some(machine) = body.machine.as_ref().filter(|_| body.honest) else { continue };
            let members = self.scenario.topology.sizes()[body.id.committee.index()];
            self.bounds.check(at, members, &machine.replica.status())?;
        }
        self.most_in_flight = self.most_in_flight.max(self.books.in_flight());
        match self.phase {
            Phase::Faulty => {}
            Phase::Healing => match self.pending_work() {
                None => {
                    let since_last = self.last_submission.max(self.scenario.heal_at);
                    self.figures.heal_micros = now.since(since_last).as_micros() as u64;
                    self.phase = Phase::Quiet { since: now };
                    self.trace.line(now, format_args!("all work is done"));
                }
                Some(why) if now.since(self.last_submission) > self.scenario.heal_max => {
                    return Err(Violation::new("liveness", why));
                }
                Some(why) => self.why_not_done = why,
            },
            Phase::Quiet { since } => {
                if now.since(since.max(self.last_work)) > SETTLE + SILENCE {
                    self.phase = Phase::Over;
                } else if now.since(self.last_submission) > self.scenario.heal_max + QUIET_MAX {
                    return Err(Violation::new("silence when idle", "work goes on and on"));
                }
                // What a byzantine member held may still come out, and make another payment's turn come.
                if self.owed().is_some() {
                    self.phase = Phase::Healing;
                }
            }
            Phase::Over => {}
        }
        self.line.after(WATCH, Event::Watch);
        Ok(())
    }

    /// What is still to be done, if anything.
    fn pending_work(&self) -> Option<String> {
        self.owed().or_else(|| self.bodies.iter().enumerate().find_map(|(at, body)| self.node_behind(at, body)))
    }

    /// What is owed to clients, other committees or the signaler.
    fn owed(&self) -> Option<String> {
        if self.under_way > 0 {
            return Some(format!("{} submissions are under way", self.under_way));
        }
        let lives = |life: crate::workload::Life| {
            let body = &self.bodies[life.node];
            body.honest && body.machine.is_some() && body.incarnation == life.incarnation
        };
        let time = |committee: usize| {
            let tip = self.books.block_at(committee, self.books.height(committee));
            tip.map_or(shardpay_types::Timestamp::ZERO, |block| block.header.ledger_time)
        };
        if let Some((id, node)) = self.workload.stuck(time, &self.books, lives) {
            return Some(format!("node {node} holds {id:?}: {}", self.workload.describe(&id)));
        }
        if self.books.in_flight() > 0 {
            return Some(format!("credits are under way: {:?}", self.books.flights()));
        }
        if let Some(change) = self.signaler.change() {
            let epoch = change.plan.epoch.get() as usize;
            let behind = (0..self.scenario.topology.committees()).find(|id| self.books.epoch(*id) < epoch);
            if let Some(committee) = behind {
                return Some(format!("committee {committee} does not close the epoch before {epoch}"));
            }
        }
        None
    }

    fn node_behind(&self, at: usize, body: &Body) -> Option<String> {
        if !body.honest {
            return None;
        }
        let Some(machine) = &body.machine else { return Some(format!("node {at} does not run")) };
        let committee = body.id.committee.index();
        let status = machine.replica.status();
        let height = self.books.height(committee);
        if status.executed < height {
            return Some(format!("node {at} executed {} of {height} blocks", status.executed));
        }
        if status.certified < height {
            return Some(format!("node {at} has certificates up to {} of {height}", status.certified));
        }
        let unacknowledged = machine.ledger.status().outbox_pending;
        if unacknowledged > 0 {
            return Some(format!("node {at} knows of no cursor for {unacknowledged} messages"));
        }
        None
    }

    /// Counters of a body's consensus, before they are lost.
    pub(super) fn note_consensus(&mut self, at: usize) {
        let Some(machine) = &self.bodies[at].machine else { return };
        let status = machine.replica.status();
        let consensus = &status.consensus;
        self.coverage.add("dag: direct commit", consensus.direct_commits);
        self.coverage.add("dag: direct skip", consensus.direct_skips);
        self.coverage.add("dag: indirect commit", consensus.indirect_commits);
        self.coverage.add("dag: indirect skip", consensus.indirect_skips);
        self.coverage.add("dag: leader timeout", consensus.leader_timeouts);
        self.coverage.add("dag: catch-up block", consensus.catch_up_blocks);
        self.coverage.add("dag: block dropped", consensus.dropped_blocks);
        for (name, count) in status.refusals {
            self.coverage.add(name, count);
        }
    }

    /// Sums a run up.
    pub(super) fn finish(mut self, violation: Option<Violation>) -> Outcome {
        let now = self.line.now();
        if self.trace.is_written() {
            for (at, body) in self.bodies.iter().enumerate() {
                let Some(machine) = &body.machine else { continue };
                let (status, ledger) = (machine.replica.status(), machine.ledger.status());
                self.trace.line(now, format_args!("{at:>3} ends with {status:?} {ledger:?}"));
            }
        }
        for at in 0..self.bodies.len() {
            self.note_consensus(at);
            let body = &self.bodies[at];
            if let (Some(twist), Some(kind)) = (&body.twist, self.scenario.byzantine.get(&body.node)) {
                self.coverage.add(kind.name(), twist.deeds());
            }
        }
        for (name, count) in &self.books.met {
            self.coverage.add(name, *count);
        }
        self.coverage.merge(&self.workload.coverage);
        self.figures.virtual_micros = self.line.now().0;
        self.figures.events = self.trace.events;
        self.figures.payments = self.workload.payments as u64;
        self.figures.faults = self.scenario.fault_count() as u64;
        let certified = self
            .books
            .leaves()
            .filter(|(_, leaf)| leaf.applied && leaf.height <= self.certificates.height(leaf.committee));
        self.figures.certified = certified.count() as u64;
        self.figures.blocks = (0..self.scenario.topology.committees()).map(|id| self.books.height(id).get()).sum();
        self.figures.commits = self.commits.count;
        Outcome {
            seed: self.scenario.seed,
            digest: self.trace.digest(),
            figures: self.figures,
            coverage: self.coverage,
            most_in_flight: self.most_in_flight,
            planted: self.planted,
            violation,
            at: self.line.now(),
            sizes: self.scenario.topology.sizes().to_vec(),
        }
    }
}
