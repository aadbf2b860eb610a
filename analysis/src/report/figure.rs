//! A figure: what plotly draws, what its caption says, and its data as a table.

use std::path::Path;

use serde_json::{Value, json};

use crate::runs::Point;

/// Okabe and Ito's palette: told apart by colour-blind readers, too.
pub(super) const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f"];

/// A figure of the report.
pub struct Figure {
    /// Its name in links and files.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// What is seen and how it was measured.
    pub caption: String,
    /// Plotly's traces.
    pub traces: Vec<Value>,
    /// Plotly's layout.
    pub layout: Value,
    /// The data: names of columns, and rows.
    pub columns: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
    /// Why it is left out.
    pub missing: Option<&'static str>,
}

impl Figure {
    /// A figure that the runs have no data for.
    pub(super) fn missing(id: &'static str, title: &'static str, why: &'static str) -> Self {
        Self { missing: Some(why), ..Self::new(id, title, ("", "")) }
    }

    /// A figure without traces yet; the axes' titles name their units.
    pub(super) fn new(id: &'static str, title: &'static str, (x, y): (&str, &str)) -> Self {
        let axis = |title: &str| json!({ "title": { "text": title }, "automargin": true, "rangemode": "tozero" });
        let layout = json!({ "xaxis": axis(x), "yaxis": axis(y), "margin": { "t": 20, "r": 20 }, "legend": { "orientation": "h", "y": -0.2 } });
        Self {
            id,
            title,
            caption: String::new(),
            traces: Vec::new(),
            layout,
            columns: Vec::new(),
            rows: Vec::new(),
            missing: None,
        }
    }

    /// The data as CSV, numbers as in the figure.
    pub(super) fn write_csv(&self, path: &Path) -> anyhow::Result<()> {
        let mut writer = csv::Writer::from_path(path)?;
        writer.write_record(&self.columns)?;
        for row in &self.rows {
            writer.write_record(row)?;
        }
        Ok(writer.flush()?)
    }
}

/// `4 × 4 nodes, 2,000/s` and what else tells a point from the others.
pub(super) fn label(point: &Point) -> String {
    use shardpay_run::{Cross, Distribution, Rate};
    let spec = point.spec();
    let mut label = format!("{} × {} nodes", spec.committees, spec.nodes_per_committee);
    match &spec.load.rate {
        Rate::Constant { per_second } | Rate::Poisson { per_second } => label += &format!(", {per_second}/s"),
        Rate::Closed { in_flight } => label += &format!(", {in_flight} in flight"),
        Rate::Ramp { from_per_second, to_per_second } => label += &format!(", {from_per_second} to {to_per_second}/s"),
        Rate::Steps { .. } => label += ", steps",
        Rate::Fraction { of_closed_loop, .. } => label += &format!(", {of_closed_loop} of closed loop"),
    }
    if let Cross::Ratio(ratio) = spec.load.cross
        && spec.committees > 1
    {
        label += &format!(", cross {ratio}");
    }
    match spec.load.distribution {
        Distribution::Uniform => {}
        Distribution::Zipf { exponent } => label += &format!(", Zipf {exponent}"),
        Distribution::Hot { vendors, share } => label += &format!(", {vendors} vendors get {share}"),
    }
    if !spec.faults.is_empty() {
        label += ", with faults";
    }
    label
}

/// Repeats of a set of points, for captions.
pub(super) fn repeats(points: &[&Point]) -> String {
    let counts: Vec<usize> = points.iter().map(|point| point.runs.len()).collect();
    match (counts.iter().min(), counts.iter().max()) {
        (Some(1), Some(1)) => "One run per point: no interval can be given.".to_owned(),
        (Some(least), Some(most)) if least == most => {
            format!("Dots are the {least} repeats of each point, lines join medians.")
        }
        (Some(least), Some(most)) => format!("Dots are all repeats ({least} to {most} a point), lines join medians."),
        _ => String::new(),
    }
}
