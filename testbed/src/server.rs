//! The processes of a cluster and how people name them: `signaler`, `0-3` (member 3 of committee 0),
//! `loadgen-0` (the first load generator), `demo` (the live page), `service` (the payment service), `shop` (the demo
//! shop). The same names stand in the run directory, in logs and in what the commands take.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use shardpay_types::{CommitteeId, MemberIndex, NodeId};
use thiserror::Error;

/// One process of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Server {
    /// The organiser.
    Signaler,
    /// A committee member.
    Node(NodeId),
    /// A load generator.
    Loadgen(usize),
    /// The page that shows what the others do.
    Demo,
    /// The payment service.
    Service,
    /// The demo shop.
    Shop,
}

/// Turns in which servers are stopped: [`Server::stop_turn`] is below.
pub(crate) const STOP_TURNS: u8 = 5;

impl Server {
    /// The node at `member` of `committee`; `None` when no plan can have it.
    pub fn node(committee: usize, member: usize) -> Option<Self> {
        Some(Self::Node(NodeId { committee: CommitteeId::new(committee)?, member: MemberIndex::new(member)? }))
    }

    /// The program that this server runs.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Signaler => "signaler",
            Self::Node(_) => "node",
            Self::Loadgen(_) => "loadgen",
            Self::Demo => "demo",
            Self::Service => "service",
            Self::Shop => "shop",
        }
    }

    /// When it is stopped: those that use others before these.
    pub(crate) const fn stop_turn(self) -> u8 {
        match self {
            Self::Loadgen(_) | Self::Shop => 0,
            Self::Service => 1,
            Self::Node(_) => 2,
            Self::Signaler => 3,
            // it sees the others end
            Self::Demo => 4,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => write!(f, "{}-{}", node.committee, node.member),
            Self::Signaler => f.write_str("signaler"),
            Self::Demo => f.write_str("demo"),
            Self::Service => f.write_str("service"),
            Self::Shop => f.write_str("shop"),
            Self::Loadgen(process) => write!(f, "loadgen-{process}"),
        }
    }
}

/// A name that no server can have.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "{name:?} names no server: 'signaler', 'demo', 'service', 'shop', 'loadgen-0' or <committee>-<member> such as 0-3 is meant"
)]
pub struct UnknownName {
    name: String,
}

impl FromStr for Server {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        let numbered = || {
            let (committee, member) = name.split_once('-')?;
            if committee == "loadgen" {
                return Some(Self::Loadgen(member.parse().ok()?));
            }
            Self::node(committee.parse().ok()?, member.parse().ok()?)
        };
        match name {
            "signaler" => Ok(Self::Signaler),
            "demo" => Ok(Self::Demo),
            "service" => Ok(Self::Service),
            "shop" => Ok(Self::Shop),
            _ => numbered().ok_or_else(|| UnknownName { name: name.to_owned() }),
        }
    }
}

impl TryFrom<String> for Server {
    type Error = UnknownName;

    fn try_from(name: String) -> Result<Self, UnknownName> {
        name.parse()
    }
}

impl From<Server> for String {
    fn from(server: Server) -> Self {
        server.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let nodes = [(0, 3), (12, 15)].map(|(committee, member)| Server::node(committee, member).unwrap());
        let others = [Server::Signaler, Server::Demo, Server::Service, Server::Shop, Server::Loadgen(2)];
        for server in others.into_iter().chain(nodes) {
            assert!(server.stop_turn() < STOP_TURNS);
            assert_eq!(server.to_string().parse(), Ok(server));
        }
        for name in ["", "node", "0", "0-", "-1", "0-x", "0-1-2", "signaler ", "0-99999", "loadgen"] {
            assert!(name.parse::<Server>().is_err(), "{name:?}");
        }
    }
}
