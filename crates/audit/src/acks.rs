//! Acknowledged payments: looked up block by block.

use shardpay_types::{CommitteeId, CreditOutcome, Height, LedgerBlock, LedgerItem, Outcome, Plan, TxId};

use crate::Acknowledged;
use crate::verdict::{CheckName, Findings};

/// What the acknowledgements ask for, ordered by committee, height and leaf.
pub(crate) struct Wanted(Vec<Acknowledged>);

/// A leaf as an acknowledgement sees it.
#[derive(Clone, Copy)]
struct Leaf {
    txid: TxId,
    credit: bool,
    applied: bool,
}

impl Wanted {
    pub(crate) fn new(acknowledged: &[Acknowledged], genesis: &Plan, findings: &mut Findings) -> Self {
        let mut wanted = acknowledged.to_vec();
        wanted.sort_unstable();
        findings.figure(CheckName::AcknowledgedStored, "acknowledged", wanted.len() as u64);
        for ack in wanted.iter().filter(|ack| genesis.committee(ack.committee).is_none()) {
            findings.fail(CheckName::AcknowledgedStored, || format!("{}: no committee {}", ack.txid, ack.committee));
        }
        Self(wanted)
    }

    fn range(&self, committee: CommitteeId, heights: std::ops::RangeInclusive<Height>) -> &[Acknowledged] {
        let place = |ack: &Acknowledged| (ack.committee, ack.height);
        let from = self.0.partition_point(|ack| place(ack) < (committee, *heights.start()));
        let to = self.0.partition_point(|ack| place(ack) <= (committee, *heights.end()));
        &self.0[from..to.max(from)]
    }

    /// Checks the acknowledgements of one block that `holders` members hold of the `needed`.
    pub(crate) fn check(&self, block: &LedgerBlock, txids: &[TxId], support: (usize, usize), findings: &mut Findings) {
        let header = &block.header;
        let wanted = self.range(header.committee, header.height..=header.height);
        if wanted.is_empty() {
            return;
        }
        let (holders, needed) = support;
        let leaves = leaves(block, txids);
        for ack in wanted {
            let place = || format!("{} at {}:{}:{}", ack.txid, ack.committee, ack.height, ack.leaf);
            let leaf = usize::try_from(ack.leaf).ok().and_then(|index| leaves.get(index));
            let found = leaf.is_some_and(|leaf| leaf.applied && (leaf.txid, leaf.credit) == (ack.txid, ack.credit));
            findings
                .require(found, CheckName::AcknowledgedStored, || format!("{}: another leaf stands there", place()));
            findings.require(holders >= needed, CheckName::AcknowledgedStored, || {
                format!("{}: {holders} members hold the block, {needed} needed", place())
            });
        }
    }

    /// Fails all acknowledgements above the end of a committee's chain.
    pub(crate) fn check_end(&self, committee: CommitteeId, end: Height, findings: &mut Findings) {
        for ack in self.range(committee, end.next()..=Height::new(u64::MAX)) {
            findings.fail(CheckName::AcknowledgedStored, || {
                format!("{}: committee {committee} ends at {end}, acknowledged at {}", ack.txid, ack.height)
            });
        }
        for ack in self.range(committee, Height::ZERO..=Height::ZERO) {
            findings.fail(CheckName::AcknowledgedStored, || format!("{}: acknowledged at height 0", ack.txid));
        }
    }
}

/// The leaves of a block; `txids` are those of its transactions and opaque payloads, in order.
fn leaves(block: &LedgerBlock, txids: &[TxId]) -> Vec<Leaf> {
    let mut txids = txids.iter();
    let mut leaves = Vec::with_capacity(txids.len());
    for item in &block.items {
        match item {
            LedgerItem::Transaction(executed) => {
                let applied = executed.outcome == Outcome::Applied;
                leaves.extend(txids.next().map(|txid| Leaf { txid: *txid, credit: false, applied }));
            }
            LedgerItem::Opaque(_) => {
                leaves.extend(txids.next().map(|txid| Leaf { txid: *txid, credit: false, applied: true }));
            }
            LedgerItem::Pack(executed) => {
                let credits = executed.pack.messages.iter().zip(&executed.credits);
                leaves.extend(credits.map(|(message, credit)| Leaf {
                    txid: message.txid,
                    credit: true,
                    applied: credit.outcome == CreditOutcome::Applied,
                }));
            }
            LedgerItem::Closing(_) | LedgerItem::EpochChange(_) => {}
        }
    }
    leaves
}
