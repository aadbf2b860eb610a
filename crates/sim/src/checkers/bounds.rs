//! Every queue and waiting set stays within its bound, whatever peers do.

use shardpay_replica::Status;

use super::{Violation, hold};

/// The bounds of one run, from the design and the configuration given to the nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Protocol constant.
    pub gc_depth: u64,
    /// Commits handed out and not executed.
    pub execution_queue_max: usize,
    /// Ledger blocks executed and not certified at which execution pauses.
    pub uncertified_max: usize,
    /// Transactions in the mempool.
    pub mempool_max: usize,
    /// Number of committees.
    pub committees: usize,
}

/// Blocks of one author that may wait for parents (DESIGN §4).
const WAITING_BLOCKS_PER_AUTHOR: usize = 64;
/// Bytes that all waiting blocks of one author may take.
const WAITING_BYTES_PER_AUTHOR: usize = 8 << 20;
/// Parents that one waiting block can lack.
const MISSING_PER_BLOCK: usize = 64;

impl Bounds {
    /// Checks the gauges of a node whose committee has `members`.
    pub(crate) fn check(&self, node: usize, members: usize, status: &Status) -> Result<(), Violation> {
        let consensus = &status.consensus;
        let rounds = consensus.highest_accepted.since(consensus.last_output) + 3 * self.gc_depth + 16;
        let limits = [
            ("waiting blocks", consensus.waiting_blocks, WAITING_BLOCKS_PER_AUTHOR * members),
            ("waiting bytes", consensus.waiting_bytes, WAITING_BYTES_PER_AUTHOR * members),
            ("missing references", consensus.missing, WAITING_BLOCKS_PER_AUTHOR * members * MISSING_PER_BLOCK),
            ("DAG blocks in memory", consensus.blocks, rounds as usize * members * 2),
            ("commits executing", consensus.executing, self.execution_queue_max + 1),
            ("mempool", status.mempool, self.mempool_max),
            ("uncertified blocks", status.uncertified, self.uncertified_max + 64),
            ("early votes", status.early_votes, members * (self.uncertified_max + 64)),
            ("withheld sends", status.withheld, 65_536),
            ("packs", status.packs, 4 * self.committees + 4),
        ];
        for (name, value, most) in limits {
            hold!(value <= most, "bounded queues", "node {node}: {value} {name}, at most {most}");
        }
        Ok(())
    }
}
