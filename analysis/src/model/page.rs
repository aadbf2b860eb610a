//! The page of the scale model.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use shardpay_model::{Costs, KINDS, Links};

use super::{Beyond, Compared, Report, Simulated};
use crate::report::Written;
use crate::report::figure::{Figure, GREY, axis, bar_look, line, log_axis, names_axis};
use crate::report::labels;
use crate::report::page::{Page, escape};
use crate::runs::{Run, thousands};

/// Stands wherever the closed model speaks.
const EXTRAPOLATION: &str = "EXTRAPOLATION: a closed queueing model, nothing of this size was run or simulated.";

/// Writes `model.html` and a CSV file per figure into a directory.
pub fn write(report: &Report, out: &Path) -> anyhow::Result<Written> {
    let runs: Vec<&Run> = report.compared.iter().flat_map(|compared| &compared.point.runs).collect();
    let mut page = Page::new("shardpay: scale model", &runs);
    page.intro(&format!(
        "Predictions from costs measured on a {}-core machine ({}) at commit {}. What is assumed stands in docs/MODEL.md.",
        report.costs.cores, report.costs.cpu_model, report.costs.commit
    ));
    if report.compared.is_empty() {
        page.section("Beside measured runs", "<p>No runs were given: no prediction is held against anything.</p>");
    } else {
        page.section("Beside measured runs", &compared_table(&report.compared));
        page.figure(beside_runs(&report.compared));
        page.figure(cost_by_kind(&report.compared));
    }
    page.section("Simulated, and the closed model of the same systems", &simulated_table(&report.simulated));
    page.figure(committees(report));
    page.figure(extrapolated(report));
    page.section("Extrapolated", &beyond_table(&report.beyond));
    page.section("Costs", &costs_table(&report.costs));
    if !report.left_out.is_empty() {
        let item = |(label, why): &(String, &str)| format!("<li>{}: {why}</li>", escape(label));
        page.section("Not predicted", &format!("<ul>{}</ul>", report.left_out.iter().map(item).collect::<String>()));
    }
    page.write(out, "model.html")
}

/// By how much a prediction is off.
fn error(predicted: f64, measured: f64) -> String {
    format!("{:+.0} %", (predicted / measured - 1.0) * 100.0)
}

fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: String = heads.iter().map(|head| format!("<th>{head}")).collect();
    let row = |cells: &Vec<String>| {
        format!("<tr>{}</tr>", cells.iter().map(|cell| format!("<td>{}", escape(cell))).collect::<String>())
    };
    let rows: String = rows.iter().map(row).collect();
    format!("<div class=\"wide\"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>")
}

/// Points by what they differ in.
fn names(all: &[Compared]) -> Vec<String> {
    labels::short(&all.iter().map(|of| of.point.spec()).collect::<Vec<_>>())
}

fn compared_table(all: &[Compared]) -> String {
    let row = |(name, of): (String, &Compared)| {
        let (cpu, p) = (of.predicted.per_payment.total_us(), &of.predicted);
        vec![
            name,
            of.point.runs.len().to_string(),
            thousands(of.rate().round()),
            thousands(p.per_second.round()),
            error(p.per_second, of.rate()),
            format!("{:.1}", of.p50_ms()),
            format!("{:.1}", p.p50_ms),
            error(p.p50_ms, of.p50_ms()),
            format!("{:.1}", of.p99_ms()),
            format!("{:.1}", p.p99_ms),
            format!("{:.1}", of.cpu_us()),
            format!("{cpu:.1}"),
            error(cpu, of.cpu_us()),
            format!("{:.0} %", p.utilisation * 100.0),
        ]
    };
    let heads = [
        "point",
        "runs",
        "measured/s",
        "predicted/s",
        "error",
        "p50 ms",
        "predicted",
        "error",
        "p99 ms",
        "predicted",
        "CPU µs",
        "predicted",
        "error",
        "cores used, predicted",
    ];
    let note = "<p class=\"caption\">Measured figures are medians of the runs; errors are of the prediction, relative to \
        them. No constant was fitted to these runs (docs/MODEL.md).</p>";
    table(&heads, &names(all).into_iter().zip(all).map(row).collect::<Vec<_>>()) + note
}

fn beside_runs(all: &[Compared]) -> Figure {
    let axes = (names_axis("run"), axis("certified payments/s"));
    let mut figure = Figure::new("model-runs", "Predicted and measured", axes);
    figure.beside((names_axis("run"), axis("p50 (ms)")));
    figure.runs = all.iter().flat_map(|of| of.point.runs.iter().cloned()).collect();
    figure.shows_latency = true;
    let names = names(all);
    let mut bars = |name: &str, index: usize, panel: usize, values: Vec<f64>| {
        let (x, y) = if panel == 1 { ("x", "y") } else { ("x2", "y2") };
        figure
            .traces
            .push(json!({ "type": "bar", "name": name, "legendgroup": name, "showlegend": panel == 1, "x": names,
            "y": values, "xaxis": x, "yaxis": y, "marker": bar_look(index) }));
    };
    bars("measured", 0, 1, all.iter().map(Compared::rate).collect());
    bars("predicted", 1, 1, all.iter().map(|of| of.predicted.per_second).collect());
    bars("measured", 0, 2, all.iter().map(Compared::p50_ms).collect());
    bars("predicted", 1, 2, all.iter().map(|of| of.predicted.p50_ms).collect());
    figure.caption =
        "Medians of the runs beside the simulation of the same spec on as many shared cores, with the costs of the \
        calibration. No constant was fitted to the runs; what the model counts was changed after earlier ones (docs/MODEL.md)."
            .to_owned();
    figure.columns =
        vec!["point", "measured_per_second", "predicted_per_second", "measured_p50_ms", "predicted_p50_ms"];
    figure.rows = all
        .iter()
        .map(|of| {
            let numbers = [of.rate(), of.predicted.per_second, of.p50_ms(), of.predicted.p50_ms];
            std::iter::once(of.point.label.clone()).chain(numbers.map(|number| number.to_string())).collect()
        })
        .collect();
    figure
}

