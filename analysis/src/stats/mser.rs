//! MSER-5, which runs cut their warm-up by: the same code for both.

pub use shardpay_run::{WarmUp, mser5};
