//! What members said, what became of it, and what is owed.

use shardpay_ledger::TxReject;
use shardpay_replica::{Answer, Refusal};
use shardpay_types::{Timestamp, Transaction, TxId};

use super::{Life, Submission, Workload};
use crate::checkers::Books;
use crate::engine::Instant;
use crate::topology::NodeIndex;

impl Workload {
    /// A member answered about a transaction.
    pub(crate) fn answered(&mut self, life: Life, id: TxId, answer: &Answer) {
        let Some(tracked) = self.tracked.get_mut(&id) else { return };
        tracked.answered = true;
        match answer {
            Answer::Accepted => {
                self.coverage.hit("answer: accepted");
                tracked.holders.insert(life);
            }
            Answer::Busy { .. } => self.coverage.hit("answer: busy"),
            Answer::Executed { .. } => self.coverage.hit("answer: executed"),
            Answer::Rejected(refusal) => {
                self.coverage.hit("answer: rejected");
                self.coverage.hit(refusal_name(refusal));
                // A member that took it may let go of it only because its time is over.
                if releases(refusal) {
                    tracked.holders.remove(&life);
                }
            }
        }
        if tracked.holders.is_empty() && matches!(answer, Answer::Rejected(_) | Answer::Busy { .. }) {
            self.let_go(id);
        }
    }

    /// Nobody holds the transaction: its sequence is free again.
    fn let_go(&mut self, id: TxId) {
        let Some(tracked) = self.tracked.get(&id) else { return };
        if let (Some(client), Some((_, sequence))) = (tracked.client, tracked.transaction.debit()) {
            let occupied = &mut self.clients[client].occupied;
            if occupied.get(&sequence.get()) == Some(&id) {
                occupied.remove(&sequence.get());
            }
        }
    }

    /// A transaction left a leaf.
    pub(crate) fn executed(&mut self, id: &TxId) {
        if self.open.remove(id)
            && let Some(tracked) = self.tracked.get(id)
            && self.executed.len() < 64
        {
            self.executed.push(tracked.transaction);
        }
    }

    /// Clients look after what they sent: who got no answer, or no result and is of the impatient
    /// kind, asks another member with the same bytes.
    pub(crate) fn look_after(&mut self, now: Instant, books: &Books) -> Vec<Submission> {
        let mut again = Vec::new();
        let mut over = Vec::new();
        for id in &self.open {
            let tracked = &self.tracked[id];
            let waited = now.since(tracked.sent);
            let turn = is_next(books, tracked.committee, &tracked.transaction);
            if !turn && is_past(books, tracked.committee, &tracked.transaction) {
                over.push(*id);
            }
            let impatient = tracked.client.is_none_or(|client| self.clients[client].retries);
            let due = waited > Self::PATIENCE && tracked.attempts < 4 && turn;
            if due && (impatient || !tracked.answered) && tracked.transaction.valid_until() == Timestamp::ZERO {
                again.push(*id);
            }
        }
        for id in over {
            self.open.remove(&id);
        }
        let mut submissions = Vec::new();
        for id in again {
            let committee = self.tracked[&id].committee;
            let node = self.member(committee);
            let Some(tracked) = self.tracked.get_mut(&id) else { continue };
            tracked.attempts += 1;
            tracked.sent = now;
            self.coverage.hit("client: retry");
            submissions.push(Submission { at: now, node, transaction: tracked.transaction });
        }
        submissions
    }

    /// What an honest, living member holds, whose turn has come, and that is not executed: the
    /// transaction and its holder. `lives` says whether a process still runs and is honest.
    pub(crate) fn stuck(
        &self,
        ledger_time: impl Fn(usize) -> Timestamp,
        books: &Books,
        lives: impl Fn(Life) -> bool,
    ) -> Option<(TxId, NodeIndex)> {
        self.open.iter().find_map(|id| {
            let tracked = &self.tracked[id];
            let transaction = &tracked.transaction;
            let valid_until = transaction.valid_until();
            let expired = valid_until != Timestamp::ZERO && valid_until < ledger_time(tracked.committee);
            if expired || !is_next(books, tracked.committee, transaction) {
                return None;
            }
            tracked.holders.iter().find(|life| lives(**life)).map(|life| (*id, life.node))
        })
    }

    /// What was sent, for reports.
    pub(crate) fn describe(&self, id: &TxId) -> String {
        self.tracked.get(id).map_or_else(String::new, |tracked| {
            format!(
                "{:?} sent {:.3}, attempts {}, holders {:?}",
                tracked.transaction,
                tracked.sent.seconds(),
                tracked.attempts,
                tracked.holders
            )
        })
    }
}

/// Whether the transaction could execute now, as far as sequence or deposit go.
fn is_next(books: &Books, committee: usize, transaction: &Transaction) -> bool {
    match transaction {
        Transaction::Mint(mint) => !books.deposit_used(&mint.body.deposit_ref),
        other => other.debit().is_some_and(|(key, sequence)| books.next_sequence(committee, &key) == sequence),
    }
}

/// Whether it can never execute any more.
fn is_past(books: &Books, committee: usize, transaction: &Transaction) -> bool {
    match transaction {
        Transaction::Mint(mint) => books.deposit_used(&mint.body.deposit_ref),
        other => other.debit().is_some_and(|(key, sequence)| books.next_sequence(committee, &key) > sequence),
    }
}

/// Reasons for which a member may drop what it accepted.
const fn releases(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Ledger(reject) => matches!(
            reject,
            TxReject::SequenceUsed
                | TxReject::Expired
                | TxReject::DepositUsed
                | TxReject::MintCapReached
                | TxReject::DestinationBusy
                | TxReject::EpochClosed
        ),
        Refusal::NotProposing => true,
        Refusal::TooFarAhead | Refusal::SequencePending | Refusal::ShortBalance => false,
    }
}

const fn refusal_name(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Ledger(reject) => match reject {
            TxReject::SequenceUsed => "drop: sequence already used",
            TxReject::SequenceGap => "drop: a lower sequence is missing",
            TxReject::WrongCommittee => "drop: another committee decides",
            TxReject::AmountTooSmall => "drop: amount below the minimum",
            TxReject::Expired => "drop: expired",
            TxReject::DepositUsed => "drop: deposit already minted",
            TxReject::MintCapReached => "drop: mint cap reached",
            TxReject::BadRecipient => "drop: bad recipient",
            TxReject::RecipientFull => "drop: recipient full",
            TxReject::DestinationBusy => "drop: destination busy",
            TxReject::EpochClosed => "drop: epoch closed first",
            TxReject::OpaqueRefused => "drop: opaque payload",
        },
        Refusal::TooFarAhead => "refusal: too far ahead",
        Refusal::SequencePending => "refusal: sequence pending",
        Refusal::ShortBalance => "refusal: short balance",
        Refusal::NotProposing => "refusal: not proposing",
    }
}
