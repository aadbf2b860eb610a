//! Single questions: balances, receipts, and one payment from submission to proof.

use std::collections::BTreeMap;
use std::time::Duration;

use shardpay_crypto::IdentifiedTransaction;
use shardpay_ledger::verify::{
    BalanceQuery, CreditFacts, EpochKeys, ProofError, ReceiptFacts, verify_balance, verify_credit_receipt,
    verify_receipt,
};
use shardpay_types::{
    AccountState, BalanceRequest, Certificate, CertifiedBalance, ClientReply, ClientRequest, Codec, CommitteeId,
    CreditReceipt, Height, MemberSignature, Outcome, PublicKey, Receipt, ReceiptRequest, SignedBalance, Transaction,
};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::blocks::{BlockStream, Subscription, Verified};
use crate::client::{ATTEMPTS_MAX, Client, PAUSE, random};
use crate::error::{ClientError, Lie, LinkError};
use crate::submit::{SubmitEvent, SubmitOptions};

/// A payment (or redeem, or mint) with its proofs.
#[derive(Debug, Clone)]
pub struct Paid {
    /// What became of it at the deciding committee.
    pub receipt: Receipt,
    /// What the receipt proves.
    pub facts: ReceiptFacts,
    /// The credit at the destination, when it is another committee and was waited for.
    pub credit: Option<(CreditReceipt, CreditFacts)>,
}

/// Takes an answer of the right kind apart: the height and leaf it is of, and what it proves.
type Check<R, F> = fn(&EpochKeys, ClientReply) -> Option<((Height, u64), Result<(R, F), ProofError>)>;

