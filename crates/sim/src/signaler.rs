//! The signaler as the core sees it: plans proposed, approvals collected, epoch changes handed out.
//!
//! It is trusted for nothing: it may propose two plans for one epoch. It hands out its plan and, once
//! Q members of each committee approved one, the epoch change, again and again until every
//! committee has closed the epoch: nodes may have been away.

use std::collections::BTreeMap;
use std::sync::Arc;

use shardpay_crypto::{SignatureScheme, plan_approval_message, plan_hash};
use shardpay_types::{ChainId, EpochChange, List, Plan, PlanApproval, PlanHash, PublicKey};

use crate::rng::Stream;
use crate::topology::{NodeIndex, Topology};

/// What the signaler hands to a node.
#[derive(Debug, Clone)]
pub(crate) enum Signal {
    /// A plan to approve.
    Plan(Arc<Plan>),
    /// The end of the epoch.
    Change(Arc<EpochChange>),
}

#[derive(Debug)]
struct Proposal {
    plan: Arc<Plan>,
    approvals: BTreeMap<(usize, usize), PlanApproval>,
    /// Which nodes get to see it.
    shown: Vec<bool>,
}

/// The organiser of a run.
pub(crate) struct Signaler {
    chain: ChainId,
    scheme: Arc<dyn SignatureScheme>,
    topology: Topology,
    proposals: BTreeMap<PlanHash, Proposal>,
    change: Option<Arc<EpochChange>>,
    stream: Stream,
}

impl Signaler {
    /// The signaler of the run `seed`.
    pub(crate) fn new(seed: u64, chain: ChainId, scheme: Arc<dyn SignatureScheme>, topology: Topology) -> Self {
        let stream = Stream::new(seed, "signaler acts", 0);
        Self { chain, scheme, topology, proposals: BTreeMap::new(), change: None, stream }
    }

    /// The epoch change that was handed out last.
    pub(crate) fn change(&self) -> Option<&Arc<EpochChange>> {
        self.change.as_ref()
    }

    /// Proposes the plan after `current`, with unchanged members.
    pub(crate) fn propose(&mut self, current: &Plan) {
        let plan = successor(current);
        let shown = vec![true; self.topology.nodes()];
        self.add(plan, shown);
    }

    /// Proposes two plans: one unchanged, one with `stranger` in the place of `replaced`.
    pub(crate) fn equivocate(&mut self, current: &Plan, replaced: NodeIndex, stranger: PublicKey) {
        let share = self.stream.weighted(&[(1, 500), (1, 120)]);
        let second: Vec<_> = (0..self.topology.nodes()).map(|_| self.stream.chance(share)).collect();
        let first = second.iter().map(|shown| !shown).collect();
        let plan = successor(current);
        let mut other = plan.clone();
        let id = self.topology.id(replaced);
        let mut committees = other.committees.into_vec();
        let mut members = committees[id.committee.index()].members.clone().into_vec();
        members[id.member.index()] = stranger;
        committees[id.committee.index()].members = List::bounded(members);
        other.committees = List::bounded(committees);
        self.add(plan, first);
        self.add(other, second);
    }

    fn add(&mut self, plan: Plan, shown: Vec<bool>) {
        let hash = plan_hash(&plan);
        self.proposals.insert(hash, Proposal { plan: Arc::new(plan), approvals: BTreeMap::new(), shown });
    }

    /// A node approved a plan of the epoch after `current`.
    pub(crate) fn approved(&mut self, current: &Plan, approval: &PlanApproval) {
        let (committee, member) = (approval.committee.index(), approval.member.index());
        let key = current.committees.get(committee).and_then(|committee| committee.members.get(member));
        let message = plan_approval_message(&self.chain, &approval.plan, approval.epoch);
        let good = key.is_some_and(|key| self.scheme.verify(key, &message, &approval.signature));
        let Some(proposal) = self.proposals.get_mut(&approval.plan).filter(|_| good) else { return };
        proposal.approvals.insert((committee, member), *approval);
        let newer = self.change.as_ref().is_none_or(|change| change.plan.epoch < proposal.plan.epoch);
        let enough = (0..self.topology.committees()).all(|id| {
            proposal.approvals.keys().filter(|(committee, _)| *committee == id).count() >= self.topology.quorum(id)
        });
        if newer && enough {
            let approvals = proposal.approvals.values().copied().collect();
            let plan = (*proposal.plan).clone();
            self.change = Some(Arc::new(EpochChange { plan, approvals: List::bounded(approvals) }));
        }
    }

    /// What node number `node`, whose committee is in `epoch`, must be told (again).
    pub(crate) fn signals(&self, node: NodeIndex, epoch: u64) -> Vec<Signal> {
        let plans = self
            .proposals
            .values()
            .filter(|proposal| proposal.plan.epoch.get() == epoch + 1 && proposal.shown[node])
            .map(|proposal| Signal::Plan(proposal.plan.clone()));
        let change =
            self.change.iter().filter(|change| change.plan.epoch.get() == epoch + 1).cloned().map(Signal::Change);
        plans.chain(change).collect()
    }
}

fn successor(current: &Plan) -> Plan {
    Plan { epoch: current.epoch.next(), previous: plan_hash(current), ..current.clone() }
}
