//! A commit in the making: state it will leave, ledger blocks it has given so far.
//!
//! Guarantees: nothing outside changes before the caller installs what [`Draft::finish`] returns, except
//! accounts and totals, which [`crate::Accounts::roll_back`] takes back. Every block is cut before the
//! item that would exceed the leaf or byte limit; no item is split; totals are conserved per block.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shardpay_crypto::{Frontier, Hasher, IdentifiedTransaction, domain, header_hash};
use shardpay_types::{
    BlockRef, ClosingRecord, Codec, CommitteeId, Constants, CreditOutcome, DepositRef, Epoch, EpochChange,
    ExecutedCredit, ExecutedPack, ExecutedTransaction, Hash, HeaderHash, Height, InboxLeaf, LedgerBlock, LedgerHeader,
    LedgerItem, List, MessageKind, Opaque, OutboxLeaf, OutboxMessage, Outcome, Pack, PlanHash, PublicKey, Round,
    Timestamp, Transaction, TxId, Version,
};

use crate::accounts::Slot;
use crate::api::{ItemReject, MadeBlock, Store, StoreError, TxReject};
use crate::books::{Books, Decision, Touched};
use crate::epochs::{Judge, Keyset};
use crate::history::History;
use crate::inbox::{Cursor, advance};
use crate::leaf::{credit_leaf, opaque_leaf, transaction_leaf};
use crate::outbox::{Appended, OutboxLog};
use crate::roots::CommitteeTree;

/// The end of the header chain.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// The header's epoch.
    pub(crate) epoch: Epoch,
    pub(crate) height: Height,
    pub(crate) hash: HeaderHash,
    pub(crate) ledger_time: Timestamp,
    /// Round of the last header's anchor in the running epoch; zero when it has none.
    pub(crate) anchor: Round,
    pub(crate) effects: Hash,
    pub(crate) history: History,
}

/// Logs, cursors and keysets, and the trees over them.
#[derive(Debug, Clone)]
pub(crate) struct Links {
    pub(crate) outboxes: Vec<OutboxLog>,
    pub(crate) cursors: Vec<Cursor>,
    pub(crate) keysets: Vec<Keyset>,
    pub(crate) trees: Trees,
}

impl Links {
    /// Whether the leaves are those of the logs and cursors.
    pub(crate) fn agree(&self) -> bool {
        let logs = self.trees.outbox.leaves().iter().zip(&self.outboxes);
        let cursors = self.trees.inbox.leaves().iter().zip(&self.cursors);
        logs.into_iter().all(|(leaf, log)| *leaf == Appended::to(log).leaf(leaf.destination))
            && cursors.into_iter().all(|(leaf, cursor)| *leaf == cursor.leaf(leaf.source))
    }
}

/// The outbox and inbox leaves under one header.
#[derive(Debug, Clone)]
pub(crate) struct Trees {
    pub(crate) outbox: Arc<CommitteeTree<OutboxLeaf>>,
    pub(crate) inbox: Arc<CommitteeTree<InboxLeaf>>,
}

/// What the blocks of a commit have in common.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) epoch: Epoch,
    pub(crate) anchor: BlockRef,
    pub(crate) leaders: Hash,
    pub(crate) ledger_time: Timestamp,
}

/// A block just made and what packs and cursors are proven with under its header.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) made: MadeBlock,
    pub(crate) trees: Trees,
}

/// What a finished draft leaves.
pub(crate) struct Finished {
    pub(crate) head: Head,
    pub(crate) trees: Trees,
    pub(crate) appended: BTreeMap<CommitteeId, Appended>,
    pub(crate) cursors: BTreeMap<CommitteeId, Cursor>,
    pub(crate) keysets: BTreeMap<CommitteeId, Keyset>,
    pub(crate) closings: Vec<ClosingRecord>,
    pub(crate) deposits: BTreeSet<DepositRef>,
    pub(crate) history: Vec<(u8, u64, Hash)>,
    pub(crate) blocks: Vec<Sealed>,
}

/// The block being filled.
#[derive(Default)]
struct Open {
    items: Vec<LedgerItem>,
    leaves: Frontier,
    bytes: usize,
    deposits: BTreeSet<DepositRef>,
    outboxes: BTreeSet<CommitteeId>,
    cursors: BTreeSet<CommitteeId>,
    keysets: BTreeSet<CommitteeId>,
}

/// Where a leaf was put.
pub(crate) struct Placed {
    pub(crate) height: Height,
    pub(crate) leaf: u32,
    pub(crate) outcome: Outcome,
    /// The account debited.
    pub(crate) debited: Option<Slot>,
}

