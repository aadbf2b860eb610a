//! Every decoder against hostile bytes: samples that must be accepted, and truncated, prolonged,
//! mutated, spliced and random ones that must be refused or be canonical. The check itself is the one
//! the fuzz targets run (`common/entry.rs`); here it runs on stable, from fixed seeds.

mod common;

use common::entry::{DECODERS, check};
use common::{Rng, Sample};
use proptest::prelude::*;
use shardpay_types::*;

/// Samples per type for each test.
const SAMPLES: usize = 48;
/// Longest sample whose every prefix is tried; of longer ones, some are.
const ALL_PREFIXES_BYTES_MAX: usize = 512;

macro_rules! encodings_table {
    ($($module:ident: $($name:ident),+;)+) => {
        /// The same order as [`DECODERS`]: draws an encoding of the type.
        const ENCODINGS: &[fn(&mut Rng) -> Vec<u8>] = &[$($(|rng| $name::sample(rng).to_bytes()),+),+];
    };
}
for_wire_types!(encodings_table);

fn for_each_sample(mut test: impl FnMut(&str, fn(&[u8]) -> bool, Vec<u8>, &mut Rng)) {
    for ((name, decode), draw) in DECODERS.iter().zip(ENCODINGS) {
        let mut rng = Rng::for_type(name);
        for _ in 0..SAMPLES {
            let bytes = draw(&mut rng);
            test(name, *decode, bytes, &mut rng);
        }
    }
}

#[test]
fn samples_are_accepted() {
    for_each_sample(|name, decode, bytes, _| assert!(decode(&bytes), "{name} refuses its own encoding"));
}

#[test]
fn a_prefix_is_never_a_value() {
    for_each_sample(|name, decode, bytes, rng| {
        let every = 1 + bytes.len() / ALL_PREFIXES_BYTES_MAX;
        for len in (0..bytes.len()).filter(|_| rng.below(every) == 0) {
            assert!(!decode(&bytes[..len]), "{name} accepts {len} of {} bytes", bytes.len());
        }
    });
}

#[test]
fn nothing_may_follow_a_value() {
    for_each_sample(|name, decode, mut bytes, rng| {
        bytes.push(rng.next() as u8);
        assert!(!decode(&bytes), "{name} accepts a byte after the value");
    });
}

/// A list's count is the only number that makes a decoder reserve memory: the largest one must be
/// answered at once, whatever stands behind it.
#[test]
fn counts_promise_nothing() {
    for_each_sample(|_, decode, mut bytes, rng| {
        if bytes.len() >= 4 {
            let at = rng.below(bytes.len() - 3);
            bytes[at..at + 4].copy_from_slice(&[255; 4]);
            decode(&bytes);
        }
    });
}

/// One hostile change to an encoding; positions are taken modulo its length.
#[derive(Debug, Clone)]
enum Mutation {
    Flip { at: usize, bit: u8 },
    Set { at: usize, byte: u8 },
    Add { at: usize, delta: u8 },
    Cut { at: usize, len: usize },
    Insert { at: usize, bytes: Vec<u8> },
    Copy { from: usize, to: usize, len: usize },
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let size = bytes.len();
        match self {
            Self::Flip { at, bit } => bytes[at % size] ^= 1 << (bit % 8),
            Self::Set { at, byte } => bytes[at % size] = *byte,
            Self::Add { at, delta } => bytes[at % size] = bytes[at % size].wrapping_add(*delta),
            Self::Cut { at, len } => drop(bytes.drain(at % size..size.min(at % size + len))),
            Self::Insert { at, bytes: extra } => {
                bytes.splice(at % size..at % size, extra.iter().copied());
            }
            Self::Copy { from, to, len } => {
                let (from, to) = (from % size, to % size);
                bytes.copy_within(from..from + (*len).min(size - from.max(to)), to);
            }
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = || 0..usize::MAX;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, bit)| Mutation::Flip { at, bit }),
        (at(), prop_oneof![Just(0), Just(1), Just(2), Just(255), any::<u8>()])
            .prop_map(|(at, byte)| Mutation::Set { at, byte }),
        (at(), prop_oneof![Just(1), Just(255)]).prop_map(|(at, delta)| Mutation::Add { at, delta }),
        (at(), 1..80usize).prop_map(|(at, len)| Mutation::Cut { at, len }),
        (at(), proptest::collection::vec(any::<u8>(), 1..80)).prop_map(|(at, bytes)| Mutation::Insert { at, bytes }),
        (at(), at(), 1..120usize).prop_map(|(from, to, len)| Mutation::Copy { from, to, len }),
    ]
}

/// Every run draws the same cases: no time, no entropy, nothing written on failure.
fn fixed(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x5eed),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(fixed(20_000))]

    /// Mutated encodings of every type are refused, or are the encoding of another value.
    #[test]
    fn mutated_encodings_are_refused_or_canonical(
        which in 0..DECODERS.len(),
        seed: u64,
        mutations in proptest::collection::vec(mutation(), 1..4),
    ) {
        let mut bytes = ENCODINGS[which](&mut Rng::new(seed));
        for mutation in &mutations {
            mutation.apply(&mut bytes);
        }
        DECODERS[which].1(&bytes);
    }

    /// So are random bytes, and the encodings of other types.
    #[test]
    fn foreign_bytes_are_refused_or_canonical(
        which in 0..DECODERS.len(),
        other in 0..DECODERS.len(),
        seed: u64,
        random in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        DECODERS[which].1(&random);
        DECODERS[which].1(&ENCODINGS[other](&mut Rng::new(seed)));
    }
}

/// The mutations reach both verdicts, or the properties above would say nothing.
#[test]
fn mutations_reach_both_verdicts() {
    let mut rng = Rng::new(1);
    let mut verdicts = [0; 2];
    for _ in 0..1_000 {
        let mut bytes = Block::sample(&mut rng).to_bytes();
        Mutation::Flip { at: rng.next() as usize, bit: rng.next() as u8 }.apply(&mut bytes);
        verdicts[usize::from(check::<Block>(&bytes))] += 1;
    }
    assert!(verdicts.iter().all(|count| *count > 20), "refused and accepted: {verdicts:?}");
}
