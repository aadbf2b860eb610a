//! Plans: the fixed map shards → committees → nodes of one epoch.
//!
//! The genesis plan (epoch 0) carries the protocol's constants and the issuer; its hash is the chain
//! id. Each later plan names the hash of the one before. A decoded plan is well formed
//! ([`Plan::check`] is part of decoding): sizes, distinct keys, shards covered exactly once.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::amount::Amount;
use crate::codec::{Codec, DecodeError, List, Reader};
use crate::ids::{
    COMMITTEES_MAX, CommitteeId, Epoch, MEMBERS_MAX, MemberIndex, PlanHash, PublicKey, SHARDS, ShardId, Signature,
};
use crate::transaction::OPAQUE_BYTES_MAX;
use crate::version::Version;
use crate::wire_struct;

/// f = ⌊(n−1)/3⌋: how many of `members` may be faulty.
pub const fn faults_max(members: usize) -> usize {
    members.saturating_sub(1) / 3
}

/// Q = n − f: how many members make a quorum.
pub const fn quorum(members: usize) -> usize {
    members - faults_max(members)
}

wire_struct! {
    /// Protocol constants, fixed at genesis: all members of all committees must agree on them.
    #[derive(Copy)]
    pub struct Constants {
        /// Rounds below the last committed leader whose blocks can still be committed (60).
        pub gc_depth: u16,
        /// A commit that many rounds past the last anchor makes a ledger block even if empty (32).
        pub anchor_rounds: u16,
        /// Most leaves in one ledger block.
        pub leaves_max: u32,
        /// Most bytes of items in one ledger block.
        pub block_bytes_max: u32,
        /// Smallest amount of a payment or redeem.
        pub amount_min: Amount,
        /// Most coins one committee may mint; committees × cap ≤ 2^63 micro-units.
        pub mint_cap: Amount,
        /// Future sequences of a sender that wait for their turn (64).
        pub future_sequences_max: u16,
        /// Longest opaque payload; 0: the ledger orders none. Anything else is for experiments.
        pub opaque_bytes_max: u32,
    }

    /// One committee: its members and the shards it owns (`shard_first`, `shard_count` of them).
    pub struct CommitteePlan {
        /// First shard owned.
        pub shard_first: u16,
        /// Number of shards owned.
        pub shard_count: u16,
        /// Members' keys; the position is the [`MemberIndex`].
        pub members: List<PublicKey, MEMBERS_MAX>,
    }

    /// A member's consent to a plan: it co-signs one plan per epoch number.
    #[derive(Copy)]
    pub struct PlanApproval {
        /// The plan's hash.
        pub plan: PlanHash,
        /// The plan's epoch.
        pub epoch: Epoch,
        /// The signer's committee in the plan's predecessor (in the plan itself for genesis).
        pub committee: CommitteeId,
        /// The signer in that committee.
        pub member: MemberIndex,
        /// Over chain id ‖ kind `PlanApproval` ‖ plan ‖ epoch.
        pub signature: Signature,
    }

    /// The item that closes an epoch in a committee once ordered: the next plan with the consent of
    /// Q members of *each* committee of the current one. It travels in one DAG block, so plan and
    /// approvals together stay below the block's 512 KiB.
    pub struct EpochChange {
        /// The plan of the next epoch.
        pub plan: Plan,
        /// Ascending by (committee, member), no duplicates.
        pub approvals: List<PlanApproval, 4_096>,
    }
}

impl CommitteePlan {
    /// n, the number of members.
    pub fn size(&self) -> usize {
        self.members.len()
    }
    /// Q = n − f.
    pub fn quorum(&self) -> usize {
        quorum(self.size())
    }
    /// f = ⌊(n−1)/3⌋.
    pub fn faults_max(&self) -> usize {
        faults_max(self.size())
    }
    /// The key of `member`, if there is such a member.
    pub fn key(&self, member: MemberIndex) -> Option<&PublicKey> {
        self.members.get(member.index())
    }
    /// All members, ascending.
    pub fn indices(&self) -> impl Iterator<Item = MemberIndex> + use<> {
        (0..self.size()).map(MemberIndex::at)
    }
    /// Whether the committee owns `shard`.
    pub fn owns(&self, shard: ShardId) -> bool {
        let shard = shard.index();
        let first = usize::from(self.shard_first);
        shard >= first && shard < first + usize::from(self.shard_count)
    }
}

/// The fixed map shards → committees → nodes of one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The protocol's version.
    pub version: Version,
    /// The epoch the plan is for; 0 is genesis.
    pub epoch: Epoch,
    /// Hash of the plan before; zero for genesis.
    pub previous: PlanHash,
    /// Makes two ledgers with equal members different chains.
    pub salt: [u8; 32],
    /// Signs mints.
    pub issuer: PublicKey,
    /// Fixed for the life of the ledger.
    pub constants: Constants,
    /// Ascending, contiguous shards; the position is the [`CommitteeId`].
    pub committees: List<CommitteePlan, COMMITTEES_MAX>,
}

impl Plan {
    /// The committee `id`, if there is one.
    pub fn committee(&self, id: CommitteeId) -> Option<&CommitteePlan> {
        self.committees.get(id.index())
    }

