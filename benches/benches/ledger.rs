//! Execution over a million accounts: the state transition alone, whole commits with all their hashing,
//! packs, receipts, checkpoints. One core; signatures are not part of it (a scheme that accepts everything).
//!
//! `transition` decides and writes payments between random accounts (two cache-cold lookups each), with
//! the change log that blocks and rollback need. `execute` takes commits of four DAG blocks: ids, leaves,
//! roots, effects hash, header, state batch; the store takes the batch and drops it. Each element is one
//! payment (one message for packs).

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shardpay_crypto::{
    Commit, IdentifiedTransaction, SealedBlock, SignatureScheme, SignedItem, Signer, chain_id, sha256, shard_of,
    shard_of_deposit,
};
use shardpay_ledger::{
    Accounts, Books, Config, Ledger, MemStore, Rules, StateBatch, Store, StoreError, transaction_leaf,
};
use shardpay_types::*;

const ACCOUNTS: usize = 1_000_000;
const BLOCK_PAYMENTS: usize = 2_048;
const BLOCKS: usize = 4;

struct AcceptAll;

impl SignatureScheme for AcceptAll {
    fn verify(&self, _: &PublicKey, _: &[u8], _: &Signature) -> bool {
        true
    }
    fn verify_batch(&self, items: &[SignedItem<'_>]) -> Vec<bool> {
        vec![true; items.len()]
    }
    fn key_acceptable(&self, _: &PublicKey) -> bool {
        true
    }
}

struct NoKey;

impl Signer for NoKey {
    fn public_key(&self) -> PublicKey {
        PublicKey::ZERO
    }
    fn sign(&self, _: &[u8]) -> Signature {
        Signature::ZERO
    }
}

/// Takes everything, keeps the last block only.
#[derive(Default)]
struct Sink {
    last: Option<Arc<LedgerBlock>>,
}

impl Store for Sink {
    fn tip(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
    fn accounts(&self, _: &mut dyn FnMut(PublicKey, AccountState)) -> Result<(), StoreError> {
        Ok(())
    }
    fn deposits(&self, _: &mut dyn FnMut(DepositRef)) -> Result<(), StoreError> {
        Ok(())
    }
    fn deposit_used(&self, _: &DepositRef) -> Result<bool, StoreError> {
        Ok(false)
    }
    fn outbox(&self, _: CommitteeId, _: u64, _: usize) -> Result<Vec<OutboxMessage>, StoreError> {
        Ok(Vec::new())
    }
    fn block(&self, height: Height) -> Result<Option<Arc<LedgerBlock>>, StoreError> {
        Ok(self.last.clone().filter(|block| block.header.height == height))
    }
    fn certificate(&self, _: Height) -> Result<Option<Certificate>, StoreError> {
        Ok(Some(certificate()))
    }
    fn checkpoint(&self) -> Result<Option<shardpay_types::CertifiedCheckpoint>, StoreError> {
        Ok(None)
    }
    fn history_node(&self, _: u8, _: u64) -> Result<Option<Hash>, StoreError> {
        Ok(None)
    }
    fn closings(&self, _: CommitteeId, _: Epoch) -> Result<Vec<ClosingRecord>, StoreError> {
        Ok(Vec::new())
    }
    fn write(&mut self, batch: StateBatch) -> Result<(), StoreError> {
        if let Some(block) = black_box(&batch).blocks.last() {
            self.last = Some(block.clone());
        }
        Ok(())
    }
}

/// Numbers of a seed (xorshift): the bench needs no better ones.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn plan(committees: usize) -> Arc<Plan> {
    let slices = Plan::even_shards(committees);
    let committees = slices.iter().enumerate().map(|(n, (shard_first, shard_count))| CommitteePlan {
        shard_first: *shard_first,
        shard_count: *shard_count,
        members: List::bounded(vec![PublicKey(sha256(&[b"member", &[n as u8]]))]),
    });
    Arc::new(Plan {
        version: Version,
        epoch: Epoch::ZERO,
        previous: PlanHash::ZERO,
        salt: [0; 32],
        issuer: PublicKey(sha256(&[b"issuer"])),
        constants: Constants { block_bytes_max: 8 << 20, ..Constants::standard(slices.len()) },
        committees: List::bounded(committees.collect()),
    })
}

fn key(n: usize) -> PublicKey {
    PublicKey(sha256(&[b"account", &(n as u64).to_le_bytes()]))
}

fn payment(sender: PublicKey, recipient: PublicKey, sequence: u64) -> Transaction {
    let body = Payment {
        sender,
        recipient,
        amount: Amount::from_micros(1),
        sequence: Sequence::new(sequence),
        valid_until: Timestamp::ZERO,
        reference: Reference::ZERO,
    };
    Transaction::Payment(SignedPayment { body, signature: Signature::ZERO })
}

/// Random payments between known accounts, each with its sender's next sequence.
struct Traffic {
    keys: Vec<PublicKey>,
    sequences: Vec<u64>,
    random: Random,
}

impl Traffic {
    fn new(keys: Vec<PublicKey>) -> Self {
        Self { sequences: vec![0; keys.len()], keys, random: Random(0x9E37_79B9_7F4A_7C15) }
    }

