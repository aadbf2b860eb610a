//! Gunther's Universal Scalability Law: X(N) = λN ÷ (1 + σ(N − 1) + κN(N − 1)).
//!
//! N ÷ X is linear in N − 1 and N(N − 1), so the fit is linear least squares with coefficients that may not be negative,
//! weighted such that relative errors of the throughput count alike. With three coefficients the constraint is met by
//! trying which of σ and κ are 0.

use super::bootstrap::{Bootstrap, Interval};

/// Repeats at one size.
#[derive(Debug, Clone, PartialEq)]
pub struct UslPoint {
    /// Committees, or whatever the system grows by; above 0.
    pub size: f64,
    /// Throughput of each repeat; above 0.
    pub throughputs: Vec<f64>,
}

/// The law's coefficients.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Usl {
    /// Throughput of size 1.
    pub lambda: f64,
    /// Contention: the share of work that only one can do at a time.
    pub sigma: f64,
    /// Coherency: the cost of each pair that must agree.
    pub kappa: f64,
}

impl Usl {
    /// Throughput at a size.
    pub fn at(&self, size: f64) -> f64 {
        self.lambda * size / (1.0 + self.sigma * (size - 1.0) + self.kappa * size * (size - 1.0))
    }

    /// Where throughput is largest; `None` when it grows for ever.
    pub fn peak(&self) -> Option<f64> {
        (self.kappa > 0.0).then(|| ((1.0 - self.sigma).max(0.0) / self.kappa).sqrt())
    }

    /// Least squares; `None` with fewer than three sizes.
    fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let mut sizes: Vec<f64> = pairs.iter().map(|(size, _)| *size).collect();
        sizes.sort_by(f64::total_cmp);
        sizes.dedup();
        if sizes.len() < 3 {
            return None;
        }
        let tries = [[true, true], [true, false], [false, true], [false, false]];
        let fits = tries.into_iter().filter_map(|used| least_squares(pairs, used));
        let feasible = fits.filter(|(abc, _)| abc[0] > 0.0 && abc[1] >= 0.0 && abc[2] >= 0.0);
        let (abc, _) = feasible.min_by(|a, b| a.1.total_cmp(&b.1))?;
        // the coefficients are not negative, but they may be −0
        Some(Self { lambda: 1.0 / abc[0], sigma: abc[1].abs() / abc[0], kappa: abc[2].abs() / abc[0] })
    }
}

/// The law fitted to measured repeats.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct UslFit {
    /// The coefficients.
    pub usl: Usl,
    /// 95 % of σ over resampled repeats.
    pub sigma: Interval,
    /// 95 % of κ over resampled repeats.
    pub kappa: Interval,
}

impl UslFit {
    /// Fits all repeats; intervals by drawing the repeats of each size anew. `None` with fewer than three sizes.
    pub fn of(points: &[UslPoint], bootstrap: &mut Bootstrap) -> Option<Self> {
        let pairs = |point: &UslPoint, throughputs: &[f64]| {
            throughputs.iter().map(|throughput| (point.size, *throughput)).collect::<Vec<_>>()
        };
        let all: Vec<(f64, f64)> = points.iter().flat_map(|point| pairs(point, &point.throughputs)).collect();
        let usl = Usl::of(&all)?;
        let (mut sigmas, mut kappas) = (Vec::new(), Vec::new());
        for _ in 0..bootstrap.count() {
            let mut drawn = Vec::with_capacity(all.len());
            for point in points {
                let throughputs = bootstrap.draw(&point.throughputs);
                drawn.extend(pairs(point, &throughputs));
            }
            if let Some(fit) = Usl::of(&drawn) {
                sigmas.push(fit.sigma);
                kappas.push(fit.kappa);
            }
        }
        Some(Self { usl, sigma: bootstrap.percentiles(&sigmas), kappa: bootstrap.percentiles(&kappas) })
    }
}

