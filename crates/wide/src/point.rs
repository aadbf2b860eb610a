//! Points in eight lanes: decompression, addition, doubling (extended twisted Edwards coordinates: Hisil, Wong,
//! Carter, Dawson, "Twisted Edwards curves revisited", 2008). The formulas are complete: no case is special.

use crate::Point;
use crate::field::{Fe8, add, is_odd, is_zero, limbs_of, mul, one, pow_p58, select, splat, square, sub, unpack, zero};

/// The curve's d = −121665 / 121666.
const D: [u64; 5] = [929955233495203, 466365720129213, 1662059464998953, 2033849074728123, 1442794654840575];
/// A square root of −1.
const SQRT_MINUS_ONE: [u64; 5] =
    [1718705420411056, 234908883556509, 2233514472574048, 2117202627021982, 765476049583133];

/// Eight points: x = X/Z, y = Y/Z, xy = T/Z.
#[derive(Clone, Copy)]
pub(crate) struct Point8 {
    pub(crate) x: Fe8,
    pub(crate) y: Fe8,
    pub(crate) z: Fe8,
    pub(crate) t: Fe8,
}

/// The points of eight encodings, and the mask of those that are points. The rule is RFC 8032's with two
/// liberties (ZIP-215): y need not be below p, and x = 0 may carry a sign.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn decompress(encodings: &[[u8; 32]; 8]) -> ([Point; 8], u8) {
    let y = unpack(encodings);
    let yy = square(&y);
    let u = sub(&yy, &one());
    let v = add(&mul(&yy, &splat(&D)), &one());
    // x = u v³ (u v⁷)^((p − 5) / 8), or that times √−1
    let v3 = mul(&square(&v), &v);
    let v7 = mul(&square(&v3), &v);
    let root = mul(&mul(&u, &v3), &pow_p58(&mul(&u, &v7)));
    let vxx = mul(&v, &square(&root));
    let i = splat(&SQRT_MINUS_ONE);
    let right = is_zero(&sub(&vxx, &u));
    let flipped = is_zero(&add(&vxx, &u));
    let x = select(flipped, &root, &mul(&root, &i));
    let mut signs = 0;
    for lane in 0..8 {
        signs |= (encodings[lane][31] >> 7) << lane;
    }
    let x = select(is_odd(&x) ^ signs, &x, &sub(&zero(), &x));
    (niels(&x, &y), right | flipped)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn niels(x: &Fe8, y: &Fe8) -> [Point; 8] {
    let dxy = mul(&mul(x, y), &splat(&D));
    let parts = [limbs_of(&add(y, x)), limbs_of(&sub(y, x)), limbs_of(&add(&dxy, &dxy))];
    let mut points = [Point([[0; 5]; 3]); 8];
    for (lane, point) in points.iter_mut().enumerate() {
        for part in 0..3 {
            for limb in 0..5 {
                point.0[part][limb] = parts[part][limb][lane];
            }
        }
    }
    points
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn identity() -> Point8 {
    Point8 { x: zero(), y: one(), z: one(), t: zero() }
}

/// One affine point in all lanes, negated where the mask is set: minus a point swaps the first two parts.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn add_niels(p: &Point8, point: &Point, negated: u8) -> Point8 {
    let (plus, minus, t2d) = (splat(&point.0[0]), splat(&point.0[1]), splat(&point.0[2]));
    let a = mul(&sub(&p.y, &p.x), &select(negated, &minus, &plus));
    let b = mul(&add(&p.y, &p.x), &select(negated, &plus, &minus));
    let c = mul(&p.t, &select(negated, &t2d, &sub(&zero(), &t2d)));
    complete(&a, &b, &c, &add(&p.z, &p.z))
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn add_points(p: &Point8, q: &Point8) -> Point8 {
    let a = mul(&sub(&p.y, &p.x), &sub(&q.y, &q.x));
    let b = mul(&add(&p.y, &p.x), &add(&q.y, &q.x));
    let d = splat(&D);
    let c = mul(&mul(&p.t, &q.t), &add(&d, &d));
    let z = mul(&p.z, &q.z);
    complete(&a, &b, &c, &add(&z, &z))
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn complete(a: &Fe8, b: &Fe8, c: &Fe8, d: &Fe8) -> Point8 {
    let (e, f, g, h) = (sub(b, a), sub(d, c), add(d, c), add(b, a));
    Point8 { x: mul(&e, &f), y: mul(&g, &h), z: mul(&f, &g), t: mul(&e, &h) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn double(p: &Point8) -> Point8 {
    let (xx, yy, zz) = (square(&p.x), square(&p.y), square(&p.z));
    let h = add(&yy, &xx);
    let g = sub(&yy, &xx);
    let e = sub(&square(&add(&p.x, &p.y)), &h);
    let f = sub(&add(&zz, &zz), &g);
    Point8 { x: mul(&e, &f), y: mul(&h, &g), z: mul(&g, &f), t: mul(&e, &h) }
}

/// The lanes that are the identity.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn is_identity(p: &Point8) -> u8 {
    is_zero(&p.x) & is_zero(&sub(&p.y, &p.z))
}
