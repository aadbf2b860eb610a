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
//! **Lanes**: where the CPU has AVX-512 IFMA, R is decompressed and the sum is computed eight lanes wide
//! (`shardpay-lanes`), elsewhere by `curve25519-dalek`. Both compute the same sum of the same points, so both
//! give the same verdict; decision 0015 says what that rests on.
//!
//! **Bisection**: a failed batch is halved down to pairs, which are checked singly; where the left half
//! of a failed range is all good, the right one is known to be bad and not tried as a whole. One bad
//! signature costs less than twice the batch again. Beyond that budget the rest is checked singly at
//! once, so a batch of nothing but bad signatures costs about five times a good one.

use std::ops::Range;

use curve25519_dalek::constants::{ED25519_BASEPOINT_COMPRESSED, ED25519_BASEPOINT_POINT};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use foldhash::fast::SeedableRandomState;
use shardpay_lanes::{Lanes, Point, ShortTerm, Term};
use shardpay_types::PublicKey;

use super::{KeyPoint, Origin, Scalars, Zip215, decompressed, encoded_r, holds};
use crate::hash::{Hasher, domain, sha256};
use crate::scheme::SignedItem;

/// Ranges up to this length are checked singly.
const SINGLES_MAX: usize = 2;
/// Signatures checked in batches before the rest is checked singly, in multiples of the batch size.
const BUDGET_FACTOR: usize = 3;
/// Batches from so many signatures on are checked in lanes (measured: about even at 6, better from 8 on).
const LANES_MIN: usize = 8;
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

/// R, in the form in which the batch is checked.
enum R {
    Portable(EdwardsPoint),
    /// With the encoding, for when it has to be checked singly after all.
    Lanes(Point, [u8; 32]),
}

impl R {
    fn edwards(&self) -> EdwardsPoint {
        match self {
            Self::Portable(point) => *point,
            Self::Lanes(_, encoding) => decompressed(*encoding).expect("both decompressions accept the same encodings"),
        }
    }
}

pub(super) struct Batch<'a> {
    scheme: &'a Zip215,
    /// Whether it is checked in lanes.
    lanes: Option<Lanes>,
    keys: Vec<Key>,
    entries: Vec<Entry>,
    verdicts: Vec<bool>,
    /// How many more signatures may be tried as parts of a range.
    budget: usize,
}

impl<'a> Batch<'a> {
    /// Sorts out what is malformed or under an unacceptable key: that is bad without further ado.
    pub(super) fn new(scheme: &'a Zip215, items: &[SignedItem<'_>]) -> Self {
        let lanes = scheme.lanes.filter(|_| items.len() >= LANES_MIN);
        let mut index = KeyIndex::with_capacity_and_hasher(items.len(), scheme.map_state.clone());
        let mut keys: Vec<Key> = Vec::with_capacity(items.len());
        let mut entries = Vec::with_capacity(items.len());
        let points = rs(lanes, items);
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
        if let Some(lanes) = lanes {
            fill_lanes(lanes, &mut keys);
        }
        let budget = BUDGET_FACTOR * entries.len();
        Self { scheme, lanes, keys, entries, verdicts: vec![false; items.len()], budget }
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
            let good = holds(&entry.scalars, &entry.r.edwards(), &self.keys[entry.key].point.edwards);
            self.verdicts[entry.item] = good;
            all &= good;
        }
        all
    }

    /// Whether the weighted sum over a range vanishes.
    fn holds(&self, range: Range<usize>) -> bool {
        let entries = &self.entries[range];
        let base: Scalar = entries.iter().map(|entry| -entry.weighted_s).sum();
        match self.lanes {
            Some(lanes) => self.holds_in_lanes(lanes, entries, base),
            None => self.holds_portably(entries, base),
        }
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

    fn holds_in_lanes(&self, lanes: Lanes, entries: &[Entry], base: Scalar) -> bool {
        let basepoint = lanes.decompress(&[ED25519_BASEPOINT_COMPRESSED.0])[0].expect("the basepoint is a point");
        let mut terms = vec![Term { point: basepoint, scalar: base.to_bytes() }];
        terms.extend(self.key_terms(entries).into_iter().map(|(key, scalar)| {
            let point = self.keys[key].point.lanes.expect("filled for a batch in lanes");
            Term { point, scalar: scalar.to_bytes() }
        }));
        let short = entries.iter().map(|entry| match &entry.r {
            R::Lanes(point, _) => ShortTerm { point: *point, scalar: entry.weight },
            R::Portable(_) => unreachable!("a batch in lanes holds such points only"),
        });
        lanes.vanishes(&terms, &short.collect::<Vec<_>>())
    }

    fn holds_portably(&self, entries: &[Entry], base: Scalar) -> bool {
        let mut scalars = Vec::with_capacity(PADDED_TERMS.end.max(2 * entries.len() + 1));
        let mut points = Vec::with_capacity(PADDED_TERMS.end.max(2 * entries.len() + 1));
        for entry in entries {
            scalars.push(Scalar::from(entry.weight));
            points.push(entry.r.edwards());
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
fn rs(lanes: Option<Lanes>, items: &[SignedItem<'_>]) -> Vec<Option<R>> {
    let encodings: Vec<[u8; 32]> = items.iter().map(|item| encoded_r(&item.signature)).collect();
    match lanes {
        Some(lanes) => {
            let points = lanes.decompress(&encodings).into_iter().zip(&encodings);
            points.map(|(point, encoding)| point.map(|point| R::Lanes(point, *encoding))).collect()
        }
        None => encodings.into_iter().map(|encoding| decompressed(encoding).map(R::Portable)).collect(),
    }
}

/// The keys met for the first time, decompressed together.
fn fill_lanes(lanes: Lanes, keys: &mut [Key]) {
    let missing: Vec<&mut Key> = keys.iter_mut().filter(|key| key.point.lanes.is_none()).collect();
    let encodings: Vec<[u8; 32]> = missing.iter().map(|key| key.name.0).collect();
    for (key, point) in missing.into_iter().zip(lanes.decompress(&encodings)) {
        key.point.lanes = Some(point.expect("an acceptable key is a point"));
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
