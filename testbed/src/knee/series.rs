//! Gauges and stage times of a run's nodes within its measured part, from `series.lp` (`docs/METRICS.md`).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

use influxdb_line_protocol::{FieldValue, parse_lines};
use shardpay_run::{RunDir, Spec};

use crate::deploy::nodes;

/// Values of a gauge over nodes and seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Gauge {
    sum: f64,
    count: f64,
    /// The largest.
    pub(super) max: f64,
}

impl Gauge {
    /// Their mean.
    pub(super) fn mean(&self) -> f64 {
        if self.count > 0.0 { self.sum / self.count } else { 0.0 }
    }
}

/// What the nodes of a run wrote down.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Series {
    /// By name.
    pub(super) gauges: BTreeMap<String, Gauge>,
    /// Payments timed in a stage, and the sum of their times in microseconds.
    stages: BTreeMap<String, (f64, f64)>,
}

impl Series {
    /// Of all nodes; `load_us` is when the load began.
    pub(super) fn read(dir: &RunDir, spec: &Spec, load_us: u64, part: (Duration, Duration)) -> io::Result<Self> {
        let begin = i64::try_from(load_us).unwrap_or(i64::MAX / 2_000).saturating_mul(1_000);
        let at = |after: Duration| begin.saturating_add(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX / 2));
        let mut series = Self::default();
        for node in nodes(spec) {
            series.add(&fs::read_to_string(dir.node_series(node))?, (at(part.0), at(part.1)));
        }
        Ok(series)
    }

    pub(super) fn add(&mut self, text: &str, window: (i64, i64)) {
        let number = |value: &FieldValue<'_>| match value {
            FieldValue::I64(value) => Some(*value as f64),
            FieldValue::U64(value) => Some(*value as f64),
            FieldValue::F64(value) => Some(*value),
            _ => None,
        };
        // a torn last line is no line
        for line in parse_lines(text).filter_map(Result::ok) {
            let at = line.timestamp.unwrap_or_default();
            if at <= window.0 || at > window.1 {
                continue;
            }
            match line.series.measurement.as_str() {
                "gauges" => {
                    for (name, value) in &line.field_set {
                        let Some(value) = number(value) else { continue };
                        let gauge = self.gauges.entry(name.to_string()).or_default();
                        (gauge.sum, gauge.count, gauge.max) =
                            (gauge.sum + value, gauge.count + 1.0, gauge.max.max(value));
                    }
                }
                "histograms" => {
                    let Some(metric) = line.tag_value("metric") else { continue };
                    let of = |field: &str| line.field_value(field).and_then(number).unwrap_or_default();
                    let sums = self.stages.entry(metric.to_string()).or_default();
                    (sums.0, sums.1) = (sums.0 + of("count"), sums.1 + of("sum_us"));
                }
                _ => {}
            }
        }
    }

    /// Mean milliseconds in a stage.
    pub(super) fn stage_ms(&self, stage: &str) -> f64 {
        match self.stages.get(&format!("stage_{stage}_us")) {
            Some((count, sum_us)) if *count > 0.0 => sum_us / count / 1_000.0,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_and_stages_count_within_the_window() {
        let text = "gauges,server=0-0 queue_core=9i,mempool=1i 10\ngauges,server=0-0 queue_core=2i,mempool=3i 20\n\
            gauges,server=0-0 queue_core=4i,mempool=5i 30\nhistograms,metric=stage_verified_us count=2i,sum_us=3000i 20\n\
            histograms,metric=stage_verified_us count=2i,sum_us=9000i 30\ncounters a=1i 20\ngauges,server=0-0 queue_core=9";
        let mut series = Series::default();
        series.add(text, (10, 30));
        assert_eq!((series.gauges["queue_core"].mean(), series.gauges["queue_core"].max), (3.0, 4.0));
        assert_eq!((series.stage_ms("verified"), series.stage_ms("executed")), (3.0, 0.0));
    }
}
