//! Eight elements of GF(2²⁵⁵ − 19) at a time.
//!
//! An element is five limbs of radix 2⁵¹, each in a vector of eight lanes. **Reduced** means every limb is below
//! 2⁵¹ + 2¹⁵. Every function here takes and gives reduced elements, so no limb exceeds the 52 bits that the
//! multiplier reads. The bounds, per lane:
//! - [`mul`]: a column adds at most 5 low halves (< 2⁵²) and twice 5 high halves (< 2⁵¹, as the product of two
//!   reduced limbs is < 2¹⁰³): < 2^55.4. With 19 times the upper column < 2^59.8.
//! - [`square`]: the same columns, summed in another order.
//! - [`add`]: < 2⁵² + 2¹⁶; [`sub`] adds 2p first, whose limbs (≥ 2⁵² − 38) are no smaller than a reduced one: < 2⁵³ + 2¹⁵.
//! - [`carry`], once, of limbs < 2⁶⁰: carries are < 2⁹, the one that comes round times 19 is < 2^13.3: reduced.
//!
//! High halves count double: the multiplier splits at bit 52, the limbs at bit 51.

use core::arch::x86_64::*;

type Vector = __m512i;

/// Eight reduced elements.
#[derive(Clone, Copy)]
pub(crate) struct Fe8(pub(crate) [Vector; 5]);

