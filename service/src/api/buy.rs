//! Buying by card, over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::events::stream;
use super::extract::{Input, Me, Name, Page, PageQuery, Params, Watcher, body, read_json};
use super::idempotency::{IdempotencyKey, derived_id};
use crate::app::App;
use crate::buy::card::CardInput;
use crate::buy::gateway::ChargeOutcome;
use crate::buy::{NewPurchase, Purchase};
use crate::codec;
use crate::db::Value;
use crate::error::{Code, Problem};
use crate::hub::Change;
use crate::payments::key_of;

/// Smallest and largest purchase, in cents.
const CENTS: std::ops::RangeInclusive<u64> = 100..=500_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PurchaseInput {
    amount: String,
    card: CardInput,
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    me: Me,
    Extension(key): Extension<IdempotencyKey>,
    Input(input): Input<PurchaseInput>,
) -> Result<(StatusCode, Json<Purchase>), Problem> {
    let recipient = key_of(&me.user)?;
    let amount = codec::amount("amount", &input.amount)?;
    if !CENTS.contains(&codec::cents("amount", amount)?) {
        return Err(Problem::bad("amount", "from 1.00 to 5000.00"));
    }
    let card = input.card.check(app.clock.now_us())?;
    let id = derived_id(&me.user.id, "purchase", &key);
    let new = NewPurchase { id: &id, user: &me.user.id, recipient, amount };
    app.purchases.begin(new, &card).await?;
    let purchase = find(&app, &me, &id).await?;
    app.metrics.operation("buy", purchase.state != "declined");
    Ok((StatusCode::CREATED, Json(purchase)))
}

async fn find(app: &App, me: &Me, id: &str) -> Result<Purchase, Problem> {
    app.purchases.get(&me.user.id, id).await?.ok_or_else(|| Problem::not_found("purchase"))
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    me: Me,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<Purchase>>, Problem> {
    let ((time, id), limit) = query.bounds()?;
    let items = app.purchases.list(&me.user.id, (time, &id), limit).await?;
    Ok(Json(Page::new(items, limit, |item| (item.created_us, &item.id))))
}

pub(super) async fn get(State(app): State<Arc<App>>, me: Me, Name(id): Name) -> Result<Json<Purchase>, Problem> {
    find(&app, &me, &id).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChallengeInput {
    code: String,
}

pub(super) async fn challenge(
    State(app): State<Arc<App>>,
    me: Me,
    Name(id): Name,
    Input(input): Input<ChallengeInput>,
) -> Result<Json<Purchase>, Problem> {
    find(&app, &me, &id).await?;
    if input.code.is_empty() || input.code.len() > 32 {
        return Err(Problem::bad("code", "1 to 32 characters"));
    }
    if !app.purchases.answer(&id, &input.code).await? {
        return Err(Problem::new(Code::WrongState, "no answer is awaited"));
    }
    find(&app, &me, &id).await.map(Json)
}

pub(super) async fn events(
    State(app): State<Arc<App>>,
    me: Me,
    watcher: Watcher,
    Name(id): Name,
) -> Result<Response, Problem> {
    find(&app, &me, &id).await?;
    let concerned = Change::Purchase(id.clone());
    Ok(stream(
        &app,
        watcher,
        "purchase",
        move |change| *change == concerned,
        move |app| {
            let (user, id) = (me.user.id.clone(), id.clone());
            async move { Ok(app.purchases.get(&user, &id).await?.map(|purchase| (purchase.clone(), purchase.is_final))) }
        },
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GatewayEvent {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    key: String,
    charge_id: Option<String>,
}

/// Events of the card gateway: signed, recent, and each once.
pub(super) async fn gateway_event(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: axum::extract::Request,
) -> Result<StatusCode, Problem> {
    let forged = || Problem::new(Code::EventSignature, "header Gateway-Signature: missing, wrong or too old");
    let bytes = body(request).await?;
    let given = headers.get("gateway-signature").and_then(|value| value.to_str().ok()).ok_or_else(forged)?;
    let (time, signature) = given.strip_prefix("t=").and_then(|rest| rest.split_once(",v1=")).ok_or_else(forged)?;
    let seconds: u64 = time.parse().map_err(|_| forged())?;
    let signature = hex::decode(signature).map_err(|_| forged())?;
    let mut mac = Hmac::<Sha256>::new_from_slice(app.settings.gateway_secret.as_bytes()).expect("any length is a key");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(&bytes);
    let right = bool::from(mac.finalize().into_bytes().ct_eq(signature.as_slice()));
    if !right || (app.clock.now_us() / 1_000_000).abs_diff(seconds) > 300 {
        return Err(forged());
    }
    let event: GatewayEvent = read_json(&bytes)?;
    let plain = |text: &String| (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if ![Some(&event.id), Some(&event.key), event.charge_id.as_ref()].into_iter().flatten().all(plain) {
        return Err(Problem::bad("id", "id, key and charge_id: 1 to 128 visible ASCII characters"));
    }
    match (event.kind.as_str(), event.charge_id) {
        ("charge.captured", Some(charge_id)) => {
            app.purchases.charged(&event.key, ChargeOutcome::Captured { charge_id }).await?;
            app.purchases.advance(&event.key).await?;
        }
        ("charge.disputed", _) => app.purchases.disputed(&event.key).await?,
        _ => return Err(Problem::bad("type", "charge.captured (with charge_id) or charge.disputed")),
    }
    // every step above changes a state once only; the id is kept to tell repetitions in the books
    let sql = "INSERT INTO gateway_events (id, received_us) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
    app.db.write(sql, &[Value::text(event.id), Value::count(app.clock.now_us())]).await?;
    Ok(StatusCode::NO_CONTENT)
}
