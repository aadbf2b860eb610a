//! The window of everything servers sent, bounded in memory.
//!
//! Guarantees: values lie in slots of time, as many as the configuration says; a metric takes room from its
//! first value other than zero on, and all metrics together no more than `Limits::bytes_max`. When there
//! is no room, metrics of servers that have long been silent go first; then new ones are not kept, and that
//! is counted. A server whose clock is wrong is moved to ours, so that all charts have one time; its offset
//! is told. Counters are kept as rates per second, except those in `EXACT`.

use std::collections::{HashMap, VecDeque};

use shardpay_telemetry::names;

use crate::lines::{Batch, Key, Point, Value};
use crate::log::{Entry, Log};
use crate::ring::Ring;

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
/// A clock that is further off than this is corrected, and an alarm.
pub(crate) const OFFSET_MAX_US: i64 = 5_000_000;
/// Batches from which a clock's offset is found.
const OFFSET_BATCHES: usize = 5;
/// Servers at most; lines of more are not kept.
const SERVERS_MAX: usize = 4_096;
/// Series at most.
const SERIES_MAX: usize = 1 << 19;
/// Fields of one series at most.
const FIELDS_MAX: usize = 256;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Length of a slot.
    pub slot_us: i64,
    /// Slots in the window.
    pub slots: usize,
    /// Room for values.
    pub bytes_max: usize,
    /// Task events.
    pub events_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { slot_us: 1_000_000, slots: 600, bytes_max: 200 << 20, events_max: 20_000 }
    }
}

/// What came in so far.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Intake {
    /// Points taken.
    pub points: u64,
    /// Lines that could not be read.
    pub bad_lines: u64,
    /// Values that were not kept: no room, too old, or no server's.
    pub not_kept: u64,
    /// Bytes of values.
    pub bytes: usize,
    /// Metrics with a window.
    pub columns: usize,
}

/// One metric of one server.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: Box<str>,
    pub(crate) last: f64,
    last_us: i64,
    values: Values,
}

#[derive(Debug)]
enum Values {
    /// Zero so far.
    Zero,
    Narrow(Ring<f32>),
    Exact(Ring<i64>),
}

/// A server that sent something.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: Box<str>,
    pub(crate) kind: Box<str>,
    pub(crate) committee: Option<u32>,
    pub(crate) member: Option<u32>,
    pub(crate) columns: HashMap<Box<str>, Column>,
    pub(crate) heard: Ring<f32>,
    /// By our clock.
    pub(crate) last_heard_us: i64,
    /// By our clock, the last time at which a second process used the name.
    pub(crate) twin_us: i64,
    started_ms: f64,
    offsets: VecDeque<i64>,
    /// Newest timestamp of the batch that is being read.
    newest_us: i64,
}

impl Server {
    fn new(key: &Key, name: &str, slots: usize) -> Self {
        let number = |tag| key.tag(tag).and_then(|text| text.parse().ok());
        Self {
            name: name.into(),
            kind: key.tag(names::TAG_KIND).unwrap_or("").into(),
            committee: number(names::TAG_COMMITTEE),
            member: number(names::TAG_MEMBER),
            columns: HashMap::new(),
            heard: Ring::new(slots),
            last_heard_us: i64::MIN / 2,
            twin_us: i64::MIN / 2,
            started_ms: 0.0,
            offsets: VecDeque::new(),
            newest_us: 0,
        }
    }

    /// How far our clock is ahead of the server's, at least; delays on the way count as well.
    pub(crate) fn offset_us(&self) -> i64 {
        self.offsets.iter().copied().min_by_key(|offset| offset.abs()).unwrap_or(0)
    }

    fn correction_us(&self) -> i64 {
        let offset = self.offset_us();
        if offset.abs() > OFFSET_MAX_US { offset } else { 0 }
    }
}

/// What a series' points are.
#[derive(Debug)]
enum Series {
    /// Of no server, or one too many.
    Unknown,
    Events {
        server: usize,
        kind: Box<str>,
    },
    Numbers {
        server: usize,
        prefix: Option<Box<str>>,
        counts: bool,
        fields: Vec<(Box<[u8]>, Box<str>)>,
    },
}

