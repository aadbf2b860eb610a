//! Figures over several points: throughput against latency, committees, committee size, cross ratio.

use serde_json::{Value, json};
use shardpay_run::{Cross, Rate, Spec, Summary};

use super::figure::{COLOURS, Figure, repeats};
use crate::runs::{Point, Run, without_chance};
use crate::stats::{Bootstrap, UslFit, UslPoint, median};

/// A figure of a run.
type Reading = fn(&Summary) -> f64;

pub(super) fn figures(points: &[Point]) -> Vec<Figure> {
    vec![throughput_latency(points), committees(points), committee_size(points), cross_ratio(points)]
}

/// Points that differ in what `vary` blanks out only, largest family first; at least `least` different values.
fn family(points: &[Point], vary: impl Fn(&mut Spec), key: impl Fn(&Spec) -> f64, least: usize) -> Vec<&Point> {
    let blank = |point: &Point| {
        let mut spec = without_chance(point.spec());
        vary(&mut spec);
        spec
    };
    let mut best: Vec<&Point> = Vec::new();
    for point in points {
        let own = blank(point);
        let mut members: Vec<&Point> = points.iter().filter(|other| blank(other) == own).collect();
        members.sort_by(|a, b| key(a.spec()).total_cmp(&key(b.spec())));
        if members.len() > best.len() {
            best = members;
        }
    }
    if best.len() < least { Vec::new() } else { best }
}

fn without_rate(spec: &mut Spec) {
    spec.load.rate = Rate::Closed { in_flight: 1 };
}

fn open_rate(spec: &Spec) -> Option<f64> {
    match spec.load.rate {
        Rate::Constant { per_second } | Rate::Poisson { per_second } => Some(per_second),
        _ => None,
    }
}

/// Where a run lies on the horizontal axis.
type Place = fn(&Run) -> f64;

/// All repeats as dots, and a line through the medians of the points.
fn curve(points: &[&Point], (x, y): (Place, Reading), (name, colour): (&str, usize)) -> [Value; 2] {
    let place = |run: &Run| (x(run), y(&run.summary));
    let (xs, ys): (Vec<f64>, Vec<f64>) = points.iter().flat_map(|point| &point.runs).map(place).unzip();
    let dots = json!({ "type": "scatter", "mode": "markers", "name": name, "showlegend": false, "x": xs, "y": ys,
        "marker": { "color": COLOURS[colour], "size": 6, "opacity": 0.6 } });
    let middle = |point: &&Point| {
        let (xs, ys): (Vec<f64>, Vec<f64>) = point.runs.iter().map(place).unzip();
        (median(&xs), median(&ys))
    };
    let (xs, ys): (Vec<f64>, Vec<f64>) = points.iter().map(middle).unzip();
    let line = json!({ "type": "scatter", "mode": "lines+markers", "name": name, "x": xs, "y": ys,
        "line": { "color": COLOURS[colour] }, "marker": { "size": 8, "symbol": colour } });
    [dots, line]
}

fn throughput_latency(points: &[Point]) -> Figure {
    const ID: &str = "throughput-latency";
    const TITLE: &str = "Throughput and latency";
    let open: Vec<Point> = points.iter().filter(|point| open_rate(point.spec()).is_some()).cloned().collect();
    let chosen = family(&open, without_rate, |spec| open_rate(spec).unwrap_or_default(), 2);
    if chosen.is_empty() {
        return Figure::missing(ID, TITLE, "needs the same experiment at two open-loop rates or more");
    }
    let mut figure = Figure::new(ID, TITLE, ("certified payments/s", "latency from intended send, ms"));
    let percentiles: [(&str, Reading); 3] = [
        ("p50", |summary| summary.total.all.latency_ms.p50),
        ("p99", |summary| summary.total.all.latency_ms.p99),
        ("p99.9", |summary| summary.total.all.latency_ms.p999),
    ];
    let rate: Place = |run| certified(&run.summary);
    for (index, (name, of)) in percentiles.into_iter().enumerate() {
        figure.traces.extend(curve(&chosen, (rate, of), (name, index)));
    }
    figure.caption = format!(
        "Each point is one offered rate. Latency counts from the moment a payment was meant to be sent, so a server that \
         stalls shows in every payment that had to wait. {}",
        repeats(&chosen, points.len())
    );
    figure.columns = vec!["asked_per_second", "certified_per_second", "p50_ms", "p99_ms", "p999_ms"];
    figure.rows = rows(&chosen, |run| {
        let all = &run.summary.total.all;
        let latency = all.latency_ms;
        vec![open_rate(run.spec()).unwrap_or_default(), all.per_second, latency.p50, latency.p99, latency.p999]
    });
    figure
}

fn rows(points: &[&Point], of: impl Fn(&Run) -> Vec<f64>) -> Vec<Vec<String>> {
    let runs = points.iter().flat_map(|point| &point.runs);
    runs.map(|run| of(run).into_iter().map(|value| value.to_string()).collect()).collect()
}

fn certified(summary: &Summary) -> f64 {
    summary.total.all.per_second
}

