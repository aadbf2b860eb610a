//! Plans, co-signatures, and the way from one epoch to the next.

use std::collections::BTreeMap;

use shardpay_client::signaler::{ApprovalReply, CloseReply, ErrorCode, Phase};
use shardpay_crypto::{SignatureScheme, plan_approval_message, plan_hash};
use shardpay_types::{CommitteePlan, Epoch, EpochChange, List, Plan, PlanApproval};

use super::{Effect, Network, Proposed, Seat, seat};
use crate::refusal::Refusal;
use crate::store::{EpochStart, Row};

impl Network {
    pub(super) fn propose(&mut self, plan: Plan, effect: &mut Effect) {
        let (epoch, hash) = (plan.epoch, plan_hash(&plan));
        effect.rows.push(Row::Plan(Box::new(plan.clone())));
        self.plans.insert(epoch, Proposed { plan, hash, approvals: BTreeMap::new(), change: None });
        self.touch(effect);
    }

    /// A member co-signs a plan. Late ones and repetitions are taken too.
    pub(crate) fn approve(&mut self, approval: &PlanApproval, now_us: u64) -> Result<(ApprovalReply, Effect), Refusal> {
        let epoch = approval.epoch;
        let unknown = || Refusal::of(ErrorCode::UnknownPlan, "approval", "this plan was not proposed for this epoch");
        let proposed = self.plans.get(&epoch).filter(|plan| plan.hash == approval.plan).ok_or_else(unknown)?;
        let signers = self.plans.get(&epoch.previous()).unwrap_or(proposed);
        let key = signers.plan.committee(approval.committee).and_then(|committee| committee.key(approval.member));
        let key = key.ok_or_else(|| Refusal::field("approval", "the plan before has no such member"))?;
        let chain = self.chain().ok_or_else(unknown)?;
        let message = plan_approval_message(&chain, &approval.plan, epoch);
        if !self.scheme.verify(key, &message, &approval.signature) {
            return Err(Refusal::of(ErrorCode::BadSignature, "approval", "not this member's signature"));
        }
        let mut effect = Effect::default();
        if !proposed.approvals.contains_key(&seat(approval)) {
            effect.rows.push(Row::Approval(*approval));
            self.touch(&mut effect);
            let proposed = self.plans.get_mut(&epoch).ok_or_else(unknown)?;
            proposed.approvals.insert(seat(approval), *approval);
            self.complete(epoch, now_us, &mut effect);
        }
        let approvals = self.plans.get(&epoch).map_or(0, |plan| plan.approvals.len());
        Ok((ApprovalReply { version: self.version(), approvals, complete: self.is_complete(epoch) }, effect))
    }

    /// Whether Q members of each committee co-signed the plan of `epoch`.
    pub(super) fn is_complete(&self, epoch: Epoch) -> bool {
        let Some(proposed) = self.plans.get(&epoch) else { return false };
        let signers = self.plans.get(&epoch.previous()).unwrap_or(proposed);
        signers.plan.committees.iter().enumerate().all(|(id, committee)| {
            let signed = proposed.approvals.keys().filter(|(committee, _): &&Seat| *committee == id).count();
            signed >= committee.quorum()
        })
    }

    fn complete(&mut self, epoch: Epoch, now_us: u64, effect: &mut Effect) {
        if !self.is_complete(epoch) {
            return;
        }
        if epoch == Epoch::ZERO {
            if self.epochs.is_empty() {
                self.start(epoch, now_us, effect);
            }
            return;
        }
        let Some(proposed) = self.plans.get_mut(&epoch).filter(|plan| plan.change.is_none()) else { return };
        let approvals = List::bounded(proposed.approvals.values().copied().collect());
        let change = EpochChange { plan: proposed.plan.clone(), approvals };
        proposed.change = Some(change.clone());
        effect.rows.push(Row::Change(Box::new(change)));
        self.touch(effect);
    }

    fn start(&mut self, epoch: Epoch, now_us: u64, effect: &mut Effect) {
        let heights = self.reported(|live| live.progress.certified.get());
        let start = EpochStart { started_us: now_us, heights };
        effect.rows.push(Row::Epoch(epoch, start.clone()));
        self.epochs.insert(epoch, start);
        self.touch(effect);
    }

    /// Handover ends when f + 1 members of each committee say they run the next epoch: one of them is honest,
    /// so that committee closed the old one.
    pub(super) fn finish_handover(&mut self, now_us: u64, effect: &mut Effect) {
        if self.phase() != Phase::Handover {
            return;
        }
        let next = self.epoch().next();
        if self.reported(|live| live.progress.epoch.get()).iter().all(|epoch| *epoch >= next.get()) {
            self.start(next, now_us, effect);
        }
    }

    pub(super) fn close_by_clock(&mut self, now_us: u64, effect: &mut Effect) {
        if self.phase() != Phase::Producing {
            return;
        }
        let Some(start) = self.epochs.get(&self.epoch()) else { return };
        let clock = self.settings.clock;
        let elapsed_us = u128::from(now_us.saturating_sub(start.started_us));
        let mut due = clock.after.is_some_and(|after| elapsed_us >= after.as_micros());
        if let Some(heights) = clock.heights {
            let reported = self.reported(|live| live.progress.certified.get());
            let mut pairs = reported.iter().zip(&start.heights);
            due |= pairs.any(|(now, then)| now.saturating_sub(*then) >= heights);
        }
        if due {
            self.propose_successor(effect);
        }
    }

    /// The operator ends `epoch`.
    pub(crate) fn close(&mut self, epoch: Epoch) -> Result<(CloseReply, Effect), Refusal> {
        let mut effect = Effect::default();
        let wrong = |detail| Err(Refusal::of(ErrorCode::WrongPhase, "epoch", detail));
        match self.phase() {
            Phase::Registering | Phase::Genesis => return wrong("no epoch runs yet".to_owned()),
            _ if epoch > self.epoch() => return wrong(format!("epoch {} runs", self.epoch())),
            Phase::Producing if epoch == self.epoch() => self.propose_successor(&mut effect),
            Phase::Producing | Phase::Closing | Phase::Handover => {}
        }
        Ok((CloseReply { version: self.version(), phase: self.phase(), epoch: self.epoch() }, effect))
    }

    fn propose_successor(&mut self, effect: &mut Effect) {
        let Some(current) = self.current() else { return };
        let plan = Plan { epoch: current.plan.epoch.next(), previous: current.hash, ..current.plan.clone() };
        self.propose(plan, effect);
    }

    /// Per committee, the largest number that f + 1 members reach.
    fn reported(&self, number: impl Fn(&super::Live) -> u64) -> Vec<u64> {
        let committees = self.current().map_or(&[][..], |current| &current.plan.committees[..]);
        let of = |committee: &CommitteePlan| {
            let mut numbers: Vec<u64> =
                committee.members.iter().map(|key| self.live.get(key).map_or(0, &number)).collect();
            numbers.sort_unstable_by(|a, b| b.cmp(a));
            numbers[committee.faults_max()]
        };
        committees.iter().map(of).collect()
    }
}
