//! Opaque payloads from clients' streams: certified where genesis allows them, a typed refusal where not.

#[allow(dead_code, reason = "each test file uses a part")]
mod common;

use common::{Cluster, PATIENCE};
use shardpay_crypto::{Signer, opaque_id};
use shardpay_types::{
    ClientReply, ClientRequest, Height, LedgerItem, List, Opaque, Outcome, RejectReason, SubmitOpaque, Subscribe,
    TxAnswer,
};

fn request(payloads: &[Opaque]) -> ClientRequest {
    ClientRequest::Opaque(SubmitOpaque { payloads: List::bounded(payloads.to_vec()) })
}

fn payloads(count: u64, len: usize) -> Vec<Opaque> {
    (0..count).map(|n| Opaque(n.to_le_bytes().into_iter().cycle().take(len).collect())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_are_ordered_and_stand_in_certified_blocks() {
    let cluster = Cluster::start_allowing(512, |_| {}).await;
    let mut client = cluster.client(0).await;
    let mut reader = cluster.client(2).await;
    reader.request(ClientRequest::Subscribe(Subscribe { from: Height::new(1), accounts: None })).await;
    let sent = payloads(200, 512);
    client.request(request(&sent)).await;
    for (txid, answer) in client.answers(200).await {
        let TxAnswer::Executed(at) = answer else { panic!("{txid}: {answer:?}") };
        assert_eq!(at.outcome, Outcome::Applied);
    }
    let mut found = Vec::new();
    let deadline = std::time::Instant::now() + PATIENCE;
    while found.len() < sent.len() {
        assert!(std::time::Instant::now() < deadline, "{} of {}", found.len(), sent.len());
        let ClientReply::Block(block) = reader.reply().await else { panic!("a block") };
        let items = block.block.items.iter();
        found.extend(
            items.filter_map(|item| if let LedgerItem::Opaque(payload) = item { Some(payload.clone()) } else { None }),
        );
    }
    assert_eq!(found, sent, "in the order in which they came, each once");
    // one that is longer than genesis says beside one that is not
    let mixed = [Opaque(vec![1; 513].into()), Opaque(vec![1; 512].into())];
    client.request(request(&mixed)).await;
    for (txid, answer) in client.answers(2).await {
        let long = txid == opaque_id(&cluster.chain, &mixed[0]);
        assert_eq!(answer == TxAnswer::Rejected(RejectReason::OpaqueRefused), long, "{answer:?}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_production_ledger_refuses_them_and_goes_on() {
    let cluster = Cluster::start(|_| {}).await;
    let mut client = cluster.client(1).await;
    let sent = [payloads(3, 16), payloads(1, 0)].concat();
    client.request(request(&sent)).await;
    let answers = client.answers(4).await;
    assert!(
        answers.iter().all(|(_, answer)| *answer == TxAnswer::Rejected(RejectReason::OpaqueRefused)),
        "{answers:?}"
    );
    assert_eq!(answers[0].0, opaque_id(&cluster.chain, &sent[0]));
    client.submit(vec![cluster.mint(cluster.issuer.public_key(), 5, 9)]).await;
    assert!(matches!(client.answers(1).await[0].1, TxAnswer::Executed(_)));
    cluster.stop().await;
}