fn committees(points: &[Point]) -> Figure {
    const ID: &str = "committees";
    const TITLE: &str = "Throughput and the number of committees";
    let vary = |spec: &mut Spec| {
        spec.committees = 0;
        // the same accounts and payments in flight per committee count as the same experiment
        (spec.load.accounts, spec.load.max_in_flight) = (0, 0);
        without_rate(spec);
    };
    // an open loop below the limit certifies what it is asked for, whatever the number of committees
    let closed = |point: &&Point| matches!(point.spec().load.rate, Rate::Closed { .. });
    let closed: Vec<Point> = points.iter().filter(closed).cloned().collect();
    let chosen = family(&closed, vary, |spec| spec.committees as f64, 2);
    let sizes: std::collections::BTreeSet<usize> = chosen.iter().map(|point| point.spec().committees).collect();
    if sizes.len() < 2 {
        return Figure::missing(
            ID,
            TITLE,
            "needs closed-loop runs of the same experiment with two numbers of committees or more",
        );
    }
    let mut figure = Figure::new(ID, TITLE, ("committees", "certified payments/s"));
    let size: Place = |run| run.spec().committees as f64;
    figure.traces.extend(curve(&chosen, (size, certified), ("measured", 0)));
    let first = chosen[0];
    let per_committee = median(&first.figures(certified)) / first.spec().committees as f64;
    let ends = [*sizes.first().unwrap_or(&1), *sizes.last().unwrap_or(&1)].map(|size| size as f64);
    figure.traces.push(json!({ "type": "scatter", "mode": "lines", "name": "ideal", "x": ends,
        "y": ends.map(|size| size * per_committee), "line": { "color": COLOURS[7], "dash": "dot" } }));
    let measured: Vec<UslPoint> = chosen
        .iter()
        .map(|point| UslPoint { size: point.spec().committees as f64, throughputs: point.figures(certified) })
        .collect();
    let mut fitted = "Fewer than three sizes: no law is fitted.".to_owned();
    if let Some(fit) = UslFit::of(&measured, &mut Bootstrap::new(1).resamples(2_000)) {
        let step = (ends[1] - ends[0]) / 50.0;
        let xs: Vec<f64> = (0..=50).map(|i| ends[0] + f64::from(i) * step).collect();
        let ys: Vec<f64> = xs.iter().map(|x| fit.usl.at(*x)).collect();
        figure.traces.push(json!({ "type": "scatter", "mode": "lines", "name": "Universal Scalability Law", "x": xs,
            "y": ys, "line": { "color": COLOURS[1], "dash": "dash" } }));
        fitted = format!(
            "Universal Scalability Law: contention σ {:.4} (95 %: {:.4} to {:.4}), coherency κ {:.5} ({:.5} to {:.5}).",
            fit.usl.sigma, fit.sigma.low, fit.sigma.high, fit.usl.kappa, fit.kappa.low, fit.kappa.high
        );
    }
    figure.caption = format!(
        "All committees share one machine's processors unless the containers of the run were given shares of their own: \
         on one machine a flat line is what full processors look like. {} {fitted}",
        repeats(&chosen, points.len())
    );
    figure.columns = vec!["committees", "certified_per_second", "cpu_us_per_payment"];
    figure.rows = rows(&chosen, |run| {
        vec![run.spec().committees as f64, certified(&run.summary), run.summary.cpu_us_per_payment]
    });
    figure
}

fn committee_size(points: &[Point]) -> Figure {
    const ID: &str = "committee-size";
    const TITLE: &str = "Throughput and the size of a committee";
    let chosen = family(points, |spec| spec.nodes_per_committee = 0, |spec| spec.nodes_per_committee as f64, 2);
    if chosen.is_empty() {
        return Figure::missing(ID, TITLE, "needs the same experiment with two committee sizes or more");
    }
    let mut figure = Figure::new(ID, TITLE, ("nodes in a committee", "certified payments/s"));
    let size: Place = |run| run.spec().nodes_per_committee as f64;
    figure.traces.extend(curve(&chosen, (size, certified), ("measured", 0)));
    figure.caption =
        format!("Every node of a committee checks and stores every payment of it. {}", repeats(&chosen, points.len()));
    figure.columns = vec!["nodes_per_committee", "certified_per_second", "p99_ms", "cpu_us_per_payment"];
    figure.rows = rows(&chosen, |run| {
        let all = &run.summary.total.all;
        vec![size(run), all.per_second, all.latency_ms.p99, run.summary.cpu_us_per_payment]
    });
    figure
}

fn cross_share(spec: &Spec) -> f64 {
    match spec.load.cross {
        Cross::Ratio(ratio) => ratio,
        Cross::Natural => 1.0 - 1.0 / spec.committees as f64,
    }
}

fn cross_ratio(points: &[Point]) -> Figure {
    const ID: &str = "cross-ratio";
    const TITLE: &str = "The share of payments between committees";
    let chosen = family(points, |spec| spec.load.cross = Cross::Natural, cross_share, 2);
    if chosen.is_empty() {
        return Figure::missing(ID, TITLE, "needs the same experiment with two cross-committee shares or more");
    }
    let mut figure = Figure::new(ID, TITLE, ("share of cross-committee payments", "CPU µs per certified payment"));
    let share: Place = |run| cross_share(run.spec());
    let cpu: Reading = |summary| summary.cpu_us_per_payment;
    figure.traces.extend(curve(&chosen, (share, cpu), ("CPU per payment", 0)));
    figure.caption = format!(
        "Processor time of all processes per payment; a cross-committee payment counts once, when its credit is \
         certified, and is executed by two committees. {}",
        repeats(&chosen, points.len())
    );
    figure.columns = vec!["cross_share", "cpu_us_per_payment", "certified_per_second", "p99_ms"];
    figure.rows = rows(&chosen, |run| {
        let all = &run.summary.total.all;
        vec![cross_share(run.spec()), run.summary.cpu_us_per_payment, all.per_second, all.latency_ms.p99]
    });
    figure
}
