//! The clients: as `loadgen` behaves, without its bookkeeping.
//!
//! Payments of a committee's payers wait [`LINGER`] for each other, a batch of new payers goes to the members in turn,
//! all that is pending of one payer goes to one member. A payment ends when the clients have checked the certified block
//! with its debit, or with its credit when that is another committee's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use shardpay_crypto::{Signer, shard_of, shard_of_deposit, transaction_message, txid};
use shardpay_ledger::item_leaves;
use shardpay_sim::{CheapKey, Instant, NodeIndex, Stream};
use shardpay_types::{
    Amount, ChainId, DepositRef, LedgerBlock, LedgerItem, Mint, Payment, Plan, PublicKey, Reference, SUBMIT_MAX,
    Sequence, Signature, SignedMint, SignedPayment, Timestamp, Transaction, TxId,
};

use crate::setup::{Load, Setup};

/// How long a batch waits to grow.
pub(super) const LINGER: Duration = Duration::from_millis(3);
/// Payments of one payer without a certified debit.
const PENDING_MAX: u32 = 48;
/// Payers that are tried before a payment is skipped.
const TRIES: usize = 16;

struct Account {
    key: Arc<CheapKey>,
    public: PublicKey,
    committee: usize,
    next_sequence: u64,
    pending: u32,
    member: usize,
}

struct Open {
    at: Instant,
    payer: usize,
    is_cross: bool,
    transaction: Transaction,
}

/// What was counted since the warm-up.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) latencies_us: Vec<u64>,
    pub(super) skipped: u64,
}

impl Counted {
    /// A percentile; not a number when nothing was counted.
    pub(super) fn percentile_ms(&mut self, share: f64) -> f64 {
        self.latencies_us.sort_unstable();
        let place = (self.latencies_us.len() as f64 * share).ceil() as usize;
        let found = self.latencies_us.get(place.saturating_sub(1));
        found.map_or(f64::NAN, |us| *us as f64 / 1e3)
    }
}

/// All clients.
pub(super) struct Clients {
    chain: ChainId,
    stream: Stream,
    issuer: Arc<CheapKey>,
    accounts: Vec<Account>,
    index: HashMap<PublicKey, usize>,
    /// By committee.
    of_committee: Vec<Vec<usize>>,
    mint_refs: Vec<DepositRef>,
    unfunded: usize,
    open: HashMap<TxId, Open>,
    batches: Vec<Vec<(usize, Transaction)>>,
    turns: Vec<usize>,
    members: usize,
    cross: f64,
    mean_pause_us: f64,
    counting: bool,
    counted: Counted,
}

impl Clients {
    pub(super) fn new(setup: &Setup, chain: ChainId, plan: &Plan, issuer: Arc<CheapKey>) -> Self {
        let mut stream = Stream::new(setup.seed, "model clients", 0);
        let mut of_committee = vec![Vec::new(); setup.committees];
        let accounts: Vec<Account> = (0..setup.accounts.max(2))
            .map(|index| {
                let key = Arc::new(CheapKey::from_secret(&stream.bytes()));
                let public = key.public_key();
                let committee = plan.owner(shard_of(&public)).index();
                of_committee[committee].push(index);
                Account { key, public, committee, next_sequence: 0, pending: 0, member: 0 }
            })
            .collect();
        let mint_ref = |account: &Account| loop {
            let deposit = DepositRef(stream.bytes());
            if plan.owner(shard_of_deposit(&deposit)).index() == account.committee {
                return deposit;
            }
        };
        let mint_refs = accounts.iter().map(mint_ref).collect();
        let rate = match setup.load {
            Load::Open(per_second) => per_second / setup.grain as f64,
            Load::Closed(_) => 1.0,
        };
        Self {
            chain,
            stream: Stream::new(setup.seed, "model payments", 0),
            issuer,
            unfunded: accounts.len(),
            index: accounts.iter().enumerate().map(|(index, account)| (account.public, index)).collect(),
            accounts,
            of_committee,
            mint_refs,
            open: HashMap::new(),
            batches: vec![Vec::new(); setup.committees],
            turns: vec![0; setup.committees],
            members: setup.members,
            cross: setup.cross,
            mean_pause_us: 1e6 / rate,
            counting: false,
            counted: Counted::default(),
        }
    }

    /// A mint for each account, in batches.
    pub(super) fn mints(&mut self) -> Vec<(usize, Vec<Transaction>)> {
        let mut by_committee: Vec<Vec<Transaction>> = vec![Vec::new(); self.batches.len()];
        for (account, deposit_ref) in self.accounts.iter().zip(std::mem::take(&mut self.mint_refs)) {
            let body = Mint { recipient: account.public, amount: Amount::from_micros(1 << 40), deposit_ref };
            let sign = |signature| Transaction::Mint(SignedMint { body, signature });
            by_committee[account.committee].push(signed(&self.chain, &self.issuer, sign));
        }
        let parts = by_committee.into_iter().enumerate().flat_map(|(committee, mints)| {
            mints.chunks(SUBMIT_MAX).map(|part| (committee, part.to_vec())).collect::<Vec<_>>()
        });
        parts.collect()
    }

    pub(super) const fn unfunded(&self) -> usize {
        self.unfunded
    }

