//! Writing the tip, and opening a ledger from it.
//!
//! Guarantees: a ledger opened from a store is the one whose last batch the store holds: same accounts,
//! books, logs, cursors, keysets and chain, so the next execution gives the same header. Opening reads
//! the accounts, the unacknowledged messages and the blocks not certified yet, and nothing that grows
//! with the height.
//!
//! What the store holds was written by this program; a contradiction in it is reported, not repaired.

use std::collections::BTreeMap;
use std::sync::Arc;

use shardpay_crypto::plan_hash;
use shardpay_types::{
    CertifiedHeader, Codec, CommitteeId, Epoch, Hash, HeaderHash, Height, LedgerItem, List, Plan, PlanHash, Round,
    Timestamp, Total, Totals, Version,
};

use crate::accounts::Accounts;
use crate::api::{MadeBlock, Store, StoreError};
use crate::books::{Books, Rules};
use crate::draft::{Finished, Head, Links, Sealed, Trees};
use crate::epochs::{Judge, Keyset};
use crate::history::History;
use crate::inbox::Cursor;
use crate::leaders::{Leaders, Recent};
use crate::ledger::{Certified, Change, Config, Ledger, Running, chain_of};
use crate::outbox::OutboxLog;
use crate::roots::{CommitteeLeaf, CommitteeTree};
use crate::tip::{CursorTip, HeadTip, KeysetTip, LeadersTip, LeavesTip, OutboxTip, RecentTip, Tip};

/// Messages read from the store at a time.
const MESSAGES_PER_READ: usize = 4_096;

