//! The window of everything servers sent, bounded in memory.
//!
//! Guarantees: values lie in slots of time, as many as the configuration says; all metrics together take no more
//! than `Limits::bytes_max` for them, and there are bounds on servers, series, metrics and the length of their names,
//! so that nothing a writer sends takes more. Metrics of servers that were silent for the whole window give their
//! room back; when there is none, values are not kept, and that is counted. A server whose clock is wrong is moved
//! to ours, so that all charts have one time; its offset is told.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use shardpay_telemetry::names;

use crate::column::{Column, Number};
use crate::lines::{Batch, Key, Point, Value};
use crate::log::{Entry, Log};
use crate::ring::Ring;

/// A clock that is further off than this is corrected, and an alarm.
pub(crate) const OFFSET_MAX_US: i64 = 5_000_000;
/// Batches from which a clock's offset is found.
const OFFSET_BATCHES: usize = 5;
/// Servers at most; lines of more are not kept.
const SERVERS_MAX: usize = 4_096;
/// Series at most.
const SERIES_MAX: usize = 1 << 17;
/// Metrics of all servers at most.
const COLUMNS_MAX: usize = 1 << 18;
/// Longest measurement with tags, longest name of a field, longest text of an event, in bytes.
const KEY_BYTES_MAX: usize = 512;
const FIELD_BYTES_MAX: usize = 128;
const TEXT_BYTES_MAX: usize = 1_024;
/// Fields of one series at most.
const FIELDS_MAX: usize = 256;
/// Slots that [`Store::exact`] looks back.
const EXACT_BACK: i64 = 30;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Length of a slot.
    pub slot_us: i64,
    /// Slots in the window.
    pub slots: usize,
    /// Slots for which exact values are kept: as far as messages are looked back for.
    pub exact_slots: usize,
    /// Room for values.
    pub bytes_max: usize,
    /// Task events.
    pub events_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { slot_us: 1_000_000, slots: 600, exact_slots: 120, bytes_max: 200 << 20, events_max: 20_000 }
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

/// A server that sent something.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: Box<str>,
    pub(crate) kind: Box<str>,
    pub(crate) committee: Option<u32>,
    pub(crate) member: Option<u32>,
    pub(crate) columns: Vec<Column>,
    by_name: HashMap<Arc<str>, usize>,
    /// The last task event.
    pub(crate) task: Box<str>,
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
            columns: Vec::new(),
            by_name: HashMap::new(),
            task: "".into(),
            heard: Ring::new(slots),
            last_heard_us: i64::MIN / 2,
            twin_us: i64::MIN / 2,
            started_ms: 0.0,
            offsets: VecDeque::new(),
            newest_us: 0,
        }
    }

    /// The metric of that name.
    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.by_name.get(name).map(|index| &self.columns[*index])
    }

    /// Looks whether two processes use one name: the start of the process then jumps back.
    fn note_start(&mut self, started_ms: f64, now_us: Option<i64>) {
        if started_ms < self.started_ms {
            self.twin_us = now_us.unwrap_or(self.newest_us);
        }
        self.started_ms = self.started_ms.max(started_ms);
    }

    /// Index of the metric of a field, made when it is new.
    fn column_of(&mut self, field: &[u8], prefix: Option<&str>, counts: bool) -> usize {
        let plain = String::from_utf8_lossy(field);
        let name: Arc<str> = match prefix {
            None => plain.into(),
            Some(prefix) if plain == names::FIELD_COUNT && prefix.contains('/') => prefix.into(),
            Some(prefix) => format!("{prefix}/{plain}").into(),
        };
        if let Some(index) = self.by_name.get(&name) {
            return *index;
        }
        self.columns.push(Column::new(name.clone(), counts));
        self.by_name.insert(name, self.columns.len() - 1);
        self.columns.len() - 1
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

/// Values on their way to their metrics.
struct Taking<'a> {
    at_us: i64,
    now_us: Option<i64>,
    counts: bool,
    prefix: Option<&'a str>,
    limits: &'a Limits,
    intake: &'a mut Intake,
    /// Metrics of all servers.
    columns: &'a mut usize,
}

