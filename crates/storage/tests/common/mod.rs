//! A real history of one committee's ledger as the batches it wrote, and what a store holds, to be compared.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shardpay_crypto::SealedBlock;
use shardpay_ledger::{Executed, Ledger, MemStore, StateBatch, Store, StoreError};
use shardpay_replica::{PersistId, Record};
use shardpay_storage::{Durability, NodeStore, Opened, StoreIdentity, StoreOptions};
use shardpay_types::*;

#[path = "../../../ledger/tests/common/mod.rs"]
pub mod world;
use world::{Key, World, config, payload};

/// Whose stores the tests make.
pub fn identity() -> StoreIdentity {
    StoreIdentity { chain: ChainId([1; 32]), node_key: PublicKey([2; 32]), committee: CommitteeId::at(0) }
}

/// Small memtables, so that files are written and the log rotates; no flush but those asked for.
pub fn options() -> StoreOptions {
    let flush_interval = Duration::from_secs(3_600);
    StoreOptions { memtable_bytes: 64 << 10, flush_interval, ..StoreOptions::standard(Durability::Os) }
}

pub fn open(dir: &Path) -> Opened {
    NodeStore::open(dir, identity(), options()).expect("own store")
}

/// Memory, and a copy of what was written to it.
#[derive(Default)]
struct Recorder {
    memory: MemStore,
    batches: Arc<Mutex<Vec<StateBatch>>>,
}

impl Store for Recorder {
    fn tip(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.memory.tip()
    }
    fn accounts(&self, each: &mut dyn FnMut(PublicKey, AccountState)) -> Result<(), StoreError> {
        self.memory.accounts(each)
    }
    fn deposits(&self, each: &mut dyn FnMut(DepositRef)) -> Result<(), StoreError> {
        self.memory.deposits(each)
    }
    fn deposit_used(&self, deposit: &DepositRef) -> Result<bool, StoreError> {
        self.memory.deposit_used(deposit)
    }
    fn outbox(&self, destination: CommitteeId, first: u64, max: usize) -> Result<Vec<OutboxMessage>, StoreError> {
        self.memory.outbox(destination, first, max)
    }
    fn block(&self, height: Height) -> Result<Option<Arc<LedgerBlock>>, StoreError> {
        self.memory.block(height)
    }
    fn certificate(&self, height: Height) -> Result<Option<Certificate>, StoreError> {
        self.memory.certificate(height)
    }
    fn history_node(&self, level: u8, position: u64) -> Result<Option<Hash>, StoreError> {
        self.memory.history_node(level, position)
    }
    fn closings(&self, committee: CommitteeId, from: Epoch) -> Result<Vec<ClosingRecord>, StoreError> {
        self.memory.closings(committee, from)
    }
    fn checkpoint(&self) -> Result<Option<CertifiedCheckpoint>, StoreError> {
        self.memory.checkpoint()
    }
    fn write(&mut self, batch: StateBatch) -> Result<(), StoreError> {
        self.batches.lock().expect("one thread").push(batch.clone());
        self.memory.write(batch)
    }
}

/// Committee 0's batches over a busy history: mints, payments inside and across, redeems, packs,
/// acknowledged messages, certificates that come late, and in the end a closed epoch.
pub fn history() -> Vec<StateBatch> {
    let mut world = World::of(3);
    let batches = Arc::default();
    let recorder = Recorder { batches: Arc::clone(&batches), ..Recorder::default() };
    let mut ledger = Ledger::open(config(&world.genesis, 0), recorder).expect("a fresh store opens");
    let accounts: Vec<Vec<Key>> = (0..3).map(|c| (0..4).map(|n| world.account(c, n)).collect()).collect();
    let mut sequence = [0u64; 3];
    for step in 0..24u64 {
        for c in 0..3 {
            let mut transactions = vec![world.mint(world.deposit(c, step), accounts[(c + 1) % 3][0], 900)];
            for n in 0..4usize {
                let (sender, other) = (accounts[c][n], accounts[(c + n) % 3][(n + 1) % 4]);
                transactions.push(world.pay(sender, other, 10 + step, sequence[c]));
                transactions.push(world.redeem(sender, 11, sequence[c] + 1));
            }
            sequence[c] += 2;
            let mut payload = payload(transactions);
            if step % 3 == 2 {
                let packs = (0..3).filter(|s| *s != c).filter_map(|s| world.pack(s, c));
                payload.packs = List::bounded(packs.collect());
            }
            let commit = world.commit(c, vec![payload]);
            let executed = world.nodes[c].ledger.execute(&commit).expect("memory");
            if c == 0 {
                ledger.execute(&commit).expect("memory");
            }
            if step % 3 != 1 {
                certify(&mut world, c, executed, &mut ledger);
            }
            acknowledge(&mut world, c, &mut ledger);
        }
    }
    let next = world.next_plan(&world.genesis.clone(), 0);
    let change = world.epoch_change(&next, 0);
    let commit = world.commit(0, vec![world::with_change(change)]);
    let executed = world.nodes[0].ledger.execute(&commit).expect("memory");
    ledger.execute(&commit).expect("memory");
    certify(&mut world, 0, executed, &mut ledger);
    drop(ledger);
    Arc::try_unwrap(batches).expect("the ledger is gone").into_inner().expect("one thread")
}

