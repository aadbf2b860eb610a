//! The rows: their keys, and how they read back. Keys sort by kind, then by epoch; values are JSON.

use serde::{Deserialize, Serialize};
use shardpay_client::signaler::{Hex, NetworkId};
use shardpay_types::{Epoch, EpochChange, Plan, PlanApproval, PublicKey};

use super::{Encoded, StoreError, from_json, to_json};

/// The settings the network was founded with; a signaler with others is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsRow {
    /// Layout of the rows.
    pub format: u32,
    /// The network's name.
    pub network: Hex<NetworkId>,
    /// Committees.
    pub committees: usize,
    /// Members of each.
    pub members: usize,
    /// Signs mints.
    pub issuer: Hex<PublicKey>,
    /// Protocol constants: the hexadecimal text of their encoding.
    pub constants: String,
}

/// A registered node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its key.
    pub key: Hex<PublicKey>,
    /// How many had registered before it.
    pub order: usize,
    /// The counter of its last registration.
    pub counter: u64,
    /// Where other nodes reach it.
    pub peer_addr: std::net::SocketAddr,
    /// Where clients reach it.
    pub client_addr: std::net::SocketAddr,
}

/// The start of an epoch: Q members of each committee stand behind its plan, and all committees are in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochStart {
    /// When, microseconds since 1970.
    pub started_us: u64,
    /// Certified height of each committee then, as far as heartbeats told.
    pub heights: Vec<u64>,
}

/// One row.
#[derive(Debug, Clone)]
pub enum Row {
    /// The network's settings.
    Settings(SettingsRow),
    /// A node registered.
    Node(NodeRow),
    /// A plan was proposed.
    Plan(Box<Plan>),
    /// A member co-signed a plan.
    Approval(PlanApproval),
    /// An epoch change has its co-signatures.
    Change(Box<EpochChange>),
    /// An epoch started.
    Epoch(Epoch, EpochStart),
}

impl Row {
    /// Key and value.
    pub(crate) fn encode(&self) -> Encoded {
        match self {
            Self::Settings(settings) => ("settings".to_owned(), to_json(settings)),
            Self::Node(node) => (format!("node/{}", *node.key), to_json(node)),
            Self::Plan(plan) => (format!("plan/{:020}", plan.epoch.get()), to_json(&Hex((**plan).clone()))),
            Self::Approval(approval) => {
                let (committee, member) = (approval.committee.index(), approval.member.index());
                (format!("approval/{:020}/{committee:04}/{member:02}", approval.epoch.get()), to_json(&Hex(*approval)))
            }
            Self::Change(change) => {
                (format!("change/{:020}", change.plan.epoch.get()), to_json(&Hex((**change).clone())))
            }
            Self::Epoch(epoch, start) => (format!("epoch/{:020}", epoch.get()), to_json(start)),
        }
    }
}

/// All rows, in the order of their keys.
#[derive(Debug, Default)]
pub struct Rows {
    /// The network's settings; none in a new store.
    pub settings: Option<SettingsRow>,
    /// Registered nodes.
    pub nodes: Vec<NodeRow>,
    /// Proposed plans, ascending epochs.
    pub plans: Vec<Plan>,
    /// Co-signatures.
    pub approvals: Vec<PlanApproval>,
    /// Finished changes, ascending epochs.
    pub changes: Vec<EpochChange>,
    /// Started epochs, ascending.
    pub epochs: Vec<(Epoch, EpochStart)>,
}

impl Rows {
    pub(crate) fn read(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let (kind, rest) = key.split_once('/').unwrap_or((key, ""));
        match kind {
            "settings" => self.settings = Some(from_json(key, value)?),
            "node" => self.nodes.push(from_json(key, value)?),
            "plan" => self.plans.push(from_json::<Hex<Plan>>(key, value)?.0),
            "approval" => self.approvals.push(from_json::<Hex<PlanApproval>>(key, value)?.0),
            "change" => self.changes.push(from_json::<Hex<EpochChange>>(key, value)?.0),
            "epoch" => {
                let epoch = rest.parse().map_err(|_| StoreError::Corrupt {
                    key: key.to_owned(),
                    why: "the key names no epoch".to_owned(),
                })?;
                self.epochs.push((Epoch::new(epoch), from_json(key, value)?));
            }
            _ => {
                return Err(StoreError::Corrupt { key: key.to_owned(), why: "unknown kind of row".to_owned() });
            }
        }
        Ok(())
    }
}
