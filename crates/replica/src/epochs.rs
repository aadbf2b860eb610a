//! Plans, the epoch's end, and its checkpoint (DESIGN §7).
//!
//! Guarantees: one plan is approved per epoch number, also across restarts (the approval leaves after its
//! record is durable); an equivocating signaler can so collect Q approvals per committee for at most one
//! of its plans. A checkpoint is signed for what this node's ledger holds, and certified by Q equal ones.
//!
//! The signaler is trusted for liveness only: what it proposes is checked here, and acts only once it
//! is ordered and executed.

use std::collections::BTreeMap;
use std::sync::Arc;

use shardpay_crypto::{SignedItem, Verified, checkpoint_message, plan_approval_message, plan_hash};
use shardpay_types::{
    Certificate, CertifiedCheckpoint, Checkpoint, CheckpointVote, Epoch, EpochChange, MemberIndex, MemberSignature,
    NodeId, PeerMessage, Plan, PlanApproval, PlanHash, Round, Timestamp,
};

use crate::api::{LedgerOrder, Output, PersistId, Record};
use crate::core::{Backoff, Core, Membership};
use crate::counters::Refused;

/// Approvals remembered; older epochs are over.
const APPROVALS_MAX: usize = 16;
/// How often an own checkpoint vote is sent. When all members restart between an epoch's end and its
/// certificate, too few can compute the state at that end again: who still can must not ask for ever.
const SENDS_MAX: u32 = 12;

#[derive(Debug, Clone, Copy)]
struct Approved {
    plan: PlanHash,
    durable_at: PersistId,
}

/// Signatures over one epoch's end.
#[derive(Debug)]
struct Closing {
    /// Of the epoch that closed.
    members: Membership,
    own: Option<CheckpointVote>,
    votes: BTreeMap<MemberIndex, CheckpointVote>,
    answered: BTreeMap<MemberIndex, Timestamp>,
    certified: bool,
    resend_at: Option<Timestamp>,
    backoff: Backoff,
    sent: u32,
}

pub(crate) struct Epochs {
    approved: BTreeMap<Epoch, Approved>,
    change: Option<Arc<EpochChange>>,
    proposed: Option<Round>,
    closing: Option<Closing>,
    /// Votes of members that closed the running epoch before we did.
    early: BTreeMap<MemberIndex, CheckpointVote>,
}

impl Epochs {
    pub(crate) fn new(approvals: &[(Epoch, PlanHash)]) -> Self {
        let durable_at = PersistId::default();
        let approved = approvals.iter().map(|(epoch, plan)| (*epoch, Approved { plan: *plan, durable_at }));
        Self { approved: approved.collect(), change: None, proposed: None, closing: None, early: BTreeMap::new() }
    }

    /// The signaler proposes a plan: approve it, unless another one was approved for its epoch. `unfinished`:
    /// headers of an earlier epoch lack their certificates here. Were its successor closed now, a member still
    /// in that epoch could find neither its blocks nor f + 1 honest members with their certificates.
    pub(crate) fn plan_proposed(&mut self, core: &mut Core, members: &Membership, plan: &Plan, unfinished: bool) {
        if unfinished {
            return core.refused.count(Refused::PlanTooEarly);
        }
        let Some(own) = members.own else { return core.refused.count(Refused::BadPlan) };
        if plan.check().is_err() || !members.plan.accepts_successor(members.hash, plan) {
            return core.refused.count(Refused::BadPlan);
        }
        let (epoch, hash) = (plan.epoch, plan_hash(plan));
        let durable_at = match self.approved.get(&epoch) {
            Some(approved) if approved.plan != hash => return core.refused.count(Refused::SecondPlan),
            Some(approved) => approved.durable_at,
            None => {
                let id = core.out.persist(Record::PlanApproval { epoch, plan: hash });
                self.approved.insert(epoch, Approved { plan: hash, durable_at: id });
                id
            }
        };
        while self.approved.len() > APPROVALS_MAX {
            self.approved.pop_first();
        }
        let signature = core.signer.sign(&plan_approval_message(&core.config.chain, &hash, epoch));
        let approval = PlanApproval { plan: hash, epoch, committee: members.committee, member: own, signature };
        core.out.push_after(durable_at, Output::PlanApproved(Box::new(approval)));
    }

