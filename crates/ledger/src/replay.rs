//! Catching up: executing ledger blocks of others (DESIGN §4, "Rejoin").
//!
//! Guarantees: a block is taken only if f + 1 members of this ledger's own keyset of that epoch signed its
//! header, it continues the chain, and executing its items gives exactly that header. Otherwise nothing
//! changes. Items enter no hash except through what they do, so whoever serves a genuine header with
//! other items, or with signatures that do not verify, is refused.
//!
//! With Q signatures the block is certified. With fewer it is *attested*: an honest member has executed
//! it, so it is what the committee ordered, but nothing to show to anybody. It then stands here like a
//! block made from a commit, and waits for its certificate.

use std::sync::Arc;

use shardpay_crypto::{IdentifiedTransaction, SignedItem, header_hash, opaque_id, transaction_message_into};
use shardpay_types::{CertifiedBlock, CertifiedHeader, EpochChange, Height, LedgerBlock, LedgerItem, Transaction};

use crate::api::{Executed, Store, StoreError, Verdict};
use crate::draft::{Draft, Frame};
use crate::execute::report;
use crate::ledger::{Change, Ledger};

/// Why a certified block was not replayed. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Not the next height.
    #[error("height {found}, expected {expected}")]
    NotNext {
        /// The height that comes next here.
        expected: Height,
        /// The height offered.
        found: Height,
    },
    /// Another ledger or committee.
    #[error("another ledger or committee")]
    WrongCommittee,
    /// Not of the running epoch.
    #[error("not of the running epoch")]
    WrongEpoch,
    /// Its parent is not the last header here.
    #[error("does not continue the chain")]
    BadParent,
    /// Fewer than f + 1 valid signatures over the header.
    #[error("certificate does not verify")]
    BadCertificate,
    /// A transaction's signature does not verify.
    #[error("a transaction's signature does not verify")]
    BadSignature,
    /// Executing the items does not give the header.
    #[error("items do not give the header")]
    Diverged,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<S: Store> Ledger<S> {
    /// Executes the next block: certified, or attested by f + 1 members.
    pub fn replay(&mut self, next: &CertifiedBlock) -> Result<Executed, ReplayError> {
        let header = &next.block.header;
        let sealed = CertifiedHeader { header: header.clone(), certificate: next.certificate.clone() };
        let is_certified = self.check_continues(&sealed)?;
        self.check_signatures(&next.block)?;
        if self.running.closed.is_some() {
            self.open_epoch();
        }
        let frame = Frame {
            epoch: header.epoch,
            anchor: header.anchor,
            leaders: header.leaders,
            ledger_time: header.ledger_time,
        };
        let head = self.head.clone();
        let mut draft =
            Draft::begin((&self.store, &self.judge), self.constants, frame, (&mut self.books, &self.links), head);
        let mut executed = Executed { round: header.anchor.round, ..Executed::default() };
        let outcome = replay_items(&mut draft, &next.block, &mut executed);
        let debited = next.block.items.iter().filter_map(debited);
        executed.senders = draft.states(debited.filter_map(|key| draft.books().accounts().find(&key)).collect());
        let finished = draft.finish_or_abandon();
        let same = finished.blocks.len() == 1 && finished.head.hash == header_hash(header);
        let checked = outcome.and_then(|closing| if same { Ok(closing) } else { Err(ReplayError::Diverged) });
        let closing = checked.inspect_err(|_| self.books.roll_back())?;

        let closed = closing.map(|change| (Arc::new(change.plan.clone()), header.height));
        let mut leaders = self.leaders.clone();
        leaders.replayed(header);
        report(&mut executed, &finished, closed.as_ref());
        // above a block that lacks its certificate this one's comes in its turn, by `certify`
        let certified = (is_certified && self.pending.is_empty()).then_some(&sealed);
        executed.blocks = self.install(finished, Change { leaders, closed, certified })?;
        Ok(executed)
    }

    /// Whether Q members signed the header; an error when it is not the next one or too few did.
    fn check_continues(&self, sealed: &CertifiedHeader) -> Result<bool, ReplayError> {
        let header = &sealed.header;
        let expected = self.head.height.next();
        if header.height != expected {
            return Err(ReplayError::NotNext { expected, found: header.height });
        }
        if header.chain != self.judge.chain || header.committee != self.judge.own {
            return Err(ReplayError::WrongCommittee);
        }
        // Once the epoch has closed, the recorded keyset is the next one's.
        let keyset = &self.links.keysets[self.judge.own.index()];
        if header.epoch != keyset.epoch() {
            return Err(ReplayError::WrongEpoch);
        }
        if header.parent != self.head.hash {
            return Err(ReplayError::BadParent);
        }
        let members = keyset.plan.committee(self.judge.own).expect("the own committee is in every plan");
        let signers = self.judge.signers(members, &header_hash(header), sealed);
        if signers > members.faults_max() { Ok(signers >= members.quorum()) } else { Err(ReplayError::BadCertificate) }
    }

    fn check_signatures(&self, block: &LedgerBlock) -> Result<(), ReplayError> {
        let transactions: Vec<&Transaction> = block.items.iter().filter_map(transaction).collect();
        let mut arena = Vec::new();
        let ends: Vec<usize> = transactions
            .iter()
            .map(|transaction| {
                transaction_message_into(&self.judge.chain, transaction, &mut arena);
                arena.len()
            })
            .collect();
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let items: Vec<SignedItem<'_>> = starts
            .zip(&ends)
            .zip(&transactions)
            .map(|((start, end), transaction)| SignedItem {
                key: transaction.debit().map_or(self.running.plan.issuer, |(sender, _)| sender),
                message: &arena[start..*end],
                signature: *transaction.signature(),
            })
            .collect();
        let good = self.judge.scheme.verify_batch(&items).iter().all(|good| *good);
        if good { Ok(()) } else { Err(ReplayError::BadSignature) }
    }
}

