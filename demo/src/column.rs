//! One metric of one server: its last value, and a window of its past.
//!
//! A metric takes room for its window from its first value other than zero on. When there is none left, the metric
//! has no values at all rather than wrong ones, and each value that is not kept is counted.

use std::sync::Arc;

use shardpay_telemetry::names;

use crate::ring::Ring;
use crate::store::{Intake, Limits};

/// Metrics whose exact value matters, beside those that start with a name in [`EXACT_LABELLED`].
const EXACT: [&str; 6] = [
    names::SUPPLY_BALANCES,
    names::SUPPLY_MINTED,
    names::SUPPLY_BURNED,
    names::SUPPLY_SENT,
    names::SUPPLY_RECEIVED,
    names::SUPPLY_SUSPENSE,
];
/// Labelled counters of which the count itself is compared between servers.
const EXACT_LABELLED: [&str; 2] = [names::MESSAGES_SENT, names::MESSAGES_CONSUMED];

/// A number as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Number {
    Integer(i64),
    Float(f64),
}

impl Number {
    pub(crate) fn float(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    fn integer(self) -> i64 {
        match self {
            Self::Integer(value) => value,
            Self::Float(value) => value as i64,
        }
    }
}

/// What is kept of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    /// A counter's growth per second.
    Rate,
    /// The value itself.
    Level,
    /// The value itself, to the last digit.
    Exact,
}

#[derive(Debug)]
enum Values {
    /// Zero so far.
    Zero,
    /// There is no room for them.
    Missing,
    Narrow(Ring<f32>),
    Exact(Ring<i64>),
}

/// One metric of one server.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: Arc<str>,
    /// The last value, as it came.
    pub(crate) last: f64,
    last_us: i64,
    keeps: Keeps,
    values: Values,
}

impl Column {
    /// A metric that has no value yet.
    pub(crate) fn new(name: Arc<str>, counts: bool) -> Self {
        let labelled = name.split_once('/').is_some_and(|(metric, _)| EXACT_LABELLED.contains(&metric));
        let keeps = match counts {
            _ if labelled || EXACT.contains(&&*name) => Keeps::Exact,
            true => Keeps::Rate,
            false => Keeps::Level,
        };
        Self { name, last: f64::NAN, last_us: 0, keeps, values: Values::Zero }
    }

    /// Takes a value of a moment.
    pub(crate) fn record(&mut self, at_us: i64, value: Number, limits: &Limits, intake: &mut Intake) {
        let number = value.float();
        let (before, before_us) = (std::mem::replace(&mut self.last, number), self.last_us);
        self.last_us = at_us;
        let kept = match self.keeps {
            Keeps::Rate => {
                // a counter that went back belongs to a new process; nobody knows its rate yet, nor the first one's
                let seconds = (at_us - before_us) as f64 / 1e6;
                (number >= before && seconds > 0.05).then(|| (number - before) / seconds)
            }
            Keeps::Level | Keeps::Exact => Some(number),
        };
        let Some(kept) = kept else { return };
        if matches!(self.values, Values::Zero | Values::Missing) && kept != 0.0 {
            self.make_room(limits, intake);
        }
        let slot = at_us.div_euclid(limits.slot_us);
        match &mut self.values {
            Values::Narrow(ring) => ring.set(slot, kept as f32),
            Values::Exact(ring) => ring.set(slot, value.integer()),
            Values::Missing => intake.not_kept += 1,
            Values::Zero => {}
        }
    }

    fn make_room(&mut self, limits: &Limits, intake: &mut Intake) {
        let bytes = match self.keeps {
            Keeps::Exact => limits.exact_slots * size_of::<i64>(),
            Keeps::Rate | Keeps::Level => limits.slots * size_of::<f32>(),
        };
        if intake.bytes + bytes > limits.bytes_max {
            self.values = Values::Missing;
            return;
        }
        intake.bytes += bytes;
        intake.columns += 1;
        self.values = match self.keeps {
            Keeps::Exact => Values::Exact(Ring::new(limits.exact_slots)),
            Keeps::Rate | Keeps::Level => Values::Narrow(Ring::new(limits.slots)),
        };
    }

    /// Gives its room back.
    pub(crate) fn forget(&mut self, intake: &mut Intake) {
        let bytes = match &self.values {
            Values::Zero | Values::Missing => 0,
            Values::Narrow(ring) => ring.bytes(),
            Values::Exact(ring) => ring.bytes(),
        };
        intake.bytes -= bytes;
        intake.columns -= usize::from(bytes > 0);
        self.values = Values::Missing;
    }

    /// The value in a slot; of a counter, its rate per second.
    pub(crate) fn value(&self, slot: i64, slot_us: i64) -> Option<f64> {
        match &self.values {
            // all its values are zero: in its window they are there
            Values::Zero => (slot <= self.last_us.div_euclid(slot_us)).then_some(0.0),
            Values::Missing => None,
            Values::Narrow(ring) => ring.get(slot).map(f64::from),
            Values::Exact(ring) => ring.get(slot).map(|value| value as f64),
        }
    }

    /// The exact value in a slot or one of the `back` ones before.
    pub(crate) fn exact(&self, slot: i64, back: i64) -> Option<i64> {
        match &self.values {
            Values::Exact(ring) => (0..=back).find_map(|back| ring.get(slot - back)),
            Values::Zero => Some(0),
            Values::Missing | Values::Narrow(_) => None,
        }
    }
}
