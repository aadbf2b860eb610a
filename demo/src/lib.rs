//! The demo app: a page that shows what every server does, live, or what servers did in a finished run.
//!
//! Servers push their telemetry to the same write endpoint that InfluxDB 2 has (`WriteRules`); a bounded
//! window of it is kept in memory (`Store`); pages get a frame a second by server-sent events, computed
//! from the window. No database, no network beyond the host: page, scripts and charts are in the program.

mod alarms;
mod app;
mod books;
mod column;
mod frame;
mod guard;
mod history;
mod ingest;
mod lines;
mod log;
mod node;
mod replay;
mod ring;
mod store;
mod web;

pub use app::{App, Forward};
pub use guard::{Guarded, GuardedStream, Patience};
pub use ingest::WriteRules;
pub use lines::{Batch, Key, Lines, Point, Value};
pub use replay::load;
pub use store::{Intake, Limits, Store};
pub use web::router;
