//! One verdict for a signature, whatever it is batched with: against `ed25519-consensus`, the oracle for
//! ZIP-215, with our stricter rule for keys on top (canonical, not of small order).

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use proptest::prelude::*;
use sha2::{Digest, Sha512};
use shardpay_crypto::{Keypair, SignatureScheme, SignedItem, Signer, Zip215, sha256};
use shardpay_types::{PublicKey, Signature};

/// ℓ, the order of the prime subgroup, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[derive(Debug, Clone)]
struct Case {
    name: &'static str,
    key: [u8; 32],
    message: Vec<u8>,
    signature: [u8; 64],
}

impl Case {
    fn item(&self) -> SignedItem<'_> {
        SignedItem { key: PublicKey(self.key), message: &self.message, signature: Signature(self.signature) }
    }

    /// What the rule says, found without the code under test.
    fn expected(&self) -> bool {
        self.good_by_zip215() && key_is_acceptable(&self.key)
    }

    fn good_by_zip215(&self) -> bool {
        ed25519_consensus::VerificationKey::try_from(self.key)
            .is_ok_and(|key| key.verify(&self.signature.into(), &self.message).is_ok())
    }
}

fn key_is_acceptable(key: &[u8; 32]) -> bool {
    let point = CompressedEdwardsY(*key).decompress();
    point.is_some_and(|point| point.compress().0 == *key && !EIGHT_TORSION.contains(&point))
}

fn scalar(n: u64) -> Scalar {
    Scalar::from_bytes_mod_order(sha256(&[b"scalar", &n.to_le_bytes()]))
}

/// A signature by the secret scalar behind `a`, over chosen encodings of A and R.
fn sign_raw(name: &'static str, n: u64, (a, key): (Scalar, [u8; 32]), (r, r_bytes): (Scalar, [u8; 32])) -> Case {
    let message = n.to_le_bytes().to_vec();
    let hash = Sha512::new().chain_update(r_bytes).chain_update(key).chain_update(&message).finalize();
    let s = r + Scalar::from_bytes_mod_order_wide(&hash.into()) * a;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r_bytes);
    signature[32..].copy_from_slice(s.as_bytes());
    Case { name, key, message, signature }
}

fn plus(point: Scalar, torsion: EdwardsPoint) -> [u8; 32] {
    (ED25519_BASEPOINT_POINT * point + torsion).compress().0
}

fn honest(n: u64) -> Case {
    let pair = Keypair::from_seed(&sha256(&[b"key", &(n % 23).to_le_bytes()]));
    let message = n.to_le_bytes().to_vec();
    Case { name: "honest", key: pair.public_key().0, signature: pair.sign(&message).0, message }
}

fn add_order(signature: &mut [u8; 64]) {
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
}

/// Every encoding of a point of small order: the eight canonical ones, y not reduced, x = 0 with a sign.
fn small_order_encodings() -> Vec<[u8; 32]> {
    let mut all: Vec<[u8; 32]> = EIGHT_TORSION.iter().map(|point| point.compress().0).collect();
    let mut unreduced = [0xff; 32];
    for low in [0xec, 0xed, 0xee] {
        unreduced[0] = low;
        for top in [0x7f, 0xff] {
            unreduced[31] = top;
            all.push(unreduced);
        }
    }
    let mut one = [0; 32];
    (one[0], one[31]) = (1, 0x80);
    all.push(one);
    all.sort_unstable();
    all.dedup();
    all
}

/// The unreduced encodings p + i (both signs) of points that are not of small order.
fn unreduced_encodings() -> Vec<[u8; 32]> {
    (0..=18u8)
        .flat_map(|i| [(i, 0x7f), (i, 0xff)])
        .map(|(i, top)| {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (0xed + i, top);
            bytes
        })
        .filter(|bytes| CompressedEdwardsY(*bytes).decompress().is_some_and(|point| !point.is_small_order()))
        .collect()
}

