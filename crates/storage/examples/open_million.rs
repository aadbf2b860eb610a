//! What the store costs on this machine: records with sync, ledger batches, flushing, opening with a million
//! accounts. Prints one figure per line; `TMPDIR` chooses the disk.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shardpay_crypto::{SealedBlock, Signer, sha256};
use shardpay_ledger::{StateBatch, Store};
use shardpay_replica::{PersistId, Record};
use shardpay_storage::{Durability, NodeStore, Opened, StorageError, StoreIdentity, StoreOptions};
use shardpay_types::*;

const ACCOUNTS: u64 = 1_000_000;
const PAYMENTS_PER_BATCH: u64 = 1_000;

type Done = Result<(), Box<dyn std::error::Error>>;

fn main() -> Done {
    let dir = tempfile::tempdir()?;
    let mut opened = open(dir.path())?;
    fund(&mut opened)?;
    pay(&mut opened, 100)?;
    records(&opened)?;
    let stats = opened.store.stats()?;
    println!(
        "unflushed={} disk_mb={} memtable_mb={}",
        stats.unflushed,
        stats.disk_bytes >> 20,
        stats.memtable_bytes >> 20
    );
    drop(opened);
    println!("killed_open_ms={}", open_and_read(dir.path())?.as_millis());
    open(dir.path())?.store.close()?;
    println!("closed_open_ms={}", open_and_read(dir.path())?.as_millis());
    println!("resident_mb={}", resident_mb().unwrap_or(0));
    Ok(())
}

fn open(dir: &Path) -> Result<Opened, StorageError> {
    let (chain, node_key, committee) = (ChainId([1; 32]), PublicKey([2; 32]), CommitteeId::at(0));
    let identity = StoreIdentity { chain, node_key, committee };
    NodeStore::open(dir, identity, StoreOptions::standard(Durability::Fsync))
}

/// Opens the store and reads all accounts, as a ledger does.
fn open_and_read(dir: &Path) -> Result<Duration, Box<dyn std::error::Error>> {
    let start = Instant::now();
    let opened = open(dir)?;
    let mut accounts = 0;
    opened.ledger.accounts(&mut |_, _| accounts += 1)?;
    let taken = start.elapsed();
    assert_eq!(accounts, ACCOUNTS);
    Ok(taken)
}

fn account(n: u64) -> PublicKey {
    PublicKey(sha256(&[&n.to_le_bytes()]))
}

fn block(height: u64, items: Vec<LedgerItem>) -> Arc<LedgerBlock> {
    let anchor = BlockRef { round: Round::new(height), author: MemberIndex::at(0), digest: BlockDigest::ZERO };
    let header = LedgerHeader {
        version: Version,
        chain: ChainId([1; 32]),
        committee: CommitteeId::at(0),
        epoch: Epoch::ZERO,
        height: Height::new(height),
        parent: HeaderHash::ZERO,
        history: Hash::ZERO,
        ledger_time: Timestamp::ZERO,
        anchor,
        leaders: Hash::ZERO,
        last_of_commit: true,
        leaf_count: 0,
        leaves: Hash::ZERO,
        outbox: Hash::ZERO,
        inbox: Hash::ZERO,
        effects: Hash::ZERO,
        totals: Totals::ZERO,
        next_plan: None,
    };
    Arc::new(LedgerBlock { header, items: List::bounded(items) })
}

/// A batch as the ledger makes it, and the writing thread's time for it.
fn write(
    opened: &mut Opened,
    height: u64,
    items: Vec<LedgerItem>,
    touched: Vec<(PublicKey, AccountState)>,
) -> Result<Duration, shardpay_ledger::StoreError> {
    let batch = StateBatch {
        accounts: touched,
        blocks: vec![block(height, items)],
        tip: Some(vec![0; 600]),
        ..StateBatch::default()
    };
    let start = Instant::now();
    opened.ledger.write(batch)?;
    Ok(start.elapsed())
}

