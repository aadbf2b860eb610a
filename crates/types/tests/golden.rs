//! Golden vectors: `docs/vectors/*.json` hold, for every wire type, one SHA-256 over many generated
//! encodings and a few of them in full with their fields, so that another language can be checked
//! against them and no layout changes unnoticed. `SHARDPAY_BLESS=1` writes the files anew.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests read files; the crate does not")]

mod common;

use std::fmt::Write;

use common::fields::{Fields, hex};
use common::files::{compare, repository};
use common::{Rng, Sample};
use sha2::{Digest, Sha256};
use shardpay_types::*;

/// Encodings that go into a type's hash.
const CASES: usize = 256;
/// Of them at most that many are written out, the first ones that are short enough.
const EXAMPLES: usize = 2;
const EXAMPLE_BYTES_MAX: usize = 1_600;

/// A type's entry in a vector file.
fn vectors<T: Sample>(name: &str) -> String {
    let mut rng = Rng::for_type(name);
    let values: Vec<T> = (0..CASES).map(|_| T::sample(&mut rng)).collect();
    let encodings: Vec<Vec<u8>> = values.iter().map(Codec::to_bytes).collect();

    let mut hasher = Sha256::new();
    for bytes in &encodings {
        hasher.update(u32::try_from(bytes.len()).expect("samples are small").to_le_bytes());
        hasher.update(bytes);
    }
    let mut short: Vec<usize> = (0..CASES).filter(|i| encodings[*i].len() <= EXAMPLE_BYTES_MAX).collect();
    short.dedup_by_key(|i| encodings[*i].clone());
    if short.is_empty() {
        short = vec![(0..CASES).min_by_key(|i| encodings[*i].len()).expect("there are cases")];
    }
    let examples = short.iter().take(EXAMPLES).map(|i| {
        Fields::Object(vec![
            ("case", Fields::leaf(i)),
            ("hex", Fields::Leaf(hex(&encodings[*i]))),
            ("value", values[*i].fields()),
        ])
    });
    let entry = Fields::Object(vec![
        ("type", Fields::leaf(name)),
        ("min_len", Fields::leaf(T::MIN_LEN)),
        ("cases", Fields::leaf(CASES)),
        ("sha256", Fields::Leaf(hex(&hasher.finalize()))),
        ("examples", Fields::List(examples.collect())),
    ]);
    let mut text = String::from("  ");
    entry.write_json(&mut text, 1);
    text
}

macro_rules! vector_files {
    ($($module:ident: $($name:ident),+;)+) => {
        /// Name and contents of every vector file of generated values.
        fn vector_files() -> Vec<(&'static str, String)> {
            vec![$((
                stringify!($module),
                format!("[\n{}\n]\n", [$(vectors::<$name>(stringify!($name))),+].join(",\n")),
            )),+]
        }
        /// The types of the list.
        const LISTED: &[&str] = &[$($(stringify!($name)),+),+];
    };
}
for_wire_types!(vector_files);

#[test]
fn vector_files_match_the_code() {
    for (name, now) in vector_files() {
        compare(name, &now);
    }
}

/// Encodings that every decoder must refuse, and why.
#[test]
fn refusals_match_the_code() {
    let cases = refusals();
    let mut text = String::from("[\n");
    for (i, (type_name, why, bytes, error)) in cases.iter().enumerate() {
        let entry = Fields::Object(vec![
            ("type", Fields::leaf(type_name)),
            ("why", Fields::leaf(why)),
            ("error", Fields::leaf(error)),
            ("hex", Fields::Leaf(hex(bytes))),
        ]);
        text.push_str(if i == 0 { "  " } else { ",\n  " });
        entry.write_json(&mut text, 1);
    }
    writeln!(text, "\n]").expect("strings can be written to");
    compare("refused", &text);
}

type Refusal = (&'static str, &'static str, Vec<u8>, DecodeError);

fn refused<T: Codec + std::fmt::Debug>(name: &'static str, why: &'static str, bytes: Vec<u8>) -> Refusal {
    let error = T::from_bytes(&bytes).expect_err(why);
    (name, why, bytes, error)
}

