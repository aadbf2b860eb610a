//! The system at a glance: load, latency, supply, who is up, and what went wrong.

use shardpay_telemetry::{ServerKind, names};

use super::super::panel::{Dashboard, Panel, unit};
use super::super::query::{
    Of, call, committee_rate, gauge, gauge_of_points, mean_us, over, rate, scaled_rate, total_rate, worst_us,
};
use super::{MS, TO_CORES};

const NODES: Of = Of::Kind(ServerKind::Node);
const SIGNALER: Of = Of::Kind(ServerKind::Signaler);
const LOADGEN: Of = Of::Kind(ServerKind::Loadgen);
/// Latencies from the intended send to the end of a payment.
const LATENCIES: [&str; 2] = [names::LATENCY_INTRA_US, names::LATENCY_CROSS_CREDIT_US];

pub(super) fn page() -> Dashboard {
    Dashboard::new("overview", "overview", "Load, latency, supply and health of all committees.")
        .with(numbers())
        .with(load())
        .with(health())
        .with([Panel::events("Task events", Of::Everybody)])
}

/// A gauge of each committee (the furthest member's), summed over committees.
fn supply(expression: &str) -> String {
    over("sum(\"v\")", &gauge(expression, NODES, &[names::TAG_COMMITTEE]), &[])
}

/// Payments certified per second, over all committees.
fn certified() -> String {
    over("sum(\"v\")", &committee_rate(names::PAYMENTS_CERTIFIED, NODES), &[])
}

fn numbers() -> [Panel; 12] {
    let difference = |a, b| format!("{} - {}", call("max", a), call("max", b));
    let dropped = |counter| total_rate(counter, Of::Everybody);
    [
        Panel::number("Certified", unit::PER_SECOND)
            .about("Payments whose debit is under a certified header, per second, over all committees.")
            .query(certified(), "certified"),
        Panel::number("Offered", unit::PER_SECOND)
            .about("Payments whose time to be sent had come, per second, over all load generators.")
            .query(total_rate(names::PAYMENTS_OFFERED, LOADGEN), "offered"),
        Panel::number("Latency p99", unit::MICROSECONDS)
            .about("99th percentile from intended send to certified end: that of the worst second and load generator.")
            .bad_from(1_000.0 * MS, 3_000.0 * MS)
            .query(worst_us(names::FIELD_P99_US, &LATENCIES, LOADGEN, &[]), "p99"),
        Panel::number("Supply", unit::COUNT)
            .about("Coins created and not redeemed, in micro-units.")
            .query(supply(&difference(names::SUPPLY_MINTED, names::SUPPLY_BURNED)), "supply"),
        Panel::number("Coins in flight", unit::COUNT)
            .about("Coins that left one committee and have not reached the other, in micro-units.")
            .query(supply(&difference(names::SUPPLY_SENT, names::SUPPLY_RECEIVED)), "in flight"),
        Panel::number("Conservation mismatch", unit::COUNT)
            .about("Balances + burned + sent + suspense - minted - received of a node, in micro-units: always 0.")
            .bad_unless_zero()
            .query(mismatch(), "$tag_server"),
        Panel::number("Epoch", unit::COUNT)
            .about("The epoch, as the signaler says.")
            .query(gauge(&call("last", names::EPOCH), SIGNALER, &[]), "epoch"),
        Panel::number("Phase", unit::COUNT)
            .about("0 registering, 1 genesis, 2 producing, 3 closing, 4 handover.")
            .query(gauge(&call("last", names::PHASE), SIGNALER, &[]), "phase"),
        Panel::number("Nodes missing", unit::COUNT)
            .about("Nodes that registered and that the signaler has not heard from in the last seconds.")
            .bad_from(1.0, 2.0)
            .query(gauge(&missing(), SIGNALER, &[]), "missing"),
        Panel::number("Points dropped", unit::PER_SECOND)
            .about("Measured values that reached no endpoint: queues were full, or the endpoint refused them.")
            .bad_from(0.001, 100.0)
            .query(dropped(names::PUSH_POINTS_DROPPED), "dropped"),
        Panel::number("Inboxes waiting", unit::COUNT)
            .about("Packs of other committees that are held and not consumed, in the fullest node.")
            .bad_from(16.0, 256.0)
            .query(gauge(&call("max", names::INBOX_PACKS), NODES, &[]), "packs"),
        Panel::number("Leader timeouts", unit::PER_SECOND)
            .about("Rounds that advanced only because a leader was silent, over all nodes.")
            .bad_from(1.0, 20.0)
            .query(total_rate(names::LEADER_TIMEOUTS, NODES), "timeouts"),
    ]
}

