//! A small network in memory: k committees of n nodes, virtual time, a cheap signature scheme, crashes
//! with restart from what was durable. Safety is checked at every step ([`net::Net::check`]).
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod keys;
pub mod net;
pub mod node;
pub mod watch;

pub use keys::Wallet;
pub use net::{Net, Setup};
