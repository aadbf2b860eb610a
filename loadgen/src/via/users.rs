//! Users of a service that pay: registered or logged in, with coins bought by card.
//!
//! Names, passwords and keys follow from the load's seed, so a second run finds its users again and buys nothing while
//! their coins last. They are a load generator's, and no secret.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use shardpay_client::service::{ServiceClient, ServiceError, field};
use shardpay_crypto::{Signer as _, chain_id, sha256, transaction_message};
use shardpay_keystore::parse_amount;
use shardpay_run::Load;
use shardpay_types::{
    Amount, ChainId, Codec as _, CommitteeId, Payment, Plan, Reference, Sequence, Signature, SignedPayment, Timestamp,
    Transaction, TxId,
};
use tokio::task::JoinSet;

use crate::accounts::Accounts;
use crate::progress::Progress;
use crate::workload::AMOUNT;

/// What a user buys: enough for a hundred thousand payments.
const BOUGHT: &str = "100.00";
/// Below this a user buys again.
const ENOUGH: Amount = Amount::from_micros(50_000_000);
/// Users that are made ready at the same time.
const AT_ONCE: usize = 8;
/// How often a request that a busy service refused is made again.
const TRIES: u32 = 60;

/// A user's session.
struct User {
    client: ServiceClient,
    sequence: u64,
    dead: bool,
}

/// All users of the load.
pub(super) struct Users {
    accounts: Arc<Accounts>,
    chain: ChainId,
    committees: usize,
    users: Vec<User>,
}

impl Users {
    /// Registers, logs in, buys: whatever each user still needs.
    pub(super) async fn ready(
        service: &ServiceClient,
        genesis: &Plan,
        load: &Load,
        progress: &mut Progress,
    ) -> Result<Self> {
        let chain = chain_id(genesis);
        let known = service.chain().await.context("--via")?;
        if known != chain {
            bail!("--via: the service works on another ledger than --topology names");
        }
        let accounts = Arc::new(Accounts::new(genesis, load.seed, load.accounts));
        let mut users: Vec<Option<User>> = (0..load.accounts).map(|_| None).collect();
        let mut waiting = 0..load.accounts;
        let mut making = JoinSet::new();
        let mut done = 0;
        loop {
            while making.len() < AT_ONCE
                && let Some(number) = waiting.next()
            {
                let (client, accounts, seed) = (service.clone(), accounts.clone(), load.seed);
                making.spawn(async move { (number, ready(client, &accounts, seed, number).await) });
            }
            let Some(made) = making.join_next().await else { break };
            let (number, user) = made.context("a user was not made ready")?;
            users[number] = Some(user.with_context(|| format!("user {number}"))?);
            done += 1;
            progress.funding(done, load.accounts);
        }
        let users = users.into_iter().map(|user| user.expect("every number was made")).collect();
        Ok(Self { accounts, chain, committees: genesis.committees.len(), users })
    }

    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    pub(super) const fn committees(&self) -> usize {
        self.committees
    }

    pub(super) fn homes(&self) -> Vec<CommitteeId> {
        self.accounts.homes.clone()
    }

    pub(super) fn home(&self, number: usize) -> CommitteeId {
        self.accounts.homes[number]
    }

    pub(super) fn client(&self, number: usize) -> ServiceClient {
        self.users[number].client.clone()
    }

    /// Whether this user can pay no more.
    pub(super) fn is_dead(&self, number: usize) -> bool {
        self.users[number].dead
    }

    /// This user can pay no more.
    pub(super) fn bury(&mut self, number: usize) {
        self.users[number].dead = true;
    }

    /// The next payment of a user: its id, and its bytes in hexadecimal.
    pub(super) fn sign(&mut self, payer: usize, payee: usize) -> (String, String) {
        let sequence = self.users[payer].sequence;
        self.users[payer].sequence += 1;
        let body = Payment {
            sender: self.accounts.names[payer],
            recipient: self.accounts.names[payee],
            amount: AMOUNT,
            sequence: Sequence::new(sequence),
            valid_until: Timestamp::ZERO,
            reference: Reference::ZERO,
        };
        let unsigned = Transaction::Payment(SignedPayment { body, signature: Signature::ZERO });
        let message = transaction_message(&self.chain, &unsigned);
        let signature = self.accounts.keys[payer].sign(&message);
        let signed = Transaction::Payment(SignedPayment { body, signature });
        (TxId(sha256(&[&message])).to_string(), hex::encode(signed.to_bytes()))
    }
}

async fn ready(mut client: ServiceClient, accounts: &Accounts, seed: u64, number: usize) -> Result<User> {
    let name = format!("load-{seed}-{number}");
    let tag = b"shardpay/loadgen/password/v1\0";
    let password = hex::encode(&sha256(&[tag, name.as_bytes()])[..12]);
    let user = enter(&mut client, &name, &password).await?;
    client.claim_key(&user, &accounts.keys[number]).await?;
    let account = format!("/v1/accounts/{}", accounts.names[number]);
    let mut stands = client.get(&account).await?;
    if balance(&stands)? < ENOUGH {
        buy(&client).await?;
        // a purchase is done when its mint is certified; the account's own view follows
        for _ in 0..TRIES {
            stands = client.get(&account).await?;
            if balance(&stands)? >= ENOUGH {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let sequence = stands["next_sequence"].as_u64().context("the service tells no sequence")?;
    Ok(User { client, sequence, dead: false })
}

/// Registers, or logs in when an earlier run did; waits while the service is busy with passwords.
async fn enter(client: &mut ServiceClient, name: &str, password: &str) -> Result<Value> {
    let mut tries = 0;
    loop {
        let entered = match client.register(name, password).await {
            Err(ServiceError::Refused { code, .. }) if code == "name_taken" => client.log_in(name, password).await,
            other => other,
        };
        match entered {
            Err(ServiceError::Refused { status: 429 | 503, retry_after, .. }) if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(retry_after.unwrap_or(Duration::from_millis(500))).await;
            }
            other => return Ok(other?),
        }
    }
}

async fn buy(client: &ServiceClient) -> Result<()> {
    let card = json!({ "number": "4242424242424242", "expiry": "12/34", "cvc": "123", "holder": "Load Generator" });
    let purchase = client.post("/v1/purchases", &json!({ "amount": BOUGHT, "card": card })).await?;
    let mut events = client.events(&format!("/v1/purchases/{}/events", field(&purchase, "id")?)).await?;
    let mut last = purchase;
    while let Some(purchase) = events.next().await? {
        last = purchase;
    }
    match last["state"].as_str() {
        Some("done") => Ok(()),
        state => bail!("coins were not bought: {}", last["error"].as_str().or(state).unwrap_or("no state")),
    }
}

fn balance(account: &Value) -> Result<Amount> {
    let text = field(account, "balance")?;
    parse_amount(text).with_context(|| format!("balance {text}"))
}
