//! Breaking things and mending them.

use std::time::Duration;

use shardpay_replica::Input;

use super::{Event, Phase, World};
use crate::checkers::Violation;
use crate::scenario::{CrashPoint, Fault, SignalerAct};
use crate::signaler::Signal;
use crate::variant::Variant;

/// How long an armed crash waits for its moment.
const ARMED_MAX: Duration = Duration::from_millis(700);

impl World {
    pub(super) fn fault_begins(&mut self, number: usize) -> Result<(), Violation> {
        let now = self.line.now();
        let fault = self.scenario.faults[number].fault.clone();
        self.coverage.hit(fault.name());
        self.trace.event(now, u32::MAX, "fault", number as u64);
        if self.trace.is_written() {
            self.trace.line(now, format_args!("fault {number} begins: {fault:?}"));
        }
        match &fault {
            Fault::Crash { node, point: CrashPoint::AtOnce, .. } => self.crash(*node, "crash: anywhere"),
            Fault::Crash { node, point, .. } => {
                let body = &mut self.bodies[*node];
                if body.machine.is_some() && body.armed.is_none() {
                    body.armed = Some(*point);
                    let incarnation = body.incarnation;
                    self.line.after(ARMED_MAX, Event::Force { body: *node, incarnation });
                }
            }
            Fault::StoreLost { node } => self.crash(*node, "crash: anywhere"),
            Fault::CommitteeCrash { committee } => {
                for node in self.scenario.topology.members(*committee) {
                    self.crash(node, "crash: anywhere");
                }
            }
            Fault::CommitteeAway { committee } => {
                let members = self.scenario.topology.members(*committee);
                let side = (0..self.scenario.topology.nodes()).map(|node| members.contains(&node)).collect();
                self.network.begin(number, &Fault::Partition { side, one_way: false });
            }
            Fault::SlowNode { node, each } => self.bodies[*node].each = *each,
            Fault::SlowDisk { node, extra } => self.bodies[*node].sync_extra = *extra,
            Fault::SlowExecution { node, extra } => self.bodies[*node].execution_extra = *extra,
            Fault::ClockJump { node, by } => self.bodies[*node].skew += *by,
            Fault::Partition { .. }
            | Fault::Loss { .. }
            | Fault::Duplication { .. }
            | Fault::Reordering { .. }
            | Fault::SlowLinks { .. } => self.network.begin(number, &fault),
        }
        Ok(())
    }

    pub(super) fn fault_ends(&mut self, number: usize) -> Result<(), Violation> {
        let now = self.line.now();
        let fault = self.scenario.faults[number].fault.clone();
        self.trace.event(now, u32::MAX, "mended", number as u64);
        if self.trace.is_written() {
            self.trace.line(now, format_args!("fault {number} ends"));
        }
        match fault {
            Fault::Crash { node, again, .. } => {
                self.bodies[node].armed = None;
                self.restart(node)?;
                if again && self.phase == Phase::Faulty {
                    let wait = self.stream.micros(0, 40_000);
                    self.line.after(wait, Event::CrashAgain(node));
                }
            }
            Fault::StoreLost { node } => {
                // It was down since the fault began, or was started by the end of another fault: dies now.
                self.crash(node, "crash: anywhere");
                let body = &mut self.bodies[node];
                body.disk.wipe();
                body.honest = false;
                return self.restart(node);
            }
            Fault::CommitteeCrash { committee } => {
                for node in self.scenario.topology.members(committee) {
                    let wait = self.stream.micros(0, 200_000);
                    self.line.after(wait, Event::Restart(node));
                }
            }
            Fault::SlowNode { node, .. } => self.bodies[node].each = Duration::ZERO,
            Fault::SlowDisk { node, .. } => self.bodies[node].sync_extra = Duration::ZERO,
            Fault::SlowExecution { node, .. } => self.bodies[node].execution_extra = Duration::ZERO,
            Fault::ClockJump { .. } => {}
            Fault::Partition { .. } | Fault::CommitteeAway { .. } => {
                self.network.end(number);
                return self.tell_connected(None);
            }
            Fault::Loss { .. } | Fault::Duplication { .. } | Fault::Reordering { .. } | Fault::SlowLinks { .. } => {
                self.network.end(number);
            }
        }
        Ok(())
    }

    /// A node dies, if it lives.
    pub(super) fn crash(&mut self, at: usize, point: &'static str) {
        if self.bodies[at].machine.is_none() {
            return;
        }
        let now = self.line.now();
        self.note_consensus(at);
        let torn = self.scenario.variant == Some(Variant::CursorNotMoved);
        let (records, batches, tore) = self.bodies[at].crash(torn);
        self.planted += u64::from(tore);
        self.coverage.hit(point);
        self.coverage.add("crash: records torn off", records as u64);
        self.coverage.add("crash: ledger batches lost", batches as u64);
        self.trace.event(now, at as u32, "crash", records as u64);
        if self.trace.is_written() {
            self.trace
                .line(now, format_args!("{at:>3} dies ({point}), {records} records, {batches} batches not synced"));
        }
    }

