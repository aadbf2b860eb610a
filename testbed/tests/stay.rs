//! `testbed up --services`: a network that stays, with service, shop and demo app, walked as a buyer would.

mod common;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{TESTBED, experiments, show, testbed};
use serde_json::{Value, json};
use shardpay_client::service::{ServiceClient, bytes, field};
use shardpay_crypto::{Keypair, Signer as _, transaction_message};
use shardpay_keystore::{parse_amount, parse_reference};
use shardpay_run::{LoadResult, RunDir, read_acks, read_json, read_latencies};
use shardpay_types::{Codec as _, Payment, PublicKey, Sequence, Signature, SignedPayment, Timestamp, Transaction};

/// The link on the line that begins with `name`; the servers' states stand in the same text.
fn link(said: &str, name: &str) -> String {
    let lines = said.lines().filter_map(|line| line.trim_start().strip_prefix(&format!("{name} ")));
    let mut links = lines.filter_map(|rest| rest.split_whitespace().next()).filter(|word| word.starts_with("http://"));
    links.next().unwrap_or_else(|| panic!("no link to the {name}: {said}")).to_owned()
}

#[test]
fn a_buyer_shops_and_the_books_agree() {
    walk("local", "http://127.0.0.1:");
}

#[test]
#[ignore = "needs a Docker daemon; './shardpay test' runs it where there is one"]
fn a_buyer_shops_in_containers() {
    walk("docker", "http://10.");
}

fn walk(backend: &str, links: &str) {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = testbed(dir.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", show(&output));
        show(&output)
    };
    let spec = experiments().join("smoke.toml").display().to_string();
    let one = ["--services", "--backend", backend, "--set", "committees=1", "--set", "faults=[]", "--cluster", "stay"];
    let said = run(&[&["up", &spec], &one[..]].concat());
    for name in ["wallet", "shop", "checkout", "supply", "demo"] {
        assert!(link(&said, name).starts_with(links), "{said}");
    }
    assert!(said.contains("testbed down --cluster stay"), "{said}");
    let service = link(&said, "wallet");
    tokio::runtime::Runtime::new().unwrap().block_on(shop(&service, &link(&said, "shop")));

    let signaler = run(&["status"]).lines().find_map(|line| line.strip_prefix("signaler ")).expect("a line").to_owned();
    load(dir.path(), &service, signaler.split(' ').next().unwrap());

    let status = run(&["status"]);
    for server in ["service", "shop", "demo"] {
        let running = |line: &str| line.trim_start().starts_with(server) && line.contains("running");
        assert!(status.lines().any(running), "{server}: {status}");
    }
    assert!(run(&["logs", "service"]).lines().count() >= 1);
    run(&["down"]);
    assert_eq!(run(&["status"]).trim(), "");
    let gone = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(async { ServiceClient::new(&service, None).unwrap().get("/v1/health").await });
    assert!(gone.is_err(), "the service ended");
}

/// A load generator that pays through the service, and holds proofs of all that it was told.
fn load(dir: &Path, service: &str, signaler: &str) {
    let mut command = Command::new(Path::new(TESTBED).with_file_name("loadgen"));
    let spec = experiments().join("smoke.toml").display().to_string();
    command.args(["run", "--via", service, "--topology", signaler, "--spec", &spec, "--out", "load"]);
    for set in ["committees=1", "faults=[]", "duration_s=3", "load.accounts=12", "load.rate.per_second=20"] {
        command.args(["--set", set]);
    }
    let output = command.current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", show(&output));
    let files = RunDir::new(dir.join("load"));
    let result: LoadResult = read_json(&files.load_result(0)).unwrap();
    assert_eq!((result.offered, result.unresolved), (60, 0), "{result:?}");
    assert!(result.refusals.is_empty(), "{result:?}");
    assert_eq!(read_acks(&files.acks(0)).unwrap().acks.len() as u64, result.sent, "a proof for each");
    let latencies = read_latencies(&files.latencies(0)).unwrap();
    assert_eq!(latencies.iter().map(|interval| interval.latencies.len()).sum::<u64>(), result.sent);
}

/// Registers, buys coins, pays an order of the shop, and looks at the supply.
async fn shop(service: &str, shop: &str) {
    let mut buyer = ServiceClient::new(service, None).unwrap();
    let keypair = Keypair::from_seed(&[7; 32]);
    let user = buyer.register("buyer", "correct horse battery").await.unwrap();
    buyer.claim_key(&user, &keypair).await.unwrap();
    let card = json!({ "number": "4242424242424242", "expiry": "12/34", "cvc": "123", "holder": "Ann Buyer" });
    let purchase = buyer.post("/v1/purchases", &json!({ "amount": "50.00", "card": card })).await.unwrap();
    let path = format!("/v1/purchases/{}", field(&purchase, "id").unwrap());
    settled(&buyer, &path, |purchase| purchase["state"] == "done").await;

    let shop = ServiceClient::new(shop, None).unwrap();
    let order = shop.post("/api/orders", &json!({ "product": "tea" })).await.unwrap();
    let checkout = field(&order, "checkout_url").unwrap();
    let intent = checkout.rsplit('/').next().unwrap();
    let asked = buyer.get(&format!("/v1/checkout/{intent}")).await.unwrap();
    let account = buyer.get(&format!("/v1/accounts/{}", keypair.public_key())).await.unwrap();
    let body = Payment {
        sender: keypair.public_key(),
        recipient: PublicKey(bytes(field(&asked["merchant"], "public_key").unwrap()).unwrap()),
        amount: parse_amount(field(&asked["intent"], "amount").unwrap()).unwrap(),
        sequence: Sequence::new(account["next_sequence"].as_u64().unwrap()),
        valid_until: Timestamp::ZERO,
        reference: parse_reference(intent).unwrap(),
    };
    let unsigned = Transaction::Payment(SignedPayment { body, signature: Signature::ZERO });
    let signature = keypair.sign(&transaction_message(&buyer.chain().await.unwrap(), &unsigned));
    let transaction = hex::encode(Transaction::Payment(SignedPayment { body, signature }).to_bytes());
    buyer.post("/v1/payments", &json!({ "transaction": transaction })).await.unwrap();
    let path = format!("/api/orders/{}", field(&order, "order_id").unwrap());
    settled(&shop, &path, |order| order["state"] == "paid").await;

    let supply = settled(&buyer, "/v1/supply", |supply| supply["agrees"] == true).await;
    assert_eq!((&supply["minted"], &supply["minted_elsewhere"]), (&json!("50.000000"), &json!("0.000000")), "{supply}");
}

async fn settled(client: &ServiceClient, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = client.get(path).await;
        match answer {
            Ok(answer) if wanted(&answer) => return answer,
            answer => assert!(Instant::now() < deadline, "{path} within a minute: {answer:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