const MASK: u64 = (1 << 51) - 1;
const ONE: [u64; 5] = [1, 0, 0, 0, 0];
/// 2p.
const TWO_P: [u64; 5] = [2 * (MASK - 18), 2 * MASK, 2 * MASK, 2 * MASK, 2 * MASK];

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn splat(limbs: &[u64; 5]) -> Fe8 {
    let all = |limb: u64| _mm512_set1_epi64(limb.cast_signed());
    Fe8([all(limbs[0]), all(limbs[1]), all(limbs[2]), all(limbs[3]), all(limbs[4])])
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn zero() -> Fe8 {
    Fe8([_mm512_setzero_si512(); 5])
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn one() -> Fe8 {
    splat(&ONE)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn times_19(x: Vector) -> Vector {
    _mm512_add_epi64(_mm512_add_epi64(_mm512_slli_epi64::<4>(x), _mm512_slli_epi64::<1>(x)), x)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn carry(limbs: &[Vector; 5]) -> Fe8 {
    let mask = _mm512_set1_epi64(MASK.cast_signed());
    let mut out = [_mm512_setzero_si512(); 5];
    for i in 0..5 {
        let from = _mm512_srli_epi64::<51>(limbs[(i + 4) % 5]);
        let from = if i == 0 { times_19(from) } else { from };
        out[i] = _mm512_add_epi64(_mm512_and_si512(limbs[i], mask), from);
    }
    Fe8(out)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn add(a: &Fe8, b: &Fe8) -> Fe8 {
    let mut sum = a.0;
    for i in 0..5 {
        sum[i] = _mm512_add_epi64(sum[i], b.0[i]);
    }
    carry(&sum)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn sub(a: &Fe8, b: &Fe8) -> Fe8 {
    let mut difference = splat(&TWO_P).0;
    for i in 0..5 {
        difference[i] = _mm512_sub_epi64(_mm512_add_epi64(difference[i], a.0[i]), b.0[i]);
    }
    carry(&difference)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn mul(a: &Fe8, b: &Fe8) -> Fe8 {
    let mut low = [_mm512_setzero_si512(); 10];
    let mut high = [_mm512_setzero_si512(); 10];
    for i in 0..5 {
        for j in 0..5 {
            low[i + j] = _mm512_madd52lo_epu64(low[i + j], a.0[i], b.0[j]);
            high[i + j + 1] = _mm512_madd52hi_epu64(high[i + j + 1], a.0[i], b.0[j]);
        }
    }
    let mut columns = low;
    for k in 1..10 {
        columns[k] = _mm512_add_epi64(low[k], _mm512_add_epi64(high[k], high[k]));
    }
    fold(&columns)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn square(a: &Fe8) -> Fe8 {
    let mut cross_high = [_mm512_setzero_si512(); 10];
    let mut cross = [_mm512_setzero_si512(); 10];
    for i in 0..5 {
        for j in i + 1..5 {
            cross_high[i + j + 1] = _mm512_madd52hi_epu64(cross_high[i + j + 1], a.0[i], a.0[j]);
            cross[i + j] = _mm512_madd52lo_epu64(cross[i + j], a.0[i], a.0[j]);
        }
    }
    // column = diagonal low + 2 (cross low + diagonal high + 2 cross high)
    let mut columns = [_mm512_setzero_si512(); 10];
    for k in 0..10 {
        let doubled = _mm512_add_epi64(cross_high[k], cross_high[k]);
        let mut half = _mm512_add_epi64(cross[k], doubled);
        if k % 2 == 1 {
            half = _mm512_madd52hi_epu64(half, a.0[k / 2], a.0[k / 2]);
        }
        columns[k] = _mm512_add_epi64(half, half);
        if k % 2 == 0 {
            columns[k] = _mm512_madd52lo_epu64(columns[k], a.0[k / 2], a.0[k / 2]);
        }
    }
    fold(&columns)
}

/// 2²⁵⁵ = 19: the upper columns come round.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn fold(columns: &[Vector; 10]) -> Fe8 {
    let mut limbs = [_mm512_setzero_si512(); 5];
    for i in 0..5 {
        limbs[i] = _mm512_add_epi64(columns[i], times_19(columns[i + 5]));
    }
    carry(&limbs)
}

/// Squared `count` times.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn squares(a: &Fe8, count: u32) -> Fe8 {
    let mut power = *a;
    for _ in 0..count {
        power = square(&power);
    }
    power
}

/// x to the power of (p − 5) / 8 = 2²⁵² − 3; `e5` stands for x to the power of 2⁵ − 1.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn pow_p58(x: &Fe8) -> Fe8 {
    let x2 = square(x);
    let x9 = mul(&squares(&x2, 2), x);
    let x11 = mul(&x9, &x2);
    let e5 = mul(&square(&x11), &x9);
    let e10 = mul(&squares(&e5, 5), &e5);
    let e20 = mul(&squares(&e10, 10), &e10);
    let e40 = mul(&squares(&e20, 20), &e20);
    let e50 = mul(&squares(&e40, 10), &e10);
    let e100 = mul(&squares(&e50, 50), &e50);
    let e200 = mul(&squares(&e100, 100), &e100);
    let e250 = mul(&squares(&e200, 50), &e50);
    mul(&squares(&e250, 2), x)
}

/// The representative below p. One more carry leaves the value below 2p; adding 19 tells whether it is p or more.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn canonical(a: &Fe8) -> Fe8 {
    let mask = _mm512_set1_epi64(MASK.cast_signed());
    let mut limbs = carry(&a.0).0;
    let mut above = _mm512_srli_epi64::<51>(_mm512_add_epi64(limbs[0], _mm512_set1_epi64(19)));
    for i in 1..5 {
        above = _mm512_srli_epi64::<51>(_mm512_add_epi64(limbs[i], above));
    }
    let mut carried = times_19(above);
    for i in 0..5 {
        let limb = _mm512_add_epi64(limbs[i], carried);
        limbs[i] = _mm512_and_si512(limb, mask);
        carried = _mm512_srli_epi64::<51>(limb);
    }
    Fe8(limbs)
}

/// The lanes that are zero.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn is_zero(a: &Fe8) -> u8 {
    let limbs = canonical(a).0;
    let mut any = limbs[0];
    for i in 1..5 {
        any = _mm512_or_si512(any, limbs[i]);
    }
    _mm512_testn_epi64_mask(any, any)
}

/// The lanes that are odd.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn is_odd(a: &Fe8) -> u8 {
    _mm512_test_epi64_mask(canonical(a).0[0], _mm512_set1_epi64(1))
}

/// Lanes of `b` where the mask is set, of `a` elsewhere.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn select(mask: u8, a: &Fe8, b: &Fe8) -> Fe8 {
    let mut limbs = a.0;
    for i in 0..5 {
        limbs[i] = _mm512_mask_blend_epi64(mask, a.0[i], b.0[i]);
    }
    Fe8(limbs)
}

/// The low 255 bits of eight little-endian numbers; values of p and above stand for themselves mod p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn unpack(bytes: &[[u8; 32]; 8]) -> Fe8 {
    let word = |lane: usize, at: usize| {
        let eight = bytes[lane][8 * at..8 * at + 8].try_into().expect("eight bytes");
        i64::from_le_bytes(eight)
    };
    let mut words = [_mm512_setzero_si512(); 4];
    for i in 0..4 {
        let (low, high) =
            ([word(0, i), word(1, i), word(2, i), word(3, i)], [word(4, i), word(5, i), word(6, i), word(7, i)]);
        words[i] = _mm512_set_epi64(high[3], high[2], high[1], high[0], low[3], low[2], low[1], low[0]);
    }
    let [a, b, c, d] = words;
    let mask = _mm512_set1_epi64(MASK.cast_signed());
    let limbs = [
        a,
        _mm512_or_si512(_mm512_srli_epi64::<51>(a), _mm512_slli_epi64::<13>(b)),
        _mm512_or_si512(_mm512_srli_epi64::<38>(b), _mm512_slli_epi64::<26>(c)),
        _mm512_or_si512(_mm512_srli_epi64::<25>(c), _mm512_slli_epi64::<39>(d)),
        _mm512_srli_epi64::<12>(d),
    ];
    let mut out = limbs;
    for i in 0..5 {
        out[i] = _mm512_and_si512(limbs[i], mask);
    }
    Fe8(out)
}

/// Limb by limb, the eight lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn limbs_of(a: &Fe8) -> [[u64; 8]; 5] {
    let mut out = [[0; 8]; 5];
    for i in 0..5 {
        out[i] = lanes_of(a.0[i]);
    }
    out
}

#[allow(unsafe_code)]
fn lanes_of(vector: Vector) -> [u64; 8] {
    // SAFETY: both are 512 bits of plain integers, of which every pattern is valid.
    unsafe { core::mem::transmute(vector) }
}