    /// The signaler brings the approvals that close the epoch.
    pub(crate) fn change_proposed(&mut self, core: &mut Core, members: &Membership, change: Arc<EpochChange>) {
        if change.plan.check().is_err() || !members.plan.accepts_successor(members.hash, &change.plan) {
            return core.refused.count(Refused::BadPlan);
        }
        if !approvals_suffice(core, members, &change) {
            return core.refused.count(Refused::BadApprovals);
        }
        if self.change.is_none() {
            self.change = Some(change);
            self.proposed = None;
        }
    }

    /// What the next own block carries.
    pub(crate) fn offer(&self) -> Option<&Arc<EpochChange>> {
        self.change.as_ref().filter(|_| self.proposed.is_none())
    }

    pub(crate) fn proposed(&mut self, round: Round) {
        self.proposed = Some(round);
    }

    pub(crate) fn reclaim(&mut self, lost: impl Fn(Round) -> bool) {
        self.proposed = self.proposed.filter(|round| !lost(*round));
    }

    /// Own blocks were executed: a change that did not close the epoch never will.
    pub(crate) fn settled(&mut self, core: &mut Core, is_executed: impl Fn(Round) -> bool) {
        if self.proposed.is_some_and(is_executed) {
            self.change = None;
            self.proposed = None;
            core.refused.count(Refused::LedgerItem);
        }
    }

    /// The epoch of `members` has closed: a checkpoint is on order.
    pub(crate) fn closed(&mut self, members: Membership) {
        self.change = None;
        self.proposed = None;
        let epoch = members.epoch();
        let mut votes = std::mem::take(&mut self.early);
        votes.retain(|_, vote| vote.checkpoint.epoch == epoch);
        self.closing = Some(Closing {
            members,
            own: None,
            votes,
            answered: BTreeMap::new(),
            certified: false,
            resend_at: None,
            backoff: Backoff::START,
            sent: 0,
        });
    }

    /// The epoch of `members` had closed and its checkpoint was certified before a restart.
    pub(crate) fn recall(&mut self, members: Membership, certified: &CertifiedCheckpoint) {
        let own = members.own;
        self.closed(members);
        let Some(closing) = &mut self.closing else { return };
        closing.certified = true;
        let signatures = certified.certificate.signatures().iter();
        closing.votes = signatures
            .map(|signed| {
                let vote = CheckpointVote { checkpoint: certified.checkpoint.clone(), signature: signed.signature };
                (signed.member, vote)
            })
            .collect();
        closing.own = own.and_then(|own| closing.votes.get(&own).cloned());
    }

    /// The ledger hashed its state at the epoch's end: sign it.
    pub(crate) fn checkpoint(&mut self, core: &mut Core, checkpoint: Checkpoint) {
        let Some(closing) = self.closing.as_mut().filter(|closing| closing.members.epoch() == checkpoint.epoch) else {
            return;
        };
        let Some(own) = closing.members.own else { return };
        let signature = core.signer.sign(&checkpoint_message(&checkpoint));
        let vote = CheckpointVote { checkpoint, signature };
        closing.votes.insert(own, vote.clone());
        closing.own = Some(vote);
        closing.send_all(core);
        closing.try_certify(core);
    }

    /// A member's signature over an epoch's end.
    pub(crate) fn vote(&mut self, core: &mut Core, running: Epoch, from: NodeId, vote: Verified<Box<CheckpointVote>>) {
        let vote = *vote.into_inner();
        if vote.checkpoint.epoch == running {
            self.early.insert(from.member, vote);
            return;
        }
        match self.closing.as_mut().filter(|closing| closing.members.epoch() == vote.checkpoint.epoch) {
            Some(closing) => closing.vote(core, from, vote),
            None => core.refused.count(Refused::WrongEpoch),
        }
    }

