//! Many signatures at the price of one multiscalar multiplication, with the verdicts of single checks.
//!
//! For random 128-bit weights z the batch is good iff \[8\](Σ zR + Σ (zk)A − (Σ zs)B) = 0. Terms of equal
//! keys are added up first: a sender's many payments cost one term for the key.
//!
//! **Weights** are pseudo-random in (secret seed, whole batch): the seed makes them unpredictable, and
//! mixing in every signature makes them fresh for each batch, so nobody can learn about weights by
//! watching verdicts and use them later. k is a hash of R, A and M, so the transcript of all (k, s)
//! commits to everything.
//!
//! **Wide**: where the CPU has AVX-512 IFMA, R is decompressed and the sum is computed eight lanes wide
//! (`shardpay-wide`), elsewhere by `curve25519-dalek`. Both compute the same sum of the same points, so both
//! give the same verdict; decision 0015 says what that rests on.
//!
//! **Bisection**: a failed batch is halved down to pairs, which are checked singly; where the left half
//! of a failed range is all good, the right one is known to be bad and not tried as a whole. One bad
//! signature costs less than twice the batch again. Beyond that budget the rest is checked singly at
//! once, so a batch of nothing but bad signatures costs about five times a good one.

use std::ops::Range;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use foldhash::fast::SeedableRandomState;
use shardpay_types::PublicKey;
use shardpay_wide::{Point, ShortTerm, Term};

use super::{KeyPoint, Origin, Scalars, WideScheme, Zip215, decompressed, encoded_r, holds};
use crate::hash::{Hasher, domain, sha256};
use crate::scheme::SignedItem;

/// Ranges up to this length are checked singly.
const SINGLES_MAX: usize = 2;
/// Signatures checked in batches before the rest is checked singly, in multiples of the batch size.
const BUDGET_FACTOR: usize = 3;
/// Batches from so many signatures on are checked eight lanes wide.
const WIDE_MIN: usize = 8;
/// Sums of so many terms are padded with zeros up to the end: from there on `curve25519-dalek` 5 uses
/// Pippenger's algorithm, which is faster from about 100 terms on because half of ours have scalars of 128
/// bits (measured: 6 % at 129 terms, 17 % at 185). Changes speed only.
const PADDED_TERMS: Range<usize> = 128..190;

#[expect(clippy::disallowed_types, reason = "looked up only, never iterated; keyed by a secret seed")]
type KeyIndex = std::collections::HashMap<PublicKey, Option<usize>, SeedableRandomState>;

/// A distinct acceptable key of the batch.
struct Key {
    name: PublicKey,
    point: KeyPoint,
    origin: Origin,
    /// Whether a signature under it was good.
    proven: bool,
}

/// A well-formed signature under an acceptable key, with its weighted scalars.
struct Entry {
    /// Position in the caller's list.
    item: usize,
    /// Position in `Batch::keys`.
    key: usize,
    r: R,
    scalars: Scalars,
    weight: u128,
    weighted_s: Scalar,
    weighted_k: Scalar,
}

/// R as it was sent, and as a point in at least one form.
struct R {
    encoding: [u8; 32],
    edwards: Option<EdwardsPoint>,
    wide: Option<Point>,
}

impl R {
    fn edwards(&self) -> Option<EdwardsPoint> {
        self.edwards.or_else(|| decompressed(self.encoding))
    }
}

pub(super) struct Batch<'a> {
    scheme: &'a Zip215,
    /// What it is checked with when it is wide.
    wide: Option<WideScheme>,
    keys: Vec<Key>,
    entries: Vec<Entry>,
    verdicts: Vec<bool>,
    /// How many more signatures may be tried as parts of a range.
    budget: usize,
}

