//! What was run, where, and with which verdict.

use std::fmt::Write as _;

use serde_json::Value;
use shardpay_run::{KneeRecord, RunDir, SweepRecord, read_json};

use super::families::Input;
use super::page::escape;
use super::warmup;
use crate::runs::{Point, Run, thousands};
use crate::stats::median;

/// What runs have in common in one respect, in the order of its first mention.
fn distinct(runs: &[&Run], of: impl Fn(&Run) -> String) -> Vec<String> {
    let mut seen = Vec::new();
    for text in runs.iter().map(|run| of(run)) {
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    seen
}

fn commit(run: &Run) -> String {
    let git = &run.record.git;
    let short = git.commit.get(..10).unwrap_or(&git.commit);
    if git.modified { format!("{short} with uncommitted changes") } else { short.to_owned() }
}

/// Each machine and commit once.
pub(super) fn machines(runs: &[&Run]) -> Vec<String> {
    distinct(runs, |run| {
        let host = &run.record.host;
        format!(
            "{}-core machine ({}, {:.0} GiB, {}, {}); commit {}",
            host.cores,
            host.cpu_model,
            host.memory_bytes as f64 / (1u64 << 30) as f64,
            host.kernel,
            host.file_system,
            commit(run)
        )
    })
}

/// The line in every figure: the machine, and that limited containers are a model of more machines, not more machines.
pub(super) fn note(runs: &[&Run]) -> String {
    let machines =
        distinct(runs, |run| format!("{}-core machine ({})", run.record.host.cores, run.record.host.cpu_model));
    let mut note = machines.join("; ");
    if runs.iter().any(|run| is_scale_model(run)) {
        note += "; scale model: containers with limited CPU";
    }
    note
}

/// Whether a run's nodes were containers with a limited share of the processor.
pub(crate) fn is_scale_model(run: &Run) -> bool {
    let limited = |spec: Value| {
        spec["backend"] == "docker" && spec["node"]["cpu_share"].as_f64().is_some_and(|share| share > 0.0)
    };
    serde_json::to_value(run.spec()).is_ok_and(limited)
}

/// `6 runs of 1 to 4 × 4 nodes …`
pub(super) fn what_was_run(runs: &[&Run]) -> String {
    if runs.is_empty() {
        return String::new();
    }
    let range = |of: fn(&Run) -> f64| {
        let (least, most) = runs.iter().fold((f64::MAX, 0.0_f64), |(a, b), run| (a.min(of(run)), b.max(of(run))));
        if least == most { thousands(least) } else { format!("{} to {}", thousands(least), thousands(most)) }
    };
    let one_of = |of: &dyn Fn(&Run) -> String| distinct(runs, of).join(" or ");
    format!(
        "Run: {} ({} run{} of {} × {} nodes, durability {}, {} s measured after {} s of warm-up, {} load, seeds {}) at commit {}, on a \
         {}{}.",
        one_of(&|run| run.spec().name.clone()),
        runs.len(),
        if runs.len() == 1 { "" } else { "s" },
        range(|run| run.spec().committees as f64),
        range(|run| run.spec().nodes_per_committee as f64),
        one_of(&|run| run.spec().durability.name().to_owned()),
        range(|run| run.summary.measured_s),
        range(|run| run.summary.warmup.cut_s),
        one_of(&|run| super::families::pace(run.spec()).to_owned()),
        range(|run| run.spec().load.seed as f64),
        one_of(&commit),
        one_of(&|run| format!("{}-core machine ({})", run.record.host.cores, run.record.host.cpu_model)),
        if runs.iter().any(|run| is_scale_model(run)) { "; containers with limited CPU: a scale model" } else { "" }
    )
}

/// One command per sweep, and per run of none.
pub(super) fn commands(runs: &[&Run]) -> String {
    let commands = distinct(runs, |run| {
        let parent = run.dir.parent().unwrap_or(&run.dir);
        let kinds = [(SweepRecord::SPEC_FILE, "sweep"), (KneeRecord::SPEC_FILE, "knee")];
        let many = kinds.into_iter().find(|(file, _)| parent.join(file).is_file());
        let (spec, command) = many.map_or((run.dir.join("spec.toml"), "run"), |(file, kind)| (parent.join(file), kind));
        let of = if many.is_some() { parent } else { &run.dir };
        let name = of.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned());
        format!("./shardpay testbed {command} {} --out again/{name}\n", spec.display())
    });
    escape(&commands.concat())
}

