//! Load on nodes and committees, and how unevenly it lies.

use serde_json::json;

use super::families::Input;
use super::figure::{Figure, axis, colour, names_axis};
use super::series::NodeFigures;
use crate::runs::{Point, Run};
use crate::stats::{Imbalance, median};

const ID: &str = "node-load";
const TITLE: &str = "Load of nodes and committees";

/// Of the largest deployment, which tells most.
pub(super) fn figure(input: &Input) -> Figure {
    let size = |point: &&Point| point.spec().committees * point.spec().nodes_per_committee;
    let Some(point) = input.points.iter().max_by_key(size) else { return Figure::missing(ID, TITLE, "needs a run") };
    let axes = (names_axis("node (committee-member)"), axis("cores in use"));
    let mut figure = Figure::new(ID, TITLE, axes).about(&[point]);
    figure.beside((names_axis("committee"), axis("certified payments/s")));
    let nodes: Vec<&[NodeFigures]> = point.runs.iter().map(|run| input.series(run)).collect();
    let cores = |run: &Run, node: &NodeFigures| node.counter("process_cpu_us") / 1e6 / run.summary.measured_s;
    let per_node = |index: usize| -> Vec<f64> {
        point.runs.iter().zip(&nodes).filter_map(|(run, nodes)| Some(cores(run, nodes.get(index)?))).collect()
    };
    let names: Vec<&String> = nodes[0].iter().map(|node| &node.name).collect();
    let colours: Vec<&str> = nodes[0].iter().map(|node| colour(node.committee)).collect();
    let cpu: Vec<Vec<f64>> = (0..names.len()).map(per_node).collect();
    bars(&mut figure, &names, &cpu, (json!(colours), 1));
    let committees: Vec<String> = (0..point.spec().committees).map(|committee| committee.to_string()).collect();
    let rate = |committee: usize| point.figures(|summary| summary.per_committee[committee].all.per_second);
    let rates: Vec<Vec<f64>> = (0..committees.len()).map(rate).collect();
    let colours: Vec<&str> = (0..committees.len()).map(colour).collect();
    bars(&mut figure, &committees.iter().collect::<Vec<_>>(), &rates, (json!(colours), 2));
    figure.layout["showlegend"] = json!(false);
    let medians =
        |values: &[Vec<f64>]| Imbalance::of(&values.iter().map(|repeats| median(repeats)).collect::<Vec<_>>());
    let (of_nodes, of_committees) = (medians(&cpu), medians(&rates));
    figure.caption = format!(
        "{}; bars are medians, marks the repeats; one colour per committee. Imbalance of processor time over nodes: Gini \
         {:.3}, max/mean {:.2}; of certified payments over committees: Gini {:.3}, max/mean {:.2} (0 and 1 when all are \
         alike).",
        point.label, of_nodes.gini, of_nodes.max_over_mean, of_committees.gini, of_committees.max_over_mean
    );
    figure.columns = vec!["run", "node", "committee", "cores", "executed_per_second", "peer_bytes_out_per_second"];
    for (run, nodes) in point.runs.iter().zip(&nodes) {
        figure.rows.extend(nodes.iter().map(|node| {
            let rate = |name| (node.counter(name) / run.summary.measured_s).to_string();
            let run_dir = run.dir.display().to_string();
            let (executed, bytes) = (rate("payments_executed"), rate("peer_bytes_out"));
            vec![run_dir, node.name.clone(), node.committee.to_string(), cores(run, node).to_string(), executed, bytes]
        }));
    }
    figure
}

/// Medians as bars, repeats as marks.
fn bars(figure: &mut Figure, names: &[&String], values: &[Vec<f64>], (colours, panel): (serde_json::Value, usize)) {
    let (x, y) = (super::figure::axis_name('x', panel), super::figure::axis_name('y', panel));
    let medians: Vec<f64> = values.iter().map(|repeats| median(repeats)).collect();
    figure.traces.push(json!({ "type": "bar", "x": names, "y": medians, "xaxis": x, "yaxis": y,
        "marker": { "color": colours, "opacity": 0.75 } }));
    let dots = names.iter().zip(values).flat_map(|(name, repeats)| repeats.iter().map(move |value| (name, *value)));
    let (xs, ys): (Vec<&&String>, Vec<f64>) = dots.unzip();
    if ys.len() > names.len() {
        figure.traces.push(json!({ "type": "scatter", "mode": "markers", "x": xs, "y": ys, "xaxis": x, "yaxis": y,
            "marker": { "color": super::figure::GREY, "size": 6, "symbol": "circle-open" } }));
    }
}
