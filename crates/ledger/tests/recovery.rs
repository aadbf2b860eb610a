//! Crash consistency and catching up: a reopened or replayed ledger is the ledger.

mod common;

use common::*;
use proptest::prelude::*;
use shardpay_crypto::Commit;
use shardpay_ledger::{Ledger, MemStore, OpenError, ReplayError, StateBatch, Store, StoreError};
use shardpay_types::*;

/// A busy history of three committees: all kinds of transactions, packs, returns of cursors; `each` sees
/// committee 0 before and with every commit.
fn busy(each: &mut dyn FnMut(&World, &Commit)) -> World {
    let mut world = World::of(3);
    let accounts: Vec<Vec<Key>> = (0..3).map(|c| (0..4).map(|n| world.account(c, n)).collect()).collect();
    let mut sequence = [[0u64; 4]; 3];
    for step in 0..40u64 {
        for c in 0..3 {
            let mut transactions = vec![world.mint(world.deposit(c, step), accounts[(c + 1) % 3][0], 900)];
            for n in 0..4usize {
                let (sender, other) = (accounts[c][n], accounts[(c + n) % 3][(n + 1) % 4]);
                transactions.push(world.pay(sender, other, 10 + step, sequence[c][n]));
                transactions.push(world.redeem(sender, 11, sequence[c][n] + 1));
                sequence[c][n] += 2;
            }
            let mut payload = payload(transactions);
            if step % 3 == 2 {
                let packs = (0..3).filter(|s| *s != c).filter_map(|s| world.pack(s, c));
                payload.packs = List::bounded(packs.collect());
            }
            let commit = world.commit(c, vec![payload]);
            if c == 0 {
                each(&world, &commit);
            }
            let executed = world.nodes[c].ledger.execute(&commit).expect("memory");
            // Every third commit stays uncertified for a while.
            if step % 3 != 1 {
                let pending = world.nodes[c].ledger.view().uncertified;
                world.certify(c, &shardpay_ledger::Executed { blocks: pending, ..executed });
            }
            let proof = world.nodes[c].ledger.cursor_proof(CommitteeId::at((c + 2) % 3));
            if let Some(proof) = proof {
                let _ = world.nodes[(c + 2) % 3].ledger.acknowledge(&proof).expect("memory");
            }
        }
    }
    world
}

#[test]
fn a_reopened_ledger_is_the_live_one() {
    let mut compared = 0;
    busy(&mut |world, commit| {
        let live = &world.nodes[0].ledger;
        let mut reopened = world.reopen(0);
        assert_same(&reopened, live);
        assert_eq!(reopened.status(), live.status());
        assert_eq!(reopened.view().acknowledged, live.view().acknowledged);
        assert_eq!(reopened.view().last_certified, live.view().last_certified);
        let hashes =
            |ledger: &Ledger<MemStore>| -> Vec<_> { ledger.view().uncertified.iter().map(|made| made.hash).collect() };
        assert_eq!(hashes(&reopened), hashes(live));
        for c in [1, 2].map(CommitteeId::at) {
            let first = live.view().acknowledged[c.index()].1;
            assert_eq!(reopened.pack(c, first), live.pack(c, first));
            assert_eq!(reopened.cursor_proof(c), live.cursor_proof(c));
        }
        let mut twin = world.reopen(0);
        let (first, second) = (reopened.execute(commit).expect("memory"), twin.execute(commit).expect("memory"));
        assert_eq!(first.blocks[0].hash, second.blocks[0].hash);
        compared += 1;
    });
    assert_eq!(compared, 40);
}

#[test]
fn executing_after_reopening_gives_the_live_headers() {
    let mut shadow: Option<Ledger<MemStore>> = None;
    let mut expected = Vec::new();
    busy(&mut |world, commit| {
        // The shadow is reopened before each commit, executes it, and is compared at the next one.
        if let Some(shadow) = &shadow {
            assert_eq!(shadow.status().head, world.nodes[0].ledger.status().head);
            expected.push(shadow.status().head);
        }
        let mut next = world.reopen(0);
        next.execute(commit).expect("memory");
        shadow = Some(next);
    });
    assert_eq!(expected.len(), 39);
}

