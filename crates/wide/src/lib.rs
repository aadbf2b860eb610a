//! Floor 0 of shardpay: edwards25519 eight lanes wide, for CPUs with AVX-512 IFMA.
//!
//! Two things, which are four fifths of verifying a batch of signatures: [`Wide::decompress`] turns encodings
//! into points, eight at a time, and [`Wide::vanishes`] tells whether \[8\] times a sum of multiples is zero.
//!
//! Guarantees: the same answers as `curve25519-dalek`'s `decompress` (ZIP-215: any encoding whose y is on the
//! curve, canonical or not) and its multiscalar multiplication times the cofactor, for all inputs; the tests
//! compare them. Nothing here is constant time: it is for public data only. Where the CPU lacks the
//! instructions [`Wide::detect`] gives nothing, and callers use `curve25519-dalek`.
//!
//! Why not in `curve25519-dalek`: its vectors hold one point (four lanes, one per coordinate), its
//! decompression is scalar, and its points cannot be made from coordinates.

#[cfg(target_arch = "x86_64")]
mod field;
#[cfg(target_arch = "x86_64")]
mod msm;
#[cfg(target_arch = "x86_64")]
mod point;

/// An affine point in Niels form: y + x, y − x, 2dxy, each as five limbs of radix 2⁵¹.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point(pub(crate) [[u64; 5]; 3]);

impl Point {
    /// One of y + x, y − x, 2dxy (0, 1, 2) as the bytes of its least representative.
    pub fn part(&self, number: usize) -> [u8; 32] {
        let mut limbs = self.0[number];
        // twice: limbs may be a little above 51 bits, and the value a little above p
        for _ in 0..2 {
            let mut carry = 0;
            for limb in &mut limbs {
                *limb += carry;
                carry = *limb >> 51;
                *limb &= (1 << 51) - 1;
            }
            limbs[0] += 19 * carry;
        }
        let above = limbs[0] >= (1 << 51) - 19 && limbs[1..].iter().all(|limb| *limb == (1 << 51) - 1);
        if above {
            limbs = [limbs[0] - ((1 << 51) - 19), 0, 0, 0, 0];
        }
        let mut bytes = [0; 32];
        for (number, limb) in limbs.iter().enumerate() {
            for bit in 0..51 {
                let at = 51 * number + bit;
                bytes[at / 8] |= ((limb >> bit & 1) as u8) << (at % 8);
            }
        }
        bytes
    }
}

/// A point with a multiplier below 2²⁵³.
#[derive(Clone, Copy)]
pub struct Term {
    /// The point.
    pub point: Point,
    /// Its multiplier, little-endian.
    pub scalar: [u8; 32],
}

/// A point with a short multiplier.
#[derive(Clone, Copy)]
pub struct ShortTerm {
    /// The point.
    pub point: Point,
    /// Its multiplier.
    pub scalar: u128,
}

/// Proof that the CPU has what this crate needs; there is no other way to get one than [`Wide::detect`].
#[derive(Clone, Copy, Debug)]
pub struct Wide(());

#[cfg(target_arch = "x86_64")]
impl Wide {
    /// Asks the CPU.
    pub fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma");
        has.then_some(Self(()))
    }

    /// The points of encodings, none where there is none.
    pub fn decompress(self, encodings: &[[u8; 32]]) -> Vec<Option<Point>> {
        let mut points = Vec::with_capacity(encodings.len());
        for chunk in encodings.chunks(8) {
            let mut eight = [[0; 32]; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            #[allow(unsafe_code, reason = "SAFETY: `self` proves that the CPU has the features")]
            let (found, on_curve) = unsafe { point::decompress(&eight) };
            points.extend((0..chunk.len()).map(|lane| (on_curve >> lane & 1 == 1).then_some(found[lane])));
        }
        points
    }

    /// Whether \[8\](Σ scalar · point) is zero.
    pub fn vanishes(self, terms: &[Term], short_terms: &[ShortTerm]) -> bool {
        #[allow(unsafe_code, reason = "SAFETY: `self` proves that the CPU has the features")]
        unsafe {
            msm::vanishes(terms, short_terms)
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Wide {
    /// This CPU is of another kind.
    pub fn detect() -> Option<Self> {
        None
    }

    /// Never called: nobody has a [`Wide`] here.
    pub fn decompress(self, _: &[[u8; 32]]) -> Vec<Option<Point>> {
        unreachable!("no lanes on this CPU")
    }

    /// Never called: nobody has a [`Wide`] here.
    pub fn vanishes(self, _: &[Term], _: &[ShortTerm]) -> bool {
        unreachable!("no lanes on this CPU")
    }
}
