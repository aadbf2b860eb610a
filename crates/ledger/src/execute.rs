//! Executing a commit (DESIGN §3): blocks in order; within one closings, packs, transactions, opaque payloads; then one
//! pass over future sequences; then the epoch change.
//!
//! Guarantees: the result is a function of the ledger's state and the commit. Each transaction gets a
//! verdict in the order in which it was met. An error of the store leaves everything as it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use shardpay_crypto::{Commit, IdentifiedTransaction, leaders_hash, opaque_id, sha256, transaction_message_into, txid};
use shardpay_types::{ChainId, Constants, EpochChange, Height, Payload, Plan, PublicKey, Sequence, Transaction, TxId};

use crate::accounts::Slot;
use crate::api::{Executed, ItemReject, Store, StoreError, TxReject, Verdict};
use crate::draft::{Draft, Finished, Frame, Placed};
use crate::ledger::{Change, Ledger};

impl<S: Store> Ledger<S> {
    /// Executes a commit of the running epoch, or opens the next epoch with its first commit. What a
    /// closed epoch still commits is not executed.
    ///
    /// # Panics
    /// When commits do not ascend or come from an epoch that has not begun: bugs of the own consensus.
    pub fn execute(&mut self, commit: &Commit) -> Result<Executed, StoreError> {
        let running = self.running.plan.epoch;
        let epoch = commit.blocks.last().map_or(running, |sealed| sealed.block().epoch);
        if self.running.closed.is_some() && epoch == running.next() {
            self.open_epoch();
        } else if self.running.closed.is_some() || epoch < running {
            return Ok(after_close(&self.judge.chain, commit));
        }
        assert_eq!(epoch, self.running.plan.epoch, "consensus runs the ledger's epoch");
        assert!(commit.anchor.round > self.leaders.last_output, "commits ascend: {:?}", commit.anchor);
        let frame = Frame {
            epoch,
            anchor: commit.anchor,
            leaders: leaders_hash(&commit.leaders),
            ledger_time: self.head.ledger_time.max(commit.median_time),
        };
        let head = self.head.clone();
        let mut draft =
            Draft::begin((&self.store, &self.judge), self.constants, frame, (&mut self.books, &self.links), head);
        let mut run = Run::new(&self.judge.chain, self.constants);
        let outcome = run.commit(&mut draft, commit);
        let senders = draft.states(std::mem::take(&mut run.debited));
        let finished = draft.finish_or_abandon();
        if let Err(error) = outcome {
            self.books.roll_back();
            return Err(error);
        }
        let Run { mut executed, closing, .. } = run;
        executed.senders = senders;
        self.conclude(finished, commit, executed, closing)
    }

    fn conclude(
        &mut self,
        finished: Finished,
        commit: &Commit,
        mut executed: Executed,
        closing: Option<EpochChange>,
    ) -> Result<Executed, StoreError> {
        let mut leaders = self.leaders.clone();
        leaders.committed(commit.anchor.round, &commit.leaders);
        finished.blocks.iter().for_each(|sealed| leaders.made(&sealed.made.block.header));
        let closed = closing.map(|change| (Arc::new(change.plan), finished.head.height));
        executed.round = commit.anchor.round;
        report(&mut executed, &finished, closed.as_ref());
        executed.blocks = self.install(finished, Change { leaders, closed, certified: None })?;
        Ok(executed)
    }
}

/// Fills in what moved.
pub(crate) fn report(executed: &mut Executed, finished: &Finished, closed: Option<&(Arc<Plan>, Height)>) {
    executed.cursors = finished.cursors.iter().map(|(source, cursor)| cursor.leaf(*source)).collect();
    executed.outboxes = finished.appended.iter().map(|(destination, log)| (*destination, log.count())).collect();
    executed.keysets = finished.keysets.iter().map(|(committee, keyset)| (*committee, keyset.epoch())).collect();
    executed.closed = closed.map(|(plan, _)| plan.clone());
}

/// The answer to a commit of an epoch that has closed.
fn after_close(chain: &ChainId, commit: &Commit) -> Executed {
    let mut executed = Executed { round: commit.anchor.round, ..Executed::default() };
    for sealed in &commit.blocks {
        let payload = &sealed.block().payload;
        let transactions = payload.transactions.iter().map(|transaction| txid(chain, transaction));
        let opaque = payload.opaque.iter().map(|payload| opaque_id(chain, payload));
        let dropped = |txid| (txid, Verdict::Dropped(TxReject::EpochClosed));
        executed.verdicts.extend(transactions.chain(opaque).map(dropped));
        let others = payload.closings.len() + payload.packs.len() + usize::from(payload.epoch_change.is_some());
        executed.refused.extend(std::iter::repeat_n(ItemReject::WrongEpoch, others));
    }
    executed
}

/// A transaction met before its turn.
struct Early {
    identified: IdentifiedTransaction,
    /// Its verdict's position.
    at: usize,
}

/// Transactions whose accounts are brought near together: some 30 KB of entries, which fit the L1 and L2 caches.
const WARM_TRANSACTIONS: usize = 256;