pub(crate) struct Draft<'a, S> {
    store: &'a S,
    judge: &'a Judge,
    constants: Constants,
    frame: Frame,
    books: &'a mut Books,
    links: &'a Links,
    open: Open,
    done: Finished,
}

impl<'a, S: Store> Draft<'a, S> {
    pub(crate) fn begin(
        (store, judge): (&'a S, &'a Judge),
        constants: Constants,
        frame: Frame,
        (books, links): (&'a mut Books, &'a Links),
        head: Head,
    ) -> Self {
        let done = Finished {
            head,
            trees: links.trees.clone(),
            appended: BTreeMap::new(),
            cursors: BTreeMap::new(),
            keysets: BTreeMap::new(),
            closings: Vec::new(),
            deposits: BTreeSet::new(),
            history: Vec::new(),
            blocks: Vec::new(),
        };
        Self { store, judge, constants, frame, books, links, open: Open::default(), done }
    }

    /// Executes a transaction, or says why it leaves no leaf.
    pub(crate) fn transaction(
        &mut self,
        identified: &IdentifiedTransaction,
    ) -> Result<Result<Placed, TxReject>, StoreError> {
        let scheme = &*self.judge.scheme;
        let decided = match &identified.transaction {
            Transaction::Mint(mint) => {
                let deposit = mint.body.deposit_ref;
                let used = self.done.deposits.contains(&deposit) || self.store.deposit_used(&deposit)?;
                self.books.decide_mint(&mint.body, identified.txid, used, scheme)
            }
            _ => self.books.decide_debit(identified, self.frame.ledger_time, scheme),
        };
        Ok(decided.map(|decision| self.carry_out(identified, &decision)))
    }

    fn carry_out(&mut self, identified: &IdentifiedTransaction, decision: &Decision) -> Placed {
        let transaction = identified.transaction;
        // Tag, outcome, list count; see the codec.
        self.make_room(1, 1 + transaction.encoded_len() + 1 + 4 + 16 * decision.touched());
        let debited = self.books.apply(decision);
        if let Transaction::Mint(mint) = &transaction {
            self.open.deposits.insert(mint.body.deposit_ref);
            self.done.deposits.insert(mint.body.deposit_ref);
        }
        if let Some((destination, message)) = decision.message {
            self.append(destination, message);
        }
        let accounts = decision.debit.iter().chain(&decision.credit).map(|(_, state)| *state).collect();
        let outcome = decision.outcome;
        let executed = ExecutedTransaction { transaction, outcome, accounts: List::bounded(accounts) };
        let leaf = self.open.leaves.count() as u32;
        self.open.leaves.append(transaction_leaf(&identified.txid, &executed));
        self.open.items.push(LedgerItem::Transaction(executed));
        Placed { height: self.done.head.height.next(), leaf, outcome, debited }
    }

    /// Gives an opaque payload its leaf, or says why it leaves none. The same bytes may have left one before: nothing
    /// of them is remembered.
    pub(crate) fn opaque(&mut self, txid: &TxId, payload: &Opaque) -> Result<Placed, TxReject> {
        if !payload.fits(self.constants.opaque_bytes_max) {
            return Err(TxReject::OpaqueRefused);
        }
        self.make_room(1, 1 + payload.encoded_len());
        let leaf = self.open.leaves.count() as u32;
        self.open.leaves.append(opaque_leaf(txid));
        self.open.items.push(LedgerItem::Opaque(payload.clone()));
        Ok(Placed { height: self.done.head.height.next(), leaf, outcome: Outcome::Applied, debited: None })
    }

    /// Applies a pack, or says why not.
    pub(crate) fn pack(&mut self, pack: &Pack) -> Result<Vec<ExecutedCredit>, ItemReject> {
        let source = pack.source;
        if source == self.judge.own {
            return Err(ItemReject::WrongCommittee);
        }
        let keyset = self.keyset(source).ok_or(ItemReject::WrongCommittee)?;
        let advanced = advance(self.judge, keyset, self.cursor(source), pack)?;
        let (credits, states, returns) = self.decide_credits(pack);

        let executed = ExecutedPack { pack: pack.clone(), credits: List::bounded(credits.clone()) };
        let item = LedgerItem::Pack(executed);
        self.make_room(credits.len(), item.to_bytes().len());
        for (message, credit) in pack.messages.iter().zip(&credits) {
            self.books.receive(credit.outcome, message.amount);
        }
        for (key, state) in states {
            self.books.write(self.touched(&key), state);
        }
        for message in returns {
            self.append(source, message);
        }
        for ((index, message), credit) in (pack.first..).zip(&pack.messages).zip(&credits) {
            self.open.leaves.append(credit_leaf(source, index, message, credit));
        }
        self.done.cursors.insert(source, advanced);
        self.open.cursors.insert(source);
        self.open.items.push(item);
        Ok(credits)
    }

