//! Vectors of everything that is hashed and signed (`docs/vectors/crypto.json`), for other languages:
//! ids, signed bytes, signatures, shards, Merkle roots and proofs. `SHARDPAY_BLESS=1` writes them anew.

#[path = "../../types/tests/common/mod.rs"]
mod common;

use common::fields::{Fields, hex};
use common::files::compare;
use common::{Rng, Sample};
use shardpay_crypto::*;
use shardpay_types::*;

fn bytes(value: impl AsRef<[u8]>) -> Fields {
    Fields::Leaf(hex(value.as_ref()))
}

/// The samples are the first cases of the types' own vector files.
fn first_cases<T: Sample>(name: &str, count: usize) -> Vec<T> {
    let mut rng = Rng::for_type(name);
    (0..count).map(|_| T::sample(&mut rng)).collect()
}

fn signing(chain: &ChainId) -> Fields {
    let signer = Keypair::from_seed(&[0x11; 32]);
    let signed = |kind: &'static str, body: Vec<u8>, message: &[u8]| {
        Fields::Object(vec![
            ("kind", Fields::leaf(kind)),
            ("body", bytes(body)),
            ("signed_bytes", bytes(message)),
            ("signature", bytes(signer.sign(message).0)),
        ])
    };
    let mut out = vec![];
    for transaction in first_cases::<Transaction>("Transaction", 8) {
        let (kind, body) = match &transaction {
            Transaction::Payment(tx) => ("Payment", tx.body.to_bytes()),
            Transaction::Redeem(tx) => ("Redeem", tx.body.to_bytes()),
            Transaction::Mint(tx) => ("Mint", tx.body.to_bytes()),
        };
        out.push(signed(kind, body, &transaction_message(chain, &transaction)));
    }
    let hash = [0x22; 32];
    out.push(signed("Block", hash.to_vec(), &block_message(chain, &hash)));
    out.push(signed("Header", hash.to_vec(), &header_message(chain, &HeaderHash(hash))));
    for mut checkpoint in first_cases::<Checkpoint>("Checkpoint", 1) {
        checkpoint.chain = *chain;
        out.push(signed("Checkpoint", checkpoint.to_bytes(), &checkpoint_message(&checkpoint)));
    }
    let body = [&hash[..], &7u64.to_le_bytes()].concat();
    out.push(signed("PlanApproval", body, &plan_approval_message(chain, &PlanHash(hash), Epoch::new(7))));
    for mut statement in first_cases::<BalanceStatement>("BalanceStatement", 1) {
        statement.chain = *chain;
        out.push(signed("Balance", statement.to_bytes(), &balance_message(&statement)));
    }
    Fields::Object(vec![
        ("seed", bytes([0x11; 32])),
        ("public_key", bytes(signer.public_key().0)),
        ("chain", bytes(chain.0)),
        ("statements", Fields::List(out)),
    ])
}

fn ids(chain: &ChainId) -> Fields {
    let id = |what: &'static str, of: Vec<u8>, hash: [u8; 32]| {
        Fields::Object(vec![("what", Fields::leaf(what)), ("of", bytes(of)), ("sha256", bytes(hash))])
    };
    let mut out = vec![];
    for plan in first_cases::<Plan>("Plan", 2) {
        out.push(id("plan hash", plan.to_bytes(), plan_hash(&plan).0));
    }
    for transaction in first_cases::<Transaction>("Transaction", 4) {
        out.push(id("transaction id", transaction.to_bytes(), txid(chain, &transaction).0));
    }
    for header in first_cases::<LedgerHeader>("LedgerHeader", 2) {
        out.push(id("header hash", header.to_bytes(), header_hash(&header).0));
    }
    for block in first_cases::<Block>("Block", 256).into_iter().filter(|block| block.to_bytes().len() < 1_600).take(2) {
        let encoded = block.to_bytes();
        let body = block_body_hash(&encoded);
        out.push(id("block body hash", encoded.clone(), body));
        out.push(id("block digest", encoded, block_digest(&body, &block.signature).0));
    }
    for list in first_cases::<Leaders>("Leaders", 2) {
        out.push(id("leaders hash", list.leaders.to_bytes(), leaders_hash(&list.leaders).0));
    }
    Fields::List(out)
}

fn shards() -> Fields {
    let keys = first_cases::<PublicKey>("PublicKey", 4);
    let shard = |key| Fields::Object(vec![("key", bytes(key)), ("shard", shard_of(&PublicKey(key)).fields())]);
    Fields::List(keys.into_iter().map(|key| shard(key.0)).collect())
}

/// Trees over the leaves "leaf 0", "leaf 1", …
fn merkle() -> Fields {
    let mut log = MerkleLog::new();
    let mut trees = vec![];
    for count in 0..=9u64 {
        let paths = (0..count).map(|index| log.inclusion(index, count).expect("nothing is pruned").siblings.fields());
        let proofs = (0..=count).map(|old| log.consistency(old, count).expect("nothing is pruned").hashes.fields());
        trees.push(Fields::Object(vec![
            ("count", Fields::leaf(count)),
            ("root", bytes(log.root().0)),
            ("path_of_each_leaf", Fields::List(paths.collect())),
            ("consistency_from_each_count", Fields::List(proofs.collect())),
        ]));
        log.append(leaf_hash(format!("leaf {count}").as_bytes()));
    }
    Fields::List(trees)
}

#[test]
fn vectors_match_the_code() {
    let chain = ChainId([0xcc; 32]);
    let all = Fields::Object(vec![
        ("signing", signing(&chain)),
        ("ids", ids(&chain)),
        ("shards", shards()),
        ("merkle", merkle()),
    ]);
    let mut text = String::new();
    all.write_json(&mut text, 0);
    text.push('\n');
    compare("crypto", &text);
}
