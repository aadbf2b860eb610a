//! How members that misbehave are started: the program `node-byzantine`, its twist, and what those who fork a committee
//! together have to know of each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;
use shardpay_run::{RunDir, Spec, TwistName, node_name, write_json};
use shardpay_types::NodeId;

use crate::backend::Launch;
use crate::deploy::{DeployError, nodes};
use crate::places::Places;

/// The program.
pub(crate) const PROGRAM: &str = "node-byzantine";

/// What a forking node reads: `node-byzantine/src/fork.rs`.
#[derive(Serialize)]
struct Fork {
    /// Where its second life listens for peers.
    listen_peers: SocketAddr,
    /// Where it listens for clients.
    listen_clients: SocketAddr,
    /// Honest members that are shown the first ledger.
    left: Vec<String>,
    /// Honest members, and who is shown the second one.
    right: Vec<String>,
    /// Where the second lives of those who fork listen.
    second: BTreeMap<String, SocketAddr>,
}

/// The launch of a node, bent if the spec says so.
pub(crate) fn bend(spec: &Spec, dir: &RunDir, node: NodeId, mut launch: Launch) -> Launch {
    let Some(twist) = spec.twist(node) else { return launch };
    launch.program = launch.program.with_file_name(PROGRAM);
    launch.args.extend([
        "--twist".to_owned(),
        twist.name().to_owned(),
        "--seed".to_owned(),
        spec.load.seed.to_string(),
    ]);
    if twist == TwistName::Fork {
        launch.args.extend(["--fork".to_owned(), fork_file(dir, node).display().to_string()]);
    }
    launch
}

fn fork_file(dir: &RunDir, node: NodeId) -> std::path::PathBuf {
    dir.node(node).join("fork.json")
}

/// Whether the program is needed.
pub(crate) fn is_needed(spec: &Spec) -> bool {
    !spec.byzantine.is_empty()
}

/// Writes what forking nodes have to know.
pub(crate) fn write_forks(spec: &Spec, dir: &RunDir, places: &mut Places) -> Result<(), DeployError> {
    let forking: Vec<NodeId> = nodes(spec).filter(|node| spec.twist(*node) == Some(TwistName::Fork)).collect();
    let mut lives = BTreeMap::new();
    for node in &forking {
        lives.insert(node_name(*node), places.second(*node)?);
    }
    for node in forking {
        let (left, right) = spec.halves(node.committee);
        let names = |nodes: Vec<NodeId>| nodes.into_iter().map(node_name).collect();
        let (listen_peers, listen_clients) = lives[&node_name(node)];
        let second = lives.iter().map(|(name, (peers, _))| (name.clone(), *peers)).collect();
        let fork = Fork { listen_peers, listen_clients, left: names(left), right: names(right), second };
        write_json(&fork_file(dir, node), &fork)?;
    }
    Ok(())
}

/// The name of the program in a launch.
pub(crate) fn program_of(launch: &Launch) -> &str {
    let name = launch.program.file_name().and_then(|name| name.to_str());
    name.filter(|name| *name == PROGRAM).unwrap_or(launch.server.program())
}

/// The program's file, checked.
pub(crate) fn check_program(spec: &Spec, programs: &Path) -> Result<(), DeployError> {
    let path = programs.join(PROGRAM);
    if is_needed(spec) && !path.is_file() {
        return Err(DeployError::Program { path });
    }
    Ok(())
}