impl<'a> Batch<'a> {
    /// Sorts out what is malformed or under an unacceptable key: that is bad without further ado.
    pub(super) fn new(scheme: &'a Zip215, items: &[SignedItem<'_>]) -> Self {
        let wide = scheme.wide.filter(|_| items.len() >= WIDE_MIN);
        let mut index = KeyIndex::with_capacity_and_hasher(items.len(), scheme.map_state.clone());
        let mut keys: Vec<Key> = Vec::with_capacity(items.len());
        let mut entries = Vec::with_capacity(items.len());
        let points = rs(wide.as_ref(), items);
        for ((item, signed), r) in items.iter().enumerate().zip(points) {
            let key = *index.entry(signed.key).or_insert_with(|| {
                let (point, origin) = scheme.key_point(&signed.key)?;
                keys.push(Key { name: signed.key, point, origin, proven: false });
                Some(keys.len() - 1)
            });
            let (Some(key), Some(r)) = (key, r) else { continue };
            let Some(scalars) = Scalars::of(&signed.key, signed.message, &signed.signature) else { continue };
            let zero = Scalar::ZERO;
            entries.push(Entry { item, key, r, scalars, weight: 0, weighted_s: zero, weighted_k: zero });
        }
        if let Some(wide) = &wide {
            widen(wide, &mut keys);
        }
        let budget = BUDGET_FACTOR * entries.len();
        Self { scheme, wide, keys, entries, verdicts: vec![false; items.len()], budget }
    }

    /// The verdict of each item; keys that proved good are remembered.
    pub(super) fn verdicts(mut self) -> Vec<bool> {
        if self.entries.len() > SINGLES_MAX {
            self.draw_weights();
        }
        self.settle(0..self.entries.len(), false);
        for entry in self.entries.iter().filter(|entry| self.verdicts[entry.item]) {
            self.keys[entry.key].proven = true;
        }
        for key in self.keys.iter().filter(|key| key.proven && key.origin == Origin::Computed) {
            self.scheme.remember(&key.name, key.point);
        }
        self.verdicts
    }

    /// Finds the verdicts of a range; true when all are good. `bad` says that the range is known to
    /// hold a bad one.
    fn settle(&mut self, range: Range<usize>, bad: bool) -> bool {
        if range.len() <= SINGLES_MAX || range.len() > self.budget {
            return self.settle_singly(range);
        }
        if !bad {
            self.budget -= range.len();
            if self.holds(range.clone()) {
                for entry in &self.entries[range] {
                    self.verdicts[entry.item] = true;
                }
                return true;
            }
        }
        let middle = range.start + range.len() / 2;
        let left = self.settle(range.start..middle, false);
        let right = self.settle(middle..range.end, left);
        left && right
    }

    fn settle_singly(&mut self, range: Range<usize>) -> bool {
        let mut all = true;
        for entry in &self.entries[range] {
            let key = &self.keys[entry.key].point.edwards;
            let good = entry.r.edwards().is_some_and(|r| holds(&entry.scalars, &r, key));
            self.verdicts[entry.item] = good;
            all &= good;
        }
        all
    }

    /// Whether the weighted sum over a range vanishes.
    fn holds(&self, range: Range<usize>) -> bool {
        let entries = &self.entries[range];
        let base: Scalar = entries.iter().map(|entry| -entry.weighted_s).sum();
        let wide = self.wide.as_ref().and_then(|wide| self.holds_wide(wide, entries, &base));
        wide.unwrap_or_else(|| self.holds_portably(entries, base))
    }

    /// Each key that occurs with the sum of its weighted ks.
    fn key_terms(&self, entries: &[Entry]) -> Vec<(usize, Scalar)> {
        let mut term_of_key = vec![usize::MAX; self.keys.len()];
        let mut terms: Vec<(usize, Scalar)> = Vec::with_capacity(entries.len());
        for entry in entries {
            let term = &mut term_of_key[entry.key];
            if *term == usize::MAX {
                *term = terms.len();
                terms.push((entry.key, entry.weighted_k));
            } else {
                terms[*term].1 += entry.weighted_k;
            }
        }
        terms
    }

    /// Nothing when a point is not known in the wide form.
    fn holds_wide(&self, scheme: &WideScheme, entries: &[Entry], base: &Scalar) -> Option<bool> {
        let mut terms = vec![Term { point: scheme.basepoint, scalar: base.to_bytes() }];
        for (key, scalar) in self.key_terms(entries) {
            terms.push(Term { point: self.keys[key].point.wide?, scalar: scalar.to_bytes() });
        }
        let mut short = Vec::with_capacity(entries.len());
        for entry in entries {
            short.push(ShortTerm { point: entry.r.wide?, scalar: entry.weight });
        }
        Some(scheme.wide.vanishes(&terms, &short))
    }

    fn holds_portably(&self, entries: &[Entry], base: Scalar) -> bool {
        let mut scalars = Vec::with_capacity(PADDED_TERMS.end.max(2 * entries.len() + 1));
        let mut points = Vec::with_capacity(PADDED_TERMS.end.max(2 * entries.len() + 1));
        for entry in entries {
            let Some(r) = entry.r.edwards() else { return false };
            scalars.push(Scalar::from(entry.weight));
            points.push(r);
        }
        scalars.push(base);
        points.push(ED25519_BASEPOINT_POINT);
        for (key, scalar) in self.key_terms(entries) {
            scalars.push(scalar);
            points.push(self.keys[key].point.edwards);
        }
        if PADDED_TERMS.contains(&scalars.len()) {
            scalars.resize(PADDED_TERMS.end, Scalar::ZERO);
            points.resize(PADDED_TERMS.end, ED25519_BASEPOINT_POINT);
        }
        EdwardsPoint::vartime_multiscalar_mul(&scalars, &points).mul_by_cofactor().is_identity()
    }

    fn draw_weights(&mut self) {
        let mut transcript = Hasher::new(domain::BATCH);
        transcript.update(&self.scheme.seed).update(&(self.entries.len() as u64).to_le_bytes());
        for entry in &self.entries {
            transcript.update(entry.scalars.k.as_bytes()).update(entry.scalars.s.as_bytes());
        }
        let secret = transcript.finish();
        for (number, pair) in self.entries.chunks_mut(2).enumerate() {
            // No tag: `secret` is known to nobody, and with 40 bytes this is one block of SHA-256.
            let random = sha256(&[&secret, &(number as u64).to_le_bytes()]);
            for (entry, bytes) in pair.iter_mut().zip(random.chunks_exact(16)) {
                entry.weight = u128::from_le_bytes(bytes.try_into().expect("16 bytes"));
                let weight = Scalar::from(entry.weight);
                entry.weighted_s = weight * entry.scalars.s;
                entry.weighted_k = weight * entry.scalars.k;
            }
        }
    }
}

