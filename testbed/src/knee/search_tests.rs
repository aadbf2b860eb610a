//! The search against synthetic systems whose knee is known: a rate passes a measurement when it lies below the knee of
//! that moment, which is the true one times a log-normal error.

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;

use super::super::estimate::{Observation, knee};
use super::*;

fn options() -> KneeOptions {
    let text = "name='k'\ncommittees=1\nnodes_per_committee=1\nduration_s=9\n[knee]\np99_ms_max=1\n";
    shardpay_run::SweepSpec::parse("k", text, &[]).unwrap().knee.unwrap()
}

/// A system with its own chance.
struct System {
    knee: f64,
    noise: f64,
    chance: ChaCha8Rng,
}

impl System {
    fn new(knee: f64, noise: f64, seed: u64) -> Self {
        Self { knee, noise, chance: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Standard normal: twelve uniform values less 6 (Irwin–Hall).
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| (self.chance.next_u64() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0
    }

    fn passes(&mut self, rate: f64) -> bool {
        rate < self.knee * (self.noise * self.normal()).exp()
    }

    fn search(&mut self, start: f64) -> (Step, Vec<Observation>) {
        let mut search = Search::new(&options(), start);
        let mut made = Vec::new();
        while let Step::Measure { rate, .. } = search.next() {
            let passed = self.passes(rate);
            made.push(Observation { rate, passed });
            search.record(passed);
        }
        (search.next(), made)
    }
}

fn found(step: Step) -> Bracket {
    let Step::Found(bracket) = step else { panic!("{step:?}") };
    bracket
}

proptest! {
    /// Without noise the bracket holds the knee, is narrow, and takes as few measurements as it must.
    #[test]
    fn a_sharp_knee_is_found(knee in 10.0f64..1e6, start in 0.1f64..3.0) {
        let (step, made) = System::new(knee, 0.0, 0).search(knee * start);
        let bracket = found(step);
        prop_assert!(bracket.resolved);
        prop_assert!(bracket.lower.0 < knee && knee <= bracket.upper.0, "{bracket:?}");
        prop_assert!(bracket.upper.0 / bracket.lower.0 <= 1.05 + 1e-9);
        prop_assert_eq!((bracket.lower.1, bracket.upper.1), (Tally { passed: 5, failed: 0 }, Tally { passed: 0, failed: 5 }));
        // eight at the ends beside the two of the bisection, three halvings of 25 %, and the way to the first bracket
        let way = (start.ln().abs() / 1.25f64.ln()).ceil() as usize + 1;
        prop_assert!(made.len() <= 8 + 3 + way + 1, "{} measurements", made.len());
    }

    /// With any noise it ends in time, and says resolved only of what is.
    #[test]
    fn a_noisy_knee_ends_and_does_not_lie(noise in 0.0f64..0.3, seed in any::<u64>(), start in 0.3f64..1.2) {
        let (step, made) = System::new(20_000.0, noise, seed).search(20_000.0 * start);
        prop_assert!(made.len() <= options().measurements_max);
        if let Step::Found(bracket) = step {
            prop_assert!(bracket.lower.0 < bracket.upper.0);
            if bracket.resolved {
                let Bracket { lower: (low, below), upper: (high, above), .. } = bracket;
                prop_assert!(high / low <= 1.05 + 1e-9);
                prop_assert!(below.passed >= 4 && below.passed + below.failed >= 5, "{below:?}");
                prop_assert!(above.failed >= 4 && above.passed + above.failed >= 5, "{above:?}");
                // counted again from the measurements themselves, bisection included
                let count = |rate, passed| made.iter().filter(|o| o.rate == rate && o.passed == passed).count();
                prop_assert!(count(low, true) >= 4 && count(high, false) >= 4);
            }
        }
    }

    /// The same outcomes lead to the same place: an interrupted search goes on where it was.
    #[test]
    fn a_search_is_what_it_was_told(outcomes in proptest::collection::vec(any::<bool>(), 0..60)) {
        let mut first = Search::new(&options(), 100.0);
        let mut second = Search::new(&options(), 100.0);
        for passed in outcomes {
            first.record(passed);
            second.record(passed);
            prop_assert_eq!(first.next(), second.next());
        }
    }
}

#[test]
fn a_system_that_passes_nothing_or_everything_is_given_up() {
    assert!(matches!(System::new(0.1, 0.0, 0).search(50.0).0, Step::GaveUp(why) if why.contains("not even one")));
    assert!(matches!(System::new(1e300, 0.0, 0).search(50.0).0, Step::GaveUp(why) if why.contains("too many")));
}

/// Outcomes of a real search. Two rates in the middle neither passed nor failed, and the search walked to and fro between
/// them; those outside make a bracket.
#[test]
fn rates_that_neither_pass_nor_fail_stay_inside_the_bracket() {
    let mut outcomes: BTreeMap<i64, Vec<bool>> = [
        (9_476, "F"),
        (7_581, "F"),
        (6_781, "F"),
        (6_413, "F"),
        (6_236, "FF"),
        (6_150, "FPF"),
        (6_065, "PFFF"),
        (5_981, "FPPF"),
        (5_898, "PFPPF"),
        (5_816, "PFP"),
    ]
    .map(|(rate, outcomes)| (rate, outcomes.chars().rev().map(|outcome| outcome == 'P').collect()))
    .into();
    let mut search = Search::new(&options(), 9_476.11);
    while let Step::Measure { rate, .. } = search.next() {
        let known = outcomes.get_mut(&(rate.round() as i64)).and_then(Vec::pop);
        search.record(known.unwrap_or(rate < 5_950.0));
    }
    let bracket = found(search.next());
    assert!(bracket.resolved, "{bracket:?}");
    assert_eq!((bracket.lower.0.round(), bracket.upper.0.round()), (5_816.0, 6_065.0), "4.3 % apart");
}

#[test]
fn a_one_percent_noise_is_resolved_most_times_and_brackets_the_knee() {
    let mut right = 0;
    for seed in 0..200 {
        let bracket = found(System::new(31_000.0, 0.01, seed).search(22_000.0).0);
        let near = bracket.lower.0 / 1.02 < 31_000.0 && 31_000.0 < bracket.upper.0 * 1.02;
        right += usize::from(bracket.resolved && near);
    }
    assert!(right >= 165, "{right} of 200");
}

#[test]
fn the_interval_covers_the_knee_about_as_often_as_it_says() {
    for noise in [0.01, 0.03, 0.08] {
        let mut covered = 0;
        for seed in 0..200 {
            let (_, made) = System::new(31_000.0, noise, seed).search(22_000.0);
            let interval = knee(&made).unwrap();
            covered += usize::from(interval.low <= 31_000.0 && 31_000.0 <= interval.high);
        }
        eprintln!("noise {noise}: {covered} of 200");
        assert!(covered >= 180, "noise {noise}: {covered} of 200");
    }
}
