//! Ladders of rates: how many payments committees with hardware of their own take within a bound of the latency.

use std::fmt::Write as _;

use serde_json::json;
use shardpay_run::{Cross, Rate, Reached, Spec, Step, StepObjective, ladder, reached};

use super::families::{Family, Input, Variation};
use super::figure::{Figure, GREY, Place, axis, colour, curve, log_axis, repeats};
use super::scaling::fit;
use crate::runs::{Point, Run, thousands};
use crate::stats::{UslPoint, median};

const ID: &str = "ladder";
const TITLE: &str = "Throughput within a bound of the latency, and the number of committees";
const STEPS_ID: &str = "ladder-steps";
const STEPS_TITLE: &str = "Latency on the steps of a ladder";

/// A run and what was seen on each of its steps.
struct Climbed<'a> {
    run: &'a Run,
    steps: Vec<Step>,
    reached: Option<Reached>,
}

/// Runs with one share of payments between committees.
struct Series<'a> {
    cross: Cross,
    /// By number of committees, ascending; only runs that kept the first step.
    places: Vec<(usize, Vec<&'a Climbed<'a>>)>,
}

pub(super) fn figures(input: &Input, objective: StepObjective) -> anyhow::Result<Vec<Figure>> {
    let sizes = Variation {
        fits: |spec| matches!(spec.load.rate, Rate::Steps { .. }) && spec.faults.is_empty(),
        blank: |spec| {
            (spec.committees, spec.load.cross) = (0, Cross::Natural);
            // accounts, payments in flight and rates go with the number of committees
            (spec.load.accounts, spec.load.max_in_flight) = (0, 0);
            spec.load.rate = Rate::Steps { steps_per_second: Vec::new() };
        },
        key: |spec| spec.committees as f64,
    };
    let families = sizes.families(input);
    if families.is_empty() {
        let why = "needs runs that climb a ladder of rates (kind = \"steps\") with two numbers of committees or more";
        return Ok(vec![Figure::missing(ID, TITLE, why), Figure::missing(STEPS_ID, STEPS_TITLE, why)]);
    }
    let mut figures = Vec::new();
    for family in &families {
        let climbed = climb(family, objective)?;
        figures.push(by_committees(family, &climbed, objective));
        figures.push(by_step(family, &climbed));
    }
    Ok(figures)
}

fn climb<'a>(family: &Family<'a>, objective: StepObjective) -> anyhow::Result<Vec<Climbed<'a>>> {
    let runs = family.points.iter().flat_map(|point| &point.runs);
    let climbed = |run: &'a Run| {
        let steps = ladder(run.spec(), &run.latencies()?).unwrap_or_default();
        Ok(Climbed { run, reached: reached(&steps, objective), steps })
    };
    runs.map(climbed).collect()
}

/// One series per share of payments between committees. One committee has nobody else to pay to, and the natural share of
/// two is a half: such runs belong to more than one.
fn series<'a>(climbed: &'a [Climbed<'a>]) -> Vec<Series<'a>> {
    let mut crosses: Vec<Cross> = Vec::new();
    let mut sizes: Vec<usize> = Vec::new();
    for spec in climbed.iter().map(|climbed| climbed.run.spec()) {
        // alone, one committee makes no series
        if spec.committees > 1 && !crosses.contains(&spec.load.cross) {
            crosses.push(spec.load.cross);
        }
        sizes.push(spec.committees);
    }
    sizes.sort_unstable();
    sizes.dedup();
    crosses.sort_by(|a, b| a.share(usize::MAX).total_cmp(&b.share(usize::MAX)));
    let places = |cross: Cross| {
        let belongs =
            |spec: &Spec| spec.committees == 1 || (spec.cross_ratio() - cross.share(spec.committees)).abs() < 1e-9;
        let at = |size: &usize| {
            let fits = |climbed: &&Climbed<'_>| {
                climbed.run.spec().committees == *size && belongs(climbed.run.spec()) && climbed.reached.is_some()
            };
            (*size, climbed.iter().filter(fits).collect::<Vec<_>>())
        };
        sizes.iter().map(at).filter(|(_, runs)| !runs.is_empty()).collect()
    };
    crosses.into_iter().map(|cross| Series { cross, places: places(cross) }).collect()
}

