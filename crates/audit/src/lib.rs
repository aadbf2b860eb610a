//! Floor 5 of shardpay: the verdict over a run.
//!
//! Guarantees: works from the nodes' stores and loadgen's acknowledgements alone, and believes neither: what
//! headers say is worked out again from the items below them, thresholds and message logs included. Every
//! check is carried out whatever the others found; one that fails gives heights, hashes and nodes. Sharing
//! with production code ends at the codec, hashes, signatures and the leaf rule.
//!
//! Assumes all nodes to be stopped, and stores that can be read.

mod acks;
mod certificates;
mod chain;
mod committee;
mod supply;
mod system;
mod verdict;
mod view;

use shardpay_types::{CommitteeId, Height, NodeId, Plan, TxId};

pub use supply::Supply;
pub use verdict::{Check, CheckName, Verdict};
pub use view::{StoreView, ViewError};

use acks::Wanted;
use committee::CommitteeFacts;
use verdict::Findings;

/// A node's store, or why it could not be opened.
pub struct NodeView<'a> {
    /// Whose.
    pub node: NodeId,
    /// What it holds.
    pub store: Result<&'a dyn StoreView, String>,
}

/// A payment that a client holds a certificate for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acknowledged {
    /// Whose header is certified.
    pub committee: CommitteeId,
    /// The ledger block.
    pub height: Height,
    /// Index of the leaf.
    pub leaf: u32,
    /// The transaction.
    pub txid: TxId,
    /// Whether the leaf is that of its credit; else its own.
    pub credit: bool,
}

/// What loadgen was to do and did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadKept {
    /// Payments whose time to be sent came.
    pub offered: u64,
    /// Payments sent.
    pub sent: u64,
    /// Smallest share that counts as kept.
    pub share_min: f64,
}

/// Everything a verdict is made from.
pub struct Evidence<'a> {
    /// The genesis plan.
    pub genesis: &'a Plan,
    /// One per node of the plan.
    pub nodes: Vec<NodeView<'a>>,
    /// Of all loadgen processes.
    pub acknowledged: Vec<Acknowledged>,
    /// `None` when there was no load.
    pub load: Option<LoadKept>,
}

/// Carries out every check.
pub fn audit(evidence: &Evidence<'_>) -> Verdict {
    let mut findings = Findings::new();
    let wanted = Wanted::new(&evidence.acknowledged, evidence.genesis, &mut findings);
    let facts: Vec<CommitteeFacts> = evidence
        .genesis
        .committee_ids()
        .map(|committee| committee::walk(evidence, committee, &wanted, &mut findings))
        .collect();
    system::check(&facts, &mut findings);
    if let Some(load) = evidence.load {
        findings.figure(CheckName::RateKept, "offered", load.offered);
        findings.figure(CheckName::RateKept, "sent", load.sent);
        if (load.sent as f64) < load.offered as f64 * load.share_min {
            let LoadKept { offered, sent, share_min } = load;
            findings.fail(CheckName::RateKept, || format!("{sent} of {offered} sent, {share_min} of them needed"));
        }
    }
    findings.verdict()
}
