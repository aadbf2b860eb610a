//! What a run gave: figures, coverage, and the violation with the command that shows it again.

use serde::Serialize;

use crate::checkers::Violation;
use crate::coverage::Coverage;
use crate::engine::Instant;
use crate::scenario::Overrides;
use crate::trace::TraceDigest;

/// Counts of a run, or sums of a sweep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Virtual time.
    pub virtual_micros: u64,
    /// Events that entered the trace.
    pub events: u64,
    /// Messages that nodes sent.
    pub messages: u64,
    /// Payments and redeems that clients made, tricks included.
    pub payments: u64,
    /// Submissions that passed verification at a node.
    pub submitted: u64,
    /// Transactions applied under a certified header, mints included.
    pub certified: u64,
    /// Ledger blocks.
    pub blocks: u64,
    /// Commits, over all honest nodes.
    pub commits: u64,
    /// Planned faults and byzantine members.
    pub faults: u64,
    /// From healing (or the last submission, if later) to the end of all work.
    pub heal_micros: u64,
}

/// The end of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Digest of its trace.
    pub digest: TraceDigest,
    /// Counts.
    pub figures: Figures,
    /// What was met.
    pub coverage: Coverage,
    /// Most messages under way between committees at one time.
    pub most_in_flight: u64,
    /// How often a planted bug had its chance.
    pub planted: u64,
    /// The first violation.
    pub violation: Option<Violation>,
    /// When the run ended.
    pub at: Instant,
    /// Sizes of the committees.
    pub sizes: Vec<usize>,
}

impl Outcome {
    /// The violation with everything needed to see it again.
    pub fn report(&self, overrides: &Overrides) -> Option<String> {
        let violation = self.violation.as_ref()?;
        Some(format!(
            "VIOLATION of \"{}\" at {:.6} s of seed {}\n  {}\n  commit {}\n  replay: {}",
            violation.rule,
            self.at.seconds(),
            self.seed,
            violation.what,
            git_commit(),
            replay_command(self.seed, overrides),
        ))
    }
}

/// The command that runs a seed again.
pub fn replay_command(seed: u64, overrides: &Overrides) -> String {
    let mut command = format!("./shardpay sim run --seed {seed}");
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            command.push_str(&format!(" --{name} {value}"));
        }
    };
    option("committees", overrides.committees.map(|value| value.to_string()));
    option("nodes", overrides.nodes.map(|value| value.to_string()));
    option("seconds", overrides.seconds.map(|value| value.to_string()));
    option("payments", overrides.payments.map(|value| value.to_string()));
    option("variant", overrides.variant.map(|variant| variant.name().to_string()));
    option("profile", overrides.throughput.then(|| "throughput".to_string()));
    for (name, set) in [("real-signatures", overrides.real_signatures), ("fault-free", overrides.fault_free)] {
        if set {
            command.push_str(&format!(" --{name}"));
        }
    }
    command
}

/// The commit the working tree is at, with a mark when it was changed; "unknown" outside of git.
pub fn git_commit() -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_string() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if !changes.is_empty() => format!("{commit}-changed"),
        _ => commit,
    }
}
