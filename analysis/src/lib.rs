//! Works over the directories of finished runs (`docs/RUNS.md`): checks them again, compares them, draws them.
//!
//! Guarantees: figures come from run directories alone; a run whose verdict failed, or whose load was not kept, is never
//! averaged with others in silence. See `docs/ANALYSIS.md`.

pub mod browser;
pub mod cli;
pub mod compare;
pub mod history;
pub mod metrics;
pub mod model;
pub mod report;
pub mod runs;
pub mod stats;
pub mod verify;
