//! Cashing out, over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shardpay_types::Transaction;

use super::events::stream;
use super::extract::{Input, Me, Name, Page, PageQuery, Params, Watcher};
use crate::app::App;
use crate::cash_out::iban::{Iban, holder};
use crate::cash_out::{CashOut, NewCashOut, payout_ref, redeem_certified};
use crate::codec::{self, Purpose, TxKind};
use crate::db::Value;
use crate::error::{Code, Problem};
use crate::hub::Change;
use crate::payments::{self, key_of};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CashOutInput {
    transaction: String,
    iban: String,
    holder: String,
    salt: String,
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    me: Me,
    Input(input): Input<CashOutInput>,
) -> Result<(StatusCode, Json<CashOut>), Problem> {
    let answer = begin(&app, &me, &input).await;
    app.metrics.operation("cash_out", answer.is_ok());
    Ok((StatusCode::ACCEPTED, Json(answer?)))
}

async fn begin(app: &App, me: &Me, input: &CashOutInput) -> Result<CashOut, Problem> {
    let iban = Iban::parse(&input.iban)?;
    let holder = holder(&input.holder)?;
    let salt = codec::bytes::<16>("salt", &input.salt)?;
    let signed = payments::read_signed(app, TxKind::Redeem, &input.transaction)?;
    let Transaction::Redeem(redeem) = &signed.transaction else { unreachable!("read as a redeem") };
    if redeem.body.sender != key_of(&me.user)? {
        return Err(Problem::field(Code::NotYourKey, "transaction", "signed by another key than yours"));
    }
    codec::cents("transaction", redeem.body.amount)?;
    if redeem.body.payout_ref != payout_ref(&salt, iban.as_str(), &holder) {
        let why = "the signed payout_ref does not fit salt, IBAN and holder";
        return Err(Problem::field(Code::PayoutRefMismatch, "transaction", why));
    }
    payments::check_state(app, &signed).await?;
    let txid = signed.txid.to_string();
    let new = NewCashOut {
        user: &me.user.id,
        sender: redeem.body.sender.to_string(),
        amount: redeem.body.amount,
        iban: &iban,
        holder: &holder,
    };
    let mut tx = app.db.begin().await?;
    app.cash_outs.enter(&mut tx, &txid, &new).await?;
    payments::enter(app, &mut tx, &me.user.id, &signed, Some((Purpose::CashOut, &txid))).await?;
    // a redeem that was certified before its bank details came
    let sql = "SELECT state FROM transactions WHERE txid = $1 AND height IS NOT NULL";
    if let Some(row) = tx.read_one(sql, &[Value::text(&txid)]).await? {
        let applied = row.text(0) != "short_balance";
        redeem_certified(&mut tx, &txid, applied, app.clock.now_us(), &mut Vec::new()).await?;
    }
    tx.commit().await?;
    app.hub.tell([Change::Transaction(signed.txid), Change::CashOut(txid.clone())]);
    app.ledger.submit(signed);
    find(app, me, &txid).await
}

async fn find(app: &App, me: &Me, id: &str) -> Result<CashOut, Problem> {
    app.cash_outs.get(&me.user.id, id).await?.ok_or_else(|| Problem::not_found("cash-out"))
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    me: Me,
    Params(query): Params<PageQuery>,
) -> Result<Json<Page<CashOut>>, Problem> {
    let ((time, id), limit) = query.bounds()?;
    let items = app.cash_outs.list(&me.user.id, (time, &id), limit).await?;
    Ok(Json(Page::new(items, limit, |item| (item.created_us, &item.id))))
}

pub(super) async fn get(State(app): State<Arc<App>>, me: Me, Name(id): Name) -> Result<Json<CashOut>, Problem> {
    find(&app, &me, &id).await.map(Json)
}

pub(super) async fn events(
    State(app): State<Arc<App>>,
    me: Me,
    watcher: Watcher,
    Name(id): Name,
) -> Result<Response, Problem> {
    find(&app, &me, &id).await?;
    let concerned = Change::CashOut(id.clone());
    Ok(stream(
        &app,
        watcher,
        "cash_out",
        move |change| *change == concerned,
        move |app| {
            let (user, id) = (me.user.id.clone(), id.clone());
            async move { Ok(app.cash_outs.get(&user, &id).await?.map(|cash_out| (cash_out.clone(), cash_out.is_final))) }
        },
    ))
}

pub(super) async fn order_xml(State(app): State<Arc<App>>, me: Me, Name(id): Name) -> Result<Response, Problem> {
    find(&app, &me, &id).await?;
    let xml = app.cash_outs.order_xml(&me.user.id, &id).await?;
    let xml = xml.ok_or_else(|| Problem::new(Code::WrongState, "there is no order before the redeem is certified"))?;
    let headers = [
        (header::CONTENT_TYPE, "application/xml"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"pain001.xml\""),
    ];
    Ok((headers, xml).into_response())
}
