//! What somebody should look at now.
//!
//! An alarm holds as long as its cause does; `Alarms` remembers since when. Each says what is wrong in
//! words that name the server or committee.

use std::collections::BTreeMap;

use serde::Serialize;
use shardpay_telemetry::names;

use crate::frame::{Frame, View};
use crate::store::OFFSET_MAX_US;

/// A message that waits longer for its committee is an alarm.
const INBOX_AGE_MAX_S: f64 = 10.0;
/// How long a second process with one name is told of after its last line.
const TWIN_US: i64 = 10_000_000;
/// Alarms of one kind that are shown one by one.
const SHOWN_MAX: usize = 12;

/// One alarm.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub(crate) struct Alarm {
    /// Which one it is, the same as long as it holds.
    pub(crate) key: String,
    /// `silent`, `quorum`, `stalled`, `inbox`, `books`, `dropped`, `clock` or `twin`.
    pub(crate) kind: &'static str,
    /// What is wrong.
    pub(crate) text: String,
    /// Since when, seconds since 1970.
    pub(crate) since: f64,
}

/// Alarms that hold now.
#[derive(Debug, Default)]
pub(crate) struct Alarms {
    since: BTreeMap<String, f64>,
}

impl Alarms {
    /// The alarms of a frame, the gravest first.
    pub(crate) fn update(&mut self, view: View<'_>, frame: &Frame) -> Vec<Alarm> {
        let mut found = Vec::new();
        books(frame, &mut found);
        committees(frame, &mut found);
        silent(frame, &mut found);
        servers(view, &mut found);
        let mut since = BTreeMap::new();
        for alarm in &mut found {
            alarm.since = self.since.get(&alarm.key).copied().unwrap_or(frame.t);
            since.insert(alarm.key.clone(), alarm.since);
        }
        self.since = since;
        found
    }
}

fn alarm(kind: &'static str, whom: impl std::fmt::Display, text: String) -> Alarm {
    Alarm { key: format!("{kind} {whom}"), kind, text, since: 0.0 }
}

fn books(frame: &Frame, found: &mut Vec<Alarm>) {
    for committee in &frame.committees {
        for member in &committee.unbalanced {
            let name = format!("{}-{member}", committee.id);
            found.push(alarm("books", &name, format!("Coins do not add up in the books of node {name}")));
        }
    }
    if frame.overview.coins_from_nowhere > 0 {
        let coins = frame.overview.coins_from_nowhere as f64 / 1e6;
        found.push(alarm("books", "system", format!("Committees received {coins} coins that no committee sent")));
    }
}

fn committees(frame: &Frame, found: &mut Vec<Alarm>) {
    for committee in &frame.committees {
        let id = committee.id;
        if committee.up < committee.quorum {
            let (up, quorum) = (committee.up, committee.quorum);
            let text = format!("Committee {id} is below its quorum: {up} of its nodes are up, {quorum} are needed");
            found.push(alarm("quorum", id, text));
        } else if committee.stalled {
            let text = format!("Committee {id} has payments and made no block for 5 seconds");
            found.push(alarm("stalled", id, text));
        }
        if committee.inbox_age_s > INBOX_AGE_MAX_S {
            let age = committee.inbox_age_s;
            let text = format!("Payments from other committees wait for committee {id} for {age:.0} seconds");
            found.push(alarm("inbox", id, text));
        }
    }
}

fn silent(frame: &Frame, found: &mut Vec<Alarm>) {
    let down: Vec<_> = frame.nodes.iter().filter(|node| !node.up).collect();
    for node in down.iter().take(SHOWN_MAX) {
        let text = format!("Node {} is down: not heard for {:.0} s", node.name, node.silent_s.min(3_600.0));
        found.push(alarm("silent", &node.name, text));
    }
    if down.len() > SHOWN_MAX {
        found.push(alarm("silent", "more", format!("{} more nodes are down", down.len() - SHOWN_MAX)));
    }
    for server in frame.servers.iter().filter(|server| !server.up && matches!(&*server.kind, "signaler" | "service")) {
        let text =
            format!("The {} {} is down: not heard for {:.0} s", server.kind, server.name, server.silent_s.min(3_600.0));
        found.push(alarm("silent", &server.name, text));
    }
}

fn servers(view: View<'_>, found: &mut Vec<Alarm>) {
    for (index, server) in view.store.servers.iter().enumerate() {
        let name = &server.name;
        let offset = server.offset_us();
        if offset.abs() > OFFSET_MAX_US && view.now_us.is_some_and(|now| now - server.last_heard_us < TWIN_US) {
            let (seconds, way) = (offset.abs() as f64 / 1e6, if offset > 0 { "behind" } else { "ahead" });
            found.push(alarm("clock", name, format!("The clock of {name} is {seconds:.0} s {way}")));
        }
        let time = view.now_us.unwrap_or((view.slot + 1) * view.store.limits.slot_us);
        if (0..TWIN_US).contains(&(time - server.twin_us)) {
            found.push(alarm("twin", name, format!("Two servers call themselves {name}")));
        }
        let dropped: f64 = [names::PUSH_POINTS_DROPPED, names::LINES_DROPPED, names::EVENTS_DROPPED]
            .into_iter()
            .filter_map(|metric| view.store.value(index, metric, view.slot))
            .sum();
        if dropped > 0.0 {
            found.push(alarm("dropped", name, format!("{name} drops {dropped:.0} points of its telemetry per second")));
        }
    }
    found.truncate(4 * SHOWN_MAX);
}
