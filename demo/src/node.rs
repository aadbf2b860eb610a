//! One server in detail: its past, all its metrics, its last task events.

use serde_json::{Value, json};
use shardpay_telemetry::names;

use crate::store::Store;

/// Task events that are shown.
const EVENTS_MAX: usize = 60;
/// Points of a chart at most.
const POINTS_MAX: i64 = 600;

/// What is drawn over time: title, unit, and lines as (label, metric, factor).
type Chart = (&'static str, &'static str, &'static [(&'static str, &'static str, f64)]);

const CHARTS: [Chart; 6] = [
    ("CPU", "cores", &[("CPU", names::PROCESS_CPU_US, 1e-6)]),
    ("Memory", "MB", &[("memory", names::MEMORY_BYTES, 1e-6)]),
    (
        "Payments",
        "per second",
        &[
            ("received from clients", names::PAYMENTS_RECEIVED, 1.0),
            ("put into blocks", names::PAYMENTS_PROPOSED, 1.0),
            ("certified by all", names::PAYMENTS_CERTIFIED, 1.0),
        ],
    ),
    (
        "Waiting",
        "items",
        &[
            ("mempool", names::MEMPOOL, 1.0),
            ("client signatures", names::QUEUE_CLIENT_LANE, 1.0),
            ("peer signatures", names::QUEUE_PEER_LANE, 1.0),
            ("core", names::QUEUE_CORE, 1.0),
            ("execution", names::QUEUE_EXECUTION, 1.0),
        ],
    ),
    (
        "Network",
        "MB per second",
        &[
            ("from peers", names::PEER_BYTES_IN, 1e-6),
            ("to peers", names::PEER_BYTES_OUT, 1e-6),
            ("from clients", names::CLIENT_BYTES_IN, 1e-6),
            ("to clients", names::CLIENT_BYTES_OUT, 1e-6),
            ("whole host, in", names::NETWORK_BYTES_IN, 1e-6),
            ("whole host, out", names::NETWORK_BYTES_OUT, 1e-6),
        ],
    ),
    (
        "Disk",
        "MB per second",
        &[("written", names::PROCESS_WRITTEN_BYTES, 1e-6), ("read", names::PROCESS_READ_BYTES, 1e-6)],
    ),
];

/// Everything about the server of that name, as JSON.
pub(crate) fn detail(store: &Store, name: &str, now_us: i64) -> Option<String> {
    let index = store.find(name)?;
    let server = &store.servers[index];
    let last = store.slot(now_us) - 1;
    let window = (store.limits.slots as i64).min(POINTS_MAX);
    let first = (last - window + 1..=last).find(|slot| server.heard.get(*slot).is_some()).unwrap_or(last);
    let times: Vec<f64> = (first..=last).map(|slot| ((slot + 1) * store.limits.slot_us) as f64 / 1e6).collect();
    let line = |(label, metric, factor): &(&str, &str, f64)| {
        let at = |slot| store.value_at(index, metric, slot).map(|value| (value * factor * 1e3).round() / 1e3);
        let values: Vec<Option<f64>> = (first..=last).map(at).collect();
        json!({ "label": label, "values": values })
    };
    let charts: Vec<Value> = CHARTS
        .iter()
        .map(|(title, unit, lines)| {
            json!({ "title": title, "unit": unit, "lines": lines.iter().map(line).collect::<Vec<_>>() })
        })
        .collect();
    let mut metrics: Vec<(&str, f64, Option<f64>)> = server
        .columns
        .iter()
        .map(|column| (&*column.name, column.last, store.value(index, &column.name, last)))
        .collect();
    metrics.sort_by(|a, b| a.0.cmp(b.0));
    let own = store.log.since(0).rev().filter(|(_, entry)| entry.server == index && entry.at_us < now_us + 5_000_000);
    let events: Vec<Value> =
        own.take(EVENTS_MAX).map(|(_, entry)| json!([entry.at_us as f64 / 1e6, &*entry.kind, &*entry.text])).collect();
    let detail = json!({
        "name": &*server.name,
        "kind": &*server.kind,
        "offset_s": server.offset_us() as f64 / 1e6,
        "times": times,
        "charts": charts,
        "metrics": metrics,
        "events": events,
    });
    Some(detail.to_string())
}
