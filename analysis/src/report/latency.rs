//! Latency: its distribution, and over time with what was done to the nodes.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::json;
use shardpay_run::{LatencyInterval, LatencyKind, add_latencies, new_latencies};

use super::figure::{COLOURS, Figure};
use crate::runs::{Point, Run};

/// Points drawn together at most.
const LINES_MAX: usize = COLOURS.len();

pub(super) fn figures(points: &[Point]) -> anyhow::Result<Vec<Figure>> {
    Ok(vec![distribution(points)?, over_time(points)?])
}

/// Latencies of whole payments in the measured part.
fn measured(run: &Run) -> anyhow::Result<Vec<LatencyInterval>> {
    let (warmup, end) = (run.spec().warmup(), run.spec().duration());
    let mut intervals = run.latencies()?;
    intervals.retain(|interval| {
        interval.tag.kind != LatencyKind::CrossDebit && interval.start >= warmup && interval.start < end
    });
    Ok(intervals)
}

fn distribution(points: &[Point]) -> anyhow::Result<Figure> {
    let axes = ("latency from intended send, ms", "share of payments");
    let mut figure = Figure::new("latency-cdf", "Distribution of latency", axes);
    figure.columns = vec!["point", "latency_ms", "share"];
    for (index, point) in points.iter().take(LINES_MAX).enumerate() {
        let mut all = new_latencies();
        for run in &point.runs {
            measured(run)?.iter().for_each(|interval| add_latencies(&mut all, &interval.latencies));
        }
        // enough steps for the tail to be seen: 1/2, 3/4, 7/8 … each with ten steps
        let steps = all.iter_quantiles(10).map(|step| (step.value_iterated_to() as f64 / 1_000.0, step.quantile()));
        let (xs, ys): (Vec<f64>, Vec<f64>) = steps.unzip();
        let name = point.label.clone();
        figure.rows.extend(xs.iter().zip(&ys).map(|(x, y)| vec![name.clone(), x.to_string(), y.to_string()]));
        figure.traces.push(json!({ "type": "scatter", "mode": "lines", "name": name, "x": xs, "y": ys,
            "line": { "color": COLOURS[index], "shape": "hv" } }));
    }
    figure.layout["xaxis"]["type"] = json!("log");
    figure.layout["xaxis"].as_object_mut().map(|axis| axis.remove("rangemode"));
    figure.caption = format!(
        "All payments of the measured part, repeats together: from the moment a payment was meant to be sent to a \
         certificate the client checked, of the credit for payments between committees.{}",
        only_first(points.len())
    );
    Ok(figure)
}

fn only_first(points: usize) -> String {
    if points > LINES_MAX { format!(" The first {LINES_MAX} of {points} points.") } else { String::new() }
}

/// Medians, 99th percentiles and certified payments of each second of a run.
fn seconds(run: &Run) -> anyhow::Result<Vec<(f64, f64, f64, f64)>> {
    let seconds = run.spec().duration_s.ceil() as usize;
    let mut slots: Vec<Histogram<u64>> = (0..seconds).map(|_| new_latencies()).collect();
    for interval in run.latencies()? {
        let middle = (interval.start + interval.length / 2).as_secs() as usize;
        if interval.tag.kind != LatencyKind::CrossDebit
            && let Some(slot) = slots.get_mut(middle)
        {
            add_latencies(slot, &interval.latencies);
        }
    }
    let ms = |slot: &Histogram<u64>, share| slot.value_at_quantile(share) as f64 / 1_000.0;
    let row = |(second, slot): (usize, &Histogram<u64>)| {
        (second as f64 + 0.5, slot.len() as f64, ms(slot, 0.5), ms(slot, 0.99))
    };
    Ok(slots.iter().enumerate().map(row).collect())
}

/// The run that tells most over time: one with faults, else the last.
fn over_time(points: &[Point]) -> anyhow::Result<Figure> {
    let with_faults = points.iter().find(|point| !point.spec().faults.is_empty());
    let Some(run) = with_faults.or(points.last()).and_then(|point| point.runs.last()) else {
        return Ok(Figure::missing("over-time", "Over time", "no run"));
    };
    let mut figure =
        Figure::new("over-time", "Throughput and latency over time", ("seconds of load", "certified payments/s"));
    let rows = seconds(run)?;
    let column = |of: fn(&(f64, f64, f64, f64)) -> f64| rows.iter().map(of).collect::<Vec<f64>>();
    let xs = column(|row| row.0);
    figure.traces.push(json!({ "type": "bar", "name": "certified/s", "x": xs, "y": column(|row| row.1),
        "marker": { "color": COLOURS[5], "opacity": 0.5 } }));
    for (name, ys, colour) in [("p50", column(|row| row.2), 0), ("p99", column(|row| row.3), 1)] {
        figure.traces.push(json!({ "type": "scatter", "mode": "lines", "name": name, "x": xs, "y": ys, "yaxis": "y2",
            "line": { "color": COLOURS[colour] } }));
    }
    figure.layout["yaxis2"] = json!({ "title": { "text": "latency, ms" }, "overlaying": "y", "side": "right",
        "rangemode": "tozero", "automargin": true, "showgrid": false });
    let mark = |at: Duration, dash: &str| {
        json!({ "type": "line", "xref": "x", "yref": "paper", "x0": at.as_secs_f64(),
        "x1": at.as_secs_f64(), "y0": 0, "y1": 1, "line": { "color": COLOURS[6], "width": 1, "dash": dash } })
    };
    let timeline = run.spec().timeline();
    let ends = |action| matches!(action, shardpay_run::FaultAction::Restart | shardpay_run::FaultAction::Resume);
    let marks: Vec<_> =
        timeline.iter().map(|fault| mark(fault.at, if ends(fault.action) { "dot" } else { "solid" })).collect();
    let warm_up = json!({ "type": "rect", "xref": "x", "yref": "paper", "x0": 0, "x1": run.spec().warmup_s, "y0": 0,
        "y1": 1, "fillcolor": COLOURS[7], "opacity": 0.12, "line": { "width": 0 } });
    figure.layout["shapes"] = json!(std::iter::once(warm_up).chain(marks).collect::<Vec<_>>());
    figure.caption = format!(
        "{}: one run, second by second; grey is the warm-up, which counts nowhere else. {}",
        run.dir.display(),
        if timeline.is_empty() {
            "No faults."
        } else {
            "Lines mark faults: full where one begins, dotted where it ends."
        }
    );
    figure.columns = vec!["second", "certified", "p50_ms", "p99_ms"];
    figure.rows = rows.iter().map(|row| [row.0, row.1, row.2, row.3].iter().map(f64::to_string).collect()).collect();
    Ok(figure)
}
