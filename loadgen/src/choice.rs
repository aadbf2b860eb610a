//! Who pays whom.

use shardpay_run::{Cross, Distribution};
use shardpay_types::CommitteeId;

use crate::random::Chance;

/// Tries to find a payee in (or outside) the payer's committee before the first that fits is taken.
const TRIES_MAX: usize = 1_000;

/// Draws payer and payee, by their place in the list of accounts.
#[derive(Debug, Clone)]
pub struct Chooser {
    /// The committee of each account.
    homes: Vec<CommitteeId>,
    /// Cumulative weights of payers; empty: uniform.
    payer_weights: Vec<f64>,
    /// Cumulative weights of payees; empty: uniform.
    payee_weights: Vec<f64>,
    cross: Cross,
    process: usize,
    processes: usize,
    chance: Chance,
}

impl Chooser {
    /// Payers are the accounts whose number is `process` modulo `processes`; payees are any. At least two
    /// accounts per process.
    pub fn new(
        homes: Vec<CommitteeId>,
        distribution: &Distribution,
        cross: Cross,
        (process, processes): (usize, usize),
        chance: Chance,
    ) -> Self {
        let accounts = homes.len();
        let zipf = |exponent: f64| cumulative((1..=accounts).map(|rank| (rank as f64).powf(-exponent)));
        let (payer_weights, payee_weights) = match distribution {
            Distribution::Uniform => (Vec::new(), Vec::new()),
            Distribution::Zipf { exponent } => (zipf(*exponent), zipf(*exponent)),
            Distribution::Hot { vendors, share } => {
                let vendors = (*vendors).clamp(1, accounts);
                let others = (1.0 - share) / (accounts - vendors).max(1) as f64;
                let weight = |index| if index < vendors { share / vendors as f64 } else { others };
                (Vec::new(), cumulative((0..accounts).map(weight)))
            }
            Distribution::Retail { vendors, exponent, .. } => {
                let vendors = (*vendors).clamp(1, accounts - 1);
                let customer = |index: usize| if index < vendors { 0.0 } else { 1.0 };
                let popular = |index: usize| if index < vendors { ((index + 1) as f64).powf(-exponent) } else { 0.0 };
                (cumulative((0..accounts).map(customer)), cumulative((0..accounts).map(popular)))
            }
        };
        Self { homes, payer_weights, payee_weights, cross, process, processes, chance }
    }

    /// The next payer and payee, two different accounts.
    pub fn draw(&mut self) -> (usize, usize) {
        let own = (self.homes.len() - self.process).div_ceil(self.processes);
        let payer = pick(&self.payer_weights, own * self.processes, &mut self.chance);
        let payer = (payer / self.processes).min(own - 1) * self.processes + self.process;
        let crosses = match self.cross {
            Cross::Natural => None,
            Cross::Ratio(ratio) => Some(self.chance.unit() < ratio),
        };
        let fits = |payee: usize| {
            payee != payer && crosses.is_none_or(|crosses| crosses == (self.homes[payee] != self.homes[payer]))
        };
        for _ in 0..TRIES_MAX {
            let payee = pick(&self.payee_weights, self.homes.len(), &mut self.chance);
            if fits(payee) {
                return (payer, payee);
            }
        }
        let payee = (0..self.homes.len()).find(|payee| fits(*payee));
        (payer, payee.unwrap_or((payer + 1) % self.homes.len()))
    }
}

fn cumulative(weights: impl Iterator<Item = f64>) -> Vec<f64> {
    weights
        .scan(0.0, |sum, weight| {
            Some({
                *sum += weight;
                *sum
            })
        })
        .collect()
}

