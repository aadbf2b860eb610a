//! The ledger without a service: the nodes themselves, every answer verified against the genesis plan.

use std::path::Path;
use std::time::Duration;

use shardpay_client::signaler::SignalerClient;
use shardpay_client::topology::Topology;
use shardpay_client::{Client, ClientError, Directory, Paid, ReceiptFile};
use shardpay_crypto::txid;
use shardpay_types::{AccountState, Height, PublicKey, Transaction};

use crate::failure::Failure;
use crate::offline;

/// Longest wait for a payment's proofs.
const PAY_MAX: Duration = Duration::from_secs(60);

/// A verified view of the ledger.
pub(crate) struct Ledger {
    client: Client,
}

impl Ledger {
    /// Asks a signaler (or a topology file) where the nodes are; believes only what `genesis` proves.
    pub(crate) async fn connect(topology: &str, genesis: &Path) -> Result<Self, Failure> {
        let genesis = offline::genesis(genesis)?;
        let topology = read_topology(topology).await?;
        let client = Client::new(genesis, Directory::from_topology(&topology))?;
        Ok(Self { client })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn balance(&self, key: PublicKey) -> Result<(Height, AccountState), Failure> {
        let (height, state, _) = self.client.balance(key).await?;
        Ok((height, state))
    }

    /// Pays, waits for debit and credit to be certified, and makes the receipt file.
    pub(crate) async fn pay(&self, transaction: Transaction) -> Result<(Paid, ReceiptFile), Failure> {
        let paid = self.client.pay_and_wait(transaction, true, PAY_MAX).await.map_err(|error| match error {
            ClientError::Refused(_) => Failure::from(error),
            // it may have been handed over before this went wrong
            error => {
                let txid = txid(self.client.chain(), &transaction);
                Failure::Unknown(format!("payment {txid}: {error}; look at the balance before you pay again"))
            }
        })?;
        let committee = self.client.decider(&transaction);
        let epochs = self.client.epoch_chain(committee)?;
        let credit = match (&paid.credit, transaction.recipient()) {
            (Some((receipt, _)), Some(recipient)) => {
                let holder = self.client.holder(&recipient);
                Some((holder, receipt.clone(), self.client.epoch_chain(holder)?))
            }
            _ => None,
        };
        let debit = (committee, paid.receipt.clone(), epochs);
        let file = ReceiptFile::new(*self.client.chain(), debit, &paid.facts, credit);
        Ok((paid, file))
    }
}

async fn read_topology(source: &str) -> Result<Topology, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Environment(format!("{source}: {error}"));
    if source.starts_with("http://") {
        let signaler = SignalerClient::new(source).map_err(|error| failed(&error))?;
        return signaler.topology().await.map_err(|error| failed(&error));
    }
    let text = std::fs::read(source).map_err(|error| failed(&error))?;
    serde_json::from_slice(&text).map_err(|error| failed(&error))
}
