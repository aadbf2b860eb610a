//! What experiments do to a node from outside while it runs: a wrong clock, shaped and cut links.
//!
//! They stand in a JSON file that is written whole and renamed; the node looks for a new one several times a second and
//! takes it over as a whole. So they outlive a restart of the node, and whoever sets them needs no connection to it. A
//! file that cannot be read changes nothing.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use shardpay_runtime::Node;
use shardpay_transport::LinkShape;
use shardpay_types::NodeId;

use crate::control::parse_node;

/// Between two looks at the file.
const LOOK: Duration = Duration::from_millis(100);

/// The file's content.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Conditions {
    /// Milliseconds that the clock is ahead, beside the setting `clock_skew_ms`.
    pub clock_skew_ms: i64,
    /// Links that are not plain.
    pub links: Vec<LinkCondition>,
}

/// What is done to messages for one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkCondition {
    /// The node as `committee-member`.
    pub to: String,
    /// Added to each message, in ms.
    #[serde(default)]
    pub latency_ms: f64,
    /// Random part on top, in ms.
    #[serde(default)]
    pub jitter_ms: f64,
    /// Share of messages lost, 0..=1.
    #[serde(default)]
    pub loss: f64,
    /// Bytes per second; 0: no limit.
    #[serde(default)]
    pub bandwidth: u64,
}

impl LinkCondition {
    fn shape(&self) -> anyhow::Result<(NodeId, LinkShape)> {
        let to = parse_node(&self.to).map_err(anyhow::Error::msg)?;
        let ms = |name: &'static str, value: f64| Duration::try_from_secs_f64(value / 1_000.0).context(name);
        anyhow::ensure!((0.0..=1.0).contains(&self.loss), "loss: not within 0..=1");
        let shape = LinkShape {
            latency: ms("latency_ms", self.latency_ms)?,
            jitter: ms("jitter_ms", self.jitter_ms)?,
            loss: self.loss,
            bandwidth: Some(self.bandwidth).filter(|bytes| *bytes > 0),
        };
        Ok((to, shape))
    }
}

/// The file, and the version of it that holds now.
pub struct Watched {
    path: PathBuf,
    clock_skew_ms: i64,
    /// When it was written, and where: a new version is a new file.
    seen: Option<(SystemTime, u64)>,
}

impl Watched {
    /// Conditions of a node whose clock is ahead by so much without them.
    pub fn new(path: PathBuf, clock_skew_ms: i64) -> Self {
        Self { path, clock_skew_ms, seen: None }
    }

    /// Takes over the file as it is now.
    pub fn look(&mut self, node: &Node) {
        let version = |found: std::fs::Metadata| Some((found.modified().ok()?, found.ino()));
        let changed = std::fs::metadata(&self.path).ok().and_then(version);
        if changed.is_none() || changed == self.seen {
            return;
        }
        self.seen = changed;
        match read(&self.path) {
            Ok((conditions, shapes)) => {
                tracing::info!(skew_ms = conditions.clock_skew_ms, links = shapes.len(), "conditions changed");
                shardpay_runtime::set_clock_skew(self.clock_skew_ms.saturating_add(conditions.clock_skew_ms));
                node.peers().shape_only(shapes);
            }
            Err(error) => tracing::warn!(%error, "conditions stay as they were"),
        }
    }

    /// Looks again and again until dropped.
    pub async fn run(mut self, node: Arc<Node>) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(&node);
        }
    }
}

fn read(path: &Path) -> anyhow::Result<(Conditions, HashMap<NodeId, LinkShape>)> {
    let conditions: Conditions = serde_json::from_slice(&std::fs::read(path)?)?;
    let shapes = conditions.links.iter().map(LinkCondition::shape).collect::<anyhow::Result<_>>()?;
    Ok((conditions, shapes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_is_done_to_links() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("conditions.json");
        let text = r#"{"clock_skew_ms":-5,"links":[{"to":"1-2","latency_ms":2.5,"loss":1.0,"bandwidth":1000}]}"#;
        std::fs::write(&path, text).expect("written");
        let (conditions, shapes) = read(&path).expect("good");
        assert_eq!((conditions.clock_skew_ms, shapes.len()), (-5, 1));
        let shape = shapes[&parse_node("1-2").expect("a node")];
        assert_eq!((shape.latency, shape.loss, shape.bandwidth), (Duration::from_micros(2_500), 1.0, Some(1_000)));
        for bad in [r#"{"links":[{"to":"x"}]}"#, r#"{"links":[{"to":"0-1","loss":2.0}]}"#, r#"{"wind":1}"#, "{"] {
            std::fs::write(&path, bad).expect("written");
            assert!(read(&path).is_err(), "{bad}");
        }
    }
}