/// Everything on which implementations of ed25519 are known to differ.
fn crafted() -> Vec<Case> {
    let mut cases = Vec::new();
    let none = EIGHT_TORSION[0];
    for (n, torsion) in (1_000..).zip(EIGHT_TORSION) {
        let (a, r) = (scalar(n), scalar(n + 500));
        cases.push(sign_raw("torsion in R", n, (a, plus(a, none)), (r, plus(r, torsion))));
        cases.push(sign_raw("torsion in A", n, (a, plus(a, torsion)), (r, plus(r, none))));
        cases.push(sign_raw("torsion in both", n, (a, plus(a, torsion)), (r, plus(r, torsion))));
        cases.push(sign_raw("small-order A", n, (Scalar::ZERO, torsion.compress().0), (r, plus(r, none))));
    }
    for (n, encoding) in (2_000..).zip(small_order_encodings()) {
        let (a, r) = (scalar(n), scalar(n + 500));
        cases.push(sign_raw("small-order R", n, (a, plus(a, none)), (Scalar::ZERO, encoding)));
        cases.push(sign_raw("small-order A, any encoding", n, (Scalar::ZERO, encoding), (r, plus(r, none))));
        cases.push(sign_raw("small-order A and R", n, (Scalar::ZERO, encoding), (Scalar::ZERO, encoding)));
    }
    for (n, encoding) in (3_000..).zip(unreduced_encodings()) {
        let (a, r) = (scalar(n), scalar(n + 500));
        cases.push(sign_raw("unreduced R", n, (a, plus(a, none)), (r, encoding)));
        cases.push(sign_raw("unreduced A", n, (a, encoding), (r, plus(r, none))));
    }
    let mut malleated = honest(4_000);
    malleated.name = "s + order";
    add_order(&mut malleated.signature);
    cases.push(malleated.clone());
    malleated.name = "s + twice the order";
    add_order(&mut malleated.signature);
    cases.push(malleated);
    let mut top_bit = honest(4_001);
    top_bit.name = "top bit of s";
    top_bit.signature[63] |= 0x80;
    cases.push(top_bit);
    let mut order = sign_raw("s = order", 4_002, (Scalar::ZERO, plus(scalar(1), none)), (Scalar::ZERO, [1; 32]));
    order.signature[32..].copy_from_slice(&ORDER);
    cases.push(order);
    cases
}

/// Two bad signatures whose errors cancel when they are added up without weights.
fn cancelling() -> [Case; 2] {
    [(Scalar::ONE, 5_000), (-Scalar::ONE, 5_001)].map(|(error, n)| {
        let mut case = honest(n);
        let s: [u8; 32] = case.signature[32..].try_into().expect("half of 64 bytes");
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s)).expect("an honest s is canonical");
        case.signature[32..].copy_from_slice((s + error).as_bytes());
        case.name = "errors that cancel";
        case
    })
}

/// The schemes as processes build them on this CPU and on one without wide vectors. Where this CPU is such
/// a one both are the same.
fn schemes(seed: [u8; 32], capacity: usize) -> [Zip215; 2] {
    [Zip215::new(seed, capacity), Zip215::portable(seed, capacity)]
}

/// Checks a list of cases as one batch and singly, without and with a cache, cold and warm, on both paths.
fn check(cases: &[Case]) {
    let items: Vec<_> = cases.iter().map(Case::item).collect();
    let expected: Vec<bool> = cases.iter().map(Case::expected).collect();
    for scheme in [0, 1_000].into_iter().flat_map(|capacity| schemes([42; 32], capacity)) {
        for pass in ["cold", "warm"] {
            assert_eq!(scheme.verify_batch(&items), expected, "{pass}: {cases:?}");
        }
        for (case, expected) in cases.iter().zip(&expected) {
            let item = case.item();
            assert_eq!(scheme.verify(&item.key, item.message, &item.signature), *expected, "{case:?}");
            assert!(!expected || scheme.key_acceptable(&item.key));
        }
    }
}

#[test]
fn crafted_cases_hit_both_verdicts() {
    for case in crafted() {
        check(std::slice::from_ref(&case));
        let good = match case.name {
            "torsion in R" | "torsion in both" | "torsion in A" | "small-order R" => true,
            "small-order A" | "small-order A, any encoding" | "small-order A and R" => {
                assert!(case.good_by_zip215(), "only our key rule refuses {case:?}");
                false
            }
            _ => false,
        };
        assert_eq!(case.expected(), good, "{case:?}");
    }
    // ZIP-215 counts 14 encodings beside y = -1's: 8 canonical, 6 not.
    assert_eq!(small_order_encodings().len(), 14);
    assert!(unreduced_encodings().len() > 10);
}

#[test]
fn unreduced_and_small_order_keys_are_refused_as_such() {
    let scheme = Zip215::new([0; 32], 10);
    for key in small_order_encodings().into_iter().chain(unreduced_encodings()) {
        assert!(!scheme.key_acceptable(&PublicKey(key)));
    }
    assert!(scheme.key_acceptable(&PublicKey(honest(1).key)));
    assert!(
        scheme.key_acceptable(&PublicKey(plus(scalar(3), EIGHT_TORSION[1]))),
        "a small-order component is harmless"
    );
}

#[test]
fn crafted_cases_at_every_position_of_every_size() {
    let crafted = crafted();
    let schemes = schemes([5; 32], 10_000);
    let honest: Vec<Case> = (0..70).map(honest).collect();
    let mut pick = 0;
    for size in 1..=70 {
        for position in 0..size {
            // Walks through all crafted cases many times over the sizes.
            let case = &crafted[pick % crafted.len()];
            pick += 1;
            let mut items: Vec<_> = honest[..size].iter().map(Case::item).collect();
            items[position] = case.item();
            let mut expected = vec![true; size];
            expected[position] = case.expected();
            for scheme in &schemes {
                assert_eq!(scheme.verify_batch(&items), expected, "{size} {position} {case:?}");
            }
        }
    }
}

