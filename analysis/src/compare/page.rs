//! A comparison as a page: the table, and both sides drawn over each other.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use shardpay_run::{add_latencies, new_latencies};

use super::{Change, Comparison, Row, cautions};
use crate::report::Written;
use crate::report::figure::{Figure, GREY, axis, axis_name, colour, names_axis};
use crate::report::latency::{Second, distribution_axes, distribution_lines, measured, seconds, steps};
use crate::report::page::{Page, escape};
use crate::runs::Run;
use crate::stats::median;

/// The sides in legends.
const SIDES: [&str; 2] = ["A", "B"];

/// Writes `compare.html` and a CSV file per figure into a directory.
pub fn write(compared: &Comparison, sides: [&[Run]; 2], out: &Path) -> anyhow::Result<Written> {
    let runs: Vec<&Run> = sides.concat_refs();
    let mut page = Page::new("shardpay: comparison", &runs);
    for (name, side) in SIDES.iter().zip(sides) {
        let first = &side[0];
        let dir = first.dir.parent().unwrap_or(&first.dir).display();
        page.intro(&format!("{name}: {dir}, {} repeats, commit {}", side.len(), first.record.git.commit));
    }
    for caution in cautions(sides[0], sides[1]) {
        page.intro(&format!("Caution: {caution}."));
    }
    page.section("Is B worse?", &table(compared));
    for mut figure in [changes(compared), repeats(compared), distribution(sides)?, over_time(sides)?] {
        figure.runs = runs.iter().map(|run| (*run).clone()).collect();
        page.figure(figure);
    }
    page.write(out, "compare.html")
}

trait ConcatRefs<'a> {
    fn concat_refs(self) -> Vec<&'a Run>;
}

impl<'a> ConcatRefs<'a> for [&'a [Run]; 2] {
    fn concat_refs(self) -> Vec<&'a Run> {
        self.into_iter().flatten().collect()
    }
}

fn percent(ratio: f64) -> f64 {
    (ratio - 1.0) * 100.0
}

fn table(compared: &Comparison) -> String {
    let mut html = String::from(
        "<div class=\"wide\"><table><thead><tr><th>metric<th>unit<th>median of A<th>median of B<th>change<th>95 % of it\
         <th>p (Holm)<th>verdict</tr></thead><tbody>",
    );
    for row in &compared.rows {
        let class = if row.change == Change::Worse { " class=\"worse\"" } else { "" };
        let _ = write!(
            html,
            "<tr><td>{}<td>{}<td>{:.1}<td>{:.1}<td>{:+.1} %<td>{:+.1} to {:+.1} %<td>{:.4}<td{class}>{}</tr>",
            row.metric,
            escape(row.unit),
            median(&row.first),
            median(&row.second),
            percent(row.ratio),
            percent(row.interval.low),
            percent(row.interval.high),
            row.p_corrected,
            row.change.word()
        );
    }
    let _ = write!(
        html,
        "</tbody></table></div><p class=\"caption\">A change counts when its corrected p is below {}, the median moved by \
         {:.1} % or more, and the interval leaves 0 out.</p>",
        super::ALPHA,
        compared.effect_min * 100.0
    );
    html
}

fn names(rows: &[Row]) -> Vec<&'static str> {
    rows.iter().map(|row| row.metric).collect()
}

/// The change of every metric with its interval.
fn changes(compared: &Comparison) -> Figure {
    let mut y = names_axis("");
    y["autorange"] = json!("reversed");
    let mut x = axis("median of B against A (%)");
    x.as_object_mut().map(|axis| axis.remove("rangemode"));
    let mut figure = Figure::new("changes", "Changes with their intervals", (x, y));
    let kinds = [(Change::Unclear, 6, "circle-open"), (Change::Better, 2, "diamond"), (Change::Worse, 1, "x")];
    for (change, index, symbol) in kinds {
        let rows: Vec<&Row> = compared.rows.iter().filter(|row| row.change == change).collect();
        if rows.is_empty() {
            continue;
        }
        let of = |value: fn(&Row) -> f64| rows.iter().map(|row| value(row)).collect::<Vec<f64>>();
        figure.traces.push(json!({ "type": "scatter", "mode": "markers", "name": change.word(),
            "x": of(|row| percent(row.ratio)), "y": rows.iter().map(|row| row.metric).collect::<Vec<_>>(),
            "marker": { "size": 11, "symbol": symbol, "color": colour(index), "line": { "width": 2, "color": colour(index) } },
            "error_x": { "type": "data", "symmetric": false, "array": of(|row| (row.interval.high - row.ratio) * 100.0),
                "arrayminus": of(|row| (row.ratio - row.interval.low) * 100.0), "thickness": 1.5 } }));
    }
    let effect = compared.effect_min * 100.0;
    figure.layout["shapes"] = json!([
        { "type": "rect", "xref": "x", "yref": "paper", "x0": -effect, "x1": effect, "y0": 0, "y1": 1, "fillcolor": GREY,
            "opacity": 0.15, "layer": "below", "line": { "width": 0 } },
        { "type": "line", "xref": "x", "yref": "paper", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "layer": "below",
            "line": { "color": GREY, "width": 1 } }
    ]);
    figure.layout["yaxis"]["categoryarray"] = json!(names(&compared.rows));
    figure.height = 190 + 34 * compared.rows.len().max(3);
    figure.caption = format!(
        "Bars are 95 % bootstrap intervals of the ratio of medians; changes within the grey band (±{effect:.1} %) do not count."
    );
    figure.columns = vec!["metric", "change_percent", "low_percent", "high_percent", "p", "p_holm", "verdict"];
    figure.rows = compared
        .rows
        .iter()
        .map(|row| {
            let numbers =
                [percent(row.ratio), percent(row.interval.low), percent(row.interval.high), row.p, row.p_corrected];
            let mut cells = vec![row.metric.to_owned()];
            cells.extend(numbers.map(|value| value.to_string()));
            cells.push(row.change.word().to_owned());
            cells
        })
        .collect();
    figure
}

