//! What a fault costs: throughput around the moments in which nodes failed, and how long it stays low.

use serde_json::json;

use super::families::Input;
use super::figure::{Figure, GREY, axis, colour};
use super::latency::{Second, ends, seconds};
use crate::runs::Run;
use crate::stats::{mean, median};

const ID: &str = "recovery";
const TITLE: &str = "Recovery after faults";
/// Seconds drawn before a fault.
const BEFORE_S: f64 = 3.0;
/// Seconds drawn after a fault at most.
const AFTER_S: f64 = 20.0;
/// The share of the throughput before the faults that counts as recovered …
const RECOVERED: f64 = 0.9;
/// … when it holds for so many seconds on end.
const STEADY_S: usize = 3;

/// One fault of a run.
struct Event {
    run: String,
    at: f64,
    /// When it ends, after it began; `None` when it does not.
    down_s: Option<f64>,
    /// Seconds after the fault, and throughput as a share of that before.
    series: Vec<(f64, f64)>,
    /// Seconds until throughput is back; `None` when it is not before the next fault or the end.
    recovered_s: Option<f64>,
}

pub(super) fn figure(input: &Input) -> anyhow::Result<Figure> {
    let faulty: Vec<&Run> =
        input.points.iter().flat_map(|point| &point.runs).filter(|run| !run.spec().faults.is_empty()).collect();
    let mut events = Vec::new();
    for run in &faulty {
        events.extend(of_run(run, &seconds(run)?));
    }
    if events.is_empty() {
        return Ok(Figure::missing(ID, TITLE, "needs runs with faults that begin after the warm-up"));
    }
    let axes = (axis("seconds after the fault began"), axis("certified payments/s (% of before)"));
    let mut figure = Figure::new(ID, TITLE, axes);
    figure.layout["xaxis"].as_object_mut().map(|axis| axis.remove("rangemode"));
    figure.runs = faulty.into_iter().cloned().collect();
    draw(&mut figure, &events);
    let times: Vec<f64> = events.iter().filter_map(|event| event.recovered_s).collect();
    let never = events.len() - times.len();
    let told = if times.is_empty() {
        "Throughput never came back before the next fault or the end.".to_owned()
    } else {
        let (least, most) = times.iter().fold((f64::INFINITY, 0.0_f64), |(a, b), s| (a.min(*s), b.max(*s)));
        format!(
            "Back after {:.0} s (median; {least:.0} to {most:.0} s); not back before the next fault or the end: {never}.",
            median(&times)
        )
    };
    figure.caption = format!(
        "Throughput second by second around {} faults, against the mean between warm-up and first fault; thin lines are \
         the faults, the thick one their median, the dotted upright line where the nodes were started again. Back means \
         {:.0} % of it for {STEADY_S} s on end. {told}",
        events.len(),
        RECOVERED * 100.0
    );
    figure.columns = vec!["run", "fault_at_s", "seconds_after", "share_of_before", "recovered_after_s"];
    for event in &events {
        let recovered = event.recovered_s.map(|s| s.to_string()).unwrap_or_default();
        figure.rows.extend(event.series.iter().map(|(after, share)| {
            vec![event.run.clone(), event.at.to_string(), after.to_string(), share.to_string(), recovered.clone()]
        }));
    }
    Ok(figure)
}

