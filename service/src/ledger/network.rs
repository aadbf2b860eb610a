//! The ledger as the client library reaches it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shardpay_client::{
    BlockStream, Client, ReceiptFile, SubmitEvent, SubmitEvents, SubmitOptions, Submitter, Subscription, Verified,
};
use shardpay_crypto::IdentifiedTransaction;
use shardpay_types::{AccountState, ChainId, CommitteeId, Height, Plan, PublicKey, TxId};
use tokio::sync::mpsc;

use super::facts::{BlockFacts, CreditFact, ExecutedFact, LeafFact};
use super::port::{Later, Ledger, LedgerError, LedgerEvent, ProofPlace};
use super::view::View;

/// Events that wait for the follower.
const EVENTS_MAX: usize = 256;
/// Transactions in flight per committee.
const IN_FLIGHT_MAX: usize = 8_192;
/// How often a committee is asked whether the stream has reached its tip.
const FRESH_EVERY: Duration = Duration::from_secs(3);

/// The ledger over the network.
pub struct Network {
    client: Client,
    submitters: Vec<Submitter>,
    in_flight: Arc<Mutex<HashSet<TxId>>>,
}

impl Network {
    /// Follows every committee from the height behind the one `view` knows, and takes submissions.
    pub fn start(client: Client, view: &Arc<View>) -> Result<(Self, mpsc::Receiver<LedgerEvent>), LedgerError> {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let in_flight = Arc::new(Mutex::new(HashSet::new()));
        let mut submitters = Vec::new();
        let options = SubmitOptions {
            in_flight_max: IN_FLIGHT_MAX,
            linger: Duration::from_millis(1),
            give_up_after: Duration::from_secs(3_600),
            tell_executed: false,
            ..SubmitOptions::default()
        };
        for committee in client.genesis().committee_ids() {
            let (submitter, happened) = client.submitter(committee, options)?;
            submitters.push(submitter);
            tokio::spawn(pass_events(happened, in_flight.clone(), sender.clone()));
            let from = view.tip(committee).height.next();
            let stream = client.blocks(Subscription::whole(committee, from))?;
            tokio::spawn(follow(client.genesis().clone(), stream, view.clone(), sender.clone()));
            tokio::spawn(ask_tips(client.clone(), committee, view.clone(), sender.clone()));
        }
        Ok((Self { client, submitters, in_flight }, events))
    }

    /// The client library.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn in_flight(&self) -> std::sync::MutexGuard<'_, HashSet<TxId>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pass_events(
    mut happened: SubmitEvents,
    in_flight: Arc<Mutex<HashSet<TxId>>>,
    sender: mpsc::Sender<LedgerEvent>,
) {
    while let Some(events) = happened.recv().await {
        for event in events {
            let (txid, told) = match event {
                SubmitEvent::Executed(..) => continue,
                SubmitEvent::Refused(txid, reason) => (txid, LedgerEvent::Refused(txid, reason)),
                SubmitEvent::GaveUp(txid) => (txid, LedgerEvent::GaveUp(txid)),
            };
            in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(&txid);
            if sender.send(told).await.is_err() {
                return;
            }
        }
    }
}

async fn follow(plan: Plan, mut stream: BlockStream, view: Arc<View>, sender: mpsc::Sender<LedgerEvent>) {
    while let Ok(verified) = stream.next().await {
        let Verified::Block(block) = verified else { continue };
        view.set_read(block.certified.header.committee, block.certified.header.height);
        let facts = BlockFacts::of(&plan, &block, &|key| view.tracks(key));
        if sender.send(LedgerEvent::Block(facts)).await.is_err() {
            return;
        }
    }
}

