//! What is in flight: where each transaction was sent, and when it is due again. No I/O, no clock.

mod silence;
mod standing;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use shardpay_crypto::IdentifiedTransaction;
use shardpay_types::{PublicKey, RejectReason, SUBMIT_MAX, Transaction, TxAnswer, TxId, TxResult};
use tokio::time::Instant;

use self::standing::{Standing, standing};
use super::budget::Budget;
use super::pace::{Pace, Watch};
use super::{SubmitEvent, SubmitOptions, SubmitStats};

/// Takes the first eight bytes of what is random anyhow: hashes, and keys of the caller's own choosing.
#[derive(Default)]
pub(super) struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*first);
        }
    }
    fn write_usize(&mut self, _: usize) {}
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<FirstBytes>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// In its member's queue.
    Ready,
    /// Waits for its backoff to end.
    Waiting,
    /// With the member, not answered.
    Sent,
    /// With the committee, as a member says: the certificate is awaited.
    Executed,
}

struct Pending {
    transaction: Transaction,
    sender: Option<PublicKey>,
    slot: usize,
    attempts: u32,
    phase: Phase,
    since: Instant,
    /// When it was last written to a member.
    sent_at: Instant,
    /// The timer that counts; earlier ones are void.
    timer: u32,
}

struct Route {
    slot: usize,
    pending: u32,
}

#[derive(Default)]
struct Slot {
    up: bool,
    /// Asked to be left alone until then.
    avoid_until: Option<Instant>,
    queue: Vec<TxId>,
    watch: Watch,
}

/// What is told since the last call.
#[derive(Default)]
pub(super) struct Settled {
    pub(super) events: Vec<SubmitEvent>,
    /// Places that became free.
    pub(super) freed: usize,
}

/// All that is in flight.
pub(super) struct Book {
    options: SubmitOptions,
    pending: Map<TxId, Pending>,
    routes: Map<PublicKey, Route>,
    slots: Vec<Slot>,
    /// The member new senders go to.
    current: usize,
    timers: BinaryHeap<Reverse<(Instant, TxId, u32)>>,
    flush_at: Option<Instant>,
    /// How long members usually take.
    pace: Pace,
    /// How much may be sent again because no answer came.
    budget: Budget,
    /// Members found silent, whose streams are to be opened anew.
    silent: Vec<usize>,
    settled: Settled,
    stats: SubmitStats,
    /// State of the jitter's generator.
    jitter: u64,
}

impl Book {
    pub(super) fn new(members: usize, options: SubmitOptions, seed: u64) -> Self {
        let mut slots = Vec::new();
        slots.resize_with(members, Slot::default);
        Self {
            options,
            pending: Map::default(),
            routes: Map::default(),
            slots,
            current: (seed % members.max(1) as u64) as usize,
            timers: BinaryHeap::new(),
            flush_at: None,
            pace: Pace::new(options.attempt_max),
            budget: Budget::new(),
            silent: Vec::new(),
            settled: Settled::default(),
            stats: SubmitStats::default(),
            jitter: seed | 1,
        }
    }

    pub(super) fn stats(&self) -> &SubmitStats {
        &self.stats
    }

    pub(super) fn take_settled(&mut self) -> Settled {
        std::mem::take(&mut self.settled)
    }

