//! Where to measure next: brackets, bisects and confirms, without I/O. The answer follows from the outcomes alone, so a
//! search that was interrupted goes on by being told them again.
//!
//! Guarantees: what is called resolved is two rates at most `bracket` apart, of which the lower passed and the upper failed
//! in at least `needed` of at least `repeats` measurements each. It ends after `measurements_max` at the latest, on any
//! system. When rates in between neither pass nor fail often enough, the bracket is as wide as they are, and not resolved.

use std::collections::BTreeMap;

use shardpay_run::{KneeOptions, MeasurementStage};

/// Below this a system that passes nothing is given up.
const RATE_MIN: f64 = 1.0;
/// Moves of the bracket's ends between two measurements; more mean that the outcomes contradict each other.
const MOVES_MAX: usize = 64;

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
    Confirm { ladder: Ladder, lower: i32, upper: i32 },
}

/// What the measurements at a rung say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Open,
    Pass,
    Fail,
    /// Neither can be reached any more.
    Mixed,
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
            Phase::Confirm { ladder, lower, upper } => {
                let rung = if rate == ladder.rate(*lower) { *lower } else { *upper };
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
            self.phase = Phase::Confirm { ladder, lower: 0, upper: 2 };
        }
        self.next = self.decide();
    }

    fn is_narrow(&self, lower: f64, upper: f64) -> bool {
        upper / lower <= 1.0 + self.options.bracket
    }

    fn class(&self, rung: i32) -> Class {
        let Tally { passed, failed } = self.rungs.get(&rung).copied().unwrap_or_default();
        let (needed, repeats) = (self.options.needed, self.options.repeats);
        let spare = repeats - needed;
        if passed > spare && failed > spare {
            Class::Mixed
        } else if passed + failed < repeats {
            Class::Open
        } else if passed >= needed {
            Class::Pass
        } else {
            Class::Fail
        }
    }

    fn decide(&mut self) -> Step {
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
            Phase::Confirm { ladder, lower, upper } => self.confirm(ladder, (lower, upper), over),
        }
    }

    /// Moves the ends to where they may still be confirmed, and measures the one that knows less.
    fn confirm(&mut self, ladder: Ladder, (mut lower, mut upper): (i32, i32), over: bool) -> Step {
        let spare = self.options.repeats - self.options.needed;
        let tally = |rungs: &BTreeMap<i32, Tally>, rung| rungs.get(&rung).copied().unwrap_or_default();
        for moves in 0..=MOVES_MAX {
            let (below, above) = (self.class(lower), self.class(upper));
            // an end that is neither moves outwards; the other one follows where it is open, but not to a rung that is neither
            let follows = |class, rung| class == Class::Open && self.class(rung) != Class::Mixed;
            if below == Class::Mixed {
                (lower, upper) = (lower - 1, if follows(above, lower + 1) { lower + 1 } else { upper });
            } else if above == Class::Mixed {
                (lower, upper) = (if follows(below, upper - 1) { upper - 1 } else { lower }, upper + 1);
            } else if below == Class::Fail || tally(&self.rungs, lower).failed > spare {
                (lower, upper) = (lower - 2, lower);
            } else if above == Class::Pass || tally(&self.rungs, upper).passed > spare {
                (lower, upper) = (upper, upper + 2);
            } else if below == Class::Pass && above == Class::Fail {
                return Step::Found(self.bracket(ladder, (lower, upper)));
            } else {
                self.phase = Phase::Confirm { ladder, lower, upper };
                if over || moves == MOVES_MAX {
                    break;
                }
                let made = |rung| tally(&self.rungs, rung).passed + tally(&self.rungs, rung).failed;
                let first = below != Class::Pass && (above == Class::Fail || made(lower) <= made(upper));
                let rate = ladder.rate(if first { lower } else { upper });
                return Step::Measure { rate, stage: MeasurementStage::Confirm };
            }
        }
        Step::Found(self.best(ladder))
    }

    fn bracket(&self, ladder: Ladder, (lower, upper): (i32, i32)) -> Bracket {
        let end = |rung| (ladder.rate(rung), self.rungs.get(&rung).copied().unwrap_or_default());
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
