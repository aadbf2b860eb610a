//! The commit rule: which leader slots are committed, which are skipped (DESIGN §4).
//!
//! For the slot of round r, led by author r mod n: a *vote* is a block of r + 1 with the leader's block
//! as a parent, a *certificate* a block of r + 2 with votes by a quorum of authors among its parents.
//! Certificates by a quorum of authors commit the block directly; a quorum of authors at r + 1 without a
//! parent in the slot skip it directly; else its *anchor* decides: the lowest slot at round ≥ r + 3 that
//! is not decided skip. An undecided anchor leaves the slot undecided, a committed one commits it iff a
//! certificate stands in its history.
//!
//! Guarantees: decisions are final; with at most f faulty members, all nodes decide alike, whatever they
//! have seen so far (two quorums share an honest author, who made one block per round).
//!
//! Tallies are kept up to date per accepted block. Indirect decisions can only follow from a direct one
//! (a history never changes), so nothing else is evaluated in between.

use shardpay_types::{BlockRef, MemberIndex, MemberSet, Round};

use crate::api::{AnchorRule, Rules};
use crate::store::{BlockId, Decision, Store};

/// How many slots were decided in which way.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Decided {
    pub(crate) direct_commits: u64,
    pub(crate) direct_skips: u64,
    pub(crate) indirect_commits: u64,
    pub(crate) indirect_skips: u64,
}

/// The commit rule of one committee.
#[derive(Debug)]
pub(crate) struct CommitRule {
    rules: Rules,
    members: usize,
    /// A slot was decided directly since the last evaluation.
    stale: bool,
    /// Highest slot decided commit.
    last_commit: Round,
    pub(crate) decided: Decided,
}

impl CommitRule {
    pub(crate) fn new(rules: Rules, members: usize) -> Self {
        Self { rules, members, stale: false, last_commit: Round::ZERO, decided: Decided::default() }
    }

    /// The leader of a round.
    pub(crate) fn leader(&self, round: Round) -> MemberIndex {
        MemberIndex::at((round.get() % self.members as u64) as usize)
    }

    /// Highest round whose leader is known to be committed.
    pub(crate) const fn last_commit(&self) -> Round {
        self.last_commit
    }

    /// A leader was committed without this rule (before a restart, or by certified ledger blocks).
    pub(crate) fn committed_before(&mut self, round: Round) {
        self.last_commit = self.last_commit.max(round);
    }

    /// The decided prefix moved without this rule: evaluate at the next opportunity.
    pub(crate) fn reconsider(&mut self) {
        self.stale = true;
    }

    /// C1's second half: whether the slot has votes by a quorum for one block, can be skipped, or is
    /// decided.
    pub(crate) fn settled(&self, store: &Store, round: Round) -> bool {
        store.layer(round).is_none_or(|layer| {
            layer.slot.decision != Decision::Undecided
                || layer.slot.blames.len() >= self.rules.quorum
                || layer.slot.tallies.iter().any(|tally| tally.votes.len() >= self.rules.quorum)
        })
    }

    /// Counts what a block just accepted says about the slots one and two rounds below it. Two
    /// certified blocks in one slot come back: more than f members are faulty.
    pub(crate) fn record(&mut self, store: &mut Store, id: BlockId, ordered: Round) -> Option<[BlockRef; 2]> {
        self.record_vote(store, id, ordered);
        self.record_certificates(store, id, ordered)
    }

    fn record_vote(&mut self, store: &mut Store, id: BlockId, ordered: Round) {
        let round = id.round.previous();
        let leader = self.leader(round);
        let Some(entry) = store.entry_mut(id) else { return };
        let voted = entry.parents.iter().find(|parent| parent.round == round && parent.author == leader);
        entry.vote = voted.map(|parent| parent.twin);
        let vote = entry.vote;
        let Some(layer) = store.layer_mut(round) else { return };
        if let Some(twin) = vote {
            tally(&mut layer.slot.tallies, twin).votes.insert(id.author);
            return;
        }
        layer.slot.blames.insert(id.author);
        // Direct skip.
        let decides = layer.slot.blames.len() >= self.rules.quorum && round > ordered;
        if decides && layer.slot.decision == Decision::Undecided {
            layer.slot.decision = Decision::Skip;
            self.decided.direct_skips += 1;
            self.stale = true;
        }
    }

