//! Transactions that wait to be proposed, and those that were and are not executed yet (DESIGN §3).
//!
//! Guarantees: a sender's transactions are handed out in sequence without gaps, counting what was handed
//! out before; executable ones go by arrival (first executable, first out), so one sender's backlog
//! delays nobody else's by more than its own length. Memory is bounded by count and bytes, per sender
//! and in all; each transaction that is held either gets an answer or is still held.
//!
//! Assumes nothing about the views of accounts that come with submissions: the freshest of what the
//! driver read, what the ledger last reported and what is held counts, and the ledger decides anyway.
//!
//! Volatile on purpose: only a certificate is a promise.

mod admission;
mod recent;
mod sender;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use shardpay_crypto::{IdentifiedTransaction, SealedBlock};
use shardpay_ledger::{Executed, TxReject, Verdict};
use shardpay_types::{
    AccountState, Amount, CommitteePlan, Constants, DepositRef, PublicKey, Round, Sequence, Timestamp, Total,
    Transaction, TxId,
};

use crate::api::{Answer, ClientToken, Refusal};
use crate::config::MempoolLimits;
use crate::keyed::{KeyedMap, keyed_map};
use recent::Recent;
use sender::Sender;

/// Names a held transaction: an account's sequence, or a deposit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Debit(PublicKey, Sequence),
    Mint(DepositRef),
}

impl Key {
    fn of(transaction: &Transaction) -> Self {
        match transaction {
            Transaction::Payment(tx) => Self::Debit(tx.body.sender, tx.body.sequence),
            Transaction::Redeem(tx) => Self::Debit(tx.body.sender, tx.body.sequence),
            Transaction::Mint(tx) => Self::Mint(tx.body.deposit_ref),
        }
    }
}

/// Where a held transaction stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A lower sequence is missing.
    Waiting,
    /// Goes into the next own block.
    Ready,
    /// In the own block of that round.
    Proposed(Round),
}

/// Order of arrival in a place.
type Ticket = u64;

#[derive(Debug, Clone)]
struct Entry {
    held: IdentifiedTransaction,
    place: Place,
    ticket: Ticket,
    clients: Vec<ClientToken>,
}

/// What execution told about the rules' changing part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LedgerClock {
    /// Of the last header.
    pub(crate) time: Timestamp,
    /// Coins minted here so far.
    pub(crate) minted: Total,
}

/// The pool. Answers pile up in it until [`Mempool::take_answers`].
pub(crate) struct Mempool {
    limits: MempoolLimits,
    committee: CommitteePlan,
    constants: Constants,
    clock: LedgerClock,
    senders: KeyedMap<PublicKey, Sender>,
    mints: KeyedMap<DepositRef, Entry>,
    keys: KeyedMap<TxId, Key>,
    waiting: BTreeMap<Ticket, Key>,
    ready: BTreeMap<Ticket, Key>,
    proposed: BTreeMap<Ticket, Key>,
    expiry: BTreeMap<(Timestamp, TxId), Key>,
    recent: Recent,
    bytes: usize,
    next_ticket: Ticket,
    answers: Vec<(ClientToken, TxId, Answer)>,
    evicted: usize,
}

impl Mempool {
    pub(crate) fn new(
        limits: MempoolLimits,
        seed: u64,
        committee: CommitteePlan,
        constants: Constants,
        clock: LedgerClock,
    ) -> Self {
        Self {
            limits,
            committee,
            constants,
            clock,
            senders: keyed_map(seed),
            mints: keyed_map(seed),
            keys: keyed_map(seed),
            waiting: BTreeMap::new(),
            ready: BTreeMap::new(),
            proposed: BTreeMap::new(),
            expiry: BTreeMap::new(),
            recent: Recent::new(seed, limits.recent_accounts_max),
            bytes: 0,
            next_ticket: 0,
            answers: Vec::new(),
            evicted: 0,
        }
    }

