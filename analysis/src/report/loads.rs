//! Load on nodes and committees, and what a payment costs.

use serde_json::json;

use super::figure::{COLOURS, Figure};
use super::series::{self, NodeFigures};
use crate::runs::Point;
use crate::stats::{Imbalance, median};

pub(super) fn figures(points: &[Point]) -> anyhow::Result<Vec<Figure>> {
    let mut figures = vec![costs(points)];
    // the largest deployment tells most
    if let Some(point) = points.iter().max_by_key(|point| point.spec().committees * point.spec().nodes_per_committee) {
        let nodes = series::read(&point.runs[0])?;
        figures.push(per_node(point, &nodes));
    }
    Ok(figures)
}

fn counter(node: &NodeFigures, name: &str) -> f64 {
    node.counters.get(name).copied().unwrap_or_default()
}

fn per_node(point: &Point, nodes: &[NodeFigures]) -> Figure {
    let run = &point.runs[0];
    let seconds = run.summary.measured_s;
    let mut figure = Figure::new("node-load", "Load per node", ("node (committee-member)", "share of a core in use"));
    let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
    let cpu: Vec<f64> = nodes.iter().map(|node| counter(node, "process_cpu_us") / 1e6 / seconds).collect();
    let colours: Vec<&str> = nodes.iter().map(|node| COLOURS[node.committee % COLOURS.len()]).collect();
    figure
        .traces
        .push(json!({ "type": "bar", "x": names, "y": cpu, "marker": { "color": colours }, "showlegend": false }));
    figure.layout["xaxis"]["type"] = json!("category");
    let committees: Vec<f64> = run.summary.per_committee.iter().map(|figures| figures.all.per_second).collect();
    let (of_nodes, of_committees) = (Imbalance::of(&cpu), Imbalance::of(&committees));
    figure.caption = format!(
        "{}, {}. Imbalance of processor time over nodes: Gini {:.3}, max/mean {:.2}; of certified payments over \
         committees: Gini {:.3}, max/mean {:.2}.",
        point.label.clone(),
        run.dir.display(),
        of_nodes.gini,
        of_nodes.max_over_mean,
        of_committees.gini,
        of_committees.max_over_mean
    );
    figure.columns = vec!["node", "committee", "cores", "executed_per_second", "peer_bytes_out_per_second"];
    figure.rows = nodes
        .iter()
        .zip(&cpu)
        .map(|(node, cores)| {
            let rate = |name| (counter(node, name) / seconds).to_string();
            let (executed, bytes) = (rate("payments_executed"), rate("peer_bytes_out"));
            vec![node.name.clone(), node.committee.to_string(), cores.to_string(), executed, bytes]
        })
        .collect();
    figure
}

fn costs(points: &[Point]) -> Figure {
    let mut figure = Figure::new("cost", "What a payment costs", ("", "CPU µs per certified payment"));
    let programs: std::collections::BTreeSet<&String> =
        points.iter().flat_map(|point| &point.runs).flat_map(|run| run.summary.machine.cpu_us.keys()).collect();
    let names: Vec<String> = points.iter().map(|point| point.label.clone()).collect();
    for (index, program) in programs.into_iter().enumerate() {
        let of = |point: &Point| {
            median(&point.figures(|summary| {
                let cpu = summary.machine.cpu_us.get(program).copied().unwrap_or_default() as f64;
                cpu / (summary.total.all.certified as f64).max(1.0)
            }))
        };
        let values: Vec<f64> = points.iter().map(of).collect();
        figure.traces.push(json!({ "type": "bar", "name": program, "x": names, "y": values,
            "marker": { "color": COLOURS[index % COLOURS.len()] } }));
    }
    figure.layout["barmode"] = json!("stack");
    figure.caption =
        "Processor time of all processes over the measured part, by program, per payment certified in it; medians \
        of the repeats. Bytes on disk are of whole stores, the genesis accounts and the warm-up included."
            .to_owned();
    figure.columns = vec!["point", "run", "cpu_us_per_payment", "store_bytes", "certified", "node_memory_bytes_max"];
    for point in points {
        for run in &point.runs {
            let summary = &run.summary;
            figure.rows.push(vec![
                point.label.clone(),
                run.dir.display().to_string(),
                summary.cpu_us_per_payment.to_string(),
                summary.machine.store_bytes.to_string(),
                summary.total.all.certified.to_string(),
                summary.machine.node_memory_bytes_max.to_string(),
            ]);
        }
    }
    figure
}
