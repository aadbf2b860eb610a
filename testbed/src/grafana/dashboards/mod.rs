//! What each page shows.

mod committee;
mod node;
mod overview;
mod pipeline;
mod service;

use super::panel::Dashboard;

/// All pages.
pub(super) fn all() -> [Dashboard; 5] {
    [overview::page(), committee::page(), node::page(), pipeline::page(), service::page()]
}

/// A millisecond, in the histograms' unit.
const MS: f64 = 1_000.0;
/// CPU time is counted in microseconds: per second of time, this makes cores.
const TO_CORES: &str = " / 1000000";
