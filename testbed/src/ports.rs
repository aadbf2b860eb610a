//! Free ports on the loopback address, fixed before a cluster starts.
//!
//! A node keeps its ports over restarts, so its peers find it again at once. Ports are taken from below
//! the range from which systems hand out ephemeral ones: a client that binds port 0 while a node is down
//! cannot get the node's port. Two testbeds begin at different places of the range, and every port is
//! tried by binding it; when somebody takes it in between, the server says so at its start.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use thiserror::Error;

/// The range: above the registered services that are common, below Linux' ephemeral ports (from 32768).
const FIRST: u16 = 12_000;
const LAST: u16 = 32_000;

/// There are not enough free ports.
#[derive(Debug, Error)]
#[error("no free ports left between {FIRST} and {LAST} on 127.0.0.1")]
pub struct NoPorts;

/// Hands out free ports, each once.
pub struct Ports {
    next: u16,
    left: u16,
}

impl Ports {
    /// Begins at a place of the range that `start` decides.
    pub fn new(start: u16) -> Self {
        Self { next: FIRST + start % (LAST - FIRST), left: LAST - FIRST }
    }

    /// A port that is free for UDP and TCP.
    pub fn take(&mut self) -> Result<SocketAddr, NoPorts> {
        while self.left > 0 {
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, self.next));
            self.left -= 1;
            self.next = if self.next + 1 < LAST { self.next + 1 } else { FIRST };
            if UdpSocket::bind(addr).is_ok() && TcpListener::bind(addr).is_ok() {
                return Ok(addr);
            }
        }
        Err(NoPorts)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ports_are_distinct_and_taken_ones_are_passed_over() {
        let mut ports = Ports::new(u16::MAX);
        let first = ports.take().unwrap();
        let taken = UdpSocket::bind(first).unwrap();
        let start = first.port() - FIRST;
        let mut again = Ports::new(start);
        let given: BTreeSet<SocketAddr> = (0..64).map(|_| again.take().unwrap()).collect();
        assert_eq!(given.len(), 64);
        assert!(!given.contains(&taken.local_addr().unwrap()));
        assert!(given.iter().all(|addr| (FIRST..LAST).contains(&addr.port())));
    }

    #[test]
    fn the_range_ends() {
        let mut ports = Ports { next: FIRST, left: 0 };
        assert!(ports.take().is_err());
    }
}
