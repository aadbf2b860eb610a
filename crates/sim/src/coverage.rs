//! What was really met in a run or a sweep: kinds of faults, twists and protocol branches.
//!
//! A sweep in which one of [`REQUIRED`] stands at zero proves less than it says, so it is shown, and
//! over enough seeds it is a failure.

use std::collections::BTreeMap;

use serde::Serialize;

/// Counts by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Coverage(BTreeMap<&'static str, u64>);

/// What a default sweep must meet.
pub const REQUIRED: &[&str] = &[
    "fault: crash",
    "fault: committee crash",
    "fault: store lost",
    "fault: partition",
    "fault: one-way partition",
    "fault: loss",
    "fault: duplication",
    "fault: reordering",
    "fault: slow links",
    "fault: slow node",
    "fault: slow disk",
    "fault: slow execution",
    "fault: clock jump",
    "fault: committee away",
    "crash: anywhere",
    "crash: before a persist",
    "crash: after a persist",
    "crash: at a header vote",
    "crash: after a sync",
    "crash: after execution",
    "crash: between sends",
    "crash: again in recovery",
    "crash: records torn off",
    "crash: ledger batches lost",
    "net: message lost",
    "net: message cut off",
    "net: message doubled",
    "net: message decoded from bytes",
    "twist: equivocator",
    "twist: silent",
    "twist: sends to a subset",
    "twist: withholds history",
    "twist: jumps rounds",
    "twist: spams",
    "twist: lies as relayer",
    "twist: lies about history",
    "twist: signs false headers",
    "twist: forges transactions",
    "twist: twins",
    "signaler: proposes",
    "signaler: equivocates",
    "dag: direct commit",
    "dag: direct skip",
    "dag: indirect commit",
    "dag: indirect skip",
    "dag: leader timeout",
    "dag: catch-up block",
    "dag: block dropped",
    "dag: equivocation seen",
    "dag: block served from the store",
    "dag: pruned",
    "replica: stays out",
    "replica: catch-up started",
    "replica: rejoined",
    "replica: message refused",
    "replica: relay refused",
    "ledger: applied",
    "ledger: short balance",
    "ledger: redeemed",
    "ledger: minted",
    "ledger: replayed",
    "drop: sequence already used",
    "drop: expired",
    "drop: deposit already minted",
    "item: does not start at the cursor",
    "item: certificate does not verify",
    "item: proof does not verify",
    "relay: message sent",
    "relay: pack applied",
    "epoch: closed",
    "epoch: started",
    "epoch: checkpoint certified",
    "epoch: closing of another committee recorded",
    "client: payment",
    "client: redeem",
    "client: gap",
    "client: too far ahead",
    "client: replay",
    "client: replay elsewhere",
    "client: old replay",
    "client: two contents for one sequence",
    "client: overdraft",
    "client: overdraft over two members",
    "client: expired",
    "client: expires soon",
    "client: broken signature",
    "client: broken twin",
    "client: signed twice",
    "client: wrong committee",
    "client: amount zero",
    "client: weak recipient",
    "client: pays itself",
    "client: deposit twice",
    "client: mint without issuer",
    "client: retry",
    "answer: accepted",
    "answer: executed",
    "answer: rejected",
    "receipt verified",
    "credit receipt verified",
];

impl Coverage {
    /// Counts `name` once.
    pub fn hit(&mut self, name: &'static str) {
        self.add(name, 1);
    }

    /// Counts `name` `count` times.
    pub fn add(&mut self, name: &'static str, count: u64) {
        if count > 0 {
            *self.0.entry(name).or_default() += count;
        }
    }

    /// Adds another run's counts.
    pub fn merge(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            self.add(name, *count);
        }
    }

    /// How often `name` was met.
    pub fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// All names with their counts: the required ones in their order, then the others.
    pub fn table(&self) -> Vec<(&'static str, u64)> {
        let required = REQUIRED.iter().map(|name| (*name, self.count(name)));
        let others = self.0.iter().filter(|(name, _)| !REQUIRED.contains(name)).map(|(name, count)| (*name, *count));
        required.chain(others).collect()
    }

    /// Required names that were not met.
    pub fn missing(&self) -> Vec<&'static str> {
        REQUIRED.iter().copied().filter(|name| self.count(name) == 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_zeros_show() {
        let distinct: std::collections::BTreeSet<_> = REQUIRED.iter().collect();
        assert_eq!(distinct.len(), REQUIRED.len());
        let mut coverage = Coverage::default();
        assert_eq!(coverage.missing().len(), REQUIRED.len());
        for name in REQUIRED {
            coverage.hit(name);
        }
        coverage.hit("something else");
        let mut sum = Coverage::default();
        sum.merge(&coverage);
        sum.merge(&coverage);
        assert!(sum.missing().is_empty());
        assert_eq!(sum.table().len(), REQUIRED.len() + 1);
        assert_eq!(sum.count("something else"), 2);
    }
}
