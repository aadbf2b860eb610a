//! Nodes: what they use, what waits in them, and how far they are.

use shardpay_telemetry::names;

use super::super::panel::{Dashboard, Panel, unit};
use super::super::query::{Of, call, gauge, label_rate, mean_us, rate, scaled_rate, worst_us};
use super::TO_CORES;

const THESE: Of = Of::Node;
const BY_SERVER: [&str; 1] = [names::TAG_SERVER];

pub(super) fn page() -> Dashboard {
    Dashboard::new("node", "nodes", "Resources, queues and progress of the chosen nodes.")
        .by_committee()
        .by_node()
        .with(machine())
        .with(progress())
        .with(queues())
        .with(trouble())
        .with([Panel::events("Task events", THESE)])
}

fn of_gauge(title: &'static str, unit: &'static str, name: &'static str, about: &'static str) -> Panel {
    Panel::lines(title, unit).about(about).query(gauge(&call("max", name), THESE, &BY_SERVER), "$tag_server")
}

fn of_counter(title: &'static str, unit: &'static str, name: &'static str, about: &'static str) -> Panel {
    Panel::lines(title, unit).about(about).query(rate(name, THESE), "$tag_server")
}

fn machine() -> [Panel; 6] {
    [
        Panel::lines("CPU", unit::SHARE)
            .about("100 % is one core.")
            .query(scaled_rate(names::PROCESS_CPU_US, THESE, TO_CORES), "$tag_server"),
        of_gauge("Memory", unit::BYTES, names::MEMORY_BYTES, "Resident memory."),
        of_gauge("Store", unit::BYTES, names::STORE_BYTES, "Bytes of the store on disk."),
        of_counter("Written to disk", unit::BYTES_PER_SECOND, names::PROCESS_WRITTEN_BYTES, "By the process."),
        Panel::lines("Network, peers", unit::BYTES_PER_SECOND)
            .about("Frames from and to other nodes.")
            .query(rate(names::PEER_BYTES_IN, THESE), "in $tag_server")
            .query(rate(names::PEER_BYTES_OUT, THESE), "out $tag_server"),
        Panel::lines("Network, clients", unit::BYTES_PER_SECOND)
            .about("Frames from and to clients.")
            .query(rate(names::CLIENT_BYTES_IN, THESE), "in $tag_server")
            .query(rate(names::CLIENT_BYTES_OUT, THESE), "out $tag_server"),
    ]
}

fn progress() -> [Panel; 6] {
    [
        of_gauge("Round", unit::COUNT, names::ROUND, "Round of the own latest block."),
        of_gauge("Certified height", unit::COUNT, names::HEIGHT_CERTIFIED, "Last certified height."),
        of_counter("Payments executed", unit::PER_SECOND, names::PAYMENTS_EXECUTED, "Payments that left a leaf."),
        of_gauge("Peers connected", unit::COUNT, names::PEERS_CONNECTED, "Other nodes it is connected to."),
        of_gauge("Clients connected", unit::COUNT, names::CLIENTS_CONNECTED, "Client connections."),
        of_gauge("Takes submissions", unit::COUNT, names::PROPOSING, "1 when the node takes submissions."),
    ]
}

fn queues() -> [Panel; 8] {
    [
        of_gauge("Mempool", unit::COUNT, names::MEMPOOL, "Transactions that wait to be proposed."),
        of_gauge("Queue: clients' frames", unit::COUNT, names::QUEUE_CLIENT_LANE, "They wait for verification."),
        of_gauge("Queue: peers' frames", unit::COUNT, names::QUEUE_PEER_LANE, "They wait for verification."),
        of_gauge("Queue: core thread", unit::COUNT, names::QUEUE_CORE, "Inputs that wait for the core thread."),
        of_gauge("Queue: execution", unit::COUNT, names::QUEUE_EXECUTION, "Orders that wait for the execution thread."),
        of_gauge("Queue: sync", unit::COUNT, names::QUEUE_SYNC, "Records that wait to be durable."),
        of_gauge("Queue: to peers", unit::BYTES, names::QUEUE_PEER_BYTES, "Bytes that wait to be sent."),
        of_gauge(
            "Accounts not flushed",
            unit::COUNT,
            names::STORE_DIRTY_ACCOUNTS,
            "Accounts that stand in memory and in the log only.",
        ),
    ]
}

fn trouble() -> [Panel; 6] {
    [
        Panel::lines("Sync of the log, mean", unit::MICROSECONDS)
            .about("How long a sync of the store's log takes.")
            .query(mean_us(&[names::SYNC_US], THESE, &BY_SERVER), "$tag_server"),
        Panel::lines("Sync of the log, longest", unit::MICROSECONDS)
            .about("The longest sync.")
            .query(worst_us(names::FIELD_MAX_US, &[names::SYNC_US], THESE, &BY_SERVER), "$tag_server"),
        Panel::lines("Turn of the core thread, p99", unit::MICROSECONDS)
            .about("That of the worst second.")
            .query(worst_us(names::FIELD_P99_US, &[names::CORE_BATCH_US], THESE, &BY_SERVER), "$tag_server"),
        of_counter(
            "Frames to peers dropped",
            unit::PER_SECOND,
            names::PEER_FRAMES_DROPPED,
            "The queue was full, or the peer not connected.",
        ),
        Panel::lines("Refused on the peer port, by kind", unit::PER_SECOND)
            .about("Over the chosen nodes.")
            .query(label_rate(names::PEER_REFUSED, THESE), "$tag_label"),
        Panel::lines("Requests of clients refused, by reason", unit::PER_SECOND)
            .about("Over the chosen nodes.")
            .query(label_rate(names::CLIENT_REFUSED, THESE), "$tag_label"),
    ]
}
