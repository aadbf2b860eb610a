//! What an operator sets: times and bounds. None of it is validity: two members with different values
//! still agree on everything. Protocol constants stand in the plan.

use std::time::Duration;

use shardpay_consensus::Rules;
use shardpay_types::{ChainId, Hash, NodeId, Transaction};

/// Times of the consensus instances, see [`shardpay_consensus::Config`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsensusTimes {
    /// Least time between two own blocks under load.
    pub min_round_delay: Duration,
    /// First leader timeout.
    pub leader_timeout: Duration,
    /// Longest leader timeout.
    pub leader_timeout_max: Duration,
    /// First wait before a missing parent is asked for again.
    pub sync_retry: Duration,
    /// Longest such wait.
    pub sync_retry_max: Duration,
    /// Commits handed out and not executed at which output pauses.
    pub execution_queue_max: usize,
}

/// Bounds of the mempool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MempoolLimits {
    /// Transactions, over all senders.
    pub count_max: usize,
    /// Their encoded bytes.
    pub bytes_max: usize,
    /// Transactions of one sender.
    pub per_sender_max: usize,
    /// Clients waiting for one transaction.
    pub clients_max: usize,
    /// Accounts whose last executed state is remembered, so that a client's older view does no harm.
    pub recent_accounts_max: usize,
    /// What a client is told to wait when there is no room.
    pub retry_after: Duration,
}

/// Everything a replica is told by its operator.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which node this is.
    pub own: NodeId,
    /// Which ledger.
    pub chain: ChainId,
    /// Times of consensus.
    pub consensus: ConsensusTimes,
    /// Thresholds of consensus by committee size: [`Rules::sound`], but in planted-bug tests.
    pub rules: fn(usize) -> Rules,
    /// Key of the cache of verified transactions: [`shardpay_crypto::transaction_fingerprint`], but in
    /// planted-bug tests.
    pub fingerprint: fn(&ChainId, &Transaction) -> Hash,
    /// Time between two heartbeats, give or take an eighth.
    pub heartbeat: Duration,
    /// First wait before header and checkpoint votes are sent again; doubles to eight times that.
    pub resend: Duration,
    /// How long each member's turn to relay a pack lasts.
    pub relay_turn: Duration,
    /// First wait before a notice or pack request goes to the next member; doubles to eight times that.
    pub relay_retry: Duration,
    /// Wait for a server of ledger blocks before the next one is asked.
    pub catch_up_retry: Duration,
    /// Execution standing still that long while f + 1 members are certified further: replay blocks.
    pub stall: Duration,
    /// Ledger blocks executed and not certified at which execution pauses.
    pub uncertified_max: usize,
    /// Messages that a destination has not consumed above which payments to it are answered `Busy`.
    pub backlog_max: u64,
    /// Bounds of the mempool.
    pub mempool: MempoolLimits,
    /// Fingerprints of verified transactions remembered.
    pub verified_cache_max: usize,
    /// Secret seed of hash maps and jitter.
    pub hash_seed: u64,
}

impl Config {
    /// The blueprint's values.
    pub fn standard(own: NodeId, chain: ChainId) -> Self {
        let ms = Duration::from_millis;
        Self {
            own,
            chain,
            consensus: ConsensusTimes {
                min_round_delay: ms(50),
                leader_timeout: ms(500),
                leader_timeout_max: ms(10_000),
                sync_retry: ms(100),
                sync_retry_max: ms(2_000),
                execution_queue_max: 16,
            },
            rules: Rules::sound,
            fingerprint: shardpay_crypto::transaction_fingerprint,
            heartbeat: ms(1_000),
            resend: ms(250),
            relay_turn: ms(150),
            relay_retry: ms(500),
            catch_up_retry: ms(500),
            stall: ms(3_000),
            uncertified_max: 256,
            backlog_max: 1_000_000,
            mempool: MempoolLimits {
                count_max: 100_000,
                bytes_max: 32 << 20,
                per_sender_max: 256,
                clients_max: 8,
                recent_accounts_max: 65_536,
                retry_after: ms(500),
            },
            verified_cache_max: 1 << 18,
            hash_seed: 0,
        }
    }
}