    /// Transactions held.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether something can go into the next own block.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Answers since the last call.
    pub(crate) fn take_answers(&mut self) -> Vec<(ClientToken, TxId, Answer)> {
        std::mem::take(&mut self.answers)
    }

    /// Transactions evicted since the last call.
    pub(crate) fn take_evicted(&mut self) -> usize {
        std::mem::take(&mut self.evicted)
    }

    /// Executable transactions for the own block of `round`, at most `count_max` in `bytes_max` bytes.
    pub(crate) fn take(&mut self, round: Round, count_max: usize, bytes_max: usize) -> Vec<Transaction> {
        let mut taken = Vec::new();
        let mut room = bytes_max;
        while taken.len() < count_max {
            let Some((ticket, key)) = self.ready.first_key_value().map(|(ticket, key)| (*ticket, *key)) else { break };
            let entry = self.entry_mut(&key);
            let transaction = entry.held.transaction;
            let Some(rest) = room.checked_sub(transaction.encoded_len()) else { break };
            room = rest;
            entry.place = Place::Proposed(round);
            self.ready.remove(&ticket);
            self.proposed.insert(ticket, key);
            taken.push(transaction);
        }
        taken
    }

    /// Own blocks that will never be committed: what they carried is to be proposed again.
    pub(crate) fn reclaim(&mut self, blocks: &[std::sync::Arc<SealedBlock>]) {
        for block in blocks {
            let (round, chain) = (block.reference().round, block.block().chain);
            for transaction in &block.block().payload.transactions {
                let key = Key::of(transaction);
                match self.entry(&key) {
                    Some(entry) if entry.held.transaction == *transaction && entry.place == Place::Proposed(round) => {
                        self.set_waiting(&key);
                    }
                    Some(_) => {}
                    None => self.adopt(IdentifiedTransaction::new(&chain, *transaction)),
                }
            }
        }
        self.expire();
    }

    /// What was handed out for the own block of `round` is to be proposed again: the block was not made.
    pub(crate) fn reclaim_round(&mut self, round: Round) {
        let in_round = |key: &Key| self.entry(key).is_some_and(|entry| entry.place == Place::Proposed(round));
        let keys: Vec<Key> = self.proposed.values().copied().filter(in_round).collect();
        for key in keys {
            self.set_waiting(&key);
        }
    }

    /// The epoch closed: nothing proposed in it will execute any more.
    pub(crate) fn reclaim_all(&mut self) {
        let proposed: Vec<Key> = self.proposed.values().copied().collect();
        for key in proposed {
            self.set_waiting(&key);
        }
        self.expire();
    }

    /// Settles what a commit (or a replayed block) did.
    pub(crate) fn executed(&mut self, executed: &Executed) {
        if let Some(made) = executed.blocks.last() {
            self.clock = LedgerClock { time: made.block.header.ledger_time, minted: made.block.header.totals.minted };
        }
        for (txid, verdict) in &executed.verdicts {
            self.settle(txid, verdict);
        }
        for (account, state) in &executed.senders {
            self.recent.insert(*account, *state);
            self.account_moved(account, *state);
        }
        self.expire();
    }

    fn settle(&mut self, txid: &TxId, verdict: &Verdict) {
        let Some(key) = self.keys.get(txid).copied() else { return };
        match *verdict {
            Verdict::Executed { height, leaf, outcome } => {
                self.remove(&key, Answer::Executed { height, leaf, outcome });
            }
            // not final: a lower sequence may still come, and a new epoch proposes again
            Verdict::Dropped(reason @ (TxReject::SequenceGap | TxReject::EpochClosed)) => {
                if self.is_guess(&key) && reason == TxReject::SequenceGap {
                    self.remove(&key, Answer::Rejected(Refusal::Ledger(reason)));
                } else {
                    self.set_waiting(&key);
                }
            }
            Verdict::Dropped(reason) => self.remove(&key, Answer::Rejected(Refusal::Ledger(reason))),
        }
    }

