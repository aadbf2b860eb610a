//! Keys in the browser are the keys of the Rust crates: the pages' modules run in Chromium against
//! `docs/vectors/keystore.json`, and keystores go from browser to command line and back.
//!
//! Needs Debian's chromium and chromium-driver, so it is ignored unless asked for: `--include-ignored`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Value, json};
use shardpay_browser::{Browser, program, repository};
use shardpay_crypto::{SignatureScheme as _, Signer as _, Zip215, transaction_message};
use shardpay_keystore::{Mnemonic, parse_amount, parse_reference, word_list};
use shardpay_types::{ChainId, Codec as _, Transaction};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'";
const PASSPHRASE: &str = "pâsse-phrase of a browser";

/// Serves the files of `service/pages` under the pages' own policy, nothing else.
async fn serve() -> SocketAddr {
    async fn file(name: &str) -> impl IntoResponse + use<> {
        let known = Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let kind = if known.ends_with(".js") { "text/javascript" } else { "text/html" };
        match std::fs::read(repository().join("service/pages").join(known)) {
            Ok(bytes) => {
                (StatusCode::OK, [(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, POLICY)], bytes)
            }
            Err(_) => (
                StatusCode::NOT_FOUND,
                [(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, POLICY)],
                vec![],
            ),
        }
    }
    let empty = get(async || {
        (
            [(header::CONTENT_TYPE, "text/html"), (header::CONTENT_SECURITY_POLICY, POLICY)],
            "<!doctype html><title>empty</title>",
        )
    });
    let asset = get(async |axum::extract::Path(name): axum::extract::Path<String>| file(&name).await);
    let router = Router::new().route("/", empty).route("/assets/{name}", asset);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn empty_page() -> Browser {
    let address = serve().await;
    let browser = Browser::start().await;
    browser.open(&format!("http://{address}/")).await;
    browser
}

const VECTORS: &str = r"
  const keys = await import('/assets/keys.js');
  const text = await import('/assets/text.js');
  const { hex, unhex, unbase64 } = await import('/assets/bytes.js');
  let checked = 0;
  const same = (what, found, wanted) => {
    checked++;
    const plain = (value) => JSON.stringify(value, (_, v) => v && typeof v === 'object' && !Array.isArray(v) ? Object.fromEntries(Object.entries(v).sort()) : v);
    if (plain(found) !== plain(wanted)) throw new Error(`${what}: ${plain(found)} instead of ${plain(wanted)}`);
  };
  for (const w of input.wallets) {
    same('words', (await keys.phraseOf(unhex(w.entropy))).join(' '), w.mnemonic);
    same('entropy', hex(await keys.entropyOf(w.mnemonic)), w.entropy);
    const pair = await keys.keysOf(unhex(w.entropy), w.account);
    same('address', [pair.address, hex(pair.publicKey)], [w.address, w.public_key]);
    same('opened', hex(await keys.open(keys.readKeystore(JSON.stringify(w.keystore)), w.passphrase)), w.entropy);
    const { salt } = w.keystore.kdf, { nonce } = w.keystore.cipher;
    same('sealed', await keys.seal(unhex(w.entropy), w.account, w.passphrase, unbase64(salt), unbase64(nonce)), w.keystore);
  }
  for (const s of input.signed) {
    const pair = await keys.keysOf(await keys.entropyOf(s.mnemonic), 0);
    const common = { chain: s.chain, amount: text.parseAmount(s.amount), sequence: BigInt(s.sequence), validUntil: BigInt(s.valid_until) };
    const payment = await keys.signPayment(pair, { ...common, recipient: text.parseAddress(s.recipient), reference: text.parseReference(s.reference) });
    same('payment', payment, { transaction: s.payment.transaction, signedBytes: s.payment.signed_bytes, txid: s.payment.txid });
    const redeem = await keys.signRedeem(pair, { ...common, payoutRef: unhex(s.payout_ref) });
    same('redeem', redeem, { transaction: s.redeem.transaction, signedBytes: s.redeem.signed_bytes, txid: s.redeem.txid });
  }
  for (const l of input.links) {
    const link = text.parseLink(l.link);
    same('link', [text.formatAddress(link.key), link.amount === null ? null : text.formatAmount(link.amount), link.reference === null ? null : hex(link.reference)], [l.address, l.amount, l.reference]);
    same('link again', text.formatLink(link), l.link);
  }
  for (const { address } of input.refused_addresses) {
    checked++;
    let refused = false;
    try { text.parseAddress(address); } catch (error) { refused = error instanceof text.Mistake; }
    if (!refused) throw new Error(`accepted ${address}`);
  }
  return checked;
";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromium-driver"]
async fn the_vectors_hold_in_the_browser() {
    let vectors = std::fs::read(repository().join("docs/vectors/keystore.json")).expect("vectors");
    let vectors: Value = serde_json::from_slice(&vectors).expect("JSON");
    let browser = empty_page().await;
    let checked = browser.run(VECTORS, vectors).await;
    assert_eq!(checked, json!(2 * 5 + 2 * 2 + 6 * 2 + 6));
    browser.quit().await;
}

