//! The ledger machine: one committee's state, and what is done to it.
//!
//! Guarantees: each public step either changes memory and store together or nothing. Everything that can
//! fail is computed first (accounts are changed in place under an undo log); then one batch is written;
//! then memory takes over what the batch holds, which cannot fail.
//!
//! An epoch ends with its closing block; the next one opens when that block's certificate is known here or
//! its first commit comes, whichever is earlier. Until then later commits of the old epoch do nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use shardpay_crypto::{SignatureScheme, chain_id, header_hash};
use shardpay_types::{
    AccountState, CertifiedCheckpoint, CertifiedHeader, ChainId, ClosingRecord, CommitteeId, Constants, CursorProof,
    Epoch, Height, InboxLeaf, LeaderList, LedgerBlock, LedgerItem, Plan, PublicKey, Round,
};

use crate::api::{ItemReject, LedgerStatus, MadeBlock, StateBatch, Store, StoreError};
use crate::books::Books;
use crate::draft::{Finished, Head, Links, Sealed, Trees};
use crate::epochs::Judge;
use crate::leaders::Leaders;
use crate::open::encode_tip;
use crate::roots::{CommitteeLeaf, tree_leaf};

/// What a ledger is opened with.
#[derive(Clone)]
pub struct Config {
    /// The plan of epoch 0; its hash is the chain id.
    pub genesis: Arc<Plan>,
    /// Whose ledger it is.
    pub committee: CommitteeId,
    /// Verifies certificates and approvals.
    pub scheme: Arc<dyn SignatureScheme>,
    /// Keys the account table; secret.
    pub hash_seed: u64,
}

/// What a starting replica needs to know of its ledger.
#[derive(Debug, Clone)]
pub struct LedgerView {
    /// Gauges.
    pub status: LedgerStatus,
    /// The plan of the running epoch.
    pub plan: Arc<Plan>,
    /// The ledger.
    pub chain: ChainId,
    /// Per committee the newest epoch recorded here and its plan; the own committee included.
    pub keysets: Vec<(CommitteeId, Epoch, Arc<Plan>)>,
    /// Cursors as executed, one per committee.
    pub cursors: Vec<InboxLeaf>,
    /// Messages ever appended per destination, as executed.
    pub outboxes: Vec<(CommitteeId, u64)>,
    /// Messages each destination is known to have consumed.
    pub acknowledged: Vec<(CommitteeId, u64)>,
    /// Blocks executed here whose certificate is not known, ascending.
    pub uncertified: Vec<MadeBlock>,
    /// The latest certified header.
    pub last_certified: Option<CertifiedHeader>,
    /// The last checkpoint known to be certified.
    pub checkpoint: Option<CertifiedCheckpoint>,
    /// The next plan, from the execution of the closing block until the next epoch opens.
    pub closed: Option<Arc<Plan>>,
}

/// The plan of the running epoch and of the next one.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) plan: Arc<Plan>,
    /// The block that brought the plan; zero: genesis.
    pub(crate) opened_by: Height,
    /// The next plan and the block that closed the epoch.
    pub(crate) closed: Option<(Arc<Plan>, Height)>,
}

/// The latest certified header and the leaves under it.
#[derive(Debug, Clone)]
pub(crate) struct Certified {
    pub(crate) header: CertifiedHeader,
    pub(crate) trees: Trees,
}

/// One committee's ledger.
pub struct Ledger<S: Store> {
    pub(crate) store: S,
    pub(crate) judge: Judge,
    pub(crate) constants: Constants,
    pub(crate) running: Running,
    pub(crate) head: Head,
    pub(crate) books: Books,
    pub(crate) links: Links,
    pub(crate) leaders: Leaders,
    /// Executed blocks whose certificate is not known.
    pub(crate) pending: BTreeMap<Height, Sealed>,
    pub(crate) certified: Option<Certified>,
    pub(crate) checkpoint: Option<CertifiedCheckpoint>,
}

impl<S: Store> Ledger<S> {
    /// The state of an account as executed; empty when it does not exist.
    pub fn account(&self, key: &PublicKey) -> AccountState {
        self.books.accounts().get(key)
    }