fn certify(world: &mut World, c: usize, executed: Executed, ledger: &mut Ledger<Recorder>) {
    let blocks = world.nodes[c].ledger.view().uncertified;
    let certified: Vec<_> = blocks.iter().map(|made| world.certified(c, made)).collect();
    world.certify(c, &Executed { blocks, ..executed });
    if c == 0 {
        certified.iter().for_each(|certified| ledger.certify(certified).expect("memory"));
    }
}

/// Committee `c` tells another one how far it has come with its messages.
fn acknowledge(world: &mut World, c: usize, ledger: &mut Ledger<Recorder>) {
    let source = (c + 2) % 3;
    if let Some(proof) = world.nodes[c].ledger.cursor_proof(CommitteeId::at(source)) {
        let _ = world.nodes[source].ledger.acknowledge(&proof).expect("memory");
        if source == 0 {
            let _ = ledger.acknowledge(&proof).expect("memory");
        }
    }
}

/// Everything a ledger store yields.
#[derive(Debug, PartialEq)]
pub struct Contents {
    pub tip: Option<Vec<u8>>,
    pub accounts: Vec<(PublicKey, AccountState)>,
    pub deposits: Vec<DepositRef>,
    pub outbox: Vec<Vec<OutboxMessage>>,
    pub blocks: Vec<Arc<LedgerBlock>>,
    pub certificates: Vec<Option<Certificate>>,
    pub history: Vec<Option<Hash>>,
    pub closings: Vec<Vec<ClosingRecord>>,
    pub checkpoint: Option<CertifiedCheckpoint>,
}

pub fn contents(store: &dyn Store) -> Contents {
    let (mut accounts, mut deposits) = (Vec::new(), Vec::new());
    store.accounts(&mut |key, state| accounts.push((key, state))).expect("accounts");
    store.deposits(&mut |deposit| deposits.push(deposit)).expect("deposits");
    assert!(deposits.iter().all(|deposit| store.deposit_used(deposit).expect("deposits")));
    assert!(!store.deposit_used(&DepositRef([9; 32])).expect("deposits"));
    let heights = |n| Height::new(n);
    let blocks = (1..).map_while(|n| store.block(heights(n)).expect("blocks")).collect::<Vec<_>>();
    let above = blocks.len() as u64 + 2;
    let levels = (0..8).flat_map(|level| (0..above).map(move |position| (level, position)));
    let (starts, committees) = ([0, 3, 17], || (0..4).map(CommitteeId::at));
    let outbox = |to, first| store.outbox(to, first, 40).expect("outbox");
    Contents {
        tip: store.tip().expect("tip"),
        accounts,
        deposits,
        outbox: committees().flat_map(|to| starts.map(|first| outbox(to, first))).collect(),
        certificates: (0..above).map(|n| store.certificate(heights(n)).expect("certificates")).collect(),
        history: levels.map(|(level, position)| store.history_node(level, position).expect("history")).collect(),
        closings: committees().map(|of| store.closings(of, Epoch::ZERO).expect("closings")).collect(),
        checkpoint: store.checkpoint().expect("checkpoint"),
        blocks,
    }
}

/// The DAG block of `author` in a round.
pub fn dag_block(epoch: u64, round: u64, author: usize, payload_bytes: usize) -> Arc<SealedBlock> {
    let world_key = Key::new(&[b"author", &[author as u8]]);
    let mint = Mint { recipient: world_key.0, amount: Amount::ZERO, deposit_ref: DepositRef([3; 32]) };
    let mint = Transaction::Mint(SignedMint { body: mint, signature: Signature::ZERO });
    let transactions = List::bounded(vec![mint; payload_bytes / 137]);
    let block = Block {
        version: Version,
        chain: identity().chain,
        epoch: Epoch::new(epoch),
        committee: identity().committee,
        author: MemberIndex::at(author),
        round: Round::new(round),
        timestamp: Timestamp::ZERO,
        parents: List::default(),
        payload: Payload { transactions, ..Payload::default() },
        signature: Signature::ZERO,
    };
    SealedBlock::sign(block, &world_key)
}

/// A block as a record.
pub fn block_record(id: u64, block: &Arc<SealedBlock>) -> (PersistId, Record) {
    (PersistId(id), Record::Block(block.clone()))
}

/// A header vote as a record.
pub fn vote_record(id: u64, height: u64) -> (PersistId, Record) {
    let header = HeaderHash([height as u8; 32]);
    (PersistId(id), Record::HeaderVote { height: Height::new(height), header })
}
