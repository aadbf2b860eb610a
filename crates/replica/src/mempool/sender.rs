//! One sender's transactions by sequence.
//!
//! Guarantees: `pending` is the sum of the amounts held; `ready_end` is the first sequence from the
//! account's next on that is neither executed nor held.

use std::collections::BTreeMap;

use shardpay_types::{AccountState, Sequence};

use super::{Entry, Place, Ticket};

#[derive(Debug, Clone)]
pub(super) struct Sender {
    /// As last executed, as far as we know.
    pub(super) state: AccountState,
    /// The state was never reported: it was made up for a reclaimed block.
    pub(super) guessed: bool,
    pub(super) entries: BTreeMap<Sequence, Entry>,
    pub(super) ready_end: Sequence,
    pub(super) pending: u128,
}

impl Sender {
    pub(super) fn new(state: AccountState) -> Self {
        Self { state, guessed: false, entries: BTreeMap::new(), ready_end: state.next_sequence, pending: 0 }
    }

    pub(super) fn insert(&mut self, sequence: Sequence, entry: Entry) {
        self.pending += u128::from(entry.held.transaction.amount().micros());
        let before = self.entries.insert(sequence, entry);
        assert!(before.is_none(), "admission keeps one transaction per sequence");
    }

    pub(super) fn remove(&mut self, sequence: Sequence) -> Option<Entry> {
        let entry = self.entries.remove(&sequence)?;
        self.pending -= u128::from(entry.held.transaction.amount().micros());
        Some(entry)
    }

    /// Takes over a state that is at least as new.
    pub(super) fn learn(&mut self, state: AccountState) {
        if self.guessed || is_fresher(&state, &self.state) {
            self.state = state;
            self.guessed = false;
        }
    }

    /// Held sequences that were consumed by something else.
    pub(super) fn used(&self) -> impl Iterator<Item = Sequence> {
        self.entries.range(..self.state.next_sequence).map(|(sequence, _)| *sequence)
    }

    /// Which entries must change place (or get a later ticket) so that exactly those without a gap
    /// before them are ready, in ascending order of tickets. Updates `ready_end`.
    pub(super) fn moves(&mut self) -> Vec<(Sequence, Place)> {
        let mut expected = self.state.next_sequence;
        let mut moved = Vec::new();
        let mut last: Ticket = 0;
        for (sequence, entry) in self.entries.range(self.state.next_sequence..) {
            let executable = *sequence == expected;
            if executable {
                expected = sequence.next();
            }
            match (entry.place, executable) {
                (Place::Proposed(_), _) | (Place::Waiting, false) => {}
                (Place::Ready, true) if moved.is_empty() && entry.ticket > last => last = entry.ticket,
                (_, true) => moved.push((*sequence, Place::Ready)),
                (Place::Ready, false) => moved.push((*sequence, Place::Waiting)),
            }
        }
        self.ready_end = expected;
        moved
    }
}

/// Whether `a` describes the same account at least as late as `b`: sequences never fall, and between
/// two debits the balance only grows.
pub(super) fn is_fresher(a: &AccountState, b: &AccountState) -> bool {
    (a.next_sequence, a.balance) >= (b.next_sequence, b.balance)
}