    pub(crate) fn next_timer(&self) -> Option<Timestamp> {
        self.closing.as_ref().and_then(|closing| closing.resend_at)
    }

    pub(crate) fn tick(&mut self, core: &mut Core) {
        if let Some(closing) =
            self.closing.as_mut().filter(|closing| closing.resend_at.is_some_and(|at| at <= core.now))
        {
            closing.send_all(core);
        }
    }
}

impl Closing {
    fn send_all(&mut self, core: &mut Core) {
        let Some(own) = self.own.clone() else { return };
        let message = Arc::new(PeerMessage::CheckpointVote(own));
        for peer in self.members.peers() {
            core.out.send(peer, message.clone());
        }
        self.sent += 1;
        let wait = self.backoff.next(core.config.resend);
        self.resend_at = (self.sent < SENDS_MAX).then(|| core.now.after(core.jittered(wait)));
    }

    fn vote(&mut self, core: &mut Core, from: NodeId, vote: CheckpointVote) {
        let before = self.votes.insert(from.member, vote);
        if before.is_some() {
            // it resends, so it lacks ours
            self.answer(core, from);
        }
        self.try_certify(core);
    }

    fn answer(&mut self, core: &mut Core, to: NodeId) {
        let due = self.answered.get(&to.member).is_none_or(|at| core.now >= at.after(core.config.resend));
        if let Some(own) = self.own.clone().filter(|_| due) {
            self.answered.insert(to.member, core.now);
            core.send(to, PeerMessage::CheckpointVote(own));
        }
    }

    fn try_certify(&mut self, core: &mut Core) {
        let Some(own) = self.own.as_ref().filter(|_| !self.certified) else { return };
        let equal = self.votes.iter().filter(|(_, vote)| vote.checkpoint == own.checkpoint);
        let signatures: Vec<MemberSignature> =
            equal.map(|(member, vote)| MemberSignature { member: *member, signature: vote.signature }).collect();
        if signatures.len() < self.members.members().quorum() {
            let conflicting = self.votes.len() - signatures.len();
            if conflicting > self.members.members().faults_max() {
                core.refused.count(Refused::CheckpointConflicts);
            }
            return;
        }
        let Some(certificate) = Certificate::new(signatures) else { return };
        let certified = Box::new(CertifiedCheckpoint { checkpoint: own.checkpoint.clone(), certificate });
        self.certified = true;
        self.resend_at = None;
        core.out.push(Output::Ledger(LedgerOrder::StoreCheckpoint(certified.clone())));
        core.out.push(Output::CheckpointCertified(certified));
    }
}

/// Whether Q distinct members of each committee of the current plan signed the change.
fn approvals_suffice(core: &Core, members: &Membership, change: &EpochChange) -> bool {
    let ascending = |pair: &[PlanApproval]| (pair[0].committee, pair[0].member) < (pair[1].committee, pair[1].member);
    if !change.approvals.windows(2).all(ascending) {
        return false;
    }
    let (plan, epoch) = (plan_hash(&change.plan), change.plan.epoch);
    let message = plan_approval_message(&core.config.chain, &plan, epoch);
    members.plan.committee_ids().all(|id| {
        let Some(committee) = members.plan.committee(id) else { return false };
        let mine = change.approvals.iter().filter(|approval| approval.committee == id && approval.plan == plan);
        let items: Vec<SignedItem<'_>> = mine
            .filter_map(|approval| {
                let key = *committee.key(approval.member)?;
                Some(SignedItem { key, message: &message, signature: approval.signature })
            })
            .collect();
        items.len() >= committee.quorum()
            && core.scheme.verify_batch(&items).into_iter().filter(|good| *good).count() >= committee.quorum()
    })
}
