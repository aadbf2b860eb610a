//! InfluxQL over what the servers write (`docs/METRICS.md`).
//!
//! Counters start again with their process, so rates are taken per server and never below 0; the members of a
//! committee count the same payments, so a committee's rate is the median of its members' and rates of committees
//! add up. Percentiles of servers are never averaged: a group's is that of its worst server and second.

use shardpay_telemetry::{ServerKind, names};

/// Whose lines are meant: a condition of `WHERE`.
#[derive(Clone, Copy)]
pub(super) enum Of {
    /// All servers of a kind.
    Kind(ServerKind),
    /// All servers.
    Everybody,
    /// The nodes of the committees chosen on the page.
    Committee,
    /// The nodes chosen on the page.
    Node,
}

impl Of {
    fn condition(self) -> String {
        let nodes = || format!("{} = '{}'", quoted(names::TAG_KIND), ServerKind::Node.name());
        let chosen = |tag: &str, variable: &str| format!("{} =~ /^${variable}$/", quoted(tag));
        match self {
            Self::Kind(kind) => format!("{} = '{}' AND $timeFilter", quoted(names::TAG_KIND), kind.name()),
            Self::Everybody => "$timeFilter".to_owned(),
            Self::Committee => format!("{} AND {} AND $timeFilter", nodes(), chosen(names::TAG_COMMITTEE, COMMITTEE)),
            Self::Node => format!(
                "{} AND {} AND {} AND $timeFilter",
                nodes(),
                chosen(names::TAG_COMMITTEE, COMMITTEE),
                chosen(names::TAG_SERVER, NODE)
            ),
        }
    }
}

/// The page's variable that chooses committees.
pub(super) const COMMITTEE: &str = "committee";
/// The page's variable that chooses nodes.
pub(super) const NODE: &str = "node";

pub(super) fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// `GROUP BY` an interval and tags; intervals without values give nothing.
fn grouped(tags: &[&str]) -> String {
    let tags: String = tags.iter().map(|tag| format!(", {}", quoted(tag))).collect();
    format!("GROUP BY time($__interval){tags} fill(none)")
}

/// `function` over the column `v` of another query.
pub(super) fn over(function: &str, inner: &str, tags: &[&str]) -> String {
    format!("SELECT {function} AS \"v\" FROM ({inner}) WHERE $timeFilter {}", grouped(tags))
}

/// How fast a counter grows, by server.
pub(super) fn rate(counter: &str, of: Of) -> String {
    scaled_rate(counter, of, "")
}

/// The same, divided by something: `" / 1000000"`.
pub(super) fn scaled_rate(counter: &str, of: Of, divided: &str) -> String {
    format!(
        "SELECT non_negative_derivative(max({}), 1s){divided} AS \"v\" FROM {} WHERE {} {}",
        quoted(counter),
        quoted(names::COUNTERS),
        of.condition(),
        grouped(&[names::TAG_SERVER, names::TAG_COMMITTEE])
    )
}

/// How fast what all members of a committee count grows, by committee.
pub(super) fn committee_rate(counter: &str, of: Of) -> String {
    over("median(\"v\")", &rate(counter, of), &[names::TAG_COMMITTEE])
}

/// The sum over servers of how fast a counter grows.
pub(super) fn total_rate(counter: &str, of: Of) -> String {
    over("sum(\"v\")", &rate(counter, of), &[])
}

/// How fast a labelled counter grows, summed over servers, by label.
pub(super) fn label_rate(metric: &str, of: Of) -> String {
    let inner = format!(
        "SELECT non_negative_derivative(max({}), 1s) AS \"v\" FROM {} WHERE {} = '{metric}' AND {} {}",
        quoted(names::FIELD_COUNT),
        quoted(names::LABELLED),
        quoted(names::TAG_METRIC),
        of.condition(),
        grouped(&[names::TAG_SERVER, names::TAG_LABEL])
    );
    over("sum(\"v\")", &inner, &[names::TAG_LABEL])
}

