//! Intervals by resampling (Efron 1979): percentile intervals of a statistic over samples drawn with replacement.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use super::sample::quantile;

/// A closed interval.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Interval {
    /// Whether a value lies in it.
    pub fn contains(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// Draws samples with replacement from a stated seed.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    chance: ChaCha8Rng,
    resamples: usize,
    confidence: f64,
}

impl Bootstrap {
    /// Resamples per interval.
    pub const RESAMPLES: usize = 10_000;

    /// 95 % intervals from [`Bootstrap::RESAMPLES`] resamples.
    pub fn new(seed: u64) -> Self {
        Self { chance: ChaCha8Rng::seed_from_u64(seed), resamples: Self::RESAMPLES, confidence: 0.95 }
    }

    /// The same with another number of resamples.
    #[must_use]
    pub const fn resamples(mut self, resamples: usize) -> Self {
        self.resamples = resamples;
        self
    }

    /// One sample of the same size, drawn with replacement.
    pub fn draw(&mut self, values: &[f64]) -> Vec<f64> {
        // the bias of the modulus is below 2^-50 for any number of repeats
        values.iter().map(|_| values[(self.chance.next_u64() % values.len() as u64) as usize]).collect()
    }

    /// The interval of a statistic of one sample.
    pub fn interval(&mut self, values: &[f64], statistic: impl Fn(&[f64]) -> f64) -> Interval {
        let drawn = (0..self.resamples).map(|_| statistic(&self.draw(values))).collect::<Vec<_>>();
        self.percentiles(&drawn)
    }

    /// The interval of a statistic of two independent samples.
    pub fn interval_of_two(
        &mut self,
        (first, second): (&[f64], &[f64]),
        statistic: impl Fn(&[f64], &[f64]) -> f64,
    ) -> Interval {
        let drawn: Vec<f64> = (0..self.resamples).map(|_| statistic(&self.draw(first), &self.draw(second))).collect();
        self.percentiles(&drawn)
    }

    /// The middle part of what resampling gave.
    pub fn percentiles(&self, drawn: &[f64]) -> Interval {
        let tail = (1.0 - self.confidence) / 2.0;
        Interval { low: quantile(drawn, tail), high: quantile(drawn, 1.0 - tail) }
    }

    /// How many resamples an interval takes.
    pub const fn count(&self) -> usize {
        self.resamples
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{mean, median};
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let values = [5.0, 6.0, 7.0, 8.0, 20.0, 6.5];
        let of = |seed| Bootstrap::new(seed).interval(&values, median);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), Bootstrap::new(2).resamples(100).interval(&values, mean));
        assert!(of(1).contains(median(&values)));
    }

    #[test]
    fn intervals_of_the_mean_cover_it_about_as_often_as_they_say() {
        // forty values, so that the percentile interval's known shortfall for tiny samples is small
        let (mut chance, mut covered) = (ChaCha8Rng::seed_from_u64(9), 0);
        for trial in 0..200 {
            let values: Vec<f64> = (0..40).map(|_| (chance.next_u64() >> 11) as f64 / (1u64 << 53) as f64).collect();
            covered += u32::from(Bootstrap::new(trial).resamples(1_000).interval(&values, mean).contains(0.5));
        }
        assert!((178..=199).contains(&covered), "{covered} of 200");
    }
}
