//! Where the members of each committee are reached.
//!
//! A directory is a hint: the key in it comes from a plan or is checked in the handshake, everything a member
//! says is verified, so a wrong entry costs a failed connection and nothing else.

use std::net::SocketAddr;

use shardpay_types::{CommitteeId, NodeId, Plan, PublicKey};

use crate::topology::Topology;

/// A member's client port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Its place in the plan.
    pub node: NodeId,
    /// Its key, pinned in the handshake.
    pub key: PublicKey,
    /// The client port.
    pub addr: SocketAddr,
}

/// The members' client ports, by committee.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    committees: Vec<Vec<Endpoint>>,
}

impl Directory {
    /// A directory of these members.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        let mut committees: Vec<Vec<Endpoint>> = Vec::new();
        for endpoint in endpoints {
            let index = endpoint.node.committee.index();
            if committees.len() <= index {
                committees.resize_with(index + 1, Vec::new);
            }
            committees[index].push(endpoint);
        }
        Self { committees }
    }

    /// The members a topology lists.
    pub fn from_topology(topology: &Topology) -> Self {
        Self::new(topology.members().map(|(committee, entry)| Endpoint {
            node: NodeId { committee, member: entry.member },
            key: entry.key.0,
            addr: entry.client_addr,
        }))
    }

    /// The members of a committee; none when it is not listed.
    pub fn members(&self, committee: CommitteeId) -> &[Endpoint] {
        self.committees.get(committee.index()).map_or(&[], Vec::as_slice)
    }

    /// Whether each committee of `plan` has a member listed, and none beyond it.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), String> {
        let (listed, planned) = (self.committees.len(), plan.committees.len());
        if listed > planned {
            return Err(format!("{listed} committees listed, {planned} in the plan"));
        }
        match plan.committee_ids().find(|id| self.members(*id).is_empty()) {
            Some(id) => Err(format!("no member of committee {id} is listed")),
            None => Ok(()),
        }
    }
}
