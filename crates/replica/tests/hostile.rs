//! Messages of faulty members: refused and counted, or proof that more than f are faulty.

mod common;

use common::net::node_id;
use common::{Net, Setup, Wallet};
use shardpay_crypto::{Signer, header_hash, header_message};
use shardpay_replica::verify::{CheckedMessage, MessageReject, check_message};
use shardpay_replica::{Answer, Event, Refusal};
use shardpay_types::{
    Certificate, Certificates, CertifiedHeader, Epoch, HeaderHash, HeaderVote, Heartbeat, Height, LedgerHeader,
    LedgerRequest, List, MemberIndex, MemberSignature, NodeId, PackRequest, PeerMessage, Signature,
};

fn network(seed: u64) -> (Net, Wallet) {
    let mut net = Net::new(Setup { committees: 2, members: 4, seed });
    let alice = Wallet::of(&net.genesis, 0, 1);
    net.fund(&alice, 1_000);
    net.run_until("settled", Net::all_settled);
    (net, alice)
}

/// `header` signed by the first `signers` members of committee 0.
fn certify(net: &Net, header: LedgerHeader, signers: usize) -> CertifiedHeader {
    let message = header_message(&net.chain, &header_hash(&header));
    let sign = |member: usize| MemberSignature {
        member: MemberIndex::at(member),
        signature: net.node(node_id(0, member)).key.sign(&message),
    };
    let certificate = Certificate::new((0..signers).map(sign).collect()).expect("distinct members");
    CertifiedHeader { header, certificate }
}

/// Passes a message through verification as `from` and hands it over if it passes.
fn give(net: &mut Net, from: NodeId, to: NodeId, message: PeerMessage) -> Result<(), MessageReject> {
    let context = net.node(to).replica().verify_context();
    let checked = check_message(&context, from, message)?;
    net.deliver(from, to, checked);
    Ok(())
}

fn last_header(net: &Net, id: NodeId) -> LedgerHeader {
    let ledger = net.node(id).ledger();
    let certified = ledger.certificates(ledger.status().height, 1).expect("memory does not fail");
    certified[0].header.clone()
}

#[test]
fn two_certified_headers_halt_the_committee_with_the_proof() {
    let (mut net, mut alice) = network(111);
    let victim = node_id(0, 3);
    let mut other = last_header(&net, victim);
    other.effects.0[0] ^= 1;
    let too_few = certify(&net, other.clone(), 2);
    let message = |certified| PeerMessage::Certificates(Certificates { headers: List::bounded(vec![certified]) });
    assert_eq!(give(&mut net, node_id(0, 0), victim, message(too_few)), Ok(()));
    assert_eq!(net.node(victim).refused("bad_certificate"), 1);
    assert!(!net.node(victim).replica().status().halted);

    let forked = certify(&net, other, 3);
    assert_eq!(give(&mut net, node_id(0, 0), victim, message(forked.clone())), Ok(()));
    let proof = net.node(victim).events.iter().find_map(|event| match event {
        Event::HaltedByHeaders(proof) => Some(proof.clone()),
        _ => None,
    });
    let proof = proof.expect("the fork is proven");
    assert_eq!(proof.first.header.height, proof.second.header.height);
    assert_eq!(proof.second, forked);
    assert!(proof.first.certificate.signatures().len() >= 3);
    // it refuses clients and signs nothing any more, but serves
    let chain = net.chain;
    net.submit(victim, alice.pay(&chain, alice.public(), 1));
    assert!(matches!(net.node(victim).answers.last(), Some((_, _, Answer::Rejected(Refusal::NotProposing)))));
    net.keep_sent = true;
    let request = PeerMessage::LedgerRequest(LedgerRequest { from: Height::new(1) });
    assert_eq!(give(&mut net, node_id(0, 1), victim, request), Ok(()));
    net.run_ms(500);
    let answered =
        net.sent.iter().any(|sent| sent.from == victim && matches!(*sent.message, PeerMessage::LedgerResponse(_)));
    assert!(answered);
    // three honest members are enough
    alice.next -= 1;
    net.submit(node_id(0, 0), alice.pay(&chain, alice.public(), 1));
    net.run_until("the others go on", |net| net.node(node_id(0, 0)).account(&alice.public()).next_sequence.get() == 1);
    let votes =
        net.sent.iter().filter(|sent| sent.from == victim && matches!(*sent.message, PeerMessage::HeaderVote(_)));
    assert_eq!(votes.count(), 0);
}

