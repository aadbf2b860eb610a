//! What the node knows of itself, as of its threads' last word (at most a second old while they work).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use shardpay_ledger::LedgerStatus;
use shardpay_replica::Status as ReplicaStatus;
use shardpay_types::{Epoch, HeaderHash, Height, Round, Totals};

/// Least time between two reports of a thread.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// The replica's figures.
#[derive(Debug, Clone, Default)]
pub struct CoreFigures {
    /// The running epoch.
    pub epoch: Epoch,
    /// Round of the own latest block.
    pub round: Round,
    /// Round of the last decided and handed-out slot.
    pub last_output: Round,
    /// Last executed height.
    pub executed: Height,
    /// Last certified height.
    pub certified: Height,
    /// Transactions in the mempool.
    pub mempool: usize,
    /// Blocks that wait for parents.
    pub waiting_blocks: usize,
    /// Ledger blocks executed and not certified.
    pub uncertified: usize,
    /// Commits handed out and not executed.
    pub commits: usize,
    /// Packs of other committees held and not consumed.
    pub packs: usize,
    /// Leader slots decided commit, and decided skip.
    pub leaders: (u64, u64),
    /// Rounds advanced because the leader timeout ran out.
    pub leader_timeouts: u64,
    /// Whether the node takes part: neither halted, nor staying out, nor waiting for peers.
    pub proposing: bool,
    /// Whether it halted for good (a fork).
    pub halted: bool,
    /// Refusals by reason.
    pub refusals: Vec<(&'static str, u64)>,
}

impl From<ReplicaStatus> for CoreFigures {
    fn from(status: ReplicaStatus) -> Self {
        let consensus = status.consensus;
        Self {
            epoch: status.epoch,
            round: consensus.own_round,
            last_output: consensus.last_output,
            executed: status.executed,
            certified: status.certified,
            mempool: status.mempool,
            waiting_blocks: consensus.waiting_blocks,
            uncertified: status.uncertified,
            commits: status.commits,
            packs: status.packs,
            leaders: (
                consensus.direct_commits + consensus.indirect_commits,
                consensus.direct_skips + consensus.indirect_skips,
            ),
            leader_timeouts: consensus.leader_timeouts,
            proposing: !status.halted && !consensus.stopped && !consensus.awaiting_peers,
            halted: status.halted,
            refusals: status.refusals,
        }
    }
}

/// The ledger's figures.
#[derive(Debug, Clone, Default)]
pub struct LedgerFigures {
    /// Last executed height.
    pub height: Height,
    /// Its header's hash.
    pub head: Option<HeaderHash>,
    /// Last certified height.
    pub certified: Height,
    /// Accounts that exist.
    pub accounts: usize,
    /// Messages to other committees that are not acknowledged.
    pub outbox_pending: u64,
    /// The books.
    pub totals: Option<Totals>,
}

impl From<LedgerStatus> for LedgerFigures {
    fn from(status: LedgerStatus) -> Self {
        Self {
            height: status.height,
            head: Some(status.head),
            certified: status.certified,
            accounts: status.accounts,
            outbox_pending: status.outbox_pending,
            totals: Some(status.totals),
        }
    }
}

/// Both.
#[derive(Debug, Clone, Default)]
pub struct NodeFigures {
    /// Of the replica.
    pub core: CoreFigures,
    /// Of the ledger.
    pub ledger: LedgerFigures,
}

/// Where the threads leave their figures.
#[derive(Clone, Default)]
pub(crate) struct StatusCell(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    figures: NodeFigures,
    core_at: Option<Instant>,
    ledger_at: Option<Instant>,
}

impl StatusCell {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The figures.
    pub(crate) fn get(&self) -> NodeFigures {
        self.inner().figures.clone()
    }

    /// Takes the core's figures; false when the last ones are recent, so that it has to come again.
    pub(crate) fn set_core(&self, make: impl FnOnce() -> CoreFigures) -> bool {
        let mut inner = self.inner();
        let due = is_due(&mut inner.core_at);
        if due {
            inner.figures.core = make();
        }
        due
    }

    /// Takes the ledger's figures, unless the last ones are recent.
    pub(crate) fn set_ledger(&self, make: impl FnOnce() -> LedgerFigures) {
        let mut inner = self.inner();
        if is_due(&mut inner.ledger_at) {
            inner.figures.ledger = make();
        }
    }
}

fn is_due(last: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let due = last.is_none_or(|last| now - last >= REPORT_EVERY);
    if due {
        *last = Some(now);
    }
    due
}