#[test]
fn replaying_gives_the_same_ledger() {
    let mut world = busy(&mut |_, _| {});
    let pending = world.nodes[0].ledger.view().uncertified;
    world.certify(0, &shardpay_ledger::Executed { blocks: pending, ..Default::default() });
    let mut replica = Ledger::open(config(&world.genesis, 0), MemStore::new()).expect("fresh");
    let chain = chain_of(&world.nodes[0].ledger);
    assert_eq!(chain.len(), 40);
    for block in &chain {
        let executed = replica.replay(block).expect("an honest block");
        assert_eq!(executed.blocks[0].block.header, block.block.header);
        assert_eq!(executed.verdicts.len() as u32, transactions(block));
        let again = Ledger::open(config(&world.genesis, 0), replica.store().clone()).expect("opens");
        assert_same(&again, &replica);
        assert_eq!(again.status(), replica.status());
    }
    assert_same(&replica, &world.nodes[0].ledger);
    let status = replica.status();
    assert_eq!((status.certified, status.last_output), (Height::new(40), Round::new(40)));
    assert!(!status.leaders_known && status.leaders.is_empty());
    // Both go on alike.
    let (a, b) = (world.account(0, 0), world.account(0, 1));
    let commit = world.commit(0, vec![payload(vec![world.pay(a, b, 10, world.sequence(0, a))])]);
    let mine = replica.execute(&commit).expect("memory");
    let theirs = world.nodes[0].ledger.execute(&commit).expect("memory");
    assert_eq!(mine.blocks[0].hash, theirs.blocks[0].hash);
    assert!(replica.status().leaders_known);
}

fn transactions(block: &CertifiedBlock) -> u32 {
    block.block.items.iter().filter(|item| matches!(item, LedgerItem::Transaction(_))).count() as u32
}

#[test]
fn blocks_that_do_not_fit_are_refused_and_change_nothing() {
    let mut world = World::of(2);
    let (a, b) = (world.account(0, 0), world.account(0, 1));
    world.run(0, vec![world.mint(world.deposit(0, 0), a, 1_000)]);
    world.run(0, vec![world.pay(a, b, 10, 0), world.pay(a, b, 11, 1)]);
    world.run(0, vec![world.pay(a, b, 12, 2)]);
    let chain = chain_of(&world.nodes[0].ledger);
    let mut replica = Ledger::open(config(&world.genesis, 0), MemStore::new()).expect("fresh");
    replica.replay(&chain[0]).expect("the first");
    let before = replica.checkpoint();

    let good = chain[1].clone();
    type Expected = fn(&ReplayError) -> bool;
    let mut cases: Vec<(CertifiedBlock, Expected)> = Vec::new();
    cases.push((chain[2].clone(), |e| matches!(e, ReplayError::NotNext { .. })));
    cases.push((chain[0].clone(), |e| matches!(e, ReplayError::NotNext { .. })));
    let few = Certificate::new(good.certificate.signatures()[..1].to_vec()).expect("distinct");
    cases.push((CertifiedBlock { certificate: few, ..good.clone() }, |e| *e == ReplayError::BadCertificate));
    let mut other = good.clone();
    other.block.header.totals.burned = Total::from_micros(1);
    cases.push((other, |e| *e == ReplayError::BadCertificate));
    let resigned = |edit: &dyn Fn(&mut LedgerHeader)| {
        let mut block = good.clone();
        edit(&mut block.block.header);
        block.certificate = world.signatures(0, &block.block.header, &[0, 1, 2]);
        block
    };
    cases.push((resigned(&|h| h.committee = CommitteeId::at(1)), |e| *e == ReplayError::WrongCommittee));
    cases.push((resigned(&|h| h.chain = ChainId([1; 32])), |e| *e == ReplayError::WrongCommittee));
    cases.push((resigned(&|h| h.epoch = Epoch::new(1)), |e| *e == ReplayError::WrongEpoch));
    cases.push((resigned(&|h| h.parent = HeaderHash::ZERO), |e| *e == ReplayError::BadParent));
    cases.push((resigned(&|h| h.history = Hash::ZERO), |e| *e == ReplayError::Diverged));
    cases.push((resigned(&|h| h.effects = Hash::ZERO), |e| *e == ReplayError::Diverged));
    cases.push((resigned(&|h| h.leaf_count = 1), |e| *e == ReplayError::Diverged));
    cases.push((resigned(&|h| h.next_plan = Some(PlanHash::ZERO)), |e| *e == ReplayError::Diverged));
    let items = |edit: &dyn Fn(&mut Vec<LedgerItem>)| {
        let mut items = good.block.items.to_vec();
        edit(&mut items);
        let block = LedgerBlock { items: List::bounded(items), ..good.block.clone() };
        CertifiedBlock { block, ..good.clone() }
    };
    cases.push((items(&|items| drop(items.pop())), |e| *e == ReplayError::Diverged));
    cases.push((items(&|items| items.swap(0, 1)), |e| *e == ReplayError::Diverged));
    cases.push((items(&|items| items.push(items[0].clone())), |e| *e == ReplayError::Diverged));
    cases.push((items(&|items| items.clear()), |e| *e == ReplayError::Diverged));
    let break_signature = |items: &mut Vec<LedgerItem>| {
        if let LedgerItem::Transaction(ExecutedTransaction { transaction: Transaction::Payment(tx), .. }) =
            &mut items[0]
        {
            tx.signature.0[0] ^= 1;
        }
    };
    cases.push((items(&break_signature), |e| *e == ReplayError::BadSignature));
    for (n, (block, expected)) in cases.iter().enumerate() {
        let error = replica.replay(block).expect_err("refused");
        assert!(expected(&error), "case {n}: {error}");
        assert_eq!(replica.checkpoint(), before, "case {n}");
    }
    replica.replay(&chain[1]).expect("the honest one");
    replica.replay(&chain[2]).expect("and the next");
    assert_same(&replica, &world.nodes[0].ledger);
}

