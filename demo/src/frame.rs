//! What the pages show of one moment, computed from the store.
//!
//! Rates and percentiles are what servers wrote; nothing is averaged that must not be: the latency of a
//! stage is a mean (sum ÷ count over members and five slots, which may be added up), a 99th percentile is
//! that of the worst member. What every member of a committee counts alike is their median.

use std::collections::BTreeMap;

use serde::Serialize;
use shardpay_telemetry::{Stage, names};

use crate::books::Books;
use crate::store::Store;

/// A server that said nothing for so long is down: with the page's own second, people know within three.
pub(crate) const SILENT_US: i64 = 2_500_000;
/// Slots over which flows and stages are taken.
const WINDOW: i64 = 5;
/// How far back the oldest waiting message is looked for.
const AGE_SLOTS_MAX: i64 = 60;

/// Services' operations, with the metric of their latency.
pub(crate) const OPERATIONS: [(&str, &str); 6] = [
    ("register", names::OPERATION_REGISTER_US),
    ("login", names::OPERATION_LOGIN_US),
    ("buy", names::OPERATION_BUY_US),
    ("pay", names::OPERATION_PAY_US),
    ("cash_out", names::OPERATION_CASH_OUT_US),
    ("balance", names::OPERATION_BALANCE_US),
];

/// Everything of one moment.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Frame {
    /// The moment, seconds since 1970.
    pub(crate) t: f64,
    pub(crate) overview: Overview,
    pub(crate) committees: Vec<Committee>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) servers: Vec<Other>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) intake: crate::store::Intake,
}

/// The whole system.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Overview {
    /// Payments per second whose time to be sent has come, over all load generators.
    pub(crate) offered: Option<f64>,
    /// Payments per second under certified headers of the payers' committees.
    pub(crate) certified: f64,
    /// Latencies in ms, of the load generator with the highest ones: (median, 99th percentile).
    pub(crate) intra_ms: Option<(f64, f64)>,
    pub(crate) cross_ms: Option<(f64, f64)>,
    pub(crate) in_flight_payments: Option<f64>,
    /// Coins in micro-units.
    pub(crate) supply: i64,
    pub(crate) balances: i64,
    /// Coins in messages between committees.
    pub(crate) coins_in_flight: i64,
    /// Coins received that nobody had sent yet, three seconds before: must not be.
    pub(crate) coins_from_nowhere: i64,
    pub(crate) epoch: Option<f64>,
    pub(crate) phase: Option<f64>,
    pub(crate) nodes_up: usize,
    pub(crate) nodes: usize,
}

/// A committee.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Committee {
    pub(crate) id: u32,
    pub(crate) nodes: usize,
    pub(crate) up: usize,
    pub(crate) quorum: usize,
    /// Payments per second certified for its payers.
    pub(crate) certified: f64,
    /// Credits per second certified for its payees.
    pub(crate) credits: f64,
    pub(crate) executed_height: Option<f64>,
    pub(crate) certified_height: Option<f64>,
    pub(crate) round: Option<f64>,
    pub(crate) mempool: f64,
    /// Processor time of its members, in cores.
    pub(crate) cores: f64,
    /// Messages of others that wait for it, and how long the oldest one has, in seconds.
    pub(crate) inbox: f64,
    pub(crate) inbox_age_s: f64,
    /// Mean time per stage in ms, and the worst member's 99th percentile.
    pub(crate) stages: Vec<Option<(f64, f64)>>,
    /// Payments per second to each committee; its own among them.
    pub(crate) flow: Vec<f64>,
    /// Messages that wait at each committee.
    pub(crate) waiting: Vec<f64>,
    /// Whether there was work and no new height for five seconds.
    pub(crate) stalled: bool,
    /// Members whose books do not add up.
    pub(crate) unbalanced: Vec<u32>,
}

