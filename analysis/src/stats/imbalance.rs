//! How unevenly load lies on nodes or committees.

use super::sample::mean;

/// Two usual figures of imbalance.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Imbalance {
    /// Gini coefficient: 0 all alike, towards 1 all on one.
    pub gini: f64,
    /// The largest over the mean: 1 all alike.
    pub max_over_mean: f64,
}

impl Imbalance {
    /// Of loads that are not negative; all alike when there is none.
    pub fn of(loads: &[f64]) -> Self {
        let total: f64 = loads.iter().sum();
        if total <= 0.0 {
            return Self { gini: 0.0, max_over_mean: 1.0 };
        }
        let mut sorted = loads.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len() as f64;
        let weighted: f64 = sorted.iter().enumerate().map(|(rank, load)| (rank + 1) as f64 * load).sum();
        let largest = sorted.last().copied().unwrap_or_default();
        Self { gini: 2.0 * weighted / (n * total) - (n + 1.0) / n, max_over_mean: largest / mean(loads) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_imbalances() {
        let alike = Imbalance::of(&[3.0; 4]);
        assert!(alike.gini.abs() < 1e-12 && (alike.max_over_mean - 1.0).abs() < 1e-12);
        let one = Imbalance::of(&[0.0, 0.0, 0.0, 8.0]);
        assert!((one.gini - 0.75).abs() < 1e-12 && (one.max_over_mean - 4.0).abs() < 1e-12, "{one:?}");
        assert_eq!(Imbalance::of(&[]).gini, 0.0);
    }
}
