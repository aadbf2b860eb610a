//! The frontier of a log (a compact range from zero): what appending and the root need, no more.

use shardpay_types::{COUNTER_MAX, Codec, DecodeError, Hash, Reader};

use super::{fold_peaks, node_hash};

/// A log's count and its peaks: the roots of the perfect subtrees it consists of. At most 62 hashes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    count: u64,
    /// One per set bit of `count`, largest subtree first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The empty log.
    pub const fn new() -> Self {
        Self { count: 0, peaks: Vec::new() }
    }

    /// Wraps peaks that match `count`.
    pub(super) fn from_parts(count: u64, peaks: Vec<Hash>) -> Self {
        assert_eq!(peaks.len(), count.count_ones() as usize, "one peak per set bit of the count");
        Self { count, peaks }
    }

    /// Number of leaves.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The peaks, largest subtree first; one per set bit of the count.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Appends a leaf hash; amortised O(1).
    ///
    /// # Panics
    /// Beyond [`COUNTER_MAX`] leaves, which no log reaches.
    pub fn append(&mut self, leaf: Hash) {
        assert!(self.count < COUNTER_MAX, "a log holds at most 2^62 leaves");
        let mut node = leaf;
        for _ in 0..self.count.trailing_ones() {
            let left = self.peaks.pop().expect("one peak per set bit of the count");
            node = node_hash(&left, &node);
        }
        self.peaks.push(node);
        self.count += 1;
    }

    /// Root of the tree; at most 62 hashes.
    pub fn root(&self) -> Hash {
        fold_peaks(self.peaks.iter())
    }
}

/// The count, then the peaks; how many there are follows from the count.
impl Codec for Frontier {
    const MIN_LEN: usize = 8;
    fn encode(&self, out: &mut Vec<u8>) {
        self.count.encode(out);
        for peak in &self.peaks {
            peak.encode(out);
        }
    }
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = u64::decode(reader)?;
        // Half the limit of `append`, so that no decoded frontier can make appending panic.
        if count > COUNTER_MAX / 2 {
            return Err(DecodeError::OutOfRange { what: "Frontier", value: count, max: COUNTER_MAX / 2 });
        }
        let peaks = (0..count.count_ones()).map(|_| Hash::decode(reader)).collect::<Result<_, _>>()?;
        Ok(Self { count, peaks })
    }
}
