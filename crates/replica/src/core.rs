//! What every part of the replica works with: configuration, keys, orders out, counters, the time.

use std::sync::Arc;
use std::time::Duration;

use shardpay_crypto::{SignatureScheme, Signer, plan_hash};
use shardpay_types::{CommitteeId, CommitteePlan, Epoch, MemberIndex, NodeId, PeerMessage, Plan, PlanHash, Timestamp};

use crate::config::Config;
use crate::counters::Counters;
use crate::withhold::Outbox;

/// Shared by all parts; each gets it as an argument.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) scheme: Arc<dyn SignatureScheme>,
    pub(crate) out: Outbox,
    pub(crate) refused: Counters,
    /// Of the input being handled.
    pub(crate) now: Timestamp,
    chance: u64,
}

impl Core {
    pub(crate) fn new(
        now: Timestamp,
        config: Config,
        signer: Arc<dyn Signer>,
        scheme: Arc<dyn SignatureScheme>,
    ) -> Self {
        let member = config.own.member.index() as u64;
        let chance = config.hash_seed ^ (member + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self { config, signer, scheme, out: Outbox::default(), refused: Counters::new(), now, chance }
    }

    pub(crate) fn send(&mut self, to: NodeId, message: PeerMessage) {
        self.out.send(to, Arc::new(message));
    }

    /// `duration`, an eighth shorter or longer: members must not fall into step. Jitter only, not
    /// secrecy: splitmix64.
    pub(crate) fn jittered(&mut self, duration: Duration) -> Duration {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let span = (duration.as_micros() as u64 / 4).max(1);
        duration - duration / 8 + Duration::from_micros((mixed ^ (mixed >> 31)) % span)
    }
}

/// A plan and our place in it.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(crate) plan: Arc<Plan>,
    pub(crate) hash: PlanHash,
    pub(crate) committee: CommitteeId,
    /// `None`: the plan goes on without us.
    pub(crate) own: Option<MemberIndex>,
}

impl Membership {
    /// Our place in `plan`, found by our key.
    pub(crate) fn new(plan: Arc<Plan>, committee: CommitteeId, signer: &dyn Signer) -> Self {
        let key = signer.public_key();
        let members = plan.committee(committee).map(|c| &c.members[..]).unwrap_or_default();
        let own = members.iter().position(|member| *member == key).map(MemberIndex::at);
        Self { hash: plan_hash(&plan), plan, committee, own }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.plan.epoch
    }

    /// # Panics
    /// When the plan lacks our committee: plans keep the number of committees (`accepts_successor`).
    pub(crate) fn members(&self) -> &CommitteePlan {
        self.plan.committee(self.committee).expect("successor plans keep the committees")
    }

    /// All other members of our committee.
    pub(crate) fn peers(&self) -> impl Iterator<Item = NodeId> + use<> {
        let (committee, own) = (self.committee, self.own);
        self.members()
            .indices()
            .filter(move |member| Some(*member) != own)
            .map(move |member| NodeId { committee, member })
    }
}

/// A wait that doubles up to eight times its first length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    doublings: u32,
}

impl Backoff {
    pub(crate) const START: Self = Self { doublings: 0 };

    /// Whether several waits have passed since the start.
    pub(crate) fn is_long(&self) -> bool {
        self.doublings > 1
    }

    /// The next wait.
    pub(crate) fn next(&mut self, first: Duration) -> Duration {
        let wait = first * (1 << self.doublings);
        self.doublings = (self.doublings + 1).min(3);
        wait
    }
}

/// The earlier of two deadlines.
pub(crate) fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
