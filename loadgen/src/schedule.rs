//! When payments are to be sent: intended times, drawn without looking at what the system does.
//!
//! Latency is counted from these times, so a system that stalls does not hide it by slowing the load
//! (coordinated omission).

use std::time::Duration;

use shardpay_run::Rate;

use crate::random::Chance;

/// The shape of an open loop.
#[derive(Debug, Clone)]
enum Shape {
    Even(f64),
    Poisson(f64, Box<Chance>),
    Ramp {
        from: f64,
        to: f64,
    },
    Steps(Vec<f64>),
    /// Poisson by a rate that goes round once a day. Each time is where the integral of the rate reaches the next sum
    /// of exponential gaps.
    Daily {
        rate: f64,
        swing: f64,
        day: f64,
        sum: f64,
        chance: Box<Chance>,
    },
    Given(Vec<f64>),
}

/// Intended times from the load's start, ascending, until its end.
#[derive(Debug, Clone)]
pub struct Schedule {
    shape: Shape,
    duration: f64,
    /// The next intended time in seconds.
    next: f64,
    /// Number of times given.
    given: u64,
    /// Where this process's times lie between two of its own, so that processes that begin together take turns.
    offset: f64,
}

impl Schedule {
    /// One process's part (`1 / processes`) of an open loop; `None` for a closed one.
    pub fn new(rate: &Rate, duration: Duration, (process, processes): (usize, usize), chance: Chance) -> Option<Self> {
        let part = processes as f64;
        let shape = match rate {
            Rate::Constant { per_second } => Shape::Even(per_second / part),
            Rate::Poisson { per_second } => Shape::Poisson(per_second / part, Box::new(chance)),
            Rate::Ramp { from_per_second, to_per_second } => {
                Shape::Ramp { from: from_per_second / part, to: to_per_second / part }
            }
            Rate::Steps { steps_per_second } => Shape::Steps(steps_per_second.iter().map(|rate| rate / part).collect()),
            Rate::Daily { per_second, swing, days } => {
                let day = duration.as_secs_f64() / *days as f64;
                Shape::Daily { rate: per_second / part, swing: *swing, day, sum: 0.0, chance: Box::new(chance) }
            }
            Rate::Closed { .. } | Rate::Fraction { .. } | Rate::Trace { .. } => return None,
        };
        let offset = process as f64 / part;
        let mut schedule = Self { shape, duration: duration.as_secs_f64(), next: 0.0, given: 0, offset };
        schedule.advance();
        Some(schedule)
    }

    /// Given times, ascending, in seconds; those after the end do not count.
    pub fn given(times: Vec<f64>, duration: Duration) -> Self {
        let (shape, duration) = (Shape::Given(times), duration.as_secs_f64());
        let mut schedule = Self { shape, duration, next: 0.0, given: 0, offset: 0.0 };
        schedule.advance();
        schedule
    }

    /// The next intended time; `None` after the end.
    pub fn peek(&self) -> Option<Duration> {
        (self.next < self.duration).then(|| Duration::from_secs_f64(self.next))
    }

    /// Goes on to the one after it.
    pub fn pop(&mut self) -> Option<Duration> {
        let time = self.peek()?;
        self.given += 1;
        self.advance();
        Some(time)
    }

    /// About how many payments fall into the whole.
    pub fn expected(&self) -> u64 {
        let rate = match &self.shape {
            Shape::Even(rate) | Shape::Poisson(rate, _) | Shape::Daily { rate, .. } => *rate,
            Shape::Given(times) => return times.partition_point(|time| *time < self.duration) as u64,
            Shape::Ramp { from, to } => (from + to) / 2.0,
            Shape::Steps(steps) => steps.iter().sum::<f64>() / steps.len().max(1) as f64,
        };
        (rate * self.duration).ceil() as u64
    }

    fn advance(&mut self) {
        let number = self.given as f64 + self.offset;
        self.next = match &mut self.shape {
            Shape::Even(rate) => number / *rate,
            Shape::Poisson(rate, chance) => self.next - (1.0 - chance.unit()).ln() / *rate,
            Shape::Ramp { from, to } => ramp_time(*from, *to, self.duration, number),
            Shape::Steps(steps) => steps_time(steps, self.duration, number),
            Shape::Daily { rate, swing, day, sum, chance } => {
                *sum -= (1.0 - chance.unit()).ln() / *rate;
                daily_time(*swing, *day, *sum, self.next)
            }
            Shape::Given(times) => times.get(self.given as usize).copied().unwrap_or(f64::INFINITY),
        };
    }
}

/// When the integral of 1 − swing·cos(2πt/day) reaches `sum`; not before `since`. By bisection, as that rate never
/// falls below 0 and the integral never strays from t by more than swing·day/2π.
fn daily_time(swing: f64, day: f64, sum: f64, since: f64) -> f64 {
    let turn = std::f64::consts::TAU / day;
    let integral = |time: f64| time - swing * (turn * time).sin() / turn;
    let (mut low, mut high) = (since, sum + swing / turn);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if integral(middle) < sum {
            low = middle;
        } else {
            high = middle;
        }
    }
    high.max(since)
}

