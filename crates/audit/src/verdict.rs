//! `verdict.json`: every check with its figures, and the evidence when it fails.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Pieces of evidence kept per check; more are counted.
const EVIDENCE_MAX: usize = 20;

/// The checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckName {
    /// The store of every node of the plan can be read, with all blocks up to its tip.
    StoresReadable,
    /// All replicas of a committee hold the same ledger blocks, up to the shortest chain's end.
    ReplicasAgree,
    /// Heights, parents, history roots, chain and committee of the headers are right.
    ChainIntact,
    /// Leaf counts and roots belong to the items.
    LeavesMatch,
    /// Every header's totals balance, and change as its items say.
    SupplyPerCommittee,
    /// Every node's accounts are what the items left, and add up to the header's balances.
    AccountsMatch,
    /// Over the system: balances + in flight + suspense = minted − burned.
    SupplyOverSystem,
    /// Every message consumed is the one its source sent, in order, each once.
    MessagesBetweenCommittees,
    /// No transaction id stands twice among the transactions of all committees.
    ExecutedOnce,
    /// Every certificate is signed by Q members of its epoch.
    CertificatesVerify,
    /// Every acknowledged payment is applied at its height and leaf in the stores of Q members.
    AcknowledgedStored,
    /// Loadgen sent what it was to send.
    RateKept,
}

impl CheckName {
    /// All checks, in the order in which they are shown.
    pub const ALL: [Self; 12] = [
        Self::StoresReadable,
        Self::ReplicasAgree,
        Self::ChainIntact,
        Self::LeavesMatch,
        Self::SupplyPerCommittee,
        Self::AccountsMatch,
        Self::SupplyOverSystem,
        Self::MessagesBetweenCommittees,
        Self::ExecutedOnce,
        Self::CertificatesVerify,
        Self::AcknowledgedStored,
        Self::RateKept,
    ];
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Which.
    pub name: CheckName,
    /// Whether nothing was found against it.
    pub passed: bool,
    /// What was looked at.
    pub figures: BTreeMap<String, u64>,
    /// Number of failures.
    pub failures: u64,
    /// The first of them.
    pub evidence: Vec<String>,
}

/// The verdict over a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Version of these keys.
    pub version: u32,
    /// Whether every check passed.
    pub passed: bool,
    /// All checks.
    pub checks: Vec<Check>,
}

impl Verdict {
    /// The check of that name.
    ///
    /// # Panics
    /// Never for a verdict made by [`crate::audit`], which holds all checks.
    pub fn check(&self, name: CheckName) -> &Check {
        self.checks.iter().find(|check| check.name == name).expect("a verdict holds every check")
    }

    /// The names of the checks that failed.
    pub fn failed(&self) -> Vec<CheckName> {
        self.checks.iter().filter(|check| !check.passed).map(|check| check.name).collect()
    }
}

/// Collects what is found.
pub(crate) struct Findings {
    checks: BTreeMap<CheckName, Check>,
}

impl Findings {
    pub(crate) fn new() -> Self {
        let check =
            |name| (name, Check { name, passed: true, figures: BTreeMap::new(), failures: 0, evidence: Vec::new() });
        Self { checks: CheckName::ALL.map(check).into() }
    }

    fn of(&mut self, name: CheckName) -> &mut Check {
        self.checks.get_mut(&name).expect("every check is there from the start")
    }

    /// Adds to a figure.
    pub(crate) fn figure(&mut self, name: CheckName, figure: &str, count: u64) {
        *self.of(name).figures.entry(figure.to_owned()).or_default() += count;
    }

    /// Notes a failure.
    pub(crate) fn fail(&mut self, name: CheckName, evidence: impl FnOnce() -> String) {
        let check = self.of(name);
        check.passed = false;
        check.failures += 1;
        if check.evidence.len() < EVIDENCE_MAX {
            check.evidence.push(evidence());
        }
    }

    /// Notes a failure unless `holds`.
    pub(crate) fn require(&mut self, holds: bool, name: CheckName, evidence: impl FnOnce() -> String) {
        if !holds {
            self.fail(name, evidence);
        }
    }

    pub(crate) fn verdict(self) -> Verdict {
        let checks: Vec<Check> = self.checks.into_values().collect();
        Verdict { version: 1, passed: checks.iter().all(|check| check.passed), checks }
    }
}
