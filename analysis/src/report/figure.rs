//! A figure: what plotly draws, what its caption says, and its data as a table.
//!
//! Guarantees: lines and markers differ in shape as well as in colour, so that a print without colours can be read;
//! every axis names its unit; a figure knows the runs it was drawn from, by which the page says how to repeat it.

use std::path::Path;

use serde_json::{Value, json};

use crate::runs::{Point, Run};
use crate::stats::{Interval, median, median_interval};

/// Okabe and Ito's palette without black and yellow: told apart by colour-blind readers, seen on white and on dark.
pub(crate) const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f"];
/// Marks and lines that are no measurement.
pub(crate) const GREY: &str = "#7f7f7f";
const SYMBOLS: [&str; 7] = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star"];
const DASHES: [&str; 4] = ["solid", "dash", "dot", "dashdot"];
/// Hatchings of bars.
const PATTERNS: [&str; 7] = ["", "/", "", "\\", "", ".", "x"];
/// Fewest repeats for which the median of so few values has a 95 % interval at all.
pub(crate) const INTERVAL_REPEATS_MIN: usize = 6;

/// A colour that is used for the `index`-th of several things.
pub(crate) const fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

/// A figure of a page.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Its name in links and files.
    pub id: String,
    /// Its heading.
    pub title: String,
    /// What is seen and how it was measured.
    pub caption: String,
    /// What it was drawn from.
    pub runs: Vec<Run>,
    /// Void runs that would belong to it.
    pub void: Vec<Run>,
    /// Whether payments that have no latency are counted under it.
    pub shows_latency: bool,
    /// Plotly's traces.
    pub traces: Vec<Value>,
    /// Plotly's layout.
    pub layout: Value,
    /// Its height on the page and in files, in pixels.
    pub height: usize,
    /// The data: names of columns, and rows.
    pub columns: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
    /// The machine, when it was drawn from no runs.
    pub machine: Option<String>,
    /// Why it is left out.
    pub missing: Option<&'static str>,
}

/// An axis; its title names the unit.
pub(crate) fn axis(title: &str) -> Value {
    json!({ "title": { "text": title, "standoff": 8 }, "automargin": true, "rangemode": "tozero", "showline": true,
        "ticks": "outside", "zeroline": false, "tickformat": ",~g" })
}

/// An axis of powers; ticks at 1, 2 and 5.
pub(crate) fn log_axis(title: &str) -> Value {
    let mut axis = axis(title);
    (axis["type"], axis["dtick"]) = (json!("log"), json!("D2"));
    // plotly's own form has small digits between the powers; "rangemode" is for linear axes
    axis["exponentformat"] = json!("none");
    axis
}

/// An axis of names.
pub(crate) fn names_axis(title: &str) -> Value {
    let mut axis = axis(title);
    axis["type"] = json!("category");
    axis
}

impl Figure {
    /// A figure that the runs have no data for.
    pub(crate) fn missing(id: &str, title: &str, why: &'static str) -> Self {
        Self { missing: Some(why), ..Self::new(id, title, (json!({}), json!({}))) }
    }

    /// A figure without traces yet.
    pub(crate) fn new(id: &str, title: &str, (x, y): (Value, Value)) -> Self {
        let legend = json!({ "orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom" });
        let layout = json!({ "xaxis": x, "yaxis": y, "margin": { "t": 48, "r": 24, "b": 84, "l": 72 },
            "legend": legend, "hovermode": "closest" });
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            caption: String::new(),
            runs: Vec::new(),
            void: Vec::new(),
            shows_latency: false,
            traces: Vec::new(),
            layout,
            height: 420,
            columns: Vec::new(),
            rows: Vec::new(),
            machine: None,
            missing: None,
        }
    }

    /// A second panel to the right of the first.
    pub(crate) fn beside(&mut self, (x, y): (Value, Value)) {
        self.layout["xaxis"]["domain"] = json!([0.0, 0.44]);
        (self.layout["xaxis2"], self.layout["yaxis2"]) = (x, y);
        self.layout["xaxis2"]["domain"] = json!([0.58, 1.0]);
        (self.layout["xaxis2"]["anchor"], self.layout["yaxis2"]["anchor"]) = (json!("y2"), json!("x2"));
    }

    /// A second panel below the first, with the same horizontal axis.
    pub(crate) fn below(&mut self, y: Value) {
        self.layout["yaxis2"] = y;
        (self.layout["yaxis"]["domain"], self.layout["yaxis2"]["domain"]) = (json!([0.56, 1.0]), json!([0.0, 0.44]));
        self.layout["xaxis"]["anchor"] = json!("y2");
        self.height = 520;
    }

    /// Adds a run the figure was drawn from.
    pub(crate) fn about(mut self, points: &[&Point]) -> Self {
        self.runs.extend(points.iter().flat_map(|point| point.runs.iter().cloned()));
        self
    }

    /// The data as CSV, numbers as in the figure.
    pub(crate) fn write_csv(&self, path: &Path) -> anyhow::Result<()> {
        let mut writer = csv::Writer::from_path(path)?;
        writer.write_record(&self.columns)?;
        for row in &self.rows {
            writer.write_record(row)?;
        }
        Ok(writer.flush()?)
    }
}