    fn next(&mut self) -> Transaction {
        let (from, to) = (self.random.below(self.keys.len()), self.random.below(self.keys.len()));
        self.sequences[from] += 1;
        payment(self.keys[from], self.keys[to], self.sequences[from] - 1)
    }
}

fn transition(criterion: &mut Criterion) {
    let plan = plan(1);
    let chain = chain_id(&plan);
    let mut group = criterion.benchmark_group("ledger");
    group.sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    group.throughput(Throughput::Elements((BLOCK_PAYMENTS * BLOCKS) as u64));
    for accounts in [10_000, ACCOUNTS] {
        let keys: Vec<PublicKey> = (0..accounts).map(key).collect();
        let mut table = Accounts::new(7, accounts);
        let rich = AccountState { balance: Amount::from_micros(1 << 40), next_sequence: Sequence::ZERO };
        for key in &keys {
            table.create(*key, rich);
        }
        let total = Total::from_micros((1 << 40) * accounts as u128);
        let totals = Totals { balances: total, minted: total, ..Totals::ZERO };
        let mut books = Books::new(Rules::new(&plan, CommitteeId::at(0)), table, totals);
        books.settle();
        let mut traffic = Traffic::new(keys);
        group.bench_function(BenchmarkId::new("transition", format!("accounts={accounts}")), |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let batch: Vec<_> = (0..BLOCK_PAYMENTS * BLOCKS)
                        .map(|_| IdentifiedTransaction { transaction: traffic.next(), txid: TxId(chain.0) })
                        .collect();
                    let start = Instant::now();
                    for chunk in batch.chunks(256) {
                        books.warm(chunk.iter().map(|identified| &identified.transaction));
                        for identified in chunk {
                            let decision = books
                                .decide_debit(identified, Timestamp::ZERO, &AcceptAll)
                                .expect("every payment has its sequence");
                            black_box(books.apply(&decision));
                        }
                    }
                    books.settle();
                    spent += start.elapsed();
                }
                spent
            });
        });
        assert!(books.totals().conserved());
    }
    group.finish();
}

/// A ledger with its traffic; commits are made here and certified at once.
struct Bench<S: Store> {
    ledger: Ledger<S>,
    round: u64,
    leaders: Vec<BlockRef>,
}

impl<S: Store> Bench<S> {
    fn new(plan: &Arc<Plan>, committee: usize, store: S) -> Self {
        let scheme = Arc::new(AcceptAll);
        let config = Config { genesis: plan.clone(), committee: CommitteeId::at(committee), scheme, hash_seed: 3 };
        Self { ledger: Ledger::open(config, store).expect("fresh"), round: 0, leaders: Vec::new() }
    }

    fn commit(&mut self, payloads: Vec<Payload>) -> Commit {
        let seal = |(n, payload): (u64, Payload)| {
            let block = Block {
                version: Version,
                chain: *self.ledger.chain(),
                epoch: Epoch::ZERO,
                committee: self.ledger.committee(),
                author: MemberIndex::at(0),
                round: Round::new(self.round + 1 + n),
                timestamp: Timestamp::ZERO,
                parents: List::default(),
                payload,
                signature: Signature::ZERO,
            };
            SealedBlock::sign(block, &NoKey)
        };
        let blocks: Vec<_> = (0..).zip(payloads).map(seal).collect();
        let anchor = blocks.last().expect("a commit has blocks").reference();
        self.round = anchor.round.get();
        self.leaders.push(anchor);
        self.leaders.retain(|leader| leader.round.get() + 60 > self.round);
        Commit { anchor, median_time: Timestamp::ZERO, leaders: self.leaders.clone(), blocks }
    }

    /// Executes; what that takes.
    fn run(&mut self, payloads: Vec<Payload>) -> Duration {
        let commit = self.commit(payloads);
        let start = Instant::now();
        let executed = self.ledger.execute(&commit).expect("the store does not fail");
        let spent = start.elapsed();
        assert!(executed.refused.is_empty() && !executed.blocks.is_empty());
        for made in &executed.blocks {
            let certified = CertifiedHeader { header: made.block.header.clone(), certificate: certificate() };
            self.ledger.certify(&certified).expect("the store does not fail");
        }
        spent
    }

