//! The node's store (RocksDB on the disk of the current directory): ledger batches, records, syncs.
//!
//! `batch` writes what a commit of so many payments leaves: one ledger block with its items, twice as many accounts, the
//! tip; accounts go to their table later, in the background, which is not in the figure but takes processor time beside
//! it. `record` puts a DAG block into the log. `sync` makes a record durable: the disk's time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shardpay_crypto::{Keypair, SealedBlock, Signer};
use shardpay_ledger::{StateBatch, Store};
use shardpay_replica::{PersistId, Record};
use shardpay_storage::{Durability, NodeStore, Opened, StoreIdentity, StoreOptions};
use shardpay_types::*;

const TIP_BYTES: usize = 3_000;

fn open(dir: &tempfile::TempDir) -> Opened {
    let identity =
        StoreIdentity { chain: ChainId([1; 32]), node_key: PublicKey([2; 32]), committee: CommitteeId::at(0) };
    NodeStore::open(dir.path(), identity, StoreOptions::standard(Durability::Fsync)).expect("a store")
}

/// A key that no other number has, spread like hashes.
fn key(n: u64) -> PublicKey {
    PublicKey(shardpay_crypto::sha256(&[&n.to_le_bytes()]))
}

fn payment(n: u64) -> Transaction {
    let body = Payment {
        sender: key(n % 100_000),
        recipient: key(n.wrapping_mul(31) % 100_000),
        amount: Amount::from_micros(1),
        sequence: Sequence::new(n),
        valid_until: Timestamp::ZERO,
        reference: Reference::ZERO,
    };
    Transaction::Payment(SignedPayment { body, signature: Signature([n as u8; 64]) })
}

fn header(height: Height, leaf_count: u32) -> LedgerHeader {
    let anchor = BlockRef { round: Round::new(1), author: MemberIndex::at(0), digest: BlockDigest::ZERO };
    LedgerHeader {
        version: Version,
        chain: ChainId([1; 32]),
        committee: CommitteeId::at(0),
        epoch: Epoch::ZERO,
        height,
        parent: HeaderHash::ZERO,
        history: Hash::ZERO,
        ledger_time: Timestamp::ZERO,
        anchor,
        leaders: Hash::ZERO,
        last_of_commit: true,
        leaf_count,
        leaves: Hash::ZERO,
        outbox: Hash::ZERO,
        inbox: Hash::ZERO,
        effects: Hash::ZERO,
        totals: Totals::ZERO,
        next_plan: None,
    }
}

fn batch(height: u64, payments: u64) -> StateBatch {
    let state = AccountState { balance: Amount::from_micros(height), next_sequence: Sequence::new(height) };
    let (mut items, mut accounts) = (Vec::new(), Vec::new());
    for n in 0..payments {
        let transaction = payment(height * payments + n);
        let keys = transaction.debit().map(|(key, _)| key).into_iter().chain(transaction.recipient());
        accounts.extend(keys.map(|key| (key, state)));
        let accounts = List::bounded(vec![state; 2]);
        items.push(LedgerItem::Transaction(ExecutedTransaction { transaction, outcome: Outcome::Applied, accounts }));
    }
    let block = LedgerBlock { header: header(Height::new(height), payments as u32), items: List::bounded(items) };
    StateBatch { accounts, blocks: vec![Arc::new(block)], tip: Some(vec![7; TIP_BYTES]), ..StateBatch::default() }
}

fn record(round: u64, payments: u64) -> Record {
    let block = Block {
        version: Version,
        chain: ChainId([1; 32]),
        epoch: Epoch::ZERO,
        committee: CommitteeId::at(0),
        author: MemberIndex::at(0),
        round: Round::new(round),
        timestamp: Timestamp::ZERO,
        parents: List::default(),
        payload: Payload { transactions: List::bounded((0..payments).map(payment).collect()), ..Payload::default() },
        signature: Signature::ZERO,
    };
    Record::Block(SealedBlock::sign(block, &Keypair::from_seed(&[1; 32]) as &dyn Signer))
}

fn storage(criterion: &mut Criterion) {
    let dir = tempfile::tempdir_in(".").expect("a directory");
    let mut opened = open(&dir);
    let mut group = criterion.benchmark_group("storage");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    let mut height = 0;
    for payments in [10_u64, 500] {
        group.throughput(Throughput::Elements(payments));
        group.bench_function(BenchmarkId::new("batch", format!("payments={payments}")), |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    height += 1;
                    let batch = batch(height, payments);
                    let start = Instant::now();
                    opened.ledger.write(batch).expect("written");
                    spent += start.elapsed();
                }
                spent
            });
        });
    }
    let mut round = 0;
    for (payments, syncs) in [(0_u64, false), (200, false), (0, true)] {
        let name = if syncs { "sync" } else { "record" };
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new(name, format!("payments={payments}")), |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    round += 1;
                    let records = [(PersistId(round), record(round, payments))];
                    let written = Instant::now();
                    opened.records.write(&records).expect("written");
                    let start = if syncs { Instant::now() } else { written };
                    if syncs {
                        opened.records.sync().expect("synced");
                    }
                    spent += start.elapsed();
                }
                spent
            });
        });
    }
    group.finish();
    opened.store.close().expect("closes");
}

criterion_group!(benches, storage);
criterion_main!(benches);