    /// The ledger executed `account` up to `state`.
    fn account_moved(&mut self, account: &PublicKey, state: AccountState) {
        let Some(sender) = self.senders.get_mut(account) else { return };
        sender.learn(state);
        let used: Vec<Sequence> = sender.used().collect();
        for sequence in used {
            let rejected = Answer::Rejected(Refusal::Ledger(TxReject::SequenceUsed));
            self.remove(&Key::Debit(*account, sequence), rejected);
        }
        self.requeue(account);
    }

    /// Gives up what ledger time has passed by, unless it may be in a commit already.
    fn expire(&mut self) {
        let mut later = Vec::new();
        while let Some(((until, txid), key)) = self.expiry.first_key_value().map(|(at, key)| (*at, *key)) {
            if until >= self.clock.time {
                break;
            }
            let proposed = self.entry(&key).is_some_and(|entry| matches!(entry.place, Place::Proposed(_)));
            if proposed {
                self.expiry.remove(&(until, txid));
                later.push(((until, txid), key));
            } else {
                self.remove(&key, Answer::Rejected(Refusal::Ledger(TxReject::Expired)));
            }
        }
        self.expiry.extend(later);
    }

    /// Everything that stands in the pool is refused: the node stops proposing.
    pub(crate) fn refuse_all(&mut self, refusal: Refusal) {
        let places = [&self.waiting, &self.ready, &self.proposed];
        let keys: Vec<Key> = places.into_iter().flat_map(|place| place.values().copied()).collect();
        for key in keys {
            self.remove(&key, Answer::Rejected(refusal));
        }
    }

    fn entry(&self, key: &Key) -> Option<&Entry> {
        match key {
            Key::Debit(account, sequence) => self.senders.get(account)?.entries.get(sequence),
            Key::Mint(deposit) => self.mints.get(deposit),
        }
    }

    /// # Panics
    /// When nothing is held under `key`: the places and the entries agree.
    fn entry_mut(&mut self, key: &Key) -> &mut Entry {
        let found = match key {
            Key::Debit(account, sequence) => {
                self.senders.get_mut(account).and_then(|sender| sender.entries.get_mut(sequence))
            }
            Key::Mint(deposit) => self.mints.get_mut(deposit),
        };
        found.expect("a key in a place names an entry")
    }

    fn is_guess(&self, key: &Key) -> bool {
        matches!(key, Key::Debit(account, _) if self.senders.get(account).is_some_and(|sender| sender.guessed))
    }

    /// Takes an entry out of its place.
    fn unplace(&mut self, place: Place, ticket: Ticket) {
        let removed = match place {
            Place::Waiting => self.waiting.remove(&ticket),
            Place::Ready => self.ready.remove(&ticket),
            Place::Proposed(_) => self.proposed.remove(&ticket),
        };
        assert!(removed.is_some(), "an entry stands in its place");
    }

    fn place(&mut self, key: Key, place: Place) {
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        let entry = self.entry_mut(&key);
        (entry.place, entry.ticket) = (place, ticket);
        match place {
            Place::Waiting => self.waiting.insert(ticket, key),
            Place::Ready => self.ready.insert(ticket, key),
            Place::Proposed(_) => self.proposed.insert(ticket, key),
        };
    }

    fn move_to(&mut self, key: Key, place: Place) {
        let entry = self.entry_mut(&key);
        let (old, ticket) = (entry.place, entry.ticket);
        self.unplace(old, ticket);
        self.place(key, place);
    }

    /// A proposed transaction is to be proposed again.
    fn set_waiting(&mut self, key: &Key) {
        if !self.entry(key).is_some_and(|entry| matches!(entry.place, Place::Proposed(_))) {
            return;
        }
        match key {
            Key::Mint(_) => self.move_to(*key, Place::Ready),
            Key::Debit(account, _) => {
                self.move_to(*key, Place::Waiting);
                self.requeue(account);
            }
        }
    }