    /// What becomes of each message, the accounts after all of them, and the messages that go back.
    fn decide_credits(
        &self,
        pack: &Pack,
    ) -> (Vec<ExecutedCredit>, BTreeMap<PublicKey, shardpay_types::AccountState>, Vec<OutboxMessage>) {
        let mut states = BTreeMap::new();
        let mut returns = Vec::new();
        let credits = pack.messages.iter().map(|message| {
            let key = match message.kind {
                MessageKind::Credit | MessageKind::MintCredit => message.payee,
                MessageKind::Return => message.payer,
            };
            let known = states.get(&key).copied();
            let before = known.unwrap_or_else(|| self.books.accounts().get(&key));
            let local = known.is_some() || self.is_local(&key);
            let balance = if local { before.balance.checked_add(message.amount) } else { None };
            if let Some(balance) = balance {
                let after = shardpay_types::AccountState { balance, ..before };
                states.insert(key, after);
                return ExecutedCredit { outcome: CreditOutcome::Applied, account: Some(after) };
            }
            let outcome = match message.kind {
                MessageKind::Credit => {
                    returns.push(OutboxMessage { kind: MessageKind::Return, ..*message });
                    CreditOutcome::Returned
                }
                MessageKind::Return | MessageKind::MintCredit => CreditOutcome::Suspended,
            };
            ExecutedCredit { outcome, account: None }
        });
        let credits = credits.collect();
        (credits, states, returns)
    }

    fn is_local(&self, key: &PublicKey) -> bool {
        self.books.accounts().find(key).is_some() || self.books.rules().owner(key) == self.judge.own
    }

    fn touched(&self, key: &PublicKey) -> Touched {
        self.books.accounts().find(key).map_or(Touched::New(*key), Touched::At)
    }

    /// Records another committee's closing header, or says why not.
    pub(crate) fn closing(&mut self, record: &ClosingRecord) -> Result<(), ItemReject> {
        let committee = record.certified.header.committee;
        if committee == self.judge.own {
            return Err(ItemReject::WrongCommittee);
        }
        let keyset = self.keyset(committee).ok_or(ItemReject::WrongCommittee)?;
        let next = self.judge.closing(keyset, record)?;
        let item = LedgerItem::Closing(record.clone());
        self.make_room(0, item.to_bytes().len());
        self.open.items.push(item);
        self.open.keysets.insert(committee);
        self.done.keysets.insert(committee, next);
        self.done.closings.push(record.clone());
        Ok(())
    }

    /// Whether an epoch change may close the epoch.
    pub(crate) fn check_epoch_change(&self, change: &EpochChange) -> Result<(), ItemReject> {
        let own = self.keyset(self.judge.own).expect("the own committee is in every plan");
        self.judge.epoch_change(own, change)
    }

    /// Closes the epoch by a checked change: its last item.
    pub(crate) fn close(&mut self, change: &EpochChange) -> PlanHash {
        let plan = Arc::new(change.plan.clone());
        let next = Keyset::own(&plan);
        let hash = next.plan_hash;
        let item = LedgerItem::EpochChange(change.clone());
        self.make_room(0, item.to_bytes().len());
        self.open.items.push(item);
        self.open.keysets.insert(self.judge.own);
        self.done.keysets.insert(self.judge.own, next);
        hash
    }

    /// Whether the open block has an item.
    pub(crate) fn has_items(&self) -> bool {
        !self.open.items.is_empty()
    }

    /// The states that these accounts have now, each once.
    pub(crate) fn states(&self, mut slots: Vec<Slot>) -> Vec<(PublicKey, shardpay_types::AccountState)> {
        slots.sort_unstable();
        slots.dedup();
        let accounts = self.books.accounts();
        slots.into_iter().map(|slot| (accounts.key(slot), accounts.state(slot))).collect()
    }

    /// The header a block would have last.
    pub(crate) fn head(&self) -> &Head {
        &self.done.head
    }

    /// The books as the draft has them.
    pub(crate) fn books(&self) -> &Books {
        self.books
    }

