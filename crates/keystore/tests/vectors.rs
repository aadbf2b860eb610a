//! Golden vectors of everything a wallet writes (`docs/vectors/keystore.json`), for other implementations;
//! the browser test feeds them to the pages. `SHARDPAY_BLESS=1` writes them anew.

#[path = "../../types/tests/common/files.rs"]
#[allow(unreachable_pub, reason = "shared with the tests of other crates")]
mod files;

use serde_json::{Value, json};
use shardpay_crypto::{Signer, transaction_message, txid};
use shardpay_keystore::*;
use shardpay_types::*;

const CHAIN: ChainId = ChainId([0xcc; 32]);

fn wallet(byte: u8, account: u32, passphrase: &str) -> Value {
    let mnemonic = Mnemonic::from_entropy(&[byte; 32]);
    let randomness = SealRandomness { salt: [byte.wrapping_add(1); 32], nonce: [byte.wrapping_add(2); 12] };
    let keystore = Keystore::seal(&mnemonic, account, passphrase, randomness).expect("long passphrases");
    let file: Value = serde_json::from_str(&keystore.to_json()).expect("JSON");
    json!({
        "entropy": hex::encode([byte; 32]),
        "mnemonic": *mnemonic.phrase(),
        "account": account,
        "path": account_path(account),
        "public_key": mnemonic.keypair(account).public_key().to_string(),
        "address": mnemonic.address(account).to_string(),
        "passphrase": passphrase,
        "keystore": file,
    })
}

/// Signed transactions: what a browser signs must be these very bytes.
fn signed(byte: u8) -> Value {
    let keypair = Mnemonic::from_entropy(&[byte; 32]).keypair(0);
    let sender = keypair.public_key();
    let recipient = Mnemonic::from_entropy(&[byte + 1; 32]).keypair(0).public_key();
    let (amount, sequence) = (Amount::from_micros(12_345_678), Sequence::new(u64::from(byte) << 40));
    let valid_until = Timestamp::from_micros(1_700_000_000_000_000);
    let reference = parse_reference("caf\u{e9} 7").expect("short");
    let payment = Payment { sender, recipient, amount, sequence, valid_until, reference };
    let redeem = Redeem { sender, amount, sequence, valid_until, payout_ref: PayoutRef([byte; 32]) };
    let statement = |unsigned: Transaction| {
        let message = transaction_message(&CHAIN, &unsigned);
        let signature = keypair.sign(&message);
        let transaction = match unsigned {
            Transaction::Payment(tx) => Transaction::Payment(SignedPayment { signature, ..tx }),
            Transaction::Redeem(tx) => Transaction::Redeem(SignedRedeem { signature, ..tx }),
            Transaction::Mint(_) => unreachable!("wallets sign no mints"),
        };
        json!({
            "signed_bytes": hex::encode(&message),
            "transaction": hex::encode(transaction.to_bytes()),
            "txid": txid(&CHAIN, &transaction).to_string(),
        })
    };
    json!({
        "chain": CHAIN.to_string(),
        "mnemonic": *Mnemonic::from_entropy(&[byte; 32]).phrase(),
        "recipient": Address(recipient).to_string(),
        "amount": amount.to_string(),
        "sequence": sequence.get().to_string(),
        "valid_until": valid_until.micros().to_string(),
        "reference": reference_text(&reference),
        "payout_ref": hex::encode([byte; 32]),
        "payment": statement(Transaction::Payment(SignedPayment { body: payment, signature: Signature::ZERO })),
        "redeem": statement(Transaction::Redeem(SignedRedeem { body: redeem, signature: Signature::ZERO })),
    })
}

fn links() -> Value {
    let address = Mnemonic::from_entropy(&[1; 32]).address(0);
    let amount = Some(Amount::from_micros(1));
    let notes = ["", "order 7", "caf\u{e9} & cr\u{ea}pe", "0123456789abcdef"];
    let notes = notes.map(|note| Some(parse_reference(note).expect("short"))).into_iter();
    let references = notes.chain([None, Some(Reference([0xfe; 16]))]);
    let link = |reference: Option<Reference>| {
        let link = PaymentLink { address, amount: amount.filter(|_| reference.is_some()), reference };
        json!({
            "link": link.to_string(),
            "address": address.to_string(),
            "amount": link.amount.map(|amount| amount.to_string()),
            "reference": reference.map(|reference| reference.to_string()),
        })
    };
    references.map(link).collect()
}

fn refused() -> Value {
    let address = Mnemonic::from_entropy(&[1; 32]).address(0).to_string();
    let typo = address.replace('q', "p");
    let cases = [
        typo.clone(),
        address[1..].to_owned(),
        address.replace("shard1", "shard2"),
        address.replace("shard1", "Shard1"),
        format!("{}b{}", &address[..30], &address[31..]),
        // BIP-173's checksum instead of BIP-350's
        bech32::encode::<bech32::Bech32>(bech32::Hrp::parse("shard").expect("letters"), &[1; 32]).expect("short"),
    ];
    cases
        .map(|text| {
            let error = text.parse::<Address>().expect_err("not an address").to_string();
            json!({ "address": text, "error": error })
        })
        .into_iter()
        .collect()
}

#[test]
fn vectors_match_the_code() {
    let all = sorted(json!({
        "wallets": [
            wallet(0, 0, "correct horse battery staple"),
            wallet(0x7f, 1, "caf\u{e9} cr\u{e8}me br\u{fb}l\u{e9}e"),
        ],
        "signed": [signed(1), signed(200)],
        "links": links(),
        "refused_addresses": refused(),
    }));
    let text = serde_json::to_string_pretty(&all).expect("JSON") + "\n";
    files::compare("keystore", &text);
    for wallet in all["wallets"].as_array().expect("a list") {
        let keystore = Keystore::parse(wallet["keystore"].to_string().as_bytes()).expect("own file");
        let mnemonic = keystore.open(wallet["passphrase"].as_str().expect("text")).expect("own passphrase");
        assert_eq!(mnemonic.phrase().as_str(), wallet["mnemonic"].as_str().expect("text"));
    }
}

/// Keys in ascending order, whether or not the build keeps serde_json's maps in the order of insertion.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let ascending: std::collections::BTreeMap<String, Value> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(ascending.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}
