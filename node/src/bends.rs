//! What a program beside `node` changes of a node. `node` itself changes nothing; `node-byzantine` does.

use std::sync::Arc;

use shardpay_crypto::Keypair;
use shardpay_runtime::Bend;
use shardpay_transport::PeerAddress;
use shardpay_types::{ChainId, NodeId, Plan};

/// What is known of a node when its bend is made.
pub struct Place {
    /// The node.
    pub own: NodeId,
    /// The ledger.
    pub chain: ChainId,
    /// The genesis plan.
    pub plan: Arc<Plan>,
    /// The node's key.
    pub keypair: Arc<Keypair>,
}

/// Makes what stands between a node and its peers.
pub type MakeBend = Box<dyn FnOnce(Place) -> Box<dyn Bend> + Send>;

/// Says which peers a node talks to, and where.
pub type ChoosePeers = Arc<dyn Fn(Vec<PeerAddress>) -> Vec<PeerAddress> + Send + Sync>;

/// All of it; nothing by default.
#[derive(Default)]
pub struct Bends {
    /// Between the node and its peers.
    pub bend: Option<MakeBend>,
    /// Other peers than the signaler names.
    pub peers: Option<ChoosePeers>,
    /// The node neither registers nor reports: the signaler does not know of it.
    pub hidden: bool,
}
