//! Where a warm-up ends: MSER-5 (White 1997; White, Cobb and Spratt 2000).
//!
//! The series is cut into batches of five; the cut is where the standard error of the mean of what remains is
//! smallest. A minimum in the second half says that the series never became steady.

/// Values of a batch.
const BATCH: usize = 5;

/// What MSER-5 says about a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarmUp {
    /// It is steady after so many values.
    EndsAfter(usize),
    /// It is not steady before its second half.
    NeverSteady,
    /// It has fewer than four batches, which says nothing.
    TooShort,
}

/// The warm-up of a series of values taken at equal intervals.
pub fn mser5(series: &[f64]) -> WarmUp {
    let batches: Vec<f64> = series.chunks_exact(BATCH).map(|batch| batch.iter().sum::<f64>() / BATCH as f64).collect();
    if batches.len() < 4 {
        return WarmUp::TooShort;
    }
    // Sums from the end on: every cut's mean and variance in one pass; deviations from the last value keep them exact.
    let origin = batches[batches.len() - 1];
    let (mut sum, mut squares, mut best) = (0.0, 0.0, (f64::INFINITY, 0));
    for (cut, batch) in batches.iter().enumerate().rev() {
        let deviation = batch - origin;
        sum += deviation;
        squares += deviation * deviation;
        let n = (batches.len() - cut) as f64;
        let error = (squares - sum * sum / n).max(0.0) / (n * n);
        // of the last few there is always a lucky run
        if n >= 4.0 && error <= best.0 {
            best = (error, cut);
        }
    }
    if best.1 * 2 > batches.len() { WarmUp::NeverSteady } else { WarmUp::EndsAfter(best.1 * BATCH) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(i: usize) -> f64 {
        ((i * 7_919 + 13) % 101) as f64 / 50.0 - 1.0
    }

    #[test]
    fn a_ramp_before_a_steady_part_is_cut() {
        let series: Vec<f64> = (0..200).map(|i| if i < 40 { i as f64 * 25.0 } else { 1_000.0 } + noise(i)).collect();
        let WarmUp::EndsAfter(cut) = mser5(&series) else { panic!("steady") };
        assert!((40..=50).contains(&cut), "{cut}");
    }

    #[test]
    fn a_steady_series_loses_little_and_a_growing_one_never_settles() {
        let steady: Vec<f64> = (0..200).map(|i| 500.0 + noise(i)).collect();
        let WarmUp::EndsAfter(cut) = mser5(&steady) else { panic!("steady") };
        assert!(cut <= 50, "{cut}");
        let growing: Vec<f64> = (0..200).map(|i| (i * i) as f64).collect();
        assert_eq!(mser5(&growing), WarmUp::NeverSteady);
        assert_eq!(mser5(&[1.0; 19]), WarmUp::TooShort);
        assert_eq!(mser5(&[7.0; 40]), WarmUp::EndsAfter(0));
    }
}
