//! Latency: its distribution, and over time with what was done to the nodes.

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use shardpay_run::{LatencyInterval, LatencyKind, PlannedFault, add_latencies, new_latencies};

use super::families::Input;
use super::figure::{COLOURS, Figure, GREY, axis, axis_name, colour, line, log_axis};
use super::labels;
use crate::runs::{Point, Run};

/// Points drawn together at most.
const LINES_MAX: usize = COLOURS.len();
/// From this ratio of the greatest to the least latency on, the axis is one of powers.
const LOG_FROM: f64 = 20.0;

pub(super) fn figures(input: &Input) -> anyhow::Result<Vec<Figure>> {
    Ok(vec![distribution(&input.points)?, over_time(&input.points)?])
}

/// Latencies of whole payments in the measured part, together.
pub(crate) fn measured(run: &Run) -> anyhow::Result<Histogram<u64>> {
    let (warmup, end) = (run.summary.warmup.cut(), run.spec().duration());
    let counts = |interval: &&LatencyInterval| {
        interval.tag.kind != LatencyKind::CrossDebit && interval.start >= warmup && interval.start < end
    };
    let mut all = new_latencies();
    run.latencies()?.iter().filter(counts).for_each(|interval| add_latencies(&mut all, &interval.latencies));
    Ok(all)
}

/// Latencies in ms and the share of payments that took at most so long, with steps enough for the tail: 1/2, 3/4,
/// 7/8 … each with ten.
pub(crate) fn steps(latencies: &Histogram<u64>) -> (Vec<f64>, Vec<f64>) {
    let step = |step: hdrhistogram::iterators::IterationValue<u64>| {
        (step.value_iterated_to() as f64 / 1_000.0, step.quantile())
    };
    latencies.iter_quantiles(10).map(step).unzip()
}

/// The two panels of a distribution: how many took at most so long, and how many took longer.
pub(crate) fn distribution_axes(figure: &mut Figure) {
    let x = || log_axis("latency (ms)");
    let mut share = axis("share of payments at or below");
    share["range"] = json!([0, 1.02]);
    let mut slower = log_axis("share of payments above");
    slower["dtick"] = json!(1);
    slower["exponentformat"] = json!("power");
    slower["tickformat"] = json!("~g");
    (figure.layout["xaxis"], figure.layout["yaxis"]) = (x(), share);
    figure.beside((x(), slower));
    figure.layout["legend"] = json!({ "orientation": "h", "x": 0, "y": 1.04, "xanchor": "left", "yanchor": "bottom" });
    figure.shows_latency = true;
}

/// A distribution in both panels; a faint one is a repeat.
pub(crate) fn distribution_lines((xs, ys): (Vec<f64>, Vec<f64>), name: &str, index: usize, faint: bool) -> [Value; 2] {
    // nothing lies below the shortest; the last step is the longest of all, above which nothing lies
    let shortest = xs.first().copied();
    let above = xs.iter().zip(&ys).filter(|(_, y)| **y < 1.0).map(|(x, y)| (*x, 1.0 - y));
    let above: (Vec<f64>, Vec<f64>) = shortest.map(|x| (x, 1.0)).into_iter().chain(above).unzip();
    let below = shortest.map(|x| (x, 0.0)).into_iter().chain(xs.into_iter().zip(ys)).unzip();
    [(below, 1), (above, 2)].map(|(points, panel)| {
        let mut trace = line(name, points, index);
        (trace["xaxis"], trace["yaxis"]) = (json!(axis_name('x', panel)), json!(axis_name('y', panel)));
        trace["line"]["shape"] = json!("hv");
        trace["showlegend"] = json!(panel == 1 && !faint);
        if faint {
            (trace["opacity"], trace["line"]["width"], trace["hoverinfo"]) = (json!(0.4), json!(0.8), json!("skip"));
            trace["name"] = json!(format!("{name}, one repeat"));
        }
        trace
    })
}

fn distribution(points: &[Point]) -> anyhow::Result<Figure> {
    let drawn: Vec<&Point> = points.iter().take(LINES_MAX).collect();
    let names = labels::short(&drawn.iter().map(|point| point.spec()).collect::<Vec<_>>());
    let mut figure = Figure::new("latency-cdf", "Distribution of latency", (json!({}), json!({}))).about(&drawn);
    distribution_axes(&mut figure);
    figure.columns = vec!["point", "run", "latency_ms", "share"];
    for (index, (point, name)) in drawn.iter().zip(&names).enumerate() {
        let mut all = new_latencies();
        for run in &point.runs {
            let latencies = measured(run)?;
            add_latencies(&mut all, &latencies);
            let (xs, ys) = steps(&latencies);
            let of = run.dir.display().to_string();
            figure.rows.extend(
                xs.iter().zip(&ys).map(|(x, y)| vec![point.label.clone(), of.clone(), x.to_string(), y.to_string()]),
            );
            if point.runs.len() > 1 {
                figure.traces.extend(distribution_lines((xs, ys), name, index, true));
            }
        }
        figure.traces.extend(distribution_lines(steps(&all), name, index, false));
    }
    figure.caption = format!(
        "Payments of the measured part, from the moment one was meant to be sent to a certificate the client checked (of \
         the credit, for payments between committees). Left: the share that took at most so long; right: the share that \
         took longer. Thin lines are the repeats, thick ones all repeats together.{}",
        if points.len() > LINES_MAX {
            format!(" The first {LINES_MAX} of {} points.", points.len())
        } else {
            String::new()
        }
    );
    Ok(figure)
}

