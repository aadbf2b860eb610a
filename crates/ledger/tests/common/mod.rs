//! A small world of ledgers without consensus: commits are made by hand, members certify at once, packs
//! go from ledger to ledger. Signatures are hashes: cheap, forgeable, good enough to notice any change.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its part")]

use std::sync::Arc;

use shardpay_crypto::{
    Commit, SealedBlock, SignatureScheme, SignedItem, Signer, chain_id, header_hash, header_message, leaders_hash,
    plan_approval_message, plan_hash, sha256, shard_of, shard_of_deposit, transaction_message, txid,
};
use shardpay_ledger::{Config, Executed, Ledger, MadeBlock, MemStore, Store, TxReject, Verdict};
use shardpay_types::*;

/// Verifies [`Key`]s.
pub struct Cheap;

/// A key of the cheap scheme: the seed is the public key's source.
#[derive(Clone, Copy)]
pub struct Key(pub PublicKey);

impl Key {
    pub fn new(parts: &[&[u8]]) -> Self {
        Self(PublicKey(sha256(parts)))
    }
}

fn signature(key: &PublicKey, message: &[u8]) -> Signature {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&sha256(&[b"first", &key.0, message]));
    bytes[32..].copy_from_slice(&sha256(&[b"second", &key.0, message]));
    Signature(bytes)
}

impl SignatureScheme for Cheap {
    fn verify(&self, key: &PublicKey, message: &[u8], given: &Signature) -> bool {
        self.key_acceptable(key) && signature(key, message) == *given
    }
    fn verify_batch(&self, items: &[SignedItem<'_>]) -> Vec<bool> {
        items.iter().map(|item| self.verify(&item.key, item.message, &item.signature)).collect()
    }
    fn key_acceptable(&self, key: &PublicKey) -> bool {
        *key != PublicKey::ZERO
    }
}

impl Signer for Key {
    fn public_key(&self) -> PublicKey {
        self.0
    }
    fn sign(&self, message: &[u8]) -> Signature {
        signature(&self.0, message)
    }
}

/// The key of a member; `generation` changes when a plan brings new members.
pub fn member(committee: usize, index: usize, generation: u64) -> Key {
    Key::new(&[b"member", &[committee as u8, index as u8], &generation.to_le_bytes()])
}

/// What the worlds differ in.
#[derive(Clone, Copy)]
pub struct Setup {
    pub committees: usize,
    pub members: usize,
    pub leaves_max: u32,
    pub block_bytes_max: u32,
    pub mint_cap: u64,
    pub opaque_bytes_max: u32,
}

impl Setup {
    pub fn of(committees: usize) -> Self {
        Self {
            committees,
            members: 4,
            leaves_max: 8_192,
            block_bytes_max: 2 << 20,
            mint_cap: 1 << 50,
            opaque_bytes_max: 0,
        }
    }
}

pub fn plan(setup: Setup, epoch: u64, previous: PlanHash, generation: u64) -> Arc<Plan> {
    let shards = Plan::even_shards(setup.committees);
    let committees = shards.iter().enumerate().map(|(c, (shard_first, shard_count))| CommitteePlan {
        shard_first: *shard_first,
        shard_count: *shard_count,
        members: List::bounded((0..setup.members).map(|m| member(c, m, generation).0).collect()),
    });
    let constants = Constants {
        leaves_max: setup.leaves_max,
        block_bytes_max: setup.block_bytes_max,
        mint_cap: Amount::from_micros(setup.mint_cap),
        amount_min: Amount::from_micros(10),
        opaque_bytes_max: setup.opaque_bytes_max,
        ..Constants::standard(setup.committees)
    };
    let plan = Plan {
        version: Version,
        epoch: Epoch::new(epoch),
        previous,
        salt: [7; 32],
        issuer: issuer().0,
        constants,
        committees: List::bounded(committees.collect()),
    };
    plan.check().expect("test plans are well formed");
    Arc::new(plan)
}

pub fn issuer() -> Key {
    Key::new(&[b"issuer"])
}

/// One committee's ledger and what its consensus would know.
pub struct Node {
    pub ledger: Ledger<MemStore>,
    pub committee: CommitteeId,
    pub generation: u64,
    pub round: u64,
    pub leaders: Vec<BlockRef>,
    pub time: u64,
}

pub struct World {
    pub setup: Setup,
    pub genesis: Arc<Plan>,
    pub chain: ChainId,
    pub nodes: Vec<Node>,
}

pub fn config(genesis: &Arc<Plan>, committee: usize) -> Config {
    Config {
        genesis: genesis.clone(),
        committee: CommitteeId::at(committee),
        scheme: Arc::new(Cheap),
        hash_seed: 99 + committee as u64,
    }
}

impl World {
    pub fn new(setup: Setup) -> Self {
        let genesis = plan(setup, 0, PlanHash::ZERO, 0);
        let nodes = (0..setup.committees).map(|c| Node {
            ledger: Ledger::open(config(&genesis, c), MemStore::new()).expect("a fresh store opens"),
            committee: CommitteeId::at(c),
            generation: 0,
            round: 0,
            leaders: Vec::new(),
            time: 0,
        });
        Self { setup, chain: chain_id(&genesis), nodes: nodes.collect(), genesis }
    }