    fn record_certificates(&mut self, store: &mut Store, id: BlockId, ordered: Round) -> Option<[BlockRef; 2]> {
        let voters_round = id.round.previous();
        let round = voters_round.previous();
        let candidates = store.layer(round)?.slot.tallies.len();
        for twin in 0..candidates as u32 {
            let voters: MemberSet = store
                .entry(id)?
                .parents
                .iter()
                .filter(|parent| parent.round == voters_round)
                .filter(|parent| store.entry(**parent).is_some_and(|voter| voter.vote == Some(twin)))
                .map(|parent| parent.author)
                .collect();
            if voters.len() < self.rules.quorum {
                continue;
            }
            store.entry_mut(id)?.certifies = Some(twin);
            if let Some(fork) =
                self.record_certificate(store, id, BlockId { round, author: self.leader(round), twin }, ordered)
            {
                return Some(fork);
            }
        }
        None
    }

    fn record_certificate(
        &mut self,
        store: &mut Store,
        id: BlockId,
        leader: BlockId,
        ordered: Round,
    ) -> Option<[BlockRef; 2]> {
        let slot = &mut store.layer_mut(leader.round)?.slot;
        tally(&mut slot.tallies, leader.twin).certificates.insert(id.author);
        let certified =
            |twin: &u32| slot.tallies.get(*twin as usize).is_some_and(|tally| !tally.certificates.is_empty());
        let other = (0..slot.tallies.len() as u32).filter(|twin| *twin != leader.twin).find(certified);
        if let Some(twin) = other {
            let reference = |id| store.entry(id).map(|entry| entry.block.reference());
            return Some([reference(BlockId { twin, ..leader })?, reference(leader)?]);
        }
        // Direct commit.
        let certificates = slot.tallies.get(leader.twin as usize)?.certificates.len();
        if certificates >= self.rules.quorum && slot.decision == Decision::Undecided && leader.round > ordered {
            slot.decision = Decision::Commit(leader.twin);
            self.decided.direct_commits += 1;
            self.committed_before(leader.round);
            self.stale = true;
        }
        None
    }

    /// Decides by anchors, from the highest slot down, whatever can be decided above `ordered`.
    pub(crate) fn evaluate(&mut self, store: &mut Store, ordered: Round) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let mut round = store.top();
        while round > ordered {
            if decision(store, round) == Decision::Undecided {
                self.decide_by_anchor(store, round);
            }
            round = round.previous();
        }
    }

    fn decide_by_anchor(&mut self, store: &mut Store, round: Round) {
        let Some(anchor) = self.anchor(store, round) else { return };
        let certificates = round.plus(2);
        let mut certified = None;
        store.walk(&[anchor], |id, entry| {
            if id.round == certificates {
                certified = certified.or(entry.certifies);
            }
            id.round > certificates
        });
        let Some(layer) = store.layer_mut(round) else { return };
        // Indirect commit, indirect skip.
        layer.slot.decision = match certified {
            Some(twin) => Decision::Commit(twin),
            None => Decision::Skip,
        };
        match certified {
            Some(_) => {
                self.decided.indirect_commits += 1;
                self.committed_before(round);
            }
            None => self.decided.indirect_skips += 1,
        }
    }

    /// The committed block that decides slot `round`; `None` while the anchor is undecided.
    fn anchor(&self, store: &Store, round: Round) -> Option<BlockId> {
        let first = round.plus(3);
        let at = |round| (round, decision(store, round));
        let rounds = || (first.get()..=store.top().get()).map(Round::new);
        let (round, decision) = match self.rules.anchor {
            AnchorRule::Lowest => rounds().map(at).find(|(_, decision)| *decision != Decision::Skip),
            AnchorRule::Highest => rounds().rev().map(at).find(|(_, d)| matches!(d, Decision::Commit(_))),
        }?;
        match decision {
            Decision::Commit(twin) => Some(BlockId { round, author: self.leader(round), twin }),
            Decision::Undecided | Decision::Skip => None,
        }
    }
}

/// What is decided about the slot of `round`.
pub(crate) fn decision(store: &Store, round: Round) -> Decision {
    store.layer(round).map_or(Decision::Undecided, |layer| layer.slot.decision)
}

fn tally(tallies: &mut Vec<crate::store::Tally>, twin: u32) -> &mut crate::store::Tally {
    let index = twin as usize;
    if tallies.len() <= index {
        tallies.resize(index + 1, crate::store::Tally::default());
    }
    &mut tallies[index]
}
