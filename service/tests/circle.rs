//! The circle against real nodes: register → buy → pay a shop → cash out → the supply agrees; and kill −9.
//!
//! The programs node, signaler and testbed must lie beside the service; cargo builds only this package's own
//! programs for a test, so `./shardpay test` builds all of them first.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Asker, card, cash_out, idempotency_key, pair_in, payment};
use serde_json::{Value, json};
use shardpay_client::ReceiptFile;
use shardpay_crypto::{Signer as _, chain_id};
use shardpay_service::merchant::webhooks;
use shardpay_types::{ChainId, Codec as _, Plan};

const SERVICE: &str = env!("CARGO_BIN_EXE_service");
const PAID: &str = "DE89370400440532013000";
const REFUSED: &str = "GB33BUKB20201555555555";

fn programs() -> &'static Path {
    Path::new(SERVICE).parent().expect("a directory")
}

/// A cluster that ends with the test.
struct Cluster {
    dir: tempfile::TempDir,
    signaler: String,
}

impl Cluster {
    fn testbed(dir: &Path, arguments: &[&str]) -> Output {
        for name in ["testbed", "node", "signaler", "loadgen"] {
            let path = programs().join(name);
            assert!(path.is_file(), "{} is missing: 'cargo build --release --workspace --bins' first", path.display());
        }
        let mut command = Command::new(programs().join("testbed"));
        command.env("SHARDPAY_STATE_DIR", dir.join("state")).current_dir(dir).stdin(Stdio::null());
        let output = command.args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "testbed {arguments:?}: {text}");
        output
    }

    fn up(committees: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/smoke.toml");
        let (spec, out) = (spec.display().to_string(), dir.path().join("run").display().to_string());
        let size = format!("committees={committees}");
        Self::testbed(dir.path(), &["up", &spec, "--out", &out, "--set", &size, "--set", "faults=[]"]);
        let status = Self::testbed(dir.path(), &["status"]);
        let text = String::from_utf8_lossy(&status.stdout).into_owned();
        let signaler = text.split_whitespace().find(|word| word.starts_with("http://"));
        Self { signaler: signaler.unwrap_or_else(|| panic!("no signaler in {text}")).to_owned(), dir }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("run").join(name)
    }

    fn genesis(&self) -> Plan {
        Plan::from_bytes(&std::fs::read(self.file("genesis.plan")).unwrap()).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        Self::testbed(self.dir.path(), &["down"]);
    }
}

/// A service process that ends with the test.
struct Service {
    child: Child,
    base: String,
}

