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

/// Which points are drawn and how their repeats are, for captions.
pub(super) fn repeats(drawn: &[&Point], all: usize) -> String {
    let counts: Vec<usize> = drawn.iter().map(|point| point.runs.len()).collect();
    let repeats = match (counts.iter().min(), counts.iter().max()) {
        (Some(1), Some(1)) => "One run per point: no interval can be given.".to_owned(),
        (Some(least), Some(most)) if least == most => {
            format!("Dots are the {least} repeats of each point, lines join medians.")
        }
        (Some(least), Some(most)) => format!("Dots are all repeats ({least} to {most} a point), lines join medians."),
        _ => String::new(),
    };
    if drawn.len() == all {
        return repeats;
    }
    let names: Vec<&str> = drawn.iter().map(|point| point.label.as_str()).collect();
    format!(
        "{repeats} Drawn are the {} of {all} points that differ in nothing else: {}.",
        drawn.len(),
        names.join("; ")
    )
}
