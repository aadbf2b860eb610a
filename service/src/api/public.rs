//! What everybody may ask: the network, names, balances, transactions, the supply.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shardpay_keystore::Address;
use shardpay_types::{Codec as _, PublicKey};

use super::extract::{Me, Name, Params};
use crate::app::App;
use crate::codec;
use crate::error::{Code, Problem};
use crate::ledger::facts::holder;
use crate::payments;
use crate::supply::{Supply, supply};
use crate::users::accounts::check_name;

#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
    version: &'static str,
    uptime_s: u64,
}

pub(super) async fn health(State(app): State<Arc<App>>) -> Json<Health> {
    let uptime_s = app.clock.now_us().saturating_sub(app.started_us) / 1_000_000;
    Json(Health { status: "up", version: env!("CARGO_PKG_VERSION"), uptime_s })
}

#[derive(Serialize)]
struct CommitteeReady {
    committee: usize,
    height: u64,
    fresh: bool,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    database: bool,
    ledger: bool,
    committees: Vec<CommitteeReady>,
}

pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    let database = app.db.read_one("SELECT MAX(version) FROM schema_version", &[]).await.is_ok();
    let now = app.clock.now_us();
    let committees: Vec<CommitteeReady> = app
        .plan()
        .committee_ids()
        .map(|id| {
            let tip = app.view.tip(id);
            CommitteeReady { committee: id.index(), height: tip.height.get(), fresh: !tip.stale(now) }
        })
        .collect();
    let ledger = committees.iter().all(|committee| committee.fresh);
    let ready = database && ledger;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, database, ledger, committees })).into_response()
}

#[derive(Serialize)]
struct NetworkCommittee {
    committee: usize,
    shard_first: u16,
    shard_count: u16,
}

#[derive(Serialize)]
pub(super) struct NetworkInfo {
    chain: String,
    issuer: String,
    committees: Vec<NetworkCommittee>,
    amount_min: String,
    currency: &'static str,
    time_us: u64,
    sandbox: bool,
}

pub(super) async fn network(State(app): State<Arc<App>>) -> Json<NetworkInfo> {
    let plan = app.plan();
    let committees = plan.committees.iter().enumerate().map(|(committee, entry)| NetworkCommittee {
        committee,
        shard_first: entry.shard_first,
        shard_count: entry.shard_count,
    });
    Json(NetworkInfo {
        chain: app.ledger.chain().to_string(),
        issuer: plan.issuer.to_string(),
        committees: committees.collect(),
        amount_min: plan.constants.amount_min.to_string(),
        currency: "EUR",
        time_us: app.clock.now_us(),
        sandbox: true,
    })
}

pub(super) async fn genesis(State(app): State<Arc<App>>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"genesis.plan\""),
    ];
    (headers, app.plan().to_bytes()).into_response()
}

#[derive(Serialize)]
pub(super) struct PublicUser {
    name: String,
    public_key: String,
    address: String,
}

pub(super) async fn user(State(app): State<Arc<App>>, Name(name): Name) -> Result<Json<PublicUser>, Problem> {
    let nobody = || Problem::not_found("user with a wallet");
    check_name(&name).map_err(|_| nobody())?;
    let user = app.users.named(&name).await?.ok_or_else(nobody)?;
    let (Some(public_key), Some(address)) = (user.public_key, user.address) else { return Err(nobody()) };
    Ok(Json(PublicUser { name: user.name, public_key, address }))
}

#[derive(Debug, Serialize)]
pub(super) struct Balance {
    public_key: String,
    address: String,
    balance: String,
    next_sequence: u64,
    committee: usize,
    height: u64,
    ledger_time_us: u64,
    stale: bool,
}

/// A user's account from memory, anybody else's from the committee's members.
async fn balance_of(app: &App, key: PublicKey) -> Result<Balance, Problem> {
    let started = app.clock.now_us();
    let committee = holder(app.plan(), &key);
    let tip = app.view.tip(committee);
    let (height, state) = match app.view.account(&key) {
        // nothing touched it since: it is right at the tip too
        Some(account) => (account.height.max(tip.height), account.state),
        None => app.ledger.balance(key).await.map_err(|error| {
            tracing::warn!(%error, "no balance");
            Problem::new(Code::Unavailable, "the committee does not answer").retry_after(1_000)
        })?,
    };
    app.metrics.operation("balance", true);
    app.metrics.balance_us.record(app.clock.now_us().saturating_sub(started));
    Ok(Balance {
        public_key: key.to_string(),
        address: Address(key).to_string(),
        balance: state.balance.to_string(),
        next_sequence: state.next_sequence.get(),
        committee: committee.index(),
        height: height.get(),
        ledger_time_us: tip.ledger_time.micros(),
        stale: tip.stale(started),
    })
}

pub(super) async fn account(State(app): State<Arc<App>>, Name(name): Name) -> Result<Json<Balance>, Problem> {
    let key = codec::public_key("account", &name)?;
    balance_of(&app, key).await.map(Json)
}

pub(super) async fn my_balance(State(app): State<Arc<App>>, me: Me) -> Result<Json<Balance>, Problem> {
    balance_of(&app, payments::key_of(&me.user)?).await.map(Json)
}

pub(super) async fn transaction(
    State(app): State<Arc<App>>,
    Name(txid): Name,
) -> Result<Json<payments::Payment>, Problem> {
    codec::bytes::<32>("txid", &txid)?;
    let found = payments::get(&app, &txid.to_ascii_lowercase()).await?;
    found.map(|(payment, _)| Json(payment)).ok_or_else(|| Problem::not_found("transaction of a user of this service"))
}

pub(super) async fn coins(State(app): State<Arc<App>>) -> Result<Json<Supply>, Problem> {
    Ok(Json(supply(&app).await?))
}

#[derive(Deserialize)]
pub(super) struct QrQuery {
    text: String,
}

pub(super) async fn qr(Params(query): Params<QrQuery>) -> Result<Response, Problem> {
    if query.text.is_empty() || query.text.len() > 512 {
        return Err(Problem::bad("text", "1 to 512 bytes"));
    }
    let code = qrcode::QrCode::new(query.text.as_bytes()).map_err(|error| Problem::bad("text", error.to_string()))?;
    let svg = code.render::<qrcode::render::svg::Color<'_>>().min_dimensions(240, 240).build();
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response())
}
