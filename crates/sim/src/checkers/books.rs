//! A second ledger: executes every ledger block again, over the whole system, in plain maps.
//!
//! Guarantees, as long as no violation was returned: one header per height and no gap; at most one
//! leaf per transaction and one mint per deposit; sequences without gaps; no overdraft; every credit
//! was debited before, arrives once and in order; the totals of every header are those of these books;
//! nothing was created or lost over all committees.
//!
//! Blocks are taken the first time any honest node executes them; later sightings are compared by hash.

mod apply;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use shardpay_crypto::{SignatureScheme, header_hash, plan_hash};
use shardpay_types::{
    AccountState, ChainId, DepositRef, Height, LedgerBlock, LedgerHeader, OutboxMessage, Plan, PublicKey, Sequence,
    Totals, TxId,
};

use crate::checkers::certificates::certificate_holds;
use crate::checkers::{Violation, hold};
use crate::engine::Instant;

/// Where a transaction left its leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeafPlace {
    /// The deciding committee.
    pub committee: usize,
    /// The ledger block.
    pub height: Height,
    /// The leaf.
    pub index: u32,
    /// Whether it was applied (else: short balance).
    pub applied: bool,
    /// For a cross-committee credit: the destination.
    pub destination: Option<usize>,
    /// When it was first executed.
    pub at: Instant,
}

/// One committee's part.
#[derive(Debug, Default)]
pub(crate) struct Page {
    headers: Vec<(shardpay_types::HeaderHash, Arc<LedgerBlock>)>,
    accounts: BTreeMap<PublicKey, AccountState>,
    totals: Books6,
    epoch: usize,
    /// Per source: messages consumed.
    consumed: BTreeMap<usize, u64>,
    /// Per source: last epoch whose closing was recorded.
    closed: BTreeMap<usize, u64>,
}

/// The six totals as plain numbers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Books6 {
    balances: u128,
    burned: u128,
    sent: u128,
    suspense: u128,
    minted: u128,
    received: u128,
}

/// The whole system's books.
pub(crate) struct Books {
    chain: ChainId,
    scheme: Arc<dyn SignatureScheme>,
    plans: Vec<Arc<Plan>>,
    pages: Vec<Page>,
    /// Messages debited and not yet credited, per (source, destination), oldest first.
    flight: BTreeMap<(usize, usize), VecDeque<OutboxMessage>>,
    in_flight: u64,
    leaves: BTreeMap<TxId, LeafPlace>,
    deposits: BTreeSet<DepositRef>,
    /// Names of protocol branches met, for the coverage table.
    pub met: BTreeMap<&'static str, u64>,
    now: Instant,
    fresh: Vec<TxId>,
    /// Every how manyth leaf's signature is verified.
    signature_stride: usize,
}

impl Books {
    /// Empty books of the ledger that starts with `genesis`.
    pub(crate) fn new(chain: ChainId, genesis: Arc<Plan>, scheme: Arc<dyn SignatureScheme>) -> Self {
        let pages = genesis.committees.iter().map(|_| Page::default()).collect();
        Self {
            chain,
            scheme,
            plans: vec![genesis],
            pages,
            flight: BTreeMap::new(),
            in_flight: 0,
            leaves: BTreeMap::new(),
            deposits: BTreeSet::new(),
            met: BTreeMap::new(),
            now: Instant(0),
            fresh: Vec::new(),
            signature_stride: 1,
        }
    }

    /// Verifies the signature of every `stride`th leaf only: in long runs with real ones.
    pub(crate) fn verify_every(mut self, stride: usize) -> Self {
        self.signature_stride = stride;
        self
    }

    /// An honest node of `committee` executed or replayed `block`. True when it is new.
    pub(crate) fn executed(
        &mut self,
        now: Instant,
        committee: usize,
        hash: shardpay_types::HeaderHash,
        block: &Arc<LedgerBlock>,
    ) -> Result<bool, Violation> {
        let height = block.header.height;
        let known = self.pages[committee].headers.get((height.get() as usize).wrapping_sub(1));
        if let Some((first, _)) = known {
            hold!(
                *first == hash,
                "one header per height",
                "committee {committee} height {height}: {hash:?} after {first:?}"
            );
            return Ok(false);
        }
        self.now = now;
        self.check_header(committee, hash, &block.header)?;
        self.apply_items(committee, block)?;
        self.check_totals(committee, &block.header)?;
        self.pages[committee].headers.push((hash, block.clone()));
        Ok(true)
    }

    fn check_header(
        &self,
        committee: usize,
        hash: shardpay_types::HeaderHash,
        header: &LedgerHeader,
    ) -> Result<(), Violation> {
        let page = &self.pages[committee];
        let rule = "header chain";
        let next = page.headers.len() as u64 + 1;
        hold!(header.height.get() == next, rule, "committee {committee}: height {} after {}", header.height, next - 1);
        hold!(header_hash(header) == hash, rule, "committee {committee} height {next}: hash is not the header's");
        let parent = page.headers.last().map_or(shardpay_types::HeaderHash::ZERO, |(hash, _)| *hash);
        hold!(header.parent == parent, rule, "committee {committee} height {next}: parent {:?}", header.parent);
        hold!(header.chain == self.chain, rule, "committee {committee} height {next}: wrong chain");
        hold!(header.committee.index() == committee, rule, "height {next} of committee {}", header.committee);
        hold!(
            header.epoch.get() == page.epoch as u64,
            rule,
            "committee {committee} height {next}: epoch {} in epoch {}",
            header.epoch,
            page.epoch
        );
        let time = page.headers.last().map_or(shardpay_types::Timestamp::ZERO, |(_, block)| block.header.ledger_time);
        hold!(header.ledger_time >= time, rule, "committee {committee} height {next}: ledger time goes back");
        Ok(())
    }

