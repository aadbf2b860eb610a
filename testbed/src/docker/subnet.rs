//! The network of a deployment: a block of private addresses that no route of this machine touches.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::daemon::DockerError;
use crate::server::Server;

/// Blocks are taken from 10.64.0.0/10, below Docker's own defaults.
const POOL: u32 = 0x0a40_0000;
const POOL_END: u32 = 0x0a80_0000;
/// Addresses of a block: 1,024.
const PREFIX: u32 = 22;
const SIZE: u32 = 1 << (32 - PREFIX);
/// The first node's place; below it the gateway and the servers that are no nodes.
const FIRST_NODE: u32 = 32;

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    first: u32,
    members: usize,
}

impl Subnet {
    /// A block for so many nodes; `start` decides where it is looked for first. Routes are those of
    /// `/proc/net/route`.
    pub fn find(committees: usize, members: usize, start: u16, routes: &str) -> Result<Self, DockerError> {
        let hosts = committees * members;
        if u32::try_from(hosts).map_or(true, |hosts| hosts + FIRST_NODE + 2 > SIZE) {
            return Err(DockerError::NoSubnet { hosts });
        }
        let taken: Vec<(u32, u32)> = routes.lines().skip(1).filter_map(route).collect();
        let blocks = (POOL_END - POOL) / SIZE;
        let block = |offset| POOL + (u32::from(start) + offset) % blocks * SIZE;
        let is_free = |first: &u32| taken.iter().all(|(from, to)| first + (SIZE - 1) < *from || first > to);
        let first = (0..blocks).map(block).find(is_free).ok_or(DockerError::NoSubnet { hosts })?;
        Ok(Self { first, members })
    }

    /// As Docker writes it.
    pub fn cidr(self) -> String {
        format!("{}/{PREFIX}", Ipv4Addr::from(self.first))
    }

    /// The address of a server.
    pub fn address(self, server: Server) -> Ipv4Addr {
        let place = match server {
            Server::Signaler => 2,
            Server::Demo => 3,
            Server::Service => 4,
            Server::Shop => 5,
            Server::Loadgen(process) => 6 + u32::try_from(process).unwrap_or(0) % (FIRST_NODE - 6),
            Server::Node(node) => {
                let index = node.committee.index() * self.members + node.member.index();
                FIRST_NODE + u32::try_from(index).expect("as many nodes as there are addresses")
            }
        };
        Ipv4Addr::from(self.first + place)
    }

    /// A port of a server.
    pub fn socket(self, server: Server, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.address(server)), port)
    }
}

/// First and last address of a line of `/proc/net/route`; the default route is none.
fn route(line: &str) -> Option<(u32, u32)> {
    let mut fields = line.split_whitespace().skip(1);
    // the kernel prints addresses as they lie in memory
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::from_be);
    let first = number(fields.next()?)?;
    let mask = number(fields.nth(5)?)?;
    (mask != 0).then_some((first, first | !mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";

    #[test]
    fn blocks_that_are_in_use_are_passed_over() {
        let first = Subnet::find(2, 4, 0, HEAD).unwrap();
        assert_eq!(first.cidr(), "10.64.0.0/22");
        assert_eq!(first.address(Server::node(1, 3).unwrap()), Ipv4Addr::new(10, 64, 0, 39));
        // a /16 of somebody else's, and the default route
        let routes = format!(
            "{HEAD}br0 0000400A 00000000 0001 0 0 0 0000FFFF 0 0 0\neth0 00000000 0100000A 3 0 0 0 00000000 0 0 0"
        );
        assert_eq!(Subnet::find(2, 4, 0, &routes).unwrap().cidr(), "10.65.0.0/22");
        assert!(matches!(Subnet::find(64, 64, 0, HEAD), Err(DockerError::NoSubnet { hosts: 4_096 })));
    }
}