/// The repeats at one place of a horizontal axis.
pub(crate) struct Place {
    /// Where.
    pub(crate) x: f64,
    /// Of each repeat: where it lies itself, and its value.
    pub(crate) repeats: Vec<(f64, f64)>,
}

/// What the bar around a median says.
pub(crate) fn spread(values: &[f64]) -> Interval {
    median_interval(values).unwrap_or(Interval {
        low: values.iter().copied().fold(f64::INFINITY, f64::min),
        high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    })
}

/// All repeats as dots, and a line through the medians with their intervals. `axes` are 1 or 2 for the panel.
pub(crate) fn curve(places: &[Place], name: &str, index: usize, panel: usize) -> [Value; 2] {
    let (colour, symbol) = (colour(index), SYMBOLS[index % SYMBOLS.len()]);
    let (x, y) = (axis_name('x', panel), axis_name('y', panel));
    let all = places.iter().flat_map(|place| place.repeats.iter().copied());
    let (xs, ys): (Vec<f64>, Vec<f64>) = all.unzip();
    let dots = json!({ "type": "scatter", "mode": "markers", "name": format!("{name}, repeats"), "legendgroup": name,
        "showlegend": false, "x": xs, "y": ys, "xaxis": x, "yaxis": y, "hoverinfo": "x+y",
        "marker": { "color": colour, "size": 5, "opacity": 0.55, "symbol": format!("{symbol}-open") } });
    let values = |place: &Place| place.repeats.iter().map(|repeat| repeat.1).collect::<Vec<f64>>();
    let middles: Vec<f64> = places.iter().map(|place| median(&values(place))).collect();
    let several = places.iter().any(|place| place.repeats.len() > 1);
    let side = |of: fn(&Interval, f64) -> f64| -> Vec<f64> {
        places.iter().zip(&middles).map(|(place, middle)| of(&spread(&values(place)), *middle)).collect()
    };
    let bars = json!({ "type": "data", "visible": several, "symmetric": false, "thickness": 1.2, "width": 4,
        "array": side(|spread, middle| spread.high - middle), "arrayminus": side(|spread, middle| middle - spread.low) });
    let xs: Vec<f64> = places.iter().map(|place| place.x).collect();
    let line = json!({ "type": "scatter", "mode": "lines+markers", "name": name, "legendgroup": name, "x": xs,
        "y": middles, "xaxis": x, "yaxis": y, "error_y": bars,
        "line": { "color": colour, "width": 2, "dash": DASHES[index % DASHES.len()] },
        "marker": { "size": 8, "symbol": symbol, "color": colour } });
    [dots, line]
}

/// `x`, `x2`, `y2`: plotly's names of a panel's axes.
pub(crate) fn axis_name(letter: char, panel: usize) -> String {
    if panel < 2 { letter.to_string() } else { format!("{letter}{panel}") }
}

/// A line without markers.
pub(crate) fn line(name: &str, (xs, ys): (Vec<f64>, Vec<f64>), index: usize) -> Value {
    json!({ "type": "scatter", "mode": "lines", "name": name, "legendgroup": name, "x": xs, "y": ys,
        "line": { "color": colour(index), "width": 2, "dash": DASHES[index % DASHES.len()] } })
}

/// The look of bars of the `index`-th kind in a stack.
pub(crate) fn bar_look(index: usize) -> Value {
    json!({ "color": colour(index), "line": { "width": 0.8, "color": "#ffffff" },
        "pattern": { "shape": PATTERNS[index % PATTERNS.len()], "fillmode": "overlay", "fgcolor": "#ffffff", "size": 6, "solidity": 0.25 } })
}

/// How the repeats of points are shown, for captions.
pub(crate) fn repeats(points: &[&Point]) -> String {
    let counts: Vec<usize> = points.iter().map(|point| point.runs.len()).collect();
    let (least, most) = (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
    let bars = if least >= INTERVAL_REPEATS_MIN {
        "bars are 95 % intervals of the median"
    } else {
        "bars go from the least to the greatest (a 95 % interval of a median needs six repeats)"
    };
    match (least, most) {
        (0 | 1, 0 | 1) => "One run per point: no interval can be given.".to_owned(),
        (least, most) if least == most => {
            format!("Small marks are the {least} repeats of each point, lines join their medians, {bars}.")
        }
        (least, most) => {
            format!("Small marks are all repeats ({least} to {most} a point), lines join their medians, {bars}.")
        }
    }
}
