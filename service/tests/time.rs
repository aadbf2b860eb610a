//! What time does: sessions and pauses end, answers get stale, intents expire and are paid late, webhooks are tried
//! again and given up. The clock is moved, nothing waits.

mod common;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, StatusCode};
use common::world::{PASSWORD, World};
use common::{Asker, card, cash_out, payment};
use serde_json::{Value, json};
use shardpay_crypto::Signer as _;
use shardpay_service::app::Settings;
use shardpay_service::merchant::webhooks;

const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 24 * HOUR_S;

/// With limits that a test does not meet by accident.
async fn world(settings: Settings) -> World {
    World::with(Settings { rate: (100_000, 100_000), ..settings }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_and_pauses_pass() {
    let world = world(Settings::default()).await;
    let (ann, _, name) = world.user("ann").await;
    let guess = json!({ "name": name, "password": "wrong password" });
    for _ in 0..5 {
        assert_eq!(world.code(&ann, "POST", "/v1/session", guess.clone()).await, "wrong_credentials");
    }
    let right = json!({ "name": name, "password": PASSWORD, "kind": "token" });
    let (status, answer) = ann.ask("POST", "/v1/session", Some(right.clone()), None).await;
    assert_eq!((status, &answer["code"]), (429, &json!("too_many_attempts")));
    assert!((1..=2_000).contains(&answer["retry_after_ms"].as_u64().unwrap()), "{answer}");
    world.advance_s(2);
    let (status, login) = world.ask(&ann, "POST", "/v1/session", Some(right)).await;
    assert_eq!(status, 200, "{login}");
    let again = Asker { token: Some(login["token"].as_str().unwrap().to_owned()), ..ann.clone() };
    world.advance_s(30 * DAY_S - 60);
    assert_eq!(again.ask("GET", "/v1/me", None, None).await.0, 200);
    world.advance_s(60);
    assert_eq!(again.ask("GET", "/v1/me", None, None).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_news_is_stale_and_says_its_height() {
    let world = world(Settings::default()).await;
    let (ann, _, _) = world.rich("ann").await;
    let known = ann.get("/v1/me/balance").await;
    assert_eq!(known["stale"], false);
    let silence = world.deafen().await;
    world.advance_s(11);
    let (status, ready) = world.ask(&ann, "GET", "/v1/ready", None).await;
    assert_eq!((status, &ready["ready"], &ready["ledger"]), (503, &json!(false), &json!(false)));
    let stale = ann.get("/v1/me/balance").await;
    assert_eq!((&stale["stale"], &stale["height"]), (&json!(true), &known["height"]));
    assert_eq!(stale["balance"], "100.000000");
    // bought while nothing is heard: in the books as captured, not in the balance
    ann.write("POST", "/v1/purchases", json!({ "amount": "5.00", "card": card("4242424242424242") })).await;
    let supply = ann.get("/v1/supply").await;
    assert_eq!((&supply["captured_not_minted"], &supply["agrees"]), (&json!("5.000000"), &json!(true)));
    assert_eq!(ann.get("/v1/me/balance").await["balance"], "100.000000");
    drop(silence);
    ann.until("/v1/me/balance", "stale", "false").await;
    ann.until("/v1/me/balance", "balance", "105.000000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_expires_and_is_paid_late() {
    let world = world(Settings::default()).await;
    let (ann, pair, _) = world.rich("ann").await;
    let (_, till, seller) = world.merchant("bob", None).await;
    let order = |id: &str| json!({ "amount": "2", "order_id": id, "expires_in_s": 60 });
    let intent = till.write("POST", "/v1/intents", order("one")).await;
    let cancelled = till.write("POST", "/v1/intents", order("two")).await;
    let path = |intent: &Value| format!("/v1/intents/{}", intent["id"].as_str().unwrap());
    till.write("POST", &format!("{}/cancel", path(&cancelled)), json!({})).await;
    world.advance_s(66);
    till.until(&path(&intent), "state", "expired").await;
    for (sequence, intent) in [(0, &intent), (1, &cancelled)] {
        let reference: [u8; 16] = hex::decode(intent["id"].as_str().unwrap()).unwrap().try_into().unwrap();
        let signed = payment(&world.chain(), &pair, seller.public_key(), (2_000_000, sequence), reference);
        ann.write("POST", "/v1/payments", json!({ "transaction": signed })).await;
        let paid = till.until(&path(intent), "state", "paid").await;
        assert_eq!((&paid["late"], &paid["payments"][0]["late"]), (&json!(true), &json!(true)), "{paid}");
    }
    let (_, events) = world.ask(&till, "GET", "/v1/merchant/events", None).await;
    let types: Vec<&str> = events["items"].as_array().unwrap().iter().filter_map(|e| e["type"].as_str()).collect();
    assert_eq!(types, ["intent.expired", "intent.late", "intent.late"]);
    let (_, expired) = world.ask(&till, "GET", "/v1/intents?state=expired", None).await;
    assert_eq!(expired["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn challenges_run_out_and_charges_are_taken_back() {
    let world = world(Settings::default()).await;
    let (ann, _, _) = world.user("ann").await;
    let buy = async |amount: &str, number: &str| {
        let body = json!({ "amount": amount, "card": card(number) });
        let purchase = ann.write("POST", "/v1/purchases", body).await;
        format!("/v1/purchases/{}", purchase["id"].as_str().unwrap())
    };
    let asked = buy("3.00", "4000 0000 0000 3220").await;
    let answered = buy("4.00", "4000 0000 0000 3220").await;
    let disputed = buy("5.00", "4000 0000 0000 0259").await;
    assert!(ann.get(&asked).await["challenge"]["prompt"].is_string());
    let wrong = buy("6.00", "4000 0000 0000 3220").await;
    ann.write("POST", &format!("{wrong}/challenge"), json!({ "code": "000000" })).await;
    assert_eq!(ann.until(&wrong, "state", "declined").await["error"], "challenge_failed");
    ann.write("POST", &format!("{answered}/challenge"), json!({ "code": "123456" })).await;
    ann.until(&answered, "state", "done").await;
    world.advance_s(901);
    assert_eq!(ann.until(&asked, "state", "declined").await["error"], "not_charged");
    assert_eq!(ann.until(&disputed, "error", "disputed").await["state"], "done");
    let supply = ann.until("/v1/supply", "charged_back", "5.000000").await;
    assert_eq!((&supply["bank_balance"], &supply["agrees"]), (&json!("4.000000"), &json!(true)), "{supply}");
    assert_eq!(ann.get("/v1/me/balance").await["balance"], "9.000000", "nothing is frozen");
}

#[tokio::test(flavor = "multi_thread")]
async fn coins_above_the_limit_are_refunded() {
    let world = world(Settings { mint_limit: 10_000_000, ..Settings::default() }).await;
    let (ann, _, _) = world.user("ann").await;
    let buy = async |amount: &str| {
        let body = json!({ "amount": amount, "card": card("4242424242424242") });
        let purchase = ann.write("POST", "/v1/purchases", body).await;
        ann.until(&format!("/v1/purchases/{}", purchase["id"].as_str().unwrap()), "final", "true").await
    };
    assert_eq!(buy("8.00").await["state"], "done");
    let refunded = buy("3.00").await;
    assert_eq!((&refunded["state"], &refunded["error"]), (&json!("refunded"), &json!("mint_limit")));
    assert_eq!(buy("2.00").await["state"], "done", "what is left of the limit is there for the next");
    let supply = ann.until("/v1/supply", "agrees", "true").await;
    assert_eq!(supply["bank_balance"], "10.000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn payouts_wait_for_a_slow_bank() {
    let world = world(Settings::default()).await;
    let (ann, pair, _) = world.rich("ann").await;
    let body = cash_out(&world.chain(), &pair, (4_000_000, 0), "NL91ABNA0417164300");
    let made = ann.write("POST", "/v1/cash-outs", body).await;
    let path = format!("/v1/cash-outs/{}", made["id"].as_str().unwrap());
    ann.until(&path, "state", "paying").await;
    let supply = ann.until("/v1/supply", "redeemed_not_paid", "4.000000").await;
    assert_eq!(supply["agrees"], true, "{supply}");
    world.advance_s(HOUR_S);
    ann.until(&path, "state", "paid").await;
    assert_eq!(ann.get("/v1/supply").await["bank_balance"], "96.000000");
}

/// A shop's ear that answers as it is told, then 200; what it heard.
async fn ear(answers: &[u16]) -> (String, Arc<Mutex<Vec<(String, String)>>>) {
    let (heard, answers) = (Arc::new(Mutex::new(Vec::new())), Mutex::new(VecDeque::from(answers.to_vec())));
    let notes = heard.clone();
    let handler = async move |headers: HeaderMap, body: String| {
        let header = headers.get(webhooks::SIGNATURE_HEADER).and_then(|value| value.to_str().ok());
        notes.lock().unwrap().push((header.unwrap_or_default().to_owned(), body));
        let status = answers.lock().unwrap().pop_front().unwrap_or(200);
        StatusCode::from_u16(status).unwrap()
    };
    let answers = Arc::new(handler);
    let router = axum::Router::new().route(
        "/hook",
        axum::routing::post(move |headers: HeaderMap, body: String| {
            let handler = answers.clone();
            async move { handler(headers, body).await }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_tried_again_with_one_id() {
    let world = world(Settings { webhook_private: true, ..Settings::default() }).await;
    let (ann, pair, _) = world.rich("ann").await;
    let (url, heard) = ear(&[500, 302]).await;
    let (owner, till, seller) = world.merchant("bob", Some(&url)).await;
    let secret = owner.write("POST", "/v1/merchant/webhook-secret", json!({})).await["secret"].clone();
    let intent = till.write("POST", "/v1/intents", json!({ "amount": "2", "order_id": "o" })).await;
    let reference: [u8; 16] = hex::decode(intent["id"].as_str().unwrap()).unwrap().try_into().unwrap();
    let signed = payment(&world.chain(), &pair, seller.public_key(), (2_000_000, 0), reference);
    ann.write("POST", "/v1/payments", json!({ "transaction": signed })).await;
    let event = async |field: &'static str, value: &'static str| loop {
        let events = till.get("/v1/merchant/events").await;
        if let Some(event) = events["items"].get(0)
            && event[field].to_string().contains(value)
        {
            return event.clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert_eq!(event("attempts", "1").await["delivered_us"], Value::Null, "500 is not delivered");
    world.advance_s(5);
    assert_eq!(event("attempts", "2").await["delivered_us"], Value::Null, "a redirection is not followed");
    world.advance_s(9);
    assert!(event("attempts", "3").await["delivered_us"].is_u64());
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard.len(), 3);
    assert!(heard.iter().all(|(_, body)| *body == heard[0].1), "the same bytes, the same id");
    let now_s = world.clock.now_us() / 1_000_000;
    for (header, body) in &heard {
        assert!(webhooks::verify(secret.as_str().unwrap(), header, body, now_s), "{header}");
        assert!(!webhooks::verify(secret.as_str().unwrap(), header, body, now_s + 320), "too old to be replayed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deaf_shop_is_given_up_after_a_day() {
    let world = world(Settings { webhook_private: true, ..Settings::default() }).await;
    let (_, till, _) = world.merchant("bob", Some("http://127.0.0.1:9/hook")).await;
    till.write("POST", "/v1/intents", json!({ "amount": "2", "order_id": "o", "expires_in_s": 60 })).await;
    world.advance_s(66);
    let attempts = async |least: u64| loop {
        let events = till.get("/v1/merchant/events").await;
        let attempts = events["items"][0]["attempts"].as_u64().unwrap_or(0);
        if attempts >= least {
            return attempts;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert_eq!(attempts(1).await, 1);
    world.advance_s(DAY_S);
    assert_eq!(attempts(2).await, 2, "once more after a day");
    world.advance_s(DAY_S);
    assert_eq!(world.app.courier.deliver_due().await.unwrap(), 0, "then never again");
}
