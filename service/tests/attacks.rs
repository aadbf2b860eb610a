//! What attackers send, each with its exact answer: status and code. `docs/SERVICE.md` lists them.
//! Forged events, planted cookies and borrowed sessions are in `api.rs`, replays over time in `time.rs`.

mod common;

use common::world::{PASSWORD, World};
use common::{Asker, card, idempotency_key, payment};
use serde_json::{Value, json};
use shardpay_crypto::Signer as _;
use shardpay_service::app::Settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn unlimited() -> Settings {
    Settings { rate: (100_000, 100_000), ..Settings::default() }
}

/// Sends a body as it stands; status, code and field of the answer.
async fn send(asker: &Asker, (method, path): (&str, &str), kind: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let request = asker.http.request(method.parse().unwrap(), format!("{}{path}", asker.base));
    let request = request.header("Content-Type", kind).header("Idempotency-Key", idempotency_key()).body(body);
    let answer = match &asker.token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    let answer = answer.send().await.unwrap();
    assert!(answer.headers()["x-request-id"].len() == 16, "every answer has an id");
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or(Value::Null))
}

async fn refused(asker: &Asker, place: (&str, &str), body: &str) -> (u16, String, Option<String>) {
    let (status, answer) = send(asker, place, "application/json", body.to_owned()).await;
    let text = |name: &str| answer[name].as_str().map(str::to_owned);
    (status, text("code").unwrap_or_else(|| panic!("{place:?} {body:.80}: {status} {answer}")), text("field"))
}

const AMOUNTS: &[&str] = &[
    "-1",
    "-0",
    "+1",
    "NaN",
    "Infinity",
    "1e3",
    "0x10",
    "1,5",
    "1 000",
    " 1",
    "1.",
    ".5",
    "",
    "1.0000001",
    "0",
    "0.000000",
    "18446744073709551616",
    "18446744073709.551616",
    "9223372036854.775808",
    "１",
    "٣",
    "1\u{200b}",
    "1\0",
    "1_000",
];