fn fund(opened: &mut Opened) -> Done {
    let state = AccountState { balance: Amount::from_micros(1_000), next_sequence: Sequence::ZERO };
    let (mut flushing, start) = (Duration::ZERO, Instant::now());
    for chunk in 0..ACCOUNTS / 10_000 {
        let keys = (chunk * 10_000..(chunk + 1) * 10_000).map(account);
        let mint = |recipient: PublicKey| {
            let body = Mint { recipient, amount: state.balance, deposit_ref: DepositRef(recipient.0) };
            let transaction = Transaction::Mint(SignedMint { body, signature: Signature::ZERO });
            LedgerItem::Transaction(ExecutedTransaction {
                transaction,
                outcome: shardpay_types::Outcome::Applied,
                accounts: List::bounded(vec![state]),
            })
        };
        let keys: Vec<_> = keys.collect();
        let items = keys.iter().map(|key| mint(*key)).collect();
        write(opened, chunk + 1, items, keys.iter().map(|key| (*key, state)).collect())?;
        if chunk % 10 == 9 {
            let start = Instant::now();
            opened.store.flush()?;
            flushing += start.elapsed();
        }
    }
    println!(
        "fund_s={:.2} flush_us_per_account={:.2}",
        start.elapsed().as_secs_f64(),
        flushing.as_secs_f64() * 1e6 / ACCOUNTS as f64
    );
    Ok(())
}

fn pay(opened: &mut Opened, batches: u64) -> Done {
    let state = AccountState { balance: Amount::from_micros(999), next_sequence: Sequence::new(1) };
    let mut times = Vec::new();
    for n in 0..batches {
        let pairs = (0..PAYMENTS_PER_BATCH).map(|i| (n * PAYMENTS_PER_BATCH + i) * 7);
        let pairs: Vec<_> = pairs.map(|i| (account(i % ACCOUNTS), account((i + 3) % ACCOUNTS))).collect();
        let item = |(sender, recipient): &(PublicKey, PublicKey)| {
            let body = Payment {
                sender: *sender,
                recipient: *recipient,
                amount: Amount::from_micros(1),
                sequence: Sequence::ZERO,
                valid_until: Timestamp::ZERO,
                reference: Reference::ZERO,
            };
            let transaction = Transaction::Payment(SignedPayment { body, signature: Signature::ZERO });
            LedgerItem::Transaction(ExecutedTransaction {
                transaction,
                outcome: shardpay_types::Outcome::Applied,
                accounts: List::bounded(vec![state, state]),
            })
        };
        let touched = pairs.iter().flat_map(|(a, b)| [(*a, state), (*b, state)]).collect();
        times.push(write(opened, ACCOUNTS / 10_000 + 1 + n, pairs.iter().map(item).collect(), touched)?);
    }
    report("batch_1000_payments_us", times);
    let waiting = opened.store.stats()?.unflushed;
    println!("unflushed_after_payments={waiting}");
    Ok(())
}

struct Unsigned;

impl Signer for Unsigned {
    fn public_key(&self) -> PublicKey {
        PublicKey::ZERO
    }
    fn sign(&self, _: &[u8]) -> Signature {
        Signature::ZERO
    }
}

fn records(opened: &Opened) -> Done {
    let body = Mint { recipient: PublicKey::ZERO, amount: Amount::ZERO, deposit_ref: DepositRef::ZERO };
    let mint = Transaction::Mint(SignedMint { body, signature: Signature::ZERO });
    let (mut writes, mut syncs) = (Vec::new(), Vec::new());
    for round in 1..=500 {
        let block = Block {
            version: Version,
            chain: ChainId([1; 32]),
            epoch: Epoch::ZERO,
            committee: CommitteeId::at(0),
            author: MemberIndex::at(0),
            round: Round::new(round),
            timestamp: Timestamp::ZERO,
            parents: List::default(),
            payload: Payload { transactions: List::bounded(vec![mint; 730]), ..Payload::default() },
            signature: Signature::ZERO,
        };
        let record = Record::Block(SealedBlock::sign(block, &Unsigned));
        let start = Instant::now();
        opened.records.write(&[(PersistId(round), record)])?;
        writes.push(start.elapsed());
        let start = Instant::now();
        opened.records.sync()?;
        syncs.push(start.elapsed());
    }
    report("record_100kb_write_us", writes);
    report("record_100kb_sync_us", syncs);
    Ok(())
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_micros();
    println!("{name} p50={} p99={} max={}", at(0.5), at(0.99), at(1.0));
}

/// Resident memory of this process.
fn resident_mb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kb| kb >> 10)
}
