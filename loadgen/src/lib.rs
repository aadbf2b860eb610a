//! Load on a ledger: open loop by intended times, latency free of coordinated omission.
//!
//! Payments are signed before they are needed ([`workload`]; [`choice`], [`amounts`] or a [`trace`] say which); [`schedule`] says when each is to be sent,
//! [`pacer`] sends what is due and counts what it skips; [`tracker`] matches verified blocks with what is in
//! flight; [`drive`] runs the phases; [`via`] drives a payment service instead of the nodes; [`short`] says why a load fell short. How to use it: docs/LOADGEN.md; its files:
//! docs/RUNS.md.

pub mod accounts;
pub mod amounts;
pub mod choice;
pub mod cpu;
pub mod drive;
pub mod fund;
pub mod held;
pub mod latencies;
pub mod network;
pub mod pacer;
pub mod progress;
pub mod random;
pub mod schedule;
pub mod series;
pub mod short;
pub mod source;
pub mod start;
pub mod trace;
pub mod tracker;
pub mod via;
pub mod workload;
