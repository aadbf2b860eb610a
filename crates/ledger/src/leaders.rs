//! Lists of committed leaders, kept for those who rejoin (DESIGN §4, "Rejoin").
//!
//! A rejoiner replays certified blocks up to one with `last_of_commit` and asks for the leaders in
//! (anchor − gc depth, anchor] of it. Guarantees: a list handed out hashes to that header's `leaders`.
//! Lists overlap, so one window of leaders serves all recent headers; it reaches back ten gc depths in
//! memory, and in the tip as far as the newest certified headers need.

use std::collections::VecDeque;

use shardpay_crypto::leaders_hash;
use shardpay_types::{BlockRef, Hash, Height, LeaderList, LedgerHeader, Round};

/// Gc depths that lists are served for.
const WINDOW_DEPTHS: u64 = 10;

/// A recent header that ends a commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recent {
    pub(crate) height: Height,
    pub(crate) anchor: Round,
    pub(crate) hash: Hash,
}

/// The leaders of the running epoch.
#[derive(Debug, Clone)]
pub(crate) struct Leaders {
    pub(crate) gc_depth: u64,
    /// Round of the last executed commit's anchor.
    pub(crate) last_output: Round,
    /// Leaders in (last anchor − gc depth, last anchor]; meaningless unless `known`.
    pub(crate) current: Vec<BlockRef>,
    /// False between a replayed block and the next commit.
    pub(crate) known: bool,
    /// Ascending rounds.
    pub(crate) window: VecDeque<BlockRef>,
    /// Ascending heights.
    pub(crate) recent: VecDeque<Recent>,
}

impl Leaders {
    /// The start of an epoch.
    pub(crate) fn new(gc_depth: u64) -> Self {
        let (last_output, current) = (Round::ZERO, Vec::new());
        Self { gc_depth, last_output, current, known: true, window: VecDeque::new(), recent: VecDeque::new() }
    }

    /// A commit was executed.
    pub(crate) fn committed(&mut self, anchor: Round, leaders: &[BlockRef]) {
        let newest = self.window.back().map_or(Round::ZERO, |leader| leader.round);
        self.window.extend(leaders.iter().filter(|leader| leader.round > newest));
        self.current = leaders.to_vec();
        self.known = true;
        self.last_output = anchor;
        let oldest = anchor.minus(self.gc_depth * WINDOW_DEPTHS);
        while self.window.front().is_some_and(|leader| leader.round <= oldest) {
            self.window.pop_front();
        }
        // A list is whole while the window reaches back a gc depth below its anchor.
        let cut = |recent: &Recent| oldest > Round::ZERO && recent.anchor < oldest.plus(self.gc_depth);
        while self.recent.front().is_some_and(cut) {
            self.recent.pop_front();
        }
    }

    /// A block was replayed: its leaders are known by their hash only.
    pub(crate) fn replayed(&mut self, header: &LedgerHeader) {
        self.current.clear();
        self.window.clear();
        self.recent.clear();
        self.known = false;
        if header.last_of_commit {
            self.last_output = header.anchor.round;
        }
    }

    /// A commit left this header as its last.
    pub(crate) fn made(&mut self, header: &LedgerHeader) {
        if header.last_of_commit {
            let (height, anchor, hash) = (header.height, header.anchor.round, header.leaders);
            self.recent.push_back(Recent { height, anchor, hash });
        }
    }

    /// The list that the header at `height` commits to.
    pub(crate) fn at(&self, height: Height) -> Option<LeaderList> {
        let recent = self.recent.iter().find(|recent| recent.height == height)?;
        let above = recent.anchor.minus(self.gc_depth);
        let inside = |leader: &&BlockRef| leader.round > above && leader.round <= recent.anchor;
        let list: Vec<BlockRef> = self.window.iter().filter(inside).copied().collect();
        if leaders_hash(&list) == recent.hash { LeaderList::new(list) } else { None }
    }

    /// What the tip keeps: from the last commit at or below `certified` on.
    pub(crate) fn to_keep(&self, certified: Height) -> (Vec<BlockRef>, Vec<Recent>) {
        let last = self.recent.iter().rev().find(|recent| recent.height <= certified).or(self.recent.front());
        let Some(last) = last else { return (self.window.iter().copied().collect(), Vec::new()) };
        let above = last.anchor.minus(self.gc_depth);
        let window = self.window.iter().filter(|leader| leader.round > above).copied().collect();
        (window, self.recent.iter().filter(|recent| recent.height >= last.height).copied().collect())
    }
}