    /// The member of a committee whose turn it is.
    pub(super) fn next_member(&mut self, committee: usize) -> NodeIndex {
        self.turns[committee] = (self.turns[committee] + 1) % self.members;
        committee * self.members + self.turns[committee]
    }

    /// Until the next payment is due.
    pub(super) fn pause(&mut self) -> Duration {
        let unit = (self.stream.bits() >> 11) as f64 / (1u64 << 53) as f64;
        Duration::from_secs_f64(-(1.0 - unit).ln() * self.mean_pause_us / 1e6)
    }

    /// From now on payments that end are counted.
    pub(super) fn start_counting(&mut self) {
        self.counting = true;
        self.counted = Counted::default();
    }

    pub(super) const fn counted(&mut self) -> &mut Counted {
        &mut self.counted
    }

    /// Makes a payment; the committee whose batch it begins.
    pub(super) fn pay(&mut self, now: Instant) -> Option<usize> {
        let free = (0..TRIES)
            .map(|_| self.stream.index(self.accounts.len()))
            .find(|index| self.accounts[*index].pending < PENDING_MAX);
        let Some(payer) = free else {
            self.counted.skipped += 1;
            return None;
        };
        let committee = self.accounts[payer].committee;
        let wants_cross = self.stream.below(1 << 20) < (self.cross * f64::from(1 << 20)) as u64;
        let payee = self.payee(committee, wants_cross);
        let is_cross = self.accounts[payee].committee != committee;
        let body = Payment {
            sender: self.accounts[payer].public,
            recipient: self.accounts[payee].public,
            amount: Amount::from_micros(1_000),
            sequence: Sequence::new(self.accounts[payer].next_sequence),
            valid_until: Timestamp::ZERO,
            reference: Reference::ZERO,
        };
        let sign = |signature| Transaction::Payment(SignedPayment { body, signature });
        let transaction = signed(&self.chain, &self.accounts[payer].key, sign);
        self.accounts[payer].next_sequence += 1;
        self.accounts[payer].pending += 1;
        self.open.insert(txid(&self.chain, &transaction), Open { at: now, payer, is_cross, transaction });
        self.batches[committee].push((payer, transaction));
        (self.batches[committee].len() == 1).then_some(committee)
    }

    fn payee(&mut self, committee: usize, cross: bool) -> usize {
        if !cross {
            return *self.stream.pick(&self.of_committee[committee]);
        }
        let mut draw = || self.stream.index(self.accounts.len());
        let found = (0..256).map(|_| draw()).find(|index| self.accounts[*index].committee != committee);
        found.unwrap_or(0)
    }

    /// What waits for a committee, by node.
    pub(super) fn take_batch(&mut self, committee: usize) -> Vec<(NodeIndex, Vec<Transaction>)> {
        let turn = self.next_member(committee);
        let mut by_node: Vec<(NodeIndex, Vec<Transaction>)> = Vec::new();
        for (payer, transaction) in std::mem::take(&mut self.batches[committee]) {
            let account = &mut self.accounts[payer];
            let is_first = transaction
                .debit()
                .is_some_and(|(_, sequence)| sequence.get() + u64::from(account.pending) == account.next_sequence);
            if is_first {
                account.member = turn;
            }
            let node = account.member;
            match by_node.iter_mut().find(|(of, batch)| *of == node && batch.len() < SUBMIT_MAX) {
                Some((_, batch)) => batch.push(transaction),
                None => by_node.push((node, vec![transaction])),
            }
        }
        by_node
    }

    /// A payment that was not taken.
    pub(super) fn again(&self, txid: &TxId) -> Option<(usize, Transaction)> {
        let open = self.open.get(txid)?;
        Some((self.accounts[open.payer].committee, open.transaction))
    }

    /// Checks a certified block's leaves, as a client does, and ends what is in it; how many payments ended.
    pub(super) fn seen(&mut self, now: Instant, block: &LedgerBlock) -> usize {
        let mut ended = 0;
        for item in &block.items {
            let _leaves = std::hint::black_box(item_leaves(&self.chain, item));
            match item {
                LedgerItem::Transaction(executed) => match &executed.transaction {
                    Transaction::Mint(_) => self.unfunded -= 1,
                    transaction => {
                        let payer = transaction.debit().and_then(|(key, _)| self.index.get(&key));
                        payer.into_iter().for_each(|payer| self.accounts[*payer].pending -= 1);
                        let id = txid(&self.chain, transaction);
                        // a credit may be seen before its debit
                        let is_local = self.open.get(&id).is_some_and(|open| !open.is_cross);
                        ended += usize::from(is_local && self.end(now, &id));
                    }
                },
                LedgerItem::Pack(executed) => {
                    for message in &executed.pack.messages {
                        ended += usize::from(self.end(now, &message.txid));
                    }
                }
                LedgerItem::Opaque(_) | LedgerItem::Closing(_) | LedgerItem::EpochChange(_) => {}
            }
        }
        ended
    }

    fn end(&mut self, now: Instant, id: &TxId) -> bool {
        let Some(open) = self.open.remove(id) else { return false };
        if self.counting {
            self.counted.latencies_us.push(now.since(open.at).as_micros() as u64);
        }
        true
    }
}

/// A transaction with its signature.
fn signed(chain: &ChainId, key: &CheapKey, make: impl Fn(Signature) -> Transaction) -> Transaction {
    let message = transaction_message(chain, &make(Signature::ZERO));
    make(key.sign(&message))
}
