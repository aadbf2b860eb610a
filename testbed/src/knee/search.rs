//! Where to measure next: brackets, bisects and confirms, without I/O. The answer follows from the outcomes alone, so a
//! search that was interrupted goes on by being told them again.
//!
//! Guarantees: what is called resolved is two rates at most `bracket` apart, of which the lower passed and the upper failed
//! in at least `needed` of at least `repeats` measurements each. It ends after `measurements_max` at the latest, on any
//! system. Rates that neither pass nor fail often enough end up in between; where they are wider than `bracket`, it is not
//! resolved.

use std::collections::BTreeMap;

use shardpay_run::{KneeOptions, MeasurementStage};

/// Below this a system that passes nothing is given up.
const RATE_MIN: f64 = 1.0;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Measure at this rate.
    Measure {
        /// Payments per second.
        rate: f64,
        /// What for.
        stage: MeasurementStage,
    },
    /// It is over.
    Found(Bracket),
    /// No bracket was found.
    GaveUp(&'static str),
}

/// Passes and failures at a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Measurements that passed.
    pub passed: usize,
    /// Measurements that failed.
    pub failed: usize,
}

impl Tally {
    const fn made(self) -> usize {
        self.passed + self.failed
    }
}

/// The end of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bracket {
    /// The lower end.
    pub lower: (f64, Tally),
    /// The upper end.
    pub upper: (f64, Tally),
    /// Whether it is as narrow as asked, and both ends are confirmed.
    pub resolved: bool,
}

/// Rates of the confirming part lie on a ladder of half brackets, so that one is met again exactly.
#[derive(Debug, Clone, Copy)]
struct Ladder {
    base: f64,
    /// Two rungs above: they are one bracket.
    top: f64,
}

impl Ladder {
    fn rate(&self, rung: i32) -> f64 {
        match rung {
            0 => self.base,
            2 => self.top,
            rung => self.base * (self.top / self.base).powf(f64::from(rung) / 2.0),
        }
    }
}

enum Phase {
    Bracket { passed: Option<f64>, failed: Option<f64>, rate: f64 },
    Bisect { passed: f64, failed: f64 },
    Confirm { ladder: Ladder },
}

/// What the measurements at a rung say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Open,
    Pass,
    Fail,
}

/// A search.
pub struct Search {
    options: KneeOptions,
    phase: Phase,
    made: usize,
    rungs: BTreeMap<i32, Tally>,
    next: Step,
}

impl Search {
    /// A search that begins at `rate`.
    pub fn new(options: &KneeOptions, rate: f64) -> Self {
        let phase = Phase::Bracket { passed: None, failed: None, rate };
        let next = Step::Measure { rate, stage: MeasurementStage::Bracket };
        Self { options: options.clone(), phase, made: 0, rungs: BTreeMap::new(), next }
    }

    /// What to do next.
    pub const fn next(&self) -> Step {
        self.next
    }

    /// Takes in what was measured at the rate that [`Search::next`] asked for. Once it asks for none, nothing changes.
    pub fn record(&mut self, passed: bool) {
        let Step::Measure { rate, .. } = self.next else { return };
        self.made += 1;
        match &mut self.phase {
            Phase::Bracket { passed: below, failed: above, rate: at } => {
                *(if passed { &mut *below } else { &mut *above }) = Some(rate);
                match (*below, *above) {
                    (Some(passed), Some(failed)) => self.phase = Phase::Bisect { passed, failed },
                    (Some(_), None) => *at = rate * self.options.growth,
                    _ => *at = rate / self.options.growth,
                }
            }
            Phase::Bisect { passed: below, failed: above } => *(if passed { below } else { above }) = rate,
            Phase::Confirm { ladder } => {
                let ladder = *ladder;
                let Some(rung) = self.open_end(self.candidate(ladder)) else { return };
                let tally = self.rungs.entry(rung).or_default();
                *(if passed { &mut tally.passed } else { &mut tally.failed }) += 1;
            }
        }
        if let Phase::Bisect { passed, failed } = self.phase
            && self.is_narrow(passed, failed)
        {
            // the one measurement that each end has counts with the repeats
            let ladder = Ladder { base: passed, top: failed };
            self.rungs = [(0, Tally { passed: 1, failed: 0 }), (2, Tally { passed: 0, failed: 1 })].into();
            self.phase = Phase::Confirm { ladder };
        }
        self.next = self.decide();
    }

    fn is_narrow(&self, lower: f64, upper: f64) -> bool {
        upper / lower <= 1.0 + self.options.bracket
    }

    fn class(&self, rung: i32) -> Class {
        let Tally { passed, failed } = self.tally(rung);
        let (needed, repeats) = (self.options.needed, self.options.repeats);
        if passed + failed < repeats {
            Class::Open
        } else if passed >= needed {
            Class::Pass
        } else if failed >= needed {
            Class::Fail
        } else {
            Class::Open
        }
    }

