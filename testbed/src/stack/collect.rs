//! `testbed collect`: waits until a stack's load is done, stops its nodes, fetches what they left, and gives the verdict.
//!
//! It reads the volumes of the daemon it talks to. Those of other hosts are fetched there with the same `docker`
//! commands (docs/CLUSTER.md), into the same places; what is there already stays.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use shardpay_run::{MachineUse, RunDir, Spec, node_name, write_whole};
use shardpay_types::{Codec as _, EpochChange};

use crate::deploy::nodes;
use crate::docker::command;
use crate::failure::Failure;
use crate::verdict::{Judged, judge, keep_seen};

/// Between two looks whether the load is done.
const POLL: Duration = Duration::from_secs(1);
/// Longer than the longest load's own limits by this.
const SLACK: Duration = Duration::from_secs(300);
/// Servers that are told to stop get this long.
const STOP_MAX: Duration = Duration::from_secs(60);

/// Brings a stack to its verdict.
pub fn collect(root: &Path, stack: &str) -> Result<Judged, Failure> {
    let dir = RunDir::new(root.canonicalize().map_err(Failure::io("the run directory"))?);
    let spec = Spec::load(&dir.spec(), &[])?;
    let loads: Vec<String> = (0..spec.load.processes).map(|process| format!("{stack}_loadgen-{process}")).collect();
    let limits = &spec.limits;
    let limit = Duration::from_secs_f64(spec.duration_s + limits.startup_s + limits.drain_s) + SLACK;
    wait(&loads, limit, "the load is done", |state| state == "Complete")?;
    let servers: Vec<String> = nodes(&spec)
        .map(|node| format!("{stack}_node-{}", node_name(node)))
        .chain([format!("{stack}_signaler")])
        .collect();
    for server in &servers {
        command(&["service", "scale", "--detach", &format!("{server}=0")])?;
    }
    wait(&servers, STOP_MAX, "all nodes have stopped", |state| state != "Running")?;
    for node in nodes(&spec) {
        let name = node_name(node);
        fetch(&format!("{stack}_node-{name}"), ".", &dir.node(node))?;
    }
    for process in 0..spec.load.processes {
        let own = dir.loadgen_process(process);
        fetch(&format!("{stack}_loadgen-{process}"), &format!("loadgen/{process}/."), &own)?;
    }
    keep_genesis(&dir, &spec)?;
    keep_seen(&dir, &[])?;
    Ok(judge(&dir, &spec, MachineUse::default())?)
}

/// Waits until the newest task of each service is in a state.
fn wait(services: &[String], limit: Duration, what: &str, reached: impl Fn(&str) -> bool) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    for service in services {
        loop {
            let tasks = command(&["service", "ps", "--format", "{{.CurrentState}}", service])?;
            let newest = tasks.lines().next().unwrap_or_default();
            let state = newest.split_whitespace().next().unwrap_or("none");
            if reached(state) {
                break;
            }
            if Instant::now() > deadline {
                let what = format!("{what} ({service} is {newest:?})");
                return Err(Failure::TooSlow { what, seconds: limit.as_secs_f64() });
            }
            std::thread::sleep(POLL);
        }
    }
    Ok(())
}

/// Copies what a volume holds; a volume that is on another host is left to that one.
fn fetch(volume: &str, from: &str, to: &Path) -> Result<(), Failure> {
    if command(&["volume", "inspect", "--format", "{{.Name}}", volume]).is_err() {
        eprintln!("testbed: no volume {volume} here: fetch it where it is into {} (docs/CLUSTER.md)", to.display());
        return Ok(());
    }
    fs::create_dir_all(to).map_err(Failure::io("the run directory"))?;
    let image = command(&["images", "--quiet", "--filter", "label=shardpay.program=node"])?;
    let image = image.lines().next().unwrap_or_default();
    let mount = format!("{volume}:/data:ro");
    let container = command(&["create", "--volume", &mount, image])?;
    let copied = command(&["cp", &format!("{container}:/data/{from}"), &to.display().to_string()]);
    command(&["rm", &container])?;
    copied?;
    Ok(())
}

/// The genesis plan, as a node kept it.
fn keep_genesis(dir: &RunDir, spec: &Spec) -> Result<(), Failure> {
    for node in nodes(spec) {
        let Ok(bytes) = fs::read(dir.node(node).join("genesis")) else { continue };
        if let Ok(change) = EpochChange::from_bytes(&bytes) {
            return Ok(write_whole(&dir.genesis(), &change.plan.to_bytes())?);
        }
    }
    Err(Failure::Usage("no node has kept its genesis plan: nothing was fetched, or nothing ever ran".to_owned()))
}
