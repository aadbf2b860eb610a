//! The commit rule and order from their definitions, by brute force over a set of blocks. Shares no code
//! with the crate; thresholds are computed here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shardpay_crypto::SealedBlock;
use shardpay_types::BlockRef;

use super::faults_and_quorum;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Undecided,
    Skip,
    Commit(BlockRef),
}

/// A set of blocks to judge.
pub struct Naive<'a> {
    members: usize,
    quorum: usize,
    blocks: BTreeMap<BlockRef, &'a Arc<SealedBlock>>,
    top: u64,
}

/// A leader and what it commits, in order.
pub type NaiveCommit = (BlockRef, Vec<BlockRef>);

impl<'a> Naive<'a> {
    pub fn new(members: usize, blocks: impl IntoIterator<Item = &'a Arc<SealedBlock>>) -> Self {
        let blocks: BTreeMap<BlockRef, &Arc<SealedBlock>> =
            blocks.into_iter().map(|block| (block.reference(), block)).collect();
        let top = blocks.keys().map(|block| block.round.get()).max().unwrap_or(0);
        Self { members, quorum: faults_and_quorum(members).1, blocks, top }
    }

    fn parents(&self, block: &BlockRef) -> &[BlockRef] {
        self.blocks.get(block).map_or(&[], |block| &block.block().parents)
    }

    fn in_round(&self, round: u64) -> impl Iterator<Item = &BlockRef> {
        self.blocks.keys().filter(move |block| block.round.get() == round)
    }

    fn authors<'b>(&self, blocks: impl Iterator<Item = &'b BlockRef>) -> usize {
        blocks.map(|block| block.author).collect::<BTreeSet<_>>().len()
    }

    fn in_slot(&self, block: &BlockRef, round: u64) -> bool {
        block.round.get() == round && block.author.index() as u64 == round % self.members as u64
    }

    fn is_certificate(&self, block: &BlockRef, leader: &BlockRef) -> bool {
        let votes =
            |voter: &&BlockRef| voter.round.get() == leader.round.get() + 1 && self.parents(voter).contains(leader);
        self.authors(self.parents(block).iter().filter(votes)) >= self.quorum
    }

    fn direct(&self, round: u64) -> Verdict {
        for leader in self.in_round(round).filter(|block| self.in_slot(block, round)) {
            let certificates = self.in_round(round + 2).filter(|block| self.is_certificate(block, leader));
            if self.authors(certificates) >= self.quorum {
                return Verdict::Commit(*leader);
            }
        }
        let blames = self
            .in_round(round + 1)
            .filter(|block| !self.parents(block).iter().any(|parent| self.in_slot(parent, round)));
        if self.authors(blames) >= self.quorum { Verdict::Skip } else { Verdict::Undecided }
    }

    fn history(&self, root: &BlockRef) -> BTreeSet<BlockRef> {
        let mut seen = BTreeSet::new();
        let mut stack = vec![*root];
        while let Some(block) = stack.pop() {
            if self.blocks.contains_key(&block) && seen.insert(block) {
                stack.extend_from_slice(self.parents(&block));
            }
        }
        seen
    }

    fn verdicts(&self) -> BTreeMap<u64, Verdict> {
        let mut verdicts = BTreeMap::new();
        for round in (1..=self.top).rev() {
            let mut verdict = self.direct(round);
            if verdict == Verdict::Undecided {
                let anchor = (round + 3..=self.top).map(|at| verdicts[&at]).find(|verdict| *verdict != Verdict::Skip);
                if let Some(Verdict::Commit(anchor)) = anchor {
                    let history = self.history(&anchor);
                    let certified = self.in_round(round).filter(|block| self.in_slot(block, round)).find(|leader| {
                        let mut above = history.iter().filter(|block| block.round.get() == round + 2);
                        above.any(|block| self.is_certificate(block, leader))
                    });
                    verdict = certified.map_or(Verdict::Skip, |leader| Verdict::Commit(*leader));
                }
            }
            verdicts.insert(round, verdict);
        }
        verdicts
    }

    /// Every commit that can be decided from the set.
    pub fn commits(&self, gc_depth: u64) -> Vec<NaiveCommit> {
        let verdicts = self.verdicts();
        let mut committed = BTreeSet::new();
        let mut commits = Vec::new();
        for round in 1..=self.top {
            match verdicts[&round] {
                Verdict::Undecided => break,
                Verdict::Skip => {}
                Verdict::Commit(leader) => {
                    let inside = |block: &BlockRef| block.round.get() + gc_depth > round;
                    let all = self.history(&leader);
                    let mut list: Vec<BlockRef> =
                        all.into_iter().filter(|block| inside(block) && committed.insert(*block)).collect();
                    list.sort_by_key(|block| (block.round, block.author, block.digest));
                    commits.push((leader, list));
                }
            }
        }
        commits
    }
}
