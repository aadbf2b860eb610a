//! The table and the figures at the end of a run, for people. Programs read `summary.json`.

use std::fmt::Write as _;
use std::path::Path;

use shardpay_audit::CheckName;
use shardpay_run::{Figures, Flow, Summary, WarmupRule};

use crate::verdict::Judged;

/// Pieces of evidence shown per failed check; `verdict.json` holds more.
const EVIDENCE_SHOWN: usize = 3;

/// Columns of text, numbers to the right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The first `left` columns are text.
    pub(crate) fn render(&self, left: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let width = widths[column];
                if column < left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            let line: Vec<String> = cells.collect();
            text.push_str(line.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// Everything that is printed when a run is over.
pub fn report(judged: &Judged, dir: &Path) -> String {
    let summary = &judged.summary;
    let mut text = table(summary);
    text.push('\n');
    text.push_str(&figures(summary));
    text.push('\n');
    for check in judged.verdict.checks.iter().filter(|check| !check.passed) {
        let _ = writeln!(text, "check failed: {} ({} findings)", check_name(check.name), check.failures);
        for evidence in check.evidence.iter().take(EVIDENCE_SHOWN) {
            let _ = writeln!(text, "    {evidence}");
        }
    }
    for problem in &judged.problems {
        let _ = writeln!(text, "not kept: {problem}");
    }
    let checks = judged.verdict.checks.len();
    let failed = judged.verdict.failed().len();
    let word = if summary.verdict_passed { "PASS" } else { "FAIL" };
    let _ = writeln!(text, "verdict         {word} ({} of {checks} checks passed)", checks - failed);
    let _ = writeln!(text, "run directory   {}", dir.display());
    let _ = writeln!(text, "see it again    ./shardpay demo --replay {}", dir.display());
    text
}

/// A check's name as it stands in `verdict.json`.
pub(crate) fn check_name(name: CheckName) -> String {
    let name = serde_json::to_value(name).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

fn table(summary: &Summary) -> String {
    let head = ["committee", "payments", "certified/s", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"];
    let mut table = Table::new(&head);
    let several = summary.committees > 1;
    for (committee, figures) in summary.per_committee.iter().enumerate() {
        rows(&mut table, &committee.to_string(), figures, several);
    }
    if several {
        rows(&mut table, "total", &summary.total, true);
        table.row(row("total", "all", &summary.total.all));
    }
    table.render(2)
}

fn rows(table: &mut Table, committee: &str, figures: &Figures, several: bool) {
    table.row(row(committee, "within", &figures.intra));
    if several {
        table.row(row(committee, "from others (credit)", &figures.cross));
        table.row(row(committee, "to others (debit)", &figures.cross_debit));
    }
}

fn row(committee: &str, kind: &str, flow: &Flow) -> Vec<String> {
    let latency = &flow.latency_ms;
    let quantiles = [latency.p50, latency.p90, latency.p99, latency.p999, latency.max];
    let shown = quantiles.iter().map(|ms| if latency.count == 0 { "-".to_owned() } else { format!("{ms:.1}") });
    let rate = format!("{:.1}", flow.per_second);
    [committee.to_owned(), kind.to_owned(), rate].into_iter().chain(shown).collect()
}

fn figures(summary: &Summary) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<15} {value}");
    };
    let durability = summary.durability.name();
    let size = format!("{} × {} nodes, durability {durability}", summary.committees, summary.nodes_per_committee);
    let cut = match summary.warmup.rule {
        WarmupRule::Fixed => String::new(),
        WarmupRule::Mser5 if summary.warmup.steady => format!(" after {:.0} s that MSER-5 cut", summary.warmup.cut_s),
        WarmupRule::Mser5 => ", never steady (MSER-5)".to_owned(),
    };
    line("measured", format!("{:.0} s{cut}; {size}", summary.measured_s));
    let kept = summary.kept_rate * 100.0;
    line("offered", format!("{:.0}/s, {kept:.2} % sent, {} skipped", summary.offered_per_second, summary.skipped));
    if summary.probe_per_second > 0.0 {
        line("closed loop", format!("{:.0}/s, found before the load", summary.probe_per_second));
    }
    let refusals: Vec<String> = summary.refusals.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    line("refusals", if refusals.is_empty() { "none".to_owned() } else { refusals.join(", ") });
    let certified = summary.total.all.certified.max(1);
    let share = |(kind, cpu_us): (&String, &u64)| format!("{kind} {:.1}", *cpu_us as f64 / certified as f64);
    let shares: Vec<String> = summary.machine.cpu_us.iter().map(share).collect();
    line("CPU", format!("{:.1} µs per certified payment ({})", summary.cpu_us_per_payment, shares.join(", ")));
    let machine = &summary.machine;
    line("on disk", format!("{} in all stores", bytes(machine.store_bytes)));
    line("memory", format!("{} at most in a node", bytes(machine.node_memory_bytes_max)));
    if let Some(faults) = &summary.faults {
        let (before, during, after) = (faults.before_per_second, faults.during_per_second, faults.after_per_second);
        line("faults", format!("certified/s before {before:.0}, during {during:.0}, after {after:.0}"));
    }
    for shortfall in &summary.shortfalls {
        line("caution", shortfall.to_string());
    }
    text
}

/// Bytes for people, in powers of 1,000.
pub fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
