//! Messages between committees: exactly once, in order, nothing unproven.

mod common;

use common::*;
use shardpay_crypto::MerkleLog;
use shardpay_ledger::ItemReject::{self, *};
use shardpay_types::*;

/// Three committees; account 0 of committee 0 owns 10,000 and has sent 10, 11, … to committee 1.
fn sent(payments: u64) -> (World, Key, Key) {
    let mut world = World::of(3);
    let (a, b) = (world.account(0, 0), world.account(1, 0));
    world.run(0, vec![world.mint(world.deposit(0, 0), a, 10_000)]);
    let transactions = (0..payments).map(|n| world.pay(a, b, 10 + n, n)).collect();
    assert_eq!(outcomes(&world.run(0, transactions)).len(), payments as usize);
    (world, a, b)
}

/// Offers a pack to committee 1, which must refuse it and stay as it was.
fn refused(world: &mut World, pack: Pack) -> ItemReject {
    let before = world.nodes[1].ledger.checkpoint();
    let executed = world.run_payloads(1, vec![with_pack(pack)]);
    assert_eq!(world.nodes[1].ledger.checkpoint(), before, "a refused pack changes nothing");
    assert!(executed.blocks.is_empty());
    executed.refused[0]
}

#[test]
fn a_credit_arrives_once() {
    let (mut world, a, b) = sent(3);
    assert_eq!((world.balance(0, a), world.balance(1, b)), (10_000 - 33, 0));
    let pack = world.pack(0, 1).expect("three messages wait");
    assert_eq!(pack.messages.len(), 3);
    let executed = world.run_payloads(1, vec![with_pack(pack.clone())]);
    assert_eq!(executed.cursors, [world.cursor(1, 0)]);
    assert_eq!((world.balance(1, b), world.cursor(1, 0).count), (33, 3));
    assert_eq!(world.cursor(1, 0).amount, Total::from_micros(33));
    assert_eq!(refused(&mut world, pack), NotAtCursor);
    assert_eq!(world.pack(0, 1), None);
    assert_eq!(world.totals(1).received, Total::from_micros(33));
    assert_eq!(world.totals(0).sent, Total::from_micros(33));
}

#[test]
fn two_members_may_bring_the_same_pack_in_one_commit() {
    let (mut world, _, b) = sent(2);
    let pack = world.pack(0, 1).expect("messages wait");
    let executed = world.run_payloads(1, vec![with_pack(pack.clone()), with_pack(pack)]);
    assert_eq!(executed.refused, [NotAtCursor]);
    assert_eq!(world.balance(1, b), 21);
}

#[test]
fn a_later_header_proves_a_part() {
    let (mut world, a, b) = sent(5);
    let first = world.pack(0, 1).expect("messages wait");
    world.run(0, vec![world.pay(a, b, 50, 5), world.pay(a, b, 51, 6)]);
    let all = world.pack(0, 1).expect("messages wait");
    assert_eq!((first.log.count, all.log.count, all.messages.len()), (5, 7, 7));
    // The first five under the old header, the rest under the new one.
    world.run_payloads(1, vec![with_pack(first)]);
    assert_eq!(refused(&mut world, all), NotAtCursor);
    assert_eq!(world.relay(0, 1), 2);
    assert_eq!(world.balance(1, b), 60 + 101);
}

#[test]
fn a_backlog_goes_in_pieces() {
    let mut world = World::of(2);
    let (a, b) = (world.account(0, 0), world.account(1, 0));
    world.run(0, vec![world.mint(world.deposit(0, 0), a, 1 << 40)]);
    for start in [0, 2_500] {
        world.run(0, (start..start + 2_500).map(|n| world.pay(a, b, 10, n)).collect());
    }
    let pack = world.pack(0, 1).expect("messages wait");
    assert_eq!((pack.messages.len(), pack.log.count), (2_048, 5_000));
    assert!(pack.to_bytes().len() <= 300 << 10);
    let applied: Vec<usize> = std::iter::from_fn(|| {
        let pack = world.pack(0, 1)?;
        let count = pack.messages.len();
        world.run_payloads(1, vec![with_pack(pack)]);
        Some(count)
    })
    .collect();
    assert_eq!(applied, [2_048, 2_048, 904]);
    assert_eq!(world.balance(1, b), 50_000);
}

