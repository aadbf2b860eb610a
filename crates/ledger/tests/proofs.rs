//! What ledgers hand out passes the independent verifier; nothing that was touched does.

mod common;

use std::sync::Arc;

use common::*;
use shardpay_crypto::{SealedBlock, balance_message, checkpoint_message, header_hash};
use shardpay_ledger::Store;
use shardpay_ledger::verify::*;
use shardpay_types::*;

fn anchor(world: &World) -> TrustAnchor {
    TrustAnchor { genesis: Plan::clone(&world.genesis), scheme: Arc::new(Cheap) }
}

fn epoch_chain(world: &World, committee: usize) -> EpochChain {
    let closings = world.nodes[committee].ledger.closings(Epoch::ZERO).expect("memory");
    EpochChain { closings: List::bounded(closings) }
}

fn keys(world: &World, committee: usize) -> EpochKeys {
    let chain = epoch_chain(world, committee);
    verify_epoch_chain(&anchor(world), CommitteeId::at(committee), &chain).expect("honest")
}

/// Flips bits all over the encoding, `spared` bytes aside: every changed value must be refused.
fn refuses_every_change<T: Codec + PartialEq>(good: &T, spared: std::ops::Range<usize>, accept: impl Fn(&T) -> bool) {
    assert!(accept(good), "the untouched proof");
    let bytes = good.to_bytes();
    let mut tried = 0;
    for at in (0..bytes.len()).filter(|at| !spared.contains(at)) {
        for bit in [at % 8, (at + 3) % 8] {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            if let Ok(changed) = T::from_bytes(&changed) {
                assert!(!accept(&changed), "accepted with bit {bit} of byte {at} changed");
                tried += 1;
            }
        }
    }
    assert!(tried > bytes.len() / 2, "most changes decode");
}

/// Account `a` of committee 0 paid locally, abroad, too much, and redeemed; committee 1 was credited.
struct Paid {
    world: World,
    a: Key,
    b: Key,
    far: Key,
    transactions: Vec<Transaction>,
    executed: shardpay_ledger::Executed,
    credited: shardpay_ledger::Executed,
}

fn paid() -> Paid {
    let mut world = World::of(2);
    let (a, b, far) = (world.account(0, 0), world.account(0, 1), world.account(1, 0));
    let transactions = vec![
        world.mint(world.deposit(0, 0), a, 1_000),
        world.mint(world.deposit(0, 1), far, 500),
        world.pay(a, b, 100, 0),
        world.pay(a, far, 50, 1),
        world.pay(a, a, 60, 2),
        world.pay(a, b, 5_000, 3),
        world.redeem(a, 70, 4),
    ];
    let executed = world.run(0, transactions.clone());
    assert_eq!(outcomes(&executed).len(), 7);
    let pack = world.pack(0, 1).expect("two messages");
    let credited = world.run_payloads(1, vec![with_pack(pack)]);
    Paid { world, a, b, far, transactions, executed, credited }
}

#[test]
fn receipts_prove_what_happened() {
    let paid = paid();
    let keys = keys(&paid.world, 0);
    for (n, transaction) in paid.transactions.iter().enumerate() {
        let (height, leaf) = place(&paid.executed, n);
        let receipt = paid.world.nodes[0].ledger.receipt(height, leaf).expect("memory").expect("certified");
        let facts = verify_receipt(&keys, &receipt).expect("honest");
        assert_eq!(facts.txid, paid.world.txid(transaction));
        assert_eq!((facts.height, facts.header), (height, paid.executed.blocks[0].hash));
        assert_eq!(facts.outcome == Outcome::Applied, n != 5);
        let abroad = [1, 3].contains(&n);
        assert_eq!(facts.credited_by, abroad.then_some(CommitteeId::at(1)));
        let touched: Vec<_> = facts.accounts.iter().map(|(key, _)| *key).collect();
        let expected =
            [vec![paid.a], vec![], vec![paid.a, paid.b], vec![paid.a], vec![paid.a], vec![paid.a], vec![paid.a]];
        assert_eq!(touched, expected[n].iter().map(|key| key.0).collect::<Vec<_>>());
    }
    let ledger = &paid.world.nodes[0].ledger;
    assert_eq!(ledger.receipt(Height::new(1), 7), Ok(None));
    assert_eq!(ledger.receipt(Height::new(2), 0), Ok(None));
    assert_eq!(ledger.receipt(Height::ZERO, 0), Ok(None));
    assert_eq!(ledger.credit_receipt(Height::new(1), 0), Ok(None));
}

