//! What the tests of the ports share: nodes that record what they hear, and waiting with a bound.
#![allow(dead_code)] // each test file uses a part of it

pub(crate) mod any_server;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shardpay_transport::{Frame, Identity, PeerAddress, PeerConfig, PeerHandler, PeerNet, TransportRefusal};
use shardpay_types::{CommitteeId, MemberIndex, NodeId};
use tokio::runtime::Handle;

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) fn node(committee: usize, member: usize) -> NodeId {
    NodeId { committee: CommitteeId::at(committee), member: MemberIndex::at(member) }
}

pub(crate) fn identity(node: NodeId) -> Identity {
    Identity::from_seed([1 + node.committee.index() as u8 * 16 + node.member.index() as u8; 32])
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Connected,
    Disconnected,
}

/// Records what a node hears; keeps frames as they are when told to.
#[derive(Default)]
pub(crate) struct Ear {
    pub(crate) frames: Mutex<BTreeMap<NodeId, Vec<Vec<u8>>>>,
    pub(crate) held: Mutex<Option<Vec<Frame>>>,
    pub(crate) links: Mutex<BTreeMap<NodeId, Vec<Seen>>>,
    pub(crate) refusals: Mutex<Vec<TransportRefusal>>,
}

impl Ear {
    pub(crate) fn count(&self, from: NodeId) -> usize {
        self.frames.lock().unwrap().get(&from).map_or(0, Vec::len)
    }
    pub(crate) fn refused(&self, what: TransportRefusal) -> usize {
        self.refusals.lock().unwrap().iter().filter(|seen| **seen == what).count()
    }
    pub(crate) fn times_connected(&self, to: NodeId) -> usize {
        let links = self.links.lock().unwrap();
        links.get(&to).map_or(0, |seen| seen.iter().filter(|one| **one == Seen::Connected).count())
    }
    /// Connected and disconnected took turns, starting with connected.
    pub(crate) fn assert_pairs(&self) {
        for (node, seen) in &*self.links.lock().unwrap() {
            for (place, one) in seen.iter().enumerate() {
                let expected = if place % 2 == 0 { Seen::Connected } else { Seen::Disconnected };
                assert_eq!(*one, expected, "{node:?}: {seen:?}");
            }
        }
    }
}

impl PeerHandler for Ear {
    fn connected(&self, node: NodeId) {
        self.links.lock().unwrap().entry(node).or_default().push(Seen::Connected);
    }
    fn disconnected(&self, node: NodeId) {
        self.links.lock().unwrap().entry(node).or_default().push(Seen::Disconnected);
    }
    fn frame(&self, from: NodeId, frame: Frame) {
        if let Some(held) = &mut *self.held.lock().unwrap() {
            held.push(frame);
            return;
        }
        self.frames.lock().unwrap().entry(from).or_default().push(frame.bytes().to_vec());
    }
    fn refused(&self, what: TransportRefusal, _from: SocketAddr) {
        self.refusals.lock().unwrap().push(what);
    }
}

/// A node of a test.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) net: PeerNet,
    pub(crate) ear: Arc<Ear>,
}

impl Node {
    pub(crate) fn start(id: NodeId) -> Self {
        Self::start_with(id, PeerConfig::standard(loopback()))
    }
    pub(crate) fn start_with(id: NodeId, config: PeerConfig) -> Self {
        let ear = Arc::new(Ear::default());
        let net = PeerNet::start(&Handle::current(), config, &identity(id), Arc::clone(&ear) as _).unwrap();
        Self { id, net, ear }
    }
    pub(crate) fn address(&self) -> PeerAddress {
        PeerAddress { node: self.id, key: identity(self.id).public(), addr: self.net.local_addr() }
    }
    pub(crate) fn is_connected(&self, to: NodeId) -> bool {
        self.net.stats().peers.iter().any(|peer| peer.node == to && peer.connected)
    }
}

/// Makes all of them members of one plan.
pub(crate) fn introduce(nodes: &[&Node]) {
    let all: Vec<_> = nodes.iter().map(|node| node.address()).collect();
    for node in nodes {
        node.net.set_members(Some(node.id), all.clone());
    }
}

pub(crate) async fn all_connected(nodes: &[&Node]) {
    until("all connected", || nodes.iter().all(|node| node.net.stats().connected == nodes.len() - 1)).await;
}
