//! A history as a page: a figure per metric, with its levels.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::{Commit, Course, Step};
use crate::compare::{Change, REPEATS_MIN};
use crate::report::Written;
use crate::report::figure::{Figure, GREY, axis, colour, names_axis, spread};
use crate::report::page::{Page, escape};
use crate::runs::Run;
use crate::stats::median;

/// Writes `history.html` and a CSV file per metric into a directory.
pub fn write(commits: &[Commit], courses: &[Course], void: &[Run], out: &Path) -> anyhow::Result<Written> {
    let runs: Vec<&Run> = commits.iter().flat_map(|commit| &commit.runs).collect();
    let mut page = Page::new("shardpay: history", &runs[runs.len() - 1..]);
    page.intro(&format!("{} commits, {} runs, in the order of their first runs.", commits.len(), runs.len()));
    page.section("Medians", &table(commits, courses));
    for course in
        courses.iter().filter(|course| course.steps.iter().all(|step| step.values.iter().all(|v| v.is_finite())))
    {
        let mut figure = figure(course);
        figure.runs = runs.iter().map(|run| (*run).clone()).collect();
        page.figure(figure);
    }
    page.left_out(&[], void);
    page.write(out, "history.html")
}

fn table(commits: &[Commit], courses: &[Course]) -> String {
    let heads: String =
        courses.iter().map(|course| format!("<th>{}<br>{}", course.metric, escape(course.unit))).collect();
    let mut html = format!("<div class=\"wide\"><table><thead><tr><th>commit<th>repeats{heads}</tr></thead><tbody>");
    for (index, commit) in commits.iter().enumerate() {
        let _ = write!(html, "<tr><td>{}<td>{}", escape(&commit.name), commit.runs.len());
        for course in courses {
            let step = &course.steps[index];
            let (class, mark) = match step.compared.as_ref().map(|row| row.change) {
                Some(Change::Worse) => (" class=\"worse\"", " worse"),
                Some(Change::Better) => ("", " better"),
                _ => ("", ""),
            };
            let _ = write!(html, "<td{class}>{:.1}{mark}", median(&step.values));
        }
        html.push_str("</tr>");
    }
    html + "</tbody></table></div><p class=\"caption\">Worse and better: against all runs since the change before.</p>"
}

fn figure(course: &Course) -> Figure {
    let id = course.metric.replace([' ', '.'], "-").to_lowercase();
    let axes = (names_axis("commit"), axis(&format!("{} ({})", course.metric, course.unit)));
    let mut figure = Figure::new(&id, course.metric, axes);
    figure.height = 340;
    let names: Vec<&str> = course.steps.iter().map(|step| step.commit.as_str()).collect();
    let dots = course.steps.iter().flat_map(|step| step.values.iter().map(|value| (step.commit.as_str(), *value)));
    let (xs, ys): (Vec<&str>, Vec<f64>) = dots.unzip();
    figure.traces.push(json!({ "type": "scatter", "mode": "markers", "name": "repeats", "x": xs, "y": ys,
        "marker": { "color": colour(0), "size": 6, "opacity": 0.5, "symbol": "circle-open" } }));
    let medians: Vec<f64> = course.steps.iter().map(|step| median(&step.values)).collect();
    let side = |of: fn(f64, f64, f64) -> f64| -> Vec<f64> {
        let bars = course.steps.iter().zip(&medians);
        bars.map(|(step, middle)| of(spread(&step.values).low, *middle, spread(&step.values).high)).collect()
    };
    figure.traces.push(json!({ "type": "scatter", "mode": "lines+markers", "name": "median", "x": names, "y": medians,
        "marker": { "color": colour(0), "size": 8 }, "line": { "color": colour(0), "width": 1.5 },
        "error_y": { "type": "data", "symmetric": false, "array": side(|_, middle, high| high - middle),
            "arrayminus": side(|low, middle, _| middle - low), "thickness": 1.2, "width": 4 } }));
    figure.layout["shapes"] = levels(&course.steps);
    for (change, symbol, index) in [(Change::Worse, "triangle-down", 1), (Change::Better, "triangle-up", 2)] {
        let at = |step: &Step| step.compared.as_ref().is_some_and(|row| row.change == change);
        let (xs, ys): (Vec<&str>, Vec<f64>) = course
            .steps
            .iter()
            .filter(|step| at(step))
            .map(|step| (step.commit.as_str(), median(&step.values)))
            .unzip();
        if !xs.is_empty() {
            let name = if change == Change::Worse { "worse" } else { "better" };
            figure.traces.push(json!({ "type": "scatter", "mode": "markers", "name": name, "x": xs, "y": ys,
                "marker": { "color": colour(index), "size": 15, "symbol": symbol } }));
        }
    }
    figure.caption =
        "Small marks are all repeats, bars as in reports; the dashed lines are the levels between changes: \
        medians of all runs in them."
            .to_owned();
    figure.columns = vec!["commit", "value", "level_before", "change"];
    for step in &course.steps {
        let change = step.compared.as_ref().map_or("", |row| row.change.word());
        figure.rows.extend(
            step.values
                .iter()
                .map(|value| vec![step.commit.clone(), value.to_string(), step.level.to_string(), change.to_owned()]),
        );
    }
    figure
}

/// A line for the median of each level, from its first commit to its last.
fn levels(steps: &[Step]) -> serde_json::Value {
    let mut levels: Vec<(usize, Vec<f64>, usize)> = Vec::new();
    for (index, step) in steps.iter().enumerate().filter(|(_, step)| step.values.len() >= REPEATS_MIN) {
        match levels.last_mut().filter(|_| !step.changed()) {
            Some((_, values, last)) => {
                values.extend(&step.values);
                *last = index;
            }
            None => levels.push((index, step.values.clone(), index)),
        }
    }
    let line = |(first, values, last): &(usize, Vec<f64>, usize)| {
        // places of names are whole numbers
        let level = median(values);
        json!({ "type": "line", "xref": "x", "yref": "y", "x0": *first as f64 - 0.4, "x1": *last as f64 + 0.4, "y0": level,
            "y1": level, "layer": "below", "line": { "color": GREY, "dash": "dash", "width": 1.5 } })
    };
    levels.iter().map(line).collect()
}