fn missing() -> String {
    format!("{} - {}", call("last", names::NODES_REGISTERED), call("last", names::NODES_HEALTHY))
}

/// What a node's totals are off by.
pub(super) fn mismatch() -> String {
    let plus = [names::SUPPLY_BALANCES, names::SUPPLY_BURNED, names::SUPPLY_SENT, names::SUPPLY_SUSPENSE];
    let plus = plus.map(|name| format!("\"{name}\"")).join(" + ");
    let all = format!("{plus} - \"{}\" - \"{}\"", names::SUPPLY_MINTED, names::SUPPLY_RECEIVED);
    gauge_of_points(&all, NODES)
}

fn load() -> [Panel; 6] {
    [
        Panel::lines("Load", unit::PER_SECOND)
            .about("Payments offered, sent and acknowledged with a certificate, over all load generators.")
            .query(total_rate(names::PAYMENTS_OFFERED, LOADGEN), "offered")
            .query(total_rate(names::PAYMENTS_SENT, LOADGEN), "sent")
            .query(total_rate(names::PAYMENTS_ACKNOWLEDGED, LOADGEN), "acknowledged")
            .query(total_rate(names::PAYMENTS_SKIPPED, LOADGEN), "skipped"),
        Panel::stacked("Certified, by committee", unit::PER_SECOND)
            .about("Payments certified per second: the median of a committee's members.")
            .query(committee_rate(names::PAYMENTS_CERTIFIED, NODES), "committee $tag_committee"),
        Panel::stacked("Credits certified, by committee", unit::PER_SECOND)
            .about("Payments of other committees credited per second: the median of a committee's members.")
            .query(committee_rate(names::CREDITS_CERTIFIED, NODES), "committee $tag_committee"),
        Panel::lines("Latency, mean", unit::MICROSECONDS)
            .about("From the intended send; exact means.")
            .query(mean_us(&all_latencies(), LOADGEN, &[names::TAG_METRIC]), "$tag_metric"),
        Panel::lines("Latency, p99", unit::MICROSECONDS)
            .about("From the intended send; that of the worst second and load generator.")
            .query(worst_us(names::FIELD_P99_US, &all_latencies(), LOADGEN, &[names::TAG_METRIC]), "$tag_metric"),
        Panel::lines("Payments in flight", unit::COUNT)
            .about("Sent and not certified yet.")
            .query(gauge(&call("max", names::PAYMENTS_IN_FLIGHT), LOADGEN, &[names::TAG_SERVER]), "$tag_server"),
    ]
}

const fn all_latencies() -> [&'static str; 3] {
    [names::LATENCY_INTRA_US, names::LATENCY_CROSS_DEBIT_US, names::LATENCY_CROSS_CREDIT_US]
}

fn health() -> [Panel; 3] {
    [
        Panel::lines("Nodes", unit::COUNT)
            .about("Nodes registered with the signaler, and those heard from in the last seconds.")
            .query(gauge(&call("last", names::NODES_REGISTERED), SIGNALER, &[]), "registered")
            .query(gauge(&call("last", names::NODES_HEALTHY), SIGNALER, &[]), "healthy"),
        Panel::stacked("CPU, by kind of server", unit::SHARE)
            .about("100 % is one core.")
            .query(cpu(ServerKind::Node), "nodes")
            .query(cpu(ServerKind::Signaler), "signaler")
            .query(cpu(ServerKind::Loadgen), "load generators"),
        Panel::lines("Ledger blocks, by committee", unit::PER_SECOND)
            .about("Ledger blocks executed per second and node. A line at 0 is a node that stands still.")
            .query(rate(names::LEDGER_BLOCKS, NODES), "$tag_server"),
    ]
}

fn cpu(kind: ServerKind) -> String {
    over("sum(\"v\")", &scaled_rate(names::PROCESS_CPU_US, Of::Kind(kind), TO_CORES), &[])
}
