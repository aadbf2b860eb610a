//! Generated sample values of every wire type: shared by the tests of this directory.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

pub mod entry;
pub mod fields;
pub mod files;
pub mod sample;

pub use sample::{Rng, Sample};