    /// Mints for every key.
    fn fund(&mut self, plan: &Plan, keys: &[PublicKey]) {
        let own = self.ledger.committee();
        let refs = (0u64..).map(|n| DepositRef(sha256(&[b"deposit", &n.to_le_bytes()])));
        let refs = refs.filter(|deposit| plan.owner(shard_of_deposit(deposit)) == own);
        let mints: Vec<_> = refs
            .zip(keys)
            .map(|(deposit_ref, recipient)| {
                let body = Mint { recipient: *recipient, amount: Amount::from_micros(1 << 40), deposit_ref };
                Transaction::Mint(SignedMint { body, signature: Signature::ZERO })
            })
            .collect();
        for chunk in mints.chunks(BLOCK_PAYMENTS) {
            self.run(vec![payload(chunk.to_vec())]);
        }
    }
}

/// One signature of the only member.
fn certificate() -> Certificate {
    let signature = MemberSignature { member: MemberIndex::at(0), signature: Signature::ZERO };
    Certificate::new(vec![signature]).expect("one member")
}

fn payload(transactions: Vec<Transaction>) -> Payload {
    Payload { transactions: List::bounded(transactions), ..Payload::default() }
}

fn execute(criterion: &mut Criterion) {
    let plan = plan(1);
    let mut group = criterion.benchmark_group("ledger");
    group.sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(6));
    group.throughput(Throughput::Elements((BLOCK_PAYMENTS * BLOCKS) as u64));
    let mut bench = Bench::new(&plan, 0, Sink::default());
    let keys: Vec<PublicKey> = (0..ACCOUNTS).map(key).collect();
    bench.fund(&plan, &keys);
    let mut traffic = Traffic::new(keys);
    let id = format!("accounts={ACCOUNTS},payments={}", BLOCK_PAYMENTS * BLOCKS);
    group.bench_function(BenchmarkId::new("execute", id), |b| {
        b.iter_custom(|rounds| {
            let mut block = || payload((0..BLOCK_PAYMENTS).map(|_| traffic.next()).collect());
            (0..rounds).map(|_| bench.run((0..BLOCKS).map(|_| block()).collect())).sum()
        });
    });
    let height = bench.ledger.status().height;
    group.bench_function(BenchmarkId::new("proofs", format!("leaves={}", BLOCK_PAYMENTS * BLOCKS)), |b| {
        b.iter(|| bench.ledger.proofs(black_box(height)).expect("the store does not fail").expect("certified"));
    });
    let proofs = bench.ledger.proofs(height).expect("the store does not fail").expect("certified");
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::new("receipt", format!("leaves={}", BLOCK_PAYMENTS * BLOCKS)), |b| {
        let mut leaf = 0;
        b.iter(|| {
            leaf = (leaf + 7) % (BLOCK_PAYMENTS * BLOCKS) as u32;
            proofs.receipt(leaf).expect("a leaf")
        });
    });
    let LedgerItem::Transaction(item) = &proofs.block().items[0] else { panic!("a payment") };
    group.bench_function("leaf", |b| b.iter(|| transaction_leaf(&TxId::ZERO, black_box(item))));
    group.sample_size(10);
    group.bench_function(BenchmarkId::new("checkpoint", format!("accounts={ACCOUNTS}")), |b| {
        b.iter(|| bench.ledger.checkpoint().expect("the store does not fail"));
    });
    group.finish();
}

fn packs(criterion: &mut Criterion) {
    let plan = plan(2);
    let local = |committee: usize| {
        let owned = |key: &PublicKey| plan.owner(shard_of(key)).index() == committee;
        (0..).map(key).filter(owned).take(100_000).collect::<Vec<_>>()
    };
    let (payers, payees) = (local(0), local(1));
    let mut source = Bench::new(&plan, 0, MemStore::new());
    let mut destination = Bench::new(&plan, 1, Sink::default());
    source.fund(&plan, &payers);
    destination.fund(&plan, &payees);
    let (mut sequences, mut random, mut cursor) = (vec![0; payers.len()], Random(5), 0);
    let mut next = || {
        let (from, to) = (random.below(payers.len()), random.below(payees.len()));
        sequences[from] += 1;
        payment(payers[from], payees[to], sequences[from] - 1)
    };
    let mut group = criterion.benchmark_group("ledger");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(PACK_MESSAGES_MAX as u64));
    group.bench_function(
        BenchmarkId::new("apply_pack", format!("messages={PACK_MESSAGES_MAX},accounts=100000")),
        |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    source.run(vec![payload((0..PACK_MESSAGES_MAX).map(|_| next()).collect())]);
                    let pack = source.ledger.pack(CommitteeId::at(1), cursor).expect("memory").expect("messages");
                    cursor += pack.messages.len() as u64;
                    spent += destination.run(vec![Payload { packs: List::bounded(vec![pack]), ..Payload::default() }]);
                }
                spent
            });
        },
    );
    group.bench_function(BenchmarkId::new("make_pack", format!("messages={PACK_MESSAGES_MAX}")), |b| {
        b.iter(|| source.ledger.pack(CommitteeId::at(1), black_box(0)).expect("memory").expect("messages"));
    });
    group.finish();
}

criterion_group!(benches, transition, execute, packs);
criterion_main!(benches);