/// Why a ledger cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The plan given is no genesis plan, or lacks the committee.
    #[error("no genesis plan with committee {0}")]
    NoSuchCommittee(CommitteeId),
    /// The store belongs to another ledger.
    #[error("the store belongs to another chain")]
    ForeignChain,
    /// The store belongs to another committee.
    #[error("the store belongs to committee {0}")]
    ForeignCommittee(CommitteeId),
    /// The store contradicts itself.
    #[error("corrupt store: {0}")]
    Corrupt(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<S: Store> Ledger<S> {
    /// Opens a fresh ledger, or the one that `store` holds.
    pub fn open(config: Config, store: S) -> Result<Self, OpenError> {
        let judge = Judge { scheme: config.scheme.clone(), chain: chain_of(&config), own: config.committee };
        let genesis = &config.genesis;
        if genesis.epoch != Epoch::ZERO || genesis.committee(config.committee).is_none() {
            return Err(OpenError::NoSuchCommittee(config.committee));
        }
        match store.tip()? {
            None => Ok(Self::fresh(&config, judge, store)),
            Some(bytes) => {
                let tip = Tip::from_bytes(&bytes).map_err(|_| OpenError::Corrupt("tip"))?;
                Self::restore(&config, judge, store, &tip)
            }
        }
    }

    fn fresh(config: &Config, judge: Judge, store: S) -> Self {
        let genesis = &config.genesis;
        let committees = genesis.committees.len();
        let accounts = Accounts::new(config.hash_seed, 0);
        let keyset = Keyset::own(genesis);
        Self {
            store,
            constants: genesis.constants,
            running: Running { plan: genesis.clone(), opened_by: Height::ZERO, closed: None },
            head: Head {
                epoch: Epoch::ZERO,
                height: Height::ZERO,
                hash: HeaderHash::ZERO,
                ledger_time: Timestamp::ZERO,
                anchor: Round::ZERO,
                effects: Hash::ZERO,
                history: History::default(),
            },
            books: Books::new(Rules::new(genesis, judge.own), accounts, Totals::ZERO),
            links: Links {
                outboxes: vec![OutboxLog::default(); committees],
                cursors: vec![Cursor::default(); committees],
                keysets: vec![keyset; committees],
                trees: no_leaves(committees),
            },
            leaders: Leaders::new(u64::from(genesis.constants.gc_depth)),
            pending: BTreeMap::new(),
            certified: None,
            checkpoint: None,
            judge,
        }
    }

    fn restore(config: &Config, judge: Judge, store: S, tip: &Tip) -> Result<Self, OpenError> {
        if tip.chain != judge.chain {
            return Err(OpenError::ForeignChain);
        }
        if tip.committee != judge.own {
            return Err(OpenError::ForeignCommittee(tip.committee));
        }
        let genesis = &config.genesis;
        let running = restore_running(&store, genesis, tip)?;
        let keysets = restore_keysets(&store, genesis, &running, tip)?;
        let (pending, certified, trees) = restore_leaves(&store, genesis.committees.len(), tip)?;
        let outboxes = restore_outboxes(&store, genesis.committees.len(), tip)?;
        let mut cursors = vec![Cursor::default(); genesis.committees.len()];
        for cursor in &tip.cursors {
            let place = cursors.get_mut(cursor.source.index()).ok_or(OpenError::Corrupt("cursor"))?;
            *place = Cursor { frontier: cursor.frontier.clone(), amount: cursor.amount };
        }
        let links = Links { outboxes, cursors, keysets, trees };
        if !links.agree() {
            return Err(OpenError::Corrupt("logs and leaves differ"));
        }
        let accounts = restore_accounts(&store, config.hash_seed, tip.totals.balances)?;
        let head = &tip.head;
        let mut ledger = Self {
            constants: genesis.constants,
            running,
            head: Head {
                epoch: head.epoch,
                height: head.height,
                hash: head.hash,
                ledger_time: head.ledger_time,
                anchor: head.anchor,
                effects: head.effects,
                history: History::new(head.history.clone()),
            },
            books: Books::new(Rules::new(genesis, judge.own), accounts, tip.totals),
            links,
            leaders: restore_leaders(u64::from(genesis.constants.gc_depth), &tip.leaders),
            pending,
            certified,
            checkpoint: store.checkpoint()?,
            judge,
            store,
        };
        // The tip is older than the certificate that opened the next epoch.
        if ledger.running.closed.as_ref().is_some_and(|(_, at)| !ledger.pending.contains_key(at)) {
            ledger.open_epoch();
        }
        Ok(ledger)
    }
}

fn no_leaves(committees: usize) -> Trees {
    let (outbox, inbox) = (CommitteeTree::empty(committees), CommitteeTree::empty(committees));
    Trees { outbox: Arc::new(outbox), inbox: Arc::new(inbox) }
}

fn restore_running<S: Store>(store: &S, genesis: &Arc<Plan>, tip: &Tip) -> Result<Running, OpenError> {
    let plan = if tip.opened_by == Height::ZERO { genesis.clone() } else { plan_of_block(store, tip.opened_by)? };
    if plan.epoch != tip.epoch {
        return Err(OpenError::Corrupt("running plan"));
    }
    let closed = tip.closed_by.map(|at| plan_of_block(store, at).map(|plan| (plan, at))).transpose()?;
    Ok(Running { plan, opened_by: tip.opened_by, closed })
}

/// The plan that the closing block at `height` brought.
fn plan_of_block<S: Store>(store: &S, height: Height) -> Result<Arc<Plan>, OpenError> {
    let block = store.block(height)?.ok_or(OpenError::Corrupt("closing block missing"))?;
    match block.items.last() {
        Some(LedgerItem::EpochChange(change)) => Ok(Arc::new(change.plan.clone())),
        _ => Err(OpenError::Corrupt("closing block without epoch change")),
    }
}

fn restore_keysets<S: Store>(
    store: &S,
    genesis: &Arc<Plan>,
    running: &Running,
    tip: &Tip,
) -> Result<Vec<Keyset>, OpenError> {
    // Epochs have one plan: share it between the committees that have come as far.
    let mut plans: BTreeMap<PlanHash, Arc<Plan>> = BTreeMap::new();
    for plan in [genesis, &running.plan].into_iter().chain(running.closed.as_ref().map(|(plan, _)| plan)) {
        plans.insert(plan_hash(plan), plan.clone());
    }
    let mut keysets = Vec::new();
    for (id, keyset) in genesis.committee_ids().zip(&tip.keysets) {
        let plan = match plans.get(&keyset.plan) {
            Some(plan) => plan.clone(),
            None => {
                let record = store.closings(id, keyset.epoch.previous())?.into_iter().next();
                let plan = Arc::new(record.ok_or(OpenError::Corrupt("closing record missing"))?.plan);
                plans.insert(plan_hash(&plan), plan.clone());
                plan
            }
        };
        if plan.epoch != keyset.epoch || plan_hash(&plan) != keyset.plan {
            return Err(OpenError::Corrupt("recorded plan"));
        }
        keysets.push(Keyset { plan, plan_hash: keyset.plan, closing: keyset.closing });
    }
    if keysets.len() == genesis.committees.len() { Ok(keysets) } else { Err(OpenError::Corrupt("keysets")) }
}

type Leaves = (BTreeMap<Height, Sealed>, Option<Certified>, Trees);

fn restore_leaves<S: Store>(store: &S, committees: usize, tip: &Tip) -> Result<Leaves, OpenError> {
    let (mut pending, mut certified, mut trees) = (BTreeMap::new(), None, no_leaves(committees));
    for entry in &tip.leaves {
        for leaf in &entry.outbox {
            set(&mut trees.outbox, *leaf)?;
        }
        for leaf in &entry.inbox {
            set(&mut trees.inbox, *leaf)?;
        }
        if entry.height == Height::ZERO {
            continue;
        }
        let block = store.block(entry.height)?.ok_or(OpenError::Corrupt("block missing"))?;
        if (block.header.outbox, block.header.inbox) != (trees.outbox.root(), trees.inbox.root()) {
            return Err(OpenError::Corrupt("leaves under a header"));
        }
        match store.certificate(entry.height)? {
            Some(certificate) => {
                let header = CertifiedHeader { header: block.header.clone(), certificate };
                certified = Some(Certified { header, trees: trees.clone() });
            }
            None => {
                let hash = shardpay_crypto::header_hash(&block.header);
                pending.insert(entry.height, Sealed { made: MadeBlock { hash, block }, trees: trees.clone() });
            }
        }
    }
    Ok((pending, certified, trees))
}

fn set<L: CommitteeLeaf>(tree: &mut Arc<CommitteeTree<L>>, leaf: L) -> Result<(), OpenError> {
    if tree.leaf(leaf.committee()).is_none() {
        return Err(OpenError::Corrupt("leaf of no committee"));
    }
    Arc::make_mut(tree).set(leaf);
    Ok(())
}

fn restore_outboxes<S: Store>(store: &S, committees: usize, tip: &Tip) -> Result<Vec<OutboxLog>, OpenError> {
    let mut outboxes = vec![OutboxLog::default(); committees];
    for outbox in &tip.outboxes {
        let place = outboxes.get_mut(outbox.destination.index()).ok_or(OpenError::Corrupt("outbox"))?;
        let mut log = OutboxLog::from_acknowledged(outbox.acknowledged.clone(), outbox.amount);
        while log.log.count() < outbox.count {
            let missing = usize::try_from(outbox.count - log.log.count()).unwrap_or(usize::MAX);
            let messages = store.outbox(outbox.destination, log.log.count(), missing.min(MESSAGES_PER_READ))?;
            if messages.is_empty() {
                return Err(OpenError::Corrupt("outbox message missing"));
            }
            messages.iter().for_each(|message| log.restore(message));
        }
        *place = log;
    }
    Ok(outboxes)
}

fn restore_accounts<S: Store>(store: &S, hash_seed: u64, balances: Total) -> Result<Accounts, OpenError> {
    let mut accounts = Accounts::new(hash_seed, 0);
    let mut sum = Some(Total::ZERO);
    store.accounts(&mut |key, state| {
        sum = sum.and_then(|sum| sum.checked_add(state.balance));
        accounts.create(key, state);
    })?;
    accounts.settle();
    if sum == Some(balances) { Ok(accounts) } else { Err(OpenError::Corrupt("balances do not add up")) }
}

fn restore_leaders(gc_depth: u64, tip: &LeadersTip) -> Leaders {
    Leaders {
        last_output: tip.last_output,
        current: tip.current.to_vec(),
        known: tip.known,
        window: tip.window.iter().copied().collect(),
        recent: tip
            .recent
            .iter()
            .map(|recent| Recent { height: recent.height, anchor: recent.anchor, hash: recent.hash })
            .collect(),
        ..Leaders::new(gc_depth)
    }
}

/// The tip of the ledger as it will be with a finished draft, or as it is.
pub(crate) fn encode_tip<S: Store>(ledger: &Ledger<S>, staged: Option<(&Finished, &Change<'_>)>) -> Vec<u8> {
    let finished = staged.map(|(finished, _)| finished);
    let change = staged.map(|(_, change)| change);
    let head = finished.map_or(&ledger.head, |finished| &finished.head);
    let leaders = change.map_or(&ledger.leaders, |change| &change.leaders);
    let closed = change.map_or(&ledger.running.closed, |change| &change.closed);
    let tip = Tip {
        version: Version,
        chain: ledger.judge.chain,
        committee: ledger.judge.own,
        epoch: ledger.running.plan.epoch,
        opened_by: ledger.running.opened_by,
        closed_by: closed.as_ref().map(|(_, at)| *at),
        totals: *ledger.books.totals(),
        head: HeadTip {
            epoch: head.epoch,
            height: head.height,
            hash: head.hash,
            ledger_time: head.ledger_time,
            anchor: head.anchor,
            effects: head.effects,
            history: head.history.frontier().clone(),
        },
        keysets: keysets_tip(ledger, finished),
        outboxes: outboxes_tip(ledger, finished),
        cursors: cursors_tip(ledger, finished),
        leaves: leaves_tip(ledger, finished),
        leaders: leaders_tip(leaders, ledger.certified_height()),
    };
    tip.to_bytes()
}

fn keysets_tip<S: Store, const N: usize>(ledger: &Ledger<S>, finished: Option<&Finished>) -> List<KeysetTip, N> {
    let now = |(id, keyset)| finished.and_then(|finished| finished.keysets.get(&id)).unwrap_or(keyset);
    let ids = ledger.running.plan.committee_ids();
    let keysets = ids.zip(&ledger.links.keysets).map(now);
    let tips = keysets.map(|set| KeysetTip { epoch: set.epoch(), plan: set.plan_hash, closing: set.closing });
    List::bounded(tips.collect())
}

fn outboxes_tip<S: Store, const N: usize>(ledger: &Ledger<S>, finished: Option<&Finished>) -> List<OutboxTip, N> {
    let ids = ledger.running.plan.committee_ids();
    let tips = ids.zip(&ledger.links.outboxes).map(|(destination, log)| {
        let appended = finished.and_then(|finished| finished.appended.get(&destination));
        let (count, amount) = appended.map_or((log.log.count(), log.amount), |log| (log.count(), log.amount()));
        OutboxTip { destination, count, amount, acknowledged: log.acknowledged.clone() }
    });
    List::bounded(tips.filter(|tip| tip.count > 0).collect())
}

fn cursors_tip<S: Store, const N: usize>(ledger: &Ledger<S>, finished: Option<&Finished>) -> List<CursorTip, N> {
    let now = |(id, cursor)| (id, finished.and_then(|finished| finished.cursors.get(&id)).unwrap_or(cursor));
    let ids = ledger.running.plan.committee_ids();
    let tips = ids.zip(&ledger.links.cursors).map(now).filter(|(_, cursor)| cursor.frontier.count() > 0);
    let tips =
        tips.map(|(source, cursor)| CursorTip { source, amount: cursor.amount, frontier: cursor.frontier.clone() });
    List::bounded(tips.collect())
}

fn leaves_tip<S: Store, const N: usize>(ledger: &Ledger<S>, finished: Option<&Finished>) -> List<LeavesTip, N> {
    let mut under: BTreeMap<Height, &Trees> = BTreeMap::new();
    under.extend(ledger.certified.as_ref().map(|certified| (certified.header.header.height, &certified.trees)));
    let made = finished.into_iter().flat_map(|finished| &finished.blocks);
    let sealed = ledger.pending.values().chain(made);
    under.extend(sealed.map(|sealed| (sealed.made.block.header.height, &sealed.trees)));
    let mut before = &no_leaves(ledger.links.outboxes.len());
    let mut tips = Vec::new();
    for (height, trees) in under {
        let (outbox, inbox) = (changed(&before.outbox, &trees.outbox), changed(&before.inbox, &trees.inbox));
        tips.push(LeavesTip { height, outbox: List::bounded(outbox), inbox: List::bounded(inbox) });
        before = trees;
    }
    List::bounded(tips)
}

fn changed<L: CommitteeLeaf>(before: &Arc<CommitteeTree<L>>, now: &Arc<CommitteeTree<L>>) -> Vec<L> {
    if Arc::ptr_eq(before, now) {
        return Vec::new();
    }
    before.leaves().iter().zip(now.leaves()).filter(|(old, new)| old != new).map(|(_, new)| *new).collect()
}

fn leaders_tip(leaders: &Leaders, certified: Height) -> LeadersTip {
    let (window, recent) = leaders.to_keep(certified);
    let recent = recent.iter().map(|r| RecentTip { height: r.height, anchor: r.anchor, hash: r.hash });
    LeadersTip {
        last_output: leaders.last_output,
        current: List::bounded(leaders.current.clone()),
        known: leaders.known,
        window: List::bounded(window),
        recent: List::bounded(recent.collect()),
    }
}
