//! Throughput and what a payment costs, by the number of committees, their size, and the cross-committee share.

use serde_json::{Value, json};
use shardpay_run::{Cross, Spec};

use super::families::{Family, Input, Variation, is_closed, open_rate, without_rate};
use super::figure::{COLOURS, Figure, GREY, Place, axis, curve, repeats};
use super::throughput::{Reading, certified};
use crate::runs::{Point, Run};
use crate::stats::{Bootstrap, UslFit, UslPoint, median};

pub(super) fn figures(input: &Input) -> Vec<Figure> {
    [committees(input), committee_size(input), cross_ratio(input)].concat()
}

/// A quantity that is varied, for the axis and the table.
struct Axis {
    title: &'static str,
    column: &'static str,
    of: fn(&Spec) -> f64,
}

/// One curve over a family.
fn through(
    family: &Family<'_>,
    (at, of): (fn(&Spec) -> f64, Reading),
    (name, index): (&str, usize),
    panel: usize,
) -> [Value; 2] {
    let place = |point: &&Point| {
        let x = at(point.spec());
        Place { x, repeats: point.runs.iter().map(|run| (x, of(&run.summary))).collect() }
    };
    curve(&family.points.iter().map(place).collect::<Vec<_>>(), name, index, panel)
}

/// Throughput to the left; to the right latency of an open loop, whose throughput is what was asked for, else CPU time.
fn panels(family: &Family<'_>, (id, title): (&str, &str), x: &Axis) -> Figure {
    let open = family.points.iter().all(|point| open_rate(point.spec()).is_some());
    let axes = (axis(x.title), axis("certified payments/s"));
    let mut figure = Figure::new(&format!("{id}{}", family.suffix), &family.title(title), axes).about(&family.points);
    figure.void = family.void.iter().map(|run| (*run).clone()).collect();
    figure.shows_latency = open;
    let right = if open { "latency from intended send (ms)" } else { "CPU time per payment (µs)" };
    figure.beside((axis(x.title), axis(right)));
    figure.traces.extend(through(family, (x.of, certified), ("certified/s", 0), 1));
    if open {
        figure.traces.extend(through(family, (x.of, |s| s.total.all.latency_ms.p50), ("p50", 1), 2));
        figure.traces.extend(through(family, (x.of, |s| s.total.all.latency_ms.p99), ("p99", 2), 2));
    } else {
        figure.traces.extend(through(family, (x.of, |s| s.cpu_us_per_payment), ("CPU time", 1), 2));
    }
    let mut values: Vec<f64> = family.points.iter().map(|point| (x.of)(point.spec())).collect();
    values.dedup();
    if values.iter().all(|value| value.fract() == 0.0) {
        for name in ["xaxis", "xaxis2"] {
            figure.layout[name]["tickvals"] = json!(values);
        }
    }
    figure.columns = vec!["run", x.column, "certified_per_second", "p50_ms", "p99_ms", "cpu_us_per_payment"];
    figure.rows = family.points.iter().flat_map(|point| &point.runs).map(|run| row(run, x)).collect();
    figure
}

fn row(run: &Run, x: &Axis) -> Vec<String> {
    let all = &run.summary.total.all;
    let numbers =
        [(x.of)(run.spec()), all.per_second, all.latency_ms.p50, all.latency_ms.p99, run.summary.cpu_us_per_payment];
    let mut row = vec![run.dir.display().to_string()];
    row.extend(numbers.map(|value| value.to_string()));
    row
}

fn committees(input: &Input) -> Vec<Figure> {
    const ID: &str = "committees";
    const TITLE: &str = "Throughput and the number of committees";
    let sizes = Variation {
        // an open loop below the limit certifies what it is asked for, whatever the number of committees
        fits: |spec| is_closed(spec) && spec.faults.is_empty(),
        blank: |spec| {
            spec.committees = 0;
            // the same accounts and payments in flight per committee count as the same experiment
            (spec.load.accounts, spec.load.max_in_flight) = (0, 0);
            without_rate(spec);
        },
        key: |spec| spec.committees as f64,
    };
    let families = sizes.families(input);
    if families.is_empty() {
        let why = "needs closed-loop runs of the same experiment with two numbers of committees or more";
        return vec![Figure::missing(ID, TITLE, why)];
    }
    let x = Axis { title: "committees", column: "committees", of: |spec| spec.committees as f64 };
    families.iter().map(|family| with_laws(family, panels(family, (ID, TITLE), &x))).collect()
}

