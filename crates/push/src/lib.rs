//! Floor 5 of shardpay: pushes telemetry as line protocol to InfluxDB 2 write endpoints.
//!
//! Guarantees: `Pusher::push` copies and returns; it waits for no network and no disk. Each endpoint has a
//! queue of its own, bounded in bytes: when it is full the oldest lines go, are counted and logged, so that
//! a page shows what happens now. A write that fails for a while (no connection, 429, 5xx, a token or bucket
//! that is not there yet) is tried again with growing pauses, no sooner than `Retry-After` says; lines that
//! the endpoint calls malformed are dropped and counted, since they stay so.
//!
//! Written to the API of InfluxDB 2 (`POST /api/v2/write?org&bucket&precision`, `Authorization: Token`,
//! gzip), which the demo app and VictoriaMetrics serve as well.

mod process;
mod pusher;
mod send;
mod target;

pub use process::measure_process;
pub use pusher::Pusher;
pub use target::{Precision, PushError, PushTarget, PushTargets};
