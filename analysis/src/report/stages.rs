//! Where the time of a payment goes, by stage.

use serde_json::json;

use super::figure::{COLOURS, Figure, label};
use super::series;
use crate::runs::Point;

/// The stages in the order in which a payment passes them (`docs/METRICS.md`).
const STAGES: [&str; 7] = ["received", "verified", "proposed", "committed", "executed", "certified", "notified"];

pub(super) fn figures(points: &[Point]) -> anyhow::Result<Vec<Figure>> {
    let mut figure = Figure::new("stages", "Latency by stage", ("", "mean ms in the stage"));
    figure.columns = vec!["point", "committee", "stage", "mean_ms", "recorded"];
    // per stage: names on the axis, and means
    let mut bars: Vec<(Vec<String>, Vec<f64>)> = vec![Default::default(); STAGES.len()];
    for point in points {
        for committee in 0..point.spec().committees {
            let mut sums = [(0.0, 0.0); STAGES.len()];
            for run in &point.runs {
                let nodes = series::read(run)?;
                for node in nodes.iter().filter(|node| node.committee == committee) {
                    for (stage, sum) in STAGES.iter().zip(&mut sums) {
                        let (count, sum_us) =
                            node.histograms.get(&format!("stage_{stage}_us")).copied().unwrap_or_default();
                        (sum.0, sum.1) = (sum.0 + count, sum.1 + sum_us);
                    }
                }
            }
            let name = format!("{}<br>committee {committee}", label(point));
            for ((stage, (count, sum_us)), bar) in STAGES.iter().zip(sums).zip(&mut bars) {
                let mean_ms = if count > 0.0 { sum_us / count / 1_000.0 } else { 0.0 };
                bar.0.push(name.clone());
                bar.1.push(mean_ms);
                let row =
                    [label(point), committee.to_string(), (*stage).to_owned(), mean_ms.to_string(), count.to_string()];
                figure.rows.push(row.into());
            }
        }
    }
    for (index, (stage, (names, means))) in STAGES.iter().zip(bars).enumerate() {
        figure.traces.push(json!({ "type": "bar", "name": stage, "x": names, "y": means,
            "marker": { "color": COLOURS[index] } }));
    }
    figure.layout["barmode"] = json!("stack");
    figure.caption =
        "Means over all payments that a committee's nodes timed in the measured part: each stage from the end of \
        the one before. Means add up, percentiles would not. The client's own way to the node and back is not in it."
            .to_owned();
    Ok(vec![figure])
}
