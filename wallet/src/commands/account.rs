//! What only a service can do: cards, banks, accounts, history.

use serde_json::{Value, json};
use shardpay_client::service::field;
use shardpay_crypto::{Signer as _, sha256};
use shardpay_types::{MICROS_PER_COIN, PayoutRef};

use super::pay::{SIGNED_MAX, encoded, position};
use super::{amount, logged_in, open, reference, service, user};
use crate::cli::{Answer, BuyArgs, CashOutArgs, HistoryArgs, Shared};
use crate::failure::Failure;
use crate::secrets;
use crate::service::{SEQUENCE_USED, follow, sequence_used};
use crate::signing::redeem;

const PAYOUT_TAG: &[u8] = b"shardpay/payout/v1\0";
const MICROS_PER_CENT: u64 = MICROS_PER_COIN / 100;
const PAGE: u32 = 200;

fn whole_cents(given: &str) -> Result<shardpay_types::Amount, Failure> {
    let amount = amount(given)?;
    if amount.micros() % MICROS_PER_CENT != 0 {
        return Err(Failure::Usage(format!("{given}: cards and banks know whole cents only")));
    }
    Ok(amount)
}

fn settled(answer: &Value) -> bool {
    answer["final"].as_bool() == Some(true)
}

pub(crate) async fn register(shared: &Shared) -> Result<Answer, Failure> {
    let keypair = open(shared)?;
    let mut service = service(shared)?;
    let name = user(shared)?;
    let file = shared.password_file.as_deref();
    let password = secrets::new_line(file, "--password-file", "New password at the service")?;
    let user = service.register(name, &password).await?;
    service.claim_key(&user, &keypair).await?;
    service.log_out().await?;
    Ok(Answer {
        text: format!("registered as {name}"),
        json: json!({ "name": name, "public_key": keypair.public_key().to_string() }),
    })
}

/// Card details from a file, or asked for. Never kept.
fn card(args: &BuyArgs) -> Result<Value, Failure> {
    if let Some(path) = &args.card_file {
        let text = secrets::whole(path)?;
        return serde_json::from_str(&text).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())));
    }
    let ask = |prompt: &str| secrets::typed("--card-file", prompt);
    let (number, expiry) = (ask("Card number")?, ask("Expires (MM/YY)")?);
    let (cvc, holder) = (ask("Security code")?, ask("Name on the card")?);
    let number: String = number.split_whitespace().collect();
    Ok(json!({ "number": number, "expiry": *expiry, "cvc": *cvc, "holder": *holder }))
}

pub(crate) async fn buy(shared: &Shared, args: &BuyArgs) -> Result<Answer, Failure> {
    let amount = whole_cents(&args.amount)?;
    let card = card(args)?;
    let keypair = open(shared)?;
    let service = logged_in(shared, &keypair).await?;
    let body = json!({ "amount": amount.to_string(), "card": card });
    let mut purchase = service.post("/v1/purchases", &body).await?;
    let path = format!("/v1/purchases/{}", field(&purchase, "id")?);
    if !settled(&purchase) {
        let waits = |answer: &Value| settled(answer) || answer["state"] == "challenge";
        purchase = follow(&service, &path, waits).await?;
    }
    if purchase["state"] == "challenge" {
        let prompt = purchase["challenge"]["prompt"].as_str().unwrap_or("The bank asks for a code").to_owned();
        let code = secrets::typed("another card", &prompt)?;
        service.post(&format!("{path}/challenge"), &json!({ "code": *code })).await?;
        purchase = follow(&service, &path, settled).await?;
    }
    service.log_out().await?;
    if purchase["state"] != "done" {
        let error = purchase["error"].as_str().or(purchase["state"].as_str()).unwrap_or("unknown");
        return Err(Failure::Refused(format!("not bought: {error}")));
    }
    let txid = field(&purchase, "txid")?.to_owned();
    Ok(Answer { text: format!("bought {amount} EUR\ntxid {txid}"), json: purchase })
}