    fn decide(&self) -> Step {
        let over = self.made >= self.options.measurements_max;
        match self.phase {
            Phase::Bracket { .. } | Phase::Bisect { .. } if over => {
                Step::GaveUp("too many measurements before a bracket")
            }
            Phase::Bracket { rate, .. } if rate < RATE_MIN => Step::GaveUp("not even one payment per second passes"),
            Phase::Bracket { rate, .. } => Step::Measure { rate, stage: MeasurementStage::Bracket },
            Phase::Bisect { passed, failed } => {
                Step::Measure { rate: (passed * failed).sqrt(), stage: MeasurementStage::Bisect }
            }
            Phase::Confirm { ladder } => self.confirm(ladder, over),
        }
    }

    fn confirm(&self, ladder: Ladder, over: bool) -> Step {
        let pair = self.candidate(ladder);
        match self.open_end(pair) {
            None => Step::Found(self.bracket(ladder, pair)),
            Some(_) if over => Step::Found(self.best(ladder)),
            Some(rung) => Step::Measure { rate: ladder.rate(rung), stage: MeasurementStage::Confirm },
        }
    }

    /// The end of a pair to measure next: of those not confirmed, the one of which less is known.
    fn open_end(&self, (lower, upper): (i32, i32)) -> Option<i32> {
        match (self.class(lower) == Class::Pass, self.class(upper) == Class::Fail) {
            (true, true) => None,
            (true, false) => Some(upper),
            (false, true) => Some(lower),
            (false, false) => Some(if self.tally(lower).made() <= self.tally(upper).made() { lower } else { upper }),
        }
    }

    /// Of all pairs of which the lower can still be confirmed to pass and the upper to fail: the one that most measurements
    /// agree with (up to the lower they passed, from the upper on they failed), then one that is narrow enough, then the one
    /// of which most is known, then the widest.
    fn candidate(&self, ladder: Ladder) -> (i32, i32) {
        let spare = self.options.repeats - self.options.needed;
        let first = self.rungs.keys().next().map_or(0, |rung| rung - 2);
        let last = self.rungs.keys().next_back().map_or(2, |rung| rung + 2);
        let agree = |lower: i32, upper: i32| -> i64 {
            let says = |rung: i32, Tally { passed, failed }: &Tally| match (*passed as i64, *failed as i64) {
                (passed, failed) if rung <= lower => passed - failed,
                (passed, failed) if rung >= upper => failed - passed,
                _ => 0,
            };
            self.rungs.iter().map(|(rung, tally)| says(*rung, tally)).sum()
        };
        let made = |rung| self.tally(rung).made();
        let lowers = (first..last).filter(|rung| self.tally(*rung).failed <= spare);
        let uppers = |lower: i32| (lower + 1..=last).filter(|rung| self.tally(*rung).passed <= spare);
        let pairs = lowers.flat_map(|lower| uppers(lower).map(move |upper| (lower, upper)));
        // nothing is known of the rungs outside, so that there always is a pair
        let best = pairs.max_by_key(|(lower, upper)| {
            let narrow = self.is_narrow(ladder.rate(*lower), ladder.rate(*upper));
            let width = if narrow { upper - lower } else { lower - upper };
            (agree(*lower, *upper), narrow, made(*lower) + made(*upper), width)
        });
        best.unwrap_or((first, last))
    }

    fn tally(&self, rung: i32) -> Tally {
        self.rungs.get(&rung).copied().unwrap_or_default()
    }

    fn bracket(&self, ladder: Ladder, (lower, upper): (i32, i32)) -> Bracket {
        let end = |rung| (ladder.rate(rung), self.tally(rung));
        let confirmed = self.class(lower) == Class::Pass && self.class(upper) == Class::Fail;
        let (lower, upper) = (end(lower), end(upper));
        Bracket { lower, upper, resolved: confirmed && self.is_narrow(lower.0, upper.0) }
    }

    /// When the measurements are used up: the highest rung that leans to passing below the lowest that leans to failing.
    fn best(&self, ladder: Ladder) -> Bracket {
        let leans = |tally: &Tally| tally.passed > tally.failed;
        let failing = self.rungs.iter().filter(|(_, tally)| tally.failed > tally.passed).map(|(rung, _)| *rung);
        let passing = |below: i32| {
            self.rungs.iter().filter(|(rung, tally)| **rung < below && leans(tally)).map(|(rung, _)| *rung).max()
        };
        let found =
            failing.filter_map(|upper| Some((passing(upper)?, upper))).min_by_key(|(lower, upper)| upper - lower);
        // the bisection left both ends with one measurement, so that there always are two
        let mut bracket = self.bracket(ladder, found.unwrap_or((0, 2)));
        bracket.resolved = false;
        bracket
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
