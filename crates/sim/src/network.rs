//! The net: when, how often and whether a message arrives.
//!
//! Links pipeline: a message's delay does not hold the next one up, but without reordering a link
//! keeps its order, as one QUIC stream does. Distance is per pair of nodes, jitter per message; loss,
//! duplication, reordering and partitions are conditions that faults switch on and off.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::Instant;
use crate::rng::Stream;
use crate::scenario::{Fault, Timing};
use crate::topology::NodeIndex;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// It arrives at that time, and perhaps a second time.
    Arrives(Instant, Option<Instant>),
    /// It is lost by chance.
    Lost,
    /// There is no way.
    Cut,
}

/// The net's state.
#[derive(Debug)]
pub(crate) struct Network {
    nodes: usize,
    floor: Duration,
    distance: Vec<Duration>,
    jitter: Duration,
    ordered: bool,
    stream: Stream,
    /// Per (from, to): arrival of the last message.
    last: Vec<Instant>,
    /// Conditions that hold, by the number of their fault.
    conditions: BTreeMap<usize, Fault>,
    sides: Vec<(Vec<bool>, bool)>,
    loss: u64,
    duplication: u64,
    reordering: Duration,
    extra: Duration,
}

impl Network {
    /// The net of the run `seed`.
    pub(crate) fn new(seed: u64, timing: &Timing) -> Self {
        let nodes = timing.latency_node.len();
        Self {
            nodes,
            floor: timing.latency_floor,
            distance: timing.latency_node.clone(),
            jitter: timing.jitter,
            ordered: timing.ordered,
            stream: Stream::new(seed, "network", 0),
            last: vec![Instant(0); nodes * nodes],
            conditions: BTreeMap::new(),
            sides: Vec::new(),
            loss: 0,
            duplication: 0,
            reordering: Duration::ZERO,
            extra: Duration::ZERO,
        }
    }

    /// Fault number `id` begins; faults that are none of the net's are passed over.
    pub(crate) fn begin(&mut self, id: usize, fault: &Fault) {
        self.conditions.insert(id, fault.clone());
        self.refresh();
    }

    /// Fault number `id` ends.
    pub(crate) fn end(&mut self, id: usize) {
        self.conditions.remove(&id);
        self.refresh();
    }

    fn refresh(&mut self) {
        self.sides.clear();
        (self.loss, self.duplication) = (0, 0);
        (self.reordering, self.extra) = (Duration::ZERO, Duration::ZERO);
        for fault in self.conditions.values() {
            match fault {
                Fault::Partition { side, one_way } => self.sides.push((side.clone(), *one_way)),
                Fault::Loss { permille } => self.loss = self.loss.max(*permille),
                Fault::Duplication { permille } => self.duplication = self.duplication.max(*permille),
                Fault::Reordering { spread } => self.reordering = self.reordering.max(*spread),
                Fault::SlowLinks { extra } => self.extra = self.extra.max(*extra),
                _ => {}
            }
        }
    }

    /// Whether a partition lies between two nodes, in this direction.
    pub(crate) fn is_cut(&self, from: NodeIndex, to: NodeIndex) -> bool {
        self.sides.iter().any(|(side, one_way)| side[from] != side[to] && (!one_way || side[from]))
    }

    /// A message leaves now.
    pub(crate) fn route(&mut self, now: Instant, from: NodeIndex, to: NodeIndex) -> Route {
        if self.is_cut(from, to) {
            return Route::Cut;
        }
        if self.loss > 0 && self.stream.chance(self.loss) {
            return Route::Lost;
        }
        let first = self.arrival(now, from, to);
        let second = self.duplication > 0 && self.stream.chance(self.duplication);
        let second = second.then(|| self.arrival(now, from, to));
        Route::Arrives(first, second)
    }

    /// How long a message between a client and a node takes.
    pub(crate) fn client_delay(&mut self, node: NodeIndex) -> Duration {
        let jitter = self.stream.micros(0, self.jitter.as_micros() as u64);
        self.floor + self.distance[node] + jitter
    }

    fn arrival(&mut self, now: Instant, from: NodeIndex, to: NodeIndex) -> Instant {
        let jitter = self.stream.micros(0, self.jitter.as_micros() as u64);
        let arrival = now.after(self.floor + self.distance[from] + self.distance[to] + self.extra + jitter);
        if self.reordering > Duration::ZERO {
            return arrival.after(self.stream.micros(0, self.reordering.as_micros() as u64));
        }
        if !self.ordered {
            // a long tail: some messages take several rounds
            let tail = if self.stream.chance(250) { 4 * self.jitter } else { Duration::ZERO };
            return arrival.after(self.stream.micros(0, tail.as_micros() as u64));
        }
        let last = &mut self.last[from * self.nodes + to];
        *last = (*last).max(arrival);
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Overrides, Scenario};

    fn net() -> Network {
        let overrides = Overrides { committees: Some(1), nodes: Some(4), throughput: true, ..Overrides::default() };
        Network::new(1, &Scenario::draw(1, &overrides).timing)
    }

    fn arrivals(net: &mut Network, count: u64) -> Vec<Instant> {
        let route = |at| match net.route(Instant(at), 0, 1) {
            Route::Arrives(first, _) => Some(first),
            Route::Lost | Route::Cut => None,
        };
        (0..count).filter_map(route).collect()
    }

    #[test]
    fn links_keep_their_order_unless_told_otherwise() {
        let mut net = net();
        assert!(arrivals(&mut net, 1_000).is_sorted());
        net.begin(3, &Fault::Reordering { spread: Duration::from_millis(50) });
        assert!(!arrivals(&mut net, 1_000).is_sorted());
    }

    #[test]
    fn partitions_cut_both_ways_or_one() {
        let mut net = net();
        let side = vec![true, false, false, false];
        net.begin(1, &Fault::Partition { side: side.clone(), one_way: true });
        assert!(net.is_cut(0, 1) && !net.is_cut(1, 0) && !net.is_cut(1, 2));
        net.begin(2, &Fault::Partition { side, one_way: false });
        assert!(net.is_cut(1, 0));
        net.end(2);
        net.end(1);
        assert!(!net.is_cut(0, 1));
    }

    #[test]
    fn loss_and_duplication_happen_as_often_as_told() {
        let mut net = net();
        net.begin(1, &Fault::Loss { permille: 300 });
        let arrived = arrivals(&mut net, 2_000).len();
        assert!((1_250..1_550).contains(&arrived), "{arrived}");
        net.end(1);
        net.begin(2, &Fault::Duplication { permille: 500 });
        let twice = (0..1_000).filter(|at| matches!(net.route(Instant(*at), 0, 1), Route::Arrives(_, Some(_)))).count();
        assert!((430..570).contains(&twice), "{twice}");
    }
}