    fn check_totals(&self, committee: usize, header: &LedgerHeader) -> Result<(), Violation> {
        let ours = self.pages[committee].totals;
        let theirs = Books6::of(&header.totals);
        let height = header.height;
        hold!(ours == theirs, "books", "committee {committee} height {height}: header {theirs:?}, books {ours:?}");
        let sum = |pick: fn(&Books6) -> u128| self.pages.iter().map(|page| pick(&page.totals)).sum::<u128>();
        let flight = sum(|t| t.sent).checked_sub(sum(|t| t.received));
        let rule = "conservation";
        hold!(flight.is_some(), rule, "more was received than sent");
        let held = sum(|t| t.balances) + sum(|t| t.burned) + sum(|t| t.suspense) + flight.unwrap_or(0);
        hold!(held == sum(|t| t.minted), rule, "{held} held, {} minted", sum(|t| t.minted));
        Ok(())
    }

    /// Transactions that left their leaf since the last call.
    pub(crate) fn take_fresh(&mut self) -> Vec<TxId> {
        std::mem::take(&mut self.fresh)
    }

    /// The header's hash at a height some honest node executed.
    pub(crate) fn header_at(&self, committee: usize, height: Height) -> Option<shardpay_types::HeaderHash> {
        let at = (height.get() as usize).checked_sub(1)?;
        self.pages.get(committee)?.headers.get(at).map(|(hash, _)| *hash)
    }

    /// The block at a height some honest node executed.
    pub(crate) fn block_at(&self, committee: usize, height: Height) -> Option<&Arc<LedgerBlock>> {
        let at = (height.get() as usize).checked_sub(1)?;
        self.pages.get(committee)?.headers.get(at).map(|(_, block)| block)
    }

    /// Last height any honest node executed.
    pub(crate) fn height(&self, committee: usize) -> Height {
        Height::new(self.pages[committee].headers.len() as u64)
    }

    /// Epoch of a committee's last header (or the one that follows, when that closed its epoch).
    pub(crate) fn epoch(&self, committee: usize) -> usize {
        self.pages[committee].epoch
    }

    /// The plan of `epoch`, once some committee closed the epoch before it.
    pub(crate) fn plan(&self, epoch: usize) -> Option<&Arc<Plan>> {
        self.plans.get(epoch)
    }

    /// All leaves, by txid.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = (&TxId, &LeafPlace)> {
        self.leaves.iter()
    }

    /// Whether a deposit was minted.
    pub(crate) fn deposit_used(&self, deposit: &DepositRef) -> bool {
        self.deposits.contains(deposit)
    }

    /// State of an account.
    pub(crate) fn account(&self, committee: usize, key: &PublicKey) -> AccountState {
        self.pages[committee].accounts.get(key).copied().unwrap_or(AccountState::EMPTY)
    }

    /// The sequence an account's next transaction must carry.
    pub(crate) fn next_sequence(&self, committee: usize, key: &PublicKey) -> Sequence {
        self.account(committee, key).next_sequence
    }

    /// Messages debited and not credited yet, over the whole system.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Pairs of committees with messages under way, and how many.
    pub(crate) fn flights(&self) -> Vec<((usize, usize), usize)> {
        let under_way = self.flight.iter().filter(|(_, messages)| !messages.is_empty());
        under_way.map(|(pair, messages)| (*pair, messages.len())).collect()
    }

    fn check_approvals(&self, change: &shardpay_types::EpochChange) -> Result<(), Violation> {
        let epoch = change.plan.epoch.get() as usize;
        let hash = plan_hash(&change.plan);
        let rule = "plan approvals";
        let Some(current) = epoch.checked_sub(1).and_then(|epoch| self.plans.get(epoch)) else {
            return Err(Violation::new(rule, format!("a plan for epoch {epoch} out of order")));
        };
        let message = shardpay_crypto::plan_approval_message(&self.chain, &hash, change.plan.epoch);
        for (id, committee) in current.committees.iter().enumerate() {
            let signers: BTreeSet<_> = change
                .approvals
                .iter()
                .filter(|approval| approval.committee.index() == id && approval.plan == hash)
                .filter(|approval| {
                    let key = committee.members.get(approval.member.index());
                    key.is_some_and(|key| self.scheme.verify(key, &message, &approval.signature))
                })
                .map(|approval| approval.member)
                .collect();
            let needed = committee.members.len() - (committee.members.len() - 1) / 3;
            hold!(signers.len() >= needed, rule, "epoch {epoch}: {} of committee {id} approved", signers.len());
        }
        Ok(())
    }

    fn check_certified(
        &self,
        certified: &shardpay_types::CertifiedHeader,
        rule: &'static str,
    ) -> Result<(), Violation> {
        let header = &certified.header;
        let source = header.committee.index();
        let known = self.header_at(source, header.height);
        hold!(
            known == Some(header_hash(header)),
            rule,
            "header {} of committee {source} is not its own",
            header.height
        );
        let plan = self.plans.get(header.epoch.get() as usize);
        let good = plan.is_some_and(|plan| certificate_holds(&*self.scheme, &self.chain, plan, certified));
        hold!(good, rule, "certificate of height {} of committee {source} does not hold", header.height);
        Ok(())
    }

    fn meet(&mut self, name: &'static str) {
        *self.met.entry(name).or_default() += 1;
    }
}

impl Books6 {
    fn of(totals: &Totals) -> Self {
        Self {
            balances: totals.balances.micros(),
            burned: totals.burned.micros(),
            sent: totals.sent.micros(),
            suspense: totals.suspense.micros(),
            minted: totals.minted.micros(),
            received: totals.received.micros(),
        }
    }
}