const MADE: &str = r"
  const keys = await import('/assets/keys.js');
  const text = await import('/assets/text.js');
  const { unhex } = await import('/assets/bytes.js');
  const entropy = keys.newEntropy();
  const phrase = (await keys.phraseOf(entropy)).join(' ');
  const keystore = await keys.seal(entropy, 0, input.passphrase);
  const pair = await keys.keysOf(entropy, 0);
  const order = { chain: input.chain, recipient: unhex(input.recipient), amount: text.parseAmount(input.amount), sequence: BigInt(input.sequence), validUntil: 0n, reference: text.parseReference(input.reference) };
  return { phrase, keystore, address: pair.address, ...(await keys.signPayment(pair, order)) };
";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromium-driver"]
async fn what_the_browser_makes_opens_and_verifies_here() {
    let browser = empty_page().await;
    let order = json!({
        "passphrase": PASSPHRASE, "chain": "ab".repeat(32), "recipient": "cd".repeat(32),
        "amount": "0.123456", "sequence": "4611686018427387904", "reference": "grüße",
    });
    let made = browser.run(MADE, order).await;
    browser.quit().await;
    let text = |name: &str| made[name].as_str().expect("text").to_owned();

    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("passphrase"), PASSPHRASE).expect("ours");
    std::fs::write(dir.path().join("browser.json"), made["keystore"].to_string()).expect("ours");
    let restored = wallet(dir.path(), &["restore", "--from", "browser.json"]);
    assert_eq!(restored["address"], made["address"]);
    assert_eq!(wallet(dir.path(), &["export", "--words"])["mnemonic"], made["phrase"]);

    let keypair = Mnemonic::parse(&text("phrase")).expect("24 words").keypair(0);
    let signed = hex::decode(text("transaction")).expect("hexadecimal");
    let transaction = Transaction::from_bytes(&signed).expect("canonical");
    let message = transaction_message(&ChainId([0xab; 32]), &transaction);
    assert_eq!(hex::encode(&message), text("signedBytes"));
    assert_eq!(*transaction.signature(), keypair.sign(&message), "the same bytes as signed here");
    assert!(Zip215::new([7; 32], 16).verify(&keypair.public_key(), &message, transaction.signature()));
    let Transaction::Payment(payment) = transaction else { panic!("a payment") };
    assert_eq!(payment.body.amount, parse_amount("0.123456").expect("an amount"));
    assert_eq!(payment.body.reference, parse_reference("grüße").expect("short"));
    assert_eq!(payment.body.sequence.get(), 1 << 62);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromium-driver"]
async fn what_the_command_line_makes_opens_in_the_browser() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("passphrase"), PASSPHRASE).expect("ours");
    let made = wallet(dir.path(), &["new"]);
    let keystore = std::fs::read_to_string(dir.path().join("keystore.json")).expect("written");
    let browser = empty_page().await;
    let body = r"
      const keys = await import('/assets/keys.js');
      const file = keys.readKeystore(input.keystore);
      let wrong = null;
      try { await keys.open(file, input.passphrase + '.'); } catch (error) { wrong = error.message; }
      const entropy = await keys.open(file, input.passphrase);
      return { wrong, phrase: (await keys.phraseOf(entropy)).join(' '), address: (await keys.keysOf(entropy, file.account)).address };
    ";
    let opened = browser.run(body, json!({ "keystore": keystore, "passphrase": PASSPHRASE })).await;
    assert_eq!((&opened["phrase"], &opened["address"]), (&made["mnemonic"], &made["address"]));
    assert!(opened["wrong"].as_str().expect("a mistake").starts_with("Wrong passphrase"), "{opened}");
    browser.quit().await;
}

/// Runs the wallet program in `dir`; what it prints as JSON.
fn wallet(dir: &Path, arguments: &[&str]) -> Value {
    let mut command = Command::new(program("wallet"));
    command.args(arguments).args(["--json", "--keystore", "keystore.json", "--passphrase-file", "passphrase"]);
    let output = command.current_dir(dir).output().expect("the wallet starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Needs no browser: the words that the pages are served with.
#[test]
fn the_pages_words_are_the_crates() {
    let file = std::fs::read_to_string(repository().join("service/pages/words.js")).expect("words.js");
    let words: Vec<&str> = file.split('`').nth(1).expect("a list in backquotes").split_whitespace().collect();
    assert_eq!(words, word_list());
}
