//! The API over a ledger in memory: what users, shops and attackers get. Every answer is checked against the
//! OpenAPI document. Runs against PostgreSQL when DATABASE_URL is set, else SQLite.

mod common;

use common::world::{GATEWAY_SECRET, World};
use common::{Asker, card, cash_out, idempotency_key, payment};
use serde_json::{Value, json};
use shardpay_crypto::Signer as _;
use shardpay_service::api;
use shardpay_service::users::key_proof_message;
use shardpay_types::ChainId;

#[tokio::test(flavor = "multi_thread")]
async fn answers_fit_the_document() {
    let world = World::new().await;
    let (ann, pair, name) = world.rich("ann").await;
    let (bob, bob_pair, _) = world.user("bob").await;
    let nobody = Asker::new(&world.base);
    for path in ["/v1/health", "/v1/ready", "/v1/openapi.json", "/v1/network", "/v1/supply"] {
        let (status, _) = world.ask(&nobody, "GET", path, None).await;
        assert_eq!(status, 200, "{path}");
    }
    world.ask(&nobody, "GET", &format!("/v1/users/{name}"), None).await;
    world.ask(&nobody, "GET", "/v1/users/nobody-here", None).await;
    world.ask(&nobody, "GET", &format!("/v1/accounts/{}", bob_pair.public_key()), None).await;
    world.ask(&nobody, "GET", "/v1/accounts/shard1qqqq", None).await;
    let signed = payment(&world.chain(), &pair, bob_pair.public_key(), (1_500_000, 0), *b"for the coffee\0\0");
    let (status, paid) = world.ask(&ann, "POST", "/v1/payments", Some(json!({ "transaction": signed }))).await;
    assert_eq!(status, 202, "{paid}");
    let path = format!("/v1/payments/{}", paid["txid"].as_str().unwrap());
    bob.until(&path, "final", "true").await;
    let (_, shown) = world.ask(&bob, "GET", &path, None).await;
    assert_eq!((&shown["state"], &shown["reference_text"]), (&json!("certified"), &json!("for the coffee")));
    world.ask(&nobody, "GET", &format!("/v1/transactions/{}", paid["txid"].as_str().unwrap()), None).await;
    for path in [
        "/v1/me",
        "/v1/session",
        "/v1/me/balance",
        "/v1/me/history",
        "/v1/purchases",
        "/v1/cash-outs",
        "/v1/merchant/keys",
    ] {
        assert_eq!(world.ask(&ann, "GET", path, None).await.0, 200, "{path}");
        assert_eq!(world.ask(&nobody, "GET", path, None).await.0, 401, "{path}");
    }
    let (_, filtered) = world.ask(&bob, "GET", "/v1/me/history?direction=in&reference=for%20the%20coffee", None).await;
    assert_eq!(filtered["items"].as_array().unwrap().len(), 1, "{filtered}");
    let (_, none) = world.ask(&bob, "GET", "/v1/me/history?direction=out", None).await;
    assert_eq!(none["items"], json!([]));
    let redeem = cash_out(&world.chain(), &pair, (2_000_000, 1), "DE89370400440532013000");
    let (status, out) = world.ask(&ann, "POST", "/v1/cash-outs", Some(redeem)).await;
    assert_eq!(status, 202, "{out}");
    let path = format!("/v1/cash-outs/{}", out["id"].as_str().unwrap());
    ann.until(&path, "state", "paid").await;
    world.ask(&ann, "GET", &path, None).await;
    assert_eq!(ann.until("/v1/supply", "agrees", "true").await["difference"], "0.000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_is_paid_late_twice_and_too_little() {
    let world = World::new().await;
    let (ann, pair, _) = world.rich("ann").await;
    let (bob, bob_pair, _) = world.user("bob").await;
    assert_eq!(world.code(&bob, "POST", "/v1/intents", json!({ "amount": "1", "order_id": "x" })).await, "forbidden");
    let https = json!({ "display_name": "Bob", "webhook_url": "http://127.0.0.1:1/" });
    assert_eq!(world.code(&bob, "PUT", "/v1/merchant", https).await, "bad_field");
    world.ask(&bob, "PUT", "/v1/merchant", Some(json!({ "display_name": "Bob" }))).await;
    let (_, key) = world.ask(&bob, "POST", "/v1/merchant/keys", Some(json!({ "label": "till" }))).await;
    let mut till = bob.clone();
    till.token = Some(key["secret"].as_str().unwrap().to_owned());
    assert_eq!(world.ask(&till, "GET", "/v1/me/balance", None).await.0, 403, "a till reads no wallet");
    let (status, intent) =
        world.ask(&till, "POST", "/v1/intents", Some(json!({ "amount": "3", "order_id": "o" }))).await;
    assert_eq!(status, 201, "{intent}");
    let id = intent["id"].as_str().unwrap().to_owned();
    let reference: [u8; 16] = hex::decode(&id).unwrap().try_into().unwrap();
    for (sequence, micros, state) in [(0, 1_000_000, "underpaid"), (1, 2_000_000, "paid"), (2, 3_000_000, "overpaid")] {
        let signed = payment(&world.chain(), &pair, bob_pair.public_key(), (micros, sequence), reference);
        ann.write("POST", "/v1/payments", json!({ "transaction": signed })).await;
        till.until(&format!("/v1/intents/{id}"), "state", state).await;
    }
    let (_, checkout) = world.ask(&Asker::new(&world.base), "GET", &format!("/v1/checkout/{id}"), None).await;
    assert_eq!(checkout["intent"]["paid"], "6.000000");
    let path = format!("/v1/intents/{id}/refunds");
    let to_bob = payment(&world.chain(), &bob_pair, bob_pair.public_key(), (1_000_000, 0), reference);
    assert_eq!(world.code(&till, "POST", &path, json!({ "transaction": to_bob })).await, "not_a_payer");
    let refund = payment(&world.chain(), &bob_pair, pair.public_key(), (3_000_000, 0), reference);
    world.ask(&till, "POST", &path, Some(json!({ "transaction": refund }))).await;
    till.until(&format!("/v1/intents/{id}"), "refunded", "3.000000").await;
    let more = payment(&world.chain(), &bob_pair, pair.public_key(), (3_000_001, 1), reference);
    assert_eq!(world.code(&till, "POST", &path, json!({ "transaction": more })).await, "refund_too_large");
    let (_, events) = world.ask(&till, "GET", "/v1/merchant/events", None).await;
    let types: Vec<&str> = events["items"].as_array().unwrap().iter().filter_map(|e| e["type"].as_str()).collect();
    assert_eq!(types, ["intent.underpaid", "intent.paid", "intent.overpaid", "intent.refunded"]);
    let (_, other) = world.ask(&till, "POST", "/v1/intents", Some(json!({ "amount": "1", "order_id": "p" }))).await;
    let cancel = format!("/v1/intents/{}/cancel", other["id"].as_str().unwrap());
    assert_eq!(world.ask(&till, "POST", &cancel, Some(json!({}))).await.1["state"], "cancelled");
    assert_eq!(world.code(&till, "POST", &format!("/v1/intents/{id}/cancel"), json!({})).await, "wrong_state");
    let now = jiff::Timestamp::from_microsecond(i64::try_from(world.clock.now_us()).unwrap()).unwrap();
    let today = jiff::tz::TimeZone::UTC.to_datetime(now).date();
    let (_, day) = world.ask(&till, "GET", &format!("/v1/merchant/settlements/{today}"), None).await;
    assert_eq!(
        (&day["paid"], &day["refunded"], &day["net"]),
        (&json!("6.000000"), &json!("3.000000"), &json!("3.000000"))
    );
    assert_eq!(world.ask(&till, "GET", "/v1/merchant/settlements/1970-1-1", None).await.0, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_inputs_are_refused() {
    let world = World::new().await;
    let (ann, pair, name) = world.rich("ann").await;
    let (bob, bob_pair, _) = world.user("bob").await;
    let nobody = Asker::new(&world.base);
    for amount in
        ["-1", "NaN", "18446744073709551616", "1e3", "1.001", "0.00", "0.99", "5000.01", "+1", " 1", "1,5", ""]
    {
        let body = json!({ "amount": amount, "card": card("4242424242424242") });
        assert_eq!(world.code(&ann, "POST", "/v1/purchases", body).await, "bad_field", "{amount}");
    }
    let body = json!({ "amount": 5, "card": card("4242424242424242") });
    let (_, answer) = world.ask(&ann, "POST", "/v1/purchases", Some(body)).await;
    assert_eq!(answer["code"], "malformed");
    let body = json!({ "amount": "5", "card": { "number": 4242424242424242u64, "expiry": "12/34", "cvc": "123", "holder": "A" } });
    let (_, answer) = world.ask(&ann, "POST", "/v1/purchases", Some(body)).await;
    assert!(answer["code"] == "malformed" && !answer.to_string().contains("4242"), "no value in the answer: {answer}");
    assert_eq!(
        world.code(&ann, "POST", "/v1/purchases", json!({ "amount": "5", "card": card("4242424242424241") })).await,
        "bad_card"
    );
    for user in ["аnn-cyrillic", "Ann", "ab", "a\u{202e}bc", "ann\n", "1abc"] {
        let body = json!({ "name": user, "password": "correct horse battery" });
        assert_eq!(world.code(&nobody, "POST", "/v1/users", body).await, "bad_field", "{user}");
    }
    let taken = json!({ "name": name, "password": "correct horse battery" });
    assert_eq!(world.code(&nobody, "POST", "/v1/users", taken).await, "name_taken");
    // transactions: another's, another ledger's, no transaction, tampered, replayed
    let signed = payment(&world.chain(), &pair, bob_pair.public_key(), (1_000_000, 0), [0; 16]);
    let pay = |transaction: &str| json!({ "transaction": transaction });
    assert_eq!(world.code(&bob, "POST", "/v1/payments", pay(&signed)).await, "not_your_key");
    let foreign = payment(&ChainId([3; 32]), &pair, bob_pair.public_key(), (1_000_000, 0), [0; 16]);
    assert_eq!(world.code(&ann, "POST", "/v1/payments", pay(&foreign)).await, "bad_signature");
    let tampered = signed.replacen("40420f", "41420f", 1);
    assert_ne!(tampered, signed);
    assert_eq!(world.code(&ann, "POST", "/v1/payments", pay(&tampered)).await, "bad_signature");
    for bytes in ["", "00", "zz", &"00".repeat(169), &signed[2..], &"ab".repeat(10_000)] {
        assert_eq!(world.code(&ann, "POST", "/v1/payments", pay(bytes)).await, "bad_transaction", "{bytes:.20}");
    }
    let weak = payment(&world.chain(), &pair, shardpay_types::PublicKey([0; 32]), (1_000_000, 0), [0; 16]);
    assert_eq!(world.code(&ann, "POST", "/v1/payments", pay(&weak)).await, "bad_transaction");
    let rich = payment(&world.chain(), &pair, bob_pair.public_key(), (u64::MAX, 0), [0; 16]);
    assert_eq!(world.code(&ann, "POST", "/v1/payments", pay(&rich)).await, "short_balance");
    let nothing = payment(&world.chain(), &pair, bob_pair.public_key(), (0, 0), [0; 16]);
    assert_eq!(world.code(&ann, "POST", "/v1/payments", pay(&nothing)).await, "amount_too_small");
    let (_, once) = world.ask(&ann, "POST", "/v1/payments", Some(pay(&signed))).await;
    let (_, twice) = world.ask(&ann, "POST", "/v1/payments", Some(pay(&signed))).await;
    assert_eq!(once["txid"], twice["txid"]);
    bob.until("/v1/me/balance", "balance", "1.000000").await;
    // bank details
    let out = |iban: &str| cash_out(&world.chain(), &pair, (1_000_000, 1), iban);
    assert_eq!(world.code(&ann, "POST", "/v1/cash-outs", out("DE89370400440532013001")).await, "bad_iban");
    let mut redirected = out("DE89370400440532013000");
    redirected["iban"] = json!("NL91ABNA0417164300");
    assert_eq!(world.code(&ann, "POST", "/v1/cash-outs", redirected).await, "payout_ref_mismatch");
    let half_cent = cash_out(&world.chain(), &pair, (1_005_000, 1), "DE89370400440532013000");
    assert_eq!(world.code(&ann, "POST", "/v1/cash-outs", half_cent).await, "bad_field");
    // keys: another's proof
    let proof = pair.sign(&key_proof_message(&world.chain(), &name));
    let stolen = json!({ "public_key": pair.public_key().to_string(), "proof": proof.to_string() });
    assert_eq!(world.code(&bob, "PUT", "/v1/me/key", stolen).await, "bad_proof");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_requests_cannot_be_borrowed() {
    let world = World::new().await;
    let (ann, _, name) = world.user("ann").await;
    let http = &ann.http;
    let login = json!({ "name": name, "password": "correct horse battery" });
    let url = |path: &str| format!("{}{path}", world.base);
    // a cookie that an attacker planted is not taken over
    let answer = http.post(url("/v1/session")).header("Cookie", "session=c_planted").json(&login).send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains("planted"),
        "{cookie}"
    );
    let pair = cookie.split(';').next().unwrap().to_owned();
    let csrf = answer.json::<Value>().await.unwrap()["csrf_token"].as_str().unwrap().to_owned();
    let write = |cookie: String, csrf: Option<String>| {
        let request =
            http.put(url("/v1/me/keystore")).header("Cookie", cookie).header("Idempotency-Key", idempotency_key());
        let request = request.json(&json!({ "no": "keystore" }));
        match csrf {
            Some(csrf) => request.header("X-CSRF-Token", csrf),
            None => request,
        }
    };
    let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
    assert_eq!(status(write(pair.clone(), None)).await, 403);
    assert_eq!(status(write(pair.clone(), Some("0".repeat(64)))).await, 403);
    assert_eq!(status(write(pair.clone(), Some(csrf.clone()))).await, 422, "past the guard: no keystore");
    assert_eq!(status(write(format!("{pair}; {pair}"), Some(csrf.clone()))).await, 401, "two cookies are none");
    assert_eq!(status(http.get(url("/v1/me")).header("Cookie", &pair)).await, 200);
    let again = http.post(url("/v1/session")).header("Cookie", &pair).json(&login).send().await.unwrap();
    assert_eq!(again.status(), 200);
    assert_eq!(status(http.get(url("/v1/me")).header("Cookie", &pair)).await, 401, "the old session ended");
    let token = pair.split_once('=').unwrap().1;
    assert_eq!(status(http.get(url("/v1/me")).bearer_auth(token)).await, 401, "a cookie is no token");
    // idempotency
    let body = json!({ "amount": "5.00", "card": card("4242424242424242") });
    let key = idempotency_key();
    let (_, first) = ann.ask("POST", "/v1/purchases", Some(body.clone()), Some(&key)).await;
    let (_, second) = ann.ask("POST", "/v1/purchases", Some(body.clone()), Some(&key)).await;
    assert_eq!(first["id"], second["id"]);
    let mut other = body.clone();
    other["amount"] = json!("6.00");
    assert_eq!(ann.ask("POST", "/v1/purchases", Some(other), Some(&key)).await.1["code"], "idempotency_mismatch");
    assert_eq!(ann.ask("POST", "/v1/purchases", Some(body), None).await.1["code"], "idempotency_key_missing");
    ann.until("/v1/me/balance", "balance", "5.000000").await;
    // bodies and methods
    let huge = json!({ "name": "x".repeat(70_000), "password": "y" });
    assert_eq!(ann.ask("POST", "/v1/users", Some(huge), None).await.1["code"], "too_large");
    let form = http.post(url("/v1/session")).header("Content-Type", "text/plain").body("{}");
    assert_eq!(status(form).await, 415, "a form of another site cannot log in");
    assert_eq!(status(http.patch(url("/v1/me"))).await, 405);
    assert_eq!(status(http.get(url("/v1/%ff"))).await, 404);
    assert_eq!(status(http.get(url("/assets/..%2f..%2fCargo.toml"))).await, 404);
    guessing_is_slowed(&ann, &name).await;
    forged_events(&world, &ann, &first).await;
}

async fn guessing_is_slowed(asker: &Asker, name: &str) {
    let guess = json!({ "name": name, "password": "wrong password" });
    for _ in 0..5 {
        assert_eq!(asker.ask("POST", "/v1/session", Some(guess.clone()), None).await.0, 401);
    }
    let right = json!({ "name": name, "password": "correct horse battery" });
    let (status, answer) = asker.ask("POST", "/v1/session", Some(right), None).await;
    assert_eq!((status, &answer["code"]), (429, &json!("too_many_attempts")));
}

/// Events of the card gateway: forged, old, replayed.
async fn forged_events(world: &World, asker: &Asker, purchase: &Value) {
    let id = purchase["id"].as_str().unwrap();
    let body = json!({ "id": "e1", "type": "charge.disputed", "key": id }).to_string();
    let send = async |seconds: u64, secret: &str| {
        let signature = shardpay_service::merchant::webhooks::sign(secret, seconds, &body);
        let request = asker.http.post(format!("{}/v1/gateway/card-events", world.base));
        let request = request.header("Gateway-Signature", signature).body(body.clone());
        request.send().await.unwrap().status().as_u16()
    };
    let now = world.app.clock.now_us() / 1_000_000;
    assert_eq!(send(now, "another secret").await, 401);
    assert_eq!(send(now - 1_000, GATEWAY_SECRET).await, 401);
    let shown = asker.get(&format!("/v1/purchases/{id}")).await;
    assert_eq!(shown["error"], Value::Null);
    for _ in 0..2 {
        assert_eq!(send(now, GATEWAY_SECRET).await, 204);
    }
    let shown = asker.get(&format!("/v1/purchases/{id}")).await;
    assert_eq!((&shown["error"], &shown["state"]), (&json!("disputed"), &json!("done")));
}

#[test]
fn the_document_names_no_schema_that_is_not_there() {
    let document = api::document();
    let text = document.to_string();
    for name in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(name).is_some(), "{name}");
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys() {
        assert!(text.contains(&format!("\"#/components/schemas/{name}\"")), "{name} is used nowhere");
    }
}
