//! The queue of orders, and "persist, then send" (DESIGN §4).
//!
//! Guarantees: an order pushed with [`Outbox::push_after`] leaves only after its persist order, and so
//! every earlier one, was reported durable. Persist orders are numbered in the sequence in which they
//! are polled; nothing reorders them.
//!
//! Bounded: above [`WITHHELD_MAX`] sends are given up. Every withheld send has a timer or a heartbeat
//! that makes it again, so a disk that stands still costs time, not memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use shardpay_types::{NodeId, PeerMessage};

use crate::api::{Output, PersistId, Record};

/// Most sends that wait for the disk.
pub(crate) const WITHHELD_MAX: usize = 4_096;

/// Orders for the driver.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Output>,
    ordered: PersistId,
    durable: PersistId,
    withheld: BTreeMap<PersistId, Vec<Output>>,
    withheld_count: usize,
    overflowed: usize,
}

impl Outbox {
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    /// An order that depends on nothing.
    pub(crate) fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    /// A message that depends on nothing.
    pub(crate) fn send(&mut self, to: NodeId, message: Arc<PeerMessage>) {
        self.push(Output::Send { to, message });
    }

    /// Orders `record` durable.
    pub(crate) fn persist(&mut self, record: Record) -> PersistId {
        self.ordered = PersistId(self.ordered.0 + 1);
        self.push(Output::Persist { id: self.ordered, record });
        self.ordered
    }

    /// An order that must not leave before `id` is durable.
    pub(crate) fn push_after(&mut self, id: PersistId, output: Output) {
        if self.is_durable(id) {
            return self.push(output);
        }
        if matches!(output, Output::Send { .. }) && self.withheld_count >= WITHHELD_MAX {
            self.overflowed += 1;
            return;
        }
        self.withheld_count += 1;
        self.withheld.entry(id).or_default().push(output);
    }

    /// Everything up to `id` is durable.
    ///
    /// # Panics
    /// When `id` was never ordered: the driver's bug.
    pub(crate) fn persisted(&mut self, id: PersistId) {
        assert!(id <= self.ordered, "only what was ordered becomes durable: {id:?} of {:?}", self.ordered);
        self.durable = self.durable.max(id);
        while let Some(entry) = self.withheld.first_entry() {
            if *entry.key() > self.durable {
                break;
            }
            let released = entry.remove();
            self.withheld_count -= released.len();
            self.queue.extend(released);
        }
    }

    pub(crate) fn is_durable(&self, id: PersistId) -> bool {
        id <= self.durable
    }

    pub(crate) fn withheld(&self) -> usize {
        self.withheld_count
    }

    /// Sends given up since the last call.
    pub(crate) fn take_overflowed(&mut self) -> usize {
        std::mem::take(&mut self.overflowed)
    }
}

#[cfg(test)]
mod tests {
    use shardpay_types::{Epoch, HeaderHash, Height};

    use super::*;
    use crate::api::Answer;
    use crate::api::ClientToken;

    fn vote(height: u64) -> Record {
        Record::HeaderVote { height: Height::new(height), header: HeaderHash::ZERO }
    }

    fn marker(n: u64) -> Output {
        Output::EpochStarted(Epoch::new(n))
    }

    fn markers(outbox: &mut Outbox) -> Vec<u64> {
        std::iter::from_fn(|| outbox.poll())
            .filter_map(|output| match output {
                Output::EpochStarted(epoch) => Some(epoch.get()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn leaves_after_its_own_and_all_earlier_persists() {
        let mut outbox = Outbox::default();
        let first = outbox.persist(vote(1));
        let second = outbox.persist(vote(2));
        outbox.push_after(second, marker(2));
        outbox.push_after(first, marker(1));
        outbox.push(marker(0));
        assert_eq!(markers(&mut outbox), [0]);
        outbox.persisted(first);
        assert_eq!(markers(&mut outbox), [1]);
        assert_eq!(outbox.withheld(), 1);
        outbox.persisted(second);
        assert_eq!(markers(&mut outbox), [2]);
        outbox.push_after(first, marker(3));
        assert_eq!(markers(&mut outbox), [3]);
        assert_eq!(outbox.withheld(), 0);
    }

    #[test]
    fn a_late_report_releases_everything_before_it_in_order() {
        let mut outbox = Outbox::default();
        let ids: Vec<_> = (0..4).map(|n| outbox.persist(vote(n))).collect();
        for (n, id) in ids.iter().enumerate().rev() {
            outbox.push_after(*id, marker(n as u64));
        }
        outbox.persisted(ids[2]);
        assert_eq!(markers(&mut outbox), [0, 1, 2]);
    }

    #[test]
    fn sends_are_bounded_other_orders_are_kept() {
        let mut outbox = Outbox::default();
        let id = outbox.persist(vote(1));
        let node = crate::tests_support::node(0, 0);
        let message = Arc::new(PeerMessage::LedgerRequest(shardpay_types::LedgerRequest { from: Height::ZERO }));
        for _ in 0..WITHHELD_MAX + 5 {
            outbox.push_after(id, Output::Send { to: node, message: message.clone() });
        }
        assert_eq!((outbox.withheld(), outbox.take_overflowed()), (WITHHELD_MAX, 5));
        let answer = Answer::Accepted;
        outbox.push_after(id, Output::Answer { client: ClientToken(1), txid: shardpay_types::TxId::ZERO, answer });
        assert_eq!((outbox.withheld(), outbox.take_overflowed()), (WITHHELD_MAX + 1, 0));
    }
}
