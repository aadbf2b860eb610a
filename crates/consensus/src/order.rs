//! What a committed leader commits, and in which order.
//!
//! Guarantees: the list depends on the leader's history and on the leaders committed before it only, so
//! all nodes that commit the same leaders hand on the same lists. A leader takes its uncommitted ancestors
//! and itself above `leader.round − gc_depth`, a bound by protocol, not by local memory; ascending (round,
//! author, digest).
//!
//! A walk may stop at a committed block: whoever committed it took everything below it within *its* window,
//! which reaches further down than the window of a later leader.

use std::sync::Arc;

use shardpay_crypto::{Commit, SealedBlock};
use shardpay_types::{BlockRef, Round, Timestamp};

use crate::store::{BlockId, Store};

/// Marks what `leader` commits and returns it in order.
pub(crate) fn linearize(store: &mut Store, leader: BlockId, gc_depth: u64) -> Vec<Arc<SealedBlock>> {
    let floor = leader.round.minus(gc_depth);
    let found = store.walk(&[leader], |id, entry| id.round > floor && !entry.committed);
    let mut blocks: Vec<Arc<SealedBlock>> = Vec::with_capacity(found.len());
    for id in found {
        store.commit(id);
        blocks.extend(store.entry(id).map(|entry| entry.block.clone()));
    }
    blocks.sort_unstable_by_key(|block| block.reference());
    blocks
}

/// Ledger time of a commit: lower median of the timestamps of the leader's parents one round below; the
/// leader's own where those are virtual.
pub(crate) fn median_time(store: &Store, leader: BlockId) -> Timestamp {
    let Some(entry) = store.entry(leader) else { return Timestamp::ZERO };
    let before = leader.round.previous();
    let parents = entry.parents.iter().filter(|parent| parent.round == before);
    let mut times: Vec<Timestamp> =
        parents.filter_map(|parent| store.entry(*parent)).map(|parent| parent.block.block().timestamp).collect();
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or_else(|| entry.block.block().timestamp)
}

/// The commit of `leader`, whose predecessors of the gc window are `leaders`.
pub(crate) fn commit(store: &mut Store, leader: BlockId, leaders: Vec<BlockRef>, gc_depth: u64) -> Option<Commit> {
    let anchor = store.entry(leader)?.block.reference();
    let median_time = median_time(store, leader);
    Some(Commit { anchor, median_time, leaders, blocks: linearize(store, leader, gc_depth) })
}

/// Leaders committed in (newest − gc depth, newest], ascending.
#[derive(Debug, Default)]
pub(crate) struct LeaderWindow(Vec<BlockRef>);

impl LeaderWindow {
    /// Adds a leader above all others and forgets those below its window.
    pub(crate) fn push(&mut self, leader: BlockRef, gc_depth: u64) {
        self.0.push(leader);
        let floor = leader.round.minus(gc_depth);
        self.0.retain(|kept| kept.round > floor);
    }

    /// Replaces all, from a list that was checked or stored.
    pub(crate) fn reset(&mut self, leaders: Vec<BlockRef>) {
        self.0 = leaders;
        self.0.sort_unstable();
    }

    /// The window.
    pub(crate) fn list(&self) -> &[BlockRef] {
        &self.0
    }

    /// Round of the newest.
    pub(crate) fn newest(&self) -> Round {
        self.0.last().map_or(Round::ZERO, |leader| leader.round)
    }
}
