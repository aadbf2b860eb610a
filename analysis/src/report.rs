//! One self-contained page of figures from a set of runs, with the data behind each as CSV.
//!
//! Guarantees: the page needs no network; it says what was run, on which machine, and how to repeat it; curves show all
//! repeats, not only their median; void runs are listed and drawn nowhere. A figure that the runs have no data for is
//! left out, and the page says which and why.

mod costs;
pub(crate) mod environment;
mod families;
pub(crate) mod figure;
mod knee;
pub(crate) mod labels;
mod ladder;
pub(crate) mod latency;
mod loads;
pub(crate) mod page;
mod recovery;
mod scaling;
mod series;
mod stages;
pub mod svg;
mod throughput;
mod warmup;

use std::path::Path;

use shardpay_run::StepObjective;

use crate::runs::Run;

use families::Input;
use page::Page;

pub use figure::Figure;
pub use page::Written;

/// Writes `report.html` and a CSV file per figure into a directory; ladders of rates are read by the objective.
pub fn write(runs: &[Run], out: &Path, objective: StepObjective) -> anyhow::Result<Written> {
    let input = Input::read(runs)?;
    anyhow::ensure!(!input.points.is_empty(), "all {} runs are void: {}", input.void.len(), why_void(&input.void));
    let mut figures = throughput::figures(&input);
    figures.extend(scaling::figures(&input));
    figures.extend(ladder::figures(&input, objective)?);
    figures.extend(latency::figures(&input)?);
    figures.push(stages::figure(&input));
    figures.push(loads::figure(&input));
    figures.extend(costs::figures(&input)?);
    figures.push(recovery::figure(&input)?);
    let searches = knee::searches(runs)?;
    figures.extend(searches.iter().enumerate().map(|(index, search)| knee::figure(index, search, runs)));
    let (drawn, left_out): (Vec<Figure>, Vec<Figure>) =
        figures.into_iter().partition(|figure| figure.missing.is_none());
    let mut page = Page::new("shardpay: report", &input.runs().collect::<Vec<_>>());
    page.section("Runs", &environment::points_table(&input.points));
    drawn.into_iter().for_each(|figure| page.figure(figure));
    for (_, search) in &searches {
        if let Some(result) = &search.result {
            page.section(&format!("Limit at the knee: {}", search.name), &knee::diagnosis(result));
        }
    }
    page.section("Verdict", &environment::verdicts(&input)?);
    page.left_out(&left_out, &input.void);
    page.section("Environment", &environment::environment(&input.points)?);
    page.write(out, "report.html")
}

fn why_void(void: &[Run]) -> String {
    let why = |run: &Run| format!("{}: {}", run.dir.display(), run.void_because().unwrap_or_default());
    void.iter().map(why).collect::<Vec<_>>().join("; ")
}