#[test]
fn touched_receipts_are_refused() {
    let paid = paid();
    let keys = keys(&paid.world, 0);
    for n in 0..paid.transactions.len() {
        let (height, leaf) = place(&paid.executed, n);
        let receipt = paid.world.nodes[0].ledger.receipt(height, leaf).expect("memory").expect("certified");
        // The payer's signature enters no txid, on purpose: a key's owner can sign twice.
        let end = paid.transactions[n].encoded_len();
        refuses_every_change(&receipt, end - 64..end, |receipt| verify_receipt(&keys, receipt).is_ok());
    }
}

#[test]
fn a_state_too_many_or_too_few_is_refused() {
    let paid = paid();
    let keys = keys(&paid.world, 0);
    for n in 0..paid.transactions.len() {
        let (height, leaf) = place(&paid.executed, n);
        let good = paid.world.nodes[0].ledger.receipt(height, leaf).expect("memory").expect("a leaf");
        let states = good.executed.accounts.to_vec();
        let with = |states: Vec<AccountState>| {
            let executed = ExecutedTransaction { accounts: List::bounded(states), ..good.executed.clone() };
            Receipt { executed, ..good.clone() }
        };
        let leaf_of = |receipt: &Receipt| {
            let item = LedgerItem::Transaction(receipt.executed.clone());
            shardpay_ledger::item_leaves(&paid.world.chain, &item)
        };
        let mut others = Vec::new();
        if states.len() < 2 {
            others.push(with([&states[..], &[AccountState::EMPTY]].concat()));
        }
        if !states.is_empty() {
            others.push(with(states[1..].to_vec()));
        }
        for other in others {
            assert!(matches!(verify_receipt(&keys, &other), Err(ProofError::Malformed(_))), "transaction {n}");
            assert_ne!(leaf_of(&other), leaf_of(&good), "who rebuilds leaves sees it, too");
        }
    }
}

#[test]
fn a_pack_beyond_the_last_index_has_too_few_leaves() {
    let paid = paid();
    let items = paid.credited.blocks.iter().flat_map(|made| &made.block.items);
    let mut packs = items.filter_map(|item| match item {
        LedgerItem::Pack(executed) => Some(executed.clone()),
        _ => None,
    });
    let mut executed = packs.next_back().expect("a pack was applied");
    assert!(executed.credits.len() > 1);
    executed.pack.first = u64::MAX;
    let leaves = shardpay_ledger::item_leaves(&paid.world.chain, &LedgerItem::Pack(executed));
    assert_eq!(leaves.len(), 1);
}

#[test]
fn receipts_of_others_are_refused() {
    let mut paid = paid();
    let (height, leaf) = place(&paid.executed, 2);
    let receipt = paid.world.nodes[0].ledger.receipt(height, leaf).expect("memory").expect("certified");
    let zero = keys(&paid.world, 0);
    assert_eq!(verify_receipt(&keys(&paid.world, 1), &receipt), Err(ProofError::WrongShard));
    // A committee that decides what is not its to decide: its members sign, the shard does not fit.
    let foreign = paid.world.pay(paid.far, paid.b, 100, 0);
    let mut stolen = receipt.clone();
    stolen.executed.transaction = foreign;
    assert_eq!(verify_receipt(&zero, &stolen), Err(ProofError::WrongShard));
    let mint = paid.world.mint(paid.world.deposit(1, 4), paid.a, 100);
    stolen.executed.transaction = mint;
    assert_eq!(verify_receipt(&zero, &stolen), Err(ProofError::WrongShard));
    // Another ledger with the same members.
    let other = Plan { salt: [9; 32], ..Plan::clone(&paid.world.genesis) };
    let anchor = TrustAnchor { genesis: other, scheme: Arc::new(Cheap) };
    let other = verify_epoch_chain(&anchor, CommitteeId::at(0), &EpochChain::default()).expect("no closings");
    assert!(verify_receipt(&other, &receipt).is_err());
    let mut few = receipt.clone();
    few.seal = HeaderSeal::Certified(paid.world.signatures(0, &receipt.header, &[1, 2]));
    let error = ProofError::TooFewSignatures { valid: 2, needed: 3 };
    assert_eq!(verify_receipt(&zero, &few), Err(error));
    paid.world.nodes[0].generation = 1;
    few.seal = HeaderSeal::Certified(paid.world.signatures(0, &receipt.header, &[0, 1, 2, 3]));
    let error = ProofError::TooFewSignatures { valid: 0, needed: 3 };
    assert_eq!(verify_receipt(&zero, &few), Err(error));
}

