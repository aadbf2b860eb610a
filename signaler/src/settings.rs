//! What the network is and how its epochs run, checked: the part of the configuration the rules need.

use std::time::Duration;

use shardpay_client::signaler::NetworkId;
use shardpay_types::{Constants, PublicKey};

/// Checked settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Committees (k).
    pub committees: usize,
    /// Members of each (n).
    pub members: usize,
    /// Signs mints.
    pub issuer: PublicKey,
    /// Protocol constants.
    pub constants: Constants,
    /// The network's name; drawn at the first start when not given.
    pub network: Option<NetworkId>,
    /// Keys that may register, in the order of their places; everybody, first come, when not given.
    pub allowed: Option<Vec<PublicKey>>,
    /// When an epoch ends by itself.
    pub clock: EpochClock,
    /// A node is down that long after its last heartbeat.
    pub down_after: Duration,
    /// How far a heartbeat's time may be from ours.
    pub clock_skew_max: Duration,
}

/// When an epoch ends by itself; never, when neither is given.
#[derive(Debug, Clone, Copy, Default)]
pub struct EpochClock {
    /// That long after it started.
    pub after: Option<Duration>,
    /// When a committee has certified that many ledger blocks in it.
    pub heights: Option<u64>,
}

impl Settings {
    /// k × n.
    pub fn expected(&self) -> usize {
        self.committees * self.members
    }
}
