//! Paying, receipts and history, over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use shardpay_keystore::parse_reference;
use shardpay_types::{CommitteeId, Height};

use super::events::stream;
use super::extract::{Input, Me, Name, Page, PageQuery, Params, Watcher};
use crate::app::App;
use crate::codec::{self, TxKind};
use crate::db::Value;
use crate::error::{Code, Problem};
use crate::history::{CSV_LINES_MAX, Direction, Entry, Filter, csv, entries};
use crate::hub::Change;
use crate::ledger::port::ProofPlace;
use crate::payments::{self, Payment, key_of};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignedInput {
    pub(super) transaction: String,
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    me: Me,
    Input(input): Input<SignedInput>,
) -> Result<(StatusCode, Json<Payment>), Problem> {
    let done = async {
        let signed = payments::read_signed(&app, TxKind::Payment, &input.transaction)?;
        let (sender, _) = signed.transaction.debit().expect("payments have a sender");
        if sender != key_of(&me.user)? {
            return Err(Problem::field(Code::NotYourKey, "transaction", "signed by another key than yours"));
        }
        payments::check_state(&app, &signed).await?;
        payments::submit(&app, &me.user.id, signed, None).await?;
        find(&app, &me, &signed.txid.to_string()).await
    };
    let payment = done.await;
    app.metrics.operation("pay", payment.is_ok());
    Ok((StatusCode::ACCEPTED, Json(payment?)))
}

/// A transaction of the user's.
async fn find(app: &App, me: &Me, txid: &str) -> Result<Payment, Problem> {
    codec::bytes::<32>("txid", txid)?;
    let found = payments::get(app, &txid.to_ascii_lowercase()).await?;
    let key = me.user.public_key.as_deref();
    let found = found.filter(|(payment, by)| payments::is_of(payment, by.as_deref(), &me.user.id, key));
    found.map(|(payment, _)| payment).ok_or_else(|| Problem::not_found("payment of yours"))
}

pub(super) async fn get(State(app): State<Arc<App>>, me: Me, Name(txid): Name) -> Result<Json<Payment>, Problem> {
    find(&app, &me, &txid).await.map(Json)
}

pub(super) async fn events(
    State(app): State<Arc<App>>,
    me: Me,
    watcher: Watcher,
    Name(txid): Name,
) -> Result<Response, Problem> {
    let payment = find(&app, &me, &txid).await?;
    let txid = payment.txid;
    let name = txid.clone();
    let concerns = move |change: &Change| matches!(change, Change::Transaction(id) if id.to_string() == name);
    Ok(stream(&app, watcher, "payment", concerns, move |app| {
        let txid = txid.clone();
        async move { Ok(payments::get(&app, &txid).await?.map(|(payment, _)| (payment.clone(), payment.is_final))) }
    }))
}

pub(super) async fn receipt(State(app): State<Arc<App>>, me: Me, Name(txid): Name) -> Result<Response, Problem> {
    let payment = find(&app, &me, &txid).await?;
    let sql = "SELECT committee, height, leaf, credited_committee, credited_height, credited_leaf \
               FROM transactions WHERE txid = $1";
    let row = app.db.read_one(sql, &[Value::text(&payment.txid)]).await?;
    let place = row.and_then(|row| {
        let at = |first: usize| {
            let committee = CommitteeId::new(usize::try_from(row.opt_count(first)?).ok()?)?;
            let leaf = u32::try_from(row.opt_count(first + 2)?).ok()?;
            Some((committee, Height::new(row.opt_count(first + 1)?), leaf))
        };
        Some(ProofPlace { decided: at(0)?, credited: at(3) })
    });
    let Some(place) = place else {
        return Err(Problem::new(Code::NotCertified, "there is a receipt once the payment is certified"));
    };
    let file = app.ledger.receipt_file(place).await.map_err(|error| {
        tracing::warn!(%error, txid = payment.txid, "no receipt");
        Problem::new(Code::Unavailable, "the committee does not answer").retry_after(1_000)
    })?;
    let name = format!("attachment; filename=\"receipt-{}.json\"", &payment.txid[..16]);
    let mut response = file.write().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_str(&name).expect("hexadecimal digits"));
    Ok(response)
}

#[derive(Default, Deserialize)]
pub(super) struct HistoryQuery {
    direction: Option<String>,
    reference: Option<String>,
    from_us: Option<u64>,
    to_us: Option<u64>,
    limit: Option<u64>,
    cursor: Option<String>,
}

impl HistoryQuery {
    fn filter(&self) -> Result<Filter, Problem> {
        let direction = match self.direction.as_deref() {
            None | Some("") => None,
            Some("in") => Some(Direction::In),
            Some("out") => Some(Direction::Out),
            Some(_) => return Err(Problem::bad("direction", "in or out")),
        };
        let reference = match self.reference.as_deref() {
            None | Some("") => None,
            Some(text) => {
                let reference = parse_reference(text).map_err(|error| Problem::bad("reference", error.to_string()))?;
                Some(reference.to_string())
            }
        };
        Ok(Filter { direction, reference, from_us: self.from_us.unwrap_or(0), to_us: self.to_us })
    }
}

pub(super) async fn history(
    State(app): State<Arc<App>>,
    me: Me,
    Params(query): Params<HistoryQuery>,
) -> Result<Json<Page<Entry>>, Problem> {
    let key = key_of(&me.user)?.to_string();
    let page = PageQuery { limit: query.limit, cursor: query.cursor.clone() };
    let ((time, id), limit) = page.bounds()?;
    let items = entries(&app, &key, &query.filter()?, (time, &id), limit).await?;
    Ok(Json(Page::new(items, limit, |item| (item.at_us, &item.txid))))
}

pub(super) async fn history_csv(
    State(app): State<Arc<App>>,
    me: Me,
    Params(query): Params<HistoryQuery>,
) -> Result<Response, Problem> {
    let key = key_of(&me.user)?.to_string();
    let items = entries(&app, &key, &query.filter()?, (i64::MAX as u64, ""), CSV_LINES_MAX).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"history.csv\""),
    ];
    Ok((headers, csv(&items)).into_response())
}
