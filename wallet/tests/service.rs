//! Every command through a real service over a real network, as a user types it.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::{Home, repository, shown, text};
use serde_json::Value;

const PASSWORD: &str = "a password for the service";
/// Cards that are approved and declined.
const GOOD: &str = "4242424242424242";
const DECLINED: &str = "4000000000000002";

/// A network with a service, until it is dropped.
struct Network {
    dir: tempfile::TempDir,
    service: String,
}

impl Network {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let spec = repository().join("experiments/smoke.toml");
        let spec = spec.to_str().expect("text");
        let arguments = ["up", spec, "--services", "--out", "run", "--set", "faults=[]", "--cluster", "wallet"];
        let said = testbed(dir.path(), &arguments);
        let line = said.lines().find_map(|line| line.trim_start().strip_prefix("wallet "));
        let service = line.and_then(|rest| rest.split_whitespace().next()).expect("a link").to_owned();
        Self { dir, service }
    }

    fn genesis(&self) -> String {
        self.dir.path().join("run/genesis.plan").display().to_string()
    }
}

impl Drop for Network {
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
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Somebody with a wallet and an account at the service.
struct Person {
    home: Home,
    name: &'static str,
    service: String,
}

impl Person {
    fn new(network: &Network, name: &'static str) -> Self {
        let person = Self { home: Home::new(), name, service: network.service.clone() };
        person.home.write("password", PASSWORD);
        person
    }

    fn registered(network: &Network, name: &'static str) -> Self {
        let person = Self::new(network, name);
        person.home.json(&["new"]);
        let made = person.json(&["register"]);
        assert_eq!(text(&made, "name"), name);
        person
    }

    /// The command with service, name and password.
    fn arguments<'a>(&'a self, arguments: &[&'a str], password: &'a str) -> Vec<&'a str> {
        [arguments, &["--service", &self.service, "--user", self.name, "--password-file", password]].concat()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let password = self.home.path("password").display().to_string();
        self.home.json(&self.arguments(arguments, &password))
    }

    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let password = self.home.path("password").display().to_string();
        self.home.fails(code, &self.arguments(arguments, &password))
    }

    fn prints(&self, arguments: &[&str]) -> String {
        let password = self.home.path("password").display().to_string();
        let output = self.home.run(&self.arguments(arguments, &password));
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", shown(&output));
        String::from_utf8(output.stdout).expect("text")
    }

    fn card(&self, number: &str) -> String {
        let card = serde_json::json!({ "number": number, "expiry": "12/34", "cvc": "123", "holder": "Ann Buyer" });
        self.home.write("card.json", &card.to_string()).display().to_string()
    }

    fn balance(&self) -> String {
        text(&self.json(&["balance"]), "balance").to_owned()
    }

    fn address(&self) -> String {
        text(&self.home.json(&["address"]), "address").to_owned()
    }
}

#[test]
fn a_user_lives_with_every_command() {
    let network = Network::start();
    let (alice, bob) = (Person::registered(&network, "alice"), Person::registered(&network, "bob"));
    buys(&alice);
    pays(&network, &alice, &bob);
    looks_back(&alice, &bob);
    cashes_out(&bob);
    is_the_same_elsewhere(&network, &alice, &bob);
}

fn buys(alice: &Person) {
    assert_eq!(alice.balance(), "0.000000");
    let declined = alice.card(DECLINED);
    assert!(alice.fails(3, &["buy", "50", "--card-file", &declined]).contains("card_declined"));
    let wrong = alice.card("4242424242424241");
    assert!(alice.fails(3, &["buy", "50", "--card-file", &wrong]).contains("bad_card"));
    assert!(alice.fails(2, &["buy", "0.001", "--card-file", &wrong]).contains("whole cents"));
    let card = alice.card(GOOD);
    let bought = alice.json(&["buy", "50", "--card-file", &card]);
    assert_eq!((text(&bought, "state"), text(&bought, "amount")), ("done", "50.000000"));
    assert_eq!(alice.balance(), "50.000000");
}