/// A labelled counter as it stands, by committee and label: the furthest member's.
pub(super) fn label_count(metric: &str, of: Of) -> String {
    format!(
        "SELECT max({}) AS \"v\" FROM {} WHERE {} = '{metric}' AND {} {}",
        quoted(names::FIELD_COUNT),
        quoted(names::LABELLED),
        quoted(names::TAG_METRIC),
        of.condition(),
        grouped(&[names::TAG_COMMITTEE, names::TAG_LABEL])
    )
}

/// A function of gauges (`max("mempool")`, `last("a") - last("b")`) by tags.
pub(super) fn gauge(function: &str, of: Of, tags: &[&str]) -> String {
    from_gauges(function, of, &grouped(tags))
}

/// Sums and differences of the gauges of one point, by server.
pub(super) fn gauge_of_points(expression: &str, of: Of) -> String {
    let server = quoted(names::TAG_SERVER);
    let inner = from_gauges(expression, of, &format!("GROUP BY {server}"));
    over("last(\"v\")", &inner, &[names::TAG_SERVER])
}

fn from_gauges(what: &str, of: Of, grouping: &str) -> String {
    format!("SELECT {what} AS \"v\" FROM {} WHERE {} {grouping}", quoted(names::GAUGES), of.condition())
}

/// `function("field")`.
pub(super) fn call(function: &str, field: &str) -> String {
    format!("{function}({})", quoted(field))
}

/// Mean of histograms' values, which is exact, by tags.
pub(super) fn mean_us(metrics: &[&str], of: Of, tags: &[&str]) -> String {
    let mean = format!("{} / {}", call("sum", names::FIELD_SUM_US), call("sum", names::FIELD_COUNT));
    from_histograms(&mean, metrics, of, tags)
}

/// The largest value of a histogram's field over servers and seconds, by tags.
pub(super) fn worst_us(field: &str, metrics: &[&str], of: Of, tags: &[&str]) -> String {
    from_histograms(&call("max", field), metrics, of, tags)
}

/// How many values histograms got per second, by tags. Lines come once a second.
pub(super) fn values_per_second(metrics: &[&str], of: Of, tags: &[&str]) -> String {
    let all = [tags, &[names::TAG_SERVER]].concat();
    let inner = from_histograms(&call("mean", names::FIELD_COUNT), metrics, of, &all);
    over("sum(\"v\")", &inner, tags)
}

fn from_histograms(what: &str, metrics: &[&str], of: Of, tags: &[&str]) -> String {
    format!(
        "SELECT {what} AS \"v\" FROM {} WHERE {} =~ /^({})$/ AND {} {}",
        quoted(names::HISTOGRAMS),
        quoted(names::TAG_METRIC),
        metrics.join("|"),
        of.condition(),
        grouped(tags)
    )
}

/// The last task events.
pub(super) fn events(of: Of) -> String {
    let columns = [names::TAG_SERVER, names::TAG_EVENT, names::FIELD_TEXT].map(quoted).join(", ");
    format!("SELECT {columns} FROM {} WHERE {} ORDER BY time DESC LIMIT 200", quoted(names::EVENTS), of.condition())
}

/// Task events of one kind, to be marked in the graphs.
pub(super) fn marks(event: &str) -> String {
    let columns = [names::FIELD_TEXT, names::TAG_SERVER].map(quoted).join(", ");
    let (from, kind) = (quoted(names::EVENTS), quoted(names::TAG_EVENT));
    format!("SELECT {columns} FROM {from} WHERE {kind} = '{event}' AND $timeFilter ORDER BY time DESC LIMIT 200")
}

/// Values of a tag, for a variable; of a committee's nodes when it is asked for.
pub(super) fn values_of(tag: &str, of_committee: bool) -> String {
    let only = if of_committee {
        format!(" WHERE {} =~ /^${COMMITTEE}$/", quoted(names::TAG_COMMITTEE))
    } else {
        String::new()
    };
    format!("SHOW TAG VALUES FROM {} WITH KEY = {}{only}", quoted(names::GAUGES), quoted(tag))
}
