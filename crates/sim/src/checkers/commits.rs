//! Prefix-equal commits: all honest members of a committee hand out the same leaders with the same
//! blocks, in the same order, without leaving one out.
//!
//! A commit names its predecessor by the node's own history: per (committee, epoch) every leader has
//! one content and one successor, whoever says so. A node that restarts begins again wherever it says,
//! but what it hands out must be known or new above all, never another.

use std::collections::BTreeMap;

use shardpay_crypto::{Commit, sha256};
use shardpay_types::{BlockRef, Codec};

use super::{Violation, hold};

/// A committee in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CommitKey {
    /// The committee.
    pub committee: usize,
    /// The epoch.
    pub epoch: u64,
}

#[derive(Debug)]
struct Known {
    anchor: BlockRef,
    content: [u8; 32],
    /// Round of the leader committed next, once somebody said.
    next: Option<u64>,
}

/// What was committed.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    lines: BTreeMap<CommitKey, BTreeMap<u64, Known>>,
    /// Per node: the epoch and leader's round it handed out last since it started.
    last: BTreeMap<usize, (CommitKey, u64)>,
    /// Number of commits seen.
    pub count: u64,
}

impl Commits {
    /// `node` starts again, or resumes above a gap.
    pub(crate) fn resumed(&mut self, node: usize) {
        self.last.remove(&node);
    }

    /// Honest `node` hands `commit` to its ledger.
    pub(crate) fn committed(&mut self, node: usize, key: CommitKey, commit: &Commit) -> Result<(), Violation> {
        self.count += 1;
        let round = commit.anchor.round.get();
        let content = content_of(commit);
        let rule = "prefix-equal commits";
        let line = self.lines.entry(key).or_default();
        let known = line.entry(round).or_insert(Known { anchor: commit.anchor, content, next: None });
        hold!(
            known.anchor == commit.anchor,
            rule,
            "{key:?} round {round}: node {node} commits {:?}, others {:?}",
            commit.anchor,
            known.anchor
        );
        hold!(known.content == content, rule, "{key:?} round {round}: node {node} commits other blocks");
        if let Some((before, last)) = self.last.insert(node, (key, round))
            && before == key
        {
            hold!(last < round, rule, "{key:?}: node {node} commits round {round} after {last}");
            let previous = line.get_mut(&last).expect("it was handed out");
            let next = *previous.next.get_or_insert(round);
            hold!(next == round, rule, "{key:?}: after round {last} node {node} commits {round}, others {next}");
            let between = line.range(last + 1..round).next().map(|(between, _)| *between);
            hold!(between.is_none(), rule, "{key:?}: node {node} left round {between:?} out before {round}");
        }
        Ok(())
    }
}

fn content_of(commit: &Commit) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(48 * (commit.blocks.len() + commit.leaders.len()) + 8);
    commit.median_time.encode(&mut bytes);
    for leader in &commit.leaders {
        leader.encode(&mut bytes);
    }
    for block in &commit.blocks {
        block.reference().encode(&mut bytes);
    }
    sha256(&[&bytes])
}
