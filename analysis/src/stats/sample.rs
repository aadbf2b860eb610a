//! Order statistics.

use super::bootstrap::Interval;

/// The arithmetic mean; not a number when there are no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The median; not a number when there are no values.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The quantile at `share` (0 to 1) by linear interpolation between order statistics (Hyndman and Fan's type 7); not
/// a number when there are no values.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = share.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (at - at.floor())
}

/// The narrowest interval between two order statistics, symmetric in rank, that holds the median with 95 % or more
/// whatever the distribution (the sign test's interval); `None` when there is none, as with fewer than six values.
pub fn median_interval(values: &[f64]) -> Option<Interval> {
    let n = values.len();
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    // the chance that at most k of n values lie below the median, doubled, is what an interval from rank k+1 misses
    let (mut probability, mut below, mut best) = (0.5_f64.powi(i32::try_from(n).ok()?), 0.0, None);
    for k in 0..n / 2 {
        below += probability;
        if 2.0 * below > 0.05 {
            break;
        }
        best = Some(Interval { low: sorted[k], high: sorted[n - 1 - k] });
        probability *= (n - k) as f64 / (k + 1) as f64;
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_the_median_are_those_of_the_sign_test() {
        let values = |n: u32| (1..=n).map(f64::from).collect::<Vec<f64>>();
        assert_eq!(median_interval(&values(5)), None, "1/16 is missed at least");
        let of = |n| median_interval(&values(n)).map(|interval| (interval.low, interval.high));
        // Conover's table: n = 6 takes the extremes, 9 the second, 20 the sixth
        assert_eq!((of(6), of(9), of(20)), (Some((1.0, 6.0)), Some((2.0, 8.0)), Some((6.0, 15.0))));
    }

    #[test]
    fn quantiles_lie_between_order_statistics() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(quantile(&[10.0, 20.0], 0.25), 12.5);
        assert_eq!((quantile(&[1.0, 5.0], 0.0), quantile(&[1.0, 5.0], 1.0)), (1.0, 5.0));
        assert!(median(&[]).is_nan() && mean(&[]).is_nan());
        assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
    }
}