fn pick(weights: &[f64], count: usize, chance: &mut Chance) -> usize {
    match weights.last() {
        None => chance.below(count),
        Some(total) => {
            let drawn = chance.unit() * total;
            weights.partition_point(|sum| *sum <= drawn).min(weights.len() - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chooser(accounts: usize, committees: usize, distribution: &Distribution, cross: Cross) -> Chooser {
        let homes = (0..accounts).map(|account| CommitteeId::at(account % committees)).collect();
        Chooser::new(homes, distribution, cross, (0, 1), Chance::new(3, "test", 0))
    }

    fn share_of_cross(mut chooser: Chooser) -> f64 {
        let homes = chooser.homes.clone();
        let crossing = (0..20_000).map(|_| chooser.draw()).filter(|(payer, payee)| homes[*payer] != homes[*payee]);
        crossing.count() as f64 / 20_000.0
    }

    #[test]
    fn the_cross_share_is_natural_or_as_asked() {
        let uniform = Distribution::Uniform;
        assert!((share_of_cross(chooser(1_000, 4, &uniform, Cross::Natural)) - 0.75).abs() < 0.015);
        assert!((share_of_cross(chooser(1_000, 4, &uniform, Cross::Ratio(0.1))) - 0.1).abs() < 0.01);
        assert!(share_of_cross(chooser(1_000, 4, &uniform, Cross::Ratio(0.0))) == 0.0);
        assert!(share_of_cross(chooser(1_000, 1, &uniform, Cross::Ratio(0.5))) == 0.0, "nowhere to cross to");
    }

    #[test]
    fn zipf_has_its_exponent() {
        let mut chooser = chooser(10_000, 4, &Distribution::Zipf { exponent: 1.1 }, Cross::Natural);
        let mut counts = vec![0u32; 10_000];
        (0..400_000).for_each(|_| counts[chooser.draw().0] += 1);
        // Slope of log count over log rank, from sums over ranks 1..=3 and 100..=300.
        let sum = |ranks: std::ops::RangeInclusive<usize>| ranks.map(|rank| f64::from(counts[rank - 1])).sum::<f64>();
        let weight = |ranks: std::ops::RangeInclusive<usize>| ranks.map(|rank| (rank as f64).powf(-1.1)).sum::<f64>();
        let measured = sum(1..=3) / sum(100..=300);
        let expected = weight(1..=3) / weight(100..=300);
        assert!((measured / expected - 1.0).abs() < 0.03, "{measured} {expected}");
    }

    #[test]
    fn hot_vendors_get_their_share() {
        let mut chooser = chooser(1_000, 4, &Distribution::Hot { vendors: 5, share: 0.3 }, Cross::Natural);
        let hits = (0..50_000).filter(|_| chooser.draw().1 < 5).count() as f64 / 50_000.0;
        assert!((hits - 0.3).abs() < 0.01, "{hits}");
    }

    #[test]
    fn customers_pay_vendors_by_their_popularity() {
        let retail = Distribution::Retail { vendors: 50, exponent: 1.0, amount_median: 20.0, amount_sigma: 1.2 };
        let mut chooser = chooser(1_000, 4, &retail, Cross::Natural);
        let mut paid = vec![0u32; 1_000];
        for _ in 0..100_000 {
            let (payer, payee) = chooser.draw();
            assert!(payer >= 50 && payee < 50, "{payer} pays {payee}");
            paid[payee] += 1;
        }
        let ratio = f64::from(paid[0]) / f64::from(paid[9]);
        assert!((ratio / 10.0 - 1.0).abs() < 0.1, "{ratio}");
    }

    #[test]
    fn processes_have_payers_of_their_own() {
        let homes = vec![CommitteeId::at(0); 103];
        for process in 0..4 {
            let chance = Chance::new(1, "test", process as u64);
            let mut chooser = Chooser::new(homes.clone(), &Distribution::Uniform, Cross::Natural, (process, 4), chance);
            assert!(
                (0..5_000)
                    .map(|_| chooser.draw())
                    .all(|(payer, payee)| payer % 4 == process && payer < 103 && payee != payer)
            );
        }
    }
}
