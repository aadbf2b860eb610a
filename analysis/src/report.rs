//! One self-contained page of figures from a set of runs, with the data behind each as CSV.
//!
//! Guarantees: the page needs no network; it says what was run, on which machine, and how to repeat it; curves show all
//! repeats, not only their median; void runs are listed and drawn nowhere. A figure that the runs have no data for is
//! left out, and the page says which and why.

mod curves;
mod figure;
mod latency;
mod loads;
mod page;
mod series;
mod stages;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::runs::{Run, points};

pub use figure::Figure;

/// What was written.
pub struct Written {
    /// The page.
    pub page: PathBuf,
    /// Figures on it.
    pub figures: usize,
}

/// Writes `report.html` and a CSV file per figure into a directory.
pub fn write(runs: &[Run], out: &Path) -> anyhow::Result<Written> {
    let (good, void): (Vec<Run>, Vec<Run>) = runs.iter().cloned().partition(|run| run.void_because().is_none());
    anyhow::ensure!(!good.is_empty(), "all {} runs are void: {}", void.len(), why_void(&void));
    let points = points(good);
    let mut figures = curves::figures(&points);
    figures.extend(latency::figures(&points)?);
    figures.push(stages::figure(&points)?);
    figures.extend(loads::figures(&points)?);
    let (drawn, left_out): (Vec<Figure>, Vec<Figure>) =
        figures.into_iter().partition(|figure| figure.missing.is_none());
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    for figure in &drawn {
        figure.write_csv(&out.join(format!("{}.csv", figure.id)))?;
    }
    let page = out.join("report.html");
    let html = page::html(&points, &void, &drawn, &left_out);
    shardpay_run::write_whole(&page, html.as_bytes())?;
    Ok(Written { page, figures: drawn.len() })
}

fn why_void(void: &[Run]) -> String {
    let why = |run: &Run| format!("{}: {}", run.dir.display(), run.void_because().unwrap_or_default());
    void.iter().map(why).collect::<Vec<_>>().join("; ")
}
