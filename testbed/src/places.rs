//! Where servers listen: ports of the loopback address, or fixed ports of containers that each have an address.

use std::net::SocketAddr;

use shardpay_run::{BackendKind, Spec};
use shardpay_types::NodeId;

use crate::deploy::DeployError;
use crate::docker::{DockerError, Subnet};
use crate::ports::{NoPorts, Ports};
use crate::server::Server;

/// Ports in containers.
const SIGNALER_PORT: u16 = 7_000;
const PEERS_PORT: u16 = 7_100;
const CLIENTS_PORT: u16 = 7_200;
const DEMO_PORT: u16 = 8_088;
const SERVICE_PORT: u16 = 8_080;
const SHOP_PORT: u16 = 8_001;
/// Where the kernel lists its routes.
const ROUTES: &str = "/proc/net/route";

/// Places of a cluster's servers.
pub(crate) enum Places {
    Loopback(Ports),
    Containers(Subnet),
    /// A scheduler decides.
    Anywhere,
}

impl Places {
    /// Places for the servers of `spec`; `start` decides where free ones are looked for first.
    pub(crate) fn find(spec: &Spec, start: u16) -> Result<Self, DeployError> {
        if spec.backend == BackendKind::Local {
            return Ok(Self::Loopback(Ports::new(start)));
        }
        let routes = std::fs::read_to_string(ROUTES).map_err(|source| DockerError::Io { program: ROUTES, source })?;
        Ok(Self::Containers(Subnet::find(spec.committees, spec.nodes_per_committee, start, &routes)?))
    }

    pub(crate) fn signaler(&mut self) -> Result<SocketAddr, NoPorts> {
        self.place(Server::Signaler, SIGNALER_PORT)
    }

    /// Who is in a container finds the signaler by its name.
    pub(crate) fn signaler_url(&self, url: &str) -> String {
        match self {
            Self::Loopback(_) => url.to_owned(),
            Self::Containers(_) | Self::Anywhere => format!("http://{}:{SIGNALER_PORT}", Server::Signaler),
        }
    }

    pub(crate) fn demo(&mut self) -> Result<SocketAddr, NoPorts> {
        self.place(Server::Demo, DEMO_PORT)
    }

    /// Of the payment service and the shop of a cluster that has places already.
    pub(crate) fn services(subnet: Option<Subnet>, start: u16) -> Result<(SocketAddr, SocketAddr), NoPorts> {
        let mut places = subnet.map_or_else(|| Self::Loopback(Ports::new(start)), Self::Containers);
        Ok((places.place(Server::Service, SERVICE_PORT)?, places.place(Server::Shop, SHOP_PORT)?))
    }

    /// For peers, and for clients.
    pub(crate) fn node(&mut self, node: NodeId) -> Result<(SocketAddr, SocketAddr), NoPorts> {
        let server = Server::Node(node);
        Ok((self.place(server, PEERS_PORT)?, self.place(server, CLIENTS_PORT)?))
    }

    /// The same for the second life that a forking node leads.
    pub(crate) fn second(&mut self, node: NodeId) -> Result<(SocketAddr, SocketAddr), NoPorts> {
        let server = Server::Node(node);
        Ok((self.place(server, PEERS_PORT + 1)?, self.place(server, CLIENTS_PORT + 1)?))
    }

    pub(crate) fn subnet(&self) -> Option<Subnet> {
        match self {
            Self::Loopback(_) | Self::Anywhere => None,
            Self::Containers(subnet) => Some(*subnet),
        }
    }

    fn place(&mut self, server: Server, port: u16) -> Result<SocketAddr, NoPorts> {
        match self {
            Self::Loopback(ports) => ports.take(),
            Self::Containers(subnet) => Ok(subnet.socket(server, port)),
            Self::Anywhere => Ok(SocketAddr::from(([0, 0, 0, 0], port))),
        }
    }
}