fn pays(network: &Network, alice: &Person, bob: &Person) {
    let genesis = network.genesis();
    let receipt = alice.home.path("receipt.json").display().to_string();
    let by_name =
        alice.json(&["pay", "bob", "12.50", "--reference", "rent", "--genesis", &genesis, "--receipt", &receipt]);
    assert_eq!((text(&by_name, "recipient"), &by_name["credited"]), (bob.address().as_str(), &Value::Bool(true)));
    let proof = alice.home.json(&["verify-receipt", &receipt, "--genesis", &genesis]);
    assert_eq!((text(&proof, "amount"), text(&proof, "reference")), ("12.500000", "rent"));
    assert_eq!(text(&proof, "txid"), text(&by_name, "txid"));

    alice.json(&["pay", &bob.address(), "1"]);
    let link = bob.home.json(&["address", "--amount", "2.25", "--reference", "order 7"]);
    let by_link = alice.json(&["pay", text(&link, "link")]);
    assert_eq!(text(&by_link, "amount"), "2.250000");
    assert_eq!((alice.balance(), bob.balance()), ("34.250000".to_owned(), "15.750000".to_owned()));

    let typo = bob.address().replace("shard1", "shard1q");
    assert_eq!(alice.fails(2, &["pay", &typo, "1"]).lines().count(), 1);
    assert!(alice.fails(3, &["pay", "nobody", "1"]).contains("not_found"));
    assert!(alice.fails(3, &["pay", "bob", "1000"]).contains("short_balance"));
    assert!(alice.fails(1, &["pay", "bob", "1", "--genesis", "/absent"]).contains("/absent"));
    alice.home.write("passphrase", "not the passphrase");
    assert!(alice.fails(4, &["pay", "bob", "1"]).contains("wrong passphrase"));
    alice.home.write("passphrase", common::PASSPHRASE);
    alice.home.write("password", "not the password at all");
    assert!(alice.fails(3, &["pay", "bob", "1"]).contains("wrong_credentials"));
    alice.home.write("password", PASSWORD);
    assert_eq!(alice.balance(), "34.250000", "whatever was refused moved nothing");
}

fn looks_back(alice: &Person, bob: &Person) {
    let of = |person: &Person, arguments: &[&str]| {
        let answer = person.json(&[&["history"], arguments].concat());
        let entries = answer.as_array().or(answer["items"].as_array()).expect("a list of entries").clone();
        entries.iter().map(|entry| text(entry, "amount").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(alice, &[]), ["2.250000", "1.000000", "12.500000", "50.000000"]);
    assert_eq!(of(alice, &["--direction", "in"]), ["50.000000"]);
    assert_eq!(of(alice, &["--reference", "rent"]), ["12.500000"]);
    assert_eq!(of(alice, &["--limit", "2"]), ["2.250000", "1.000000"]);
    assert_eq!(of(bob, &["--direction", "in"]), ["2.250000", "1.000000", "12.500000"]);
    assert!(of(bob, &["--direction", "out"]).is_empty());
    let csv = alice.prints(&["history", "--direction", "out", "--csv"]);
    assert_eq!(csv.lines().count(), 4, "a header and three payments: {csv}");
    assert!(csv.contains("order 7") && csv.contains("bob"), "{csv}");
}

fn cashes_out(bob: &Person) {
    let iban = "DE89 3704 0044 0532 0130 00";
    let cash_out = |amount, iban| ["cash-out", amount, "--iban", iban, "--holder", "Bob Vendor"];
    assert!(bob.fails(3, &cash_out("5", "DE89 3704 0044 0532 0130 01")).contains("bad_iban"));
    let paid = bob.json(&cash_out("5", iban));
    assert_eq!((text(&paid, "state"), text(&paid, "amount")), ("paid", "5.000000"));
    assert_eq!(bob.balance(), "10.750000");
    let refused = bob.fails(3, &cash_out("3", "GB33 BUKB 2020 1555 5555 55"));
    assert!(refused.contains("your coins are back"), "{refused}");
    assert_eq!(bob.balance(), "10.750000", "the bank refused");
    assert!(bob.fails(3, &cash_out("100", iban)).contains("short_balance"));
}

/// The same key on another device, by words and by file; and two devices that sign at the same time.
fn is_the_same_elsewhere(network: &Network, alice: &Person, bob: &Person) {
    let words = alice.home.json(&["export", "--words"]);
    let tablet = Person::new(network, "alice");
    let file = tablet.home.write("words", text(&words, "mnemonic")).display().to_string();
    tablet.home.json(&["restore", "--words-file", &file]);
    let copy = alice.home.path("copy.json").display().to_string();
    alice.home.json(&["export", "--to", &copy]);
    let phone = Person::new(network, "alice");
    phone.home.json(&["restore", "--from", &copy]);
    assert_eq!((tablet.address(), phone.balance()), (alice.address(), "34.250000".to_owned()));

    // whoever comes second with a sequence signs again with the next one
    std::thread::scope(|scope| {
        let both = [&tablet, &phone].map(|device| scope.spawn(move || device.json(&["pay", "bob", "1"])));
        for paid in both {
            paid.join().expect("both devices pay in the end");
        }
    });
    assert_eq!((alice.balance(), bob.balance()), ("32.250000".to_owned(), "12.750000".to_owned()));
    let stranger = Person::new(network, "alice");
    stranger.home.json(&["new"]);
    assert!(stranger.fails(3, &["pay", "bob", "1"]).contains("another wallet"));
    assert!(stranger.fails(3, &["register"]).contains("name_taken"));
}
