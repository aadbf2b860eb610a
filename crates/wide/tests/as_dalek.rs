//! The same answers as `curve25519-dalek`, on CPUs that have the instructions (elsewhere there is nothing to test,
//! and `Wide::detect` says so).

#![allow(clippy::disallowed_macros, reason = "tests say when there is nothing to test")]

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity, IsIdentity, VartimeMultiscalarMul};
use proptest::prelude::*;
use shardpay_wide::{Point, ShortTerm, Term, Wide};

/// Which encodings are points, and that they are dalek's points: p − q vanishes, and so does p + (−p).
fn check_encodings(wide: Wide, encodings: &[[u8; 32]]) -> usize {
    let found = wide.decompress(encodings);
    assert_eq!(found.len(), encodings.len());
    for (encoding, found) in encodings.iter().zip(&found) {
        let expected = CompressedEdwardsY(*encoding).decompress();
        assert_eq!(found.is_some(), expected.is_some(), "{encoding:?}");
        if let (Some(found), Some(expected)) = (found, expected) {
            // the canonical encoding of dalek's point decompresses to the same affine point
            let again = wide.decompress(&[expected.compress().0])[0].expect("dalek encodes points");
            assert!(same(wide, found, &again), "{encoding:?}");
            // y + x and y - x tell small-order parts apart too, as numbers mod p
            assert!((0..3).all(|part| found.part(part) == again.part(part)), "{encoding:?}");
        }
    }
    found.iter().flatten().count()
}

/// Equal up to small order, which `vanishes` cannot see.
fn same(wide: Wide, a: &Point, b: &Point) -> bool {
    let minus_one = (-Scalar::ONE).to_bytes();
    let terms = [Term { point: *a, scalar: Scalar::ONE.to_bytes() }, Term { point: *b, scalar: minus_one }];
    wide.vanishes(&terms, &[])
}

fn point(wide: Wide, point: &EdwardsPoint) -> Point {
    wide.decompress(&[point.compress().0])[0].expect("an encoded point")
}

/// A point and a scalar from two numbers; every eighth point has each small-order part.
fn drawn(seed: u64) -> (EdwardsPoint, Scalar) {
    let hash = |n: u64| Scalar::from(n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1).invert();
    let point = EdwardsPoint::mul_base(&hash(seed)) + EIGHT_TORSION[(seed % 8) as usize];
    (point, hash(seed ^ 0x5555_5555))
}

#[test]
fn special_encodings() {
    let Some(wide) = Wide::detect() else { return eprintln!("no AVX-512 IFMA on this CPU") };
    let mut all = Vec::new();
    for sign in [0, 0x80] {
        // small y, and every y around p and up to 2^255 − 1
        for n in 0..300_u32 {
            let mut low = [0; 32];
            low[..4].copy_from_slice(&n.to_le_bytes());
            low[31] |= sign;
            let mut high = [0xff; 32];
            high[..4].copy_from_slice(&(u32::MAX - n).to_le_bytes());
            high[31] = 0x7f | sign;
            all.extend([low, high]);
        }
        for point in EIGHT_TORSION {
            let mut encoding = point.compress().0;
            encoding[31] ^= sign;
            all.push(encoding);
        }
    }
    assert!(check_encodings(wide, &all) > 500);
}

#[test]
fn zero_terms_and_small_order_vanish() {
    let Some(wide) = Wide::detect() else { return eprintln!("no AVX-512 IFMA on this CPU") };
    assert!(wide.vanishes(&[], &[]));
    for torsion in EIGHT_TORSION {
        let term = Term { point: point(wide, &torsion), scalar: Scalar::ONE.to_bytes() };
        assert!(wide.vanishes(&[term], &[]), "the cofactor takes it away");
    }
    let base = point(wide, &ED25519_BASEPOINT_POINT);
    assert!(!wide.vanishes(&[Term { point: base, scalar: Scalar::ONE.to_bytes() }], &[]));
    assert!(!wide.vanishes(&[], &[ShortTerm { point: base, scalar: u128::MAX }]));
    let undo = -Scalar::from(u128::MAX);
    let terms = [Term { point: base, scalar: undo.to_bytes() }];
    assert!(wide.vanishes(&terms, &[ShortTerm { point: base, scalar: u128::MAX }]));
}

#[test]
fn sums_of_every_size() {
    let Some(wide) = Wide::detect() else { return eprintln!("no AVX-512 IFMA on this CPU") };
    for size in [1, 2, 3, 7, 8, 9, 12, 13, 24, 25, 40, 41, 80, 81, 210, 211, 420, 421, 1_100, 2_401] {
        let (mut points, mut scalars): (Vec<_>, Vec<_>) = (0..size).map(|n| drawn(n * 77 + size)).unzip();
        if size > 12 {
            points[1] = points[0];
            points[2] = -points[0];
            points[3] = EdwardsPoint::identity();
            scalars[2] = scalars[0];
            scalars[4] = Scalar::ZERO;
            scalars[5] = -Scalar::ONE;
            scalars[6] = Scalar::from_bytes_mod_order([0x77; 32]);
            scalars[7] = Scalar::from_bytes_mod_order([0x88; 32]);
            scalars[8] = Scalar::from_bytes_mod_order([0xff; 32]);
        }
        let sum = EdwardsPoint::vartime_multiscalar_mul(&scalars, &points);
        points.push(-sum);
        scalars.push(Scalar::ONE);
        let mut terms: Vec<Term> =
            points.iter().zip(&scalars).map(|(p, s)| Term { point: point(wide, p), scalar: s.to_bytes() }).collect();
        assert!(wide.vanishes(&terms, &[]), "{size}");
        let last = terms.last_mut().expect("one at least");
        last.scalar = Scalar::from(2_u8).to_bytes();
        assert_eq!(wide.vanishes(&terms, &[]), sum.mul_by_cofactor().is_identity(), "{size}, off by one point");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_encoding(encodings in prop::collection::vec(any::<[u8; 32]>(), 1..20)) {
        if let Some(wide) = Wide::detect() {
            check_encodings(wide, &encodings);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn long_and_short_terms(
        long in prop::collection::vec((any::<u64>(), any::<[u8; 32]>()), 0..60),
        short in prop::collection::vec((any::<u64>(), any::<u128>()), 0..60),
        off in any::<bool>(),
    ) {
        if let Some(wide) = Wide::detect() {
            let mut points: Vec<EdwardsPoint> = Vec::new();
            let mut scalars = Vec::new();
            for (seed, bytes) in &long {
                points.push(drawn(*seed).0);
                scalars.push(Scalar::from_bytes_mod_order(*bytes));
            }
            let short_points: Vec<EdwardsPoint> = short.iter().map(|(seed, _)| drawn(*seed).0).collect();
            let all_points: Vec<_> = points.iter().chain(&short_points).copied().collect();
            let all_scalars: Vec<_> = scalars.iter().copied().chain(short.iter().map(|(_, s)| Scalar::from(*s))).collect();
            let sum = EdwardsPoint::vartime_multiscalar_mul(&all_scalars, &all_points);
            points.push(if off { -sum + ED25519_BASEPOINT_POINT } else { -sum });
            scalars.push(Scalar::ONE);
            let terms: Vec<Term> =
                points.iter().zip(&scalars).map(|(p, s)| Term { point: point(wide, p), scalar: s.to_bytes() }).collect();
            let short_terms: Vec<ShortTerm> = short_points
                .iter()
                .zip(&short)
                .map(|(p, (_, s))| ShortTerm { point: point(wide, p), scalar: *s })
                .collect();
            prop_assert_eq!(wide.vanishes(&terms, &short_terms), !off);
        }
    }
}
