//! Starts N committees, injects faults, runs experiments, gives a verdict.
//!
//! [`deploy`] writes keys and configurations, [`running`] brings a cluster up and down through a
//! [`backend`] ([`local`] processes today), [`experiment`] drives load and [`faults`], [`verdict`] audits what
//! is left, [`report`] prints it. [`sweep`] and [`knee`] do so again and again. [`registry`] keeps names of processes, so that none is forgotten.

pub mod backend;
pub mod by_hand;
mod byzantine;
pub mod cluster;
pub mod conditions;
pub mod control;
mod demo;
pub mod deploy;
pub mod disk;
pub mod docker;
pub mod experiment;
pub mod failure;
pub mod faults;
pub mod grafana;
pub mod interrupt;
pub mod knee;
pub mod live;
pub mod load;
pub mod local;
mod places;
pub mod ports;
pub mod procfs;
pub mod registry;
pub mod report;
pub mod resources;
pub mod running;
pub mod scaling;
pub mod server;
pub mod services;
pub mod stack;
pub mod stores;
pub mod sweep;
pub mod threads;
pub mod verdict;

pub mod cli;
