//! The recorder of one server: hands out handles, and writes down an interval.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use shardpay_types::Timestamp;

use crate::events::{Event, Events};
use crate::histogram::{Cells, Histogram};
use crate::line::LineWriter;
use crate::names;
use crate::server::{ServerTag, Stage};

/// An atomic on a cache line of its own, so that threads do not slow each other down.
#[derive(Default)]
#[repr(align(64))]
struct Cell(AtomicU64);

/// A number that only grows; clones share it.
#[derive(Clone)]
pub struct Counter(Arc<Cell>);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.0.fetch_add(n, Relaxed);
    }

    /// Moves the counter up to `total`, which is counted elsewhere (a machine, the kernel). A smaller total
    /// changes nothing.
    pub fn advance_to(&self, total: u64) {
        self.0.0.fetch_max(total, Relaxed);
    }

    /// The count since the start.
    pub fn get(&self) -> u64 {
        self.0.0.load(Relaxed)
    }
}

/// A number that goes up and down; clones share it.
#[derive(Clone)]
pub struct Gauge(Arc<Cell>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: u64) {
        self.0.0.store(value, Relaxed);
    }

    /// The last value set; 0 before.
    pub fn get(&self) -> u64 {
        self.0.0.load(Relaxed)
    }
}

/// Everything that has a name. Locked when a handle is made and when an interval is written.
#[derive(Default)]
struct Registry {
    counters: BTreeMap<&'static str, Counter>,
    gauges: BTreeMap<&'static str, Gauge>,
    histograms: BTreeMap<&'static str, Histogram>,
}

/// Counters with a label, by name and label.
type Labelled = BTreeMap<&'static str, BTreeMap<Box<str>, Counter>>;

struct Shared {
    server: ServerTag,
    registry: Mutex<Registry>,
    /// By itself: refusals look a counter up each time, without allocation and beside each other.
    labelled: RwLock<Labelled>,
    events: Events,
}

/// The metrics and events of one server; clones share them.
#[derive(Clone)]
pub struct Recorder(Arc<Shared>);

impl Recorder {
    /// A recorder whose lines carry the tags of `server`.
    pub fn new(server: ServerTag) -> Self {
        Self(Arc::new(Shared {
            server,
            registry: Mutex::default(),
            labelled: RwLock::default(),
            events: Events::new(),
        }))
    }

    /// Who measures.
    pub fn server(&self) -> &ServerTag {
        &self.0.server
    }

    /// The counter of that name (see [`names`]); asked twice, the same one.
    pub fn counter(&self, name: &'static str) -> Counter {
        self.registry().counters.entry(name).or_insert_with(|| Counter(Arc::default())).clone()
    }

    /// A counter that is told apart by a label as well: a reason, a message kind. Labels must come from a
    /// short list that no peer can extend.
    pub fn counter_of(&self, name: &'static str, label: &str) -> Counter {
        const HELD: &str = "nobody panics while holding the labels";
        let found = self.0.labelled.read().expect(HELD).get(name).and_then(|labels| labels.get(label)).cloned();
        found.unwrap_or_else(|| {
            let mut labelled = self.0.labelled.write().expect(HELD);
            labelled.entry(name).or_default().entry(label.into()).or_insert_with(|| Counter(Arc::default())).clone()
        })
    }

    /// The gauge of that name.
    pub fn gauge(&self, name: &'static str) -> Gauge {
        self.registry().gauges.entry(name).or_insert_with(|| Gauge(Arc::default())).clone()
    }

    /// The histogram of that name; it records microseconds, and its name ends in `_us`.
    pub fn histogram(&self, name: &'static str) -> Histogram {
        self.registry().histograms.entry(name).or_insert_with(|| Histogram(Arc::new(Cells::new()))).clone()
    }

    /// The histogram of a stage.
    pub fn stage(&self, stage: Stage) -> Histogram {
        self.histogram(stage.metric())
    }

    /// Records what the server is doing, for people. Never waits; when 1,024 events are queued it is
    /// dropped and counted ([`names::EVENTS_DROPPED`]).
    pub fn event(&self, now: Timestamp, kind: &'static str, text: impl Into<String>) {
        self.0.events.push(Event { at: now, kind, text: text.into() });
    }

    /// Appends the lines of the interval that ends `now` to `out`: counters since the start, gauges as they
    /// are, histograms and events of the interval alone. Labelled counters are written from their first
    /// count on.
    pub fn snapshot(&self, now: Timestamp, out: &mut Vec<u8>) {
        let mut lines = LineWriter::new(&self.0.server, out);
        {
            let registry = self.registry();
            let dropped = (names::EVENTS_DROPPED, self.0.events.dropped());
            let counters = registry.counters.iter().map(|(name, counter)| (*name, counter.get()));
            lines.numbers(names::COUNTERS, counters.chain([dropped]), now);
            lines.numbers(names::GAUGES, registry.gauges.iter().map(|(name, gauge)| (*name, gauge.get())), now);
            // most reasons never occur
            let labelled = self.0.labelled.read().expect("nobody panics while holding the labels");
            let all = labelled.iter().flat_map(|(name, labels)| labels.iter().map(move |label| (*name, label)));
            for (name, (label, counter)) in all.filter(|(_, (_, counter))| counter.get() > 0) {
                lines.labelled((name, label), counter.get(), now);
            }
            for (name, histogram) in &registry.histograms {
                let interval = histogram.0.take();
                if interval.count() > 0 {
                    lines.histogram(name, &interval, now);
                }
            }
        }
        let mut last = Timestamp::ZERO;
        let mut same = 0;
        self.0.events.drain(&mut |event| {
            // a point is named by series and time: events of one microsecond must not replace each other
            same = if event.at == last { same + 1 } else { 0 };
            last = event.at;
            lines.event(&event, same);
        });
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.registry.lock().expect("nobody panics while holding the registry")
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorder({:?})", self.0.server)
    }
}
