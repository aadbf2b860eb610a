//! The knee with its interval from single measurements that passed or failed.
//!
//! Model: a measurement at rate r passes with probability 1 ÷ (1 + exp((ln r − ln K) ÷ s)), K the knee and s how gradual
//! it is. The interval is that of the profile likelihood: all K for which twice the log-likelihood, at the best s for
//! that K, is less than 4.97 (F with 1 and 10 degrees of freedom, 95 %) below the best. That the search chose its rates by earlier outcomes
//! does not touch a likelihood. Pass rates at a single rate get Clopper and Pearson's exact interval.

/// 95 % of F with 1 and 10 degrees of freedom. χ² with one degree (3.84) is right for many measurements only: with the
/// twenty of a search its intervals held the knee of synthetic systems in 88 % of the searches.
const CUTOFF: f64 = 4.965;
/// Values of K and s that are tried.
const KNEES: usize = 601;
const SPREADS: usize = 24;
/// Sharpest and most gradual knee, in natural logarithms of the rate.
const SPREAD_MIN: f64 = 0.001;
const SPREAD_MAX: f64 = 0.3;

/// A measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Payments per second.
    pub rate: f64,
    /// Whether it passed.
    pub passed: bool,
}

/// The knee.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Knee {
    /// The middle of what is most likely.
    pub rate: f64,
    /// Lower end of 95 %.
    pub low: f64,
    /// Upper end of 95 %.
    pub high: f64,
}

/// Of measurements of which some passed and some failed; else there is none.
pub fn knee(made: &[Observation]) -> Option<Knee> {
    if made.iter().all(|one| one.passed) || made.iter().all(|one| !one.passed) {
        return None;
    }
    let logs = made.iter().map(|one| one.rate.ln());
    let (first, last) = (logs.clone().fold(f64::INFINITY, f64::min), logs.fold(f64::NEG_INFINITY, f64::max));
    let margin = 0.1;
    let step = (last - first + 2.0 * margin) / (KNEES - 1) as f64;
    let at = |index: usize| first - margin + step * index as f64;
    let profile: Vec<f64> = (0..KNEES).map(|index| profile(made, at(index))).collect();
    let best = profile.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let within = |drop: f64| {
        let likely = |value: &f64| 2.0 * (best - *value) <= drop;
        let (from, to) = (profile.iter().position(likely)?, profile.iter().rposition(likely)?);
        Some((at(from), at(to)))
    };
    let (low, high) = within(CUTOFF)?;
    // between two rates that never disagreed the likelihood is flat
    let (from, to) = within(0.02)?;
    Some(Knee { rate: f64::midpoint(from, to).exp(), low: low.exp(), high: high.exp() })
}

/// The log-likelihood of a knee at its best spread.
fn profile(made: &[Observation], log_knee: f64) -> f64 {
    let ratio = (SPREAD_MAX / SPREAD_MIN).ln() / (SPREADS - 1) as f64;
    let spreads = (0..SPREADS).map(|index| SPREAD_MIN * (ratio * index as f64).exp());
    let likelihood = |spread: f64| {
        let of = |one: &Observation| {
            let distance = (one.rate.ln() - log_knee) / spread;
            -softplus(if one.passed { distance } else { -distance })
        };
        made.iter().map(of).sum::<f64>()
    };
    spreads.map(likelihood).fold(f64::NEG_INFINITY, f64::max)
}

/// ln(1 + exp(x)) without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Clopper and Pearson's 95 % interval of a probability of which `hits` of `all` trials came true.
pub fn clopper_pearson(hits: usize, all: usize) -> (f64, f64) {
    if all == 0 {
        return (0.0, 1.0);
    }
    let tail = 0.025;
    let low = if hits == 0 { 0.0 } else { root(|p| 1.0 - at_most(hits - 1, all, p) - tail) };
    let high = if hits == all { 1.0 } else { root(|p| tail - at_most(hits, all, p)) };
    (low, high)
}

/// Probability of at most `hits` of `all`.
fn at_most(hits: usize, all: usize, p: f64) -> f64 {
    let mut term = (1.0 - p).powi(i32::try_from(all).unwrap_or(i32::MAX));
    let mut sum = term;
    for k in 0..hits {
        term *= (all - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
        sum += term;
    }
    sum.min(1.0)
}

/// Where a growing function of 0 to 1 crosses 0.
fn root(of: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0 - 1e-12);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if of(middle) < 0.0 { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rate: f64, passed: usize, failed: usize) -> impl Iterator<Item = Observation> {
        let one = move |passed| Observation { rate, passed };
        (0..passed).map(move |_| one(true)).chain((0..failed).map(move |_| one(false)))
    }

    #[test]
    fn five_passes_and_five_failures_put_the_knee_between() {
        let made: Vec<Observation> = at(1_000.0, 5, 0).chain(at(1_040.0, 0, 5)).collect();
        let knee = knee(&made).unwrap();
        assert!(knee.low >= 998.0 && knee.low < 1_010.0 && knee.high <= 1_042.0 && knee.high > 1_030.0, "{knee:?}");
        assert!((knee.rate - 1_019.8).abs() < 2.0, "{knee:?}");
    }

    #[test]
    fn fewer_and_mixed_measurements_say_less() {
        let width = |made: &[Observation]| {
            let knee = knee(made).unwrap();
            knee.high / knee.low
        };
        let sharp: Vec<Observation> = at(1_000.0, 5, 0).chain(at(1_040.0, 0, 5)).collect();
        let few: Vec<Observation> = at(1_000.0, 1, 0).chain(at(1_040.0, 0, 1)).collect();
        let mixed: Vec<Observation> = at(1_000.0, 4, 1).chain(at(1_040.0, 1, 4)).collect();
        assert!(width(&few) > width(&sharp) && width(&mixed) > width(&sharp));
        assert!(knee(&sharp[..5]).is_none(), "nothing failed");
    }

    #[test]
    fn pass_rates_are_those_of_the_tables() {
        for (hits, all, low, high) in
            [(5, 5, 0.4782, 1.0), (0, 5, 0.0, 0.5218), (4, 5, 0.2836, 0.9949), (5, 10, 0.1871, 0.8129)]
        {
            let (a, b) = clopper_pearson(hits, all);
            assert!((a - low).abs() < 1e-4 && (b - high).abs() < 1e-4, "{hits} of {all}: {a} {b}");
        }
        assert_eq!(clopper_pearson(0, 0), (0.0, 1.0));
    }
}
