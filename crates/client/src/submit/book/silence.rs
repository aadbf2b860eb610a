//! Members that are silent while others answer lose what they have.

use std::time::Duration;

use tokio::time::Instant;

use super::{Book, Phase, Slot};

/// Answers of members that execute at the same pace are at most so far apart.
const ABREAST: Duration = Duration::from_millis(150);

impl Book {
    /// When a member's silence is to be looked at.
    pub(super) fn silent_at(&self, slot: usize) -> Option<Instant> {
        let of = &self.slots[slot];
        if !of.up {
            return None;
        }
        of.watch.silent_at(&self.pace, self.others_answer(slot))
    }

    /// Whether another member has answered well after this one was last heard: when the whole committee stands
    /// still, one of them was the last to answer all the same.
    pub(super) fn others_answer(&self, slot: usize) -> bool {
        let waits_since = self.slots[slot].watch.waits_since();
        let later = |other: &Slot| waits_since.is_some_and(|since| other.watch.heard_after(since + ABREAST));
        self.slots.iter().enumerate().any(|(index, other)| index != slot && later(other))
    }

    /// Whether a member seems to be silent: nothing new goes to it when others are there.
    pub(super) fn doubtful(&self, slot: usize, now: Instant) -> bool {
        self.others_answer(slot) && self.slots[slot].watch.doubtful(&self.pace, now)
    }

    /// Turns away from members that have been silent for too long.
    pub(super) fn run_silences(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            if self.silent_at(slot).is_none_or(|at| at > now) {
                continue;
            }
            let with_it = self.pending.values().filter(|pending| pending.slot == slot && pending.phase == Phase::Sent);
            let (count, oldest) = (with_it.clone().count(), with_it.map(|pending| pending.sent_at).min());
            self.slots[slot].watch.waits_from(oldest);
            if self.silent_at(slot).is_some_and(|at| at <= now) {
                self.slots[slot].watch.strike();
                if !self.budget.take(count, self.pending.len(), now) {
                    // the others are slow, too: it keeps what it has
                    continue;
                }
                self.slots[slot].up = false;
                self.silent.push(slot);
                self.stats.timeouts += self.send_elsewhere(slot, now);
            }
        }
    }
}