    /// What was sealed. After a failure an open block may be left; the caller rolls back then.
    pub(crate) fn finish_or_abandon(self) -> Finished {
        self.done
    }

    /// Makes a ledger block of what is open.
    pub(crate) fn seal(&mut self, last_of_commit: bool, next_plan: Option<PlanHash>) {
        let open = std::mem::take(&mut self.open);
        self.update_trees(&open);
        let effects = self.effects(&open);
        let totals = *self.books.totals();
        assert!(totals.conserved(), "conservation: {totals:?}");
        let head = &self.done.head;
        let header = LedgerHeader {
            version: Version,
            chain: self.judge.chain,
            committee: self.judge.own,
            epoch: self.frame.epoch,
            height: head.height.next(),
            parent: head.hash,
            history: head.history.root(),
            ledger_time: self.frame.ledger_time,
            anchor: self.frame.anchor,
            leaders: self.frame.leaders,
            last_of_commit,
            leaf_count: open.leaves.count() as u32,
            leaves: open.leaves.root(),
            outbox: self.done.trees.outbox.root(),
            inbox: self.done.trees.inbox.root(),
            effects,
            totals,
            next_plan,
        };
        let hash = header_hash(&header);
        self.done.head = Head {
            epoch: header.epoch,
            height: header.height,
            hash,
            ledger_time: header.ledger_time,
            anchor: header.anchor.round,
            effects,
            history: std::mem::take(&mut self.done.head.history),
        };
        self.done.head.history.append(&hash, &mut self.done.history);
        let block = Arc::new(LedgerBlock { header, items: List::bounded(open.items) });
        self.done.blocks.push(Sealed { made: MadeBlock { hash, block }, trees: self.done.trees.clone() });
        self.books.end_block();
    }

    /// Cuts the block if an item of that size would exceed its limits.
    fn make_room(&mut self, leaves: usize, bytes: usize) {
        let full = self.open.leaves.count() as usize + leaves > self.constants.leaves_max as usize
            || self.open.bytes + bytes > self.constants.block_bytes_max as usize;
        if full && self.has_items() {
            self.seal(false, None);
        }
        self.open.bytes += bytes;
    }

    fn append(&mut self, destination: CommitteeId, message: OutboxMessage) {
        let logs = &self.links.outboxes;
        let staged = self.done.appended.entry(destination);
        staged.or_insert_with(|| Appended::to(&logs[destination.index()])).push(message);
        self.open.outboxes.insert(destination);
    }

    fn cursor(&self, source: CommitteeId) -> &Cursor {
        self.done.cursors.get(&source).unwrap_or(&self.links.cursors[source.index()])
    }

    fn keyset(&self, committee: CommitteeId) -> Option<&Keyset> {
        self.done.keysets.get(&committee).or(self.links.keysets.get(committee.index()))
    }

    fn update_trees(&mut self, open: &Open) {
        for destination in &open.outboxes {
            let leaf = self.done.appended[destination].leaf(*destination);
            Arc::make_mut(&mut self.done.trees.outbox).set(leaf);
        }
        for source in &open.cursors {
            let leaf = self.done.cursors[source].leaf(*source);
            Arc::make_mut(&mut self.done.trees.inbox).set(leaf);
        }
    }

    /// H(previous ‖ sorted changed accounts, references, cursors, keysets), each list with its length.
    fn effects(&self, open: &Open) -> Hash {
        let mut out = Vec::new();
        let changed = self.books.accounts().changed_sorted();
        let mut list = |len: usize, write: &mut dyn FnMut(&mut Vec<u8>)| {
            (len as u64).encode(&mut out);
            write(&mut out);
        };
        list(changed.len(), &mut |out| {
            out.reserve(changed.len() * 48);
            for (key, state) in &changed {
                key.encode(out);
                state.encode(out);
            }
        });
        list(open.deposits.len(), &mut |out| open.deposits.iter().for_each(|deposit| deposit.encode(out)));
        list(open.cursors.len(), &mut |out| {
            open.cursors.iter().for_each(|source| self.done.cursors[source].leaf(*source).encode(out));
        });
        list(open.keysets.len(), &mut |out| {
            for committee in &open.keysets {
                let keyset = &self.done.keysets[committee];
                committee.encode(out);
                keyset.epoch().encode(out);
                keyset.plan_hash.encode(out);
                keyset.closing.encode(out);
            }
        });
        let mut hasher = Hasher::new(domain::EFFECTS);
        hasher.update(&self.done.head.effects.0).update(&out);
        Hash(hasher.finish())
    }
}