    /// The plan of the running epoch.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.running.plan
    }

    /// The ledger's id.
    pub fn chain(&self) -> &ChainId {
        &self.judge.chain
    }

    /// Whose ledger it is.
    pub fn committee(&self) -> CommitteeId {
        self.judge.own
    }

    /// What the state is kept in.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The last height known to be certified.
    pub(crate) fn certified_height(&self) -> Height {
        self.certified.as_ref().map_or(Height::ZERO, |certified| certified.header.header.height)
    }

    /// Gauges.
    pub fn status(&self) -> LedgerStatus {
        LedgerStatus {
            height: self.head.height,
            head: self.head.hash,
            certified: self.certified_height(),
            epoch: self.running.plan.epoch,
            last_output: self.leaders.last_output,
            leaders: self.leaders.current.clone(),
            leaders_known: self.leaders.known,
            totals: *self.books.totals(),
            accounts: self.books.accounts().len(),
            outbox_pending: self.links.outboxes.iter().map(|log| log.backlog()).sum(),
        }
    }

    /// What a starting replica needs.
    pub fn view(&self) -> LedgerView {
        let committees = || self.running.plan.committee_ids();
        let logs = || committees().zip(&self.links.outboxes);
        LedgerView {
            status: self.status(),
            plan: self.running.plan.clone(),
            chain: self.judge.chain,
            keysets: committees()
                .zip(&self.links.keysets)
                .map(|(id, set)| (id, set.epoch(), set.plan.clone()))
                .collect(),
            cursors: self.links.trees.inbox.leaves().to_vec(),
            outboxes: logs().map(|(id, log)| (id, log.log.count())).collect(),
            acknowledged: logs().map(|(id, log)| (id, log.acknowledged.count())).collect(),
            uncertified: self.pending.values().map(|sealed| sealed.made.clone()).collect(),
            last_certified: self.certified.as_ref().map(|certified| certified.header.clone()),
            checkpoint: self.checkpoint.clone(),
            closed: self.running.closed.as_ref().map(|(plan, _)| plan.clone()),
        }
    }

    /// Messages for `destination` that it is not known to have consumed: for admission (`Busy` above a
    /// million), never for execution.
    pub fn outbox_backlog(&self, destination: CommitteeId) -> u64 {
        self.links.outboxes.get(destination.index()).map_or(0, |log| log.backlog())
    }

    /// The leaders that the header at `height` commits to, if it is recent and ends a commit.
    pub fn leaders(&self, height: Height) -> Option<LeaderList> {
        self.leaders.at(height)
    }

    /// Stores a certificate. The header must be one that was executed here and whose certificate was not
    /// known; anything else is ignored. The caller has verified the signatures.
    pub fn certify(&mut self, certified: &CertifiedHeader) -> Result<(), StoreError> {
        let height = certified.header.height;
        let Some(sealed) = self.pending.get(&height) else { return Ok(()) };
        if sealed.made.hash != header_hash(&certified.header) {
            return Ok(());
        }
        // the next epochs may have opened before this certificate came: the block itself names the plan
        let closings = closing_record(certified, &sealed.made.block).into_iter().collect();
        let certificates = vec![(height, certified.certificate.clone())];
        self.store.write(StateBatch { certificates, closings, ..StateBatch::default() })?;
        self.install_certificate(certified);
        Ok(())
    }

    pub(crate) fn install_certificate(&mut self, certified: &CertifiedHeader) {
        let height = certified.header.height;
        let sealed = self.pending.remove(&height).expect("certified blocks were pending");
        if height > self.certified_height() {
            self.certified = Some(Certified { header: certified.clone(), trees: sealed.trees });
        }
        if self.running.closed.as_ref().is_some_and(|(_, at)| *at == height) {
            self.open_epoch();
        }
    }

    /// Begins the epoch after the one that has closed.
    pub(crate) fn open_epoch(&mut self) {
        let (plan, at) = self.running.closed.take().expect("only a closed epoch has a successor");
        self.running = Running { plan, opened_by: at, closed: None };
        self.head.anchor = Round::ZERO;
        self.leaders = Leaders::new(u64::from(self.constants.gc_depth));
    }

    /// Takes note of a destination's certified cursor and forgets what it has consumed.
    pub fn acknowledge(&mut self, proof: &CursorProof) -> Result<Result<(), ItemReject>, StoreError> {
        let destination = match self.check_cursor(proof) {
            Ok(destination) => destination,
            Err(reject) => return Ok(Err(reject)),
        };
        let count = proof.cursor.count;
        let mut log = self.links.outboxes[destination.index()].clone();
        log.prune(count);
        let kept = std::mem::replace(&mut self.links.outboxes[destination.index()], log);
        let tip = encode_tip(self, None);
        let batch = StateBatch { outbox_pruned: vec![(destination, count)], tip: Some(tip), ..StateBatch::default() };
        if let Err(error) = self.store.write(batch) {
            self.links.outboxes[destination.index()] = kept;
            return Err(error);
        }
        Ok(Ok(()))
    }

    fn check_cursor(&self, proof: &CursorProof) -> Result<CommitteeId, ItemReject> {
        let header = &proof.certified.header;
        let (destination, cursor) = (header.committee, &proof.cursor);
        if cursor.source != self.judge.own || destination == self.judge.own {
            return Err(ItemReject::WrongCommittee);
        }
        let keyset = self.links.keysets.get(destination.index()).ok_or(ItemReject::WrongCommittee)?;
        let log = &self.links.outboxes[destination.index()];
        if cursor.count <= log.acknowledged.count() {
            return Err(ItemReject::Duplicate);
        }
        let place = (proof.path.index, proof.path.count);
        if place != (self.judge.own.index() as u64, keyset.plan.committees.len() as u64)
            || !shardpay_crypto::verify_inclusion(&header.inbox, &tree_leaf(cursor), &proof.path)
        {
            return Err(ItemReject::BadProof);
        }
        self.judge.header(keyset, destination, &proof.certified)?;
        // A cursor over messages that were never sent: the destination's members are at fault.
        if log.log.root_at(cursor.count) != Some(cursor.root) {
            return Err(ItemReject::Malformed);
        }
        Ok(destination)
    }

    /// The cursor into `source`'s log under the latest certified header.
    pub fn cursor_proof(&self, source: CommitteeId) -> Option<CursorProof> {
        let Certified { header, trees } = self.certified.as_ref()?;
        let cursor = *trees.inbox.leaf(source).filter(|leaf| leaf.committee() != self.judge.own)?;
        Some(CursorProof { cursor, path: trees.inbox.path(source)?, certified: header.clone() })
    }

    /// Stores a certified checkpoint. The caller has verified it.
    pub fn store_checkpoint(&mut self, certified: CertifiedCheckpoint) -> Result<(), StoreError> {
        self.store.write(StateBatch { checkpoint: Some(certified.clone()), ..StateBatch::default() })?;
        self.checkpoint = Some(certified);
        Ok(())
    }

    /// Writes a finished draft and makes it the state. On an error everything is as before.
    pub(crate) fn install(&mut self, finished: Finished, change: Change<'_>) -> Result<Vec<MadeBlock>, StoreError> {
        let mut batch = self.batch(&finished, &change);
        batch.tip = Some(encode_tip(self, Some((&finished, &change))));
        if let Err(error) = self.store.write(batch) {
            self.books.roll_back();
            return Err(error);
        }
        self.books.settle();
        let Finished { head, trees, appended, cursors, keysets, blocks, .. } = finished;
        self.head = head;
        self.links.trees = trees;
        for (destination, log) in &appended {
            self.links.outboxes[destination.index()].extend(log);
        }
        for (source, cursor) in cursors {
            self.links.cursors[source.index()] = cursor;
        }
        for (committee, keyset) in keysets {
            self.links.keysets[committee.index()] = keyset;
        }
        self.leaders = change.leaders;
        self.running.closed = change.closed;
        let made = blocks.iter().map(|sealed| sealed.made.clone()).collect();
        self.pending.extend(blocks.into_iter().map(|sealed| (sealed.made.block.header.height, sealed)));
        if let Some(certified) = change.certified {
            self.install_certificate(certified);
        }
        Ok(made)
    }

    fn batch(&self, finished: &Finished, change: &Change<'_>) -> StateBatch {
        let accounts = self.books.accounts();
        let mut slots: Vec<_> = accounts.changed().collect();
        if finished.blocks.len() > 1 {
            slots.sort_unstable();
            slots.dedup();
        }
        let mut outbox = Vec::new();
        for (destination, log) in &finished.appended {
            let first = log.count() - log.messages.len() as u64;
            outbox.extend((first..).zip(&log.messages).map(|(index, message)| (*destination, index, *message)));
        }
        let mut closings = finished.closings.clone();
        let mut certificates = Vec::new();
        if let Some(certified) = change.certified {
            certificates.push((certified.header.height, certified.certificate.clone()));
            closings.extend(
                change
                    .closed
                    .as_ref()
                    .map(|(plan, _)| ClosingRecord { certified: certified.clone(), plan: Plan::clone(plan) }),
            );
        }
        StateBatch {
            accounts: slots.into_iter().map(|slot| (accounts.key(slot), accounts.state(slot))).collect(),
            deposits: finished.deposits.iter().copied().collect(),
            outbox,
            outbox_pruned: Vec::new(),
            blocks: finished.blocks.iter().map(|sealed| sealed.made.block.clone()).collect(),
            certificates,
            history: finished.history.clone(),
            closings,
            checkpoint: None,
            tip: None,
        }
    }
}

/// What a step changes beside what its draft holds.
pub(crate) struct Change<'a> {
    pub(crate) leaders: Leaders,
    /// The next plan and the closing block, when the epoch has closed.
    pub(crate) closed: Option<(Arc<Plan>, Height)>,
    /// The certificate of the only block, when it was replayed.
    pub(crate) certified: Option<&'a CertifiedHeader>,
}

/// The chain id of a configuration.
pub(crate) fn chain_of(config: &Config) -> ChainId {
    chain_id(&config.genesis)
}

/// The own closing record, when the certified block closes an epoch.
fn closing_record(certified: &CertifiedHeader, block: &LedgerBlock) -> Option<ClosingRecord> {
    match block.items.last() {
        Some(LedgerItem::EpochChange(change)) => {
            Some(ClosingRecord { certified: certified.clone(), plan: change.plan.clone() })
        }
        _ => None,
    }
}