/// Adds the ideal line and the fitted law.
fn with_laws(family: &Family<'_>, mut figure: Figure) -> Figure {
    let size = |point: &Point| point.spec().committees as f64;
    let first = family.points[0];
    let per_committee = median(&first.figures(certified)) / size(first);
    let ends = [size(first), family.points.last().map_or(0.0, |point| size(point))];
    figure.traces.push(json!({ "type": "scatter", "mode": "lines", "name": "ideal (linear)", "x": ends,
        "y": ends.map(|size| size * per_committee), "line": { "color": GREY, "dash": "dot", "width": 1.5 } }));
    let measured: Vec<UslPoint> = family
        .points
        .iter()
        .map(|point| UslPoint { size: size(point), throughputs: point.figures(certified) })
        .collect();
    let mut fitted = "Fewer than three sizes: no law is fitted.".to_owned();
    if let Some((trace, words)) = fit(&measured, "Universal Scalability Law", COLOURS[2]) {
        figure.traces.push(trace);
        fitted = words;
    }
    figure.caption = format!(
        "Left: payments certified in a closed loop. Right: processor time of all processes per payment. All committees \
         share one machine's processors unless the containers of the run were given shares of their own: on one machine \
         a flat line is what full processors look like. {} {fitted}",
        repeats(&family.points)
    );
    figure
}

/// The fitted law as a curve, and its coefficients in words; nothing for fewer than three sizes.
pub(super) fn fit(measured: &[UslPoint], name: &str, colour: &str) -> Option<(Value, String)> {
    let fit = UslFit::of(measured, &mut Bootstrap::new(1).resamples(2_000))?;
    let (first, last) = (measured.first()?.size, measured.last()?.size);
    let xs: Vec<f64> = (0..=50).map(|i| first + f64::from(i) * (last - first) / 50.0).collect();
    let ys: Vec<f64> = xs.iter().map(|x| fit.usl.at(*x)).collect();
    let trace = json!({ "type": "scatter", "mode": "lines", "name": name, "x": xs, "y": ys,
        "line": { "color": colour, "dash": "dashdot", "width": 2 } });
    Some((trace, law(&fit, measured)))
}

/// The coefficients in words.
fn law(fit: &UslFit, measured: &[UslPoint]) -> String {
    let usl = &fit.usl;
    let peak = usl.peak().map_or_else(
        || "no peak".to_owned(),
        |peak| format!("throughput is largest at {peak:.1} committees, by the law"),
    );
    let single = measured.iter().all(|point| point.throughputs.len() < 2);
    let intervals = if single {
        "one run per size, so the intervals say nothing"
    } else {
        "95 % intervals by resampling the repeats of each size"
    };
    format!(
        "Universal Scalability Law: λ {:.0} payments/s, contention σ {:.4} ({:.4} to {:.4}), coherency κ {:.5} ({:.5} to \
         {:.5}); {intervals}; {peak}.",
        usl.lambda, usl.sigma, fit.sigma.low, fit.sigma.high, usl.kappa, fit.kappa.low, fit.kappa.high
    )
}

fn committee_size(input: &Input) -> Vec<Figure> {
    const ID: &str = "committee-size";
    const TITLE: &str = "Throughput and the size of a committee";
    let sizes = Variation {
        fits: |spec| spec.faults.is_empty(),
        blank: |spec| spec.nodes_per_committee = 0,
        key: |spec| spec.nodes_per_committee as f64,
    };
    let families = sizes.families(input);
    if families.is_empty() {
        return vec![Figure::missing(ID, TITLE, "needs the same experiment with two committee sizes or more")];
    }
    let x = Axis {
        title: "nodes in a committee",
        column: "nodes_per_committee",
        of: |spec| spec.nodes_per_committee as f64,
    };
    let figure = |family: &Family<'_>| {
        let mut figure = panels(family, (ID, TITLE), &x);
        figure.caption =
            format!("Every node of a committee checks and stores every payment of it. {}", repeats(&family.points));
        figure
    };
    families.iter().map(figure).collect()
}

fn cross_ratio(input: &Input) -> Vec<Figure> {
    const ID: &str = "cross-ratio";
    const TITLE: &str = "Throughput and the share of payments between committees";
    let shares = Variation {
        fits: |spec| spec.faults.is_empty(),
        blank: |spec| spec.load.cross = Cross::Natural,
        key: Spec::cross_ratio,
    };
    let families = shares.families(input);
    if families.is_empty() {
        return vec![Figure::missing(ID, TITLE, "needs the same experiment with two cross-committee shares or more")];
    }
    let x = Axis { title: "share of cross-committee payments", column: "cross_share", of: Spec::cross_ratio };
    let figure = |family: &Family<'_>| {
        let mut figure = panels(family, (ID, TITLE), &x);
        figure.caption = format!(
            "A cross-committee payment counts once, when its credit is certified; two committees execute it, and its \
             latency counts to the credit. {}",
            repeats(&family.points)
        );
        figure
    };
    families.iter().map(figure).collect()
}