/// Coefficients of 1, N − 1 and N(N − 1) (0 where not used), and the weighted sum of squared errors.
fn least_squares(pairs: &[(f64, f64)], [sigma, kappa]: [bool; 2]) -> Option<([f64; 3], f64)> {
    let used = [true, sigma, kappa];
    let row = |size: f64| [1.0, size - 1.0, size * (size - 1.0)];
    let mut matrix = [[0.0; 4]; 3];
    for (size, throughput) in pairs {
        let (x, y) = (row(*size), size / throughput);
        let weight = 1.0 / (y * y);
        for (row, own) in matrix.iter_mut().zip(x) {
            row.iter_mut().zip(x).for_each(|(cell, other)| *cell += weight * own * other);
            row[3] += weight * own * y;
        }
    }
    for i in (0..3).filter(|i| !used[*i]) {
        matrix.iter_mut().for_each(|row| row[i] = 0.0);
        matrix[i] = [0.0; 4];
        matrix[i][i] = 1.0;
    }
    let solution = solve(matrix)?;
    let error = |(size, throughput): &(f64, f64)| {
        let y = size / throughput;
        let fitted: f64 = row(*size).iter().zip(solution).map(|(x, c)| x * c).sum();
        ((fitted - y) / y).powi(2)
    };
    Some((solution, pairs.iter().map(error).sum()))
}

/// Gauss elimination with row pivots; `None` when singular.
fn solve(mut matrix: [[f64; 4]; 3]) -> Option<[f64; 3]> {
    for column in 0..3 {
        let pivot = (column..3).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        matrix.swap(column, pivot);
        if matrix[column][column].abs() < 1e-300 {
            return None;
        }
        for row in (0..3).filter(|row| *row != column) {
            let factor = matrix[row][column] / matrix[column][column];
            let pivot_row = matrix[column];
            matrix[row].iter_mut().zip(pivot_row).for_each(|(value, pivot)| *value -= factor * pivot);
        }
    }
    Some([0, 1, 2].map(|i| matrix[i][3] / matrix[i][i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(usl: Usl, noise: f64) -> Vec<UslPoint> {
        let repeat = |size: f64, i: i32| usl.at(size) * (1.0 + noise * f64::from(i - 2));
        [1.0, 2.0, 4.0, 8.0, 16.0]
            .map(|size| UslPoint { size, throughputs: (0..5).map(|i| repeat(size, i)).collect() })
            .into()
    }

    #[test]
    fn a_known_curve_is_recovered() {
        let known = Usl { lambda: 5_000.0, sigma: 0.04, kappa: 0.002 };
        let mut bootstrap = Bootstrap::new(1).resamples(500);
        let exact = UslFit::of(&points(known, 0.0), &mut bootstrap).unwrap().usl;
        assert!((exact.lambda - known.lambda).abs() < 1e-6, "{exact:?}");
        assert!((exact.sigma - known.sigma).abs() < 1e-9 && (exact.kappa - known.kappa).abs() < 1e-9, "{exact:?}");
        let noisy = UslFit::of(&points(known, 0.01), &mut bootstrap).unwrap();
        assert!(noisy.sigma.contains(0.04) && noisy.kappa.contains(0.002), "{noisy:?}");
        assert!((known.peak().unwrap() - 21.9).abs() < 0.1);
    }

    #[test]
    fn coefficients_are_never_negative() {
        // better than linear: the law has no name for it
        let points: Vec<UslPoint> = [1.0, 2.0, 4.0, 8.0]
            .map(|size: f64| UslPoint { size, throughputs: vec![1_000.0 * size.powf(1.1); 3] })
            .into();
        let fit = UslFit::of(&points, &mut Bootstrap::new(1).resamples(100)).unwrap();
        assert_eq!((fit.usl.sigma, fit.usl.kappa, fit.usl.peak()), (0.0, 0.0, None));
        assert!(UslFit::of(&points[..2], &mut Bootstrap::new(1)).is_none(), "two sizes fit anything");
    }
}
