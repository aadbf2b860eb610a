//! A knee search: which rates kept the objective, how often, and what was the limit.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use shardpay_run::{KneeRecord, KneeResult, MeasurementOutcome, read_json};

use super::figure::{COLOURS, Figure, GREY, axis, log_axis};
use super::page::escape;
use crate::runs::{Run, thousands};

/// From this ratio of the greatest to the least latency on, the axis is one of powers.
const LOG_FROM: f64 = 15.0;

/// Searches whose directories hold some of the runs, each once.
pub(super) fn searches(runs: &[Run]) -> anyhow::Result<Vec<(PathBuf, KneeRecord)>> {
    let mut found: Vec<(PathBuf, KneeRecord)> = Vec::new();
    for dir in runs.iter().filter_map(|run| run.dir.parent()) {
        let file = dir.join(KneeRecord::FILE);
        if file.is_file() && found.iter().all(|(known, _)| known != dir) {
            found.push((dir.to_owned(), read_json(&file)?));
        }
    }
    Ok(found)
}

/// One search; `runs` are those on the page.
pub(super) fn figure(index: usize, (dir, record): &(PathBuf, KneeRecord), runs: &[Run]) -> Figure {
    let id = if index == 0 { "knee".to_owned() } else { format!("knee-{}", index + 1) };
    let limit = record.objective.p99_ms_max;
    let most = record.measurements.iter().map(|measured| measured.p99_ms).fold(limit, f64::max);
    let title = "latency p99 (ms)";
    let y = if most > LOG_FROM * limit { log_axis(title) } else { axis(title) };
    let mut figure = Figure::new(&id, &format!("Knee search: {}", record.name), (axis("offered payments/s"), y));
    figure.runs = runs.iter().filter(|run| run.dir.parent() == Some(dir)).cloned().collect();
    figure.shows_latency = true;
    let kinds = [
        (MeasurementOutcome::Passed, "passes", "circle", COLOURS[0]),
        (MeasurementOutcome::Failed, "fails", "x", COLOURS[1]),
        (MeasurementOutcome::Void, "void: loadgen was the limit", "square-open", GREY),
    ];
    for (outcome, name, symbol, colour) in kinds {
        let of = record.measurements.iter().filter(|measured| measured.outcome == outcome);
        let (xs, ys): (Vec<f64>, Vec<f64>) = of.map(|measured| (measured.rate_per_second, measured.p99_ms)).unzip();
        if !xs.is_empty() {
            figure.traces.push(json!({ "type": "scatter", "mode": "markers", "name": name, "x": xs, "y": ys,
                "marker": { "symbol": symbol, "color": colour, "size": 10, "opacity": 0.8 } }));
        }
    }
    figure.traces.push(json!({ "type": "scatter", "mode": "lines", "name": format!("objective: p99 ≤ {limit} ms"),
        "x": [null], "y": [null], "line": { "color": GREY, "dash": "dash", "width": 1.2 } }));
    let mut shapes =
        vec![json!({ "type": "line", "xref": "paper", "yref": "y", "x0": 0, "x1": 1, "y0": limit, "y1": limit,
        "line": { "color": GREY, "dash": "dash", "width": 1.2 } })];
    if let Some(result) = &record.result {
        shapes.push(json!({ "type": "rect", "xref": "x", "yref": "paper", "x0": result.lower.per_second,
            "x1": result.upper.per_second, "y0": 0, "y1": 1, "fillcolor": COLOURS[2], "opacity": 0.18, "layer": "below",
            "line": { "width": 0 } }));
        figure.traces.push(json!({ "type": "scatter", "mode": "markers", "name": "bracket", "x": [null], "y": [null],
            "marker": { "symbol": "square", "size": 12, "color": COLOURS[2], "opacity": 0.3 } }));
    }
    figure.layout["shapes"] = json!(shapes);
    figure.caption = caption(record, dir);
    figure.columns = vec![
        "number",
        "stage",
        "rate_per_second",
        "outcome",
        "certified_per_second",
        "p50_ms",
        "p99_ms",
        "offered",
        "lost",
        "why",
    ];
    figure.rows = record.measurements.iter().map(row).collect();
    figure
}

fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn row(measured: &shardpay_run::KneeMeasurement) -> Vec<String> {
    vec![
        measured.number.to_string(),
        word(&measured.stage),
        measured.rate_per_second.to_string(),
        word(&measured.outcome),
        measured.certified_per_second.to_string(),
        measured.p50_ms.to_string(),
        measured.p99_ms.to_string(),
        measured.offered.to_string(),
        measured.lost.to_string(),
        measured.why.join("; "),
    ]
}

fn caption(record: &KneeRecord, dir: &Path) -> String {
    let objective = &record.objective;
    let asked = format!(
        "{}: the highest rate with p99 ≤ {} ms and at most {} of the payments lost, in {} measurements. ",
        dir.display(),
        objective.p99_ms_max,
        objective.loss_max,
        record.measurements.len()
    );
    let told = match (&record.result, &record.stopped) {
        (Some(result), _) => found(record, result),
        (None, Some(why)) => format!("Nothing was found: {why}."),
        (None, None) => "The search has not ended.".to_owned(),
    };
    asked + &told
}

fn found(record: &KneeRecord, result: &KneeResult) -> String {
    let end = |end: &shardpay_run::KneeEnd| {
        format!("{}/s passes in {} of {} runs", thousands(end.per_second.round()), end.passed, end.passed + end.failed)
    };
    format!(
        "The bracket: {}, {} (width {:.1} %, {:.1} % asked for; {}). The knee lies at {}/s (95 %: {} to {}/s; {}). {}",
        end(&result.lower),
        end(&result.upper),
        result.width * 100.0,
        record.bracket * 100.0,
        if result.resolved { "confirmed at both ends" } else { "not confirmed: no result" },
        thousands(result.knee_per_second.round()),
        thousands(result.low_per_second.round()),
        thousands(result.high_per_second.round()),
        result.method,
        result.limit.text
    )
}

/// The diagnosis as tables: threads, queues and stages at both ends of the bracket.
pub(super) fn diagnosis(result: &KneeResult) -> String {
    let limit = &result.limit;
    let mut html = format!(
        "<p>{} Machine in use: {:.0} % at the lower end, {:.0} % at the upper.</p><div class=\"wide\"><table><thead><tr>\
         <th>threads, queue or stage<th>at the lower end<th>at the upper end<th>most<th>unit</tr></thead><tbody>",
        escape(&limit.text),
        limit.machine_busy_lower * 100.0,
        limit.machine_busy_upper * 100.0
    );
    for of in limit.threads.iter().take(10) {
        let name = escape(&format!("{}: {}", of.program, of.thread));
        let _ = write!(
            html,
            "<tr><td>{name}<td>{:.2}<td>{:.2}<td>{:.2}<td>cores</tr>",
            of.lower_cores, of.upper_cores, of.busiest
        );
    }
    for of in limit.queues.iter().take(8) {
        let _ = write!(
            html,
            "<tr><td>{}<td>{:.1}<td>{:.1}<td>{:.0}<td>waiting</tr>",
            escape(&of.queue),
            of.lower_mean,
            of.upper_mean,
            of.upper_max
        );
    }
    for of in &limit.stages {
        let _ =
            write!(html, "<tr><td>{}<td>{:.2}<td>{:.2}<td><td>ms</tr>", escape(&of.stage), of.lower_ms, of.upper_ms);
    }
    html + "</tbody></table></div>"
}