/// Every repeat of every metric, against A's median.
fn repeats(compared: &Comparison) -> Figure {
    let mut y = axis("against the median of A (%)");
    y.as_object_mut().map(|axis| axis.remove("rangemode"));
    let mut figure = Figure::new("repeats", "All repeats", (names_axis(""), y));
    figure.columns = vec!["metric", "side", "value", "unit"];
    for (index, (side, symbol)) in SIDES.iter().zip(["circle-open", "x-thin-open"]).enumerate() {
        let (mut xs, mut ys) = (Vec::new(), Vec::new());
        for row in &compared.rows {
            let (values, middle) = (if index == 0 { &row.first } else { &row.second }, median(&row.first));
            for value in values {
                xs.push(row.metric);
                ys.push(percent(value / middle));
                figure.rows.push(vec![
                    row.metric.to_owned(),
                    (*side).to_owned(),
                    value.to_string(),
                    row.unit.to_owned(),
                ]);
            }
        }
        // a box without whiskers' outliers, all points beside it
        figure.traces.push(json!({ "type": "box", "name": side, "x": xs, "y": ys, "boxpoints": "all", "jitter": 0.4,
            "pointpos": 0, "fillcolor": "rgba(127,127,127,0.12)", "line": { "color": colour(index), "width": 1.2 },
            "marker": { "symbol": symbol, "size": 7, "color": colour(index), "line": { "width": 1.5 } } }));
    }
    figure.layout["boxmode"] = json!("group");
    figure.caption =
        "Boxes reach from the first to the third quartile, with the median; marks are all repeats.".to_owned();
    figure
}

fn distribution(sides: [&[Run]; 2]) -> anyhow::Result<Figure> {
    let mut figure = Figure::new("latency-cdf", "Distribution of latency", (json!({}), json!({})));
    distribution_axes(&mut figure);
    figure.columns = vec!["side", "latency_ms", "share"];
    for (index, (name, side)) in SIDES.iter().zip(sides).enumerate() {
        let mut all = new_latencies();
        for run in side {
            let latencies = measured(run)?;
            add_latencies(&mut all, &latencies);
            figure.traces.extend(distribution_lines(steps(&latencies), name, index, true));
        }
        let (xs, ys) = steps(&all);
        figure.rows.extend(xs.iter().zip(&ys).map(|(x, y)| vec![(*name).to_owned(), x.to_string(), y.to_string()]));
        figure.traces.extend(distribution_lines((xs, ys), name, index, false));
    }
    figure.caption = "Thin lines are the repeats, thick ones all repeats of a side together.".to_owned();
    Ok(figure)
}

fn over_time(sides: [&[Run]; 2]) -> anyhow::Result<Figure> {
    let axes = (axis("seconds of load"), axis("certified payments/s"));
    let mut figure = Figure::new("over-time", "Throughput and latency over time", axes);
    figure.below(axis("latency p99 (ms)"));
    figure.shows_latency = true;
    figure.columns = vec!["side", "second", "certified_median", "p99_ms_median"];
    let readings: [fn(&Second) -> f64; 2] = [|second| second.certified, |second| second.p99];
    for (index, (name, side)) in SIDES.iter().zip(sides).enumerate() {
        let runs = side.iter().map(seconds).collect::<anyhow::Result<Vec<_>>>()?;
        let length = runs.iter().map(Vec::len).min().unwrap_or(0);
        let at: Vec<f64> = (0..length).map(|second| second as f64 + 0.5).collect();
        let mut middles = Vec::new();
        for (panel, of) in readings.iter().enumerate() {
            let y = axis_name('y', panel + 1);
            for run in &runs {
                let values: Vec<f64> = run.iter().map(of).collect();
                figure.traces.push(
                    json!({ "type": "scatter", "mode": "lines", "x": at, "y": values, "yaxis": y, "opacity": 0.35,
                    "showlegend": false, "hoverinfo": "skip", "line": { "color": colour(index), "width": 0.8 } }),
                );
            }
            let middle: Vec<f64> = (0..length)
                .map(|second| median(&runs.iter().map(|run| of(&run[second])).collect::<Vec<_>>()))
                .collect();
            figure.traces.push(json!({ "type": "scatter", "mode": "lines", "name": name, "legendgroup": name,
                "showlegend": panel == 0, "x": at, "y": middle, "yaxis": y,
                "line": { "color": colour(index), "width": 2.2, "dash": if index == 0 { "solid" } else { "dash" } } }));
            middles.push(middle);
        }
        figure.rows.extend((0..length).map(|second| {
            vec![
                (*name).to_owned(),
                at[second].to_string(),
                middles[0][second].to_string(),
                middles[1][second].to_string(),
            ]
        }));
    }
    figure.caption =
        "Thin lines are the repeats, thick ones the median of a side in each second; the warm-up is in it.".to_owned();
    Ok(figure)
}
