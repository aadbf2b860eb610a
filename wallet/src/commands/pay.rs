//! Balance and payments, directly or through a service.

use serde_json::{Value, json};
use shardpay_client::service::{ServiceClient, field};
use shardpay_crypto::{Keypair, Signer as _, txid};
use shardpay_keystore::{Address, LINK_SCHEME, PaymentLink};
use shardpay_types::{Amount, Codec as _, Outcome, PublicKey, Reference, Sequence, Transaction, TxId};

use super::{amount, keystore, logged_in, open, reference, service};
use crate::cli::{Answer, PayArgs, Shared};
use crate::direct::Ledger;
use crate::failure::Failure;
use crate::service::{SEQUENCE_USED, follow, key_of, sequence_used};
use crate::signing::{Order, Position, payment};
use crate::{offline, store};

pub(crate) async fn ledger(shared: &Shared) -> Result<Option<Ledger>, Failure> {
    match (&shared.signaler, &shared.genesis) {
        (Some(signaler), Some(genesis)) => Ledger::connect(signaler, genesis).await.map(Some),
        _ => Ok(None),
    }
}

pub(crate) async fn balance(shared: &Shared) -> Result<Answer, Failure> {
    let address = keystore(shared)?.address();
    let (balance, height, sequence, from) = match ledger(shared).await? {
        Some(ledger) => {
            let (height, state) = ledger.balance(address.0).await?;
            (state.balance.to_string(), height.get(), state.next_sequence.get(), "signed by f + 1 members")
        }
        None => {
            let account = service(shared)?.get(&format!("/v1/accounts/{address}")).await?;
            let number = |field: &str| account[field].as_u64().unwrap_or_default();
            let stale = account["stale"].as_bool() == Some(true);
            let from = if stale { "the service's word, not up to date" } else { "the service's word" };
            (field(&account, "balance")?.to_owned(), number("height"), number("next_sequence"), from)
        }
    };
    Ok(Answer {
        text: format!("{balance} EUR at height {height} ({from})"),
        json: json!({
            "address": address.to_string(), "balance": balance, "height": height, "next_sequence": sequence, "source": from,
        }),
    })
}

/// How often a payment is signed again because another device was faster.
pub(crate) const SIGNED_MAX: u32 = 5;

/// What the arguments ask for; a name is looked up later.
struct Wish {
    recipient: Result<PublicKey, String>,
    amount: Amount,
    reference: Reference,
}

fn wish(args: &PayArgs) -> Result<Wish, Failure> {
    let mut asked = (args.amount.as_deref().map(amount).transpose()?, reference(args.reference.as_deref())?);
    let to = args.to.trim();
    let usage = |error: &dyn std::fmt::Display| Failure::Usage(format!("{to}: {error}"));
    let lower = to.to_ascii_lowercase();
    let recipient = if lower.starts_with(&format!("{LINK_SCHEME}:")) {
        let link: PaymentLink = to.parse().map_err(|error| usage(&error))?;
        if let (Some(said), Some(linked)) = (asked.0, link.amount)
            && said != linked
        {
            return Err(usage(&format!("the link asks for {linked}, not {said}")));
        }
        asked = (asked.0.or(link.amount), asked.1.or(link.reference));
        Ok(link.address.0)
    } else if lower.starts_with("shard1") {
        Ok(to.parse::<Address>().map_err(|error| usage(&error))?.0)
    } else {
        Err(to.to_owned())
    };
    let amount = asked.0.ok_or_else(|| Failure::Usage("say how much".to_owned()))?;
    Ok(Wish { recipient, amount, reference: asked.1.unwrap_or(Reference::ZERO) })
}

pub(crate) async fn pay(shared: &Shared, args: &PayArgs) -> Result<Answer, Failure> {
    let wish = wish(args)?;
    if let Some(path) = &args.receipt {
        store::must_be_free(path)?;
    }
    // what cannot be read is said before anything is paid
    let genesis = shared.genesis.as_deref().map(offline::genesis).transpose()?;
    let keypair = open(shared)?;
    let (json, receipt, source) = match ledger(shared).await? {
        Some(ledger) => pay_directly(&ledger, &keypair, wish).await?,
        None => {
            let service = logged_in(shared, &keypair).await?;
            let paid = pay_by_service(&service, &keypair, wish).await;
            let ended = service.log_out().await;
            let (json, receipt) = paid?;
            ended?;
            let source = match &genesis {
                Some(genesis) => {
                    let (proof, _) = offline::check(&receipt, genesis)?;
                    if proof["txid"] != json["txid"] {
                        return Err(Failure::Proof("the service gave the receipt of another payment".to_owned()));
                    }
                    "proof verified here"
                }
                None => "the service's word; --genesis FILE verifies the proof",
            };
            (json, receipt, source)
        }
    };
    if let Some(path) = &args.receipt {
        store::write_new(path, &receipt)?;
    }
    Ok(Answer {
        text: format!(
            "paid {} EUR, committee {} height {} ({source})\ntxid {}",
            json["amount"].as_str().unwrap_or_default(),
            json["committee"],
            json["height"],
            json["txid"].as_str().unwrap_or_default(),
        ),
        json,
    })
}

