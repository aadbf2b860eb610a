//! Clients: who pays whom, how often, how badly, and what they were promised.
//!
//! A client sees the ledger as a user does (its account's executed state) and answers of members. Most
//! submissions are sound payments over the natural mix of committees; some are tricks, drawn from a
//! list. A client whose member did not answer asks another one; some also do when an accepted payment
//! does not execute. [`Workload::stuck`] is the liveness promise: a transaction that one living,
//! honest member accepted and kept, and whose turn has come, may not stay where it is.

mod answers;
mod tricks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use shardpay_crypto::{Signer, shard_of, shard_of_deposit, transaction_message, txid};
use shardpay_types::{
    Amount, ChainId, DepositRef, MICROS_PER_COIN, Mint, Payment, PayoutRef, Plan, PublicKey, Redeem, Reference,
    Sequence, Signature, SignedMint, SignedPayment, SignedRedeem, Timestamp, Transaction, TxId,
};

use crate::checkers::Books;
use crate::coverage::Coverage;
use crate::engine::Instant;
use crate::rng::Stream;
use crate::scenario::Scenario;
use crate::scheme::{CheapKey, SchemeKind};
use crate::topology::{NodeIndex, Topology};

/// One living process of a node: what its mempool holds dies with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Life {
    /// The node.
    pub node: NodeIndex,
    /// How often it had been started.
    pub incarnation: u32,
}

/// A transaction on its way to a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Submission {
    /// When it leaves the client.
    pub at: Instant,
    /// Where to.
    pub node: NodeIndex,
    /// What.
    pub transaction: Transaction,
}

struct Client {
    signer: Arc<dyn Signer>,
    key: PublicKey,
    committee: usize,
    /// Sequences that a member took, or may have taken.
    occupied: BTreeMap<u64, TxId>,
    /// Whether it asks again when an accepted payment does not execute.
    retries: bool,
    /// For signing twice; the real scheme has no second signature.
    cheap: Option<CheapKey>,
}

impl Client {
    fn resign(&self, message: &[u8], nonce: u64) -> Signature {
        self.cheap.map_or_else(|| self.signer.sign(message), |key| key.sign_with(message, nonce))
    }
}

/// What a payment says beside its payer and sequence.
struct Terms {
    recipient: PublicKey,
    amount: Amount,
    valid_until: Timestamp,
}

/// What clients know about a transaction they sent.
struct Tracked {
    transaction: Transaction,
    client: Option<usize>,
    /// The deciding committee.
    committee: usize,
    sent: Instant,
    attempts: u32,
    answered: bool,
    /// Members that said they hold it.
    holders: BTreeSet<Life>,
}

/// All clients of a run.
pub(crate) struct Workload {
    chain: ChainId,
    topology: Topology,
    plan: Arc<Plan>,
    stream: Stream,
    clients: Vec<Client>,
    issuer: Arc<dyn Signer>,
    weak: PublicKey,
    hot: Vec<usize>,
    hot_permille: u64,
    tricks_permille: u64,
    tracked: BTreeMap<TxId, Tracked>,
    /// Tracked and not executed yet.
    open: BTreeSet<TxId>,
    executed: Vec<Transaction>,
    references: u64,
    /// Payments and redeems made, tricks included.
    pub payments: usize,
    /// What was met.
    pub coverage: Coverage,
}

impl Workload {
    /// The clients of `scenario` on the ledger `chain` that starts with `plan`.
    pub(crate) fn new(scenario: &Scenario, chain: ChainId, plan: Arc<Plan>, issuer: Arc<dyn Signer>) -> Self {
        let mut stream = Stream::new(scenario.seed, "workload", 0);
        let mut keys = Stream::new(scenario.seed, "client keys", 0);
        let clients: Vec<_> = (0..scenario.clients)
            .map(|_| {
                let secret = keys.bytes();
                let signer = scenario.scheme.signer(&secret);
                let cheap = (scenario.scheme == SchemeKind::Cheap).then(|| CheapKey::from_secret(&secret));
                let key = signer.public_key();
                let committee = plan.owner(shard_of(&key)).index();
                Client { signer, key, committee, occupied: BTreeMap::new(), retries: stream.chance(600), cheap }
            })
            .collect();
        let hot = (0..3).map(|_| stream.index(clients.len())).collect();
        Self {
            chain,
            topology: scenario.topology.clone(),
            plan,
            stream,
            clients,
            issuer,
            weak: scenario.scheme.weak_key(),
            hot,
            hot_permille: scenario.hot_permille,
            tricks_permille: scenario.tricks_permille,
            tracked: BTreeMap::new(),
            open: BTreeSet::new(),
            executed: Vec::new(),
            references: 0,
            payments: 0,
            coverage: Coverage::default(),
        }
    }

    /// One mint per client, spread over the first half second.
    pub(crate) fn mints(&mut self) -> Vec<Submission> {
        (0..self.clients.len())
            .map(|client| {
                let recipient = self.clients[client].key;
                let coins = self.stream.between(500, 2_000) * MICROS_PER_COIN;
                let deposit_ref = DepositRef(self.stream.bytes());
                let transaction = self.mint(Mint { recipient, amount: Amount::from_micros(coins), deposit_ref });
                let at = Instant(self.stream.between(20_000, 500_000));
                let committee = self.plan.owner(shard_of_deposit(&deposit_ref)).index();
                self.track(at, committee, None, transaction);
                Submission { at, node: self.member(committee), transaction }
            })
            .collect()
    }