impl Service {
    fn start(cluster: &Cluster, tls: &str) -> Self {
        let data = cluster.dir.path().join("service");
        let _ = std::fs::remove_file(data.join("address"));
        let log =
            std::fs::File::options().create(true).append(true).open(cluster.dir.path().join("service.log")).unwrap();
        let mut command = Command::new(SERVICE);
        command.arg("run").args(["--listen", "127.0.0.1:0", "--webhook-private", "--tls", tls]);
        command.args(["--topology", &cluster.signaler]);
        command.arg("--genesis").arg(cluster.file("genesis.plan"));
        command.arg("--issuer-seed").arg(cluster.file("issuer.seed"));
        command.arg("--data-dir").arg(&data).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let addr = loop {
            if let Ok(addr) = std::fs::read_to_string(data.join("address")) {
                break addr;
            }
            let log = || std::fs::read_to_string(cluster.dir.path().join("service.log")).unwrap_or_default();
            assert!(child.try_wait().unwrap().is_none(), "the service ended: {}", log());
            assert!(Instant::now() < deadline, "the service does not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        };
        let scheme = if tls == "off" { "http" } else { "https" };
        Self { child, base: format!("{scheme}://{addr}") }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A shop's ear: remembers each webhook's signature header and body.
async fn listen() -> (String, Arc<Mutex<Vec<(String, String)>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = heard.clone();
    let handler = async move |headers: axum::http::HeaderMap, body: String| {
        let header = headers.get(webhooks::SIGNATURE_HEADER).and_then(|value| value.to_str().ok());
        ear.lock().unwrap().push((header.unwrap_or_default().to_owned(), body));
    };
    let router = axum::Router::new().route("/hook", axum::routing::post(handler));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, heard)
}

async fn buy(asker: &Asker, amount: &str, number: &str) -> Value {
    let body = json!({ "amount": amount, "card": card(number) });
    let purchase = asker.write("POST", "/v1/purchases", body).await;
    let path = format!("/v1/purchases/{}", purchase["id"].as_str().unwrap());
    asker.until(&path, "final", "true").await
}

async fn sequence(asker: &Asker) -> u64 {
    asker.get("/v1/me/balance").await["next_sequence"].as_u64().unwrap()
}

fn coins(amount: f64) -> u64 {
    (amount * 1e6) as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn from_card_to_bank_and_through_a_kill() {
    let cluster = Cluster::up(2);
    let plan = cluster.genesis();
    let chain = chain_id(&plan);
    let mut service = Service::start(&cluster, "off");
    let stranger = Asker::new(&service.base);
    stranger.until("/v1/ready", "ready", "true").await;

    let (ann_pair, bob_pair) = (pair_in(&plan, 0, "ann"), pair_in(&plan, 1, "bob"));
    let (mut ann, mut bob) = (stranger.clone(), stranger.clone());
    ann.register("ann", &chain, &ann_pair).await;
    bob.register("bob", &chain, &bob_pair).await;

    // buying: approved, declined, answer lost
    let purchase = buy(&ann, "25.00", "4242 4242 4242 4242").await;
    assert_eq!(purchase["state"], "done", "{purchase}");
    assert_eq!(buy(&ann, "9.99", "4000 0000 0000 0002").await["error"], "card_declined");
    assert_eq!(buy(&ann, "5.00", "4000 0000 0000 6975").await["state"], "done");
    ann.until("/v1/me/balance", "balance", "30.000000").await;

    // a shop sells
    let (hook, heard) = listen().await;
    bob.write("PUT", "/v1/merchant", json!({ "display_name": "Bob's shop", "webhook_url": hook })).await;
    let secret =
        bob.write("POST", "/v1/merchant/webhook-secret", json!({})).await["secret"].as_str().unwrap().to_owned();
    let key = bob.write("POST", "/v1/merchant/keys", json!({ "label": "till" })).await;
    let mut till = stranger.clone();
    till.token = Some(key["secret"].as_str().unwrap().to_owned());
    let order = json!({ "amount": "10", "order_id": "order-1", "description": "a book" });
    let intent = till.write("POST", "/v1/intents", order).await["id"].as_str().unwrap().to_owned();
    let checkout = stranger.get(&format!("/v1/checkout/{intent}")).await;
    assert!(checkout["link"].as_str().unwrap().starts_with("shardpay:shard1"), "{checkout}");
    let reference: [u8; 16] = hex::decode(&intent).unwrap().try_into().unwrap();
    let signed = payment(&chain, &ann_pair, bob_pair.public_key(), (coins(10.0), sequence(&ann).await), reference);
    let paid = ann.write("POST", "/v1/payments", json!({ "transaction": signed })).await;
    let txid = paid["txid"].as_str().unwrap().to_owned();
    let done = ann.until(&format!("/v1/payments/{txid}"), "state", "credited").await;
    println!("payment certified after {} ms", done["latency_ms"]);
    let shown = till.until(&format!("/v1/intents/{intent}"), "state", "paid").await;
    assert_eq!(shown["payments"][0]["txid"], txid.as_str());
    check_webhook(&heard, &secret).await;
    check_receipt(&ann, &txid, &plan).await;

    // the same sequence from another device: refused at once
    let twin = payment(&chain, &ann_pair, bob_pair.public_key(), (coins(1.0), 0), [0; 16]);
    assert_eq!(ann.refused("POST", "/v1/payments", json!({ "transaction": twin })).await, "sequence_used");

    refund_and_cash_out(&bob, &till, &chain, (&ann_pair, &bob_pair), &intent).await;
    ann.until("/v1/me/balance", "balance", "22.000000").await;

    the_shop_sells(&cluster, &ann, &bob, &chain, (&ann_pair, &bob_pair)).await;
    let bought = 4.5;

    // killed right after it took a payment: the outbox brings it to the ledger
    let signed = payment(&chain, &ann_pair, bob_pair.public_key(), (coins(3.0), sequence(&ann).await), [0; 16]);
    let (write, body) = (idempotency_key(), json!({ "transaction": signed }));
    let (status, taken) = ann.ask("POST", "/v1/payments", Some(body.clone()), Some(&write)).await;
    assert_eq!(status, 202);
    service.kill();
    let service = Service::start(&cluster, "self-made");
    let trusting = over_tls(&cluster, &service).await;
    for asker in [&mut ann, &mut bob] {
        asker.base.clone_from(&service.base);
        asker.http = trusting.clone();
    }
    let path = format!("/v1/payments/{}", taken["txid"].as_str().unwrap());
    ann.until(&path, "state", "credited").await;
    let (status, again) = ann.ask("POST", "/v1/payments", Some(body), Some(&write)).await;
    assert_eq!((status, &again["txid"]), (202, &taken["txid"]), "the stored answer");
    ann.until("/v1/me/balance", "balance", &format!("{:.6}", 19.0 - bought)).await;

    let supply = ann.until("/v1/supply", "agrees", "true").await;
    assert_eq!(supply["minted"], "31.000000", "30 bought, 1 given back: {supply}");
    assert_eq!(supply["burned"], "6.000000");
    assert_eq!(supply["bank_balance"], "25.000000");
    assert_eq!(supply["minted_elsewhere"], "0.000000");
    let csv = String::from_utf8(ann.bytes("/v1/me/history.csv").await).unwrap();
    assert_eq!(csv.lines().count(), 1 + 6, "two mints, three payments, a refund: {csv}");
    let entries = ann.get("/v1/me/history?direction=out&limit=1").await;
    assert!(entries["items"].as_array().unwrap().len() == 1 && entries["next_cursor"].is_string(), "{entries}");
}

/// The service answers with the certificate that it made, and cookies stay on such connections; a client that trusts it.
async fn over_tls(cluster: &Cluster, service: &Service) -> reqwest::Client {
    use std::os::unix::fs::PermissionsExt as _;
    let file = |name: &str| cluster.dir.path().join("service").join(name);
    assert_eq!(std::fs::metadata(file("tls.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let certificate = reqwest::Certificate::from_pem(&std::fs::read(file("tls.crt")).unwrap()).unwrap();
    let trusting = reqwest::Client::builder().no_proxy().tls_certs_only([certificate]).build().unwrap();
    let login = json!({ "name": "ann", "password": "correct horse battery" });
    let url = format!("{}/v1/session", service.base);
    let answer = trusting.post(&url).json(&login).send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-session=c_") && cookie.contains("; Secure"), "{cookie}");
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(plain.get(&url).send().await.is_err(), "a stranger's certificate");
    let unprotected = plain.get(url.replacen("https:", "http:", 1)).send().await;
    assert!(unprotected.is_err(), "nothing is said without TLS");
    trusting
}

/// The demo shop as a program of its own: an order, its payment, its webhook.
async fn the_shop_sells(
    cluster: &Cluster,
    ann: &Asker,
    bob: &Asker,
    chain: &ChainId,
    (pair, shop_pair): (&shardpay_crypto::Keypair, &shardpay_crypto::Keypair),
) {
    let dir = cluster.dir.path();
    let secret = bob.write("POST", "/v1/merchant/webhook-secret", json!({})).await;
    let key = bob.write("POST", "/v1/merchant/keys", json!({ "label": "shop" })).await;
    std::fs::write(dir.join("shop.key"), key["secret"].as_str().unwrap()).unwrap();
    std::fs::write(dir.join("shop.secret"), secret["secret"].as_str().unwrap()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
    command.args(["--listen", "127.0.0.1:0", "--service", &ann.base]).stdout(Stdio::null());
    command.arg("--key-file").arg(dir.join("shop.key")).arg("--webhook-secret-file").arg(dir.join("shop.secret"));
    let child = command.arg("--address-file").arg(dir.join("shop.addr")).spawn().unwrap();
    let mut shop = Service { child, base: String::new() };
    let deadline = Instant::now() + Duration::from_secs(10);
    shop.base = loop {
        match std::fs::read_to_string(dir.join("shop.addr")) {
            Ok(addr) if !addr.is_empty() => break format!("http://{addr}"),
            _ => assert!(Instant::now() < deadline, "the shop does not start"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let hook = json!({ "display_name": "Bob's shop", "webhook_url": format!("{}/webhook", shop.base) });
    bob.write("PUT", "/v1/merchant", hook).await;
    let visitor = Asker::new(&shop.base);
    let order = visitor.write("POST", "/api/orders", json!({ "product": "tea" })).await;
    let intent = order["checkout_url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let reference: [u8; 16] = hex::decode(&intent).unwrap().try_into().unwrap();
    let signed = payment(chain, pair, shop_pair.public_key(), (coins(4.5), sequence(ann).await), reference);
    ann.write("POST", "/v1/payments", json!({ "transaction": signed })).await;
    visitor.until(&format!("/api/orders/{}", order["order_id"].as_str().unwrap()), "state", "paid").await;
    let forged = visitor.http.post(format!("{}/webhook", shop.base)).header(webhooks::SIGNATURE_HEADER, "t=1,v1=00");
    assert_eq!(forged.body("{}").send().await.unwrap().status(), 401);
}

async fn check_webhook(heard: &Mutex<Vec<(String, String)>>, secret: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while heard.lock().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "no webhook");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (header, body) = heard.lock().unwrap()[0].clone();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(webhooks::verify(secret, &header, &body, now), "{header}");
    assert!(body.contains("intent.paid"), "{body}");
}

async fn check_receipt(asker: &Asker, txid: &str, plan: &Plan) {
    let bytes = asker.bytes(&format!("/v1/payments/{txid}/receipt")).await;
    let mut file = ReceiptFile::read(&bytes).unwrap();
    let proven = file.verify(plan).unwrap();
    assert_eq!(proven.facts.txid.to_string(), txid);
    assert!(proven.credit.is_some(), "the payee's committee certified it");
    let mut other = plan.clone();
    other.salt[0] ^= 1;
    assert!(file.verify(&other).is_err(), "another ledger");
    file.receipt.0.executed.accounts = Default::default();
    assert!(file.verify(plan).is_err(), "a changed receipt");
}

async fn refund_and_cash_out(
    bob: &Asker,
    till: &Asker,
    chain: &ChainId,
    (ann, pair): (&shardpay_crypto::Keypair, &shardpay_crypto::Keypair),
    intent: &str,
) {
    let reference: [u8; 16] = hex::decode(intent).unwrap().try_into().unwrap();
    let path = format!("/v1/intents/{intent}/refunds");
    let too_much = payment(chain, pair, ann.public_key(), (coins(11.0), sequence(bob).await), reference);
    assert_eq!(till.refused("POST", &path, json!({ "transaction": too_much })).await, "refund_too_large");
    let refund = payment(chain, pair, ann.public_key(), (coins(2.0), sequence(bob).await), reference);
    till.write("POST", &path, json!({ "transaction": refund })).await;
    till.until(&format!("/v1/intents/{intent}"), "refunded", "2.000000").await;

    let body = cash_out(chain, pair, (coins(5.0), sequence(bob).await), PAID);
    let txid = bob.write("POST", "/v1/cash-outs", body).await["id"].as_str().unwrap().to_owned();
    bob.until(&format!("/v1/cash-outs/{txid}"), "state", "paid").await;
    let xml = String::from_utf8(bob.bytes(&format!("/v1/cash-outs/{txid}/pain001.xml")).await).unwrap();
    assert!(xml.contains("<IBAN>DE89370400440532013000</IBAN>") && xml.contains(">5.00<"), "{xml}");
    bob.until("/v1/me/balance", "balance", "3.000000").await;
    let body = cash_out(chain, pair, (coins(1.0), sequence(bob).await), REFUSED);
    let txid = bob.write("POST", "/v1/cash-outs", body).await["id"].as_str().unwrap().to_owned();
    bob.until(&format!("/v1/cash-outs/{txid}"), "state", "returned").await;
    bob.until("/v1/me/balance", "balance", "3.000000").await;
}