async fn pay_directly(
    ledger: &Ledger,
    keypair: &Keypair,
    wish: Wish,
) -> Result<(Value, Vec<u8>, &'static str), Failure> {
    let recipient = wish.recipient.map_err(|name| {
        Failure::Usage(format!("{name}: names are known to a service only; give an address or a payment link"))
    })?;
    let (_, state) = ledger.balance(keypair.public_key()).await?;
    if state.balance < wish.amount {
        return Err(Failure::Refused(format!("there are {} EUR in this wallet, not {}", state.balance, wish.amount)));
    }
    let position = Position { chain: *ledger.client().chain(), sequence: state.next_sequence };
    let order = Order { recipient, amount: wish.amount, reference: wish.reference };
    let (paid, receipt) = ledger.pay(payment(keypair, position, order)).await?;
    if paid.facts.outcome == Outcome::ShortBalance {
        return Err(Failure::Refused("certified, but not carried out: there were not enough coins".to_owned()));
    }
    let json = json!({
        "txid": paid.facts.txid.to_string(),
        "amount": wish.amount.to_string(),
        "recipient": Address(recipient).to_string(),
        "committee": ledger.client().decider(&paid.receipt.executed.transaction).index(),
        "height": paid.facts.height.get(),
        "credited": paid.credit.is_some() || paid.facts.credited_by.is_none(),
    });
    Ok((json, receipt.write(), "proof verified here"))
}

/// Where the account stands, by the service.
pub(crate) async fn position(service: &ServiceClient, key: PublicKey) -> Result<Position, Failure> {
    let account = service.get(&format!("/v1/accounts/{}", Address(key))).await?;
    let sequence = &account["next_sequence"];
    let sequence = sequence.as_u64().or_else(|| sequence.as_str()?.parse().ok());
    let sequence = sequence.ok_or_else(|| Failure::Environment("the service tells no sequence".to_owned()))?;
    Ok(Position { chain: service.chain().await?, sequence: Sequence::new(sequence) })
}

/// The hexadecimal text of a signed transaction.
pub(crate) fn encoded(transaction: &Transaction) -> String {
    hex::encode(transaction.to_bytes())
}

/// Signs and sends until no other device has used the sequence meanwhile.
async fn settle(service: &ServiceClient, keypair: &Keypair, order: Order) -> Result<(TxId, Value), Failure> {
    let mut signed = 1;
    loop {
        let position = position(service, keypair.public_key()).await?;
        let transaction = payment(keypair, position, order);
        let id = txid(&position.chain, &transaction);
        let sent = service.post("/v1/payments", &json!({ "transaction": encoded(&transaction) })).await;
        match sent {
            Ok(_) => {}
            Err(error) if sequence_used(&error) && signed < SIGNED_MAX => {
                signed += 1;
                continue;
            }
            Err(error) => {
                return Err(match Failure::from(error) {
                    Failure::Environment(why) => {
                        Failure::Unknown(format!("payment {id}: {why}; look at the history before you pay again"))
                    }
                    failure => failure,
                });
            }
        }
        let settled = |payment: &Value| payment["final"].as_bool() == Some(true);
        let payment = follow(service, &format!("/v1/payments/{id}"), settled).await?;
        // certified blocks prove it: these bytes are never executed
        if payment["state"] == "rejected" && payment["reason"] == SEQUENCE_USED && signed < SIGNED_MAX {
            signed += 1;
            continue;
        }
        return Ok((id, payment));
    }
}

async fn pay_by_service(service: &ServiceClient, keypair: &Keypair, wish: Wish) -> Result<(Value, Vec<u8>), Failure> {
    let recipient = match wish.recipient {
        Ok(key) => key,
        Err(name) => key_of(service, &name).await?,
    };
    let order = Order { recipient, amount: wish.amount, reference: wish.reference };
    let (id, payment) = settle(service, keypair, order).await?;
    match payment["state"].as_str() {
        Some("certified" | "credited") => {}
        Some("short_balance") => {
            return Err(Failure::Refused("there were not enough coins; nothing was paid".to_owned()));
        }
        state => {
            let reason = payment["reason"].as_str().or(state).unwrap_or("unknown");
            return Err(Failure::Refused(format!("not carried out: {reason}; nothing was paid")));
        }
    }
    let receipt = service.get_bytes(&format!("/v1/payments/{id}/receipt")).await?;
    let json = json!({
        "txid": id.to_string(),
        "amount": wish.amount.to_string(),
        "recipient": Address(recipient).to_string(),
        "committee": payment["committee"],
        "height": payment["height"],
        "credited": payment["state"] == "credited" || payment["credited_committee"].is_null(),
        "latency_ms": payment["latency_ms"],
    });
    Ok((json, receipt))
}
