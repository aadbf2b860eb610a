//! A committee member: configuration, key, genesis, the pipeline of `shardpay-runtime`, the signaler, the
//! control socket.

pub mod bends;
pub mod cli;
pub mod conditions;
pub mod config;
pub mod control;
pub mod follow;
pub mod genesis;
pub mod inspect;
pub mod keyfile;
pub mod process;
pub mod run;
pub mod series;