#[test]
fn credit_receipts_prove_arrival() {
    let paid = paid();
    let keys = keys(&paid.world, 1);
    let height = paid.credited.blocks[0].block.header.height;
    let ledger = &paid.world.nodes[1].ledger;
    for (leaf, n, kind) in [(0, 1, MessageKind::MintCredit), (1, 3, MessageKind::Credit)] {
        let receipt = ledger.credit_receipt(height, leaf).expect("memory").expect("certified");
        let facts = verify_credit_receipt(&keys, &receipt).expect("honest");
        assert_eq!((facts.txid, facts.kind), (paid.world.txid(&paid.transactions[n]), kind));
        assert_eq!((facts.source, facts.index), (CommitteeId::at(0), u64::from(leaf)));
        assert_eq!(facts.outcome, CreditOutcome::Applied);
        assert_eq!(facts.account.expect("applied").0, paid.far.0);
        refuses_every_change(&receipt, 0..0, |receipt| verify_credit_receipt(&keys, receipt).is_ok());
    }
    assert_eq!(ledger.credit_receipt(height, 2), Ok(None));
    assert_eq!(ledger.receipt(height, 0), Ok(None));
}

/// Three epochs of committee 0, a payment in each; the heights of the payments.
fn three_epochs() -> (World, Vec<(Height, u32)>) {
    let mut world = World::of(2);
    let (a, b) = (world.account(0, 0), world.account(0, 1));
    world.run(0, vec![world.mint(world.deposit(0, 0), a, 1_000)]);
    let mut places = Vec::new();
    let mut plan = world.genesis.clone();
    for epoch in 0..3 {
        let executed = world.run(0, vec![world.pay(a, b, 10, epoch)]);
        places.push(place(&executed, 0));
        if epoch < 2 {
            let next = world.next_plan(&plan, epoch + 1);
            world.close(0, &world.epoch_change(&next, epoch));
            plan = next;
        }
    }
    (world, places)
}

#[test]
fn old_headers_count_by_history_only() {
    let (world, places) = three_epochs();
    let keys = keys(&world, 0);
    assert_eq!(keys.epoch(), Epoch::new(2));
    let ledger = &world.nodes[0].ledger;
    for (epoch, (height, leaf)) in places.iter().enumerate() {
        let receipt = ledger.receipt(*height, *leaf).expect("memory").expect("certified");
        assert_eq!(verify_receipt(&keys, &receipt).expect("honest").epoch, Epoch::new(epoch as u64));
        assert_eq!(matches!(receipt.seal, HeaderSeal::History(_)), epoch < 2);
        let end = receipt.executed.transaction.encoded_len();
        refuses_every_change(&receipt, end - 64..end, |receipt| verify_receipt(&keys, receipt).is_ok());
        // Its own certificate is worth nothing once the epoch has closed.
        let own = ledger.certificates(*height, 1).expect("memory").remove(0);
        let direct = Receipt { seal: HeaderSeal::Certified(own.certificate), ..receipt };
        let expected = if epoch < 2 { Err(ProofError::RetiredEpoch) } else { Ok(()) };
        assert_eq!(verify_receipt(&keys, &direct).map(|_| ()), expected);
    }
    // The closing header itself counts, and so does a path to it.
    let closing = ledger.closings(Epoch::ZERO).expect("memory").remove(0).certified;
    assert_eq!(keys.verify_header(&closing), Ok(header_hash(&closing.header)));
    // A forged later header of a closed epoch, signed by all its members of old.
    let mut receipt = ledger.receipt(places[0].0, places[0].1).expect("memory").expect("certified");
    if let HeaderSeal::History(history) = &mut receipt.seal {
        history.later.header.epoch = Epoch::ZERO;
        let hash = header_hash(&history.later.header);
        let message = shardpay_crypto::header_message(&world.chain, &hash);
        history.later.certificate = sign_all(0, 0, &[0, 1, 2, 3], &message);
    }
    assert_eq!(verify_receipt(&keys, &receipt), Err(ProofError::RetiredEpoch));
}

