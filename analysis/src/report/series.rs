//! The nodes' own counters and stage latencies, from `series.lp` (`docs/METRICS.md`).

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;
use influxdb_line_protocol::{FieldValue, parse_lines};
use shardpay_run::RunDir;
use shardpay_testbed::deploy::nodes;

use crate::runs::Run;

/// What one node did in the measured part.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NodeFigures {
    /// `committee-member`.
    pub(super) name: String,
    /// Its committee.
    pub(super) committee: usize,
    /// How much each counter grew.
    pub(super) counters: BTreeMap<String, f64>,
    /// Of each histogram: how many, and their sum in microseconds.
    pub(super) histograms: BTreeMap<String, (f64, f64)>,
}

impl NodeFigures {
    /// How much a counter grew; 0 for one that never did.
    pub(super) fn counter(&self, name: &str) -> f64 {
        self.counters.get(name).copied().unwrap_or_default()
    }
}

/// All nodes of a run.
pub(super) fn read(run: &Run) -> anyhow::Result<Vec<NodeFigures>> {
    let started_ns = i64::try_from(run.load_result()?.started_us)?.saturating_mul(1_000);
    let after = |duration: std::time::Duration| started_ns + i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX / 2);
    let window = (after(run.summary.warmup.cut()), after(run.spec().duration()));
    let dir = RunDir::new(&run.dir);
    let mut all = Vec::new();
    for node in nodes(run.spec()) {
        let path = dir.node_series(node);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut figures = of_text(&text, window);
        figures.name = shardpay_run::node_name(node);
        figures.committee = node.committee.index();
        all.push(figures);
    }
    Ok(all)
}

/// A torn last line (the node was killed) is passed over, as is anything else that is no line.
fn of_text(text: &str, window: (i64, i64)) -> NodeFigures {
    let mut figures = NodeFigures::default();
    let mut before: BTreeMap<String, f64> = BTreeMap::new();
    for line in parse_lines(text).filter_map(Result::ok) {
        let at = line.timestamp.unwrap_or_default();
        let measured = at > window.0 && at <= window.1;
        let number = |value: &FieldValue<'_>| match value {
            FieldValue::I64(value) => Some(*value as f64),
            FieldValue::U64(value) => Some(*value as f64),
            FieldValue::F64(value) => Some(*value),
            _ => None,
        };
        match line.series.measurement.as_str() {
            "counters" => {
                for (field, value) in &line.field_set {
                    let Some(value) = number(value) else { continue };
                    let earlier = before.insert(field.to_string(), value).unwrap_or(0.0);
                    if measured {
                        // a restart begins at 0 again
                        let grown = if value >= earlier { value - earlier } else { value };
                        *figures.counters.entry(field.to_string()).or_default() += grown;
                    }
                }
            }
            "histograms" if measured => {
                let Some(metric) = line.tag_value("metric") else { continue };
                let of = |field: &str| line.field_value(field).and_then(number).unwrap_or_default();
                let sums = figures.histograms.entry(metric.to_string()).or_default();
                (sums.0, sums.1) = (sums.0 + of("count"), sums.1 + of("sum_us"));
            }
            _ => {}
        }
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_grow_within_the_window_and_over_a_restart() {
        let text = "counters,server=0-0 a=5i,b=1i 10\ncounters,server=0-0 a=9i,b=1i 20\ncounters,server=0-0 a=2i,b=4i 30\n\
            histograms,server=0-0,metric=stage_x_us count=2i,sum_us=30i,p50_us=9i 20\n\
            histograms,server=0-0,metric=stage_x_us count=1i,sum_us=12i,p50_us=9i 30\n\
            events,server=0-0,event=block text=\"a, b\" 20\ncounters,server=0-0 a=7i,b=9i 40\ncounters,server=0-0 a=7";
        let figures = of_text(text, (10, 30));
        assert_eq!(figures.counters, [("a".to_owned(), 6.0), ("b".to_owned(), 3.0)].into());
        assert_eq!(figures.histograms, [("stage_x_us".to_owned(), (3.0, 42.0))].into());
    }
}