#[test]
fn skipped_repeated_and_reordered_messages_are_refused() {
    let (mut world, _, _) = sent(4);
    let good = world.pack(0, 1).expect("messages wait");
    let with = |messages: Vec<OutboxMessage>| Pack { messages: List::bounded(messages), ..good.clone() };
    let messages = good.messages.to_vec();
    let swapped = vec![messages[1], messages[0], messages[2], messages[3]];
    let repeated = vec![messages[0], messages[0], messages[2], messages[3]];
    assert_eq!(refused(&mut world, with(swapped)), BadProof);
    assert_eq!(refused(&mut world, with(repeated)), Malformed, "amounts");
    assert_eq!(refused(&mut world, with(messages[1..].to_vec())), BadProof);
    assert_eq!(refused(&mut world, with(messages[..3].to_vec())), BadProof);
    assert_eq!(refused(&mut world, with(Vec::new())), Malformed);
    assert_eq!(refused(&mut world, with([&messages[..], &messages[..1]].concat())), Malformed);
    assert_eq!(refused(&mut world, Pack { first: 1, ..with(messages[1..].to_vec()) }), NotAtCursor);
    assert_eq!(refused(&mut world, Pack { first: u64::MAX, ..good.clone() }), NotAtCursor);
    let mut other = messages;
    other[0].payee = world.account(1, 7).0;
    assert_eq!(refused(&mut world, with(other)), BadProof);
    let executed = world.run_payloads(1, vec![with_pack(good)]);
    assert_eq!(executed.refused, []);
}

#[test]
fn a_pack_of_the_wrong_committee_is_refused() {
    let (mut world, a, _) = sent(2);
    let c = world.account(2, 0);
    world.run(0, vec![world.pay(a, c, 50, 2)]);
    let for_two = world.nodes[0].ledger.pack(CommitteeId::at(2), 0).expect("memory").expect("a message");
    assert_eq!(refused(&mut world, for_two.clone()), WrongCommittee);
    let relabelled = Pack { destination: CommitteeId::at(1), ..for_two.clone() };
    assert_eq!(refused(&mut world, relabelled), WrongCommittee);
    let log = OutboxLeaf { destination: CommitteeId::at(1), ..for_two.log };
    let relabelled = Pack { destination: CommitteeId::at(1), log, ..for_two };
    assert_eq!(refused(&mut world, relabelled), BadProof);
    let good = world.pack(0, 1).expect("messages wait");
    for source in [1, 2, 3, 1_000] {
        let wrong = Pack { source: CommitteeId::at(source), ..good.clone() };
        assert_eq!(refused(&mut world, wrong), WrongCommittee);
    }
}

#[test]
fn a_forged_certificate_is_refused() {
    let (mut world, _, _) = sent(2);
    let good = world.pack(0, 1).expect("messages wait");
    let header = good.certified.header.clone();
    let with = |header: LedgerHeader, certificate: Certificate| Pack {
        certified: CertifiedHeader { header, certificate },
        ..good.clone()
    };
    let two = world.signatures(0, &header, &[0, 3]);
    assert_eq!(refused(&mut world, with(header.clone(), two.clone())), BadCertificate);
    let outsider = world.signatures(0, &header, &[0, 1, 7]);
    assert_eq!(refused(&mut world, with(header.clone(), outsider)), BadCertificate);
    let mut others = two.signatures().to_vec();
    others.push(MemberSignature { member: MemberIndex::at(1), signature: Signature([3; 64]) });
    let forged = Certificate::new(others).expect("distinct");
    assert_eq!(refused(&mut world, with(header.clone(), forged)), BadCertificate);
    let other = LedgerHeader { ledger_time: Timestamp::from_micros(1 << 40), ..header.clone() };
    assert_eq!(refused(&mut world, with(other, good.certified.certificate.clone())), BadCertificate);
    let foreign = LedgerHeader { chain: ChainId([1; 32]), ..header.clone() };
    let signed = world.signatures(0, &foreign, &[0, 1, 2]);
    assert_eq!(refused(&mut world, with(foreign, signed)), WrongCommittee);
    // More than Q signatures, one of them bad: still Q good ones.
    let mut many = world.signatures(0, &header, &[0, 1, 2]).signatures().to_vec();
    many.push(MemberSignature { member: MemberIndex::at(3), signature: Signature([3; 64]) });
    let enough = with(header, Certificate::new(many).expect("distinct"));
    assert_eq!(world.run_payloads(1, vec![with_pack(enough)]).refused, []);
}