#[test]
fn epoch_chains_are_checked_link_by_link() {
    let (world, _) = three_epochs();
    let chain = epoch_chain(&world, 0);
    let check = |chain: &EpochChain| verify_epoch_chain(&anchor(&world), CommitteeId::at(0), chain);
    refuses_every_change(&chain, 0..4, |chain| check(chain).is_ok());
    let with = |closings: Vec<ClosingRecord>| EpochChain { closings: List::bounded(closings) };
    let records = chain.closings.to_vec();
    let error = |chain: &EpochChain| check(chain).err().expect("refused");
    let wrong = |expected, found| ProofError::WrongClosing { expected: Epoch::new(expected), found: Epoch::new(found) };
    assert_eq!(error(&with(records[1..].to_vec())), wrong(0, 1));
    assert_eq!(error(&with(vec![records[0].clone(), records[0].clone()])), wrong(1, 0));
    let mut other_plan = records.clone();
    other_plan[0].plan = records[1].plan.clone();
    assert_eq!(error(&with(other_plan)), ProofError::WrongPlan);
    // A prefix is a chain: the client just knows less.
    let short = check(&with(records[..1].to_vec())).expect("a prefix");
    assert_eq!(short.epoch(), Epoch::new(1));
    let receipt = world.nodes[0].ledger.receipt(Height::new(1), 0).expect("memory").expect("certified");
    assert_eq!(verify_receipt(&short, &receipt), Err(ProofError::UnknownEpoch(Epoch::new(2))));
    assert_eq!(verify_epoch_chain(&anchor(&world), CommitteeId::at(1), &chain).err(), Some(ProofError::WrongCommittee));
    assert_eq!(verify_epoch_chain(&anchor(&world), CommitteeId::at(9), &chain).err(), Some(ProofError::WrongCommittee));
    let mut no_genesis = anchor(&world);
    no_genesis.genesis = records[0].plan.clone();
    assert_eq!(verify_epoch_chain(&no_genesis, CommitteeId::at(0), &chain).err(), Some(ProofError::NotGenesis));
}

#[test]
fn balances_need_f_plus_one_members_and_the_question() {
    let paid = paid();
    let keys = keys(&paid.world, 0);
    let query = BalanceQuery { key: paid.a.0, nonce: [4; 16] };
    let state = paid.world.nodes[0].ledger.account(&paid.a.0);
    let statement = BalanceStatement {
        chain: paid.world.chain,
        committee: CommitteeId::at(0),
        epoch: Epoch::ZERO,
        height: Height::new(1),
        key: paid.a.0,
        balance: state.balance,
        next_sequence: state.next_sequence,
        nonce: query.nonce,
    };
    let signed = |statement: &BalanceStatement, members: &[usize]| CertifiedBalance {
        certificate: sign_all(0, 0, members, &balance_message(statement)),
        statement: statement.clone(),
    };
    let good = signed(&statement, &[1, 3]);
    assert_eq!(verify_balance(&keys, &query, &good), Ok((Height::new(1), state)));
    refuses_every_change(&good, 0..0, |answer| verify_balance(&keys, &query, answer).is_ok());
    let one = signed(&statement, &[1]);
    let error = ProofError::TooFewSignatures { valid: 1, needed: 2 };
    assert_eq!(verify_balance(&keys, &query, &one), Err(error));
    let check = |edit: &dyn Fn(&mut BalanceStatement)| {
        let mut other = statement.clone();
        edit(&mut other);
        verify_balance(&keys, &query, &signed(&other, &[0, 1, 2])).expect_err("refused")
    };
    assert_eq!(check(&|s| s.nonce[0] = 1), ProofError::WrongQuestion);
    assert_eq!(check(&|s| s.key = paid.b.0), ProofError::WrongQuestion);
    assert_eq!(check(&|s| s.key = paid.far.0), ProofError::WrongShard);
    assert_eq!(check(&|s| s.committee = CommitteeId::at(1)), ProofError::WrongCommittee);
    assert_eq!(check(&|s| s.chain = ChainId([1; 32])), ProofError::WrongChain);
    assert_eq!(check(&|s| s.epoch = Epoch::new(1)), ProofError::UnknownEpoch(Epoch::new(1)));
    let (later, _) = three_epochs();
    let keys = self::keys(&later, 0);
    assert_eq!(verify_balance(&keys, &query, &good), Err(ProofError::RetiredEpoch));
}

