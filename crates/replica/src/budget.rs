//! How much a node may ask of us: a token bucket per sender.
//!
//! Guarantees: a node that floods us with requests costs a bounded amount of ledger reads and answers,
//! and nobody else's budget. Bounded by the number of nodes in the plan.

use std::collections::BTreeMap;
use std::time::Duration;

use shardpay_types::{NodeId, Timestamp};

/// Requests a node may make at once.
const BURST: u32 = 128;
/// Time in which one more request is allowed.
const REFILL: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: u32,
    filled: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Budgets {
    buckets: BTreeMap<NodeId, Bucket>,
}

impl Budgets {
    /// Whether `node` may make one more request now.
    pub(crate) fn take(&mut self, now: Timestamp, node: NodeId) -> bool {
        let bucket = self.buckets.entry(node).or_insert(Bucket { tokens: BURST, filled: now });
        let earned = now.since(bucket.filled).as_micros() / REFILL.as_micros();
        if earned > 0 {
            let tokens = u128::from(bucket.tokens) + earned;
            bucket.tokens = tokens.min(u128::from(BURST)) as u32;
            bucket.filled = now;
        }
        let allowed = bucket.tokens > 0;
        bucket.tokens = bucket.tokens.saturating_sub(1);
        allowed
    }

    /// A new plan: whoever is not asking any more is forgotten.
    pub(crate) fn clear(&mut self) {
        self.buckets.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests_support::node;

    #[test]
    fn a_burst_then_a_trickle_and_nobody_else_pays() {
        let mut budgets = Budgets::default();
        let start = Timestamp::from_millis(1_000);
        let granted = (0..1_000).filter(|_| budgets.take(start, node(0, 1))).count();
        assert_eq!(granted, BURST as usize);
        assert!(budgets.take(start, node(0, 2)));
        let later = start.after(REFILL * 10);
        assert_eq!((0..1_000).filter(|_| budgets.take(later, node(0, 1))).count(), 10);
        let much_later = start.after(Duration::from_secs(3_600));
        assert_eq!((0..1_000).filter(|_| budgets.take(much_later, node(0, 1))).count(), BURST as usize);
    }
}