fn transaction(item: &LedgerItem) -> Option<&Transaction> {
    match item {
        LedgerItem::Transaction(executed) => Some(&executed.transaction),
        _ => None,
    }
}

fn debited(item: &LedgerItem) -> Option<shardpay_types::PublicKey> {
    transaction(item).and_then(Transaction::debit).map(|(sender, _)| sender)
}

/// Executes the items in their order; each must do what the block says.
fn replay_items<'b, S: Store>(
    draft: &mut Draft<'_, S>,
    block: &'b LedgerBlock,
    executed: &mut Executed,
) -> Result<Option<&'b EpochChange>, ReplayError> {
    let chain = &block.header.chain;
    let mut closing = None;
    for item in &block.items {
        if closing.is_some() {
            return Err(ReplayError::Diverged);
        }
        match item {
            LedgerItem::Transaction(expected) => {
                let identified = IdentifiedTransaction::new(chain, expected.transaction);
                let placed = draft.transaction(&identified)?.map_err(|_| ReplayError::Diverged)?;
                let verdict = Verdict::Executed { height: placed.height, leaf: placed.leaf, outcome: placed.outcome };
                executed.verdicts.push((identified.txid, verdict));
            }
            LedgerItem::Opaque(payload) => {
                let txid = opaque_id(chain, payload);
                let placed = draft.opaque(&txid, payload).map_err(|_| ReplayError::Diverged)?;
                let verdict = Verdict::Executed { height: placed.height, leaf: placed.leaf, outcome: placed.outcome };
                executed.verdicts.push((txid, verdict));
            }
            LedgerItem::Pack(expected) => drop(draft.pack(&expected.pack).map_err(|_| ReplayError::Diverged)?),
            LedgerItem::Closing(record) => draft.closing(record).map_err(|_| ReplayError::Diverged)?,
            LedgerItem::EpochChange(change) => {
                draft.check_epoch_change(change).map_err(|_| ReplayError::Diverged)?;
                closing = Some(change);
            }
        }
    }
    let next_plan = closing.map(|change| draft.close(change));
    draft.seal(block.header.last_of_commit, next_plan);
    Ok(closing)
}