/// The R of each item, none where it is no point.
fn rs(wide: Option<&WideScheme>, items: &[SignedItem<'_>]) -> Vec<Option<R>> {
    let encodings: Vec<[u8; 32]> = items.iter().map(|item| encoded_r(&item.signature)).collect();
    match wide {
        Some(scheme) => {
            let points = scheme.wide.decompress(&encodings).into_iter().zip(encodings);
            points.map(|(wide, encoding)| wide.map(|_| R { encoding, edwards: None, wide })).collect()
        }
        None => {
            let r = |encoding| decompressed(encoding).map(|point| R { encoding, edwards: Some(point), wide: None });
            encodings.into_iter().map(r).collect()
        }
    }
}

/// Brings keys met for the first time into the wide form, together.
fn widen(scheme: &WideScheme, keys: &mut [Key]) {
    let missing: Vec<&mut Key> = keys.iter_mut().filter(|key| key.point.wide.is_none()).collect();
    let encodings: Vec<[u8; 32]> = missing.iter().map(|key| key.name.0).collect();
    for (key, point) in missing.into_iter().zip(scheme.wide.decompress(&encodings)) {
        key.point.wide = point;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Keypair, Signer};

    fn weights(seed: u8, messages: &[&[u8]]) -> Vec<u128> {
        let pair = Keypair::from_seed(&[9; 32]);
        let scheme = Zip215::new([seed; 32], 0);
        let item = |message| SignedItem { key: pair.public_key(), message, signature: pair.sign(message) };
        let items: Vec<_> = messages.iter().map(|message| item(*message)).collect();
        let mut batch = Batch::new(&scheme, &items);
        batch.draw_weights();
        batch.entries.iter().map(|entry| entry.weight).collect()
    }

    #[test]
    fn weights_depend_on_the_seed_and_on_every_signature() {
        let drawn = weights(1, &[b"a", b"b", b"c"]);
        assert_eq!(drawn, weights(1, &[b"a", b"b", b"c"]));
        for other in [weights(2, &[b"a", b"b", b"c"]), weights(1, &[b"a", b"b", b"d"]), weights(1, &[b"b", b"a", b"c"])]
        {
            assert!(drawn.iter().zip(&other).all(|(a, b)| a != b));
        }
        for (n, weight) in drawn.iter().enumerate() {
            assert!(drawn[..n].iter().all(|other| other != weight));
            assert!(*weight != 0, "no weight is zero");
        }
    }

    #[test]
    fn equal_keys_share_a_term() {
        let pair = Keypair::from_seed(&[9; 32]);
        let scheme = Zip215::new([1; 32], 8);
        let item = SignedItem { key: pair.public_key(), message: b"m", signature: pair.sign(b"m") };
        let batch = Batch::new(&scheme, &[item; 9]);
        assert_eq!((batch.keys.len(), batch.entries.len()), (1, 9));
        assert_eq!(batch.verdicts(), [true; 9]);
        assert_eq!(scheme.keys.len(), 1);
    }
}
