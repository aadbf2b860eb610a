//! What the wallet does without a network.

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::{Home, repository, shown, text};
use serde_json::Value;

fn vectors() -> Value {
    let bytes = std::fs::read(repository().join("docs/vectors/keystore.json")).expect("vectors");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[test]
fn a_new_wallet_can_be_restored_from_its_words() {
    let home = Home::new();
    let made = home.json(&["new"]);
    assert_eq!(text(&made, "mnemonic").split(' ').count(), 24);
    let mode = std::fs::metadata(home.path("keystore.json")).expect("the keystore").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let on_disk = std::fs::read_to_string(home.path("keystore.json")).expect("text");
    let words: Vec<&str> = text(&made, "mnemonic").split(' ').collect();
    assert!(words.windows(2).all(|two| !on_disk.contains(&two.join(" "))), "no words on disk");
    let left: Vec<_> =
        std::fs::read_dir(home.dir.path()).expect("ours").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 2, "no temporary files: {left:?}");

    let other = Home::new();
    let words_file = other.write("words", text(&made, "mnemonic"));
    let restored = other.json(&["restore", "--words-file", words_file.to_str().expect("text")]);
    assert_eq!(text(&restored, "address"), text(&made, "address"));
    assert_eq!(text(&other.json(&["export", "--words"]), "mnemonic"), text(&made, "mnemonic"));
    assert_eq!(text(&other.json(&["address"]), "address"), text(&made, "address"));

    let second = Home::new();
    let words_file = second.write("words", text(&made, "mnemonic"));
    let account = second.json(&["restore", "--account", "1", "--words-file", words_file.to_str().expect("text")]);
    assert_ne!(text(&account, "address"), text(&made, "address"), "another account has another key");
}

#[test]
fn a_keystore_is_never_overwritten() {
    let home = Home::new();
    home.json(&["new"]);
    let before = std::fs::read(home.path("keystore.json")).expect("the keystore");
    assert!(home.fails(2, &["new"]).contains("never overwritten"));
    let words = home.write("words", &vectors()["wallets"][0]["mnemonic"].to_string().replace('"', ""));
    assert!(home.fails(2, &["restore", "--words-file", words.to_str().expect("text")]).contains("never overwritten"));
    assert!(home.fails(2, &["export", "--to", words.to_str().expect("text")]).contains("never overwritten"));
    assert_eq!(std::fs::read(home.path("keystore.json")).expect("the keystore"), before);
}

#[test]
fn keystores_of_the_vectors_open() {
    for wallet in vectors()["wallets"].as_array().expect("a list") {
        let home = Home::new();
        home.write("passphrase", text(wallet, "passphrase"));
        let file = home.write("browser.json", &wallet["keystore"].to_string());
        let restored = home.json(&["restore", "--from", file.to_str().expect("text")]);
        assert_eq!(text(&restored, "address"), text(wallet, "address"));
        assert_eq!(text(&home.json(&["export", "--words"]), "mnemonic"), text(wallet, "mnemonic"));
    }
}

#[test]
fn what_is_wrong_with_words_and_files_is_said() {
    let home = Home::new();
    let restore = |text: &str| {
        let words = home.write("words", text);
        home.fails(4, &["restore", "--words-file", words.to_str().expect("text")])
    };
    assert!(restore("abandon abandon").contains("24 words"));
    assert!(restore(&"abandon ".repeat(24)).contains("do not belong together"));
    assert!(restore(&format!("{}wrongword", "abandon ".repeat(23))).contains("word 24"));
    assert!(!home.path("keystore.json").exists());

    assert!(home.fails(1, &["address"]).contains("'wallet new'"));
    home.write("keystore.json", "{}");
    assert!(home.fails(4, &["address"]).contains("not a keystore file"));
    let weak = vectors()["wallets"][0]["keystore"].to_string().replace("600000", "1000");
    home.write("keystore.json", &weak);
    assert!(home.fails(4, &["address"]).contains("too weak"));
}

#[test]
fn passphrases_come_from_files_or_the_terminal_only() {
    let home = Home::new();
    home.json(&["new"]);
    let output = home.command(&["export", "--words"]).output().expect("the wallet starts");
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    assert!(shown(&output).contains("no terminal"), "{}", shown(&output));
    home.write("passphrase", "wrong horse battery staple");
    assert!(home.fails(4, &["export", "--words"]).contains("wrong passphrase"));
    let output = home.run(&["export", "--words", "--json"]);
    let error: Value = serde_json::from_slice(&output.stderr).expect("JSON");
    assert_eq!(error["error"]["kind"], "keystore");
    home.write("passphrase", "short");
    std::fs::remove_file(home.path("keystore.json")).expect("it is there");
    assert!(home.fails(4, &["new"]).contains("at least 10"));
    assert_eq!(home.run(&["export", "--words", "--passphrase", "x"]).status.code(), Some(2), "no such argument");
}

#[test]
fn links_addresses_and_amounts_are_checked_before_anything_is_opened() {
    let home = Home::new();
    let made = home.json(&["new"]);
    let address = text(&made, "address");
    let link = home.json(&["address", "--amount", "12.5", "--reference", "order 7"]);
    assert_eq!(text(&link, "link"), format!("shardpay:{address}?amount=12.500000&reference=order%207"));

    let typo = format!("{}{}", &address[..63], if address.ends_with('q') { 'p' } else { 'q' });
    assert!(home.fails(2, &["pay", &typo, "1"]).contains("mistyped"));
    assert!(home.fails(2, &["pay", address, "-1"]).contains("unexpected argument"));
    assert!(home.fails(2, &["pay", address, "1e3"]).contains("digits and a point"));
    assert!(home.fails(2, &["pay", address, "0"]).contains("more than nothing"));
    assert!(home.fails(2, &["pay", address]).contains("how much"));
    assert!(home.fails(2, &["pay", text(&link, "link"), "13"]).contains("asks for 12.500000"));
    assert!(home.fails(2, &["pay", address, "1", "--reference", "longer than sixteen"]).contains("16 characters"));
    assert!(home.fails(2, &["pay", address, "1"]).contains("--service"));
    assert!(home.fails(2, &["cash-out", "1.001", "--iban", "x", "--holder", "y"]).contains("whole cents"));
    assert!(home.fails(2, &["pay", address, "1", "--signaler", "http://127.0.0.1:1"]).contains("--genesis"));
    assert!(home.fails(1, &["balance", "--service", "http://127.0.0.1:1"]).contains("not reached"));
}

#[test]
fn receipts_need_a_genesis_file() {
    let home = Home::new();
    let receipt = home.write("receipt.json", "{}");
    let receipt = receipt.to_str().expect("text");
    assert!(home.fails(2, &["verify-receipt", receipt]).contains("--genesis"));
    assert!(home.fails(2, &["verify-receipt", receipt, "--genesis", receipt]).contains("not a genesis plan"));
}