#[tokio::test(flavor = "multi_thread")]
async fn amounts() {
    let world = World::with(unlimited()).await;
    let (ann, _, _) = world.user("ann").await;
    let (_, till, _) = world.merchant("bob", None).await;
    for amount in AMOUNTS {
        let purchase = json!({ "amount": amount, "card": card("4242424242424242") }).to_string();
        let intent = json!({ "amount": amount, "order_id": "o" }).to_string();
        for (asker, path, body) in [(&ann, "/v1/purchases", purchase), (&till, "/v1/intents", intent)] {
            let answer = refused(asker, ("POST", path), &body).await;
            assert_eq!(answer, (422, "bad_field".to_owned(), Some("amount".to_owned())), "{path} {amount:?}");
        }
    }
    for number in ["1", "1.5", "-1", "1e400", "18446744073709551616", "NaN", "null", "true", "[\"1\"]"] {
        let body = format!(r#"{{"amount": {number}, "order_id": "o"}}"#);
        assert_eq!(refused(&till, ("POST", "/v1/intents"), &body).await.1, "malformed", "{number} is no string");
    }
    // whole cents for cards; six places between wallets
    let cents = json!({ "amount": "1.005", "card": card("4242424242424242") }).to_string();
    assert_eq!(refused(&ann, ("POST", "/v1/purchases"), &cents).await.1, "bad_field");
    let body = json!({ "amount": "1.000001", "order_id": "o" });
    assert_eq!(till.write("POST", "/v1/intents", body).await["amount"], "1.000001");
}

const NAMES: &[&str] = &[
    "аnn",
    "ａnn",
    "annı",
    "ann\u{301}",
    "ann\u{200b}",
    "ann\u{202e}",
    "\u{feff}ann",
    "Ann",
    "ann ",
    "ann\n",
    "ann\0",
    "an",
    "1ann",
    "-ann",
    "ann'--",
    "' OR 1=1 --",
    "ann\"",
    "ann;",
    "ann%",
    "../ann",
    "ann/../bob",
    "ａｄｍｉｎ",
    "аdmin",
    "adm\u{131}n",
    "a\u{ad}nn",
    "<script>",
];

#[tokio::test(flavor = "multi_thread")]
async fn names() {
    let world = World::with(unlimited()).await;
    let nobody = Asker::new(&world.base);
    for name in NAMES.iter().copied().map(str::to_owned).chain([String::new(), "a".repeat(33), "é".repeat(40_000)]) {
        let body = json!({ "name": name, "password": PASSWORD }).to_string();
        let (status, code, field) = refused(&nobody, ("POST", "/v1/users"), &body).await;
        if body.len() > 65_536 {
            assert_eq!((status, code.as_str()), (413, "too_large"));
            continue;
        }
        assert_eq!((status, code.as_str(), field.as_deref()), (422, "bad_field", Some("name")), "{name:?}");
        let (status, code, _) = refused(&nobody, ("POST", "/v1/session"), &body).await;
        assert_eq!((status, code.as_str()), (401, "wrong_credentials"), "{name:?}");
    }
    let escaped = |name: &str| name.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    for name in NAMES {
        let (status, answer) = nobody.ask("GET", &format!("/v1/users/{}", escaped(name)), None, None).await;
        let control = name.chars().any(char::is_control);
        let wanted = if control { (400, "malformed") } else { (404, "not_found") };
        assert_eq!((status, answer["code"].as_str().unwrap()), wanted, "{name:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies() {
    let world = World::with(unlimited()).await;
    let (ann, _, _) = world.user("ann").await;
    let place = ("POST", "/v1/session");
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let deep_field = format!(r#"{{"name":{}1{}}}"#, "{\"a\":".repeat(5_000), "}".repeat(5_000));
    for body in [
        "",
        "{",
        "null",
        "[]",
        "\"x\"",
        "1",
        "{}{}",
        "{} x",
        "{\"name\": \"ann\"}",
        "\u{feff}{}",
        r#"{"name":"\ud800","password":"x"}"#,
        r#"{"name":"ann","name":"bob","password":"correct horse battery"}"#,
        r#"{"name":"ann","password":"correct horse battery","admin":true}"#,
        r#"{"name":"ann","password":"correct horse battery","kind":"root"}"#,
        r#"{"name":["ann"],"password":"correct horse battery"}"#,
        "{'name': 'ann'}",
        "name=ann",
        "<user/>",
        &deep,
        &deep_field,
    ] {
        let (status, code, _) = refused(&ann, place, body).await;
        assert_eq!((status, code.as_str()), (400, "malformed"), "{body:.60}");
    }
    // a keystore is any JSON object: nesting ends at 128, the file at 16 KiB
    let put = ("PUT", "/v1/me/keystore");
    assert_eq!(refused(&ann, put, &deep_field).await.1, "malformed");
    assert_eq!(refused(&ann, put, r#"{"format":"shardpay-keystore/1"}"#).await.1, "bad_field");
    assert_eq!(refused(&ann, put, &format!(r#"{{"a":"{}"}}"#, "x".repeat(20_000))).await.1, "too_large");
    let (status, answer) = send(&ann, place, "application/json", vec![0xff, 0xfe, b'{', b'}']).await;
    assert_eq!((status, &answer["code"]), (400, &json!("malformed")), "no UTF-8");
    let (status, answer) = send(&ann, place, "application/json", "x".repeat(65_537)).await;
    assert_eq!((status, &answer["code"]), (413, &json!("too_large")));
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp", "", "*/*"]
    {
        let (status, answer) = send(&ann, place, kind, "{}").await;
        assert_eq!((status, &answer["code"]), (415, &json!("unsupported_media_type")), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metacharacters_are_characters() {
    let world = World::with(unlimited()).await;
    let (ann, pair, _) = world.rich("ann").await;
    let (_, till, seller) = world.merchant("bob", None).await;
    let text = "'; DROP TABLE users; -- \" $1 %s {0} ${x}";
    let body = json!({ "amount": "1", "order_id": text, "description": "<script>alert(1)</script>" });
    let made = till.write("POST", "/v1/intents", body).await;
    assert_eq!((&made["order_id"], &made["description"]), (&json!(text), &json!("<script>alert(1)</script>")));
    let escaped = "%27%20OR%20%271%27=%271";
    let (_, found) = world.ask(&ann, "GET", &format!("/v1/me/history?reference={escaped}"), None).await;
    assert_eq!(found["items"], json!([]), "a reference that nothing has");
    for (path, field) in [
        (format!("/v1/me/history?cursor=1.{escaped}"), "cursor"),
        (format!("/v1/me/history?direction={escaped}"), "direction"),
        ("/v1/me/history?limit=0".to_owned(), "limit"),
        ("/v1/me/history?limit=201".to_owned(), "limit"),
        ("/v1/me/history?cursor=99999999999999999999.x".to_owned(), "cursor"),
        ("/v1/me/history?reference=a-text-of-more-than-16-bytes".to_owned(), "reference"),
    ] {
        let (status, answer) = world.ask(&ann, "GET", &path, None).await;
        assert_eq!((status, answer["field"].as_str()), (422, Some(field)), "{path}: {answer}");
    }
    for query in ["limit=-1", "limit=1&limit=2", "from_us=x", "from_us=-1", "to_us=18446744073709551616", "limit=%ff"] {
        let (status, answer) = world.ask(&ann, "GET", &format!("/v1/me/history?{query}"), None).await;
        assert_eq!((status, &answer["code"]), (400, &json!("malformed")), "{query}");
    }
    assert_eq!(world.ask(&till, "GET", &format!("/v1/intents?state={escaped}"), None).await.0, 422);
    // a note that a spreadsheet would carry out
    let signed = payment(&world.chain(), &pair, seller.public_key(), (1_000_000, 0), *b"=1+cmd|' /C x'!A");
    let paid = ann.write("POST", "/v1/payments", json!({ "transaction": signed })).await;
    ann.until(&format!("/v1/payments/{}", paid["txid"].as_str().unwrap()), "final", "true").await;
    let csv = String::from_utf8(ann.bytes("/v1/me/history.csv").await).unwrap();
    assert!(csv.contains(",'=1+cmd"), "{csv}");
    // addresses that keep a checksum, links that are none
    for account in
        ["shard1", &"0".repeat(63), "shard1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", "shardpay:x"]
    {
        let (status, answer) = world.ask(&ann, "GET", &format!("/v1/accounts/{account}"), None).await;
        assert_eq!((status, &answer["code"]), (422, &json!("bad_field")), "{account}");
    }
    for url in [
        "javascript:alert(1)",
        "data:text/html,x",
        "//x",
        "https://a:b@shop.example/",
        "x",
        &format!("https://x/{}", "x".repeat(500)),
    ] {
        let body = json!({ "amount": "1", "order_id": "o", "return_url": url }).to_string();
        assert_eq!(refused(&till, ("POST", "/v1/intents"), &body).await.2.as_deref(), Some("return_url"), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths() {
    let world = World::with(unlimited()).await;
    let (ann, _, _) = world.user("ann").await;
    for (path, status, code) in [
        ("/assets/..%2f..%2fCargo.toml", 404, "not_found"),
        ("/assets/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 404, "not_found"),
        ("/assets/..%5c..%5cCargo.toml", 404, "not_found"),
        ("/assets/wallet.js%00.css", 404, "not_found"),
        ("/assets/wallet.html", 404, "not_found"),
        ("/assets//etc/passwd", 404, "not_found"),
        ("/service.db", 404, "not_found"),
        ("/v1", 404, "not_found"),
        ("/v1/%ff", 404, "not_found"),
        ("/v1/users/%ff", 400, "malformed"),
        ("/v1/purchases/%00", 400, "malformed"),
        ("/v1/purchases/x%0d%0aSet-Cookie:a=b", 400, "malformed"),
        ("/v1/purchases/' OR '1'='1", 404, "not_found"),
        ("/v1/cash-outs/../../v1/me", 200, ""),
        ("/v1/transactions/zz", 422, "bad_field"),
        ("/v1/payments/0", 422, "bad_field"),
        ("/v1/checkout/x", 404, "not_found"),
    ] {
        let (status_found, answer) = ann.ask("GET", path, None, None).await;
        assert_eq!((status_found, answer["code"].as_str().unwrap_or("")), (status, code), "{path}");
    }
    for (method, path) in
        [("PATCH", "/v1/me"), ("TRACE", "/v1/me"), ("DELETE", "/v1/supply"), ("PUT", "/"), ("POST", "/supply")]
    {
        let (status, answer) = ann.ask(method, path, None, None).await;
        assert_eq!((status, &answer["code"]), (405, &json!("method_not_allowed")), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_of_it() {
    let world = World::with(Settings { rate: (20, 60), ..Settings::default() }).await;
    let (ann, _, _) = world.user("ann").await;
    let limited = async |asker: &Asker, forwarded: Option<&str>| {
        for _ in 0..400 {
            let mut request = asker.http.get(format!("{}/v1/health", asker.base));
            if let Some(address) = forwarded {
                request = request.header("X-Forwarded-For", address);
            }
            let answer = request.send().await.unwrap();
            if answer.status() == 429 {
                assert!(answer.headers().contains_key("retry-after"));
                return answer.json::<Value>().await.unwrap()["code"] == "rate_limited";
            }
        }
        false
    };
    assert!(limited(&Asker::new(&world.base), None).await, "an address asks too much");
    assert!(limited(&Asker::new(&world.base), Some("192.0.2.7")).await, "and cannot talk itself out of it");
    let behind =
        World::with(Settings { rate: (20, 60), proxies: vec!["127.0.0.1".parse().unwrap()], ..Settings::default() })
            .await;
    let stranger = Asker::new(&behind.base);
    assert!(limited(&stranger, Some("192.0.2.7")).await);
    let other =
        stranger.http.get(format!("{}/v1/health", behind.base)).header("X-Forwarded-For", "192.0.2.7, 192.0.2.8");
    assert_eq!(other.send().await.unwrap().status(), 200, "a proxy that is believed tells clients apart");
    drop(ann);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_streams() {
    let world = World::with(unlimited()).await;
    let (ann, _, _) = world.user("ann").await;
    let (_, till, _) = world.merchant("bob", None).await;
    let intent = till.write("POST", "/v1/intents", json!({ "amount": "1", "order_id": "o" })).await;
    let url = format!("{}/v1/checkout/{}/events", world.base, intent["id"].as_str().unwrap());
    let open = async || {
        let request = ann.http.get(&url).bearer_auth(ann.token.as_deref().unwrap());
        request.send().await.unwrap()
    };
    let mut streams = Vec::new();
    for _ in 0..32 {
        let mut stream = open().await;
        assert_eq!(stream.status(), 200);
        assert!(stream.chunk().await.unwrap().unwrap().starts_with(b"event: intent"), "the state at once");
        streams.push(stream);
    }
    let refused = open().await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "too_many_streams");
    streams.clear();
    while open().await.status() != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Sends bytes as they are; all that comes back until the peer closes, or has answered and is silent.
async fn raw(world: &World, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        // an answer is there within the first wait; the second one shows that no other follows
        let patience = std::time::Duration::from_millis(if answer.is_empty() { 5_000 } else { 100 });
        match tokio::time::timeout(patience, stream.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => break,
            Ok(Ok(count)) => answer.extend_from_slice(&buffer[..count]),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Statuses of all answers.
fn statuses(answer: &str) -> Vec<u16> {
    let lines = answer.match_indices("HTTP/1.1 ").map(|(at, _)| &answer[at + 9..at + 12]);
    lines.map(|status| status.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn smuggled_requests() {
    let world = World::with(unlimited()).await;
    let post = |headers: &str, body: &str| {
        format!("POST /v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n\r\n{body}")
    };
    let hidden = "GET /v1/me HTTP/1.1\r\nHost: x\r\n\r\n";
    let huge = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(5_000));
    let cases: Vec<(&str, String, Vec<u16>)> = vec![
        (
            "both lengths",
            post("Content-Length: 6\r\nTransfer-Encoding: chunked", &format!("0\r\n\r\n{hidden}")),
            vec![400],
        ),
        ("two lengths", post("Content-Length: 2\r\nContent-Length: 44", &format!("{{}}{hidden}")), vec![400]),
        ("a list of lengths", post("Content-Length: 2, 44", &format!("{{}}{hidden}")), vec![400]),
        ("a negative length", post("Content-Length: -1", ""), vec![400]),
        ("a signed length", post("Content-Length: +2", "{}"), vec![400]),
        ("a length of 2^64", post("Content-Length: 18446744073709551616", "{}"), vec![400]),
        ("another coding", post("Transfer-Encoding: xchunked", "0\r\n\r\n"), vec![400]),
        ("chunked, and not last", post("Transfer-Encoding: chunked, identity", "0\r\n\r\n"), vec![400]),
        ("a folded line", post("Content-Length: 2\r\nX: a\r\n b", "{}"), vec![400]),
        ("a blank before the colon", post("Content-Length : 2", "{}"), vec![400]),
        ("a NUL in a header", post("Content-Length: 2\r\nX: a\0b", "{}"), vec![400]),
        ("a CR in a header", post("Content-Length: 2\r\nX: a\rb", "{}"), vec![400]),
        ("a name without a line", "GET /v1/health\r\n\r\n".to_owned(), vec![400]),
        ("a header of 1 MiB", huge, vec![431]),
        ("5,000 headers", many, vec![431]),
        ("another protocol", "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03".to_owned(), vec![400]),
    ];
    for (what, request, wanted) in cases {
        let answer = raw(&world, request.as_bytes()).await;
        assert_eq!(statuses(&answer), wanted, "{what}: {answer}");
    }
    // one request after another on one connection is no attack
    let answer = raw(&world, format!("{}{hidden}", post("Content-Length: 2", "{}")).as_bytes()).await;
    assert_eq!(statuses(&answer), [400, 401], "{answer}");
    let chunked = post("Transfer-Encoding: chunked", &format!("2\r\n{{}}\r\n0\r\n\r\n{hidden}"));
    assert_eq!(statuses(&raw(&world, chunked.as_bytes()).await), [400, 401]);
    assert_eq!(statuses(&raw(&world, b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n").await), [200], "it lives");
}