    pub fn of(committees: usize) -> Self {
        Self::new(Setup::of(committees))
    }

    /// The `n`-th account that lives in `committee`.
    pub fn account(&self, committee: usize, n: u64) -> Key {
        let keys = (0u64..).map(|i| Key::new(&[b"account", &n.to_le_bytes(), &i.to_le_bytes()]));
        let mut local = keys.filter(|key| self.genesis.owner(shard_of(&key.0)).index() == committee);
        local.next().expect("every committee owns shards")
    }

    /// The `n`-th deposit that `committee` decides.
    pub fn deposit(&self, committee: usize, n: u64) -> DepositRef {
        let refs = (0u64..).map(|i| DepositRef(sha256(&[b"deposit", &n.to_le_bytes(), &i.to_le_bytes()])));
        let mut local = refs.filter(|deposit| self.genesis.owner(shard_of_deposit(deposit)).index() == committee);
        local.next().expect("every committee owns shards")
    }

    pub fn sign(&self, key: Key, transaction: Transaction) -> Transaction {
        let signature = key.sign(&transaction_message(&self.chain, &transaction));
        match transaction {
            Transaction::Payment(tx) => Transaction::Payment(SignedPayment { signature, ..tx }),
            Transaction::Redeem(tx) => Transaction::Redeem(SignedRedeem { signature, ..tx }),
            Transaction::Mint(tx) => Transaction::Mint(SignedMint { signature, ..tx }),
        }
    }

    pub fn mint(&self, deposit_ref: DepositRef, recipient: Key, amount: u64) -> Transaction {
        let body = Mint { recipient: recipient.0, amount: Amount::from_micros(amount), deposit_ref };
        self.sign(issuer(), Transaction::Mint(SignedMint { body, signature: Signature::ZERO }))
    }

    pub fn pay(&self, sender: Key, recipient: Key, amount: u64, sequence: u64) -> Transaction {
        self.pay_until(sender, recipient, amount, (sequence, 0))
    }

    pub fn pay_until(&self, sender: Key, recipient: Key, amount: u64, (sequence, until): (u64, u64)) -> Transaction {
        let body = Payment {
            sender: sender.0,
            recipient: recipient.0,
            amount: Amount::from_micros(amount),
            sequence: Sequence::new(sequence),
            valid_until: Timestamp::from_micros(until),
            reference: Reference([5; 16]),
        };
        self.sign(sender, Transaction::Payment(SignedPayment { body, signature: Signature::ZERO }))
    }

    pub fn redeem(&self, sender: Key, amount: u64, sequence: u64) -> Transaction {
        let body = Redeem {
            sender: sender.0,
            amount: Amount::from_micros(amount),
            sequence: Sequence::new(sequence),
            valid_until: Timestamp::ZERO,
            payout_ref: PayoutRef([6; 32]),
        };
        self.sign(sender, Transaction::Redeem(SignedRedeem { body, signature: Signature::ZERO }))
    }

    /// Executes one commit with these transactions in one block and certifies what it made.
    pub fn run(&mut self, committee: usize, transactions: Vec<Transaction>) -> Executed {
        self.run_payloads(committee, vec![payload(transactions)])
    }

    pub fn run_payloads(&mut self, committee: usize, payloads: Vec<Payload>) -> Executed {
        let commit = self.commit(committee, payloads);
        let executed = self.nodes[committee].ledger.execute(&commit).expect("memory does not fail");
        self.certify(committee, &executed);
        executed
    }

    /// The next commit of a committee, its epoch being the ledger's.
    pub fn commit(&mut self, committee: usize, payloads: Vec<Payload>) -> Commit {
        self.nodes[committee].commit(self.chain, payloads)
    }

    /// Certificates for the blocks made, handed to the ledger.
    pub fn certify(&mut self, committee: usize, executed: &Executed) {
        for made in &executed.blocks {
            let certified = self.certified(committee, made);
            self.nodes[committee].ledger.certify(&certified).expect("memory does not fail");
            if certified.header.is_closing() {
                self.nodes[committee].generation += 1;
            }
        }
    }

