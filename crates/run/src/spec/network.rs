//! The network between nodes: the delays of regions far apart, and links that are shaped one by one.
//!
//! Nodes shape what they send themselves (`shardpay-transport`): the kernel of a machine, or of a container, may have no
//! module for it. Only traffic between nodes is shaped; clients and the signaler are reached as ever.

use serde::{Deserialize, Serialize};
use shardpay_types::NodeId;

use super::Spec;
use super::check::{Problem, require};
use super::faults::NodeSelector;

/// Longest delay of a link, in milliseconds, as nodes take it.
const DELAY_MS_MAX: f64 = 60_000.0;

/// What a link does to messages. The default does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkOptions {
    /// Added to every message's way, in ms.
    pub latency_ms: f64,
    /// Added on top, uniform between zero and this, in ms.
    pub jitter_ms: f64,
    /// Share of messages that are lost.
    pub loss: f64,
    /// Bytes per second; 0: no limit.
    pub bandwidth: u64,
}

impl LinkOptions {
    /// A link that loses everything.
    pub const CUT: Self = Self { latency_ms: 0.0, jitter_ms: 0.0, loss: 1.0, bandwidth: 0 };

    /// Whether it changes nothing.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn check(&self, key: &str) -> Result<(), Problem> {
        for (name, ms) in [("latency_ms", self.latency_ms), ("jitter_ms", self.jitter_ms)] {
            require((0.0..=DELAY_MS_MAX).contains(&ms), format!("{key}.{name}"), "must be 0 to 60,000 ms")?;
        }
        require((0.0..=1.0).contains(&self.loss), format!("{key}.loss"), "must be 0 to 1")?;
        let fits = i64::try_from(self.bandwidth).is_ok();
        require(fits, format!("{key}.bandwidth"), "must be below 2^63 bytes per second")
    }
}

/// Links from some nodes to others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Who sends.
    pub from: NodeSelector,
    /// Who receives.
    pub to: NodeSelector,
    /// Whether the way back is the same.
    #[serde(default)]
    pub both_ways: bool,
    /// As in [`LinkOptions`].
    #[serde(default)]
    pub latency_ms: f64,
    /// As in [`LinkOptions`].
    #[serde(default)]
    pub jitter_ms: f64,
    /// As in [`LinkOptions`].
    #[serde(default)]
    pub loss: f64,
    /// As in [`LinkOptions`].
    #[serde(default)]
    pub bandwidth: u64,
}

impl Link {
    /// What it does.
    pub const fn options(&self) -> LinkOptions {
        LinkOptions {
            latency_ms: self.latency_ms,
            jitter_ms: self.jitter_ms,
            loss: self.loss,
            bandwidth: self.bandwidth,
        }
    }
}

/// Round-trip times between regions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Regions {
    /// A matrix that is known by its name.
    Named(String),
    /// Rows and columns by region, in ms.
    RoundTripMs(Vec<Vec<f64>>),
}

/// Virginia, northern California, Ireland, Tokyo, Sydney: average round trips in ms, as published for 2017 by "Latency
/// Between AWS Global Regions" and rounded; within a region 0.6 ms.
const AWS_5: [[f64; 5]; 5] = [
    [0.6, 72.0, 81.0, 145.0, 230.0],
    [72.0, 0.6, 153.0, 103.0, 158.0],
    [81.0, 153.0, 0.6, 212.0, 310.0],
    [145.0, 103.0, 212.0, 0.6, 104.0],
    [230.0, 158.0, 310.0, 104.0, 0.6],
];

impl Regions {
    /// Matrices that have a name.
    pub const NAMES: [&'static str; 1] = ["aws-5"];

    /// The matrix; `None` when there is none of that name.
    fn round_trip_ms(&self) -> Option<Vec<Vec<f64>>> {
        match self {
            Self::Named(name) if name == Self::NAMES[0] => Some(AWS_5.iter().map(|row| row.to_vec()).collect()),
            Self::Named(_) => None,
            Self::RoundTripMs(matrix) => Some(matrix.clone()),
        }
    }
}

/// The network between nodes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Where nodes are: member m of each committee is in region m, counted around.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regions: Option<Regions>,
    /// Random part on top of the delay between regions, as a share of it.
    pub jitter: f64,
    /// Links that are different; of several that are meant the last one counts.
    pub links: Vec<Link>,
}

impl Spec {
    /// Whether any link is shaped from the start.
    pub fn has_shaped_links(&self) -> bool {
        self.network.regions.is_some() || !self.network.links.is_empty()
    }

    /// What the way from one node to another does to messages when nothing is broken.
    pub fn link(&self, from: NodeId, to: NodeId) -> LinkOptions {
        let meant = |link: &&Link| {
            let is = |selector: NodeSelector, node| {
                selector.nodes(self.committees, self.nodes_per_committee, 0).is_some_and(|nodes| nodes.contains(&node))
            };
            (is(link.from, from) && is(link.to, to)) || (link.both_ways && is(link.from, to) && is(link.to, from))
        };
        if let Some(link) = self.network.links.iter().rev().find(meant) {
            return link.options();
        }
        let matrix = self.network.regions.as_ref().and_then(Regions::round_trip_ms).unwrap_or_default();
        if matrix.is_empty() {
            return LinkOptions::default();
        }
        let region = |node: NodeId| node.member.index() % matrix.len();
        let latency_ms = matrix[region(from)][region(to)] / 2.0;
        LinkOptions { latency_ms, jitter_ms: latency_ms * self.network.jitter, ..LinkOptions::default() }
    }

    pub(super) fn check_network(&self) -> Result<(), Problem> {
        let network = &self.network;
        require((0.0..=1.0).contains(&network.jitter), "network.jitter", "must be 0 to 1")?;
        if let Some(regions) = &network.regions {
            let known = format!("is no matrix that is known; {} is", Regions::NAMES.join(", "));
            let matrix = regions.round_trip_ms().ok_or(Problem { key: "network.regions".to_owned(), why: known })?;
            let square = (1..=64).contains(&matrix.len()) && matrix.iter().all(|row| row.len() == matrix.len());
            require(square, "network.regions", "must be a square matrix of 1 to 64 regions")?;
            let fits = matrix.iter().flatten().all(|ms| (0.0..=2.0 * DELAY_MS_MAX).contains(ms));
            require(fits, "network.regions", "round trips must be 0 to 120,000 ms")?;
        }
        for (index, link) in network.links.iter().enumerate() {
            let key = format!("network.links.{index}");
            for (name, selector) in [("from", link.from), ("to", link.to)] {
                let found = selector.nodes(self.committees, self.nodes_per_committee, 0).is_some();
                require(found, format!("{key}.{name}"), format!("there is no node {selector}"))?;
            }
            link.options().check(&key)?;
        }
        Ok(())
    }
}