fn draw(figure: &mut Figure, events: &[Event]) {
    for (index, event) in events.iter().enumerate() {
        let (xs, ys): (Vec<f64>, Vec<f64>) = event.series.iter().map(|(x, share)| (*x, share * 100.0)).unzip();
        figure.traces.push(json!({ "type": "scatter", "mode": "lines", "name": "each fault", "legendgroup": "each",
            "showlegend": index == 0, "x": xs, "y": ys, "line": { "color": colour(5), "width": 1 }, "opacity": 0.8 }));
    }
    // faults begin at any part of a second; the median is over those in the same second after
    let mut by_second = std::collections::BTreeMap::<i64, Vec<f64>>::new();
    for (after, share) in events.iter().flat_map(|event| &event.series) {
        by_second.entry(after.floor() as i64).or_default().push(share * 100.0);
    }
    let (xs, ys): (Vec<f64>, Vec<f64>) =
        by_second.iter().map(|(second, shares)| (*second as f64 + 0.5, median(shares))).unzip();
    figure.traces.push(json!({ "type": "scatter", "mode": "lines+markers", "name": "median", "x": xs, "y": ys,
        "line": { "color": colour(0), "width": 2.5 }, "marker": { "size": 5 } }));
    let down: Vec<f64> = events.iter().filter_map(|event| event.down_s).collect();
    let upright = |at: f64, dash: &str| {
        json!({ "type": "line", "xref": "x", "yref": "paper", "x0": at, "x1": at, "y0": 0,
        "y1": 1, "line": { "color": GREY, "width": 1.2, "dash": dash } })
    };
    let mut shapes = vec![upright(0.0, "solid")];
    shapes.push(json!({ "type": "line", "xref": "paper", "yref": "y", "x0": 0, "x1": 1, "y0": 100, "y1": 100,
        "line": { "color": GREY, "width": 1, "dash": "dash" } }));
    shapes.extend((!down.is_empty()).then(|| upright(median(&down), "dot")));
    figure.layout["shapes"] = json!(shapes);
}

fn of_run(run: &Run, seconds: &[Second]) -> Vec<Event> {
    let timeline = run.spec().timeline();
    let begins: Vec<f64> = timeline.iter().filter(|fault| !ends(fault)).map(|fault| fault.at.as_secs_f64()).collect();
    let Some(first) = begins.first().copied() else { return Vec::new() };
    let steady = seconds.iter().filter(|second| second.at >= run.summary.warmup.cut_s && second.at < first);
    let before = mean(&steady.map(|second| second.certified).collect::<Vec<f64>>());
    if before.is_nan() || before <= 0.0 {
        return Vec::new();
    }
    let event = |(index, at): (usize, &f64)| {
        let next = begins.get(index + 1).copied().unwrap_or(run.spec().duration_s).min(at + AFTER_S);
        let drawn = seconds.iter().filter(|second| second.at >= at - BEFORE_S && second.at < next);
        let series: Vec<(f64, f64)> = drawn.map(|second| (second.at - at, second.certified / before)).collect();
        let ended = timeline.iter().find(|fault| ends(fault) && fault.at.as_secs_f64() > *at);
        Event {
            run: run.dir.display().to_string(),
            at: *at,
            down_s: ended.map(|fault| fault.at.as_secs_f64() - at),
            recovered_s: recovered(&series),
            series,
        }
    };
    begins.iter().enumerate().map(event).collect()
}

/// When the first of [`STEADY_S`] seconds on end began in which throughput was back; 0 when it never fell.
fn recovered(series: &[(f64, f64)]) -> Option<f64> {
    let after: Vec<(f64, f64)> = series.iter().filter(|(after, _)| *after >= 0.0).copied().collect();
    let steady = after.windows(STEADY_S).find(|window| window.iter().all(|(_, share)| *share >= RECOVERED))?;
    Some((steady[0].0 - 0.5).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_needs_seconds_on_end() {
        let series = |shares: &[f64]| -> Vec<(f64, f64)> {
            shares.iter().enumerate().map(|(second, share)| (second as f64 - 0.5, *share)).collect()
        };
        assert_eq!(recovered(&series(&[1.0, 1.0, 1.0, 1.0])), Some(0.0), "it never fell");
        assert_eq!(
            recovered(&series(&[1.0, 0.0, 1.0, 0.2, 0.95, 0.9, 1.4])),
            Some(3.0),
            "one good second is not enough"
        );
        assert_eq!(recovered(&series(&[1.0, 0.0, 0.5, 1.0, 1.0])), None, "it ends too early");
    }
}
