//! Floor 4 of shardpay: the deterministic simulator that shows the core right under faults.
//!
//! One seed draws everything: committees, clients, latencies, losses, crashes, byzantine members. The
//! real `replica` and `ledger` run on a virtual clock, net and disk; checkers that share no code with
//! them look at everything honest nodes put out. First things break and safety is checked at every
//! step; then everything is mended and all promised work must come to its end. The same seed gives
//! the same trace, event for event.

pub mod byzantine;
mod checkers;
mod coverage;
mod engine;
mod network;
mod node;
mod report;
mod rng;
mod scenario;
mod scheme;
mod signaler;
mod sweep;
mod topology;
mod trace;
mod variant;
mod workload;
mod world;

pub use checkers::Violation;
pub use coverage::{Coverage, REQUIRED};
pub use engine::{Instant, Timeline};
pub use report::{Figures, Outcome, git_commit, replay_command};
pub use rng::Stream;
pub use scenario::{Overrides, Scenario};
pub use scheme::{CheapKey, CheapScheme, SchemeKind};
pub use sweep::{Sweep, SweepSummary};
pub use topology::{NodeIndex, Topology};
pub use trace::TraceDigest;
pub use variant::Variant;
pub use world::World;