impl Client {
    /// An account's state at a recent certified height, as f + 1 members state and sign it; with the proof.
    pub async fn balance(&self, key: PublicKey) -> Result<(Height, AccountState, CertifiedBalance), ClientError> {
        let committee = self.holder(&key);
        let keys = self.epoch_keys(committee).await?;
        let query = BalanceQuery { key, nonce: random()? };
        let silent = |members: &[crate::Endpoint]| LinkError::Silent(members[0].node);
        let members = self.inner.members(committee);
        let mut last = silent(&members);
        for _ in 0..ATTEMPTS_MAX {
            let mut answers = JoinSet::new();
            for endpoint in members.clone() {
                let inner = self.inner.clone();
                answers.spawn(async move {
                    let mut stream = inner.links.open(&endpoint).await?;
                    let request = ClientRequest::Balance(BalanceRequest { key: query.key, nonce: query.nonce });
                    match stream.ask(&request, inner.answer_max()).await? {
                        ClientReply::Balance(signed) if signed.member == endpoint.node.member => Ok(*signed),
                        _ => Err(stream.incoming.lie(Lie::Unexpected)),
                    }
                });
            }
            // By statement, as members may stand at different heights.
            let mut equal: BTreeMap<Vec<u8>, Vec<MemberSignature>> = BTreeMap::new();
            while let Some(answer) = answers.join_next().await {
                let SignedBalance { statement, member, signature } = match answer {
                    Ok(Ok(signed)) => signed,
                    Ok(Err(error)) => {
                        last = error;
                        continue;
                    }
                    Err(_) => return Err(ClientError::Stopped),
                };
                let signatures = equal.entry(statement.to_bytes()).or_default();
                signatures.push(MemberSignature { member, signature });
                let Some(certificate) = Certificate::new(signatures.clone()) else { continue };
                let certified = CertifiedBalance { statement, certificate };
                if let Ok((height, state)) = verify_balance(&keys, &query, &certified) {
                    return Ok((height, state, certified));
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(ClientError::NoAnswer { committee, attempts: ATTEMPTS_MAX, last })
    }

    /// The proof of what the transaction at a leaf did.
    pub async fn receipt(
        &self,
        committee: CommitteeId,
        height: Height,
        leaf: u32,
    ) -> Result<(Receipt, ReceiptFacts), ClientError> {
        let check: Check<Receipt, ReceiptFacts> = |keys, reply| {
            let ClientReply::Receipt(receipt) = reply else { return None };
            let place = (receipt.header.height, receipt.path.index);
            let facts = verify_receipt(keys, &receipt);
            Some((place, facts.map(|facts| (*receipt, facts))))
        };
        self.proof(committee, (height, leaf), check).await
    }

    /// The proof of what the message at a leaf did.
    pub async fn credit_receipt(
        &self,
        committee: CommitteeId,
        height: Height,
        leaf: u32,
    ) -> Result<(CreditReceipt, CreditFacts), ClientError> {
        let check: Check<CreditReceipt, CreditFacts> = |keys, reply| {
            let ClientReply::CreditReceipt(receipt) = reply else { return None };
            let place = (receipt.header.height, receipt.path.index);
            let facts = verify_credit_receipt(keys, &receipt);
            Some((place, facts.map(|facts| (*receipt, facts))))
        };
        self.proof(committee, (height, leaf), check).await
    }

    /// Asks for what stands at a leaf until a member proves it.
    async fn proof<R: Send + 'static, F: Send + 'static>(
        &self,
        committee: CommitteeId,
        (height, leaf): (Height, u32),
        check: Check<R, F>,
    ) -> Result<(R, F), ClientError> {
        self.known(committee)?;
        let request = ClientRequest::Receipt(ReceiptRequest { height, leaf });
        let inner = self.inner.clone();
        let asked = self.inner.ask_members(committee, move |stream| {
            let (inner, request) = (inner.clone(), request.clone());
            Box::pin(async move {
                inner.learn_newer(committee, stream).await?;
                let reply = stream.ask(&request, inner.answer_max()).await?;
                let checked = check(inner.keyring(committee).newest(), reply);
                let (place, proven) = checked.ok_or_else(|| stream.incoming.lie(Lie::Unexpected))?;
                let proven = proven.map_err(|error| stream.incoming.lie(error.into()))?;
                if place != (height, u64::from(leaf)) {
                    return Err(stream.incoming.lie(Lie::NotAskedFor(height)));
                }
                Ok(proven)
            })
        });
        asked.await
    }

    /// Submits one transaction and waits for its verified receipt; with `credit`, also for the payee's credit
    /// when another committee holds the payee. [`ClientError::TimedOut`] says nothing about its fate.
    pub async fn pay_and_wait(
        &self,
        transaction: Transaction,
        credit: bool,
        at_most: Duration,
    ) -> Result<Paid, ClientError> {
        tokio::time::timeout(at_most, self.pay(transaction, credit, at_most))
            .await
            .unwrap_or(Err(ClientError::TimedOut))
    }

    async fn pay(&self, transaction: Transaction, credit: bool, at_most: Duration) -> Result<Paid, ClientError> {
        let committee = self.decider(&transaction);
        let txid = IdentifiedTransaction::new(self.chain(), transaction).txid;
        let payee = transaction.recipient();
        let destination = payee.map(|payee| self.holder(&payee)).filter(|to| credit && *to != committee);
        let mut credits = match (destination, payee) {
            (Some(to), Some(payee)) => Some(self.started(Subscription::filtered(to, Height::ZERO, vec![payee])).await?),
            _ => None,
        };
        let options = SubmitOptions { in_flight_max: 1, give_up_after: at_most, ..SubmitOptions::default() };
        let (submitter, mut events) = self.submitter(committee, options)?;
        submitter.submit(vec![transaction]).await?;
        let (receipt, facts) = 'executed: loop {
            for event in events.recv().await.ok_or(ClientError::Stopped)? {
                match event {
                    SubmitEvent::Executed(_, at) => match self.receipt(committee, at.height, at.leaf).await {
                        Ok((receipt, facts)) if facts.txid == txid => break 'executed (receipt, facts),
                        // The member spoke falsely; the submitter asks another one.
                        _ => {}
                    },
                    SubmitEvent::Refused(_, reason) => return Err(ClientError::Refused(reason)),
                    SubmitEvent::GaveUp(_) => return Err(ClientError::TimedOut),
                }
            }
        };
        submitter.settle(vec![txid]);
        let credit = match &mut credits {
            Some(stream) if facts.outcome == Outcome::Applied => loop {
                if let Verified::Part(part) = stream.next().await?
                    && let Some(found) = part.credits.into_iter().find(|(_, facts)| facts.txid == txid)
                {
                    break Some(found);
                }
            },
            _ => None,
        };
        Ok(Paid { receipt, facts, credit })
    }

    /// A stream that knows where it starts, so that nothing that happens from now on is missed.
    async fn started(&self, subscription: Subscription) -> Result<BlockStream, ClientError> {
        let stream = self.blocks(subscription)?;
        let deadline = Instant::now() + self.inner.answer_max();
        while stream.first_height().is_none() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(stream)
    }
}