fn cost_by_kind(all: &[Compared]) -> Figure {
    let axes = (names_axis("run"), axis("processor time per payment (µs)"));
    let mut figure = Figure::new("model-cost", "What processor time is predicted to go to", axes);
    figure.layout["barmode"] = json!("stack");
    figure.runs = all.iter().flat_map(|of| of.point.runs.iter().cloned()).collect();
    let names = names(all);
    for (index, (kind, name)) in KINDS.iter().enumerate() {
        let values: Vec<f64> = all.iter().map(|of| of.predicted.per_payment.us(*kind)).collect();
        figure.traces.push(json!({ "type": "bar", "name": name, "x": names, "y": values, "marker": bar_look(index) }));
    }
    let measured: Vec<f64> = all.iter().map(Compared::cpu_us).collect();
    figure.traces.push(json!({ "type": "scatter", "mode": "markers", "name": "measured, all processes", "x": names,
        "y": measured, "marker": { "symbol": "line-ew-open", "size": 40, "color": GREY, "line": { "width": 3 } } }));
    figure.caption =
        "Bars: the simulation's charge per certified payment, by what it was for; the line: what all processes of the \
        runs really used."
            .to_owned();
    figure.columns = vec!["point", "kind", "predicted_us_per_payment"];
    figure.rows = all
        .iter()
        .flat_map(|of| {
            KINDS.map(|(kind, name)| {
                vec![of.point.label.clone(), name.to_owned(), of.predicted.per_payment.us(kind).to_string()]
            })
        })
        .collect();
    figure
}

fn simulated_table(all: &[Simulated]) -> String {
    let row = |of: &Simulated| {
        vec![
            format!("{} × {}", of.setup.committees, of.setup.members),
            of.setup.links.name.to_owned(),
            of.setup.grain.to_string(),
            format!("{}{}", thousands(of.full.per_second.round()), if of.full.settled { "" } else { ", not settled" }),
            thousands(of.closed.per_second.round()),
            error(of.closed.per_second, of.full.per_second),
            format!("{:.0} %", of.full.utilisation * 100.0),
            of.closed.bound.to_owned(),
            format!("{:.1}", of.full.per_payment.total_us()),
            format!("{:.1}", of.closed.cpu_us),
            format!("{:.1}", of.half.p50_ms),
            format!("{:.1}", of.half.p99_ms),
            format!("{:.1}", of.closed.half_ms),
            error(of.closed.half_ms, of.half.p50_ms),
        ]
    };
    let heads = [
        "system",
        "links",
        "grain",
        "simulated/s",
        "closed model/s",
        "difference",
        "cores used",
        "closed model: full is",
        "CPU µs",
        "closed model",
        "p50 at half",
        "p99 at half",
        "closed model",
        "difference",
    ];
    let note = "<p class=\"caption\">Real replicas and ledgers in virtual time, two cores a node, natural mix, closed loop of 8,192 \
        payments a committee, after 0.5 s in windows of 1.5 s until two in a row differ by at most 5 %, eight at most; the last one \
        counts. Grain: payments that one simulated payment stands for. Not run.</p>";
    table(&heads, &all.iter().map(row).collect::<Vec<_>>()) + note
}

fn beyond_table(all: &[Beyond]) -> String {
    let row = |of: &Beyond| {
        vec![
            format!("{} × {}", thousands(of.setup.committees as f64), of.setup.members),
            of.setup.links.name.to_owned(),
            thousands(of.closed.per_second.round()),
            of.closed.bound.to_owned(),
            format!("{:.1}", of.closed.cpu_us),
            format!("{:.1}", of.closed.round_ms),
            format!("{:.0}", of.closed.half_ms),
        ]
    };
    let heads = ["system", "links", "payments/s", "full is", "CPU µs/payment", "round ms", "latency ms at half"];
    let sources: String = [Links::lan(), Links::region(), Links::aws()]
        .map(|links| format!("<li>{}: {}</li>", links.name, escape(links.source)))
        .concat();
    format!("<p><b>{EXTRAPOLATION}</b></p>")
        + &table(&heads, &all.iter().map(row).collect::<Vec<_>>())
        + &format!("<ul class=\"caption\">{sources}</ul>")
}

