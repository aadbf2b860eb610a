//! When the next own block is made.
//!
//! Guarantees: rounds are never jumped (a node that jumps to any higher round it sees can be kept from
//! ever committing): the own block of round r comes after Q blocks and the own block of r − 1, except that
//! rounds up to the last ordered slot need none. It is made when one holds:
//! - C1: the leader block of r − 1 is here and the slot of r − 2 has Q votes or can be skipped; leaders
//!   without a block in the last [`SILENT_ROUNDS`] rounds are not waited for;
//! - C2: the leader timeout ran out, counted from Q blocks of r − 1;
//! - C3: Q blocks of round r exist.
//!
//! Under C1 and C2 the node must have work (quiet when idle) and own blocks are `min_round_delay` apart.
//! Under C3 it is late: waiting would only make it later, and the others' pace bounds it. Rounds below the
//! highest one with Q blocks are caught up with empty blocks.
//!
//! This module only decides; it holds no blocks and sends nothing.

use std::time::Duration;

use shardpay_types::{MemberIndex, Round, Timestamp};

use crate::api::Config;
use crate::commit_rule::CommitRule;
use crate::store::Store;

/// Rounds without a block after which a leader is not waited for.
pub(crate) const SILENT_ROUNDS: u64 = 8;

/// The state of the own chain's clockwork.
#[derive(Debug)]
pub(crate) struct Pacemaker {
    /// When the last own block was made; `None`: not in this process.
    pub(crate) own_at: Option<Timestamp>,
    /// When the last own block with payload was made.
    pub(crate) payload_at: Option<Timestamp>,
    /// The instance's start: round 0 has Q blocks since then.
    started: Timestamp,
    /// How often the last own block was sent again, and when last.
    resends: u32,
    resent_at: Option<Timestamp>,
    /// When to look again.
    pub(crate) due: Option<Timestamp>,
}

/// Why the next own block may be made, or when to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// C1.
    Leader,
    /// C2.
    Timeout,
    /// Neither yet: look again then at the latest.
    Wait(Timestamp),
}

impl Pacemaker {
    pub(crate) const fn new(now: Timestamp) -> Self {
        Self { own_at: None, payload_at: None, started: now, resends: 0, resent_at: None, due: None }
    }

    /// An own block was made.
    pub(crate) fn made(&mut self, now: Timestamp, payload: bool) {
        self.own_at = Some(now);
        if payload {
            self.payload_at = Some(now);
        }
        self.resends = 0;
        self.resent_at = None;
    }

    /// C1 and C2 for the own block of `round`, when Q blocks of the round before are here. `delay` is
    /// the pace.
    pub(crate) fn ready(&self, now: Timestamp, round: Round, delay: Duration, view: &View<'_>) -> Verdict {
        let paced = self.own_at.map_or(Timestamp::ZERO, |at| at.after(delay));
        if view.leader_here(round) {
            return if paced <= now { Verdict::Leader } else { Verdict::Wait(paced) };
        }
        let quorum_at = view.store.layer(round.previous()).and_then(|layer| layer.quorum_at).unwrap_or(self.started);
        let due = quorum_at.max(self.started).after(view.leader_timeout(round)).max(paced);
        if due <= now { Verdict::Timeout } else { Verdict::Wait(due) }
    }

    /// When the own block is to be sent again because the round it belongs to has no quorum: doubling
    /// waits from the leader timeout on.
    pub(crate) fn resend_due(&self, config: &Config) -> Timestamp {
        let last = self.resent_at.or(self.own_at).unwrap_or(self.started);
        let wait = config.leader_timeout.saturating_mul(1 << self.resends.min(16));
        last.after(wait.min(config.leader_timeout_max))
    }

    /// The own block was sent again.
    pub(crate) fn resent(&mut self, now: Timestamp) {
        self.resends = self.resends.saturating_add(1);
        self.resent_at = Some(now);
    }
}

/// What C1 and C2 look at.
pub(crate) struct View<'a> {
    pub(crate) config: &'a Config,
    pub(crate) store: &'a Store,
    pub(crate) rule: &'a CommitRule,
}

impl View<'_> {
    /// C1.
    fn leader_here(&self, round: Round) -> bool {
        let (before, slot) = (round.previous(), round.previous().previous());
        let leader = self.rule.leader(before);
        let present = before == Round::ZERO
            || leader == self.config.own
            || self.silent(leader, round)
            || self.store.authors_at(before).contains(leader);
        let settled =
            slot == Round::ZERO || self.silent(self.rule.leader(slot), round) || self.rule.settled(self.store, slot);
        present && settled
    }

    /// Nobody waits for a leader without a block in the last rounds.
    fn silent(&self, leader: MemberIndex, round: Round) -> bool {
        self.store.highest_round_of(leader).plus(SILENT_ROUNDS) < round
    }

    /// C2: doubles per n rounds without a committed leader; three rounds pass in the best case.
    fn leader_timeout(&self, round: Round) -> Duration {
        let without = round.since(self.rule.last_commit().plus(3));
        let doublings = (without / self.config.context.members.size().max(1) as u64).min(16);
        self.config.leader_timeout.saturating_mul(1 << doublings).min(self.config.leader_timeout_max)
    }
}
