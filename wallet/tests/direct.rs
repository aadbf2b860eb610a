//! The wallet against a real cluster, without a service: two committees of four nodes, as processes.
//!
//! The programs testbed, node, signaler and loadgen must lie beside the wallet; cargo builds only this
//! package's own programs for a test, so `./shardpay test` builds all of them first.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Home, repository, shown, text};
use shardpay_client::signaler::SignalerClient;
use shardpay_client::{Client, Directory};
use shardpay_crypto::{Keypair, Signer as _, transaction_message};
use shardpay_keystore::Address;
use shardpay_types::{Amount, Codec as _, DepositRef, Mint, Plan, Signature, SignedMint, Transaction};

/// A cluster that ends with the test.
struct Cluster {
    dir: tempfile::TempDir,
    signaler: String,
}

impl Cluster {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let spec = repository().join("experiments/smoke.toml");
        let out = dir.path().join("run");
        let (spec, out) = (spec.to_str().expect("text"), out.to_str().expect("text"));
        testbed(dir.path(), &["up", spec, "--out", out, "--set", "faults=[]", "--cluster", "wallet"]);
        let status = testbed(dir.path(), &["status"]);
        let line = status.lines().find_map(|line| line.strip_prefix("signaler ")).expect("a line about the signaler");
        let signaler = line.split(' ').next().expect("a URL").to_owned();
        Self { dir, signaler }
    }

    fn genesis(&self) -> PathBuf {
        self.dir.path().join("run/genesis.plan")
    }

    /// Gives coins to an account, as the issuer.
    async fn mint(&self, recipient: Address, coins: u64, deposit: u8) {
        let seed = std::fs::read_to_string(self.dir.path().join("run/issuer.seed")).expect("the issuer's seed");
        let mut bytes = [0; 32];
        hex::decode_to_slice(seed.trim(), &mut bytes).expect("hexadecimal");
        let genesis = Plan::from_bytes(&std::fs::read(self.genesis()).expect("genesis")).expect("a plan");
        let topology = SignalerClient::new(&self.signaler).expect("a URL").topology().await.expect("it answers");
        let client = Client::new(genesis, Directory::from_topology(&topology)).expect("they fit");
        let amount = Amount::from_micros(coins * 1_000_000);
        let body = Mint { recipient: recipient.0, amount, deposit_ref: DepositRef([deposit; 32]) };
        let unsigned = Transaction::Mint(SignedMint { body, signature: Signature::ZERO });
        let signature = Keypair::from_seed(&bytes).sign(&transaction_message(client.chain(), &unsigned));
        let mint = Transaction::Mint(SignedMint { body, signature });
        client.pay_and_wait(mint, true, Duration::from_secs(60)).await.expect("the mint is certified");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        testbed(self.dir.path(), &["down"]);
    }
}

fn testbed(dir: &Path, arguments: &[&str]) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_wallet")).with_file_name("testbed");
    assert!(program.is_file(), "{} is missing: 'cargo build --release --workspace --bins' first", program.display());
    let mut command = Command::new(program);
    command.env("SHARDPAY_STATE_DIR", dir.join("state")).args(arguments).current_dir(dir).stdin(Stdio::null());
    let output = command.output().expect("the testbed starts");
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", shown(&output));
    shown(&output)
}

#[test]
fn pays_directly_and_proves_it_offline() {
    let cluster = Cluster::start();
    let (alice, bob) = (Home::new(), Home::new());
    let of = |made: &serde_json::Value| text(made, "address").parse::<Address>().expect("an address");
    let (from, to) = (of(&alice.json(&["new"])), of(&bob.json(&["new"])));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(cluster.mint(from, 100, 1));

    let genesis = cluster.genesis();
    let genesis = genesis.to_str().expect("text");
    let direct = ["--signaler", &cluster.signaler, "--genesis", genesis];
    let balance = |home: &Home| text(&home.json(&[&["balance"], &direct[..]].concat()), "balance").to_owned();
    assert_eq!(balance(&alice), "100.000000");

    let receipt = alice.path("receipt.json");
    let receipt = receipt.to_str().expect("text");
    let to = to.to_string();
    let pay = |amount: &'static str| [&["pay", to.as_str(), amount, "--reference", "rent"], &direct[..]].concat();
    let paid = alice.json(&[&pay("12.5")[..], &["--receipt", receipt]].concat());
    assert_eq!(paid["credited"], true, "{paid}");
    assert_eq!((balance(&alice), balance(&bob)), ("87.500000".to_owned(), "12.500000".to_owned()));

    assert!(alice.fails(3, &pay("1000")).contains("87.500000"));
    assert!(alice.fails(2, &[&["pay", "bob", "1"], &direct[..]].concat()).contains("known to a service only"));

    let proof = alice.json(&["verify-receipt", receipt, "--genesis", genesis]);
    assert_eq!((text(&proof, "amount"), text(&proof, "reference")), ("12.500000", "rent"));
    assert_eq!((text(&proof, "txid"), text(&proof, "recipient")), (text(&paid, "txid"), to.as_str()));
    assert_eq!((text(&proof, "outcome"), text(&proof, "kind")), ("applied", "payment"));

    forged_receipts_are_refused(&alice, receipt, genesis);
}

/// Flips digits all over the proofs: whatever still verifies (a certificate may have more signatures than it
/// needs) must say exactly the same.
fn forged_receipts_are_refused(home: &Home, receipt: &str, genesis: &str) {
    let good = std::fs::read_to_string(receipt).expect("the receipt");
    let proven = home.json(&["verify-receipt", receipt, "--genesis", genesis]);
    let end = good.find("\"summary\"").expect("the readable part comes last");
    let hexadecimal = |range: &str| range.bytes().all(|byte| byte.is_ascii_hexdigit());
    let places: Vec<usize> = (8..end).filter(|place| hexadecimal(&good[place - 8..place + 8])).collect();
    let mut refused = 0;
    for place in places.iter().copied().step_by(places.len() / 40) {
        let other = if good.as_bytes()[place] == b'1' { "2" } else { "1" };
        let forged = home.write("forged.json", &format!("{}{other}{}", &good[..place], &good[place + 1..]));
        let output = home.run(&["verify-receipt", forged.to_str().expect("text"), "--genesis", genesis, "--json"]);
        match output.status.code() {
            Some(0) => assert_eq!(serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON"), proven),
            code => {
                assert_eq!(code, Some(5), "{}", shown(&output));
                refused += 1;
            }
        }
    }
    assert!(refused > 20, "only {refused} forgeries were refused");
    // another ledger's genesis plan proves nothing either
    let mut other = Plan::from_bytes(&std::fs::read(genesis).expect("genesis")).expect("a plan");
    other.salt[0] ^= 1;
    let path = home.path("other.bin");
    std::fs::write(&path, other.to_bytes()).expect("ours");
    let error = home.fails(5, &["verify-receipt", receipt, "--genesis", path.to_str().expect("text")]);
    assert!(error.contains("ledger"), "{error}");
}
