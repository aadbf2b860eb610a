//! The Mann–Whitney test (Wilcoxon's rank sums, with midranks for ties) and Holm's correction.

/// Above so many values in both samples together the normal approximation is used.
const EXACT_MAX: usize = 60;

/// The outcome of a two-sided Mann–Whitney test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankSum {
    /// Probability of ranks at least as far apart when both samples come from one distribution.
    pub p: f64,
    /// Probability that a value of the second sample is larger than one of the first, ties counting half.
    pub superiority: f64,
}

impl RankSum {
    /// Tests two samples; `None` when one is empty. Exact over all ways to deal the observed (mid)ranks out, for up to
    /// sixty values; the normal approximation with the correction for ties above.
    pub fn test(first: &[f64], second: &[f64]) -> Option<Self> {
        if first.is_empty() || second.is_empty() {
            return None;
        }
        let all: Vec<f64> = first.iter().chain(second).copied().collect();
        let ranks = doubled_midranks(&all);
        let (n, m) = (first.len(), second.len());
        let observed: usize = ranks[n..].iter().sum();
        let expected = m * (n + m + 1); // doubled
        let p = if n + m <= EXACT_MAX {
            exact(&ranks, m, observed, expected)
        } else {
            normal(&ranks, m, observed, expected)
        };
        let superiority = (observed as f64 / 2.0 - (m * (m + 1)) as f64 / 2.0) / (n * m) as f64;
        Some(Self { p, superiority })
    }
}

/// Twice the rank of each value: a whole number with ties, too.
fn doubled_midranks(values: &[f64]) -> Vec<usize> {
    let below = |value: &f64| values.iter().filter(|other| other.total_cmp(value).is_lt()).count();
    let alike = |value: &f64| values.iter().filter(|other| other.total_cmp(value).is_eq()).count();
    values.iter().map(|value| 2 * below(value) + alike(value) + 1).collect()
}

/// Share of the choices of `m` ranks whose sum is at least as far from what is expected.
fn exact(ranks: &[usize], m: usize, observed: usize, expected: usize) -> f64 {
    let total: usize = ranks.iter().sum();
    // ways[k][s]: choices of k ranks with sum s
    let mut ways = vec![vec![0.0_f64; total + 1]; m + 1];
    ways[0][0] = 1.0;
    for (seen, rank) in ranks.iter().enumerate() {
        for k in (1..=m.min(seen + 1)).rev() {
            let (fewer, more) = ways.split_at_mut(k);
            for sum in *rank..=total {
                more[0][sum] += fewer[k - 1][sum - rank];
            }
        }
    }
    let distance = observed.abs_diff(expected);
    let all: f64 = ways[m].iter().sum();
    let far: f64 =
        ways[m].iter().enumerate().filter(|(sum, _)| sum.abs_diff(expected) >= distance).map(|(_, w)| w).sum();
    far / all
}

fn normal(ranks: &[usize], m: usize, observed: usize, expected: usize) -> f64 {
    let count = ranks.len() as f64;
    let (m, n) = (m as f64, count - m as f64);
    let mean = (count + 1.0) / 2.0;
    // the variance of midranks takes ties into account by itself
    let spread: f64 = ranks.iter().map(|rank| (*rank as f64 / 2.0 - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let deviation = (n * m / count * spread).sqrt();
    if deviation == 0.0 {
        return 1.0;
    }
    let distance = (observed.abs_diff(expected) as f64 / 2.0 - 0.5).max(0.0);
    two_sided(distance / deviation)
}

/// Probability of a standard normal value at least so far from 0: erfc(z / √2) by the continued fraction and the series
/// of Abramowitz and Stegun 7.1.5 and 7.1.14.
fn two_sided(z: f64) -> f64 {
    let x = z / std::f64::consts::SQRT_2;
    let scale = 2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp();
    if x < 2.0 {
        let (mut term, mut sum) = (x, x);
        for k in 1..200 {
            term *= 2.0 * x * x / f64::from(2 * k + 1);
            sum += term;
        }
        (1.0 - scale * sum).clamp(0.0, 1.0)
    } else {
        let mut fraction = 0.0;
        for k in (1..=60).rev() {
            fraction = f64::from(k) / 2.0 / (x + fraction);
        }
        (scale / 2.0 / (x + fraction)).clamp(0.0, 1.0)
    }
}

/// Holm's step-down correction: the p-values of tests made together, adjusted so that the chance of one false alarm in
/// all of them stays what it is for one. In the order given.
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (step, index) in order.into_iter().enumerate() {
        largest = largest.max(p_values[index] * (p_values.len() - step) as f64).min(1.0);
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(first: &[f64], second: &[f64]) -> f64 {
        RankSum::test(first, second).unwrap().p
    }

    #[test]
    fn exact_values_known_from_tables() {
        // complete separation of 6 and 6: 2 of C(12, 6) = 924 ways
        let (low, high) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [7.0, 8.0, 9.0, 10.0, 11.0, 12.0]);
        assert!((p(&low, &high) - 2.0 / 924.0).abs() < 1e-12);
        // 3 and 3, U = 0: 2 of 20
        assert!((p(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]) - 0.1).abs() < 1e-12);
        // U = 1: 4 of 20
        assert!((p(&[1.0, 2.0, 4.0], &[3.0, 5.0, 6.0]) - 0.2).abs() < 1e-12);
        assert!((p(&[1.0, 4.0], &[2.0, 3.0]) - 1.0).abs() < 1e-12);
        assert_eq!(RankSum::test(&low, &high).unwrap().superiority, 1.0);
        assert!(RankSum::test(&[], &high).is_none());
    }

    #[test]
    fn ties_are_dealt_out_as_midranks() {
        assert_eq!(doubled_midranks(&[5.0, 5.0, 1.0]), [5, 5, 2]);
        assert!((p(&[1.0; 5], &[1.0; 5]) - 1.0).abs() < 1e-12, "all alike say nothing");
        // ranks 1, 2.5 | 2.5, 4: sums of two of them as far from 5 as 6.5: {1, 2.5} twice and {2.5, 4} twice, of 6
        assert!((p(&[1.0, 2.0], &[2.0, 3.0]) - 4.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn the_normal_approximation_meets_the_exact_test() {
        let first: Vec<f64> = (0..30).map(|i| f64::from(i * 7 % 31)).collect();
        let second: Vec<f64> = (0..30).map(|i| f64::from(i * 11 % 31) + 4.5).collect();
        let all: Vec<f64> = first.iter().chain(&second).copied().collect();
        let ranks = doubled_midranks(&all);
        let (observed, expected) = (ranks[30..].iter().sum(), 30 * 61);
        let (exact, normal) = (exact(&ranks, 30, observed, expected), normal(&ranks, 30, observed, expected));
        assert!((exact - normal).abs() < 0.005, "{exact} {normal}");
        for (z, expected) in [(0.0, 1.0), (1.0, 0.317_310_5), (1.959_964, 0.05), (3.0, 0.002_699_8), (5.0, 5.733e-7)] {
            assert!((two_sided(z) - expected).abs() < 1e-6, "{z}: {}", two_sided(z));
        }
    }

    #[test]
    fn holm_steps_down() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        let expected = [0.03, 0.06, 0.06, 0.02];
        assert!(adjusted.iter().zip(expected).all(|(a, e)| (a - e).abs() < 1e-12), "{adjusted:?}");
        assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