impl Server {
    /// Takes the fields of a point; `known` are those that its series had before.
    fn take(&mut self, known: &mut Vec<Field>, fields: &[(&[u8], Value<'_>)], taking: &mut Taking<'_>) {
        for (index, (name, value)) in fields.iter().enumerate() {
            let value = match value {
                Value::Integer(value) => Number::Integer(*value),
                Value::Float(value) => Number::Float(*value),
                Value::Text(_) => continue,
            };
            let found = match known.get(index) {
                Some(field) if *field.name == **name => Some(field.column),
                _ => known.iter().find(|field| *field.name == **name).map(|field| field.column),
            };
            let Some(column) = found.or_else(|| self.meet(known, name, taking)) else {
                taking.intake.not_kept += 1;
                continue;
            };
            let column = &mut self.columns[column];
            column.record(taking.at_us, value, taking.limits, taking.intake);
            if &*column.name == names::STARTED_MS {
                self.note_start(value.float(), taking.now_us);
            }
        }
    }

    /// A field that its series had not before; nothing when there are too many.
    fn meet(&mut self, known: &mut Vec<Field>, name: &[u8], taking: &mut Taking<'_>) -> Option<usize> {
        if known.len() >= FIELDS_MAX || *taking.columns >= COLUMNS_MAX || name.len() > FIELD_BYTES_MAX {
            return None;
        }
        let before = self.columns.len();
        let column = self.column_of(name, taking.prefix, taking.counts);
        *taking.columns += self.columns.len() - before;
        known.push(Field { name: name.into(), column });
        Some(column)
    }
}

/// A field of a series.
#[derive(Debug)]
struct Field {
    name: Box<[u8]>,
    /// Index of its metric.
    column: usize,
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
        fields: Vec<Field>,
    },
}

/// Everything that is kept.
pub struct Store {
    pub(crate) limits: Limits,
    pub(crate) servers: Vec<Server>,
    by_name: HashMap<Box<str>, usize>,
    /// Places in `series`, by measurement and tags as written.
    by_key: HashMap<Box<[u8]>, usize>,
    series: Vec<Series>,
    /// Task events.
    pub(crate) log: Log,
    intake: Intake,
    /// Metrics of all servers.
    columns: usize,
}

impl Store {
    /// Nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            servers: Vec::new(),
            by_name: HashMap::new(),
            by_key: HashMap::new(),
            series: Vec::new(),
            log: Log::new(limits.events_max),
            intake: Intake::default(),
            columns: 0,
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
        let index = match self.by_key.get(point.key) {
            Some(index) => *index,
            None if self.series.len() >= SERIES_MAX || point.key.len() > KEY_BYTES_MAX => {
                self.intake.not_kept += 1;
                return None;
            }
            None => {
                let series = self.classify(point.key);
                self.series.push(series);
                self.by_key.insert(point.key.into(), self.series.len() - 1);
                self.series.len() - 1
            }
        };
        let fields = &batch.fields[point.fields.clone()];
        let Self { series, servers, log, limits, intake, columns, .. } = self;
        let (server, prefix, counts, known) = match &mut series[index] {
            Series::Unknown => {
                intake.not_kept += 1;
                return None;
            }
            Series::Events { server, kind } => {
                let place = &mut servers[*server];
                place.newest_us = place.newest_us.max(time_us);
                if let Some((_, Value::Text(text))) = fields.first() {
                    let text: Box<str> = text[..text.floor_char_boundary(TEXT_BYTES_MAX)].into();
                    place.task.clone_from(&text);
                    let at_us = time_us.saturating_add(place.correction_us());
                    log.push(Entry { at_us, server: *server, kind: kind.clone(), text });
                }
                return Some(*server);
            }
            Series::Numbers { server, prefix, counts, fields } => (*server, prefix, *counts, fields),
        };
        let place = &mut servers[server];
        place.newest_us = place.newest_us.max(time_us);
        let at_us = time_us.saturating_add(place.correction_us());
        let slot = at_us.div_euclid(limits.slot_us);
        if now_us.is_none() {
            place.heard.set(slot, 1.0);
        } else if now_us.is_some_and(|now| slot > now.div_euclid(limits.slot_us) + 2) {
            // a clock ahead of ours, before that is known: no slot of the future
            return Some(server);
        }
        let mut taking = Taking { at_us, now_us, counts, prefix: prefix.as_deref(), limits, intake, columns };
        place.take(known, fields, &mut taking);
        Some(server)
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
            if server.last_heard_us < oldest {
                server.columns.iter_mut().for_each(|column| column.forget(&mut self.intake));
            }
        }
    }

    /// The value of a server's metric in a slot or the two before: servers write once a second, not at
    /// the same moment. Counters give rates per second.
    pub(crate) fn value(&self, server: usize, name: &str, slot: i64) -> Option<f64> {
        let column = self.servers[server].column(name)?;
        (0..3).find_map(|back| column.value(slot - back, self.limits.slot_us))
    }

    /// The value in that very slot.
    pub(crate) fn value_at(&self, server: usize, name: &str, slot: i64) -> Option<f64> {
        self.servers[server].column(name)?.value(slot, self.limits.slot_us)
    }

    /// The exact count of one of the exact metrics at a slot or before.
    pub(crate) fn exact(&self, server: usize, name: &str, slot: i64) -> Option<i64> {
        self.servers[server].column(name)?.exact(slot, EXACT_BACK)
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
