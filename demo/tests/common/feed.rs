//! Telemetry of many committees, written by the recorder that real servers write with: every metric of the lists in
//! `telemetry::names`, messages between all committees, two task events a second and node.

use shardpay_telemetry::{Counter, Gauge, Histogram, Recorder, ServerKind, ServerTag, names};
use shardpay_types::{CommitteeId, MemberIndex, Timestamp};

/// Committees with their nodes, and a load generator.
pub struct Feed {
    nodes: Vec<Sender>,
    loadgen: Sender,
    second: u64,
}

struct Sender {
    committee: u64,
    member: u64,
    recorder: Recorder,
    counters: Vec<Counter>,
    gauges: Vec<(&'static str, Gauge)>,
    histograms: Vec<Histogram>,
    messages: Vec<(Counter, Counter)>,
}

/// Metrics that only other servers than nodes have.
const NO_NODES: [&str; 6] = ["phase", "nodes_", "latency_", "operation_", "http_", "send_lag"];

impl Sender {
    fn new(tag: ServerTag, (committee, member): (u64, u64), committees: u64) -> Self {
        let recorder = Recorder::new(tag);
        let is_node = recorder.server().kind == ServerKind::Node;
        let wanted = |name: &str| !is_node || !NO_NODES.iter().any(|prefix| name.starts_with(prefix));
        let all = |list: &'static [(&str, &str)]| list.iter().map(|(name, _)| *name).filter(|name| wanted(name));
        let plain = |name: &&str| !name.contains("dropped") && *name != names::PUSH_FAILURES;
        let messages = |id: u64| {
            let of = |metric| recorder.counter_of(metric, &id.to_string());
            (of(names::MESSAGES_SENT), of(names::MESSAGES_CONSUMED))
        };
        Self {
            committee,
            member,
            counters: all(names::ALL_COUNTERS).filter(plain).map(|name| recorder.counter(name)).collect(),
            gauges: all(names::ALL_GAUGES).map(|name| (name, recorder.gauge(name))).collect(),
            histograms: all(names::ALL_HISTOGRAMS).map(|name| recorder.histogram(name)).collect(),
            messages: (0..committees).filter(|id| is_node && *id != committee).map(messages).collect(),
            recorder,
        }
    }

    /// What it did in the `second` that ends now.
    fn second(&self, second: u64, now: Timestamp, out: &mut Vec<u8>) {
        let busy = 100 + (self.committee * 37 + self.member * 11 + second * 13) % 90;
        for (place, counter) in (0..).zip(&self.counters) {
            counter.add(busy * (1 + place % 7));
        }
        for (name, gauge) in &self.gauges {
            gauge.set(match *name {
                // the books of every committee add up: what came is what is there
                names::SUPPLY_BALANCES | names::SUPPLY_MINTED => 50_000_000_000,
                names::SUPPLY_SENT | names::SUPPLY_RECEIVED => second * 1_000_000,
                names::SUPPLY_BURNED | names::SUPPLY_SUSPENSE => 0,
                names::STARTED_MS => 1_700_000_000_000,
                names::PHASE => 2,
                names::EPOCH => 1,
                names::MEMORY_BYTES => (150 + busy) << 20,
                names::HEIGHT_EXECUTED | names::HEIGHT_CERTIFIED => second * 4,
                names::ROUND | names::ROUND_COMMITTED => second * 12,
                _ => busy % 17,
            });
        }
        for histogram in &self.histograms {
            for value in 0..20 {
                histogram.record(busy * 20 + value * 50);
            }
        }
        for (place, (sent, consumed)) in (0..).zip(&self.messages) {
            let grown = 1 + (place + self.committee) % 5;
            sent.add(grown);
            consumed.add(grown);
        }
        if self.recorder.server().kind == ServerKind::Node {
            for (part, block) in [(500_000, second * 2), (0, second * 2 + 1)] {
                let text = format!("executing block {block}: {busy} payments, {} credits", busy / 2);
                self.recorder.event(Timestamp::from_micros(now.micros() - part), names::EVENT_BLOCK, text);
            }
        }
        self.recorder.snapshot(now, out);
    }
}

impl Feed {
    /// So many committees of so many members.
    pub fn new(committees: u64, members: u64) -> Self {
        let place = |at: u64| usize::try_from(at).expect("small");
        let node = |(committee, member)| {
            let tag = ServerTag::node(CommitteeId::at(place(committee)), MemberIndex::at(place(member)));
            Sender::new(tag, (committee, member), committees)
        };
        let nodes = (0..committees).flat_map(|committee| (0..members).map(move |member| (committee, member)));
        let loadgen = Sender::new(ServerTag::new(ServerKind::Loadgen, "loadgen-0"), (0, 0), 0);
        Self { nodes: nodes.map(node).collect(), loadgen, second: 0 }
    }

    /// The lines of the next second, of each server by itself.
    pub fn next(&mut self, now: Timestamp) -> Vec<Vec<u8>> {
        self.second += 1;
        let lines = |sender: &Sender| {
            let mut out = Vec::new();
            sender.second(self.second, now, &mut out);
            out
        };
        self.nodes.iter().chain([&self.loadgen]).map(lines).collect()
    }
}

/// The system's clock.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    Timestamp::from_micros(u64::try_from(since.as_micros()).expect("before 586524"))
}