    pub fn certified(&self, committee: usize, made: &MadeBlock) -> CertifiedHeader {
        let header = made.block.header.clone();
        CertifiedHeader { certificate: self.signatures(committee, &header, &[0, 1, 2]), header }
    }

    /// Signatures of these members, of the node's generation, over a header.
    pub fn signatures(&self, committee: usize, header: &LedgerHeader, members: &[usize]) -> Certificate {
        let message = header_message(&self.chain, &header_hash(header));
        let generation = self.nodes[committee].generation;
        sign_all(committee, generation, members, &message)
    }

    /// The pack that `destination` needs next from `source`.
    pub fn pack(&self, source: usize, destination: usize) -> Option<Pack> {
        let first = self.cursor(destination, source).count;
        self.nodes[source].ledger.pack(CommitteeId::at(destination), first).expect("memory does not fail")
    }

    pub fn cursor(&self, destination: usize, source: usize) -> InboxLeaf {
        self.nodes[destination].ledger.view().cursors[source]
    }

    /// Brings all messages from `source` to `destination`, with all closing records.
    pub fn relay(&mut self, source: usize, destination: usize) -> usize {
        let from = self.nodes[destination].ledger.view().keysets[source].1;
        for record in self.nodes[source].ledger.closings(from).expect("memory does not fail") {
            let executed = self.run_payloads(destination, vec![with_closing(record)]);
            assert_eq!(executed.refused, vec![]);
        }
        let mut messages = 0;
        while let Some(pack) = self.pack(source, destination) {
            messages += pack.messages.len();
            let executed = self.run_payloads(destination, vec![with_pack(pack)]);
            assert_eq!(executed.refused, vec![]);
        }
        messages
    }

    /// Brings all messages everywhere, returns included.
    pub fn settle(&mut self) {
        let pairs = self.pairs();
        while pairs.iter().map(|(source, destination)| self.relay(*source, *destination)).sum::<usize>() > 0 {}
    }

    pub fn pairs(&self) -> Vec<(usize, usize)> {
        let k = self.setup.committees;
        (0..k).flat_map(|a| (0..k).filter(move |b| a != *b).map(move |b| (a, b))).collect()
    }

    pub fn balance(&self, committee: usize, key: Key) -> u64 {
        self.nodes[committee].ledger.account(&key.0).balance.micros()
    }

    pub fn sequence(&self, committee: usize, key: Key) -> u64 {
        self.nodes[committee].ledger.account(&key.0).next_sequence.get()
    }

    pub fn totals(&self, committee: usize) -> Totals {
        self.nodes[committee].ledger.status().totals
    }

    pub fn txid(&self, transaction: &Transaction) -> TxId {
        txid(&self.chain, transaction)
    }

    /// The plan that follows `current`, with new members of generation + 1 when `renew`.
    pub fn next_plan(&self, current: &Plan, generation: u64) -> Arc<Plan> {
        plan(self.setup, current.epoch.get() + 1, plan_hash(current), generation)
    }

    /// An epoch change to `next`, approved by Q members of each committee of generation `generation`.
    pub fn epoch_change(&self, next: &Plan, generation: u64) -> EpochChange {
        let hash = plan_hash(next);
        let message = plan_approval_message(&self.chain, &hash, next.epoch);
        let approvals = (0..self.setup.committees).flat_map(|c| {
            let message = message.to_vec();
            (0..3).map(move |m| PlanApproval {
                plan: hash,
                epoch: next.epoch,
                committee: CommitteeId::at(c),
                member: MemberIndex::at(m),
                signature: member(c, m, generation).sign(&message),
            })
        });
        EpochChange { plan: next.clone(), approvals: List::bounded(approvals.collect()) }
    }

    /// Closes the epoch of one committee by `change`.
    pub fn close(&mut self, committee: usize, change: &EpochChange) -> Executed {
        let executed = self.run_payloads(committee, vec![with_change(change.clone())]);
        assert!(executed.closed.is_some(), "{:?}", executed.refused);
        executed
    }

    /// A second replica of `committee`, from a clone of its store.
    pub fn reopen(&self, committee: usize) -> Ledger<MemStore> {
        let store = self.nodes[committee].ledger.store().clone();
        Ledger::open(config(&self.genesis, committee), store).expect("own stores open")
    }
}

impl Node {
    pub fn commit(&mut self, chain: ChainId, payloads: Vec<Payload>) -> Commit {
        self.time += 1_000;
        let view = self.ledger.view();
        let (epoch, next) = (view.plan.epoch, self.ledger.status().last_output == Round::ZERO);
        if next {
            (self.round, self.leaders) = (0, Vec::new());
        }
        self.commit_of(chain, epoch, payloads)
    }