pub(crate) async fn cash_out(shared: &Shared, args: &CashOutArgs) -> Result<Answer, Failure> {
    let amount = whole_cents(&args.amount)?;
    let iban = args.iban.split_whitespace().collect::<String>().to_ascii_uppercase();
    let holder = args.holder.trim();
    let keypair = open(shared)?;
    let service = logged_in(shared, &keypair).await?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|error| Failure::Environment(format!("no randomness: {error}")))?;
    let payout_ref = PayoutRef(sha256(&[PAYOUT_TAG, &salt, iban.as_bytes(), &[0], holder.as_bytes()]));
    let mut signed = 1;
    let cash_out = loop {
        let position = position(&service, keypair.public_key()).await?;
        let transaction = redeem(&keypair, position, amount, payout_ref);
        let body = json!({
            "transaction": encoded(&transaction), "iban": iban, "holder": holder, "salt": hex::encode(salt),
        });
        let sent = match service.post("/v1/cash-outs", &body).await {
            // another device was faster
            Err(error) if sequence_used(&error) && signed < SIGNED_MAX => {
                signed += 1;
                continue;
            }
            sent => sent?,
        };
        let path = format!("/v1/cash-outs/{}", field(&sent, "id")?);
        let cash_out = follow(&service, &path, settled).await?;
        if cash_out["state"] == "rejected" && cash_out["reason"] == SEQUENCE_USED && signed < SIGNED_MAX {
            signed += 1;
            continue;
        }
        break cash_out;
    };
    service.log_out().await?;
    match cash_out["state"].as_str() {
        Some("paid") => {
            let to = cash_out["iban_masked"].as_str().unwrap_or_default().to_owned();
            Ok(Answer {
                text: format!("{amount} EUR paid to {to}\ntxid {}", field(&cash_out, "txid")?),
                json: cash_out,
            })
        }
        Some("returned") => Err(Failure::Refused("the bank refused; your coins are back".to_owned())),
        state => {
            let reason = cash_out["reason"].as_str().or(state).unwrap_or("unknown");
            Err(Failure::Refused(format!("not paid out: {reason}")))
        }
    }
}

pub(crate) async fn history(shared: &Shared, args: &HistoryArgs) -> Result<Answer, Failure> {
    let mut query = String::new();
    if let Some(direction) = &args.direction {
        query.push_str(&format!("&direction={direction}"));
    }
    if let Some(reference) = reference(args.reference.as_deref())? {
        query.push_str(&format!("&reference={reference}"));
    }
    let keypair = open(shared)?;
    let service = logged_in(shared, &keypair).await?;
    if args.csv {
        let csv = service.get_bytes(&format!("/v1/me/history.csv?{}", query.trim_start_matches('&'))).await?;
        service.log_out().await?;
        return Ok(Answer { text: String::from_utf8_lossy(&csv).trim_end().to_owned(), json: Value::Null });
    }
    let mut entries: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    while entries.len() < args.limit as usize {
        let limit = PAGE.min(args.limit - u32::try_from(entries.len()).unwrap_or(args.limit));
        let page = service.get(&format!("/v1/me/history?limit={limit}{query}{cursor}")).await?;
        entries.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    service.log_out().await?;
    let line = |entry: &Value| {
        let shown = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let who = entry["counterparty_name"].as_str().or(entry["counterparty_address"].as_str()).unwrap_or("-");
        let (kind, state) = (shown("kind"), shown("state"));
        let (direction, amount) = (shown("direction"), shown("amount"));
        format!("{direction:<3} {amount:>18}  {kind:<8} {state:<13} {who}  {}", shown("reference_text"))
    };
    let text = if entries.is_empty() {
        "nothing yet".to_owned()
    } else {
        entries.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    Ok(Answer { text, json: Value::Array(entries) })
}
