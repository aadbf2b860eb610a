//! Where the time of a payment goes, by stage.

use serde_json::json;

use super::families::Input;
use super::figure::{Figure, axis, bar_look, names_axis};
use super::labels;
use crate::runs::Point;

/// The stages in the order in which a payment passes them (`docs/METRICS.md`).
const STAGES: [&str; 7] = ["received", "verified", "proposed", "committed", "executed", "certified", "notified"];
/// With more bars than this there is one per point, not one per committee.
const BARS_MAX: usize = 16;

/// How often a stage was timed, and the sum of the times in microseconds.
type Timed = [(f64, f64); STAGES.len()];

/// What the nodes of each committee timed, over all repeats.
fn timed(input: &Input, point: &Point) -> Vec<Timed> {
    let mut committees = vec![Timed::default(); point.spec().committees];
    for node in point.runs.iter().flat_map(|run| input.series(run)) {
        for (stage, sums) in STAGES.iter().zip(&mut committees[node.committee]) {
            let (count, sum_us) = node.histograms.get(&format!("stage_{stage}_us")).copied().unwrap_or_default();
            (sums.0, sums.1) = (sums.0 + count, sums.1 + sum_us);
        }
    }
    committees
}

fn mean_ms((count, sum_us): (f64, f64)) -> f64 {
    if count > 0.0 { sum_us / count / 1_000.0 } else { 0.0 }
}

fn together(committees: &[Timed]) -> Timed {
    let mut all = Timed::default();
    for sums in committees.iter().flat_map(|committee| committee.iter().enumerate()) {
        let (stage, (count, sum_us)) = sums;
        all[stage] = (all[stage].0 + count, all[stage].1 + sum_us);
    }
    all
}

pub(super) fn figure(input: &Input) -> Figure {
    let points: Vec<&Point> = input.points.iter().collect();
    let names = labels::short(&points.iter().map(|point| point.spec()).collect::<Vec<_>>());
    let mut y = names_axis("");
    y["autorange"] = json!("reversed");
    let mut figure = Figure::new("stages", "Latency by stage", (axis("mean time in the stage (ms)"), y)).about(&points);
    figure.columns = vec!["point", "committee", "stage", "mean_ms", "recorded"];
    let bars_by_committee = points.iter().map(|point| point.spec().committees).sum::<usize>() <= BARS_MAX;
    let (mut bars, mut seen): (Vec<(String, Timed)>, Vec<f64>) = (Vec::new(), Vec::new());
    for (point, name) in points.iter().zip(&names) {
        let committees = timed(input, point);
        for (committee, sums) in committees.iter().enumerate() {
            figure.rows.extend(STAGES.iter().zip(sums).map(|(stage, sums)| {
                let (committee, stage) = (committee.to_string(), (*stage).to_owned());
                vec![point.label.clone(), committee, stage, mean_ms(*sums).to_string(), sums.0.to_string()]
            }));
        }
        let client = |of: fn(&shardpay_run::Figures) -> &shardpay_run::Flow, committee: Option<usize>| {
            let mean = |summary: &shardpay_run::Summary| {
                let figures = committee.and_then(|index| summary.per_committee.get(index)).unwrap_or(&summary.total);
                of(figures).latency_ms.mean
            };
            crate::stats::median(&point.figures(mean))
        };
        if bars_by_committee && committees.len() > 1 {
            for (committee, sums) in committees.iter().enumerate() {
                bars.push((format!("{name} · C{committee}"), *sums));
                seen.push(client(|figures| &figures.intra, Some(committee)));
            }
        } else {
            bars.push((name.clone(), together(&committees)));
            seen.push(client(|figures| &figures.intra, None));
        }
    }
    let rows: Vec<&String> = bars.iter().map(|(name, _)| name).collect();
    for (index, stage) in STAGES.iter().enumerate() {
        let means: Vec<f64> = bars.iter().map(|(_, sums)| mean_ms(sums[index])).collect();
        figure.traces.push(json!({ "type": "bar", "orientation": "h", "name": stage, "y": rows, "x": means,
            "marker": bar_look(index) }));
    }
    figure
        .traces
        .push(json!({ "type": "scatter", "mode": "markers", "name": "seen by the client", "y": rows, "x": seen,
        "marker": { "symbol": "diamond-open", "size": 11, "color": super::figure::GREY, "line": { "width": 2 } } }));
    figure.layout["barmode"] = json!("stack");
    figure.layout["bargap"] = json!(0.35);
    figure.layout["legend"]["traceorder"] = json!("normal");
    figure.height = 190 + 34 * bars.len().max(3);
    figure.caption = format!(
        "Means over all payments that the nodes of a committee timed in the measured part, each stage from the end of the \
         one before{}. Means add up, percentiles would not. The diamond is the mean latency the client saw of payments \
         within a committee, from intended send: it has the client's own wait and its way to the node and back in it.",
        if bars_by_committee { "; C is the committee" } else { "; all committees together" }
    );
    figure
}
