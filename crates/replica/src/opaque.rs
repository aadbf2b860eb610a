//! Opaque payloads that wait to be proposed, and those that were and are not executed yet.
//!
//! Guarantees: first in, first out; memory is bounded by count and bytes; each payload that is held either gets an
//! answer or is still held. What one submission brought is ordered at most once through this member: a payload is
//! proposed again only when the block that carried it can no longer be committed, and given up where that cannot be
//! known.
//!
//! Nothing else remembers payloads. The same bytes submitted again after their answer, or to another member, are
//! ordered again, under the same id and in another place.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use shardpay_crypto::{IdentifiedOpaque, SealedBlock, Verified};
use shardpay_ledger::{Executed, Verdict};
use shardpay_types::{Opaque, Round, TxId};

use crate::api::{Answer, ClientToken, Refusal};
use crate::config::MempoolLimits;
use crate::keyed::{KeyedMap, keyed_map};

struct Held {
    payload: Opaque,
    client: ClientToken,
    /// Clients that brought the same bytes meanwhile.
    others: Vec<ClientToken>,
}

/// The pool. Answers pile up in it until [`OpaquePool::take_answers`].
pub(crate) struct OpaquePool {
    limits: MempoolLimits,
    held: KeyedMap<TxId, Held>,
    /// In the order in which they came; what is not held any more is passed over.
    ready: VecDeque<TxId>,
    /// By the round of the own block that carries them.
    proposed: BTreeMap<Round, Vec<TxId>>,
    bytes: usize,
    answers: Vec<(ClientToken, TxId, Answer)>,
}

impl OpaquePool {
    pub(crate) fn new(limits: MempoolLimits, seed: u64) -> Self {
        Self {
            limits,
            held: keyed_map(seed),
            ready: VecDeque::new(),
            proposed: BTreeMap::new(),
            bytes: 0,
            answers: Vec::new(),
        }
    }

    /// Payloads held.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether something can go into the next own block.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Answers since the last call.
    pub(crate) fn take_answers(&mut self) -> Vec<(ClientToken, TxId, Answer)> {
        std::mem::take(&mut self.answers)
    }

    /// Holds a client's payload. That the ledger orders it was checked where it was made [`Verified`].
    pub(crate) fn submit(&mut self, client: ClientToken, payload: Verified<IdentifiedOpaque>) -> Answer {
        let IdentifiedOpaque { payload, txid } = payload.into_inner();
        if let Some(held) = self.held.get_mut(&txid) {
            if held.client != client && !held.others.contains(&client) {
                if held.others.len() + 1 >= self.limits.clients_max {
                    return self.busy();
                }
                held.others.push(client);
            }
            return Answer::Accepted;
        }
        let len = payload.encoded_len();
        if self.held.len() >= self.limits.count_max || self.bytes + len > self.limits.bytes_max {
            return self.busy();
        }
        self.bytes += len;
        self.held.insert(txid, Held { payload, client, others: Vec::new() });
        self.ready.push_back(txid);
        Answer::Accepted
    }

    fn busy(&self) -> Answer {
        Answer::Busy { retry_after_ms: u32::try_from(self.limits.retry_after.as_millis()).unwrap_or(u32::MAX) }
    }

    /// Payloads for the own block of `round`, at most `count_max` in `bytes_max` bytes.
    pub(crate) fn take(&mut self, round: Round, count_max: usize, bytes_max: usize) -> Vec<Opaque> {
        let (mut taken, mut ids) = (Vec::new(), Vec::new());
        let mut room = bytes_max;
        while taken.len() < count_max
            && let Some(txid) = self.ready.front()
        {
            if let Some(held) = self.held.get(txid) {
                let Some(rest) = room.checked_sub(held.payload.encoded_len()) else { break };
                room = rest;
                taken.push(held.payload.clone());
                ids.push(*txid);
            }
            self.ready.pop_front();
        }
        if !ids.is_empty() {
            self.proposed.insert(round, ids);
        }
        taken
    }

    /// Own blocks that will never be committed: what they carried is to be proposed again.
    pub(crate) fn reclaim(&mut self, blocks: &[Arc<SealedBlock>]) {
        blocks.iter().for_each(|block| self.reclaim_round(block.reference().round));
    }

    /// The own block of `round` was not made, or will never be committed.
    pub(crate) fn reclaim_round(&mut self, round: Round) {
        for txid in self.proposed.remove(&round).into_iter().flatten().rev() {
            self.ready.push_front(txid);
        }
    }

    /// The epoch closed: nothing proposed in it will execute any more.
    pub(crate) fn reclaim_all(&mut self) {
        while let Some(round) = self.proposed.last_key_value().map(|(round, _)| *round) {
            self.reclaim_round(round);
        }
    }

    /// What was proposed may have been executed or may be yet, and nobody here will learn it.
    pub(crate) fn give_up_proposed(&mut self) {
        for txid in std::mem::take(&mut self.proposed).into_values().flatten() {
            self.remove(&txid, Answer::Rejected(Refusal::NotProposing));
        }
    }

    /// Settles what a commit did. `own`: rounds of own blocks that were executed.
    pub(crate) fn executed(&mut self, executed: &Executed, own: &[Round]) {
        if !self.held.is_empty() {
            for (txid, verdict) in &executed.verdicts {
                match *verdict {
                    Verdict::Executed { height, leaf, outcome } => {
                        self.remove(txid, Answer::Executed { height, leaf, outcome });
                    }
                    // proposed again in the next epoch
                    Verdict::Dropped(_) => {}
                }
            }
        }
        own.iter().for_each(|round| drop(self.proposed.remove(round)));
    }

    /// Everything is refused: the node stops proposing.
    pub(crate) fn refuse_all(&mut self, refusal: Refusal) {
        self.give_up_proposed();
        for txid in std::mem::take(&mut self.ready) {
            self.remove(&txid, Answer::Rejected(refusal));
        }
    }

    fn remove(&mut self, txid: &TxId, answer: Answer) {
        let Some(Held { payload, client, others }) = self.held.remove(txid) else { return };
        self.bytes -= payload.encoded_len();
        self.answers.push((client, *txid, answer));
        self.answers.extend(others.into_iter().map(|client| (client, *txid, answer)));
    }
}