/// A node, as the grid shows it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) committee: u32,
    pub(crate) member: u32,
    pub(crate) up: bool,
    /// Seconds since it said something.
    pub(crate) silent_s: f64,
    /// Payments per second that it put into blocks.
    pub(crate) load: f64,
    /// Cores.
    pub(crate) cpu: f64,
    pub(crate) memory: f64,
    pub(crate) mempool: f64,
    /// What waits in its queues.
    pub(crate) queued: f64,
    pub(crate) height: f64,
    /// Heights behind its committee.
    pub(crate) lag: f64,
    pub(crate) round: f64,
    pub(crate) task: String,
    #[serde(skip)]
    pub(crate) index: usize,
}

/// A server that is no node.
#[derive(Debug, Serialize)]
pub(crate) struct Other {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) up: bool,
    pub(crate) silent_s: f64,
    pub(crate) cpu: f64,
    pub(crate) memory: f64,
    pub(crate) task: String,
}

/// An operation of all services.
#[derive(Debug, Serialize)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) total: f64,
    pub(crate) failed: f64,
    pub(crate) per_second: f64,
    pub(crate) failed_per_second: f64,
    /// Median and 99th percentile in ms, of the service with the highest ones.
    pub(crate) latency_ms: Option<(f64, f64)>,
}

/// A moment of a store.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) store: &'a Store,
    /// The slot that is shown.
    pub(crate) slot: i64,
    /// Our clock, when this is now.
    pub(crate) now_us: Option<i64>,
}

