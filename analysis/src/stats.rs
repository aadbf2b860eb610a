//! Statistics over small numbers of repeats: what a run's figures are worth.
//!
//! Guarantees: no function here draws from a hidden source of chance; the same samples and seed give the same
//! answer. Nothing assumes normal errors: intervals are bootstrapped, tests are on ranks.

mod bootstrap;
mod imbalance;
mod mser;
mod rank_sum;
mod sample;
mod usl;

pub use bootstrap::{Bootstrap, Interval};
pub use imbalance::Imbalance;
pub use mser::{WarmUp, mser5};
pub use rank_sum::{RankSum, holm};
pub use sample::{mean, median, median_interval, quantile};
pub use usl::{Usl, UslFit, UslPoint};
