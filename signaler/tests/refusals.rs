//! Requests that are refused: each with its status, code and field, and without effect.

#![allow(missing_docs, reason = "a test")]

use serde_json::{Value, json};
use shardpay_client::signaler::{ErrorCode, HeartbeatRequest, Hex, PlansQuery, REQUEST_BYTES_MAX, RegisterRequest};
use shardpay_crypto::Signer;
use shardpay_types::{Epoch, MemberIndex, PlanApproval};

mod common;
use common::{
    NETWORK, TOKEN, addresses, approval, approve, heartbeat, http_client, keypair, now_us, refused, register_all,
    registration, reversed_keys, settings, start_in_memory,
};

fn what(refusal: (u16, shardpay_client::signaler::ErrorBody)) -> (u16, ErrorCode, Option<String>) {
    (refusal.0, refusal.1.error, refusal.1.field)
}

fn of(status: u16, error: ErrorCode, field: &str) -> (u16, ErrorCode, Option<String>) {
    (status, error, Some(field.to_owned()))
}

#[tokio::test]
async fn registrations() {
    let mut settings = settings();
    settings.allowed = Some(reversed_keys());
    let (server, client) = start_in_memory(settings).await;
    let good = registration(0, 5);

    let forged = RegisterRequest { client_addr: addresses(1).client, ..good.clone() };
    assert_eq!(what(refused(client.register(&forged).await)), of(403, ErrorCode::BadSignature, "proof"));
    let stolen = RegisterRequest { key: Hex(keypair(1).public_key()), ..good.clone() };
    assert_eq!(what(refused(client.register(&stolen).await)), of(403, ErrorCode::BadSignature, "proof"));
    let stranger = registration(50, 1);
    assert_eq!(what(refused(client.register(&stranger).await)), of(403, ErrorCode::NotAllowed, "key"));
    let mut nowhere = addresses(0);
    nowhere.peer.set_port(0);
    let nowhere = RegisterRequest::signed(&NETWORK, &keypair(0), 5, nowhere);
    assert_eq!(what(refused(client.register(&nowhere).await)), of(422, ErrorCode::BadField, "peer_addr"));
    let weak = RegisterRequest { key: Hex(shardpay_types::PublicKey([0; 32])), ..good.clone() };
    assert_eq!(what(refused(client.register(&weak).await)), of(422, ErrorCode::BadField, "key"));
    assert_eq!(client.health().await.expect("health").registered, 0);

    assert_eq!(client.register(&good).await.expect("registered").registered, 1);
    assert_eq!(client.register(&good).await.expect("said again").registered, 1);
    let moved = |counter| RegisterRequest::signed(&NETWORK, &keypair(0), counter, addresses(20));
    for counter in [4, 5] {
        let reply = client.register(&moved(counter)).await;
        assert_eq!(what(refused(reply)), of(409, ErrorCode::Stale, "counter"));
    }
    assert_eq!(client.register(&moved(6)).await.expect("moved").registered, 1);
    // an old registration cannot bring the old address back
    assert_eq!(what(refused(client.register(&good).await)), of(409, ErrorCode::Stale, "counter"));
    assert_eq!(client.topology().await.expect("topology").waiting[0].peer_addr, addresses(20).peer);
    server.shutdown().await.expect("ends");
}

#[tokio::test]
async fn strangers_after_registration_closed() {
    let (server, client) = start_in_memory(settings()).await;
    register_all(&client).await;
    let reply = client.register(&registration(50, 1)).await;
    assert_eq!(what(refused(reply)), of(409, ErrorCode::RegistrationClosed, "key"));
    client.register(&registration(0, 2)).await.expect("a member may move");
    server.shutdown().await.expect("ends");
}

#[tokio::test]
async fn co_signatures() {
    let (server, client) = start_in_memory(settings()).await;
    register_all(&client).await;
    let plans = client.plans(PlansQuery::default()).await.expect("plans");
    let genesis = plans.genesis.expect("genesis").plan.0;
    let good = approval(&genesis, &genesis, &genesis, 0, 0);

    let other = PlanApproval { member: MemberIndex::at(1), ..good };
    assert_eq!(what(refused(client.approve(other).await)), of(403, ErrorCode::BadSignature, "approval"));
    let nobody = PlanApproval { member: MemberIndex::at(4), ..good };
    assert_eq!(what(refused(client.approve(nobody).await)), of(422, ErrorCode::BadField, "approval"));
    let early = PlanApproval { epoch: Epoch::new(1), ..good };
    assert_eq!(what(refused(client.approve(early).await)), of(409, ErrorCode::UnknownPlan, "approval"));
    let mut plan = genesis.clone();
    plan.salt = [1; 32];
    let foreign = approval(&plan, &genesis, &plan, 0, 0);
    assert_eq!(what(refused(client.approve(foreign).await)), of(409, ErrorCode::UnknownPlan, "approval"));
    for _ in 0..2 {
        assert_eq!(client.approve(good).await.expect("taken").approvals, 1);
    }
    server.shutdown().await.expect("ends");
}