impl View<'_> {
    /// Computes everything.
    pub(crate) fn frame(self) -> Frame {
        let last_task = self.last_tasks();
        let nodes_by_committee = self.members();
        let committees: Vec<u32> = nodes_by_committee.keys().copied().collect();
        let width = committees.last().map_or(0, |last| *last as usize + 1);
        let mut frame = Frame { t: self.time_s(), intake: self.store.intake(), ..Frame::default() };
        let books = Books::new(self, &nodes_by_committee);
        for (id, members) in &nodes_by_committee {
            let nodes = self.nodes(*id, members, &last_task);
            frame.committees.push(self.committee(*id, &nodes, width));
            frame.nodes.extend(nodes);
        }
        self.messages(&nodes_by_committee, &mut frame.committees, width);
        for committee in &mut frame.committees {
            committee.unbalanced = self.unbalanced(&nodes_by_committee[&committee.id]);
        }
        frame.servers = self.others(&last_task);
        frame.operations = self.operations();
        frame.overview = self.overview(&frame, &books);
        frame
    }

    fn time_s(self) -> f64 {
        let end = (self.slot + 1).saturating_mul(self.store.limits.slot_us);
        end as f64 / 1e6
    }

    fn value(self, server: usize, name: &str) -> Option<f64> {
        self.store.value(server, name, self.slot)
    }

    /// Seconds since a server said something.
    fn silent_s(self, server: usize) -> f64 {
        match self.now_us {
            Some(now) => (now - self.store.servers[server].last_heard_us).max(0) as f64 / 1e6,
            None => {
                let heard = &self.store.servers[server].heard;
                let back = (0..60).find(|back| heard.get(self.slot - back).is_some()).unwrap_or(60);
                (back * self.store.limits.slot_us) as f64 / 1e6
            }
        }
    }

    fn is_up(self, server: usize) -> bool {
        let silent_max = match self.now_us {
            Some(_) => SILENT_US,
            None => SILENT_US.max(self.store.limits.slot_us * 2),
        };
        self.silent_s(server) * 1e6 < silent_max as f64
    }

    /// Members of each committee, as indices of servers.
    fn members(self) -> BTreeMap<u32, Vec<usize>> {
        let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (index, server) in self.store.servers.iter().enumerate() {
            if let (Some(committee @ 0..1_024), Some(_)) = (server.committee, server.member) {
                members.entry(committee).or_default().push(index);
            }
        }
        for nodes in members.values_mut() {
            nodes.sort_by_key(|index| self.store.servers[*index].member);
        }
        members
    }

    /// What every server said it does, last.
    fn last_tasks(self) -> Vec<String> {
        if self.now_us.is_some() {
            return self.store.servers.iter().map(|server| server.task.to_string()).collect();
        }
        let mut tasks = vec![String::new(); self.store.servers.len()];
        let mut open = tasks.len();
        let until = (self.slot + 1) * self.store.limits.slot_us;
        for (_, entry) in self.store.log.since(0).rev().filter(|(_, entry)| entry.at_us < until) {
            let task = &mut tasks[entry.server];
            if task.is_empty() && !entry.text.is_empty() {
                *task = entry.text.to_string();
                open -= 1;
                if open == 0 {
                    break;
                }
            }
        }
        tasks
    }

    fn nodes(self, committee: u32, members: &[usize], tasks: &[String]) -> Vec<Node> {
        let furthest = members.iter().filter_map(|node| self.value(*node, names::HEIGHT_CERTIFIED)).fold(0.0, f64::max);
        let node = |index: &usize| {
            let index = *index;
            let server = &self.store.servers[index];
            let of = |name| self.value(index, name).unwrap_or(0.0);
            let up = self.is_up(index);
            let queues = [
                names::QUEUE_CLIENT_LANE,
                names::QUEUE_PEER_LANE,
                names::QUEUE_CORE,
                names::QUEUE_EXECUTION,
                names::QUEUE_SYNC,
            ];
            Node {
                name: server.name.to_string(),
                committee,
                member: server.member.unwrap_or(0),
                up,
                silent_s: self.silent_s(index),
                load: of(names::PAYMENTS_PROPOSED),
                cpu: of(names::PROCESS_CPU_US) / 1e6,
                memory: of(names::MEMORY_BYTES),
                mempool: of(names::MEMPOOL),
                queued: queues.into_iter().map(of).sum(),
                height: of(names::HEIGHT_EXECUTED),
                lag: if up { (furthest - of(names::HEIGHT_EXECUTED)).max(0.0) } else { 0.0 },
                round: of(names::ROUND),
                task: tasks[index].clone(),
                index,
            }
        };
        members.iter().map(node).collect()
    }

    fn committee(self, id: u32, nodes: &[Node], width: usize) -> Committee {
        let up: Vec<usize> = nodes.iter().filter(|node| node.up).map(|node| node.index).collect();
        let each = |name: &str| -> Vec<f64> { up.iter().filter_map(|node| self.value(*node, name)).collect() };
        let largest = |name: &str| each(name).into_iter().reduce(f64::max);
        let size = nodes.iter().map(|node| node.member as usize + 1).max().unwrap_or(0).max(nodes.len());
        Committee {
            id,
            nodes: size,
            up: up.len(),
            quorum: size - (size.max(1) - 1) / 3,
            certified: median(each(names::PAYMENTS_CERTIFIED)),
            credits: median(each(names::CREDITS_CERTIFIED)),
            executed_height: largest(names::HEIGHT_EXECUTED),
            certified_height: largest(names::HEIGHT_CERTIFIED),
            round: largest(names::ROUND),
            mempool: each(names::MEMPOOL).iter().sum(),
            cores: nodes.iter().filter(|node| node.up).map(|node| node.cpu).sum(),
            stages: Stage::ALL.iter().map(|stage| self.stage(&up, stage.metric())).collect(),
            flow: vec![0.0; width],
            waiting: vec![0.0; width],
            stalled: self.stalled(&up),
            ..Committee::default()
        }
    }

    /// Mean and worst 99th percentile of a stage, in ms.
    fn stage(self, members: &[usize], metric: &str) -> Option<(f64, f64)> {
        let name = |field: &str| format!("{metric}/{field}");
        let (sum, count, p99) = (name(names::FIELD_SUM_US), name(names::FIELD_COUNT), name(names::FIELD_P99_US));
        let (mut sums, mut counts, mut worst) = (0.0, 0.0, 0.0_f64);
        for member in members {
            for slot in self.slot - WINDOW + 1..=self.slot {
                let at = |name: &str| self.store.value_at(*member, name, slot).unwrap_or(0.0);
                sums += at(&sum);
                counts += at(&count);
                worst = worst.max(at(&p99));
            }
        }
        (counts > 0.0).then(|| (sums / counts / 1e3, worst / 1e3))
    }

    /// Whether payments waited all the time and the height stood still.
    fn stalled(self, members: &[usize]) -> bool {
        let at = |name: &str, slot: i64| {
            let each = members.iter().filter_map(|node| self.store.value(*node, name, slot));
            each.reduce(f64::max)
        };
        let slots = || self.slot - WINDOW..=self.slot;
        let worked = slots().all(|slot| at(names::MEMPOOL, slot).is_some_and(|waiting| waiting > 0.0));
        worked && at(names::HEIGHT_EXECUTED, self.slot) == at(names::HEIGHT_EXECUTED, self.slot - WINDOW)
    }

    /// Flows between committees and what waits on the way.
    fn messages(self, members: &BTreeMap<u32, Vec<usize>>, committees: &mut [Committee], width: usize) {
        let most = |of: u32, metric: &str, with: u32, slot: i64| {
            let name = format!("{metric}/{with}");
            members[&of].iter().filter_map(|node| self.store.exact(*node, &name, slot)).max().unwrap_or(0)
        };
        let ids: Vec<u32> = members.keys().copied().collect();
        let mut inbox = vec![(0.0, 0.0_f64); width];
        for (place, source) in ids.iter().enumerate() {
            let mut away = 0.0;
            for destination in ids.iter().filter(|id| *id != source) {
                let sent = |slot| most(*source, names::MESSAGES_SENT, *destination, slot);
                let now = sent(self.slot);
                if now == 0 {
                    continue;
                }
                let seconds = (WINDOW * self.store.limits.slot_us) as f64 / 1e6;
                let rate = (now - sent(self.slot - WINDOW)).max(0) as f64 / seconds;
                let consumed = most(*destination, names::MESSAGES_CONSUMED, *source, self.slot);
                let waiting = (now - consumed).max(0);
                committees[place].flow[*destination as usize] = rate;
                committees[place].waiting[*destination as usize] = waiting as f64;
                away += rate;
                let total = &mut inbox[*destination as usize];
                total.0 += waiting as f64;
                if waiting > 0 {
                    let back = (1..AGE_SLOTS_MAX).find(|back| sent(self.slot - back) <= consumed);
                    let slots = back.unwrap_or(AGE_SLOTS_MAX) - 1;
                    total.1 = total.1.max((slots * self.store.limits.slot_us) as f64 / 1e6);
                }
            }
            let committee = &mut committees[place];
            committee.flow[*source as usize] = (self.certified_lately(&members[source]) - away).max(0.0);
        }
        for committee in committees {
            (committee.inbox, committee.inbox_age_s) = inbox[committee.id as usize];
        }
    }

    /// Payments per second that a committee certified, over the slots of the flows.
    fn certified_lately(self, members: &[usize]) -> f64 {
        let of = |slot| {
            median(members.iter().filter_map(|node| self.store.value(*node, names::PAYMENTS_CERTIFIED, slot)).collect())
        };
        (0..WINDOW).map(|back| of(self.slot - back)).sum::<f64>() / WINDOW as f64
    }

    /// Members whose own books do not add up: balances + burned + sent + suspense = minted + received.
    fn unbalanced(self, members: &[usize]) -> Vec<u32> {
        let wrong = |node: &&usize| {
            let of = |name| self.store.exact(**node, name, self.slot);
            let have =
                [names::SUPPLY_BALANCES, names::SUPPLY_BURNED, names::SUPPLY_SENT, names::SUPPLY_SUSPENSE].map(of);
            let came = [names::SUPPLY_MINTED, names::SUPPLY_RECEIVED].map(of);
            let sum =
                |parts: &[Option<i64>]| parts.iter().try_fold(0i128, |sum, part| Some(sum + i128::from((*part)?)));
            matches!((sum(&have), sum(&came)), (Some(have), Some(came)) if have != came)
        };
        members.iter().filter(wrong).filter_map(|node| self.store.servers[*node].member).collect()
    }

    fn others(self, tasks: &[String]) -> Vec<Other> {
        let others = self.store.servers.iter().enumerate().filter(|(_, server)| server.committee.is_none());
        let other = |(index, server): (usize, &crate::store::Server)| Other {
            name: server.name.to_string(),
            kind: server.kind.to_string(),
            up: self.is_up(index),
            silent_s: self.silent_s(index),
            cpu: self.value(index, names::PROCESS_CPU_US).unwrap_or(0.0) / 1e6,
            memory: self.value(index, names::MEMORY_BYTES).unwrap_or(0.0),
            task: tasks[index].clone(),
        };
        others.map(other).collect()
    }

    fn of_kind(self, kind: &'static str) -> impl Iterator<Item = usize> {
        let servers = self.store.servers.iter().enumerate();
        servers.filter(move |(_, server)| &*server.kind == kind).map(|(index, _)| index)
    }

    /// Median and 99th percentile of a histogram in ms, of the server with the highest ones.
    fn latency(self, servers: &[usize], metric: &str) -> Option<(f64, f64)> {
        let worst = |field: &str| {
            let name = format!("{metric}/{field}");
            let each = servers.iter().filter_map(|server| self.value(*server, &name));
            each.reduce(f64::max).map(|us| us / 1e3)
        };
        Some((worst(names::FIELD_P50_US)?, worst(names::FIELD_P99_US)?))
    }

    fn operations(self) -> Vec<Operation> {
        let services: Vec<usize> = self.of_kind("service").collect();
        let operation = |(name, metric): (&'static str, &'static str)| {
            let rate = |counter: &str| -> f64 {
                let column = format!("{counter}/{name}");
                services.iter().filter_map(|service| self.value(*service, &column)).sum()
            };
            let total = |counter: &str| -> f64 {
                let column = format!("{counter}/{name}");
                services.iter().filter_map(|service| Some(self.store.servers[*service].column(&column)?.last)).sum()
            };
            Operation {
                name,
                total: total(names::OPERATIONS),
                failed: total(names::OPERATIONS_FAILED),
                per_second: rate(names::OPERATIONS),
                failed_per_second: rate(names::OPERATIONS_FAILED),
                latency_ms: self.latency(&services, metric),
            }
        };
        let services_seen = !services.is_empty();
        OPERATIONS.into_iter().filter(|_| services_seen).map(operation).collect()
    }

    fn overview(self, frame: &Frame, books: &Books) -> Overview {
        let loadgens: Vec<usize> = self.of_kind("loadgen").filter(|index| self.is_up(*index)).collect();
        let sum = |name: &str| {
            let each: Vec<f64> = loadgens.iter().filter_map(|server| self.value(*server, name)).collect();
            (!each.is_empty()).then(|| each.iter().sum::<f64>())
        };
        let signaler = self.of_kind("signaler").find(|index| self.is_up(*index));
        let of_signaler = |name| signaler.and_then(|server| self.value(server, name));
        let epochs = frame.nodes.iter().filter(|node| node.up).filter_map(|node| self.value(node.index, names::EPOCH));
        Overview {
            offered: sum(names::PAYMENTS_OFFERED),
            certified: frame.committees.iter().map(|committee| committee.certified).sum(),
            intra_ms: self.latency(&loadgens, names::LATENCY_INTRA_US),
            cross_ms: self.latency(&loadgens, names::LATENCY_CROSS_CREDIT_US),
            in_flight_payments: sum(names::PAYMENTS_IN_FLIGHT),
            supply: books.minted - books.burned,
            balances: books.balances,
            coins_in_flight: (books.sent - books.received).max(0),
            coins_from_nowhere: (books.received_before - books.sent).max(0),
            epoch: of_signaler(names::EPOCH).or_else(|| epochs.reduce(f64::max)),
            phase: of_signaler(names::PHASE),
            nodes_up: frame.nodes.iter().filter(|node| node.up).count(),
            nodes: frame.committees.iter().map(|committee| committee.nodes).sum(),
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