#[test]
fn checkpoints_are_signed_by_q() {
    let mut world = World::of(2);
    let a = world.account(0, 0);
    world.run(0, vec![world.mint(world.deposit(0, 0), a, 1_000)]);
    let next = world.next_plan(&world.genesis, 1);
    world.close(0, &world.epoch_change(&next, 0));
    let keys = keys(&world, 0);
    let checkpoint = world.nodes[0].ledger.checkpoint().expect("memory");
    let signed = |checkpoint: &Checkpoint, members: &[usize]| CertifiedCheckpoint {
        certificate: sign_all(0, 0, members, &checkpoint_message(checkpoint)),
        checkpoint: checkpoint.clone(),
    };
    let good = signed(&checkpoint, &[0, 2, 3]);
    assert_eq!(verify_checkpoint(&keys, &good), Ok(()));
    refuses_every_change(&good, 0..0, |checkpoint| verify_checkpoint(&keys, checkpoint).is_ok());
    let error = ProofError::TooFewSignatures { valid: 2, needed: 3 };
    assert_eq!(verify_checkpoint(&keys, &signed(&checkpoint, &[0, 2])), Err(error));
    let elsewhere = Checkpoint { header: HeaderHash([1; 32]), ..checkpoint.clone() };
    assert_eq!(verify_checkpoint(&keys, &signed(&elsewhere, &[0, 1, 2])), Err(ProofError::RetiredEpoch));
    world.nodes[0].ledger.store_checkpoint(good.clone()).expect("memory");
    assert_eq!(world.nodes[0].ledger.store().checkpoint(), Ok(Some(good.clone())));
}

#[test]
fn the_state_root_covers_the_state() {
    let mut world = World::of(2);
    let (a, b) = (world.account(0, 0), world.account(0, 1));
    let mut roots = std::collections::BTreeSet::new();
    let mut step = |world: &World| {
        let checkpoint = world.nodes[0].ledger.checkpoint().expect("memory");
        assert!(roots.insert(checkpoint.state_root), "every change shows");
    };
    step(&world);
    world.run(0, vec![world.mint(world.deposit(0, 0), a, 1_000)]);
    step(&world);
    world.run(0, vec![world.pay(a, b, 10, 0)]);
    step(&world);
    let far = world.account(1, 0);
    world.run(1, vec![world.mint(world.deposit(1, 0), far, 100), world.pay(far, a, 20, 0)]);
    world.relay(1, 0);
    step(&world);
    let next = world.next_plan(&world.genesis, 1);
    let change = world.epoch_change(&next, 0);
    world.close(1, &change);
    world.relay(1, 0);
    step(&world);
    world.close(0, &change);
    step(&world);
}

#[test]
fn forks_and_equivocations_are_proven() {
    let paid = paid();
    let keys = keys(&paid.world, 0);
    let first = paid.world.certified(0, &paid.executed.blocks[0]);
    let other = LedgerHeader { leaf_count: 6, ..first.header.clone() };
    let sign = |header: &LedgerHeader| CertifiedHeader {
        certificate: paid.world.signatures(0, header, &[1, 2, 3]),
        header: header.clone(),
    };
    let proof = ForkProof { first: first.clone(), second: sign(&other) };
    assert_eq!(verify_fork_proof(&keys, &proof), Ok(Height::new(1)));
    refuses_every_change(&proof, 0..0, |proof| verify_fork_proof(&keys, proof).is_ok());
    let twice = ForkProof { first: first.clone(), second: sign(&first.header) };
    assert_eq!(verify_fork_proof(&keys, &twice), Err(ProofError::NoContradiction));
    let later = LedgerHeader { height: Height::new(2), ..other };
    let apart = ForkProof { first, second: sign(&later) };
    assert_eq!(verify_fork_proof(&keys, &apart), Err(ProofError::NoContradiction));

    let block = |round: u64, timestamp: u64, signer: usize| {
        let block = Block {
            version: Version,
            chain: paid.world.chain,
            epoch: Epoch::ZERO,
            committee: CommitteeId::at(0),
            author: MemberIndex::at(2),
            round: Round::new(round),
            timestamp: Timestamp::from_micros(timestamp),
            parents: List::default(),
            payload: Payload::default(),
            signature: Signature::ZERO,
        };
        SealedBlock::sign(block, &member(0, signer, 0)).block().clone()
    };
    let proof = EquivocationProof { first: block(5, 1, 2), second: block(5, 2, 2) };
    let slot = (Epoch::ZERO, Round::new(5), MemberIndex::at(2));
    assert_eq!(verify_equivocation(&keys, &proof), Ok(slot));
    refuses_every_change(&proof, 0..0, |proof| verify_equivocation(&keys, proof).is_ok());
    let same = EquivocationProof { second: proof.first.clone(), ..proof.clone() };
    assert_eq!(verify_equivocation(&keys, &same), Err(ProofError::NoContradiction));
    let rounds = EquivocationProof { second: block(6, 2, 2), ..proof.clone() };
    assert_eq!(verify_equivocation(&keys, &rounds), Err(ProofError::NoContradiction));
    let framed = EquivocationProof { second: block(5, 2, 1), ..proof };
    assert_eq!(verify_equivocation(&keys, &framed), Err(ProofError::TooFewSignatures { valid: 0, needed: 1 }));
}
