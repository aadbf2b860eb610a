//! Where the time of a payment goes, by stage.

use serde_json::json;

use super::figure::{COLOURS, Figure};
use super::series;
use crate::runs::Point;

/// The stages in the order in which a payment passes them (`docs/METRICS.md`).
const STAGES: [&str; 7] = ["received", "verified", "proposed", "committed", "executed", "certified", "notified"];

/// How often a stage was timed, and the sum of the times in microseconds.
type Timed = (f64, f64);

/// What the nodes of each committee timed, over all repeats.
fn timed(point: &Point) -> anyhow::Result<Vec<[Timed; STAGES.len()]>> {
    let mut committees = vec![[(0.0, 0.0); STAGES.len()]; point.spec().committees];
    for run in &point.runs {
        for node in series::read(run)? {
            for (stage, sums) in STAGES.iter().zip(&mut committees[node.committee]) {
                let (count, sum_us) = node.histograms.get(&format!("stage_{stage}_us")).copied().unwrap_or_default();
                (sums.0, sums.1) = (sums.0 + count, sums.1 + sum_us);
            }
        }
    }
    Ok(committees)
}

pub(super) fn figure(points: &[Point]) -> anyhow::Result<Figure> {
    let mut figure = Figure::new("stages", "Latency by stage", ("", "mean ms in the stage"));
    figure.columns = vec!["point", "committee", "stage", "mean_ms", "recorded"];
    // per stage: names on the axis, and means
    let mut bars: Vec<(Vec<String>, Vec<f64>)> = vec![Default::default(); STAGES.len()];
    for point in points {
        for (committee, sums) in timed(point)?.into_iter().enumerate() {
            let name = format!("{}<br>committee {committee}", point.label);
            for ((stage, (count, sum_us)), bar) in STAGES.iter().zip(sums).zip(&mut bars) {
                let mean_ms = if count > 0.0 { sum_us / count / 1_000.0 } else { 0.0 };
                bar.0.push(name.clone());
                bar.1.push(mean_ms);
                let (mean, count) = (mean_ms.to_string(), count.to_string());
                figure.rows.push(vec![point.label.clone(), committee.to_string(), (*stage).to_owned(), mean, count]);
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
    Ok(figure)
}