/// Everything that is kept.
pub struct Store {
    pub(crate) limits: Limits,
    pub(crate) servers: Vec<Server>,
    by_name: HashMap<Box<str>, usize>,
    series: HashMap<Box<[u8]>, Series>,
    /// Task events.
    pub(crate) log: Log,
    intake: Intake,
}

impl Store {
    /// Nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            servers: Vec::new(),
            by_name: HashMap::new(),
            series: HashMap::new(),
            log: Log::new(limits.events_max),
            intake: Intake::default(),
        }
    }

    /// What came in so far.
    pub fn intake(&self) -> Intake {
        self.intake
    }

    /// The slot of a time.
    pub(crate) fn slot(&self, us: i64) -> i64 {
        us.div_euclid(self.limits.slot_us)
    }

    /// Index of the server of that name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Takes a request's points. `unit_ns` is the length of their timestamps' unit; `now_us` is our time,
    /// or nothing when the points are an old run's.
    pub fn apply(&mut self, batch: &Batch<'_>, unit_ns: i64, now_us: Option<i64>) {
        self.intake.bad_lines += batch.bad as u64;
        let mut touched: Vec<usize> = Vec::new();
        for point in &batch.points {
            let time_us = match (point.time, now_us) {
                (Some(time), _) if unit_ns >= 1_000 => time.saturating_mul(unit_ns / 1_000),
                (Some(time), _) => time / (1_000 / unit_ns),
                (None, Some(now)) => now,
                (None, None) => continue,
            };
            let Some(server) = self.point(batch, point, time_us, now_us) else { continue };
            if touched.last() != Some(&server) && !touched.contains(&server) {
                touched.push(server);
            }
        }
        for server in touched {
            self.heard(server, now_us);
        }
    }

    /// Notes that a server has said something.
    fn heard(&mut self, server: usize, now_us: Option<i64>) {
        let slot_us = self.limits.slot_us;
        let server = &mut self.servers[server];
        let newest = std::mem::take(&mut server.newest_us);
        match now_us {
            Some(now) => {
                server.last_heard_us = now;
                server.offsets.push_back(now.saturating_sub(newest));
                if server.offsets.len() > OFFSET_BATCHES {
                    server.offsets.pop_front();
                }
                server.heard.set(now.div_euclid(slot_us), 1.0);
            }
            None => server.last_heard_us = server.last_heard_us.max(newest),
        }
    }

    /// Takes a point; returns whose it is.
    fn point(&mut self, batch: &Batch<'_>, point: &Point<'_>, time_us: i64, now_us: Option<i64>) -> Option<usize> {
        self.intake.points += 1;
        if !self.series.contains_key(point.key) {
            if self.series.len() >= SERIES_MAX {
                self.intake.not_kept += 1;
                return None;
            }
            let series = self.classify(point.key);
            self.series.insert(point.key.into(), series);
        }
        let fields = &batch.fields[point.fields.clone()];
        let Self { series, servers, log, limits, intake, .. } = self;
        match series.get_mut(point.key)? {
            Series::Unknown => {
                intake.not_kept += 1;
                None
            }
            Series::Events { server, kind } => {
                let place = &mut servers[*server];
                place.newest_us = place.newest_us.max(time_us);
                if let Some((_, Value::Text(text))) = fields.first() {
                    let at_us = time_us.saturating_add(place.correction_us());
                    log.push(Entry { at_us, server: *server, kind: kind.clone(), text: (&**text).into() });
                }
                Some(*server)
            }
            Series::Numbers { server, prefix, counts, fields: known } => {
                let place = &mut servers[*server];
                place.newest_us = place.newest_us.max(time_us);
                let at_us = time_us.saturating_add(place.correction_us());
                let slot = at_us.div_euclid(limits.slot_us);
                if now_us.is_none() {
                    place.heard.set(slot, 1.0);
                } else if now_us.is_some_and(|now| slot > now.div_euclid(limits.slot_us) + 2) {
                    // a clock ahead of ours, before that is known: no slot of the future
                    return Some(*server);
                }
                for (index, (name, value)) in fields.iter().enumerate() {
                    let value = match value {
                        Value::Integer(value) => Number::Integer(*value),
                        Value::Float(value) => Number::Float(*value),
                        Value::Text(_) => continue,
                    };
                    let name = column_name(known, index, name, prefix.as_deref());
                    let Some(name) = name else {
                        intake.not_kept += 1;
                        continue;
                    };
                    place.note(name, value, now_us);
                    record(place, name, Sample { at_us, slot, value, counts: *counts }, limits, intake);
                }
                Some(*server)
            }
        }
    }

    /// Finds out what the points of a series are.
    fn classify(&mut self, key: &[u8]) -> Series {
        let Some(key) = Key::parse(key) else { return Series::Unknown };
        let Some(name) = key.tag(names::TAG_SERVER) else { return Series::Unknown };
        let server = match self.by_name.get(name) {
            Some(server) => *server,
            None if self.servers.len() >= SERVERS_MAX => return Series::Unknown,
            None => {
                self.servers.push(Server::new(&key, name, self.limits.slots));
                self.by_name.insert(name.into(), self.servers.len() - 1);
                self.servers.len() - 1
            }
        };
        let tag = |name| key.tag(name).unwrap_or("");
        let (prefix, counts) = match key.measurement.as_str() {
            names::EVENTS => return Series::Events { server, kind: tag(names::TAG_EVENT).into() },
            names::COUNTERS => (None, true),
            names::GAUGES => (None, false),
            names::HISTOGRAMS => (Some(tag(names::TAG_METRIC).to_owned()), false),
            names::LABELLED => (Some(format!("{}/{}", tag(names::TAG_METRIC), tag(names::TAG_LABEL))), true),
            _ => return Series::Unknown,
        };
        Series::Numbers { server, prefix: prefix.map(Into::into), counts, fields: Vec::new() }
    }

    /// Gives the room of servers back that were silent for longer than the window.
    pub(crate) fn forget_silent(&mut self, now_us: i64) {
        let oldest = now_us - self.limits.slot_us.saturating_mul(self.limits.slots as i64);
        for server in &mut self.servers {
            if server.last_heard_us < oldest && !server.columns.is_empty() {
                for column in server.columns.values() {
                    self.intake.bytes -= column.bytes(&self.limits);
                    self.intake.columns -= usize::from(column.bytes(&self.limits) > 0);
                }
                server.columns.clear();
            }
        }
    }

    /// The value of a server's metric in a slot or the two before: servers write once a second, not at
    /// the same moment. Counters give rates per second.
    pub(crate) fn value(&self, server: usize, name: &str, slot: i64) -> Option<f64> {
        let column = self.servers[server].columns.get(name)?;
        (0..3).find_map(|back| column.value(slot - back, self.limits.slot_us))
    }

    /// The value in that very slot.
    pub(crate) fn value_at(&self, server: usize, name: &str, slot: i64) -> Option<f64> {
        self.servers[server].columns.get(name)?.value(slot, self.limits.slot_us)
    }

    /// The exact count of one of the [`EXACT`] metrics at a slot or before.
    pub(crate) fn exact(&self, server: usize, name: &str, slot: i64) -> Option<i64> {
        match &self.servers[server].columns.get(name)?.values {
            Values::Exact(ring) => (0..self.limits.slots.min(30) as i64).find_map(|back| ring.get(slot - back)),
            Values::Zero => Some(0),
            Values::Narrow(_) => None,
        }
    }
}

