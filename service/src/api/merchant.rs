//! Merchants and their intents, over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use shardpay_keystore::{Address, PaymentLink};
use shardpay_types::{Reference, Transaction};

use super::events::stream;
use super::extract::{AsMerchant, Input, Me, Name, Page, PageQuery, Params, Watcher};
use super::idempotency::{IdempotencyKey, derived_id};
use super::pay::SignedInput;
use crate::app::App;
use crate::codec::{self, Purpose, TxKind, stored_key};
use crate::db::Value;
use crate::error::{Code, Problem};
use crate::hub::Change;
use crate::merchant::webhooks::check_url;
use crate::merchant::{Intent, IntentState, NewIntent, Settlement, day_bounds, settlement};
use crate::payments::{self, Payment, key_of};
use crate::secret::{random_hex, token_hash};
use crate::users::accounts::Merchant;

/// Intents last between a minute and a week; an hour unless said.
const EXPIRES_S: std::ops::RangeInclusive<u64> = 60..=604_800;

/// Checks a short text for people.
fn label(field: &'static str, text: &str, max: usize) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > max || text.chars().any(char::is_control) {
        return Err(Problem::bad(field, format!("1 to {max} characters")));
    }
    Ok(text.to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MerchantInput {
    display_name: String,
    webhook_url: Option<String>,
}

pub(super) async fn set(
    State(app): State<Arc<App>>,
    me: Me,
    Input(input): Input<MerchantInput>,
) -> Result<Json<Merchant>, Problem> {
    key_of(&me.user)?;
    let name = label("display_name", &input.display_name, 60)?;
    let url = input.webhook_url.as_deref().map(|url| check_url(url, app.settings.webhook_private)).transpose()?;
    app.users.set_merchant(&me.user.id, &name, url.as_deref()).await?;
    let user = app.users.get(&me.user.id).await?;
    user.and_then(|user| user.merchant).map(Json).ok_or_else(|| Problem::not_found("merchant"))
}

#[derive(Serialize)]
pub(super) struct KeyShown {
    id: String,
    label: String,
    created_us: u64,
}

#[derive(Serialize)]
pub(super) struct Keys {
    items: Vec<KeyShown>,
}

pub(super) async fn keys(State(app): State<Arc<App>>, me: Me) -> Result<Json<Keys>, Problem> {
    let sql = "SELECT id, label, created_us FROM merchant_keys WHERE user_id = $1 ORDER BY created_us LIMIT 100";
    let rows = app.db.read(sql, &[Value::text(&me.user.id)]).await?;
    let shown = |row: &crate::db::Row| KeyShown {
        id: row.text(0).to_owned(),
        label: row.text(1).to_owned(),
        created_us: row.count(2),
    };
    Ok(Json(Keys { items: rows.iter().map(shown).collect() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelInput {
    label: String,
}

#[derive(Serialize)]
pub(super) struct KeyMade {
    id: String,
    label: String,
    secret: String,
    created_us: u64,
}

pub(super) async fn make_key(
    State(app): State<Arc<App>>,
    me: Me,
    Input(input): Input<LabelInput>,
) -> Result<(StatusCode, Json<KeyMade>), Problem> {
    if me.user.merchant.is_none() {
        return Err(Problem::new(Code::Forbidden, "this user is no merchant yet: PUT /v1/merchant"));
    }
    let label = label("label", &input.label, 60)?;
    let (id, secret) = (format!("k_{}", random_hex::<8>()), format!("sk_{}", random_hex::<32>()));
    let created_us = app.clock.now_us();
    let sql = "INSERT INTO merchant_keys (id, user_id, label, secret_hash, created_us) VALUES ($1, $2, $3, $4, $5)";
    let arguments = [
        Value::text(&id),
        Value::text(&me.user.id),
        Value::text(&label),
        Value::text(token_hash(&secret)),
        Value::count(created_us),
    ];
    app.db.write(sql, &arguments).await?;
    Ok((StatusCode::CREATED, Json(KeyMade { id, label, secret, created_us })))
}

pub(super) async fn delete_key(State(app): State<Arc<App>>, me: Me, Name(id): Name) -> Result<StatusCode, Problem> {
    let sql = "DELETE FROM merchant_keys WHERE id = $1 AND user_id = $2";
    match app.db.write(sql, &[Value::text(id), Value::text(&me.user.id)]).await? {
        0 => Err(Problem::not_found("key")),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

#[derive(Serialize)]
pub(super) struct SecretMade {
    secret: String,
}

pub(super) async fn webhook_secret(
    State(app): State<Arc<App>>,
    me: Me,
    Input(Nothing {}): Input<Nothing>,
) -> Result<(StatusCode, Json<SecretMade>), Problem> {
    let secret = format!("whsec_{}", random_hex::<24>());
    let sql = "UPDATE users SET webhook_secret = $2 WHERE id = $1 AND display_name IS NOT NULL";
    match app.db.write(sql, &[Value::text(&me.user.id), Value::text(&secret)]).await? {
        0 => Err(Problem::new(Code::Forbidden, "this user is no merchant yet: PUT /v1/merchant")),
        _ => Ok((StatusCode::CREATED, Json(SecretMade { secret }))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IntentInput {
    amount: String,
    order_id: String,
    description: Option<String>,
    expires_in_s: Option<u64>,
    return_url: Option<String>,
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    AsMerchant(user): AsMerchant,
    Extension(key): Extension<IdempotencyKey>,
    Input(input): Input<IntentInput>,
) -> Result<(StatusCode, Json<Intent>), Problem> {
    let merchant_key = key_of(&user)?.to_string();
    let amount = codec::amount("amount", &input.amount)?;
    if amount < app.plan().constants.amount_min || amount.micros() > 1_000_000_000_000 {
        return Err(Problem::bad("amount", "from the ledger's smallest amount to 1000000.00"));
    }
    let order_id = label("order_id", &input.order_id, 64)?;
    let description = input.description.as_deref().map(|text| label("description", text, 200)).transpose()?;
    let expires_in_s = input.expires_in_s.unwrap_or(3_600);
    if !EXPIRES_S.contains(&expires_in_s) {
        return Err(Problem::bad("expires_in_s", "60 to 604800"));
    }
    let return_url = input.return_url.as_deref().map(return_url).transpose()?;
    let id = derived_id(&user.id, "intent", &key);
    let new = NewIntent {
        id: &id,
        user: &user.id,
        key: &merchant_key,
        amount: amount.micros(),
        order_id: &order_id,
        description: description.as_deref(),
        expires_in_s,
        return_url: return_url.as_deref(),
    };
    app.intents.create(&new).await?;
    Ok((StatusCode::CREATED, Json(own(&app, &user.id, &id).await?)))
}

/// Checks where a checkout shall lead back to, a link that a browser may be given, and gives its plain form.
fn return_url(text: &str) -> Result<String, Problem> {
    let url = reqwest::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let plain = url.filter(|url| url.username().is_empty() && url.password().is_none() && text.len() <= 500);
    let wrong = || Problem::bad("return_url", "an http or https address of at most 500 characters");
    plain.map(String::from).ok_or_else(wrong)
}

/// An intent of the merchant's.
async fn own(app: &App, user: &str, id: &str) -> Result<Intent, Problem> {
    let found = app.intents.get(id).await?.filter(|(_, owner)| owner == user);
    found.map(|(intent, _)| intent).ok_or_else(|| Problem::not_found("intent"))
}

#[derive(Deserialize)]
pub(super) struct IntentsQuery {
    state: Option<String>,
    limit: Option<u64>,
    cursor: Option<String>,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    AsMerchant(user): AsMerchant,
    Params(query): Params<IntentsQuery>,
) -> Result<Json<Page<Intent>>, Problem> {
    let state = match query.state.as_deref() {
        None | Some("") => None,
        Some(word) => Some(IntentState::parse(word).ok_or_else(|| Problem::bad("state", "no such state"))?),
    };
    let page = PageQuery { limit: query.limit, cursor: query.cursor };
    let ((time, id), limit) = page.bounds()?;
    let items = app.intents.list(&user.id, state, (time, &id), limit).await?;
    Ok(Json(Page::new(items, limit, |item| (item.created_us, &item.id))))
}

pub(super) async fn get(
    State(app): State<Arc<App>>,
    AsMerchant(user): AsMerchant,
    Name(id): Name,
) -> Result<Json<Intent>, Problem> {
    own(&app, &user.id, &id).await.map(Json)
}

pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    AsMerchant(user): AsMerchant,
    Name(id): Name,
    Input(Nothing {}): Input<Nothing>,
) -> Result<Json<Intent>, Problem> {
    let intent = own(&app, &user.id, &id).await?;
    if !app.intents.cancel(&user.id, &id).await? && intent.state != "cancelled" {
        return Err(Problem::new(Code::WrongState, format!("the intent is {}", intent.state)));
    }
    own(&app, &user.id, &id).await.map(Json)
}

pub(super) async fn refund(
    State(app): State<Arc<App>>,
    AsMerchant(user): AsMerchant,
    Name(id): Name,
    Input(input): Input<SignedInput>,
) -> Result<(StatusCode, Json<Payment>), Problem> {
    let intent = own(&app, &user.id, &id).await?;
    let signed = payments::read_signed(&app, TxKind::Payment, &input.transaction)?;
    let Transaction::Payment(payment) = &signed.transaction else { unreachable!("read as a payment") };
    if payment.body.sender != key_of(&user)? {
        return Err(Problem::field(Code::NotYourKey, "transaction", "signed by another key than the merchant's"));
    }
    if payment.body.reference.to_string() != intent.id {
        return Err(Problem::field(Code::BadTransaction, "transaction", "its reference is not the intent's"));
    }
    let txid = signed.txid.to_string();
    let mut tx = app.db.begin().await?;
    if tx.read_one("SELECT 1 FROM transactions WHERE txid = $1", &[Value::text(&txid)]).await?.is_none() {
        match app.intents.refundable(&mut tx, &id, &payment.body.recipient.to_string()).await? {
            None => return Err(Problem::field(Code::NotAPayer, "transaction", "this account paid nothing here")),
            Some(left) if payment.body.amount.micros() > left => {
                let why = format!("at most {} can be paid back to this account", codec::decimal(left));
                return Err(Problem::field(Code::RefundTooLarge, "transaction", why));
            }
            Some(_) => {}
        }
        payments::check_state(&app, &signed).await?;
    }
    payments::enter(&app, &mut tx, &user.id, &signed, Some((Purpose::Refund, &id))).await?;
    tx.commit().await?;
    payments::bring(&app, signed);
    let found = payments::get(&app, &txid).await?;
    found.map(|(payment, _)| (StatusCode::ACCEPTED, Json(payment))).ok_or_else(|| Problem::not_found("refund"))
}

pub(super) async fn report(
    State(app): State<Arc<App>>,
    AsMerchant(user): AsMerchant,
    Name(date): Name,
) -> Result<Json<Settlement>, Problem> {
    let bounds = day_bounds(&date).ok_or_else(|| Problem::bad("date", "a day like 2026-01-31"))?;
    Ok(Json(settlement(&app.db, &user.id, &date, bounds).await?))
}

#[derive(Serialize)]
pub(super) struct EventShown {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    created_us: u64,
    intent: String,
    attempts: u64,
    delivered_us: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct EventsQuery {
    newest: Option<bool>,
    limit: Option<u64>,
    cursor: Option<String>,
}

pub(super) async fn webhook_events(
    State(app): State<Arc<App>>,
    AsMerchant(user): AsMerchant,
    Params(query): Params<EventsQuery>,
) -> Result<Json<Page<EventShown>>, Problem> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor };
    let ((time, id), limit) = page.bounds()?;
    let newest = query.newest.unwrap_or(false);
    // oldest first: without a cursor from the beginning
    let (time, id) = if page.cursor.is_none() && !newest { (0, String::new()) } else { (time, id) };
    let sql = if newest {
        "SELECT id, type, created_us, intent_id, attempts, delivered_us FROM webhook_events \
         WHERE user_id = $1 AND (created_us, id) < ($2, $3) ORDER BY created_us DESC, id DESC LIMIT $4"
    } else {
        "SELECT id, type, created_us, intent_id, attempts, delivered_us FROM webhook_events \
         WHERE user_id = $1 AND (created_us, id) > ($2, $3) ORDER BY created_us, id LIMIT $4"
    };
    let arguments = [Value::text(&user.id), Value::count(time), Value::text(id), Value::count(limit)];
    let rows = app.db.read(sql, &arguments).await?;
    let shown = |row: &crate::db::Row| EventShown {
        id: row.text(0).to_owned(),
        kind: row.text(1).to_owned(),
        created_us: row.count(2),
        intent: row.text(3).to_owned(),
        attempts: row.count(4),
        delivered_us: row.opt_count(5),
    };
    Ok(Json(Page::new(rows.iter().map(shown).collect(), limit, |item: &EventShown| (item.created_us, &item.id))))
}

#[derive(Serialize)]
pub(super) struct Seller {
    display_name: String,
    public_key: String,
    address: String,
}

#[derive(Serialize)]
pub(super) struct Checkout {
    intent: Intent,
    merchant: Seller,
    link: String,
    page: String,
}

pub(super) async fn checkout(State(app): State<Arc<App>>, Name(id): Name) -> Result<Json<Checkout>, Problem> {
    let nothing = || Problem::not_found("checkout");
    let (intent, owner) = app.intents.get(&id).await?.ok_or_else(nothing)?;
    let merchant = app.users.get(&owner).await?.and_then(|user| user.merchant).ok_or_else(nothing)?;
    let (Some(public_key), Some(address)) = (merchant.public_key, merchant.address) else { return Err(nothing()) };
    let key = stored_key(&public_key).ok_or_else(nothing)?;
    let link = PaymentLink {
        address: Address(key),
        amount: Some(codec::amount("amount", &intent.amount)?),
        reference: Some(Reference(codec::bytes("reference", &intent.id)?)),
    };
    let page = format!("{}/checkout/{}", app.settings.public_url, intent.id);
    let merchant = Seller { display_name: merchant.display_name, public_key, address };
    Ok(Json(Checkout { intent, merchant, link: link.to_string(), page }))
}

pub(super) async fn checkout_events(
    State(app): State<Arc<App>>,
    watcher: Watcher,
    Name(id): Name,
) -> Result<Response, Problem> {
    if app.intents.get(&id).await?.is_none() {
        return Err(Problem::not_found("checkout"));
    }
    let concerned = Change::Intent(id.clone());
    Ok(stream(
        &app,
        watcher,
        "intent",
        move |change| *change == concerned,
        move |app| {
            let id = id.clone();
            // never final: it may be paid late or twice
            async move { Ok(app.intents.get(&id).await?.map(|(intent, _)| (intent, false))) }
        },
    ))
}