#[test]
fn attested_blocks_wait_for_their_certificates() {
    let mut world = World::of(2);
    let (a, b) = (world.account(0, 0), world.account(0, 1));
    world.run(0, vec![world.mint(world.deposit(0, 0), a, 1_000)]);
    for sequence in 0..3 {
        world.run(0, vec![world.pay(a, b, 10, sequence)]);
    }
    let chain = chain_of(&world.nodes[0].ledger);
    let mut replica = Ledger::open(config(&world.genesis, 0), MemStore::new()).expect("fresh");
    replica.replay(&chain[0]).expect("certified");
    for block in &chain[1..3] {
        // f + 1 hold; a third signature that does not makes no quorum
        let mut signatures = block.certificate.signatures().to_vec();
        signatures[2].signature = signatures[0].signature;
        let certificate = Certificate::new(signatures).expect("distinct");
        replica.replay(&CertifiedBlock { certificate, ..block.clone() }).expect("attested");
    }
    // certified, but above blocks that are not
    replica.replay(&chain[3]).expect("certified");
    let status = replica.status();
    assert_eq!((status.height, status.certified), (Height::new(4), Height::new(1)));
    assert_eq!(chain_of(&replica), chain[..1], "nothing else is served");
    let mut replica = Ledger::open(config(&world.genesis, 0), replica.store().clone()).expect("opens");
    assert_eq!(replica.status(), status);
    assert_eq!(replica.view().uncertified.len(), 3);
    for block in &chain[1..] {
        let (header, certificate) = (block.block.header.clone(), block.certificate.clone());
        replica.certify(&CertifiedHeader { header, certificate }).expect("memory");
    }
    assert_eq!(chain_of(&replica), chain);
    assert_same(&replica, &world.nodes[0].ledger);
}

#[test]
fn foreign_and_broken_stores_are_not_opened() {
    let mut world = World::of(2);
    let a = world.account(0, 0);
    world.run(0, vec![world.mint(world.deposit(0, 0), a, 1_000)]);
    let store = world.nodes[0].ledger.store().clone();
    let open = |config, store| Ledger::open(config, store).err().expect("not opened");
    assert_eq!(open(config(&world.genesis, 1), store.clone()), OpenError::ForeignCommittee(CommitteeId::at(0)));
    let other = std::sync::Arc::new(Plan { salt: [8; 32], ..Plan::clone(&world.genesis) });
    assert_eq!(open(config(&other, 0), store.clone()), OpenError::ForeignChain);
    assert_eq!(open(config(&world.genesis, 2), store.clone()), OpenError::NoSuchCommittee(CommitteeId::at(2)));
    let mut broken = store.clone();
    broken.write(StateBatch { tip: Some(vec![1, 2, 3]), ..StateBatch::default() }).expect("memory");
    assert!(matches!(open(config(&world.genesis, 0), broken), OpenError::Corrupt(_)));
    let mut broken = store;
    let rich = AccountState { balance: Amount::from_micros(1_001), next_sequence: Sequence::ZERO };
    broken.write(StateBatch { accounts: vec![(a.0, rich)], ..StateBatch::default() }).expect("memory");
    assert!(matches!(open(config(&world.genesis, 0), broken), OpenError::Corrupt(_)));
}

/// A store whose writes or reads fail on demand.
struct Failing {
    inner: MemStore,
    broken: std::cell::Cell<bool>,
}

impl Failing {
    fn check(&self) -> Result<(), StoreError> {
        if self.broken.get() { Err(StoreError("disk".into())) } else { Ok(()) }
    }
}