fn refusals() -> Vec<Refusal> {
    let count = |n: u32| n.to_le_bytes().to_vec();
    let signature = |member: u8| [vec![member], vec![7; 64]].concat();
    let plan = |change: fn(&mut Plan)| {
        let mut plan = genesis();
        change(&mut plan);
        plan.to_bytes()
    };
    vec![
        refused::<Round>("Round", "a byte is missing", vec![0; 7]),
        refused::<Round>("Round", "a byte is left over", vec![0; 9]),
        refused::<Round>("Round", "above 2^62", ((1u64 << 62) + 1).to_le_bytes().to_vec()),
        refused::<Timestamp>("Timestamp", "above 2^62", u64::MAX.to_le_bytes().to_vec()),
        refused::<MemberIndex>("MemberIndex", "above 63", vec![64]),
        refused::<CommitteeId>("CommitteeId", "above 1023", vec![0, 4]),
        refused::<ShardId>("ShardId", "above 4095", vec![0, 16]),
        refused::<Version>("Version", "not version 1", vec![2]),
        refused::<Outcome>("Outcome", "no such tag", vec![0]),
        refused::<CreditOutcome>("CreditOutcome", "no such tag", vec![4]),
        refused::<MessageKind>("MessageKind", "no such tag", vec![0]),
        refused::<Transaction>("Transaction", "no such kind", vec![9; 169]),
        refused::<Transaction>("Transaction", "a mint of a payment's length", [vec![3], vec![0; 168]].concat()),
        refused::<PeerMessage>("PeerMessage", "no such kind", vec![12]),
        refused::<ConsistencyProof>("ConsistencyProof", "more than 130 hashes announced", count(131)),
        refused::<ConsistencyProof>(
            "ConsistencyProof",
            "fewer hashes than announced",
            [count(2), vec![1; 32]].concat(),
        ),
        refused::<ExecutedCredit>("ExecutedCredit", "option byte 2", vec![1, 2]),
        refused::<Certificate>("Certificate", "descending", [count(2), signature(3), signature(2)].concat()),
        refused::<Certificate>("Certificate", "a member twice", [count(2), signature(3), signature(3)].concat()),
        refused::<RawBlock>("RawBlock", "longer than 512 KiB", count(512 * 1024 + 1)),
        refused::<Opaque>("Opaque", "longer than a client's frame", count(OPAQUE_BYTES_MAX as u32 + 1)),
        refused::<Plan>(
            "Plan",
            "opaque payloads longer than a client's frame",
            plan(|p| p.constants.opaque_bytes_max = OPAQUE_BYTES_MAX as u32 + 1),
        ),
        refused::<Plan>("Plan", "genesis with a predecessor", plan(|p| p.previous = PlanHash([1; 32]))),
        refused::<Plan>("Plan", "no committee", plan(|p| p.committees = List::default())),
        refused::<Plan>("Plan", "a committee of three", plan(|p| resize(p, 3))),
        refused::<Plan>("Plan", "a key twice", plan(|p| p.committees = twice(&p.committees[0]))),
        refused::<Plan>("Plan", "a shard without owner", plan(|p| shards(p, 0, SHARDS - 1))),
        refused::<Plan>("Plan", "a gap before the first shard", plan(|p| shards(p, 1, SHARDS - 1))),
        refused::<Plan>(
            "Plan",
            "mint caps above 2^63",
            plan(|p| p.constants.mint_cap = Amount::from_micros(1 << 63 | 1)),
        ),
        refused::<Plan>("Plan", "gc depth of 7", plan(|p| p.constants.gc_depth = 7)),
        refused::<Plan>("Plan", "minimum amount of zero", plan(|p| p.constants.amount_min = Amount::ZERO)),
    ]
}

fn genesis() -> Plan {
    let mut plan = Plan {
        version: Version,
        epoch: Epoch::ZERO,
        previous: PlanHash::ZERO,
        salt: [9; 32],
        issuer: PublicKey([8; 32]),
        constants: Constants::standard(1),
        committees: List::default(),
    };
    resize(&mut plan, 4);
    plan
}

fn resize(plan: &mut Plan, members: u8) {
    let members = List::bounded((0..members).map(|i| PublicKey([i; 32])).collect());
    plan.committees = List::bounded(vec![CommitteePlan { shard_first: 0, shard_count: SHARDS, members }]);
}

fn shards(plan: &mut Plan, shard_first: u16, shard_count: u16) {
    let members = plan.committees[0].members.clone();
    plan.committees = List::bounded(vec![CommitteePlan { shard_first, shard_count, members }]);
}

fn twice<const MAX: usize>(committee: &CommitteePlan) -> List<CommitteePlan, MAX> {
    let mut lower = committee.clone();
    let mut upper = committee.clone();
    (lower.shard_count, upper.shard_first, upper.shard_count) = (SHARDS / 2, SHARDS / 2, SHARDS / 2);
    List::bounded(vec![lower, upper])
}

/// A type that `crates/types/src` declares and the list lacks would have no vectors and no fuzz target.
#[test]
fn every_declared_type_is_listed() {
    let mut declared = Vec::new();
    for entry in std::fs::read_dir(repository().join("crates/types/src")).expect("sources are there") {
        let path = entry.expect("sources can be listed").path();
        let source = std::fs::read_to_string(&path).unwrap_or_default();
        declared.extend(source.lines().filter_map(declared_type).map(str::to_owned));
    }
    declared.sort_unstable();
    declared.dedup();
    let missing: Vec<_> = declared.iter().filter(|name| !LISTED.contains(&name.as_str())).collect();
    assert!(missing.is_empty(), "not in for_wire_types! of tests/common/entry.rs: {missing:?}");
    assert!(declared.len() > 50, "the scan of the sources found only {}", declared.len());
}

/// The wire type that a source line declares: a type inside of one of the `wire_*!` macros (they are
/// indented), or an own implementation of the codec.
fn declared_type(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("    pub struct ").or_else(|| line.strip_prefix("    pub enum "));
    let rest = rest.or_else(|| line.strip_prefix("impl Codec for "))?;
    let name = rest.split(|c: char| !c.is_alphanumeric()).next()?;
    let primitive = name.is_empty() || name == "bool" || name == "Box" || name == "Arc" || name == "Option";
    (!primitive).then_some(name)
}
