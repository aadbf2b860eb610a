//! Payments set aside because too many of their payer's are in flight, until some of those are debited.
//!
//! Keeps the order of each payer's payments: their sequences must reach the committee without gaps.

use std::collections::{BTreeMap, VecDeque};

use crate::tracker::Tracker;
use crate::workload::{Prepared, Supply};

/// Payments of one account that may wait for their debit: within the future sequences members keep.
const WINDOW_MAX: u16 = 48;
/// Payments set aside over all payers; then nothing more is taken from the list.
const HELD_MAX: usize = 8_192;

/// Why there is no payment to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPayment {
    /// The next one is not signed yet.
    Unsigned,
    /// So many were set aside that nothing more is taken from the list.
    PayersFull,
}

/// Payments set aside, by payer.
#[derive(Debug, Default)]
pub struct Held {
    queues: BTreeMap<u32, VecDeque<Prepared>>,
    count: usize,
    /// Payers that may have room again.
    ready: Vec<u32>,
}

impl Held {
    /// Looks for payers that have room again: to be called when payments were debited.
    pub fn look(&mut self, tracker: &Tracker) {
        self.ready.clear();
        self.ready.extend(self.queues.keys().filter(|payer| has_room(tracker, **payer)));
    }

    /// The next payment whose payer has room: one that was set aside, or else from `supply`.
    pub fn next(&mut self, tracker: &Tracker, supply: &mut Supply) -> Result<Prepared, NoPayment> {
        while let Some(payer) = self.ready.last().copied() {
            if has_room(tracker, payer)
                && let Some(payment) = self.pop(payer)
            {
                return Ok(payment);
            }
            self.ready.pop();
        }
        while self.count < HELD_MAX {
            let payment = supply.take().ok_or(NoPayment::Unsigned)?;
            if tracker.is_dead(payment.payer) {
                continue;
            }
            if has_room(tracker, payment.payer) && !self.queues.contains_key(&payment.payer) {
                return Ok(payment);
            }
            self.queues.entry(payment.payer).or_default().push_back(payment);
            self.count += 1;
        }
        Err(NoPayment::PayersFull)
    }

    fn pop(&mut self, payer: u32) -> Option<Prepared> {
        let queue = self.queues.get_mut(&payer)?;
        let payment = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&payer);
        }
        self.count -= usize::from(payment.is_some());
        payment
    }
}

fn has_room(tracker: &Tracker, payer: u32) -> bool {
    tracker.window(payer) < WINDOW_MAX
}
