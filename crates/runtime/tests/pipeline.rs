//! Four nodes over QUIC and RocksDB: payments, certified blocks, restarts, garbage, a node that is full.

#[allow(dead_code, reason = "each test file uses a part")]
mod common;

use std::time::Instant;

use common::{Client, Cluster, PATIENCE};
use shardpay_crypto::{Keypair, Signer};
use shardpay_types::{
    Amount, BalanceRequest, ChainId, ClientReply, ClientRequest, Codec, ExecutedAt, Height, Hello, List, Outcome,
    ReceiptRequest, RefuseReason, RejectReason, Subscribe, TxAnswer, Version,
};

fn key(n: u8) -> Keypair {
    Keypair::from_seed(&[n; 32])
}

fn executed(answer: &TxAnswer) -> ExecutedAt {
    match answer {
        TxAnswer::Executed(at) => *at,
        other => panic!("not executed: {other:?}"),
    }
}

async fn wait_for(cluster: &Cluster, at: usize, certified: Height) {
    let start = Instant::now();
    while cluster.node(at).figures().core.certified < certified {
        assert!(start.elapsed() < PATIENCE, "member {at} does not get to height {certified}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_are_certified_everywhere() {
    let cluster = Cluster::start(|_| {}).await;
    let (alice, bob) = (key(50), key(51));
    let mut client = cluster.client(0).await;
    client.submit(vec![cluster.mint(alice.public_key(), 1_000, 1)]).await;
    let minted = executed(&client.answers(1).await[0].1);
    assert_eq!(minted.outcome, Outcome::Applied);

    // 20 payments in one go, the last one above what is left is refused at once
    let mut payments: Vec<_> = (0..20).map(|n| cluster.payment(&alice, bob.public_key(), 50, n)).collect();
    payments.push(cluster.payment(&alice, bob.public_key(), 1, 20));
    client.submit(payments).await;
    let answers = client.answers(21).await;
    let done: Vec<ExecutedAt> = answers
        .iter()
        .filter(|(_, answer)| matches!(answer, TxAnswer::Executed(_)))
        .map(|(_, a)| executed(a))
        .collect();
    assert_eq!(done.len(), 20);
    assert!(answers.iter().any(|(_, answer)| *answer == TxAnswer::Rejected(RejectReason::ShortBalance)));
    let last = done.iter().map(|at| at.height).max().expect("some");

    // every member tells the same blocks, from the beginning, and they verify
    let mut chains = Vec::new();
    for member in 0..4 {
        wait_for(&cluster, member, last).await;
        let mut reader = cluster.client(member).await;
        reader.request(ClientRequest::Subscribe(Subscribe { from: Height::new(1), accounts: None })).await;
        let mut hashes = Vec::new();
        while hashes.len() < last.get() as usize {
            let ClientReply::Block(block) = reader.reply().await else { panic!("not a block") };
            assert_eq!(block.block.header.height, Height::new(hashes.len() as u64 + 1));
            hashes.push(shardpay_crypto::header_hash(&block.block.header));
        }
        chains.push(hashes);
    }
    assert!(chains.windows(2).all(|pair| pair[0] == pair[1]));

    // a filtered subscription proves what concerns bob and skips the rest
    let accounts = Some(List::bounded(vec![bob.public_key()]));
    let mut reader = cluster.client(2).await;
    reader.request(ClientRequest::Subscribe(Subscribe { from: Height::new(1), accounts })).await;
    let mut receipts = 0;
    for _ in 0..last.get() {
        let ClientReply::Part(part) = reader.reply().await else { panic!("not a part") };
        receipts += part.receipts.len();
    }
    assert_eq!(receipts, 20);

    // a receipt and a balance
    let request = ReceiptRequest { height: done[0].height, leaf: done[0].leaf };
    client.request(ClientRequest::Receipt(request)).await;
    let ClientReply::Receipt(_) = client.reply().await else { panic!("not a receipt") };
    client.request(ClientRequest::Receipt(ReceiptRequest { leaf: 9_999, ..request })).await;
    let ClientReply::Refused(refused) = client.reply().await else { panic!("not refused") };
    assert_eq!(refused.reason, RefuseReason::NoSuchLeaf);
    client.request(ClientRequest::Balance(BalanceRequest { key: bob.public_key(), nonce: [3; 16] })).await;
    let ClientReply::Balance(balance) = client.reply().await else { panic!("not a balance") };
    assert_eq!(balance.statement.balance, Amount::from_micros(1_000));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_away_catches_up_and_takes_payments() {
    let mut cluster = Cluster::start(|_| {}).await;
    let (alice, bob) = (key(60), key(61));
    let mut client = cluster.client(0).await;
    client.submit(vec![cluster.mint(alice.public_key(), 1_000, 2)]).await;
    client.answers(1).await;
    cluster.stop_member(3).await;
    client.submit((0..10).map(|n| cluster.payment(&alice, bob.public_key(), 10, n)).collect()).await;
    let answers = client.answers(10).await;
    let last = answers.iter().map(|(_, answer)| executed(answer).height).max().expect("some");
    wait_for(&cluster, 0, last).await;
    cluster.start_member(3).await;
    cluster.introduce();
    wait_for(&cluster, 3, last).await;
    let mut late = cluster.client(3).await;
    late.submit(vec![cluster.payment(&alice, bob.public_key(), 10, 10)]).await;
    assert_eq!(executed(&late.answers(1).await[0].1).outcome, Outcome::Applied);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_typed_answers_and_harms_nobody() {
    let cluster = Cluster::start(|_| {}).await;
    let alice = key(70);
    let mut good = cluster.client(1).await;
    let (addr, node) = (cluster.members[1].client_addr, key(2).public_key());

    // garbage datagrams on both ports
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for n in 0..200u8 {
        for port in [addr, cluster.members[1].peer_addr] {
            socket.send_to(&vec![n; usize::from(n) * 5 + 1], port).expect("sent");
        }
    }
    // no greeting, another ledger, an unknown kind
    let refusal = |reply: Option<ClientReply>| match reply {
        Some(ClientReply::Refused(refused)) => refused.reason,
        other => panic!("not refused: {other:?}"),
    };
    let mut rude = Client::connect_silently(addr, node).await;
    rude.send(vec![1, 2, 3]).await;
    assert_eq!(refusal(rude.next_reply().await), RefuseReason::HelloExpected);
    assert!(rude.next_reply().await.is_none(), "the stream ends");
    let mut lost = Client::connect_silently(addr, node).await;
    lost.send(Hello { version: Version, chain: ChainId([9; 32]) }.to_bytes()).await;
    assert_eq!(refusal(lost.next_reply().await), RefuseReason::WrongChain);
    let mut odd = cluster.client(1).await;
    odd.send(vec![250, 0, 0]).await;
    assert_eq!(refusal(odd.next_reply().await), RefuseReason::Malformed);
    // a height that is far away goes on, with a refusal
    good.request(ClientRequest::Subscribe(Subscribe { from: Height::new(1_000), accounts: None })).await;
    assert_eq!(refusal(good.next_reply().await), RefuseReason::HeightTooFar);

    // a bad signature beside a good one
    let mut forged = cluster.mint(alice.public_key(), 5, 3);
    if let shardpay_types::Transaction::Mint(mint) = &mut forged {
        mint.body.amount = Amount::from_micros(5_000);
    }
    good.submit(vec![forged, cluster.mint(alice.public_key(), 5, 4)]).await;
    let answers = good.answers(2).await;
    assert_eq!(answers[0].1, TxAnswer::Rejected(RejectReason::BadSignature));
    assert_eq!(executed(&answers[1].1).outcome, Outcome::Applied);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_says_busy() {
    let cluster = Cluster::start(|config| config.limits.client_transactions = 4).await;
    let mut client = cluster.client(0).await;
    let mints = (10..15).map(|n| cluster.mint(key(80).public_key(), 1, n)).collect();
    client.submit(mints).await;
    for (_, answer) in client.answers(5).await {
        let TxAnswer::Busy(wait_ms) = answer else { panic!("not busy: {answer:?}") };
        assert!(wait_ms > 0);
    }
    // what fits goes through
    client.submit(vec![cluster.mint(key(80).public_key(), 1, 20)]).await;
    assert_eq!(executed(&client.answers(1).await[0].1).outcome, Outcome::Applied);
    cluster.stop().await;
}
