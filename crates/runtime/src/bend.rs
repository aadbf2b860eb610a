//! The seam for programs that misbehave on purpose: something between a node and its peers.
//!
//! `node` puts nothing there. `node-byzantine` puts one of the simulator's twists there, so that tests of real clusters
//! meet the same lies as the simulator's nodes do.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use shardpay_transport::PeerNet;
use shardpay_types::{Codec as _, NodeId, PeerMessage};

use crate::outgoing::class_of;

/// Between two turns in which something can be sent without the replica.
const TICK: Duration = Duration::from_millis(50);

/// Messages on their way out.
type Outgoing = Vec<(NodeId, Arc<PeerMessage>)>;

/// What stands between a node and its peers.
pub trait Bend: Send + 'static {
    /// A message came in, not verified yet: what the node gets to see of it.
    fn receive(&mut self, from: NodeId, message: Arc<PeerMessage>) -> Option<Arc<PeerMessage>>;
    /// The node sends a message: what really leaves.
    fn send(&mut self, to: NodeId, message: Arc<PeerMessage>) -> Outgoing;
    /// Time passes: what leaves without the node.
    fn tick(&mut self) -> Outgoing;
}

/// Shared by all threads that send or receive.
#[derive(Clone)]
pub(crate) struct Bent {
    bend: Arc<Mutex<Box<dyn Bend>>>,
    net: PeerNet,
}

impl Bent {
    /// Begins to tick; stops when nobody holds it.
    pub(crate) fn start(bend: Box<dyn Bend>, net: PeerNet, runtime: &tokio::runtime::Handle) -> Self {
        let bent = Self { bend: Arc::new(Mutex::new(bend)), net };
        let (held, net) = (Arc::downgrade(&bent.bend), bent.net.clone());
        runtime.spawn(tick(held, net));
        bent
    }

    pub(crate) fn send(&self, to: NodeId, message: Arc<PeerMessage>) {
        let out = self.bend.lock().unwrap_or_else(PoisonError::into_inner).send(to, message);
        pass(&self.net, out);
    }

    pub(crate) fn receive(&self, from: NodeId, message: PeerMessage) -> Option<PeerMessage> {
        let mut bend = self.bend.lock().unwrap_or_else(PoisonError::into_inner);
        bend.receive(from, Arc::new(message)).map(Arc::unwrap_or_clone)
    }
}

async fn tick(held: Weak<Mutex<Box<dyn Bend>>>, net: PeerNet) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(bend) = held.upgrade() else { return };
        let out = bend.lock().unwrap_or_else(PoisonError::into_inner).tick();
        pass(&net, out);
    }
}

fn pass(net: &PeerNet, out: Outgoing) {
    for (to, message) in out {
        net.send(to, class_of(&message), message.to_bytes().into());
    }
}