impl Store for Failing {
    fn tip(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.tip()
    }
    fn accounts(&self, each: &mut dyn FnMut(PublicKey, AccountState)) -> Result<(), StoreError> {
        self.inner.accounts(each)
    }
    fn deposits(&self, each: &mut dyn FnMut(DepositRef)) -> Result<(), StoreError> {
        self.inner.deposits(each)
    }
    fn deposit_used(&self, deposit: &DepositRef) -> Result<bool, StoreError> {
        self.check()?;
        self.inner.deposit_used(deposit)
    }
    fn outbox(&self, to: CommitteeId, first: u64, max: usize) -> Result<Vec<OutboxMessage>, StoreError> {
        self.inner.outbox(to, first, max)
    }
    fn block(&self, height: Height) -> Result<Option<std::sync::Arc<LedgerBlock>>, StoreError> {
        self.inner.block(height)
    }
    fn certificate(&self, height: Height) -> Result<Option<Certificate>, StoreError> {
        self.inner.certificate(height)
    }
    fn history_node(&self, level: u8, position: u64) -> Result<Option<Hash>, StoreError> {
        self.inner.history_node(level, position)
    }
    fn closings(&self, committee: CommitteeId, from: Epoch) -> Result<Vec<ClosingRecord>, StoreError> {
        self.inner.closings(committee, from)
    }
    fn checkpoint(&self) -> Result<Option<shardpay_types::CertifiedCheckpoint>, StoreError> {
        self.inner.checkpoint()
    }
    fn write(&mut self, batch: StateBatch) -> Result<(), StoreError> {
        self.check()?;
        self.inner.write(batch)
    }
}

#[test]
fn a_failing_store_leaves_memory_as_it_was() {
    let mut world = World::of(2);
    let (a, b, far) = (world.account(0, 0), world.account(0, 1), world.account(1, 0));
    world.run(0, vec![world.mint(world.deposit(0, 0), a, 1_000)]);
    let store = Failing { inner: world.nodes[0].ledger.store().clone(), broken: false.into() };
    let mut ledger = Ledger::open(config(&world.genesis, 0), store).expect("opens");
    let mint = world.mint(world.deposit(0, 1), b, 50);
    let payments = vec![world.pay(a, b, 10, 0), world.pay(a, far, 10, 1)];
    // With a mint last the read fails half-way; without, the write fails.
    let later = vec![world.pay(a, b, 10, 2), world.pay(a, far, 10, 3)];
    for transactions in [[payments, vec![mint]].concat(), later] {
        let commit = world.commit(0, vec![payload(transactions)]);
        let before = (ledger.checkpoint(), ledger.status());
        ledger.store().broken.set(true);
        assert!(ledger.execute(&commit).is_err());
        assert_eq!((ledger.checkpoint(), ledger.status()), before);
        ledger.store().broken.set(false);
        let mut fresh = Ledger::open(config(&world.genesis, 0), ledger.store().inner.clone()).expect("opens");
        let expected = fresh.execute(&commit).expect("memory");
        let executed = ledger.execute(&commit).expect("memory");
        assert_eq!(executed.blocks[0].hash, expected.blocks[0].hash);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is thrown at it, a ledger reopened from any batch continues alike.
    #[test]
    fn reopening_anywhere_is_harmless(steps in prop::collection::vec((0u8..6, 0usize..4, 0usize..4, 1u64..2_000), 1..40)) {
        let mut world = World::of(2);
        let accounts: Vec<Key> = (0..4).map(|n| world.account(n % 2, n as u64)).collect();
        for (n, (kind, from, to, amount)) in steps.into_iter().enumerate() {
            let (sender, recipient) = (accounts[from], accounts[to]);
            let sequence = world.sequence(0, sender);
            let transaction = match kind {
                0 | 1 => world.mint(world.deposit(0, n as u64 / 2), recipient, amount),
                2 => world.redeem(sender, amount, sequence),
                3 => world.pay(sender, recipient, amount, sequence + 1),
                _ => world.pay(sender, recipient, amount, sequence),
            };
            let commit = world.commit(0, vec![payload(vec![transaction])]);
            let mut reopened = world.reopen(0);
            let mine = reopened.execute(&commit).expect("memory");
            let theirs = world.nodes[0].ledger.execute(&commit).expect("memory");
            prop_assert_eq!(mine.verdicts, theirs.verdicts.clone());
            prop_assert_eq!(reopened.status(), world.nodes[0].ledger.status());
            if n % 4 != 3 {
                world.certify(0, &theirs);
            }
        }
        assert_same(&world.reopen(0), &world.nodes[0].ledger);
    }
}
