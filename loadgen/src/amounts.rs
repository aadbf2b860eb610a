//! What payments move: a fixed amount, or amounts like those of retail payments.

use shardpay_run::Distribution;
use shardpay_types::Amount;

use crate::accounts::{FUNDS, RETAIL_FUNDS};
use crate::random::Chance;
use crate::workload::AMOUNT;

const MICROS_PER_CENT: u64 = 10_000;
/// The largest retail payment; a heavy tail has no end of its own.
const RETAIL_MAX: Amount = Amount::from_micros(10_000_000_000);

/// Draws amounts.
#[derive(Debug, Clone)]
pub enum Amounts {
    /// Always [`AMOUNT`].
    Fixed,
    /// Log-normal, in whole cents.
    LogNormal {
        /// Natural logarithm of the median in coins.
        mu: f64,
        /// Standard deviation of the logarithm.
        sigma: f64,
        /// Where they are drawn from.
        chance: Box<Chance>,
    },
}

impl Amounts {
    /// As a distribution says.
    pub fn new(distribution: &Distribution, chance: Chance) -> Self {
        match distribution {
            Distribution::Retail { amount_median, amount_sigma, .. } => {
                Self::LogNormal { mu: amount_median.ln(), sigma: *amount_sigma, chance: Box::new(chance) }
            }
            Distribution::Uniform | Distribution::Zipf { .. } | Distribution::Hot { .. } => Self::Fixed,
        }
    }

    /// What each account is funded with.
    pub const fn funds(distribution: &Distribution) -> Amount {
        match distribution {
            Distribution::Retail { .. } => RETAIL_FUNDS,
            Distribution::Uniform | Distribution::Zipf { .. } | Distribution::Hot { .. } => FUNDS,
        }
    }

    /// The next one.
    pub fn draw(&mut self) -> Amount {
        match self {
            Self::Fixed => AMOUNT,
            Self::LogNormal { mu, sigma, chance } => {
                // Box–Muller
                let radius = (-2.0 * (1.0 - chance.unit()).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * chance.unit()).cos();
                let cents = (100.0 * (*mu + *sigma * normal).exp()).round().max(1.0);
                let largest = RETAIL_MAX.micros() / MICROS_PER_CENT;
                // a float that is too large becomes the largest integer
                Amount::from_micros((cents as u64).min(largest) * MICROS_PER_CENT)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retail_amounts_have_their_median_and_spread_and_are_whole_cents() {
        let retail = Distribution::Retail { vendors: 10, exponent: 1.0, amount_median: 20.0, amount_sigma: 1.2 };
        let mut amounts = Amounts::new(&retail, Chance::new(5, "test", 0));
        let mut drawn: Vec<u64> = (0..50_000).map(|_| amounts.draw().micros()).collect();
        assert!(drawn.iter().all(|micros| micros % MICROS_PER_CENT == 0 && *micros > 0));
        drawn.sort_unstable();
        let quantile = |q: f64| drawn[(q * drawn.len() as f64) as usize] as f64 / 1e6;
        // 0.8413 of a normal distribution lies below one standard deviation
        let (median, one_sigma) = (quantile(0.5), quantile(0.8413));
        assert!((median / 20.0 - 1.0).abs() < 0.03, "{median}");
        assert!(((one_sigma / median).ln() / 1.2 - 1.0).abs() < 0.03, "{one_sigma}");
        let mean = drawn.iter().sum::<u64>() as f64 / drawn.len() as f64 / 1e6;
        // exp(mu + sigma²/2): the tail is heavy
        assert!((mean / (20.0 * f64::exp(0.72)) - 1.0).abs() < 0.06, "{mean}");
    }
}