#[test]
fn votes_that_differ_or_come_too_early_do_not_count() {
    let (mut net, _) = network(112);
    let (victim, liar) = (node_id(0, 3), node_id(0, 0));
    let certified = net.node(victim).replica().status().certified;
    let vote = |net: &Net, height: Height, byte: u8| {
        let header = HeaderHash([byte; 32]);
        let signature = net.node(liar).key.sign(&header_message(&net.chain, &header));
        PeerMessage::HeaderVote(HeaderVote { epoch: Epoch::ZERO, height, header, signature })
    };
    for ahead in 1..1_000 {
        let message = vote(&net, certified.plus(ahead), 1);
        assert_eq!(give(&mut net, liar, victim, message), Ok(()));
    }
    let status = net.node(victim).replica().status();
    assert!(status.early_votes <= 64, "{}", status.early_votes);
    assert_eq!(net.node(victim).refused("vote_outside_window") as usize + status.early_votes, 999);
    // the next blocks are certified without it, and its votes are counted as conflicts
    let bob = Wallet::of(&net.genesis, 0, 5);
    net.fund(&bob, 10);
    net.run_until("certified", |net| net.settled(0));
    assert!(net.node(victim).refused("vote_conflicts") > 0);
    let other = node_id(0, 1);
    let message = vote(&net, certified.plus(5), 2);
    assert_eq!(give(&mut net, other, victim, message), Err(MessageReject::BadSignature), "signed by another member");
}

#[test]
fn strangers_and_wrong_kinds_are_turned_away() {
    let (mut net, _) = network(113);
    let victim = node_id(0, 3);
    let heartbeat = || {
        PeerMessage::Heartbeat(Heartbeat {
            epoch: Epoch::ZERO,
            highest: List::default(),
            executed: Height::ZERO,
            certified: Height::ZERO,
            wants_reply: false,
        })
    };
    let pack_request = || PeerMessage::PackRequest(PackRequest { first: 0 });
    assert_eq!(give(&mut net, node_id(1, 0), victim, heartbeat()), Err(MessageReject::WrongCommittee));
    assert_eq!(give(&mut net, node_id(0, 0), victim, pack_request()), Err(MessageReject::WrongCommittee));
    assert_eq!(give(&mut net, node_id(0, 9), victim, heartbeat()), Err(MessageReject::UnknownSender));
    assert_eq!(give(&mut net, node_id(5, 0), victim, pack_request()), Err(MessageReject::UnknownSender));
    assert_eq!(give(&mut net, victim, victim, heartbeat()), Err(MessageReject::UnknownSender));
    let vote = HeaderVote {
        epoch: Epoch::new(7),
        height: Height::new(1),
        header: HeaderHash::ZERO,
        signature: Signature([0; 64]),
    };
    let refused = give(&mut net, node_id(0, 0), victim, PeerMessage::HeaderVote(vote));
    assert_eq!(refused, Err(MessageReject::UnknownEpoch));
}

#[test]
fn a_flood_of_requests_is_cut_off_and_others_are_served() {
    let (mut net, _) = network(114);
    let victim = node_id(0, 3);
    for _ in 0..2_000 {
        let request = CheckedMessage::LedgerRequest(LedgerRequest { from: Height::new(1) });
        net.deliver(node_id(0, 0), victim, request);
    }
    assert!(net.node(victim).refused("over_budget") > 1_500);
    net.keep_sent = true;
    net.deliver(node_id(0, 1), victim, CheckedMessage::LedgerRequest(LedgerRequest { from: Height::new(1) }));
    net.run_ms(50);
    let served = net.sent.iter().any(|sent| {
        sent.from == victim && sent.to == node_id(0, 1) && matches!(*sent.message, PeerMessage::LedgerResponse(_))
    });
    assert!(served);
}

#[test]
fn answers_to_nothing_we_asked_are_dropped() {
    let (mut net, _) = network(115);
    let victim = node_id(0, 3);
    let before = net.node(victim).refused("unasked");
    let response =
        shardpay_types::LedgerResponse { from: Height::new(1), blocks: List::default(), tip: Height::new(9) };
    let leaders = shardpay_types::Leaders { height: Height::new(1), leaders: List::default() };
    assert_eq!(give(&mut net, node_id(0, 0), victim, PeerMessage::LedgerResponse(response)), Ok(()));
    assert_eq!(give(&mut net, node_id(0, 0), victim, PeerMessage::Leaders(leaders)), Ok(()));
    assert_eq!(net.node(victim).refused("unasked"), before + 2);
}

#[test]
fn payments_to_a_committee_that_is_too_far_behind_are_put_off() {
    let mut net = Net::with(Setup { committees: 2, members: 4, seed: 116 }, |config| config.backlog_max = 3);
    let (mut alice, bob) = (Wallet::of(&net.genesis, 0, 1), Wallet::of(&net.genesis, 1, 2));
    net.fund(&alice, 1_000);
    net.passes = Box::new(|from, to, _| from.committee == to.committee);
    let (chain, home) = (net.chain, node_id(0, 0));
    for _ in 0..4 {
        net.submit(home, alice.pay(&chain, bob.public(), 1));
    }
    net.run_until("executed", |net| net.settled(0) && net.balance(&alice.public()) == 996);
    let fifth = alice.pay(&chain, bob.public(), 1);
    net.submit(home, fifth);
    assert!(matches!(net.node(home).answers.last(), Some((_, _, Answer::Busy { .. }))));
    net.passes = Box::new(|_, _, _| true);
    net.run_until("arrived and acknowledged", |net| {
        net.balance(&bob.public()) == 4 && net.node(home).ledger().status().outbox_pending == 0
    });
    // the ledger's word of it reaches the machine
    net.run_ms(10);
    net.submit(home, fifth);
    net.run_until("the fifth arrives", |net| net.balance(&bob.public()) == 5);
}
