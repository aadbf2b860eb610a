//! The commit rule, once more: what honest members commit is what DESIGN §4 says about the blocks they hold.
//!
//! All blocks that honest members accept make one DAG per committee and epoch. A slot's decision does not
//! depend on who decides it or when, so the rule applied to the whole DAG must agree with every commit: each
//! committed leader is decided commit, each round left out is decided skip. Members that break the rule
//! together, without parting from each other, are found here and nowhere else.
//!
//! Written for clarity: maps and sets over references, thresholds computed here.

use std::collections::{BTreeMap, BTreeSet};

use shardpay_crypto::SealedBlock;
use shardpay_types::{BlockRef, Round};

use super::commits::CommitKey;
use super::{Violation, hold};

/// Rounds below the last checked commit whose blocks are forgotten.
const KEPT: u64 = 130;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Commit(BlockRef),
    Skip,
    Undecided,
}

#[derive(Debug)]
struct Known {
    parents: Vec<BlockRef>,
    /// Its parent in the leader slot of the round before.
    vote: Option<BlockRef>,
}

#[derive(Debug, Default)]
struct Dag {
    members: usize,
    /// Accepted blocks.
    blocks: BTreeMap<BlockRef, Known>,
    decided: BTreeMap<u64, Decision>,
    /// Every slot up to here is decided and was compared.
    checked: u64,
}

/// One DAG per committee and epoch.
#[derive(Debug, Default)]
pub(crate) struct CommitRule {
    dags: BTreeMap<CommitKey, Dag>,
}

impl CommitRule {
    /// An honest member of a committee of `members` accepted a block.
    pub(crate) fn accepted(&mut self, key: CommitKey, members: usize, block: &SealedBlock) {
        let dag = self.dags.entry(key).or_default();
        dag.members = members;
        if block.block().round.get() + KEPT > dag.checked {
            dag.insert(block.reference(), &block.block().parents);
        }
    }

    /// An honest member committed `anchor`: every slot up to it must be decided, and so.
    pub(crate) fn committed(&mut self, key: CommitKey, anchor: BlockRef) -> Result<(), Violation> {
        let Some(dag) = self.dags.get_mut(&key) else { return Ok(()) };
        let round = anchor.round.get();
        for slot in dag.checked + 1..=round {
            let decision = dag.decide(slot);
            let expected = if slot == round { Decision::Commit(anchor) } else { Decision::Skip };
            let rule = "commit rule";
            hold!(decision == expected, rule, "{key:?} slot {slot}: members {expected:?}, the rule {decision:?}");
        }
        if round > dag.checked {
            dag.checked = round;
            dag.forget(round.saturating_sub(KEPT));
        }
        Ok(())
    }
}

impl Dag {
    fn quorum(&self) -> usize {
        self.members - (self.members - 1) / 3
    }

    fn leader(&self, round: u64) -> usize {
        (round % self.members as u64) as usize
    }

    fn insert(&mut self, block: BlockRef, parents: &[BlockRef]) {
        let slot = block.round.get() - 1;
        let leader = self.leader(slot);
        let in_slot = |parent: &&BlockRef| parent.round.get() == slot && parent.author.index() == leader;
        let vote = parents.iter().find(in_slot).copied();
        self.blocks.entry(block).or_insert_with(|| Known { parents: parents.to_vec(), vote });
    }

    fn top(&self) -> u64 {
        self.blocks.last_key_value().map_or(0, |(reference, _)| reference.round.get())
    }

    /// Blocks of a round.
    fn layer(&self, round: u64) -> impl Iterator<Item = (&BlockRef, &Known)> {
        let at = |round| BlockRef {
            round: Round::new(round),
            author: shardpay_types::MemberIndex::at(0),
            digest: shardpay_types::BlockDigest::ZERO,
        };
        self.blocks.range(at(round)..at(round + 1))
    }

    /// The blocks of the slot that an `r + 2` block certifies: votes by Q authors among its parents.
    fn certifies(&self, parents: &[BlockRef], slot: u64) -> BTreeSet<BlockRef> {
        let mut votes: BTreeMap<BlockRef, BTreeSet<usize>> = BTreeMap::new();
        for voter in parents.iter().filter(|parent| parent.round.get() == slot + 1) {
            if let Some(vote) = self.blocks.get(voter).and_then(|known| known.vote) {
                votes.entry(vote).or_default().insert(voter.author.index());
            }
        }
        votes.into_iter().filter(|(_, by)| by.len() >= self.quorum()).map(|(block, _)| block).collect()
    }