/// An idle committee makes no blocks: only its members' word tells that the stream is not behind.
async fn ask_tips(client: Client, committee: CommitteeId, view: Arc<View>, sender: mpsc::Sender<LedgerEvent>) {
    let plan = client.genesis().clone();
    // any key of the committee's will do
    let mut probe = PublicKey::ZERO;
    while super::facts::holder(&plan, &probe) != committee {
        let next = u32::from_le_bytes([probe.0[0], probe.0[1], probe.0[2], probe.0[3]]) + 1;
        probe.0[..4].copy_from_slice(&next.to_le_bytes());
    }
    loop {
        if let Ok((height, _, _)) = client.balance(probe).await
            && view.tip(committee).height >= height
            && sender.send(LedgerEvent::Fresh(committee)).await.is_err()
        {
            return;
        }
        tokio::time::sleep(FRESH_EVERY).await;
        if sender.is_closed() {
            return;
        }
    }
}

impl Ledger for Network {
    fn genesis(&self) -> &Plan {
        self.client.genesis()
    }

    fn chain(&self) -> &ChainId {
        self.client.chain()
    }

    fn balance(&self, key: PublicKey) -> Later<'_, Result<(Height, AccountState), LedgerError>> {
        Box::pin(async move {
            let (height, state, _) = self.client.balance(key).await?;
            Ok((height, state))
        })
    }

    fn submit(&self, transaction: IdentifiedTransaction) {
        if !self.in_flight().insert(transaction.txid) {
            return;
        }
        let committee = self.client.decider(&transaction.transaction);
        let (txid, submitter) = (transaction.txid, &self.submitters[committee.index()]);
        if submitter.try_submit(vec![transaction]).is_err() {
            // full: the follower's sweep brings it again
            self.in_flight().remove(&txid);
        }
    }

    fn settle(&self, txid: TxId) {
        if self.in_flight().remove(&txid) {
            for submitter in &self.submitters {
                submitter.settle(vec![txid]);
            }
        }
    }

    fn past(
        &self,
        committee: CommitteeId,
        key: PublicKey,
        height: Height,
    ) -> Later<'_, Result<Vec<BlockFacts>, LedgerError>> {
        Box::pin(async move {
            let mut found = Vec::new();
            if height == Height::ZERO {
                return Ok(found);
            }
            let subscription = Subscription::filtered(committee, Height::new(1), vec![key]);
            let mut stream = self.client.blocks(subscription)?;
            loop {
                let Verified::Part(part) = stream.next().await? else { continue };
                let header = &part.certified.header;
                let executed = part.receipts.into_iter().map(|(receipt, facts)| {
                    LeafFact::Executed(ExecutedFact {
                        leaf: u32::try_from(receipt.path.index).expect("below the header's u32 count"),
                        txid: facts.txid,
                        transaction: receipt.executed.transaction,
                        outcome: facts.outcome,
                        credited_by: facts.credited_by,
                        accounts: facts.accounts,
                    })
                });
                let credits = part.credits.into_iter().map(|(receipt, facts)| {
                    LeafFact::Credit(CreditFact {
                        leaf: u32::try_from(receipt.path.index).expect("below the header's u32 count"),
                        message: receipt.message,
                        outcome: facts.outcome,
                        account: facts.account,
                    })
                });
                let leaves: Vec<LeafFact> = executed.chain(credits).collect();
                let (at, ledger_time, totals) = (header.height, header.ledger_time, header.totals);
                if !leaves.is_empty() {
                    found.push(BlockFacts { committee, height: at, ledger_time, totals, leaves });
                }
                if at >= height {
                    return Ok(found);
                }
            }
        })
    }

    fn receipt_file(&self, place: ProofPlace) -> Later<'_, Result<ReceiptFile, LedgerError>> {
        Box::pin(async move {
            let (committee, height, leaf) = place.decided;
            let (receipt, facts) = self.client.receipt(committee, height, leaf).await?;
            let epochs = self.client.epoch_chain(committee)?;
            let credit = match place.credited {
                None => None,
                Some((committee, height, leaf)) => {
                    let (receipt, _) = self.client.credit_receipt(committee, height, leaf).await?;
                    Some((committee, receipt, self.client.epoch_chain(committee)?))
                }
            };
            Ok(ReceiptFile::new(*self.client.chain(), (committee, receipt, epochs), &facts, credit))
        })
    }
}
