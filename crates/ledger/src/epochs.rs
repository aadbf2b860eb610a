//! Keysets: which plan each committee runs by, as this ledger's state has recorded it (DESIGN §6, §7).
//!
//! Guarantees: a header of another committee counts only when it is of that committee's recorded epoch
//! and carries Q signatures of that epoch's members, or when it *is* the closing header that opened the
//! recorded epoch. A closing moves a committee exactly one epoch on, by a plan that is the successor
//! of the recorded one. An epoch change needs Q distinct members of *each* committee of the current plan.

use std::sync::Arc;

use shardpay_crypto::{SignatureScheme, SignedItem, header_hash, header_message, plan_approval_message, plan_hash};
use shardpay_types::{
    CertifiedHeader, ChainId, ClosingRecord, CommitteeId, CommitteePlan, Epoch, EpochChange, HeaderHash, Plan, PlanHash,
};

use crate::api::ItemReject;

/// What is recorded about a committee.
#[derive(Debug, Clone)]
pub(crate) struct Keyset {
    pub(crate) plan: Arc<Plan>,
    pub(crate) plan_hash: PlanHash,
    /// The closing header of the epoch before; zero in epoch 0, and for the own committee.
    pub(crate) closing: HeaderHash,
}

impl Keyset {
    /// The keyset of a plan known from genesis or from the own ledger.
    pub(crate) fn own(plan: &Arc<Plan>) -> Self {
        Self { plan: plan.clone(), plan_hash: plan_hash(plan), closing: HeaderHash::ZERO }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.plan.epoch
    }
}

/// What signatures are checked with and against.
#[derive(Clone)]
pub(crate) struct Judge {
    pub(crate) scheme: Arc<dyn SignatureScheme>,
    pub(crate) chain: ChainId,
    pub(crate) own: CommitteeId,
}

impl Judge {
    /// Whether Q distinct members signed the header.
    pub(crate) fn certified(&self, members: &CommitteePlan, hash: &HeaderHash, certified: &CertifiedHeader) -> bool {
        certified.certificate.signatures().len() >= members.quorum()
            && self.signers(members, hash, certified) >= members.quorum()
    }

    /// How many distinct members signed the header.
    pub(crate) fn signers(&self, members: &CommitteePlan, hash: &HeaderHash, certified: &CertifiedHeader) -> usize {
        let message = header_message(&self.chain, hash);
        let signatures = certified.certificate.signatures();
        let known = signatures.iter().filter_map(|signed| {
            let key = *members.key(signed.member)?;
            Some(SignedItem { key, message: &message, signature: signed.signature })
        });
        let items: Vec<SignedItem<'_>> = known.collect();
        self.scheme.verify_batch(&items).iter().filter(|good| **good).count()
    }

    fn quorum_signed(&self, members: &CommitteePlan, items: &[SignedItem<'_>]) -> bool {
        items.len() >= members.quorum()
            && self.scheme.verify_batch(items).iter().filter(|good| **good).count() >= members.quorum()
    }

    /// Whether a header of `committee` may prove messages and cursors here.
    pub(crate) fn header(
        &self,
        keyset: &Keyset,
        committee: CommitteeId,
        certified: &CertifiedHeader,
    ) -> Result<(), ItemReject> {
        let header = &certified.header;
        if header.chain != self.chain || header.committee != committee {
            return Err(ItemReject::WrongCommittee);
        }
        let hash = header_hash(header);
        if hash == keyset.closing {
            return Ok(());
        }
        if header.epoch != keyset.epoch() {
            return Err(ItemReject::WrongEpoch);
        }
        let members = keyset.plan.committee(committee).ok_or(ItemReject::WrongCommittee)?;
        if self.certified(members, &hash, certified) { Ok(()) } else { Err(ItemReject::BadCertificate) }
    }

    /// The keyset that a closing record of another committee teaches.
    pub(crate) fn closing(&self, keyset: &Keyset, record: &ClosingRecord) -> Result<Keyset, ItemReject> {
        let header = &record.certified.header;
        if header.epoch < keyset.epoch() {
            return Err(ItemReject::Duplicate);
        }
        if header.epoch > keyset.epoch() {
            return Err(ItemReject::WrongEpoch);
        }
        let next = plan_hash(&record.plan);
        if header.next_plan != Some(next) {
            return Err(ItemReject::Malformed);
        }
        if !succeeds(keyset, &record.plan) {
            return Err(ItemReject::BadPlan);
        }
        self.header(keyset, header.committee, &record.certified)?;
        let closing = header_hash(header);
        Ok(Keyset { plan: Arc::new(record.plan.clone()), plan_hash: next, closing })
    }

    /// Whether an epoch change may close the epoch of `current`.
    pub(crate) fn epoch_change(&self, current: &Keyset, change: &EpochChange) -> Result<(), ItemReject> {
        if !succeeds(current, &change.plan) {
            return Err(ItemReject::BadPlan);
        }
        let ascending = change
            .approvals
            .windows(2)
            .all(|pair| (pair[0].committee, pair[0].member) < (pair[1].committee, pair[1].member));
        if !ascending {
            return Err(ItemReject::Malformed);
        }
        let (plan, epoch) = (plan_hash(&change.plan), change.plan.epoch);
        let message = plan_approval_message(&self.chain, &plan, epoch);
        for id in current.plan.committee_ids() {
            let members = current.plan.committee(id).expect("an id of the plan");
            let mine = change.approvals.iter().filter(|a| a.committee == id && a.plan == plan && a.epoch == epoch);
            let items = mine.filter_map(|approval| {
                let key = *members.key(approval.member)?;
                Some(SignedItem { key, message: &message, signature: approval.signature })
            });
            if !self.quorum_signed(members, &items.collect::<Vec<_>>()) {
                return Err(ItemReject::BadPlan);
            }
        }
        Ok(())
    }
}

fn succeeds(current: &Keyset, next: &Plan) -> bool {
    current.plan.accepts_successor(current.plan_hash, next) && next.check().is_ok()
}