/// A second of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Second {
    /// Its middle, after the load began.
    pub(crate) at: f64,
    /// Payments certified in it.
    pub(crate) certified: f64,
    /// Their latencies in ms.
    pub(crate) p50: f64,
    /// The 99th percentile.
    pub(crate) p99: f64,
    /// Their mean.
    pub(crate) mean: f64,
}

/// A run second by second.
pub(crate) fn seconds(run: &Run) -> anyhow::Result<Vec<Second>> {
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
    let row = |(second, slot): (usize, &Histogram<u64>)| Second {
        at: second as f64 + 0.5,
        certified: slot.len() as f64,
        p50: ms(slot, 0.5),
        p99: ms(slot, 0.99),
        mean: if slot.is_empty() { 0.0 } else { slot.mean() / 1_000.0 },
    };
    Ok(slots.iter().enumerate().map(row).collect())
}

/// The run that tells most over time: one with faults, else the last.
fn over_time(points: &[Point]) -> anyhow::Result<Figure> {
    let with_faults = points.iter().find(|point| !point.spec().faults.is_empty());
    let Some(run) = with_faults.or(points.last()).and_then(|point| point.runs.last()) else {
        return Ok(Figure::missing("over-time", "Throughput and latency over time", "no run"));
    };
    let axes = (axis("seconds of load"), axis("payments/s"));
    let mut figure = Figure::new("over-time", "Throughput and latency over time", axes);
    figure.runs.push(run.clone());
    figure.shows_latency = true;
    let rows = seconds(run)?;
    let xs: Vec<f64> = rows.iter().map(|second| second.at).collect();
    // a second without a certificate has no latency: a gap, not a zero
    let latency = |of: fn(&Second) -> f64| -> Vec<Option<f64>> {
        rows.iter().map(|second| (second.certified > 0.0).then(|| of(second))).collect()
    };
    let (p50, p99) = (latency(|second| second.p50), latency(|second| second.p99));
    let (least, most) =
        p50.iter().chain(&p99).flatten().fold((f64::INFINITY, 0.0_f64), |(a, b), ms| (a.min(*ms), b.max(*ms)));
    let title = "latency (ms)";
    figure.below(if least > 0.0 && most > LOG_FROM * least { log_axis(title) } else { axis(title) });
    let offered: Vec<u64> = run.load_result()?.series.iter().take(rows.len()).map(|second| second.offered).collect();
    figure.traces.push(json!({ "type": "scatter", "mode": "lines", "name": "offered", "x": xs, "y": offered,
        "line": { "color": GREY, "width": 1.2, "dash": "dash" } }));
    figure.traces.push(json!({ "type": "scatter", "mode": "lines+markers", "name": "certified", "x": xs,
        "y": rows.iter().map(|second| second.certified).collect::<Vec<f64>>(), "marker": { "size": 4 },
        "line": { "color": COLOURS[0], "width": 2 } }));
    for (name, ys, index) in [("latency p50", p50, 2), ("latency p99", p99, 1)] {
        figure.traces.push(
            json!({ "type": "scatter", "mode": "lines+markers", "name": name, "x": xs, "y": ys, "yaxis": "y2",
            "line": { "color": colour(index), "width": 2, "dash": if index == 1 { "solid" } else { "dash" } },
            "marker": { "size": 4 } }),
        );
    }
    let timeline = run.spec().timeline();
    marks(&mut figure, run.summary.warmup.cut_s, &timeline);
    figure.caption = format!(
        "{}: one run, second by second; the grey part is the warm-up, which counts nowhere else. {}",
        run.dir.display(),
        if timeline.is_empty() {
            "No faults."
        } else {
            "Upright lines mark faults: full where one begins, dotted where it ends."
        }
    );
    figure.columns = vec!["second", "certified", "p50_ms", "p99_ms", "mean_ms"];
    figure.rows = rows
        .iter()
        .map(|second| [second.at, second.certified, second.p50, second.p99, second.mean].map(|v| v.to_string()).into())
        .collect();
    Ok(figure)
}

/// Whether an entry of the timeline ends a fault.
pub(super) const fn ends(fault: &PlannedFault) -> bool {
    fault.action.ends()
}

fn marks(figure: &mut Figure, warmup_s: f64, timeline: &[PlannedFault]) {
    let mark = |fault: &PlannedFault| {
        let (at, dash) = (fault.at.as_secs_f64(), if ends(fault) { "dot" } else { "solid" });
        json!({ "type": "line", "xref": "x", "yref": "paper", "x0": at, "x1": at, "y0": 0, "y1": 1, "layer": "below",
            "line": { "color": GREY, "width": 1.2, "dash": dash } })
    };
    let mut shapes: Vec<Value> = timeline.iter().map(mark).collect();
    if warmup_s > 0.0 {
        shapes.push(json!({ "type": "rect", "xref": "x", "yref": "paper", "x0": 0, "x1": warmup_s, "y0": 0, "y1": 1,
            "fillcolor": GREY, "opacity": 0.14, "layer": "below", "line": { "width": 0 } }));
    }
    figure.layout["shapes"] = json!(shapes);
    for (name, dash, ending) in [("fault begins", "solid", false), ("fault ends", "dot", true)] {
        if timeline.iter().any(|fault| ends(fault) == ending) {
            figure.traces.push(json!({ "type": "scatter", "mode": "lines", "name": name, "x": [null], "y": [null],
                "line": { "color": GREY, "width": 1.2, "dash": dash } }));
        }
    }
}