fn name_of(cross: Cross) -> String {
    match cross {
        Cross::Natural => "natural share between committees".to_owned(),
        Cross::Ratio(ratio) => format!("{ratio} between committees"),
    }
}

fn by_committees(family: &Family<'_>, climbed: &[Climbed<'_>], objective: StepObjective) -> Figure {
    let axes = (axis("committees"), axis("certified payments/s at the bound"));
    let mut figure = Figure::new(&format!("{ID}{}", family.suffix), &family.title(TITLE), axes).about(&family.points);
    figure.void = family.void.iter().map(|run| (*run).clone()).collect();
    figure.shows_latency = true;
    figure.beside((axis("committees"), axis("of k committees: T(k) ÷ k T(1)")));
    figure.columns = vec!["run", "committees", "cross", "payments_per_second", "bounded", "of_k_times_one"];
    let mut ends: Option<(f64, f64)> = None;
    let mut laws = String::new();
    for (index, series) in series(climbed).iter().enumerate() {
        let name = name_of(series.cross);
        let one =
            |seed: u64| series.places.first().filter(|(size, _)| *size == 1).and_then(|(_, runs)| of_seed(runs, seed));
        let (mut left, mut right, mut measured) = (Vec::new(), Vec::new(), Vec::new());
        for (size, runs) in &series.places {
            let x = *size as f64;
            let rates: Vec<(f64, f64)> = runs.iter().map(|run| (x, rate(run))).collect();
            let efficiency = |run: &&Climbed<'_>| Some(rate(run) / (x * one(run.run.spec().load.seed)?));
            let shares: Vec<(f64, f64)> = runs.iter().filter_map(|run| Some((x, efficiency(run)?))).collect();
            let row = |run: &&Climbed<'_>| {
                let bounded = run.reached.is_some_and(|reached| reached.bounded);
                let share = efficiency(run).map_or_else(String::new, |share| share.to_string());
                vec![
                    run.run.dir.display().to_string(),
                    size.to_string(),
                    name.clone(),
                    rate(run).to_string(),
                    bounded.to_string(),
                    share,
                ]
            };
            figure.rows.extend(runs.iter().map(row));
            if *size == 1 {
                ends = Some((median(&rates.iter().map(|rate| rate.1).collect::<Vec<_>>()), largest(climbed)));
            }
            measured.push(UslPoint { size: x, throughputs: rates.iter().map(|rate| rate.1).collect() });
            left.push(Place { x, repeats: rates });
            if !shares.is_empty() {
                right.push(Place { x, repeats: shares });
            }
        }
        if let Some((mut trace, words)) = fit(&measured, &format!("law, {name}"), colour(index)) {
            trace["showlegend"] = json!(false);
            trace["opacity"] = json!(0.6);
            figure.traces.push(trace);
            let _ = write!(laws, " {name}: {words}");
        }
        figure.traces.extend(curve(&left, &name, index, 1));
        figure.traces.extend(curve(&right, &name, index, 2).map(|mut trace| {
            trace["showlegend"] = json!(false);
            trace
        }));
    }
    if let Some((one, largest)) = ends {
        let ideal = |xs: [f64; 2], ys: [f64; 2], panel: &str| {
            json!({ "type": "scatter", "mode": "lines", "name": "k × T(1)", "showlegend": panel.is_empty(), "x": xs, "y": ys,
                "xaxis": format!("x{panel}"), "yaxis": format!("y{panel}"), "line": { "color": GREY, "dash": "dot", "width": 1.5 } })
        };
        figure.traces.push(ideal([1.0, largest], [one, largest * one], ""));
        figure.traces.push(ideal([1.0, largest], [1.0, 1.0], "2"));
    }
    figure.caption = caption(family, climbed, objective) + &laws;
    figure
}