    /// All committee ids, ascending.
    pub fn committee_ids(&self) -> impl Iterator<Item = CommitteeId> + use<> {
        (0..self.committees.len()).map(CommitteeId::at)
    }

    /// The committee that owns `shard`.
    pub fn owner(&self, shard: ShardId) -> CommitteeId {
        let after = self.committees.partition_point(|c| usize::from(c.shard_first) <= shard.index());
        CommitteeId::at(after - 1)
    }

    /// Equal slices of the shards for `count` committees: (first, count) each.
    pub fn even_shards(count: usize) -> Vec<(u16, u16)> {
        let shards = usize::from(SHARDS);
        let bound = |i: usize| i * shards / count;
        (0..count).map(|i| (bound(i) as u16, (bound(i + 1) - bound(i)) as u16)).collect()
    }

    /// Checks everything a plan must hold by itself.
    pub fn check(&self) -> Result<(), DecodeError> {
        let refuse = |why| Err(DecodeError::NotCanonical { what: "Plan", why });
        if (self.epoch == Epoch::ZERO) != (self.previous == PlanHash::ZERO) {
            return refuse("exactly the genesis plan has no predecessor");
        }
        if self.committees.is_empty() {
            return refuse("no committee");
        }
        let mut keys = BTreeSet::new();
        let mut next_shard = 0u32;
        for committee in &self.committees {
            if committee.size() != 1 && committee.size() < 4 {
                return refuse("a committee has 1 member or at least 4");
            }
            if !committee.members.iter().all(|key| keys.insert(*key)) {
                return refuse("a key stands twice");
            }
            if u32::from(committee.shard_first) != next_shard || committee.shard_count == 0 {
                return refuse("shards are not contiguous");
            }
            next_shard += u32::from(committee.shard_count);
        }
        if next_shard != u32::from(SHARDS) {
            return refuse("shards are not covered");
        }
        self.constants.check(self.committees.len())
    }

    /// Whether `next` may follow this plan whose hash is `hash`: next epoch, same ledger, and (until
    /// a drain protocol is decided) the same shards for the same number of committees.
    pub fn accepts_successor(&self, hash: PlanHash, next: &Self) -> bool {
        next.epoch == self.epoch.next()
            && next.previous == hash
            && next.salt == self.salt
            && next.issuer == self.issuer
            && next.constants == self.constants
            && next.committees.len() == self.committees.len()
            && next
                .committees
                .iter()
                .zip(&self.committees)
                .all(|(new, old)| (new.shard_first, new.shard_count) == (old.shard_first, old.shard_count))
    }
}

impl Constants {
    /// The blueprint's values; the mint cap is the largest that `committees` allow.
    pub fn standard(committees: usize) -> Self {
        Self {
            gc_depth: 60,
            anchor_rounds: 32,
            leaves_max: 8_192,
            block_bytes_max: 2 << 20,
            amount_min: Amount::from_micros(1),
            mint_cap: Amount::from_micros((1u64 << 63) / committees.max(1) as u64),
            future_sequences_max: 64,
            opaque_bytes_max: 0,
        }
    }

    /// How long the newest `gc_depth` rounds last at `round_delay` each: what a node may miss and
    /// still catch up from the DAG alone.
    pub fn gc_window(&self, round_delay: Duration) -> Duration {
        round_delay * u32::from(self.gc_depth)
    }

    fn check(&self, committees: usize) -> Result<(), DecodeError> {
        let refuse = |why| Err(DecodeError::NotCanonical { what: "Constants", why });
        if self.gc_depth < 8 || self.gc_depth > 1_024 || self.anchor_rounds == 0 || self.anchor_rounds > self.gc_depth {
            return refuse("gc_depth must be 8..=1024 and anchor_rounds 1..=gc_depth");
        }
        if self.leaves_max < 4_096
            || self.leaves_max > 65_536
            || self.block_bytes_max < 1 << 20
            || self.block_bytes_max > 8 << 20
        {
            return refuse("leaves_max must be 4096..=65536 and block_bytes_max 1..=8 MiB");
        }
        if self.amount_min == Amount::ZERO || self.future_sequences_max > 256 {
            return refuse("amount_min must be positive and future_sequences_max at most 256");
        }
        if self.opaque_bytes_max as usize > OPAQUE_BYTES_MAX {
            return refuse("opaque_bytes_max must be at most 262080");
        }
        if u128::from(self.mint_cap.micros()) * committees as u128 > 1 << 63 {
            return refuse("committees × mint_cap exceeds 2^63");
        }
        Ok(())
    }
}

impl Codec for Plan {
    const MIN_LEN: usize = 1 + 8 + 32 + 32 + 32 + Constants::MIN_LEN + 4;
    fn encode(&self, out: &mut Vec<u8>) {
        self.version.encode(out);
        self.epoch.encode(out);
        self.previous.encode(out);
        self.salt.encode(out);
        self.issuer.encode(out);
        self.constants.encode(out);
        self.committees.encode(out);
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let plan = Self {
            version: Codec::decode(reader)?,
            epoch: Codec::decode(reader)?,
            previous: Codec::decode(reader)?,
            salt: Codec::decode(reader)?,
            issuer: Codec::decode(reader)?,
            constants: Codec::decode(reader)?,
            committees: Codec::decode(reader)?,
        };
        plan.check()?;
        Ok(plan)
    }
}
