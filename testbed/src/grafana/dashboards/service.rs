//! The users' API: what people do, how long it takes, what fails.

use shardpay_telemetry::{ServerKind, names};

use super::super::panel::{Dashboard, Panel, unit};
use super::super::query::{Of, call, gauge, label_rate, mean_us, rate, scaled_rate, total_rate, worst_us};
use super::{MS, TO_CORES};

const SERVICE: Of = Of::Kind(ServerKind::Service);
const OPERATIONS: [&str; 6] = [
    names::OPERATION_REGISTER_US,
    names::OPERATION_LOGIN_US,
    names::OPERATION_BUY_US,
    names::OPERATION_PAY_US,
    names::OPERATION_CASH_OUT_US,
    names::OPERATION_BALANCE_US,
];

pub(super) fn page() -> Dashboard {
    let operations = |field| worst_us(field, &OPERATIONS, SERVICE, &[names::TAG_METRIC]);
    let requests = |field| worst_us(field, &[names::HTTP_REQUEST_US], SERVICE, &[names::TAG_SERVER]);
    Dashboard::new("service", "services", "Operations of users: register, login, buy, pay, cash out, balance.").with([
        Panel::number("Requests", unit::PER_SECOND)
            .about("Requests answered over HTTP.")
            .query(total_rate(names::HTTP_REQUESTS, SERVICE), "requests"),
        Panel::number("Request p99", unit::MICROSECONDS)
            .about("That of the worst second and service.")
            .bad_from(1_000.0 * MS, 5_000.0 * MS)
            .query(worst_us(names::FIELD_P99_US, &[names::HTTP_REQUEST_US], SERVICE, &[]), "p99"),
        Panel::stacked("Operations", unit::PER_SECOND)
            .about("Operations carried out.")
            .query(label_rate(names::OPERATIONS, SERVICE), "$tag_label"),
        Panel::lines("Operations failed", unit::PER_SECOND)
            .about("Operations refused or failed.")
            .bad_from(1.0, 10.0)
            .query(label_rate(names::OPERATIONS_FAILED, SERVICE), "$tag_label"),
        Panel::lines("Operations, mean", unit::MICROSECONDS)
            .about("Exact means. Buying, paying and cashing out last until they are certified.")
            .query(mean_us(&OPERATIONS, SERVICE, &[names::TAG_METRIC]), "$tag_metric"),
        Panel::lines("Operations, p99", unit::MICROSECONDS)
            .about("That of the worst second and service.")
            .query(operations(names::FIELD_P99_US), "$tag_metric"),
        Panel::lines("Operations, longest", unit::MICROSECONDS)
            .about("The longest one.")
            .query(operations(names::FIELD_MAX_US), "$tag_metric"),
        Panel::lines("HTTP requests, latency", unit::MICROSECONDS)
            .about("Median and 99th percentile of the worst second.")
            .query(requests(names::FIELD_P50_US), "p50 $tag_server")
            .query(requests(names::FIELD_P99_US), "p99 $tag_server"),
        Panel::lines("HTTP requests refused, by reason", unit::PER_SECOND)
            .about("Over all services.")
            .query(label_rate(names::HTTP_REFUSED, SERVICE), "$tag_label"),
        Panel::lines("CPU", unit::SHARE)
            .about("100 % is one core.")
            .query(scaled_rate(names::PROCESS_CPU_US, SERVICE, TO_CORES), "$tag_server"),
        Panel::lines("Memory", unit::BYTES)
            .about("Resident memory.")
            .query(gauge(&call("max", names::MEMORY_BYTES), SERVICE, &[names::TAG_SERVER]), "$tag_server"),
        Panel::lines("Written to disk", unit::BYTES_PER_SECOND)
            .about("By the process.")
            .query(rate(names::PROCESS_WRITTEN_BYTES, SERVICE), "$tag_server"),
        Panel::events("Task events", SERVICE),
    ])
}