#[tokio::test]
async fn heartbeats_and_the_operator() {
    let (server, client) = start_in_memory(settings()).await;
    let closing = client.close_epoch(TOKEN, Epoch::ZERO).await;
    assert_eq!(what(refused(closing)), of(409, ErrorCode::WrongPhase, "epoch"));
    register_all(&client).await;
    let now = now_us();
    let unknown = client.heartbeat(&heartbeat(50, now, 0)).await;
    assert_eq!(what(refused(unknown)), of(404, ErrorCode::UnknownNode, "key"));
    let forged = HeartbeatRequest { key: Hex(keypair(1).public_key()), ..heartbeat(0, now, 0) };
    assert_eq!(what(refused(client.heartbeat(&forged).await)), of(403, ErrorCode::BadSignature, "signature"));
    for time_us in [1, now + 3_600_000_000] {
        let reply = client.heartbeat(&heartbeat(0, time_us, 0)).await;
        assert_eq!(what(refused(reply)), of(422, ErrorCode::ClockSkew, "time_us"));
    }
    client.heartbeat(&heartbeat(0, now, 0)).await.expect("taken");
    for time_us in [now - 1, now] {
        let reply = client.heartbeat(&heartbeat(0, time_us, 0)).await;
        assert_eq!(what(refused(reply)), of(409, ErrorCode::Stale, "time_us"));
    }
    assert_eq!(client.health().await.expect("health").up, 1);

    approve(&client, 3).await;
    let wrong = client.close_epoch("another secret, as long", Epoch::ZERO).await;
    assert_eq!(what(refused(wrong)), of(401, ErrorCode::Unauthorized, "authorization"));
    let ahead = client.close_epoch(TOKEN, Epoch::new(1)).await;
    assert_eq!(what(refused(ahead)), of(409, ErrorCode::WrongPhase, "epoch"));
    server.shutdown().await.expect("ends");
}

#[tokio::test]
async fn bodies_and_paths() {
    let (server, client) = start_in_memory(settings()).await;
    let base = format!("http://{}", server.addr());
    let http = http_client();
    let good = serde_json::to_value(registration(0, 1)).expect("serialises");
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body.to_string()
    };
    let without_key = json!({"counter": 1}).to_string();
    let cases = [
        ("{".to_owned(), 400, "malformed", Value::Null),
        (good.to_string() + "x", 400, "malformed", Value::Null),
        (without_key, 422, "bad_field", json!("key")),
        (with("key", json!(5)), 422, "bad_field", json!("key")),
        (with("key", json!("abc")), 422, "bad_field", json!("key")),
        (with("counter", json!(-1)), 422, "bad_field", json!("counter")),
        (with("peer_addr", json!("localhost")), 422, "bad_field", json!("peer_addr")),
        (with("extra", json!(1)), 422, "bad_field", json!("extra")),
        (with("key", json!("a".repeat(REQUEST_BYTES_MAX))), 413, "too_large", Value::Null),
    ];
    for (body, status, error, field) in cases {
        let request = http.post(format!("{base}/v1/nodes")).header("content-type", "application/json");
        let answer = request.body(body.clone()).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{body:.80}");
        let answer: Value = answer.json().await.expect("a typed body");
        assert_eq!((&answer["error"], &answer["field"]), (&json!(error), &field), "{body:.80}");
    }
    let plain = http.post(format!("{base}/v1/nodes")).body(good.to_string()).send().await.expect("an answer");
    assert_eq!(plain.status().as_u16(), 415);
    let paths = [
        ("/v1/plans?wait=61", 422, "wait"),
        ("/v1/plans?after=x", 422, "after"),
        ("/v1/plans?after=1&after=2", 422, "after"),
        ("/v1/topology?epoch=1", 422, "epoch"),
    ];
    for (path, status, field) in paths {
        let answer = http.get(format!("{base}{path}")).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert_eq!(answer.json::<Value>().await.expect("a typed body")["field"], json!(field), "{path}");
    }
    for (path, status) in [("/v2/plans", 404), ("/v1/nodes", 405)] {
        let answer = http.get(format!("{base}{path}")).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert!(answer.json::<Value>().await.expect("a typed body")["detail"].is_string());
    }
    assert_eq!(client.health().await.expect("health").registered, 0);
    server.shutdown().await.expect("ends");
}
