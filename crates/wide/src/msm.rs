//! A sum of multiples by Pippenger's buckets, a lane for each window.
//!
//! Scalars are cut into signed digits of `width` bits. A group is eight neighbouring windows, one per lane, and
//! every lane has its own buckets: a point is added, in all lanes at once, to the bucket that its digit names in
//! that lane's window. Then each lane adds up its buckets, weighted, by running sums; windows are put together by
//! doubling, first across groups in all lanes, then across lanes.
//!
//! A bucket is 20 limbs in a row of three vectors (192 bytes), so a lane touches three lines of cache for a bucket.

use core::arch::x86_64::*;

use crate::field::Fe8;
use crate::point::{Point8, add_niels, add_points, double, identity, is_identity};
use crate::{Point, ShortTerm, Term};

/// Most bits of a long scalar; of a short one.
const LONG_BITS: usize = 253;
const SHORT_BITS: usize = 128;
/// u64 words of a bucket's row: 20 limbs, padded to three lines of cache.
const ROW_WORDS: usize = 24;

/// Eight windows' digits of one scalar.
type Digits = [i8; 8];

/// \[8\](Σ scalar · point) = 0.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn vanishes(terms: &[Term], short_terms: &[ShortTerm]) -> bool {
    let width = width_for(terms.len() + short_terms.len());
    let groups = groups_of(LONG_BITS, width);
    let short_groups = groups_of(SHORT_BITS, width);
    let long: Vec<Digits> = terms.iter().flat_map(|term| digits(term.scalar, width, groups)).collect();
    let short: Vec<Digits> =
        short_terms.iter().flat_map(|term| digits(widened(term.scalar), width, short_groups)).collect();
    let mut buckets = Buckets::new(width);
    let mut sum = identity();
    for group in (0..groups).rev() {
        for _ in 0..8 * width {
            sum = double(&sum);
        }
        buckets.clear();
        for (term, digits) in terms.iter().zip(long.chunks_exact(groups)) {
            buckets.add(&term.point, &digits[group]);
        }
        if group < short_groups {
            for (term, digits) in short_terms.iter().zip(short.chunks_exact(short_groups)) {
                buckets.add(&term.point, &digits[group]);
            }
        }
        sum = add_points(&sum, &buckets.weighted_sum());
    }
    let mut sum = across_lanes(&sum, width);
    for _ in 0..3 {
        sum = double(&sum);
    }
    is_identity(&sum) & 1 == 1
}

/// The width of windows: wide ones need fewer additions per point, narrow ones fewer per bucket. Measured with
/// `examples/time.rs`; five bits hardly ever win, their windows fill the eight lanes badly.
const fn width_for(terms: usize) -> usize {
    match terms {
        0..=22 => 3,
        23..=90 => 4,
        91..=900 => 6,
        _ => 7,
    }
}

/// Groups of eight windows that hold a scalar of so many bits and its last carry.
const fn groups_of(bits: usize, width: usize) -> usize {
    (bits / width + 1).div_ceil(8)
}

fn widened(scalar: u128) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&scalar.to_le_bytes());
    bytes
}

/// Digits from −2^(width − 1) + 1 to 2^(width − 1), lowest window first.
fn digits(scalar: [u8; 32], width: usize, groups: usize) -> impl Iterator<Item = Digits> {
    let (half, whole) = (1 << (width - 1), 1 << width);
    let mut carry = 0;
    (0..groups).map(move |group| {
        let mut digits = [0; 8];
        for (lane, digit) in digits.iter_mut().enumerate() {
            let at = (8 * group + lane) * width;
            let byte = |index: usize| scalar.get(index).copied().map_or(0, i16::from);
            let window = (byte(at / 8) | byte(at / 8 + 1) << 8).cast_unsigned() >> (at % 8);
            let value = (window & (whole - 1)).cast_signed() + carry;
            carry = i16::from(value > half);
            let value = if carry == 1 { value - whole.cast_signed() } else { value };
            *digit = i8::try_from(value).expect("at most seven bits and a sign");
        }
        assert!(group + 1 < groups || carry == 0, "the groups hold the last carry");
        digits
    })
}

/// 2^(width · lane) times each lane, added up in lane 0.
#[target_feature(enable = "avx512f,avx512ifma")]
fn across_lanes(lanes: &Point8, width: usize) -> Point8 {
    let mut sum = *lanes;
    for step in [1, 2, 4] {
        let mut shifted = rotated(&sum, step);
        for _ in 0..step as usize * width {
            shifted = double(&shifted);
        }
        sum = add_points(&sum, &shifted);
    }
    sum
}

