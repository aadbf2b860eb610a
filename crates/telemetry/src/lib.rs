//! Floor 3 of shardpay: what every server measures about itself, and how it is written down.
//!
//! Guarantees: recording takes no lock and allocates nothing: counters, gauges and histogram buckets are
//! relaxed atomics behind cheap handles, made once at the start. Task events go through a bounded queue;
//! a full one drops and counts. Nothing here reads a clock or does I/O: time is an argument, and
//! [`Recorder::snapshot`] appends InfluxDB line protocol to the caller's buffer.
//!
//! Names are constants ([`names`]), shared by whoever writes a metric and whoever reads it;
//! `docs/METRICS.md` lists them.

mod events;
mod histogram;
mod line;
pub mod names;
mod recorder;
mod server;

pub use histogram::{Histogram, HistogramSnapshot};
pub use recorder::{Counter, Gauge, Recorder};
pub use server::{ServerKind, ServerTag, Stage};
