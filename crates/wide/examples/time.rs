//! Prints what decompression and sums cost here: `cargo run --release -p shardpay-wide --example time`.

#![allow(clippy::disallowed_types, clippy::disallowed_macros, reason = "measures and prints; no part of the library")]

use std::hint::black_box;
use std::time::Instant;

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul;
use shardpay_wide::{ShortTerm, Term, Wide};

fn main() {
    let Some(wide) = Wide::detect() else { return println!("this CPU has no AVX-512 IFMA") };
    for count in [8_usize, 16, 32, 64, 128, 256, 512, 1024] {
        let scalar = |n: usize| Scalar::from(n as u64 + 1).invert();
        let points: Vec<EdwardsPoint> = (0..2 * count).map(|n| EdwardsPoint::mul_base(&scalar(n))).collect();
        let encodings: Vec<[u8; 32]> = points.iter().map(|point| point.compress().0).collect();
        let found: Vec<_> = wide.decompress(&encodings).into_iter().flatten().collect();
        let short = |n: usize| u128::from_le_bytes(scalar(n).as_bytes()[..16].try_into().expect("16 bytes"));
        let terms: Vec<Term> = (0..count).map(|n| Term { point: found[n], scalar: scalar(n + 7).to_bytes() }).collect();
        let shorts: Vec<ShortTerm> =
            (count..2 * count).map(|n| ShortTerm { point: found[n], scalar: short(n) }).collect();
        let scalars: Vec<Scalar> =
            (0..2 * count).map(|n| if n < count { scalar(n + 7) } else { Scalar::from(short(n)) }).collect();
        let best = |work: &mut dyn FnMut()| {
            let run = |_| {
                let start = Instant::now();
                work();
                start.elapsed().as_nanos() as f64 / 1000.0 / count as f64
            };
            (0..30).map(run).fold(f64::MAX, f64::min)
        };
        let decompress = best(&mut || drop(black_box(wide.decompress(&encodings[..count]))));
        let sum = best(&mut || assert!(!black_box(wide.vanishes(&terms, &shorts))));
        let dalek = best(&mut || {
            black_box(EdwardsPoint::vartime_multiscalar_mul(&scalars, &points));
        });
        println!(
            "n={count}: decompress {decompress:.2} µs each; sum of n long and n short terms {sum:.2} µs per pair, \
             curve25519-dalek {dalek:.2}"
        );
    }
}
