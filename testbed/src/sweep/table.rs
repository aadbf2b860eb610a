//! The table at the end of a sweep: one line per point, medians over the repeats that are results.

use std::path::Path;

use shardpay_run::{RunDir, RunState, Summary, SweepRecord, read_json};

use crate::report::Table;

/// The median; not a number without values.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// One line per point, then what is no result and why.
pub fn table(record: &SweepRecord, dir: &Path) -> String {
    let head = ["point", "", "passed", "certified/s", "min", "max", "p50 ms", "p99 ms", "CPU µs"];
    let mut table = Table::new(&head);
    for point in &record.points {
        let runs = record.runs.iter().filter(|run| run.point == point.id);
        let of = runs.clone().count();
        let passed: Vec<Summary> = runs
            .filter(|run| run.state == RunState::Passed)
            .filter_map(|run| read_json(&RunDir::new(dir.join(&run.dir)).summary()).ok())
            .collect();
        let values = |of: fn(&Summary) -> f64| passed.iter().map(of).collect::<Vec<f64>>();
        let shown = |value: f64, digits: usize| {
            if value.is_finite() { format!("{value:.digits$}") } else { "-".to_owned() }
        };
        let rates = values(|summary| summary.total.all.per_second);
        let extreme = |pick: fn(f64, f64) -> f64| rates.iter().copied().reduce(pick).unwrap_or(f64::NAN);
        table.row([
            point.id.clone(),
            point.label.clone(),
            format!("{} of {of}", passed.len()),
            shown(median(rates.clone()), 1),
            shown(extreme(f64::min), 1),
            shown(extreme(f64::max), 1),
            shown(median(values(|summary| summary.total.all.latency_ms.p50)), 1),
            shown(median(values(|summary| summary.total.all.latency_ms.p99)), 1),
            shown(median(values(|summary| summary.cpu_us_per_payment)), 1),
        ]);
    }
    let mut text = table.render(2);
    for run in record.runs.iter().filter(|run| run.state != RunState::Passed) {
        let why = if run.why.is_empty() { "not run".to_owned() } else { run.why.join("; ") };
        text.push_str(&format!("no result: {}: {}\n", run.dir, why.lines().next().unwrap_or_default()));
    }
    text.push_str(&format!("medians over the runs that passed; directory {}\n", dir.display()));
    text
}