/// The name of the column of the `index`th field, remembered per series; nothing when there are too many.
fn column_name<'a>(
    known: &'a mut Vec<(Box<[u8]>, Box<str>)>,
    index: usize,
    field: &[u8],
    prefix: Option<&str>,
) -> Option<&'a str> {
    let found = match known.get(index) {
        Some((name, _)) if **name == *field => index,
        _ => match known.iter().position(|(name, _)| **name == *field) {
            Some(found) => found,
            None if known.len() >= FIELDS_MAX => return None,
            None => {
                let plain = String::from_utf8_lossy(field);
                let name = match prefix {
                    None => plain.into_owned(),
                    Some(prefix) if plain == names::FIELD_COUNT && prefix.contains('/') => prefix.to_owned(),
                    Some(prefix) => format!("{prefix}/{plain}"),
                };
                known.push((field.into(), name.into()));
                known.len() - 1
            }
        },
    };
    Some(&known[found].1)
}

#[derive(Clone, Copy)]
enum Number {
    Integer(i64),
    Float(f64),
}

impl Number {
    fn float(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// A value on its way to its column.
struct Sample {
    at_us: i64,
    slot: i64,
    value: Number,
    counts: bool,
}

impl Server {
    /// Looks whether two processes use one name: the start of the process then jumps back.
    fn note(&mut self, name: &str, value: Number, now_us: Option<i64>) {
        if name != names::STARTED_MS {
            return;
        }
        let started = value.float();
        if started < self.started_ms {
            self.twin_us = now_us.unwrap_or(self.newest_us);
        }
        self.started_ms = self.started_ms.max(started);
    }
}

fn record(server: &mut Server, name: &str, sample: Sample, limits: &Limits, intake: &mut Intake) {
    let Sample { at_us, slot, value, counts } = sample;
    let number = value.float();
    let Some(column) = server.columns.get_mut(name) else {
        let column = Column { name: name.into(), last: number, last_us: at_us, values: Values::Zero };
        let column = server.columns.entry(name.into()).or_insert(column);
        if (!counts || column.is_exact()) && number != 0.0 {
            column.set(slot, value, number, limits, intake);
        }
        return;
    };
    let (before, before_us) = (std::mem::replace(&mut column.last, number), column.last_us);
    column.last_us = at_us;
    let kept = if !counts || column.is_exact() {
        Some(number)
    } else {
        // a counter that went back belongs to a new process; nobody knows its rate yet
        let seconds = (at_us - before_us) as f64 / 1e6;
        (number >= before && seconds > 0.05).then(|| (number - before) / seconds)
    };
    if let Some(kept) = kept {
        column.set(slot, value, kept, limits, intake);
    }
}

impl Column {
    fn is_exact(&self) -> bool {
        let labelled = self.name.split_once('/').is_some_and(|(metric, _)| EXACT_LABELLED.contains(&metric));
        labelled || EXACT.contains(&&*self.name)
    }

    fn bytes(&self, limits: &Limits) -> usize {
        match self.values {
            Values::Zero => 0,
            Values::Narrow(_) => limits.slots * size_of::<f32>(),
            Values::Exact(_) => limits.slots * size_of::<i64>(),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one value with its slot, and what bounds it")]
    fn set(&mut self, slot: i64, value: Number, kept: f64, limits: &Limits, intake: &mut Intake) {
        if let Values::Zero = self.values {
            if kept == 0.0 {
                return;
            }
            let exact = self.is_exact();
            let bytes = limits.slots * if exact { size_of::<i64>() } else { size_of::<f32>() };
            if intake.bytes + bytes > limits.bytes_max {
                intake.not_kept += 1;
                return;
            }
            intake.bytes += bytes;
            intake.columns += 1;
            self.values =
                if exact { Values::Exact(Ring::new(limits.slots)) } else { Values::Narrow(Ring::new(limits.slots)) };
        }
        match (&mut self.values, value) {
            (Values::Narrow(ring), _) => ring.set(slot, kept as f32),
            (Values::Exact(ring), Number::Integer(value)) => ring.set(slot, value),
            (Values::Exact(ring), Number::Float(value)) => ring.set(slot, value as i64),
            (Values::Zero, _) => {}
        }
    }

    fn value(&self, slot: i64, slot_us: i64) -> Option<f64> {
        match &self.values {
            // all its values are zero: in its window they are there
            Values::Zero => (slot <= self.last_us.div_euclid(slot_us)).then_some(0.0),
            Values::Narrow(ring) => ring.get(slot).map(f64::from),
            Values::Exact(ring) => ring.get(slot).map(|value| value as f64),
        }
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