/// Lane l holds what lane l + step held.
#[target_feature(enable = "avx512f,avx512ifma")]
fn rotated(p: &Point8, step: i64) -> Point8 {
    let lane = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    let from = _mm512_and_si512(_mm512_add_epi64(lane, _mm512_set1_epi64(step)), _mm512_set1_epi64(7));
    let mut out = *p;
    for part in [&mut out.x, &mut out.y, &mut out.z, &mut out.t] {
        for limb in &mut part.0 {
            *limb = _mm512_permutexvar_epi64(from, *limb);
        }
    }
    out
}

/// Every lane's buckets, from 0 (what digits of zero fall into) to 2^(width − 1).
struct Buckets {
    /// Lane by lane, bucket by bucket, three vectors each.
    rows: Vec<[__m512i; 3]>,
    per_lane: usize,
}

impl Buckets {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn new(width: usize) -> Self {
        let per_lane = (1 << (width - 1)) + 1;
        Self { rows: vec![[_mm512_setzero_si512(); 3]; 8 * per_lane], per_lane }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn clear(&mut self) {
        let empty = identity();
        for bucket in 0..self.per_lane {
            self.put(_mm512_set1_epi64(bucket as i64), &empty);
        }
    }

    /// Adds a point to the bucket that each lane's digit names, with the digit's sign.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn add(&mut self, point: &Point, digits: &Digits) {
        let digits = _mm512_cvtepi8_epi64(_mm_cvtsi64_si128(i64::from_le_bytes(digits.map(i8::cast_unsigned))));
        let negative = _mm512_cmplt_epi64_mask(digits, _mm512_setzero_si512());
        let bucket = _mm512_abs_epi64(digits);
        let sum = add_niels(&self.get(bucket), point, negative);
        self.put(bucket, &sum);
    }

    /// Σ bucket · number: the sum of the running sums from the top.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn weighted_sum(&self) -> Point8 {
        let (mut running, mut sum) = (identity(), identity());
        for bucket in (1..self.per_lane).rev() {
            running = add_points(&running, &self.get(_mm512_set1_epi64(bucket as i64)));
            sum = add_points(&sum, &running);
        }
        sum
    }

    /// Where each lane's bucket begins, in words. Bucket numbers above the last count as the last.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn place(&self, bucket: __m512i) -> __m512i {
        assert!(self.rows.len() == 8 * self.per_lane && self.per_lane < 1 << 16);
        let last = _mm512_set1_epi64(self.per_lane as i64 - 1);
        let first = (self.per_lane * ROW_WORDS) as i64;
        let lane = _mm512_set_epi64(7 * first, 6 * first, 5 * first, 4 * first, 3 * first, 2 * first, first, 0);
        let bucket = _mm512_min_epu64(bucket, last);
        _mm512_add_epi64(lane, _mm512_add_epi64(_mm512_slli_epi64::<4>(bucket), _mm512_slli_epi64::<3>(bucket)))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[allow(unsafe_code)]
    fn get(&self, bucket: __m512i) -> Point8 {
        let place = self.place(bucket);
        let base = self.rows.as_ptr().cast::<i64>();
        let mut limbs = [_mm512_setzero_si512(); 20];
        for (number, limb) in limbs.iter_mut().enumerate() {
            // SAFETY: `place` is at most 24 · (8 · per_lane − 1) in every lane and `number` at most 19, so what is
            // read lies within the 24 · 8 · per_lane words of `rows` (`place` asserts the length).
            *limb = unsafe { _mm512_i64gather_epi64::<8>(place, base.add(number)) };
        }
        let part =
            |first: usize| Fe8([limbs[first], limbs[first + 1], limbs[first + 2], limbs[first + 3], limbs[first + 4]]);
        Point8 { x: part(0), y: part(5), z: part(10), t: part(15) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[allow(unsafe_code)]
    fn put(&mut self, bucket: __m512i, point: &Point8) {
        let place = self.place(bucket);
        let base = self.rows.as_mut_ptr().cast::<i64>();
        for (part, element) in [&point.x, &point.y, &point.z, &point.t].into_iter().enumerate() {
            for (number, limb) in element.0.iter().enumerate() {
                // SAFETY: as in `get`; lanes write to rows of their own.
                unsafe { _mm512_i64scatter_epi64::<8>(base.add(5 * part + number), place, *limb) };
            }
        }
    }
}