/// The table of points.
pub(super) fn points_table(points: &[Point]) -> String {
    let mut html = String::from(
        "<div class=\"wide\"><table><thead><tr><th>point<th>repeats<th>certified/s<th>least to most<th>p50 ms<th>p99 ms\
         <th>p99.9 ms<th>CPU µs/payment<th>refused<th>not sent<th>open at the end<th>verdict</tr></thead><tbody>",
    );
    for point in points {
        let rate = point.figures(|summary| summary.total.all.per_second);
        let (least, most) =
            rate.iter().fold((f64::MAX, 0.0_f64), |(low, high), rate| (low.min(*rate), high.max(*rate)));
        let middle = |of: fn(&shardpay_run::Summary) -> f64| median(&point.figures(of));
        let sum = |of: fn(&Run) -> u64| thousands(point.runs.iter().map(of).sum::<u64>() as f64);
        let _ = write!(
            html,
            "<tr><td>{}<td>{}<td>{}<td>{} – {}<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.1}<td>{}<td>{}<td>{}<td>PASS</tr>",
            escape(&point.label),
            point.runs.len(),
            thousands(median(&rate).round()),
            thousands(least.round()),
            thousands(most.round()),
            middle(|summary| summary.total.all.latency_ms.p50),
            middle(|summary| summary.total.all.latency_ms.p99),
            middle(|summary| summary.total.all.latency_ms.p999),
            middle(|summary| summary.cpu_us_per_payment),
            sum(Run::refused),
            sum(|run| run.summary.skipped),
            sum(|run| run.summary.unresolved),
        );
    }
    html.push_str(
        "</tbody></table></div><p class=\"caption\">Medians of the repeats; counts are summed over them.</p>",
    );
    html
}

/// Every check of the verdict over all runs, void ones included.
pub(super) fn verdicts(input: &Input) -> anyhow::Result<String> {
    let mut checks: Vec<(String, u64, u64)> = Vec::new();
    let all: Vec<&Run> = input.runs().chain(&input.void).collect();
    for run in &all {
        let verdict: Value = read_json(&RunDir::new(&run.dir).verdict())?;
        for check in verdict["checks"].as_array().into_iter().flatten() {
            let name = check["name"].as_str().unwrap_or_default();
            let index = checks.iter().position(|(known, ..)| known == name).unwrap_or_else(|| {
                checks.push((name.to_owned(), 0, 0));
                checks.len() - 1
            });
            checks[index].1 += u64::from(check["passed"] == Value::Bool(true));
            checks[index].2 += check["failures"].as_u64().unwrap_or_default();
        }
    }
    let mut html = String::from(
        "<div class=\"wide\"><table><thead><tr><th>check<th>passed in runs<th>failures</tr></thead><tbody>",
    );
    for (name, passed, failures) in checks {
        let _ = write!(html, "<tr><td>{}<td>{passed} of {}<td>{failures}</tr>", escape(&name), all.len());
    }
    html.push_str(
        "</tbody></table></div><p class=\"caption\">From the runs' <code>verdict.json</code>; docs/RUNS.md says what each \
         check means, <code>./shardpay analysis verify RUN</code> works them out again.</p>",
    );
    Ok(html)
}

/// Machine, commit and spec of every point, in full, and what MSER-5 says about its warm-up.
pub(super) fn environment(points: &[Point]) -> anyhow::Result<String> {
    let mut html = String::new();
    for point in points {
        let _ = write!(html, "<details><summary>{}</summary><dl>", escape(&point.label));
        let run = &point.runs[0];
        let mut facts = serde_json::to_value(&run.record)?;
        if let Some(facts) = facts.as_object_mut() {
            facts.remove("spec");
        }
        list(&facts, "", &mut html);
        let warmups = point.runs.iter().map(warmup::told).collect::<anyhow::Result<Vec<_>>>()?;
        let _ = write!(html, "<dt>warm-up<dd>{}</dl>", escape(&warmups.join("; ")));
        let _ = write!(html, "<pre>{}</pre></details>", escape(&run.spec().to_toml()));
    }
    Ok(html)
}

fn list(value: &Value, key: &str, html: &mut String) {
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| {
            list(value, &if key.is_empty() { name.clone() } else { format!("{key}.{name}") }, html);
        }),
        value => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = write!(html, "<dt>{}<dd>{}", escape(key), escape(&text));
        }
    }
}
