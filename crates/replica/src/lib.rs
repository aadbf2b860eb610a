//! Floor 3 of shardpay: mempool, consensus, certificates and relay as one sans-IO machine.
//!
//! [`Replica`] takes facts ([`Input`]) and gives orders ([`Output`]); [`perform`] carries out its orders
//! on a ledger; [`verify`] is what messages pass before they become facts.

mod api;
mod budget;
mod certificates;
mod config;
mod core;
mod counters;
mod dispatch;
mod epochs;
mod execution;
mod flow;
mod heartbeat;
mod instances;
mod keyed;
mod machine;
mod mempool;
mod opaque;
mod perform;
mod propose;
mod rejoin;
mod relay;
#[cfg(test)]
mod tests_support;
pub mod verify;
mod withhold;

pub use api::{
    Answer, ClientToken, Event, Input, LedgerFact, LedgerOrder, Output, PersistId, Record, RecoveredRecords, Refusal,
    Service, Status,
};
pub use config::{Config, ConsensusTimes, MempoolLimits};
pub use machine::{Keys, Replica};
pub use perform::perform;