    pub(super) fn crash_again(&mut self, at: usize) {
        if self.phase == Phase::Faulty {
            self.crash(at, "crash: again in recovery");
            let wait = self.stream.micros(50_000, 300_000);
            self.line.after(wait, Event::Restart(at));
        }
    }

    /// A node starts, if it does not run.
    pub(super) fn restart(&mut self, at: usize) -> Result<(), Violation> {
        if self.bodies[at].machine.is_some() {
            return Ok(());
        }
        let now = self.line.now();
        if let Err(error) = self.bodies[at].start(now, &self.shared) {
            return Err(Violation::new("restart", format!("node {at} cannot open its ledger: {error}")));
        }
        let stored = self.bodies[at].disk.recovered(shardpay_types::Epoch::ZERO).blocks;
        stored.iter().for_each(|block| self.accept_block(at, block));
        self.commits.resumed(at);
        self.certificates.restarted(at);
        self.trace.event(now, at as u32, "start", u64::from(self.bodies[at].incarnation));
        if self.trace.is_written() {
            let status = self.bodies[at].machine.as_ref().map(|machine| machine.ledger.status());
            let (height, certified) = status.map_or((0, 0), |status| (status.height.get(), status.certified.get()));
            self.trace.line(now, format_args!("{at:>3} starts at height {height}, certified {certified}"));
        }
        self.drain(at)?;
        self.tell_connected(Some(at))
    }

    /// Connections come up: of one node, or of all.
    fn tell_connected(&mut self, only: Option<usize>) -> Result<(), Violation> {
        if !self.scenario.tells_connected {
            return Ok(());
        }
        let nodes = self.scenario.topology.nodes();
        for one in 0..self.bodies.len() {
            let committee = self.scenario.topology.committee_of(self.bodies[one].node);
            for other in self.scenario.topology.members(committee) {
                let concerned = only.is_none_or(|only| only == one || only == other);
                let cut = self.network.is_cut(other, self.bodies[one].node);
                if concerned && other != one && one < nodes && !cut && self.bodies[other].machine.is_some() {
                    let peer = self.scenario.topology.id(other);
                    self.drive(one, Input::PeerConnected(peer))?;
                }
            }
        }
        Ok(())
    }

    /// Everything that broke is mended.
    pub(super) fn heal(&mut self) -> Result<(), Violation> {
        self.phase = Phase::Healing;
        self.last_submission = self.line.now();
        for number in 0..self.scenario.faults.len() {
            self.network.end(number);
        }
        for at in 0..self.bodies.len() {
            let body = &mut self.bodies[at];
            body.armed = None;
            body.each = Duration::ZERO;
            body.sync_extra = Duration::ZERO;
            body.execution_extra = Duration::ZERO;
            self.restart(at)?;
        }
        self.tell_connected(None)?;
        let now = self.line.now().after(Duration::from_millis(100));
        let probes = self.workload.probes(now, &self.books);
        self.plan_submissions(probes);
        self.line.after(Duration::from_millis(50), Event::Signals);
        Ok(())
    }

    // ---- signaler --------------------------------------------------------------------------------

    pub(super) fn signaler_acts(&mut self, number: usize) {
        let (_, act) = self.scenario.signaler[number];
        let epochs: Vec<_> =
            (0..self.scenario.topology.committees()).map(|committee| self.books.epoch(committee)).collect();
        let epoch = epochs[0];
        let settled = epochs.iter().all(|other| *other == epoch);
        let Some(current) = self.books.plan(epoch).filter(|_| settled).cloned() else {
            if self.phase == Phase::Faulty {
                self.line.after(Duration::from_millis(500), Event::Signaler(number));
            }
            return;
        };
        match act {
            SignalerAct::Propose => {
                self.coverage.hit("signaler: proposes");
                self.signaler.propose(&current);
            }
            SignalerAct::Equivocate => {
                if let Some(replaced) = self.replaceable() {
                    self.coverage.hit("signaler: equivocates");
                    self.signaler.equivocate(&current, replaced, self.stranger.public_key());
                }
            }
        }
        self.line.after(Duration::from_millis(20), Event::Signals);
    }

    /// A member whose replacement by nobody leaves its committee with at most f faulty ones.
    fn replaceable(&self) -> Option<usize> {
        (0..self.scenario.topology.nodes()).find(|node| self.scenario.byzantine.contains_key(node))
    }

    pub(super) fn hand_out_signals(&mut self) -> Result<(), Violation> {
        if matches!(self.phase, Phase::Quiet { .. } | Phase::Over) {
            return Ok(());
        }
        let mut any = false;
        for at in 0..self.bodies.len() {
            let node = self.bodies[at].node;
            let committee = self.scenario.topology.committee_of(node);
            let epoch = self.books.epoch(committee) as u64;
            for signal in self.signaler.signals(node, epoch) {
                any = true;
                let input = match signal {
                    Signal::Plan(plan) => Input::PlanProposed(plan),
                    Signal::Change(change) => Input::EpochChangeProposed(change),
                };
                self.drive(at, input)?;
            }
        }
        if any {
            self.line.after(Duration::from_millis(400), Event::Signals);
        }
        Ok(())
    }
}