/// A header that three faulty members of committee 0 signed over a log they made up.
fn lying_pack(world: &World, messages: Vec<OutboxMessage>) -> Pack {
    let cursor = world.cursor(1, 0);
    assert_eq!(cursor.count, 0, "a log made up from its start");
    let mut log = MerkleLog::new();
    for message in &messages {
        let content = [shardpay_crypto::domain::OUTBOX_MESSAGE, &message.to_bytes()].concat();
        log.append(shardpay_crypto::leaf_hash(&content));
    }
    let amount = messages.iter().map(|message| u128::from(message.amount.micros())).sum();
    let destination = CommitteeId::at(1);
    let leaf = OutboxLeaf { destination, count: log.count(), amount: Total::from_micros(amount), root: log.root() };
    let mut tree = MerkleLog::new();
    for committee in 0..world.setup.committees {
        let destination = CommitteeId::at(committee);
        let empty = OutboxLeaf { destination, count: 0, amount: Total::ZERO, root: MerkleLog::new().root() };
        let leaf = if committee == 1 { leaf } else { empty };
        let content = [shardpay_crypto::domain::OUTBOX, &leaf.to_bytes()].concat();
        tree.append(shardpay_crypto::leaf_hash(&content));
    }
    let template = world.nodes[0].ledger.view().last_certified.expect("something was certified").header;
    let header = LedgerHeader { outbox: tree.root(), ..template };
    Pack {
        source: CommitteeId::at(0),
        destination,
        first: 0,
        messages: List::bounded(messages),
        consistency: log.consistency(log.count(), log.count()).expect("within"),
        log: leaf,
        path: tree.inclusion(1, tree.count()).expect("within"),
        certified: CertifiedHeader { certificate: world.signatures(0, &header, &[0, 1, 2]), header },
    }
}

/// Even a wholly faulty committee cannot make another one panic, wrap around or lose track.
#[test]
fn credits_that_cannot_be_made_are_returned_or_suspended() {
    let (mut world, a, _) = sent(1);
    let (b, stranger) = (world.account(1, 5), world.account(2, 5));
    let message = |kind, payer: Key, payee: Key, amount| OutboxMessage {
        kind,
        txid: TxId([amount as u8; 32]),
        payer: payer.0,
        payee: payee.0,
        amount: Amount::from_micros(amount),
    };
    use MessageKind::*;
    let pack = lying_pack(
        &world,
        vec![
            message(Credit, a, b, u64::MAX - 5),
            message(Credit, a, b, 6),
            message(Credit, a, b, 5),
            message(Credit, a, stranger, 70),
            message(Return, stranger, b, 80),
            message(Return, b, stranger, 0),
            message(MintCredit, issuer(), b, 90),
            message(Return, b, a, 1),
        ],
    );
    let executed = world.run_payloads(1, vec![with_pack(pack)]);
    assert_eq!(executed.refused, []);
    let LedgerItem::Pack(item) = &executed.blocks[0].block.items[0] else { panic!("a pack") };
    let outcomes: Vec<_> = item.credits.iter().map(|credit| credit.outcome).collect();
    use CreditOutcome::*;
    assert_eq!(outcomes, [Applied, Returned, Applied, Returned, Suspended, Applied, Suspended, Suspended]);
    assert_eq!(world.balance(1, b), u64::MAX);
    assert_eq!(world.totals(1).suspense, Total::from_micros(80 + 90 + 1));
    assert_eq!(executed.outboxes, [(CommitteeId::at(0), 2)]);
    let back = world.pack(1, 0).expect("two returns");
    let kinds: Vec<_> = back.messages.iter().map(|m| (m.kind, m.amount.micros(), m.payer)).collect();
    assert_eq!(kinds, [(MessageKind::Return, 6, a.0), (MessageKind::Return, 70, a.0)]);
    let before = world.balance(0, a);
    world.relay(1, 0);
    assert_eq!(world.balance(0, a), before + 76);
    // And a local payment to the full account leaves no leaf.
    let c = world.account(1, 6);
    let executed = world.run(1, vec![world.mint(world.deposit(1, 1), c, 100), world.pay(c, b, 10, 0)]);
    assert_eq!(dropped(&executed), [shardpay_ledger::TxReject::RecipientFull]);
}

