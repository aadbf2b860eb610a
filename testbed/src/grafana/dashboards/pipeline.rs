//! A payment's way through the nodes, stage by stage.

use shardpay_telemetry::{Stage, names};

use super::super::panel::{Dashboard, Panel, unit};
use super::super::query::{Of, mean_us, total_rate, values_per_second, worst_us};

const THESE: Of = Of::Committee;
const BY_METRIC: [&str; 1] = [names::TAG_METRIC];

pub(super) fn page() -> Dashboard {
    let stages = Stage::ALL.map(Stage::metric);
    let work = [names::VERIFY_BATCH_US, names::EXECUTE_COMMIT_US, names::SYNC_US, names::CORE_BATCH_US];
    let sum = |counter| total_rate(counter, THESE);
    Dashboard::new("pipeline", "pipeline", "How long each stage takes in the nodes of the chosen committees.")
        .by_committee()
        .with([
            Panel::stacked("Latency by stage, mean", unit::MICROSECONDS)
                .about(
                    "Each stage from the end of the one before: received, verified, proposed, committed, executed, \
                     certified, notified. Exact means; the whole height is the mean way through a node.",
                )
                .wide(12)
                .query(mean_us(&stages, THESE, &BY_METRIC), "$tag_metric"),
            Panel::lines("Latency by stage, p99", unit::MICROSECONDS)
                .about("That of the worst node and second. Percentiles of stages do not add up.")
                .wide(12)
                .query(worst_us(names::FIELD_P99_US, &stages, THESE, &BY_METRIC), "$tag_metric"),
            Panel::lines("Way through a node, by committee", unit::MICROSECONDS)
                .about("Mean of the longest stage, from proposed to committed.")
                .query(
                    mean_us(&[Stage::Committed.metric()], THESE, &[names::TAG_COMMITTEE]),
                    "committed, committee $tag_committee",
                ),
            Panel::lines("Transactions by stage", unit::PER_SECOND)
                .about(
                    "Over all nodes of the chosen committees; committed, executed and certified count in each member.",
                )
                .query(sum(names::PAYMENTS_RECEIVED), "received")
                .query(sum(names::PAYMENTS_VERIFIED), "verified")
                .query(sum(names::PAYMENTS_ADMITTED), "admitted")
                .query(sum(names::PAYMENTS_PROPOSED), "proposed")
                .query(sum(names::PAYMENTS_COMMITTED), "committed")
                .query(sum(names::PAYMENTS_EXECUTED), "executed")
                .query(sum(names::PAYMENTS_CERTIFIED), "certified"),
            Panel::lines("Signatures checked for peers", unit::PER_SECOND)
                .about("Transactions in blocks of peers whose signature was checked.")
                .query(sum(names::PEER_TRANSACTIONS_VERIFIED), "checked for peers"),
            Panel::lines("Work, mean", unit::MICROSECONDS)
                .about("One batch of signatures, one commit, one sync of the log, one turn of the core thread.")
                .query(mean_us(&work, THESE, &BY_METRIC), "$tag_metric"),
            Panel::lines("Work, longest", unit::MICROSECONDS)
                .about("The longest of the worst node.")
                .query(worst_us(names::FIELD_MAX_US, &work, THESE, &BY_METRIC), "$tag_metric"),
            Panel::lines("Work, how often", unit::PER_SECOND)
                .about("Over all nodes of the chosen committees.")
                .query(values_per_second(&work, THESE, &BY_METRIC), "$tag_metric"),
        ])
}
