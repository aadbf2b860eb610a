//! What a payment costs: processor time, bytes on the network, bytes on disk.

use serde_json::{Value, json};
use shardpay_run::LatencyKind;

use super::families::Input;
use super::figure::{Figure, GREY, axis, bar_look, names_axis};
use super::labels;
use crate::runs::{Point, Run};
use crate::stats::median;

pub(super) fn figures(input: &Input) -> anyhow::Result<Vec<Figure>> {
    Ok(vec![cpu(input), bytes(input)?])
}

fn certified(run: &Run) -> f64 {
    (run.summary.total.all.certified as f64).max(1.0)
}

/// A horizontal bar per point.
fn base(id: &str, title: &str, points: &[&Point], x: &str) -> (Figure, Vec<String>) {
    let mut y = names_axis("");
    y["autorange"] = json!("reversed");
    let mut figure = Figure::new(id, title, (axis(x), y)).about(points);
    figure.height = 190 + 34 * points.len().max(3);
    figure.layout["bargap"] = json!(0.35);
    figure.layout["barmode"] = json!("stack");
    figure.layout["legend"]["traceorder"] = json!("normal");
    (figure, labels::short(&points.iter().map(|point| point.spec()).collect::<Vec<_>>()))
}

fn stack(name: &str, index: usize, (names, values): (&[String], Vec<f64>)) -> Value {
    json!({ "type": "bar", "orientation": "h", "name": name, "y": names, "x": values, "marker": bar_look(index) })
}

/// All repeats of each point, as marks over its bar.
fn marks(points: &[&Point], names: &[String], of: impl Fn(&Run) -> f64) -> Value {
    let dots = points.iter().zip(names).flat_map(|(point, name)| point.runs.iter().map(move |run| (name, run)));
    let (ys, xs): (Vec<&String>, Vec<f64>) = dots.map(|(name, run)| (name, of(run))).unzip();
    json!({ "type": "scatter", "mode": "markers", "name": "each run", "y": ys, "x": xs,
        "marker": { "symbol": "line-ns-open", "size": 14, "color": GREY, "line": { "width": 1.5 } } })
}

fn cpu(input: &Input) -> Figure {
    let points: Vec<&Point> = input.points.iter().collect();
    let (mut figure, names) =
        base("cost", "Processor time per payment", &points, "CPU time per certified payment (µs)");
    let programs: std::collections::BTreeSet<&String> =
        points.iter().flat_map(|point| &point.runs).flat_map(|run| run.summary.machine.cpu_us.keys()).collect();
    let of = |run: &Run, program: &str| {
        run.summary.machine.cpu_us.get(program).copied().unwrap_or_default() as f64 / certified(run)
    };
    // the one that uses most next to the axis
    let mut programs: Vec<&String> = programs.into_iter().collect();
    let total =
        |program: &&String| points.iter().flat_map(|point| &point.runs).map(|run| of(run, program)).sum::<f64>();
    programs.sort_by(|a, b| total(b).total_cmp(&total(a)));
    for (index, program) in programs.iter().enumerate() {
        let middle = |point: &&Point| median(&point.runs.iter().map(|run| of(run, program)).collect::<Vec<_>>());
        figure.traces.push(stack(program, index, (&names, points.iter().map(middle).collect())));
    }
    figure.traces.push(marks(&points, &names, |run| run.summary.cpu_us_per_payment));
    figure.caption = "Processor time of all processes over the measured part, by program, per payment certified in it. \
        Bars are medians of the repeats, marks the totals of the runs. The load generator checks every certificate as a \
        client would; its time is no part of the ledger's."
        .to_owned();
    figure.columns = vec!["point", "run", "program", "cpu_us_per_payment", "certified", "node_memory_bytes_max"];
    for run in points.iter().flat_map(|point| point.runs.iter().map(move |run| (point, run))) {
        let (point, run) = run;
        figure.rows.extend(programs.iter().map(|program| {
            let (all, machine) = (&run.summary.total.all, &run.summary.machine);
            let cpu = of(run, program).to_string();
            let (count, memory) = (all.certified.to_string(), machine.node_memory_bytes_max.to_string());
            vec![point.label.clone(), run.dir.display().to_string(), (*program).clone(), cpu, count, memory]
        }));
    }
    figure
}

/// What went over the network in the measured part, by the counters of the nodes: name, counter.
const NETWORK: [(&str, &str); 3] =
    [("node to node", "peer_bytes_out"), ("client to node", "client_bytes_in"), ("node to client", "client_bytes_out")];

fn bytes(input: &Input) -> anyhow::Result<Figure> {
    let points: Vec<&Point> = input.points.iter().collect();
    let (mut figure, names) = base("bytes", "Bytes per payment", &points, "network bytes per payment");
    let mut y = names_axis("");
    (y["autorange"], y["showticklabels"]) = (json!("reversed"), json!(false));
    figure.beside((axis("store bytes per payment"), y));
    (figure.layout["xaxis"]["domain"], figure.layout["xaxis2"]["domain"]) = (json!([0, 0.55]), json!([0.62, 1]));
    let sent = |run: &Run, counter: &str| {
        input.series(run).iter().map(|node| node.counter(counter)).sum::<f64>() / certified(run)
    };
    for (index, (name, counter)) in NETWORK.iter().enumerate() {
        let middle = |point: &&Point| median(&point.runs.iter().map(|run| sent(run, counter)).collect::<Vec<_>>());
        figure.traces.push(stack(name, index, (&names, points.iter().map(middle).collect())));
    }
    figure.traces.push(marks(&points, &names, |run| NETWORK.iter().map(|(_, counter)| sent(run, counter)).sum()));
    let mut stores = Vec::new();
    for point in &points {
        let mut of_point = Vec::new();
        for run in &point.runs {
            of_point.push(run.summary.machine.store_bytes as f64 / certified_in_all(run)?);
        }
        stores.push(of_point);
    }
    let mut store = stack("stores", 3, (&names, stores.iter().map(|repeats| median(repeats)).collect()));
    (store["xaxis"], store["yaxis"]) = (json!("x2"), json!("y2"));
    figure.traces.push(store);
    let mut each = marks(&points, &names, |_| 0.0);
    (each["x"], each["showlegend"]) = (json!(stores.concat()), json!(false));
    (each["xaxis"], each["yaxis"]) = (json!("x2"), json!("y2"));
    figure.traces.push(each);
    figure.caption = "Left: bytes of frames in the measured part, as the nodes count them, per payment certified in it; what \
        goes between nodes counts once, at the sender. Right: bytes that all stores together take on disk at the end, per \
        payment certified in the whole run; the accounts' first coins are in it, so short runs show more. Bars are medians \
        of the repeats, marks the runs."
        .to_owned();
    figure.columns = vec!["point", "run", "node_to_node", "client_to_node", "node_to_client", "stores"];
    for (point, stores) in points.iter().zip(&stores) {
        figure.rows.extend(point.runs.iter().zip(stores).map(|(run, store)| {
            let [a, b, c] = NETWORK.map(|(_, counter)| sent(run, counter).to_string());
            vec![point.label.clone(), run.dir.display().to_string(), a, b, c, store.to_string()]
        }));
    }
    Ok(figure)
}

/// Payments certified from the load's beginning to the end of the drain.
fn certified_in_all(run: &Run) -> anyhow::Result<f64> {
    let latencies = run.latencies()?;
    let whole = latencies.iter().filter(|interval| interval.tag.kind != LatencyKind::CrossDebit);
    Ok((whole.map(|interval| interval.latencies.len()).sum::<u64>() as f64).max(1.0))
}