fn of_seed(runs: &[&Climbed<'_>], seed: u64) -> Option<f64> {
    runs.iter().find(|run| run.run.spec().load.seed == seed).map(|run| rate(run))
}

fn rate(climbed: &Climbed<'_>) -> f64 {
    climbed.reached.map_or(0.0, |reached| reached.per_second)
}

fn largest(climbed: &[Climbed<'_>]) -> f64 {
    climbed.iter().map(|climbed| climbed.run.spec().committees).max().unwrap_or(1) as f64
}

fn caption(family: &Family<'_>, climbed: &[Climbed<'_>], objective: StepObjective) -> String {
    let StepObjective { p99_ms_max, certified_min } = objective;
    let failed = climbed.iter().filter(|climbed| climbed.reached.is_none()).count();
    let open = climbed.iter().filter(|climbed| climbed.reached.is_some_and(|reached| !reached.bounded)).count();
    let named = |count: usize, what: &str| match count {
        0 => String::new(),
        1 => format!(" One run {what}."),
        count => format!(" {count} runs {what}."),
    };
    format!(
        "Each run climbs a ladder of rates. Left: the rate of certified payments at which the 99th percentile reaches {} ms, \
         between the last step that kept it and certified {:.0} % of what was asked and the first that did not. Right: \
         that over k times what one committee took with the same seed. The first 30 % of each step do not count.{}{} {}",
        thousands(p99_ms_max),
        certified_min * 100.0,
        named(failed, "did not keep even the first step (not drawn)"),
        named(open, "kept the last step, too: at least so much"),
        repeats(&family.points)
    )
}

/// All steps of all sizes: where the latency leaves the ground.
fn by_step(family: &Family<'_>, climbed: &[Climbed<'_>]) -> Figure {
    let axes = (axis("certified payments/s per committee"), log_axis("p99 latency from intended send (ms)"));
    let mut figure = Figure::new(&format!("{STEPS_ID}{}", family.suffix), &family.title(STEPS_TITLE), axes);
    figure = figure.about(&family.points);
    figure.shows_latency = true;
    figure.columns = vec!["run", "committees", "cross", "asked_per_second", "certified_per_second", "p99_ms"];
    for (index, point) in family.points.iter().enumerate() {
        let committees = point.spec().committees as f64;
        let own: Vec<&Climbed<'_>> = climbed.iter().filter(|climbed| is_of(point, climbed)).collect();
        let count = own.iter().map(|climbed| climbed.steps.len()).min().unwrap_or(0);
        let place = |step: usize| {
            let repeats =
                own.iter().map(|climbed| (climbed.steps[step].certified / committees, climbed.steps[step].p99_ms));
            let repeats: Vec<(f64, f64)> = repeats.collect();
            Place { x: median(&repeats.iter().map(|repeat| repeat.0).collect::<Vec<_>>()), repeats }
        };
        let cross = name_of(point.spec().load.cross);
        let name = if point.spec().committees == 1 { "1".to_owned() } else { format!("{committees}, {cross}") };
        figure.traces.extend(curve(&(0..count).map(place).collect::<Vec<_>>(), &name, index, 1));
        for climbed in own {
            let row = |step: &Step| {
                let numbers = [step.asked, step.certified, step.p99_ms].map(|number| number.to_string());
                let names = [climbed.run.dir.display().to_string(), committees.to_string(), cross.clone()];
                names.into_iter().chain(numbers).collect()
            };
            figure.rows.extend(climbed.steps.iter().map(row));
        }
    }
    figure.caption = format!(
        "Number of committees, and share of payments between them; each mark is a step of the ladder. A curve that bends to \
         the left was asked for more than it certified. {}",
        repeats(&family.points)
    );
    figure
}

fn is_of(point: &Point, climbed: &Climbed<'_>) -> bool {
    point.runs.iter().any(|run| run.dir == climbed.run.dir)
}