fn machine(costs: &Costs) -> String {
    format!("predicted from costs of a {}-core machine ({})", costs.cores, costs.cpu_model)
}

/// Simulations and the closed model over the number of committees of four.
fn committees(report: &Report) -> Figure {
    let axes = (log_axis("committees of 4 nodes, 2 cores each"), log_axis("payments/s"));
    let mut figure = Figure::new("model-committees", "Simulated throughput and the number of committees", axes);
    figure.machine = Some(machine(&report.costs));
    let of: Vec<&Simulated> =
        report.simulated.iter().filter(|of| of.setup.members == 4 && of.setup.links.name == "LAN").collect();
    let xs: Vec<f64> = of.iter().map(|of| of.setup.committees as f64).collect();
    let ys: Vec<f64> = of.iter().map(|of| of.full.per_second).collect();
    let closed = of.iter().map(|of| of.closed.per_second).collect();
    let ideal = xs.iter().map(|x| x * ys.first().copied().unwrap_or(0.0)).collect();
    figure.traces.push(json!({ "type": "scatter", "mode": "lines+markers", "name": "simulated", "x": xs, "y": ys,
        "marker": { "size": 8 } }));
    figure.traces.push(line("closed model", (xs.clone(), closed), 1));
    figure.traces.push(line("as many single committees", (xs, ideal), 3));
    figure.caption =
        "Simulated with the real replicas, not run: payments cross committees in the natural mix (1 − 1/k).".to_owned();
    figure.columns = vec!["committees", "simulated_per_second", "closed_model_per_second"];
    figure.rows = of
        .iter()
        .map(|of| {
            vec![of.setup.committees.to_string(), of.full.per_second.to_string(), of.closed.per_second.to_string()]
        })
        .collect();
    figure
}

fn extrapolated(report: &Report) -> Figure {
    let axes = (log_axis("committees"), log_axis("payments/s"));
    let mut figure = Figure::new("model-extrapolated", "EXTRAPOLATION: throughput up to 1,024 committees", axes);
    figure.machine = Some(machine(&report.costs) + ": EXTRAPOLATION");
    let lan: Vec<&Beyond> = report.beyond.iter().filter(|of| of.setup.links.name == "LAN").collect();
    let mut sizes: Vec<usize> = lan.iter().map(|of| of.setup.members).collect();
    sizes.dedup();
    for (index, members) in sizes.into_iter().enumerate() {
        let of = lan.iter().filter(|of| of.setup.members == members);
        let curve = of.map(|of| (of.setup.committees as f64, of.closed.per_second)).unzip();
        figure.traces.push(line(&format!("{members} nodes each"), curve, index));
    }
    figure.caption = format!("{EXTRAPOLATION} Two cores a node, one data centre, natural mix.");
    figure.columns = vec!["committees", "members", "links", "per_second", "bound", "half_ms"];
    figure.rows = report
        .beyond
        .iter()
        .map(|of| {
            let (setup, closed) = (&of.setup, &of.closed);
            vec![
                setup.committees.to_string(),
                setup.members.to_string(),
                setup.links.name.to_owned(),
                closed.per_second.to_string(),
                closed.bound.to_owned(),
                closed.half_ms.to_string(),
            ]
        })
        .collect();
    figure
}

fn costs_table(costs: &Costs) -> String {
    let linear = |name: &str, of: shardpay_model::Linear, each: &str| {
        (name.to_owned(), format!("{:.2} + {:.4} per {each}", of.fixed_us, of.each_us))
    };
    let curve = |points: &[(f64, f64)]| {
        let mut text = String::new();
        points.iter().for_each(|(size, us)| {
            let _ = write!(text, "{}: {us:.1}; ", thousands(*size));
        });
        text
    };
    let rows = [
        ("verify a signature in a batch of …".to_owned(), curve(&costs.verify.points)),
        ("sign".to_owned(), format!("{:.1}", costs.sign_us)),
        ("hash a kilobyte".to_owned(), format!("{:.2}", costs.hash_byte_us * 1e3)),
        linear("check a peer's message, signatures aside", costs.check, "payment"),
        linear("check a client's batch, signatures aside", costs.admit, "payment"),
        linear("replica, per input", costs.core, "payment"),
        linear("execute a commit", costs.execute, "payment"),
        linear("write a ledger batch", costs.store, "payment"),
        ("the store behind it, per payment".to_owned(), format!("{:.2}", costs.store_behind_us)),
        linear("write a record", costs.record, "byte"),
        ("sync: processor; duration".to_owned(), format!("{:.0}; {:.0}", costs.sync_us, costs.sync_wait_us)),
        ("a message of … bytes, both ends, alone".to_owned(), curve(&costs.message.points)),
        ("the same among many".to_owned(), curve(&costs.message_among_many.points)),
        linear("a client checks a block", costs.client, "payment"),
        ("wake a thread".to_owned(), format!("{:.1}", costs.wake_us)),
        ("what follows a sleep takes so many times as long (a factor)".to_owned(), format!("{:.2}", costs.cold)),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name, value]).collect();
    table(&["action", "µs"], &rows)
}

#[cfg(test)]
mod tests;
