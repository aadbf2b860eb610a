//! What is done to a node's clock and links: a file in its directory that the node follows (`node/src/conditions.rs`).
//!
//! The file is the state: each change reads it, changes it and writes it whole. So faults of a spec, faults by hand and
//! restarts of the node meet the same conditions, in containers as in local processes.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shardpay_run::{FaultAction, LinkOptions, RunDir, RunError, Spec, node_name, read_json, write_json};
use shardpay_types::NodeId;

use crate::deploy::nodes;

/// The file's content.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    clock_skew_ms: i64,
    links: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    to: String,
    latency_ms: f64,
    jitter_ms: f64,
    loss: f64,
    bandwidth: u64,
}

impl Entry {
    fn new(to: NodeId, link: &LinkOptions) -> Self {
        let LinkOptions { latency_ms, jitter_ms, loss, bandwidth } = *link;
        Self { to: node_name(to), latency_ms, jitter_ms, loss, bandwidth }
    }
}

/// The conditions of a cluster's nodes.
#[derive(Debug, Clone)]
pub struct Conditions {
    dir: RunDir,
    spec: Spec,
}

/// Whether nodes of a spec need such a file.
pub(crate) fn are_needed(spec: &Spec) -> bool {
    let touches = |action: FaultAction| action.is_of_links() || action == FaultAction::SkewClock;
    spec.has_shaped_links() || spec.faults.iter().any(|fault| touches(fault.action))
}

/// The file of a node.
pub(crate) fn file(dir: &RunDir, node: NodeId) -> PathBuf {
    dir.node(node).join("conditions.json")
}

impl Conditions {
    /// Those of a run.
    pub fn new(dir: &RunDir, spec: &Spec) -> Self {
        Self { dir: dir.clone(), spec: spec.clone() }
    }

    /// Writes what the spec says of the network, before nodes start.
    pub fn begin(&self) -> Result<(), RunError> {
        for from in nodes(&self.spec) {
            let links = nodes(&self.spec).filter(|to| *to != from).map(|to| (to, self.spec.link(from, to)));
            let links = links.filter(|(_, link)| !link.is_plain()).map(|(to, link)| Entry::new(to, &link));
            write_json(&file(&self.dir, from), &File { clock_skew_ms: 0, links: links.collect() })?;
        }
        Ok(())
    }

    /// Sets a node's clock ahead, or behind.
    pub fn skew(&self, node: NodeId, clock_skew_ms: i64) -> Result<(), RunError> {
        self.change(node, |file| file.clock_skew_ms = clock_skew_ms)
    }

    /// Gives the links from some nodes to others a shape; that of the spec without one.
    pub fn links(&self, from: &[NodeId], to: &[NodeId], link: Option<LinkOptions>) -> Result<(), RunError> {
        for from in from {
            self.change(*from, |file| {
                let mut all: BTreeMap<String, Entry> =
                    file.links.drain(..).map(|entry| (entry.to.clone(), entry)).collect();
                for to in to.iter().filter(|to| *to != from) {
                    let link = link.unwrap_or_else(|| self.spec.link(*from, *to));
                    let entry = Entry::new(*to, &link);
                    if link.is_plain() {
                        all.remove(&entry.to);
                    } else {
                        all.insert(entry.to.clone(), entry);
                    }
                }
                file.links = all.into_values().collect();
            })?;
        }
        Ok(())
    }

    fn change(&self, node: NodeId, change: impl FnOnce(&mut File)) -> Result<(), RunError> {
        let path = file(&self.dir, node);
        if !path.is_file() {
            let error = io::Error::new(io::ErrorKind::NotFound, "the node was started without conditions");
            return Err(RunError::Io { path, error });
        }
        let mut content: File = read_json(&path)?;
        change(&mut content);
        write_json(&path, &content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_cut_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let text = "name = 't'\ncommittees = 1\nnodes_per_committee = 4\nduration_s = 5\n\
                    [[network.links]]\nfrom = '0-0'\nto = '0-1'\nlatency_ms = 2.5";
        let spec = Spec::parse("t.toml", text, &[]).unwrap();
        let run = RunDir::new(dir.path());
        let all: Vec<NodeId> = nodes(&spec).collect();
        all.iter().for_each(|node| std::fs::create_dir_all(run.node(*node)).unwrap());
        let conditions = Conditions::new(&run, &spec);
        conditions.begin().unwrap();
        let read = |node: usize| -> File { read_json(&file(&run, all[node])).unwrap() };
        let told = |node: usize| read(node).links.iter().map(|link| (link.to.clone(), link.loss)).collect::<Vec<_>>();
        assert_eq!(told(0), [("0-1".to_owned(), 0.0)]);
        conditions.links(&all[..1], &all, Some(LinkOptions::CUT)).unwrap();
        assert_eq!(told(0).len(), 3);
        assert!(told(0).iter().all(|(_, loss)| *loss == 1.0));
        assert_eq!(told(1), [], "one way only");
        conditions.skew(all[0], -7).unwrap();
        conditions.links(&all[..1], &all, None).unwrap();
        assert_eq!((told(0).len(), read(0).links[0].latency_ms, read(0).clock_skew_ms), (1, 2.5, -7));
        let text = serde_json::to_string(&read(0)).unwrap();
        let written =
            r#"{"clock_skew_ms":-7,"links":[{"to":"0-1","latency_ms":2.5,"jitter_ms":0.0,"loss":0.0,"bandwidth":0}]}"#;
        assert_eq!(text, written, "as node/src/conditions.rs reads it");
    }
}
