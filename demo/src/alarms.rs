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

/// How long a loss of this app is told of.
const LOSS_S: f64 = 10.0;

/// What this app could not keep, read or pass on, since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    pub(crate) not_kept: u64,
    pub(crate) bad_lines: u64,
    pub(crate) not_forwarded: u64,
}

/// One alarm.
#[derive(Debug, Clone, Serialize, PartialEq)]
pub(crate) struct Alarm {
    /// Which one it is, the same as long as it holds.
    pub(crate) key: String,
    /// `silent`, `quorum`, `stalled`, `inbox`, `books`, `dropped`, `clock`, `twin`, or `more`.
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
    /// What was lost before, and when each of it grew last.
    losses: Losses,
    lost_at: [f64; 3],
}

impl Alarms {
    /// The alarms of a frame, the gravest first.
    pub(crate) fn update(&mut self, view: View<'_>, frame: &Frame, losses: Losses) -> Vec<Alarm> {
        let mut found = Vec::new();
        books(frame, &mut found);
        committees(frame, &mut found);
        silent(frame, &mut found);
        self.losses(frame, losses, &mut found);
        servers(view, &mut found);
        let mut found = few_of_each(found);
        let mut since = BTreeMap::new();
        for alarm in &mut found {
            alarm.since = self.since.get(&alarm.key).copied().unwrap_or(frame.t);
            since.insert(alarm.key.clone(), alarm.since);
        }
        self.since = since;
        found
    }

    fn losses(&mut self, frame: &Frame, now: Losses, found: &mut Vec<Alarm>) {
        let before = std::mem::replace(&mut self.losses, now);
        let kinds = [
            ("values that were sent here were not kept, --memory-mb gives room", before.not_kept, now.not_kept),
            ("lines that were sent here could not be read", before.bad_lines, now.bad_lines),
            ("points could not be passed on", before.not_forwarded, now.not_forwarded),
        ];
        for ((what, before, now), lost_at) in kinds.into_iter().zip(&mut self.lost_at) {
            if now > before {
                *lost_at = frame.t;
            }
            if now > 0 && frame.t - *lost_at < LOSS_S {
                found.push(alarm("dropped", what, format!("The demo app: {now} {what}")));
            }
        }
    }
}

/// The first alarms of each kind, and how many more there are.
fn few_of_each(found: Vec<Alarm>) -> Vec<Alarm> {
    let (mut counts, mut kept) = (BTreeMap::<&str, usize>::new(), Vec::new());
    for alarm in found {
        let count = counts.entry(alarm.kind).or_default();
        *count += 1;
        if *count <= SHOWN_MAX {
            kept.push(alarm);
        }
    }
    let many = counts.into_iter().filter(|(_, count)| *count > SHOWN_MAX);
    let word = |kind| match kind {
        "silent" => "servers are down",
        "quorum" => "committees are below their quorum",
        "stalled" => "committees make no block",
        "inbox" => "committees have payments that wait",
        "books" => "nodes have books that do not add up",
        "dropped" => "servers drop telemetry",
        "clock" => "clocks are wrong",
        _ => "names are used twice",
    };
    kept.extend(many.map(|(kind, count)| {
        let more = count - SHOWN_MAX;
        Alarm { key: format!("more {kind}"), kind: "more", text: format!("{more} more {}", word(kind)), since: 0.0 }
    }));
    kept
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
    for node in frame.nodes.iter().filter(|node| !node.up) {
        let text = format!("Node {} is down: not heard for {:.0} s", node.name, node.silent_s.min(3_600.0));
        found.push(alarm("silent", &node.name, text));
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
}

#[cfg(test)]
#[path = "alarms_tests.rs"]
mod tests;