    /// When [`Book::due`] has something to do next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let timer = self.timers.peek().map(|Reverse((at, ..))| *at);
        let silence = (0..self.slots.len()).filter_map(|slot| self.silent_at(slot)).min();
        self.flush_at.into_iter().chain(timer).chain(silence).min()
    }

    /// Members whose streams are to be opened anew, since the last call.
    pub(super) fn take_silent(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.silent)
    }

    /// Takes transactions in; one that is in flight already gives its place back.
    pub(super) fn add(&mut self, transactions: Vec<IdentifiedTransaction>, now: Instant) {
        self.stats.submitted += transactions.len() as u64;
        for IdentifiedTransaction { transaction, txid } in transactions {
            if self.pending.contains_key(&txid) {
                self.settled.freed += 1;
                continue;
            }
            let sender = transaction.debit().map(|(sender, _)| sender);
            let slot = match sender {
                Some(sender) => {
                    let slot = self.current;
                    let route = self.routes.entry(sender).or_insert(Route { slot, pending: 0 });
                    route.pending += 1;
                    route.slot
                }
                None => self.current,
            };
            let pending = Pending {
                transaction,
                sender,
                slot,
                attempts: 0,
                phase: Phase::Ready,
                since: now,
                sent_at: now,
                timer: 0,
            };
            self.pending.insert(txid, pending);
            self.enqueue(slot, txid, now);
        }
    }

    /// Removes what has a verified result; returns how many were in flight.
    pub(super) fn settle(&mut self, txids: &[TxId]) -> usize {
        let count = txids.iter().filter(|txid| self.remove(txid)).count();
        self.budget.settled(count, self.pending.len());
        count
    }

    /// A member takes submissions from now on.
    pub(super) fn up(&mut self, slot: usize, now: Instant) {
        self.slots[slot].up = true;
        self.slots[slot].avoid_until = None;
        self.slots[slot].watch.opened();
        self.flush_at = Some(now);
    }

    /// A member's stream broke: what it had goes to others.
    pub(super) fn down(&mut self, slot: usize, now: Instant) {
        self.slots[slot].up = false;
        self.stats.disconnects += self.send_elsewhere(slot, now);
    }

    /// What a member has and has not answered goes to others; returns how much that is.
    fn send_elsewhere(&mut self, slot: usize, now: Instant) -> u64 {
        let lost = |(txid, pending): (&TxId, &Pending)| {
            (pending.slot == slot && pending.phase == Phase::Sent).then_some(*txid)
        };
        let mut lost: Vec<TxId> = self.pending.iter().filter_map(lost).collect();
        // In the order of sequences, so that they meet no gap where they go.
        lost.sort_by_key(|txid| self.pending.get(txid).and_then(|p| p.transaction.debit()).map(|(_, seq)| seq));
        let count = lost.len() as u64;
        for txid in lost {
            self.retry(txid, now);
        }
        count
    }

    /// A member did not take a batch: it goes elsewhere after a pause.
    pub(super) fn not_taken(&mut self, slot: usize, batch: &[TxId], now: Instant) {
        self.slots[slot].avoid_until = Some(now + self.options.backoff_min);
        for txid in batch {
            self.back_off(*txid, Duration::ZERO, now);
        }
    }

    /// A member's answers.
    pub(super) fn answers(&mut self, slot: usize, results: &[TxResult], now: Instant) {
        let first_answered = |result: &TxResult| {
            let pending = self.pending.get(&result.txid)?;
            let clear = pending.slot == slot && pending.phase == Phase::Sent && pending.attempts == 1;
            let executed = matches!(result.answer, TxAnswer::Executed(_));
            (clear && executed).then(|| now.saturating_duration_since(pending.sent_at))
        };
        // what was sent twice tells nothing about how long an answer takes
        if let Some(longest) = results.iter().filter_map(first_answered).max() {
            self.pace.sample(longest);
        }
        self.slots[slot].watch.heard(now);
        for result in results {
            self.answer(slot, result, now);
        }
    }

    /// A member's answer.
    fn answer(&mut self, slot: usize, result: &TxResult, now: Instant) {
        let txid = result.txid;
        let Some(pending) = self.pending.get_mut(&txid) else { return };
        let current = pending.slot == slot && pending.phase == Phase::Sent;
        match result.answer {
            TxAnswer::Executed(at) => {
                if pending.phase != Phase::Executed {
                    pending.phase = Phase::Executed;
                    if self.options.tell_executed {
                        self.settled.events.push(SubmitEvent::Executed(txid, at));
                    }
                    self.set_timer(txid, now + self.options.certify_max);
                }
            }
            TxAnswer::Busy(retry_after_ms) if current => {
                self.stats.busy += 1;
                let pause = Duration::from_millis(u64::from(retry_after_ms)).min(self.options.backoff_max);
                self.slots[slot].avoid_until = Some(now + pause);
                self.back_off(txid, pause, now);
            }
            TxAnswer::Rejected(reason) => {
                *self.stats.refusals.entry(reason).or_default() += 1;
                if current {
                    self.rejected(slot, txid, reason, now);
                }
            }
            TxAnswer::Busy(_) => self.stats.busy += 1,
        }
    }

    fn rejected(&mut self, slot: usize, txid: TxId, reason: RejectReason, now: Instant) {
        let Some(pending) = self.pending.get_mut(&txid) else { return };
        match standing(reason, pending.attempts) {
            Standing::Passing => {
                if reason == RejectReason::NotProposing {
                    self.slots[slot].avoid_until = Some(now + self.options.backoff_max);
                }
                self.back_off(txid, Duration::ZERO, now);
            }
            Standing::PerhapsOurs => {
                pending.phase = Phase::Executed;
                self.set_timer(txid, now + self.options.certify_max);
            }
            Standing::Final => {
                self.remove(&txid);
                self.settled.freed += 1;
                self.settled.events.push(SubmitEvent::Refused(txid, reason));
            }
        }
    }

    /// The batches to be sent now, by member.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(usize, Vec<TxId>)> {
        self.run_timers(now);
        self.run_silences(now);
        let full = self.slots.iter().any(|slot| slot.up && slot.queue.len() >= SUBMIT_MAX);
        if !full && self.flush_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.flush_at = None;
        self.move_from_lost(now);
        let mut batches = Vec::new();
        for slot in 0..self.slots.len() {
            if !self.slots[slot].up {
                continue;
            }
            if !self.slots[slot].queue.is_empty() {
                self.slots[slot].watch.sent(now);
            }
            let queue = std::mem::take(&mut self.slots[slot].queue);
            for part in queue.chunks(SUBMIT_MAX) {
                let batch: Vec<TxId> = part.iter().copied().filter(|txid| self.mark_sent(txid, slot, now)).collect();
                if !batch.is_empty() {
                    batches.push((slot, batch));
                }
            }
        }
        self.current = self.other_than(self.current, now);
        batches
    }

    /// The transactions of a batch.
    pub(super) fn transactions(&self, batch: &[TxId]) -> Vec<Transaction> {
        batch.iter().filter_map(|txid| self.pending.get(txid)).map(|pending| pending.transaction).collect()
    }

    fn mark_sent(&mut self, txid: &TxId, slot: usize, now: Instant) -> bool {
        let Some(pending) = self.pending.get_mut(txid) else { return false };
        if pending.phase != Phase::Ready || pending.slot != slot {
            return false;
        }
        (pending.phase, pending.sent_at) = (Phase::Sent, now);
        self.stats.resubmitted += u64::from(pending.attempts > 0);
        let patience = self.pace.attempt() * (1 << pending.attempts.min(4));
        pending.attempts += 1;
        self.set_timer(*txid, now + patience);
        true
    }

    fn run_timers(&mut self, now: Instant) {
        while let Some(Reverse((at, txid, timer))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            let Some(pending) = self.pending.get(&txid).filter(|pending| pending.timer == timer) else { continue };
            if now.duration_since(pending.since) >= self.options.give_up_after {
                self.remove(&txid);
                self.settled.freed += 1;
                self.settled.events.push(SubmitEvent::GaveUp(txid));
                continue;
            }
            if matches!(pending.phase, Phase::Sent | Phase::Executed) {
                self.stats.timeouts += 1;
                let slot = pending.slot;
                if !self.budget.take(1, self.pending.len(), now) {
                    self.set_timer(txid, now + self.pace.attempt());
                    continue;
                }
                self.slots[slot].avoid_until = Some(now + self.options.backoff_max);
            }
            self.retry(txid, now);
        }
    }

    /// Puts a transaction into another member's queue.
    fn retry(&mut self, txid: TxId, now: Instant) {
        let Some(slot) = self.pending.get(&txid).map(|pending| self.other_than(pending.slot, now)) else { return };
        let Some(pending) = self.pending.get_mut(&txid) else { return };
        (pending.phase, pending.slot) = (Phase::Ready, slot);
        pending.timer += 1;
        if let Some(route) = pending.sender.and_then(|sender| self.routes.get_mut(&sender)) {
            route.slot = slot;
        }
        self.enqueue(slot, txid, now);
    }

    fn back_off(&mut self, txid: TxId, least: Duration, now: Instant) {
        let factor = self.jitter_factor();
        let Some(pending) = self.pending.get_mut(&txid) else { return };
        pending.phase = Phase::Waiting;
        let doubled = self.options.backoff_min * (1 << pending.attempts.saturating_sub(1).min(10));
        let pause = doubled.min(self.options.backoff_max).mul_f64(factor).max(least);
        self.set_timer(txid, now + pause);
    }

    fn enqueue(&mut self, slot: usize, txid: TxId, now: Instant) {
        self.slots[slot].queue.push(txid);
        if self.flush_at.is_none() && self.slots.iter().any(|slot| slot.up) {
            self.flush_at = Some(now + self.options.linger);
        }
    }

    /// What waits for members that are away goes to the ones that are there.
    fn move_from_lost(&mut self, now: Instant) {
        if !self.slots.iter().any(|slot| slot.up) {
            return;
        }
        for slot in 0..self.slots.len() {
            if !self.slots[slot].up {
                for txid in std::mem::take(&mut self.slots[slot].queue) {
                    self.retry(txid, now);
                }
            }
        }
    }

    /// The next member after `slot` that is there and not to be avoided; failing that, one that is there.
    fn other_than(&self, slot: usize, now: Instant) -> usize {
        let count = self.slots.len();
        let after = (1..=count).map(|step| (slot + step) % count);
        let there = after.filter(|slot| self.slots[*slot].up);
        let free = |slot: &usize| self.slots[*slot].avoid_until.is_none_or(|until| until <= now);
        let willing = there.clone().find(|slot| free(slot) && !self.doubtful(*slot, now));
        willing.or_else(|| there.clone().next()).unwrap_or(slot)
    }

    fn set_timer(&mut self, txid: TxId, at: Instant) {
        if let Some(pending) = self.pending.get_mut(&txid) {
            pending.timer += 1;
            self.timers.push(Reverse((at, txid, pending.timer)));
        }
    }

    fn remove(&mut self, txid: &TxId) -> bool {
        let Some(pending) = self.pending.remove(txid) else { return false };
        if let Some(sender) = pending.sender
            && let Some(route) = self.routes.get_mut(&sender)
        {
            route.pending -= 1;
            if route.pending == 0 {
                self.routes.remove(&sender);
            }
        }
        true
    }

    /// Between 0.5 and 1 (xorshift: it spreads attempts, it hides nothing).
    fn jitter_factor(&mut self) -> f64 {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        0.5 + (self.jitter >> 40) as f64 / (1u64 << 25) as f64
    }
}

#[cfg(test)]
mod tests;
