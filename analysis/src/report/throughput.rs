//! Throughput and latency: one point per offered rate.

use shardpay_run::Summary;

use super::families::{Family, Input, Variation, open_rate, without_rate};
use super::figure::{Figure, Place, axis, curve, log_axis, repeats};
use crate::runs::Run;

const ID: &str = "throughput-latency";
const TITLE: &str = "Throughput and latency";
/// From this ratio of the greatest to the least latency on, the axis is one of powers.
const LOG_FROM: f64 = 15.0;

/// A figure of a run.
pub(super) type Reading = fn(&Summary) -> f64;

pub(super) fn certified(summary: &Summary) -> f64 {
    summary.total.all.per_second
}

/// Percentiles drawn against throughput.
pub(super) const PERCENTILES: [(&str, Reading); 3] = [
    ("p50", |summary| summary.total.all.latency_ms.p50),
    ("p99", |summary| summary.total.all.latency_ms.p99),
    ("p99.9", |summary| summary.total.all.latency_ms.p999),
];

pub(super) fn figures(input: &Input) -> Vec<Figure> {
    let rates = Variation {
        fits: |spec| open_rate(spec).is_some() && spec.faults.is_empty(),
        blank: without_rate,
        key: |spec| open_rate(spec).unwrap_or_default(),
    };
    let families = rates.families(input);
    if families.is_empty() {
        let why = "needs the same experiment at two open-loop rates or more";
        return vec![Figure::missing(ID, TITLE, why)];
    }
    families.iter().map(figure).collect()
}

fn figure(family: &Family<'_>) -> Figure {
    let y = "latency from intended send (ms)";
    let latencies: Vec<f64> = family
        .points
        .iter()
        .flat_map(|point| &point.runs)
        .flat_map(|run| PERCENTILES.map(|(_, of)| of(&run.summary)))
        .collect();
    let (least, most) = latencies.iter().fold((f64::INFINITY, 0.0_f64), |(a, b), ms| (a.min(*ms), b.max(*ms)));
    let y = if least > 0.0 && most > LOG_FROM * least { log_axis(y) } else { axis(y) };
    let title = family.title(TITLE);
    let mut figure = Figure::new(&format!("{ID}{}", family.suffix), &title, (axis("certified payments/s"), y));
    figure = figure.about(&family.points);
    figure.shows_latency = true;
    figure.void = family.void.iter().map(|run| (*run).clone()).collect();
    for (index, (name, of)) in PERCENTILES.into_iter().enumerate() {
        let place = |point: &&crate::runs::Point| {
            let repeats: Vec<(f64, f64)> =
                point.runs.iter().map(|run| (certified(&run.summary), of(&run.summary))).collect();
            Place { x: crate::stats::median(&point.figures(certified)), repeats }
        };
        let places: Vec<Place> = family.points.iter().map(place).collect();
        figure.traces.extend(curve(&places, name, index, 1));
    }
    figure.caption = format!(
        "Each point is one offered rate. Latency counts from the moment a payment was meant to be sent, so a server that \
         stalls shows in every payment that had to wait. {}",
        repeats(&family.points)
    );
    figure.columns = vec![
        "run",
        "asked_per_second",
        "certified_per_second",
        "p50_ms",
        "p99_ms",
        "p999_ms",
        "refused",
        "skipped",
        "unresolved",
    ];
    figure.rows = family.points.iter().flat_map(|point| &point.runs).map(row).collect();
    figure
}

fn row(run: &Run) -> Vec<String> {
    let summary = &run.summary;
    let latency = summary.total.all.latency_ms;
    let mut row = vec![run.dir.display().to_string()];
    row.extend(
        [open_rate(run.spec()).unwrap_or_default(), certified(summary), latency.p50, latency.p99, latency.p999]
            .map(|value| value.to_string()),
    );
    row.extend([run.refused(), summary.skipped, summary.unresolved].map(|count| count.to_string()));
    row
}
