//! One payment through a service, and the proofs of those that were certified.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use shardpay_client::ReceiptFile;
use shardpay_client::service::{ServiceClient, ServiceError};
use shardpay_run::{Ack, AckKind};
use shardpay_types::{Outcome, Plan};
use tokio::task::JoinSet;

use super::users::Users;

/// How often a stream that ended early is opened again.
const STREAMS: usize = 5;
/// Receipts that are fetched at the same time.
const RECEIPTS: usize = 8;

/// A payment that is sent.
pub(super) struct Sent {
    pub(super) txid: String,
    pub(super) payer: usize,
    pub(super) payee: usize,
    pub(super) intended: Instant,
}

/// What became of it.
pub(super) struct Ended {
    pub(super) sent: Sent,
    /// When its debit was said to be certified.
    pub(super) debited: Option<Instant>,
    /// When it was final for the payee, or why it never was.
    pub(super) end: Result<Instant, String>,
}

/// POSTs a payment and follows it to its end.
pub(super) async fn pay(client: &ServiceClient, sent: Sent, transaction: String) -> Ended {
    let mut debited = None;
    let end = match client.post("/v1/payments", &json!({ "transaction": transaction })).await {
        Ok(payment) => follow(client, &sent.txid, payment, &mut debited).await,
        Err(error) => Err(reason(&error)),
    };
    Ended { sent, debited, end }
}

async fn follow(
    client: &ServiceClient,
    txid: &str,
    mut payment: Value,
    debited: &mut Option<Instant>,
) -> Result<Instant, String> {
    let path = format!("/v1/payments/{txid}/events");
    for _ in 0..STREAMS {
        let mut events = client.events(&path).await.map_err(|error| reason(&error))?;
        loop {
            let now = Instant::now();
            if !payment["certified_us"].is_null() {
                debited.get_or_insert(now);
            }
            if payment["final"] == true {
                // read to its end, so that the connection can be used again
                while let Ok(Some(_)) = events.next().await {}
                return match payment["state"].as_str() {
                    Some("certified" | "credited") => Ok(now),
                    state => Err(payment["reason"].as_str().or(state).unwrap_or("no state").to_owned()),
                };
            }
            match events.next().await {
                Ok(Some(next)) => payment = next,
                Ok(None) | Err(ServiceError::Unreachable(_)) => break,
                Err(error) => return Err(reason(&error)),
            }
        }
    }
    Err("its stream of events ended early".to_owned())
}

/// The stable name of a refusal.
fn reason(error: &ServiceError) -> String {
    match error {
        ServiceError::Refused { code, .. } if !code.is_empty() => code.clone(),
        ServiceError::Refused { status, .. } => format!("http {status}"),
        ServiceError::Unreachable(_) => "service not reached".to_owned(),
        other => other.to_string(),
    }
}

/// Fetches and verifies the receipts of certified payments. One that does not hold is an error: then the service said
/// what the ledger does not prove.
pub(super) async fn proofs(users: &Users, genesis: &Plan, certified: &[(usize, String)]) -> Result<Vec<Ack>> {
    let mut acks = Vec::with_capacity(certified.len());
    let mut fetching = JoinSet::new();
    let mut waiting = certified.iter();
    loop {
        while fetching.len() < RECEIPTS
            && let Some((payer, txid)) = waiting.next()
        {
            let (client, txid) = (users.client(*payer), txid.clone());
            fetching.spawn(async move {
                let path = format!("/v1/payments/{txid}/receipt");
                (client.get_bytes(&path).await, txid)
            });
        }
        let Some(fetched) = fetching.join_next().await else { return Ok(acks) };
        let (bytes, txid) = fetched.context("a receipt was not fetched")?;
        let bytes = bytes.with_context(|| format!("receipt of {txid}"))?;
        acks.extend(proven(&bytes, genesis, &txid).with_context(|| format!("receipt of {txid}"))?);
    }
}

fn proven(bytes: &[u8], genesis: &Plan, txid: &str) -> Result<Vec<Ack>> {
    let file = ReceiptFile::read(bytes)?;
    let proven = file.verify(genesis)?;
    let facts = &proven.facts;
    if facts.txid.to_string() != txid || facts.outcome != Outcome::Applied {
        bail!("it proves something else");
    }
    let leaf = u32::try_from(file.receipt.0.path.index).context("its leaf")?;
    let mut acks =
        vec![Ack { txid: facts.txid, committee: file.committee, height: facts.height, leaf, kind: AckKind::Debit }];
    if let (Some(part), Some(credit)) = (&file.credit, &proven.credit) {
        let leaf = u32::try_from(part.receipt.0.path.index).context("its credit's leaf")?;
        let (txid, height) = (credit.txid, credit.height);
        acks.push(Ack { txid, committee: part.committee, height, leaf, kind: AckKind::Credit });
    }
    Ok(acks)
}