    /// The next submissions of a random client: one, or several when it plays a trick.
    pub(crate) fn next(&mut self, now: Instant, books: &Books) -> Vec<Submission> {
        self.payments += 1;
        let client = self.stream.index(self.clients.len());
        if self.stream.chance(self.tricks_permille) {
            return self.trick(now, client, books);
        }
        self.sound(now, client, books)
    }

    /// A payment of each committee that must get through: sent when everything is healed.
    pub(crate) fn probes(&mut self, now: Instant, books: &Books) -> Vec<Submission> {
        let mut probes = Vec::new();
        for committee in 0..self.topology.committees() {
            let rich = |c: &Client| {
                c.committee == committee && books.account(committee, &c.key).balance.micros() > 10 * MICROS_PER_COIN
            };
            if let Some(client) = (0..self.clients.len()).find(|client| rich(&self.clients[*client])) {
                probes.extend(self.sound(now, client, books));
            }
        }
        probes
    }

    fn sound(&mut self, now: Instant, client: usize, books: &Books) -> Vec<Submission> {
        let sequence = self.free_sequence(client, books);
        let amount = Amount::from_micros(self.stream.between(1, 2 * MICROS_PER_COIN));
        let transaction = if self.stream.chance(60) {
            self.coverage.hit("client: redeem");
            self.redeem(client, sequence, amount)
        } else {
            self.coverage.hit("client: payment");
            let recipient = self.recipient();
            self.payment(client, sequence, Terms { recipient, amount, valid_until: Timestamp::ZERO })
        };
        let node = self.member(self.clients[client].committee);
        vec![self.give(now, client, node, transaction)]
    }

    /// The lowest sequence that is neither executed nor held by a member.
    fn free_sequence(&mut self, client: usize, books: &Books) -> u64 {
        let account = &mut self.clients[client];
        let next = books.next_sequence(account.committee, &account.key).get();
        account.occupied = account.occupied.split_off(&next);
        (next..).find(|sequence| !account.occupied.contains_key(sequence)).expect("there is always a next one")
    }

    fn recipient(&mut self) -> PublicKey {
        let client = if self.stream.chance(self.hot_permille) {
            *self.stream.pick(&self.hot)
        } else {
            self.stream.index(self.clients.len())
        };
        self.clients[client].key
    }

    fn member(&mut self, committee: usize) -> NodeIndex {
        let members = self.topology.members(committee);
        members.start + self.stream.index(members.len())
    }

    /// Notes that a client gives `transaction` to `node`, taking up its sequence.
    fn give(&mut self, at: Instant, client: usize, node: NodeIndex, transaction: Transaction) -> Submission {
        let id = self.track(at, self.clients[client].committee, Some(client), transaction);
        if let Some((_, sequence)) = transaction.debit() {
            self.clients[client].occupied.insert(sequence.get(), id);
        }
        Submission { at, node, transaction }
    }

    fn track(&mut self, sent: Instant, committee: usize, client: Option<usize>, transaction: Transaction) -> TxId {
        let id = txid(&self.chain, &transaction);
        self.open.insert(id);
        self.tracked.entry(id).or_insert(Tracked {
            transaction,
            client,
            committee,
            sent,
            attempts: 1,
            answered: false,
            holders: BTreeSet::new(),
        });
        id
    }

    fn payment(&mut self, client: usize, sequence: u64, terms: Terms) -> Transaction {
        let Terms { recipient, amount, valid_until } = terms;
        self.references += 1;
        let mut reference = [0; 16];
        reference[..8].copy_from_slice(&self.references.to_le_bytes());
        let body = Payment {
            sender: self.clients[client].key,
            recipient,
            amount,
            sequence: Sequence::new(sequence),
            valid_until,
            reference: Reference(reference),
        };
        let unsigned = Transaction::Payment(SignedPayment { body, signature: Signature::ZERO });
        let signature = self.clients[client].signer.sign(&transaction_message(&self.chain, &unsigned));
        Transaction::Payment(SignedPayment { body, signature })
    }

    fn redeem(&mut self, client: usize, sequence: u64, amount: Amount) -> Transaction {
        let body = Redeem {
            sender: self.clients[client].key,
            amount,
            sequence: Sequence::new(sequence),
            valid_until: Timestamp::ZERO,
            payout_ref: PayoutRef(self.stream.bytes()),
        };
        let unsigned = Transaction::Redeem(SignedRedeem { body, signature: Signature::ZERO });
        let signature = self.clients[client].signer.sign(&transaction_message(&self.chain, &unsigned));
        Transaction::Redeem(SignedRedeem { body, signature })
    }

    fn mint(&self, body: Mint) -> Transaction {
        let unsigned = Transaction::Mint(SignedMint { body, signature: Signature::ZERO });
        let signature = self.issuer.sign(&transaction_message(&self.chain, &unsigned));
        Transaction::Mint(SignedMint { body, signature })
    }

    /// How long a client waits before it asks another member.
    const PATIENCE: Duration = Duration::from_millis(3_000);
}