    /// Puts a sender's transactions into the places their sequences give them, ascending tickets.
    fn requeue(&mut self, account: &PublicKey) {
        let Some(sender) = self.senders.get_mut(account) else { return };
        let moves = sender.moves();
        for (sequence, place) in moves {
            self.move_to(Key::Debit(*account, sequence), place);
        }
    }

    /// Forgets an entry and answers its clients.
    fn remove(&mut self, key: &Key, answer: Answer) {
        let removed = match key {
            Key::Mint(deposit) => self.mints.remove(deposit),
            Key::Debit(account, sequence) => {
                let Some(sender) = self.senders.get_mut(account) else { return };
                let removed = sender.remove(*sequence);
                if sender.entries.is_empty() {
                    self.senders.remove(account);
                }
                removed
            }
        };
        let Some(entry) = removed else { return };
        self.unplace(entry.place, entry.ticket);
        let (txid, transaction) = (entry.held.txid, entry.held.transaction);
        self.keys.remove(&txid);
        self.bytes -= transaction.encoded_len();
        self.expiry.remove(&(transaction.valid_until(), txid));
        self.answers.extend(entry.clients.into_iter().map(|client| (client, txid, answer)));
        if let (Key::Debit(account, _), false) = (key, matches!(answer, Answer::Executed { .. })) {
            self.requeue(account);
        }
    }

    fn insert(&mut self, held: IdentifiedTransaction, clients: Vec<ClientToken>) {
        let key = Key::of(&held.transaction);
        let entry = Entry { held, place: Place::Waiting, ticket: 0, clients };
        self.keys.insert(held.txid, key);
        self.bytes += held.transaction.encoded_len();
        if held.transaction.valid_until() != Timestamp::ZERO {
            self.expiry.insert((held.transaction.valid_until(), held.txid), key);
        }
        match key {
            Key::Mint(deposit) => {
                self.mints.insert(deposit, entry);
                self.place(key, Place::Ready);
            }
            Key::Debit(account, sequence) => {
                let sender = self.senders.get_mut(&account).expect("the caller made the sender");
                let executable = sequence == sender.ready_end;
                sender.insert(sequence, entry);
                self.place(key, Place::Waiting);
                if executable {
                    self.requeue(&account);
                }
            }
        }
    }

    /// Room for a transaction of `len` bytes; for an executable one it is made by giving up the oldest
    /// one with a gap before it.
    fn make_room(&mut self, len: usize, executable: bool) -> bool {
        let fits = |pool: &Self| pool.len() < pool.limits.count_max && pool.bytes + len <= pool.limits.bytes_max;
        if fits(self) || !executable {
            return fits(self);
        }
        let Some(oldest) = self.waiting.values().next().copied() else { return false };
        self.evicted += 1;
        self.remove(&oldest, Answer::Rejected(Refusal::Ledger(TxReject::SequenceGap)));
        fits(self)
    }

    /// Takes back what an own block of an earlier life of this process carried. Nobody waits for it, and
    /// the account's state is a guess that the first verdict corrects.
    fn adopt(&mut self, held: IdentifiedTransaction) {
        if self.keys.contains_key(&held.txid) || !self.make_room(held.transaction.encoded_len(), true) {
            return;
        }
        if let Some((account, sequence)) = held.transaction.debit() {
            let known = self.recent.get(&account);
            if known.is_some_and(|state| sequence < state.next_sequence) {
                return;
            }
            let guess = AccountState { balance: Amount::from_micros(u64::MAX), next_sequence: sequence };
            let per_sender_max = self.limits.per_sender_max;
            let sender = self.senders.entry(account).or_insert_with(|| Sender::new(known.unwrap_or(guess)));
            if known.is_none() && sender.entries.is_empty() {
                sender.guessed = true;
            }
            if sender.entries.len() >= per_sender_max {
                return;
            }
        }
        self.insert(held, Vec::new());
    }
}