    pub fn commit_of(&mut self, chain: ChainId, epoch: Epoch, payloads: Vec<Payload>) -> Commit {
        let start = self.round + 1;
        let count = payloads.len().max(1) as u64;
        self.round = start + count - 1;
        let payloads = if payloads.is_empty() { vec![Payload::default()] } else { payloads };
        let blocks: Vec<_> = (start..)
            .zip(payloads)
            .map(|(round, payload)| {
                let author = MemberIndex::at((round % 4) as usize);
                let block = Block {
                    version: Version,
                    chain,
                    epoch,
                    committee: self.committee,
                    author,
                    round: Round::new(round),
                    timestamp: Timestamp::from_micros(self.time),
                    parents: List::default(),
                    payload,
                    signature: Signature::ZERO,
                };
                SealedBlock::sign(block, &member(self.committee.index(), author.index(), self.generation))
            })
            .collect();
        let anchor = blocks.last().expect("at least one").reference();
        self.leaders.push(anchor);
        self.leaders.retain(|leader| leader.round.get() + 60 > anchor.round.get());
        Commit { anchor, median_time: Timestamp::from_micros(self.time), leaders: self.leaders.clone(), blocks }
    }
}

pub fn sign_all(committee: usize, generation: u64, members: &[usize], message: &[u8]) -> Certificate {
    let signed = members.iter().map(|m| MemberSignature {
        member: MemberIndex::at(*m),
        signature: member(committee, *m, generation).sign(message),
    });
    Certificate::new(signed.collect()).expect("distinct members")
}

pub fn payload(transactions: Vec<Transaction>) -> Payload {
    Payload { transactions: List::bounded(transactions), ..Payload::default() }
}

pub fn with_pack(pack: Pack) -> Payload {
    Payload { packs: List::bounded(vec![pack]), ..Payload::default() }
}

pub fn with_closing(record: ClosingRecord) -> Payload {
    Payload { closings: List::bounded(vec![record]), ..Payload::default() }
}

pub fn with_change(change: EpochChange) -> Payload {
    Payload { epoch_change: Some(change), ..Payload::default() }
}

/// The verdicts, in order.
pub fn verdicts(executed: &Executed) -> Vec<Verdict> {
    executed.verdicts.iter().map(|(_, verdict)| *verdict).collect()
}

/// What was dropped, in order.
pub fn dropped(executed: &Executed) -> Vec<TxReject> {
    let reject = |verdict| if let Verdict::Dropped(reject) = verdict { Some(reject) } else { None };
    verdicts(executed).into_iter().filter_map(reject).collect()
}

/// The outcomes of what left a leaf, in the order in which it was met.
pub fn outcomes(executed: &Executed) -> Vec<Outcome> {
    let outcome = |verdict| if let Verdict::Executed { outcome, .. } = verdict { Some(outcome) } else { None };
    verdicts(executed).into_iter().filter_map(outcome).collect()
}

/// Height and leaf of the `n`-th transaction.
pub fn place(executed: &Executed, n: usize) -> (Height, u32) {
    match executed.verdicts[n].1 {
        Verdict::Executed { height, leaf, .. } => (height, leaf),
        Verdict::Dropped(reject) => panic!("dropped: {reject}"),
    }
}

/// The certified blocks of a ledger, from the start.
pub fn chain_of<S: Store>(ledger: &Ledger<S>) -> Vec<CertifiedBlock> {
    let mut blocks: Vec<CertifiedBlock> = Vec::new();
    loop {
        let next = Height::new(blocks.len() as u64 + 1);
        let more = ledger.blocks(next, 1 << 20).expect("memory does not fail");
        if more.is_empty() {
            return blocks;
        }
        blocks.extend(more);
    }
}

/// That two ledgers are in the same state, as far as anybody can ask.
pub fn assert_same<A: Store, B: Store>(a: &Ledger<A>, b: &Ledger<B>) {
    assert_eq!(a.checkpoint(), b.checkpoint());
    let (x, y) = (a.view(), b.view());
    assert_eq!((x.status.height, x.status.head, x.status.totals), (y.status.height, y.status.head, y.status.totals));
    assert_eq!((x.status.accounts, x.status.epoch), (y.status.accounts, y.status.epoch));
    assert_eq!((&x.plan, &x.keysets, &x.closed), (&y.plan, &y.keysets, &y.closed));
    assert_eq!((&x.cursors, &x.outboxes), (&y.cursors, &y.outboxes));
}

/// The hash of a leader list, for tests of what is served.
pub fn list_hash(leaders: &LeaderList) -> Hash {
    leaders_hash(leaders)
}
