//! Tells waiting requests that something changed. What changed is read from the store.

use shardpay_types::{PublicKey, TxId};
use tokio::sync::broadcast;

/// Changes that wait for slow listeners; who misses some looks at the store.
const WAITING_MAX: usize = 1_024;

/// Something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A transaction's state.
    Transaction(TxId),
    /// An account's balance or sequence.
    Account(PublicKey),
    /// A purchase.
    Purchase(String),
    /// A cash-out, by its txid.
    CashOut(String),
    /// A payment intent.
    Intent(String),
    /// A webhook is due.
    Webhook,
}

/// The hub.
#[derive(Debug, Clone)]
pub struct Hub(broadcast::Sender<Change>);

impl Default for Hub {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING_MAX))
    }
}

impl Hub {
    /// Tells everybody.
    pub fn tell(&self, changes: impl IntoIterator<Item = Change>) {
        for change in changes {
            // nobody listens: nothing to tell
            let _ = self.0.send(change);
        }
    }

    /// Listens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Change> {
        self.0.subscribe()
    }
}