#[test]
fn a_log_that_contradicts_its_amount_is_refused() {
    let (mut world, a, b) = sent(1);
    let message = OutboxMessage {
        kind: MessageKind::Credit,
        txid: TxId([1; 32]),
        payer: a.0,
        payee: b.0,
        amount: Amount::from_micros(50),
    };
    let mut pack = lying_pack(&world, vec![message]);
    pack.log.amount = Total::from_micros(49);
    assert_eq!(refused(&mut world, pack.clone()), Malformed);
    pack.log.amount = Total::from_micros(51);
    assert_eq!(refused(&mut world, pack), Malformed);
}

#[test]
fn a_mint_for_an_account_elsewhere_is_credited_there() {
    let mut world = World::of(2);
    let b = world.account(1, 0);
    let executed = world.run(0, vec![world.mint(world.deposit(0, 0), b, 500)]);
    let LedgerItem::Transaction(item) = &executed.blocks[0].block.items[0] else { panic!("a transaction") };
    assert!(item.accounts.is_empty());
    assert_eq!(world.totals(0).sent, Total::from_micros(500));
    world.relay(0, 1);
    assert_eq!(world.balance(1, b), 500);
    assert_eq!(world.totals(1).minted, Total::ZERO);
}

#[test]
fn a_cursor_prunes_what_was_consumed() {
    let (mut world, a, b) = sent(3);
    let (zero, one) = (CommitteeId::at(0), CommitteeId::at(1));
    world.relay(0, 1);
    world.run(0, vec![world.pay(a, b, 20, 3)]);
    assert_eq!(world.nodes[0].ledger.outbox_backlog(one), 4);
    let proof = world.nodes[1].ledger.cursor_proof(zero).expect("certified");
    let source = &mut world.nodes[0].ledger;
    assert_eq!(source.acknowledge(&proof), Ok(Ok(())));
    assert_eq!((source.outbox_backlog(one), source.store().outbox_len()), (1, 1));
    assert_eq!(source.acknowledge(&proof), Ok(Err(Duplicate)));
    assert_eq!(source.pack(one, 0), Ok(None), "pruned");
    assert_eq!(source.view().acknowledged[1], (one, 3));
    assert_eq!(source.view().outboxes[1], (one, 4));
    assert_eq!(world.relay(0, 1), 1);
    assert_eq!(world.balance(1, b), 33 + 20);
}

#[test]
fn cursors_that_prove_nothing_are_refused() {
    let (mut world, _, _) = sent(3);
    world.relay(0, 1);
    let good = world.nodes[1].ledger.cursor_proof(CommitteeId::at(0)).expect("certified");
    let about_two = world.nodes[1].ledger.cursor_proof(CommitteeId::at(2)).expect("certified");
    let signed =
        |header: LedgerHeader| CertifiedHeader { certificate: world.signatures(1, &header, &[0, 1, 2]), header };
    let header = good.certified.header.clone();
    let moved = InboxLeaf { count: 2, ..good.cursor };
    let few = CertifiedHeader { certificate: world.signatures(1, &header, &[0, 1]), header: header.clone() };
    let foreign = LedgerHeader { committee: CommitteeId::at(2), ..header.clone() };
    let later = LedgerHeader { epoch: Epoch::new(1), ..header };
    let cases = [
        (about_two, WrongCommittee),
        (CursorProof { cursor: moved, ..good.clone() }, BadProof),
        (CursorProof { certified: few, ..good.clone() }, BadCertificate),
        (CursorProof { certified: signed(foreign), ..good.clone() }, BadCertificate),
        (CursorProof { certified: signed(later), ..good.clone() }, WrongEpoch),
    ];
    for (proof, reject) in cases {
        assert_eq!(world.nodes[0].ledger.acknowledge(&proof), Ok(Err(reject)));
    }
    assert_eq!(world.nodes[0].ledger.acknowledge(&good), Ok(Ok(())));
    assert!(world.nodes[0].ledger.cursor_proof(CommitteeId::at(0)).is_none(), "no cursor into the own log");
}