/// The run over one commit.
struct Run<'a> {
    chain: &'a ChainId,
    constants: Constants,
    executed: Executed,
    debited: Vec<Slot>,
    /// The signed bytes of the transaction at hand.
    message: Vec<u8>,
    /// Senders with early transactions, in first-met order.
    early_senders: Vec<PublicKey>,
    early: BTreeMap<PublicKey, BTreeMap<Sequence, Early>>,
    /// Verdicts that stay "gap" unless the sequence is used up by the end: (position, sender, sequence).
    left_over: Vec<(usize, PublicKey, Sequence)>,
    closing: Option<EpochChange>,
}

impl<'a> Run<'a> {
    fn new(chain: &'a ChainId, constants: Constants) -> Self {
        Self {
            chain,
            constants,
            executed: Executed::default(),
            debited: Vec::new(),
            message: Vec::new(),
            early_senders: Vec::new(),
            early: BTreeMap::new(),
            left_over: Vec::new(),
            closing: None,
        }
    }

    fn commit<S: Store>(&mut self, draft: &mut Draft<'_, S>, commit: &Commit) -> Result<(), StoreError> {
        for sealed in &commit.blocks {
            self.payload(draft, &sealed.block().payload)?;
        }
        self.future_pass(draft)?;
        let next_plan = self.closing.as_ref().map(|change| draft.close(change));
        let due = draft.head().anchor.plus(u64::from(self.constants.anchor_rounds));
        if draft.has_items() || commit.anchor.round >= due {
            draft.seal(true, next_plan);
        }
        Ok(())
    }

    fn payload<S: Store>(&mut self, draft: &mut Draft<'_, S>, payload: &Payload) -> Result<(), StoreError> {
        for record in &payload.closings {
            self.executed.refused.extend(draft.closing(record).err());
        }
        for pack in &payload.packs {
            self.executed.refused.extend(draft.pack(pack).err());
        }
        for chunk in payload.transactions.chunks(WARM_TRANSACTIONS) {
            draft.books().warm(chunk);
            self.transactions(draft, chunk)?;
        }
        for payload in &payload.opaque {
            let txid = opaque_id(self.chain, payload);
            let verdict = match draft.opaque(&txid, payload) {
                Ok(placed) => self.placed(&placed),
                Err(reject) => Verdict::Dropped(reject),
            };
            self.executed.verdicts.push((txid, verdict));
        }
        if let Some(change) = &payload.epoch_change {
            let checked = match self.closing {
                Some(_) => Err(ItemReject::Duplicate),
                None => draft.check_epoch_change(change),
            };
            match checked {
                Ok(()) => self.closing = Some(change.clone()),
                Err(reject) => self.executed.refused.push(reject),
            }
        }
        Ok(())
    }

    fn transactions<S: Store>(
        &mut self,
        draft: &mut Draft<'_, S>,
        transactions: &[Transaction],
    ) -> Result<(), StoreError> {
        for transaction in transactions {
            let identified = self.identify(transaction);
            let at = self.executed.verdicts.len();
            let verdict = match draft.transaction(&identified)? {
                Ok(placed) => self.placed(&placed),
                Err(reject) => Verdict::Dropped(reject),
            };
            self.executed.verdicts.push((identified.txid, verdict));
            if verdict == Verdict::Dropped(TxReject::SequenceGap) {
                self.hold(identified, at);
            }
        }
        Ok(())
    }

    /// [`IdentifiedTransaction::new`] without an allocation per transaction.
    fn identify(&mut self, transaction: &Transaction) -> IdentifiedTransaction {
        self.message.clear();
        transaction_message_into(self.chain, transaction, &mut self.message);
        IdentifiedTransaction { transaction: *transaction, txid: TxId(sha256(&[&self.message])) }
    }

    fn placed(&mut self, placed: &Placed) -> Verdict {
        self.debited.extend(placed.debited);
        Verdict::Executed { height: placed.height, leaf: placed.leaf, outcome: placed.outcome }
    }

    /// Keeps a future transaction for the pass at the end: first-met wins, so many per sender.
    fn hold(&mut self, identified: IdentifiedTransaction, at: usize) {
        let (sender, sequence) = identified.transaction.debit().expect("only debits have sequences");
        self.left_over.push((at, sender, sequence));
        let waiting = self.early.entry(sender).or_insert_with(|| {
            self.early_senders.push(sender);
            BTreeMap::new()
        });
        if waiting.len() < usize::from(self.constants.future_sequences_max) {
            waiting.entry(sequence).or_insert(Early { identified, at });
        }
    }

    fn future_pass<S: Store>(&mut self, draft: &mut Draft<'_, S>) -> Result<(), StoreError> {
        for sender in std::mem::take(&mut self.early_senders) {
            for early in self.early.remove(&sender).into_iter().flat_map(BTreeMap::into_values) {
                let verdict = match draft.transaction(&early.identified)? {
                    Ok(placed) => self.placed(&placed),
                    Err(reject) => Verdict::Dropped(reject),
                };
                self.executed.verdicts[early.at].1 = verdict;
            }
        }
        for (at, sender, sequence) in std::mem::take(&mut self.left_over) {
            let verdict = &mut self.executed.verdicts[at].1;
            let used = draft.books().accounts().get(&sender).next_sequence > sequence;
            if *verdict == Verdict::Dropped(TxReject::SequenceGap) && used {
                *verdict = Verdict::Dropped(TxReject::SequenceUsed);
            }
        }
        Ok(())
    }
}