#[test]
fn crafted_cases_among_themselves() {
    let crafted = crafted();
    check(&crafted);
    let accepted: Vec<Case> = crafted.iter().filter(|case| case.expected()).cloned().collect();
    check(&accepted);
    for size in [2, 3, 5, 8, 13] {
        crafted.chunks(size).for_each(check);
    }
}

#[test]
fn errors_that_cancel_are_found() {
    let [plus, minus] = cancelling();
    check(&[plus.clone(), minus.clone()]);
    let mut many: Vec<Case> = (0..40).map(honest).collect();
    (many[7], many[31]) = (plus, minus);
    check(&many);
}

#[test]
fn nothing_is_a_batch() {
    assert!(Zip215::new([0; 32], 0).verify_batch(&[]).is_empty());
}

#[test]
fn a_large_batch_with_many_bad_ones_ends_in_the_same_verdicts() {
    for every in [1, 2, 3, 16, 100, 511] {
        let cases: Vec<Case> = (0..512)
            .map(|n| {
                let mut case = honest(n);
                case.signature[33] ^= u8::from(n % every == 0);
                case
            })
            .collect();
        let items: Vec<_> = cases.iter().map(Case::item).collect();
        for scheme in schemes([1; 32], 1_000) {
            let verdicts = scheme.verify_batch(&items);
            assert!(verdicts.iter().zip(0..).all(|(good, n)| *good == (n % every != 0)));
        }
    }
}

/// What a random case is made from.
#[derive(Debug, Clone)]
enum Recipe {
    Honest(u64),
    Flipped { n: u64, byte: usize, bit: u8 },
    Crafted(prop::sample::Index),
    Garbage { key: [u8; 32], halves: [[u8; 32]; 2] },
    GarbageUnderKey { n: u64, halves: [[u8; 32]; 2] },
}

impl Recipe {
    fn make(&self, crafted: &[Case]) -> Case {
        match self {
            Self::Honest(n) => honest(*n),
            Self::Flipped { n, byte, bit } => {
                let mut case = honest(*n);
                case.name = "flipped";
                match byte {
                    0..32 => case.key[*byte] ^= 1 << bit,
                    32..96 => case.signature[byte - 32] ^= 1 << bit,
                    _ => case.message[byte - 96] ^= 1 << bit,
                }
                case
            }
            Self::Crafted(index) => index.get(crafted).clone(),
            Self::Garbage { key, halves } => {
                Case { name: "garbage", key: *key, message: Vec::new(), signature: join(halves) }
            }
            Self::GarbageUnderKey { n, halves } => {
                Case { name: "garbage under a key", signature: join(halves), ..honest(*n) }
            }
        }
    }
}

fn join(halves: &[[u8; 32]; 2]) -> [u8; 64] {
    let mut out = [0; 64];
    out[..32].copy_from_slice(&halves[0]);
    // Mostly below the order, so that it gets past the first test.
    out[32..].copy_from_slice(&halves[1]);
    out[63] &= 0x0f;
    out
}

fn recipe() -> impl Strategy<Value = Recipe> {
    prop_oneof![
        8 => any::<u64>().prop_map(Recipe::Honest),
        2 => (any::<u64>(), 0..104usize, 0..8u8).prop_map(|(n, byte, bit)| Recipe::Flipped { n, byte, bit }),
        4 => any::<prop::sample::Index>().prop_map(Recipe::Crafted),
        1 => (any::<[u8; 32]>(), any::<[[u8; 32]; 2]>()).prop_map(|(key, halves)| Recipe::Garbage { key, halves }),
        1 => (any::<u64>(), any::<[[u8; 32]; 2]>()).prop_map(|(n, halves)| Recipe::GarbageUnderKey { n, halves }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_mixtures_get_the_oracles_verdicts(recipes in prop::collection::vec(recipe(), 1..70)) {
        let crafted = crafted();
        let cases: Vec<Case> = recipes.iter().map(|recipe| recipe.make(&crafted)).collect();
        check(&cases);
    }

    #[test]
    fn mostly_good_batches_get_the_oracles_verdicts(
        size in 60usize..300,
        odd in prop::collection::vec((any::<prop::sample::Index>(), recipe()), 0..3),
        seed in any::<[u8; 32]>(),
    ) {
        let crafted = crafted();
        let mut cases: Vec<Case> = (0..size as u64).map(honest).collect();
        for (place, recipe) in &odd {
            let place = place.index(size);
            cases[place] = recipe.make(&crafted);
        }
        let expected: Vec<bool> = cases.iter().map(Case::expected).collect();
        let items: Vec<_> = cases.iter().map(Case::item).collect();
        for scheme in schemes(seed, 50) {
            prop_assert_eq!(&scheme.verify_batch(&items), &expected);
        }
    }
}
