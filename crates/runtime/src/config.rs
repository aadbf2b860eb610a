//! What an operator sets of a node's pipeline. Sizes of queues are bounds of memory, not of the protocol.

use std::time::Duration;

use shardpay_replica::Config as ReplicaConfig;
use shardpay_types::{ChainId, NodeId};

/// Everything the pipeline is told.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// The protocol machine.
    pub replica: ReplicaConfig,
    /// Threads that verify what peers send.
    pub peer_lanes: usize,
    /// Threads that verify what clients send.
    pub client_lanes: usize,
    /// Most transactions of a client batch.
    pub client_batch_max: usize,
    /// Longest wait for a client batch to fill.
    pub client_batch_wait: Duration,
    /// Sizes of queues and shares.
    pub limits: QueueLimits,
}

/// Sizes of the node's queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Frames of peers that wait for a lane.
    pub peer_frames: usize,
    /// Checked messages that wait for the core.
    pub core_messages: usize,
    /// Submissions that wait for a lane.
    pub client_submits: usize,
    /// Client transactions between the socket and the mempool.
    pub client_transactions: usize,
    /// Transactions of one stream without an answer.
    pub stream_transactions: usize,
    /// Questions of clients and lanes that wait for the ledger.
    pub ledger_asks: usize,
    /// Orders of the core that wait for the ledger, above which peers' requests are dropped.
    pub ledger_serves: usize,
    /// Subscriptions of one connection.
    pub subscriptions: usize,
    /// Bytes of certified blocks kept at hand for subscribers.
    pub feed_bytes: usize,
}

impl RuntimeConfig {
    /// The blueprint's values, for a machine with that many cores.
    pub fn standard(own: NodeId, chain: ChainId, cores: usize) -> Self {
        let lanes = (cores / 2).clamp(1, 8);
        Self {
            replica: ReplicaConfig::standard(own, chain),
            peer_lanes: lanes,
            client_lanes: lanes,
            client_batch_max: 512,
            client_batch_wait: Duration::from_millis(2),
            limits: QueueLimits::standard(),
        }
    }
}

impl QueueLimits {
    /// The blueprint's values.
    pub const fn standard() -> Self {
        Self {
            peer_frames: 4_096,
            core_messages: 1_024,
            client_submits: 1_024,
            client_transactions: 32_768,
            stream_transactions: 65_536,
            ledger_asks: 256,
            ledger_serves: 512,
            subscriptions: 16,
            feed_bytes: 8 << 20,
        }
    }
}
