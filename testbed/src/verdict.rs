//! The verdict and the figures of a run directory whose servers have stopped.
//!
//! Works from the nodes' stores and the load generators' files alone, so it can be repeated at any time
//! (`testbed audit`); only what the processes used cannot be found out afterwards and is handed in.

use std::fs;
use std::path::PathBuf;

use shardpay_audit::{Acknowledged, Evidence, LoadKept, NodeView, StoreView, Verdict, audit};
use shardpay_run::{
    AckKind, LoadResult, MachineUse, RunDir, RunError, Spec, Summary, latencies_of_run, read_acks, read_json,
    write_json,
};
use shardpay_storage::NodeStore;
use shardpay_types::{Codec as _, DecodeError, NodeId, Plan};
use thiserror::Error;

use crate::deploy::nodes;
use crate::server::Server;
use crate::stores::{self, Left, StandIn};

/// Why there is no verdict.
#[derive(Debug, Error)]
pub enum VerdictError {
    /// A file of the run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The genesis plan cannot be read.
    #[error("{}: {source}", path.display())]
    Genesis {
        /// Its file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// All stores were dropped after the verdict.
    #[error("its stores were dropped after the verdict (stores.json): it cannot be worked out again")]
    Dropped,
    /// It is no plan.
    #[error("{}: {error}", path.display())]
    Plan {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        error: DecodeError,
    },
}

/// What came out of a run.
pub struct Judged {
    /// The audit's verdict.
    pub verdict: Verdict,
    /// The figures.
    pub summary: Summary,
    /// What the run did not keep beside it: limits of the spec, and what was seen while it ran.
    pub problems: Vec<String>,
}

/// Where problems seen while a run went on are kept: a list of texts.
fn seen_file(dir: &RunDir) -> PathBuf {
    dir.root().join("seen.json")
}

/// Keeps what went wrong while a run went on, so that a later audit knows it too.
pub fn keep_seen(dir: &RunDir, seen: &[String]) -> Result<(), RunError> {
    write_json(&seen_file(dir), &seen)
}

/// Audits a run, works its figures out, and writes `verdict.json` and `summary.json`.
pub fn judge(dir: &RunDir, spec: &Spec, machine: MachineUse) -> Result<Judged, VerdictError> {
    let judged = derive(dir, spec, machine)?;
    write_json(&dir.verdict(), &judged.verdict)?;
    write_json(&dir.summary(), &judged.summary)?;
    Ok(judged)
}

/// Audits a run and works its figures out from the stores and the load generators' files. Writes nothing.
pub fn derive(dir: &RunDir, spec: &Spec, machine: MachineUse) -> Result<Judged, VerdictError> {
    let load = LoadResult::of_run(dir, spec.load.processes)?;
    let verdict = verdict(dir, spec, &load)?;
    let latencies = latencies_of_run(dir, spec.load.processes)?;
    let mut summary = Summary::of(spec, &load, &latencies, machine, verdict.passed);
    let mut problems: Vec<String> = read_json(&seen_file(dir))?;
    problems.extend(summary.missed(&spec.limits));
    if summary.unresolved > 0 {
        let (unresolved, drain) = (summary.unresolved, spec.limits.drain_s);
        problems.push(format!("{unresolved} payments were neither certified nor refused {drain} s after the load"));
    }
    summary.verdict_passed = verdict.passed && problems.is_empty();
    Ok(Judged { verdict, summary, problems })
}

/// Works the figures out again, and takes the verdict as it stands: for a run whose stores were dropped.
pub fn figures_alone(dir: &RunDir, spec: &Spec, stated: &Summary) -> Result<Summary, VerdictError> {
    let load = LoadResult::of_run(dir, spec.load.processes)?;
    let latencies = latencies_of_run(dir, spec.load.processes)?;
    Ok(Summary::of(spec, &load, &latencies, stated.machine.clone(), stated.verdict_passed))
}

fn verdict(dir: &RunDir, spec: &Spec, load: &LoadResult) -> Result<Verdict, VerdictError> {
    let path = dir.genesis();
    let bytes = fs::read(&path).map_err(|source| VerdictError::Genesis { path: path.clone(), source })?;
    let genesis = Plan::from_bytes(&bytes).map_err(|error| VerdictError::Plan { path, error })?;
    let mut acknowledged = Vec::new();
    for process in 0..spec.load.processes {
        let log = read_acks(&dir.acks(process))?;
        acknowledged.extend(log.acks.iter().map(|ack| Acknowledged {
            committee: ack.committee,
            height: ack.height,
            leaf: ack.leaf,
            txid: ack.txid,
            credit: ack.kind == AckKind::Credit,
        }));
    }
    let dropped = stores::read(dir)?;
    if dropped.as_ref().is_some_and(|dropped| dropped.kept == Left::None) {
        return Err(VerdictError::Dropped);
    }
    type Opened = Result<Box<dyn StoreView>, String>;
    let open = |node| -> Opened {
        let mut noted = dropped.iter().flat_map(|dropped| &dropped.nodes);
        match noted.find(|noted| noted.node == Server::Node(node)) {
            Some(noted) => Ok(Box::new(StandIn::open(dir, noted)?)),
            None => Ok(Box::new(NodeStore::open_read_only(&dir.node_store(node)).map_err(|error| error.to_string())?)),
        }
    };
    let stores: Vec<(NodeId, Opened)> = nodes(spec).map(|node| (node, open(node))).collect();
    let nodes = stores
        .iter()
        .map(|(node, store)| NodeView {
            node: *node,
            store: store.as_ref().map(|store| &**store).map_err(Clone::clone),
        })
        .collect();
    let kept = LoadKept { offered: load.offered, sent: load.sent, share_min: spec.limits.kept_rate_min };
    Ok(audit(&Evidence { genesis: &genesis, nodes, acknowledged, load: Some(kept) }))
}