/// When the integral of a rate that goes evenly from `from` to `to` reaches `number`.
fn ramp_time(from: f64, to: f64, duration: f64, number: f64) -> f64 {
    let slope = (to - from) / duration;
    if slope.abs() < f64::EPSILON {
        return number / from;
    }
    let root = from * from + 2.0 * slope * number;
    if root < 0.0 { f64::INFINITY } else { (root.sqrt() - from) / slope }
}

/// When the integral of a rate that is constant by parts reaches `number`.
fn steps_time(steps: &[f64], duration: f64, number: f64) -> f64 {
    let part = duration / steps.len() as f64;
    let mut left = number;
    for (index, rate) in steps.iter().enumerate() {
        if left < rate * part {
            return index as f64 * part + left / rate;
        }
        left -= rate * part;
    }
    f64::INFINITY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(rate: &Rate, seconds: u64) -> Vec<f64> {
        let mut schedule =
            Schedule::new(rate, Duration::from_secs(seconds), (0, 1), Chance::new(7, "test", 0)).unwrap();
        std::iter::from_fn(|| schedule.pop()).map(|time| time.as_secs_f64()).collect()
    }

    #[test]
    fn constant_times_are_evenly_spaced_and_complete() {
        let times = times(&Rate::Constant { per_second: 1_000.0 }, 10);
        assert_eq!(times.len(), 10_000);
        assert!(times.windows(2).all(|pair| (pair[1] - pair[0] - 0.001).abs() < 1e-6));
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_deviation_of_an_exponential() {
        let times = times(&Rate::Poisson { per_second: 2_000.0 }, 50);
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        // 100,000 draws: three standard errors are one percent.
        assert!((mean * 2_000.0 - 1.0).abs() < 0.01, "{mean}");
        assert!((deviation / mean - 1.0).abs() < 0.02, "{deviation}");
    }

    #[test]
    fn ramps_and_steps_reach_their_rates() {
        let ramp = times(&Rate::Ramp { from_per_second: 0.0, to_per_second: 1_000.0 }, 10);
        assert!((ramp.len() as i64 - 5_000).abs() <= 1);
        let late = ramp.iter().filter(|time| **time >= 9.0).count();
        assert!((940..=960).contains(&late), "{late}");
        let steps = times(&Rate::Steps { steps_per_second: vec![100.0, 300.0] }, 2);
        assert_eq!(steps.iter().filter(|time| **time < 1.0).count(), 100);
        assert_eq!(steps.iter().filter(|time| **time >= 1.0).count(), 300);
    }

    #[test]
    fn a_day_begins_and_ends_quietly_and_keeps_its_mean() {
        let times = times(&Rate::Daily { per_second: 1_000.0, swing: 0.9, days: 2 }, 40);
        assert!((times.len() as f64 / 40_000.0 - 1.0).abs() < 0.02, "{}", times.len());
        assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
        // seconds 0-2 and 20-22 are night, 9-11 and 29-31 noon; the mean of cos over 2 s around the turn is 0.984
        let within = |from: f64| times.iter().filter(|time| (from..from + 2.0).contains(*time)).count() as f64;
        for (from, expected) in [(9.0, 2_000.0 * (1.0 + 0.9 * 0.984)), (29.0, 2_000.0 * (1.0 + 0.9 * 0.984))] {
            assert!((within(from) / expected - 1.0).abs() < 0.06, "{from}: {}", within(from));
        }
        assert!(within(19.0) < 400.0, "{}", within(19.0));
    }

    #[test]
    fn given_times_are_kept_up_to_the_end() {
        let mut schedule = Schedule::given(vec![0.0, 0.5, 0.5, 3.0], Duration::from_secs(2));
        assert_eq!(schedule.expected(), 3);
        let times: Vec<_> = std::iter::from_fn(|| schedule.pop()).map(|time| time.as_millis()).collect();
        assert_eq!(times, [0, 500, 500]);
    }

    #[test]
    fn processes_share_the_rate() {
        let rate = Rate::Constant { per_second: 900.0 };
        let part = |process| {
            let schedule =
                Schedule::new(&rate, Duration::from_secs(1), (process, 3), Chance::new(1, "test", 0)).unwrap();
            assert_eq!(schedule.expected(), 300);
            schedule
        };
        let mut times: Vec<f64> = (0..3)
            .map(part)
            .flat_map(|mut part| std::iter::from_fn(move || part.pop()))
            .map(|time| time.as_secs_f64())
            .collect();
        times.sort_by(f64::total_cmp);
        assert_eq!(times.len(), 900);
        assert!(times.windows(2).all(|pair| (pair[1] - pair[0] - 1.0 / 900.0).abs() < 1e-6), "they take turns");
    }
}
