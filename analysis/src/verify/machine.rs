//! What the machine was used for, held against `resources.csv`, which samples every server once a second.
//!
//! The figures of the summary were taken between two samples, so that they are known only to lie between bounds; a figure
//! that was changed by more than what a program uses in a few seconds is found even by who believes no digest.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;
use shardpay_run::{LoadResult, RunDir, RunRecord, Summary};

use super::Mismatch;

/// How far the clock of the samples may be from that of the load.
const SLACK_MS: f64 = 1_500.0;

/// Samples of a server: when, in milliseconds, and CPU time so far.
type Samples = BTreeMap<String, Vec<(f64, f64)>>;

pub(super) fn check(
    paths: &RunDir,
    (record, load): (&RunRecord, &LoadResult),
    stated: &Summary,
    found: &mut Vec<Mismatch>,
) -> Result<(), Box<Mismatch>> {
    const FILE: &str = "resources.csv";
    let text = fs::read_to_string(paths.resources()).map_err(|error| Mismatch::unreadable(FILE, &error))?;
    let (samples, memory) = read(&text).ok_or_else(|| Mismatch::unreadable(FILE, &"a line that is no sample"))?;
    let began = load.started_us.saturating_sub(record.started_us) as f64 / 1_000.0;
    let (from, to) = (began + stated.warmup.cut_s * 1_000.0, began + record.spec.duration_s * 1_000.0);
    let mut bounds = BTreeMap::<&str, (f64, f64)>::new();
    for (server, samples) in &samples {
        let sum = bounds.entry(program(server)).or_default();
        sum.0 += (before(samples, to - SLACK_MS) - after(samples, from + SLACK_MS)).max(0.0);
        sum.1 += after(samples, to + SLACK_MS) - before(samples, from - SLACK_MS);
    }
    for (program, (least, most)) in bounds {
        let stands = stated.machine.cpu_us.get(program).copied().unwrap_or_default() as f64;
        if stands < least || stands > most {
            let key = format!("machine.cpu_us.{program}");
            let between = json!(format!("{least:.0} to {most:.0}"));
            found.push(Mismatch::new("summary.json", &key, (json!(stands), between)));
        }
    }
    let stands = stated.machine.node_memory_bytes_max as f64;
    if stands < memory || stands > 2.0 * memory {
        let between = json!(format!("{memory:.0} or a little more"));
        found.push(Mismatch::new("summary.json", "machine.node_memory_bytes_max", (json!(stands), between)));
    }
    Ok(())
}

/// The last value at or before a moment; the first of all when there is none.
fn before(samples: &[(f64, f64)], at: f64) -> f64 {
    let count = samples.partition_point(|sample| sample.0 <= at);
    samples.get(count.saturating_sub(1)).map_or(0.0, |sample| if count == 0 { 0.0 } else { sample.1 })
}

/// The first value at or after a moment; the last of all when there is none.
fn after(samples: &[(f64, f64)], at: f64) -> f64 {
    let index = samples.partition_point(|sample| sample.0 < at);
    samples.get(index).or(samples.last()).map_or(0.0, |sample| sample.1)
}

/// `None` when a line has not the documented form. Also the most memory that a node had.
fn read(text: &str) -> Option<(Samples, f64)> {
    let (mut samples, mut memory) = (Samples::new(), 0.0_f64);
    let mut lines = text.lines();
    (lines.next()? == shardpay_testbed::resources::HEADER).then_some(())?;
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let [at, server, cpu, resident, _] = fields[..] else { return None };
        samples.entry(server.to_owned()).or_default().push((at.parse().ok()?, cpu.parse().ok()?));
        if program(server) == "node" {
            memory = memory.max(resident.parse().ok()?);
        }
    }
    Some((samples, memory))
}

/// The kind of program, as in the summary.
fn program(server: &str) -> &str {
    match server.split_once('-') {
        Some((name, _)) if name.parse::<usize>().is_err() => name,
        Some(_) => "node",
        None => server,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_what_was_used_between() {
        let text = format!(
            "{}\n0,0-1,0,10,0\n1000,0-1,500,30,0\n2000,0-1,900,20,0\n0,signaler,0,99,0\n",
            shardpay_testbed::resources::HEADER
        );
        let (samples, memory) = read(&text).expect("samples");
        let node = &samples["0-1"];
        assert_eq!((before(node, 1_500.0), after(node, 1_500.0), memory), (500.0, 900.0, 30.0));
        assert_eq!((before(node, -1.0), after(node, 9_000.0)), (0.0, 900.0));
        assert_eq!((program("0-1"), program("loadgen-0"), program("signaler")), ("node", "loadgen", "signaler"));
        assert!(read("at_ms\n1,2\n").is_none());
    }
}