    fn decide(&mut self, slot: u64) -> Decision {
        // From the highest slot down, so that an anchor is decided before it is asked for.
        for at in (slot..=self.top()).rev() {
            if !self.decided.contains_key(&at) {
                let decision = self.directly(at).unwrap_or_else(|| self.by_anchor(at));
                if decision != Decision::Undecided {
                    self.decided.insert(at, decision);
                }
            }
        }
        self.decided.get(&slot).copied().unwrap_or(Decision::Undecided)
    }

    fn directly(&self, slot: u64) -> Option<Decision> {
        let mut certified: BTreeMap<BlockRef, BTreeSet<usize>> = BTreeMap::new();
        for (block, known) in self.layer(slot + 2) {
            for leader in self.certifies(&known.parents, slot) {
                certified.entry(leader).or_default().insert(block.author.index());
            }
        }
        let committed = certified.into_iter().find(|(_, by)| by.len() >= self.quorum());
        if let Some((block, _)) = committed {
            return Some(Decision::Commit(block));
        }
        let blames = self.layer(slot + 1).filter(|(_, known)| known.vote.is_none());
        let authors: BTreeSet<_> = blames.map(|(block, _)| block.author.index()).collect();
        (authors.len() >= self.quorum()).then_some(Decision::Skip)
    }

    /// By the lowest slot at round ≥ r + 3 that is not decided skip.
    fn by_anchor(&self, slot: u64) -> Decision {
        let decision = |at: u64| self.decided.get(&at).copied().unwrap_or(Decision::Undecided);
        let anchor = (slot + 3..=self.top()).map(decision).find(|decision| *decision != Decision::Skip);
        let Some(Decision::Commit(anchor)) = anchor else { return Decision::Undecided };
        let mut seen = BTreeSet::new();
        let mut open = vec![anchor];
        while let Some(block) = open.pop() {
            let Some(Known { parents, .. }) = self.blocks.get(&block).filter(|_| seen.insert(block)) else { continue };
            if block.round.get() == slot + 2 {
                if let Some(leader) = self.certifies(parents, slot).into_iter().next() {
                    return Decision::Commit(leader);
                }
                continue;
            }
            open.extend(parents.iter().filter(|parent| parent.round.get() >= slot + 2));
        }
        Decision::Skip
    }

    fn forget(&mut self, below: u64) {
        while self.blocks.first_key_value().is_some_and(|(reference, _)| reference.round.get() < below) {
            self.blocks.pop_first();
        }
        while self.decided.first_key_value().is_some_and(|(slot, _)| *slot < below) {
            self.decided.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use shardpay_types::{BlockDigest, MemberIndex};

    use super::*;

    fn reference(round: u64, author: usize) -> BlockRef {
        BlockRef {
            round: Round::new(round),
            author: MemberIndex::at(author),
            digest: BlockDigest([round as u8 * 16 + author as u8; 32]),
        }
    }

    /// Four members; `lacks(round, author)` are the authors whose blocks of the round before are left out.
    fn dag(top: u64, lacks: impl Fn(u64, usize) -> Vec<usize>) -> Dag {
        let mut dag = Dag { members: 4, ..Dag::default() };
        for round in 1..=top {
            for author in 0..4 {
                let left_out = lacks(round, author);
                let parents = (0..4).filter(|parent| !left_out.contains(parent)).map(|p| reference(round - 1, p));
                dag.insert(reference(round, author), &parents.collect::<Vec<_>>());
            }
        }
        dag
    }

    #[test]
    fn direct_decisions() {
        let mut full = dag(6, |_, _| vec![]);
        assert_eq!(full.decide(1), Decision::Commit(reference(1, 1)));
        let mut without = dag(6, |round, _| if round == 2 { vec![1] } else { vec![] });
        assert_eq!(without.decide(1), Decision::Skip);
        let mut short = dag(2, |_, _| vec![]);
        assert_eq!(short.decide(1), Decision::Undecided);
    }

    #[test]
    fn the_lowest_anchor_decides() {
        // Slot 1 (leader 1): three votes in round 2 (member 3 lacks the leader's block); in round 3 member 3
        // alone has all three votes, the others lack member 2's block. Slot 4 (leader 0) does not reach
        // member 3's block of round 3, slot 5 (leader 1) does.
        let lacks = |round: u64, author: usize| match (round, author) {
            (2, 3) => vec![1],
            (3, 0..=2) => vec![2],
            (4, 0) => vec![3],
            _ => vec![],
        };
        let mut dag = dag(9, lacks);
        assert_eq!(dag.decide(4), Decision::Commit(reference(4, 0)));
        assert_eq!(dag.decide(1), Decision::Skip);
    }
}
