//! The HTTP interface: routes, bounds, and typed refusals.
//!
//! Guarantees: a body is bounded in size and time; every refusal has the typed body and its status; a change
//! is durable before it is answered. Long polls end with the server.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shardpay_client::signaler::{
    ApprovalRequest, CloseRequest, ErrorCode, HeartbeatRequest, PATH_APPROVALS, PATH_CLOSE, PATH_HEALTH,
    PATH_HEARTBEATS, PATH_NODES, PATH_PLANS, PATH_TOPOLOGY, REQUEST_BYTES_MAX, RegisterRequest,
};
use shardpay_types::Epoch;

use crate::desk::Desk;
use crate::refusal::Refusal;

mod query;

use query::Query;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

type Shared = State<Arc<Desk>>;

/// All routes.
pub(crate) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route(PATH_NODES, post(register))
        .route(PATH_TOPOLOGY, get(topology))
        .route(PATH_PLANS, get(plans))
        .route(PATH_APPROVALS, post(approve))
        .route(PATH_HEARTBEATS, post(heartbeat))
        .route(PATH_CLOSE, post(close))
        .route(PATH_HEALTH, get(health))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(desk)
}

async fn register(State(desk): Shared, request: Request) -> Response {
    let reply = async {
        let request: RegisterRequest = read(&desk, request).await?;
        let reply = desk.change(move |network, _| network.register(&request)).await?;
        desk.metrics.registrations.add(1);
        Ok(reply)
    };
    desk.answer(reply.await)
}

async fn approve(State(desk): Shared, request: Request) -> Response {
    let reply = async {
        let request: ApprovalRequest = read(&desk, request).await?;
        let reply = desk.change(move |network, now| network.approve(&request.approval, now)).await?;
        desk.metrics.approvals.add(1);
        Ok(reply)
    };
    desk.answer(reply.await)
}

async fn heartbeat(State(desk): Shared, request: Request) -> Response {
    let reply = async {
        let request: HeartbeatRequest = read(&desk, request).await?;
        let reply = desk.change(move |network, now| network.heartbeat(&request, now)).await?;
        desk.metrics.heartbeats.add(1);
        Ok(reply)
    };
    desk.answer(reply.await)
}

async fn close(State(desk): Shared, request: Request) -> Response {
    let reply = async {
        authorize(&desk, request.headers())?;
        let request: CloseRequest = read(&desk, request).await?;
        desk.change(move |network, _| network.close(request.epoch)).await
    };
    desk.answer(reply.await)
}

async fn health(State(desk): Shared) -> Response {
    desk.answer(Ok(desk.health()))
}

async fn plans(State(desk): Shared, uri: Uri) -> Response {
    let reply = async {
        let query = Query::read(&uri, &["after", "wait", "epoch"])?;
        let epoch = query.get("epoch");
        desk.wait_until_not(query.get("after"), query.wait()?).await?;
        Ok(desk.view(|network, _| network.plans(epoch.map(Epoch::new))))
    };
    desk.answer(reply.await)
}

/// The ETag is weak: it stands for the version, which heights and heartbeat times do not move.
async fn topology(State(desk): Shared, uri: Uri, headers: HeaderMap) -> Response {
    let known = headers.get(IF_NONE_MATCH).and_then(version_of);
    let reply = async {
        let query = Query::read(&uri, &["after", "wait"])?;
        desk.wait_until_not(query.get("after").or(known), query.wait()?).await?;
        Ok(desk.view(|network, now| network.topology(now)))
    };
    let topology = match reply.await {
        Ok(topology) => topology,
        Err(refusal) => return desk.answer::<()>(Err(refusal)),
    };
    let etag = format!("W/\"{}\"", topology.version);
    let mut response = if known == Some(topology.version) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        desk.answer(Ok(topology))
    };
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response
}

fn version_of(etag: &HeaderValue) -> Option<u64> {
    let text = etag.to_str().ok()?.trim();
    text.strip_prefix("W/").unwrap_or(text).strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

async fn not_found(State(desk): Shared, uri: Uri) -> Response {
    desk.answer::<()>(Err(Refusal::new(ErrorCode::NotFound, format!("no such path: {}", uri.path()))))
}

async fn method_not_allowed(State(desk): Shared) -> Response {
    desk.answer::<()>(Err(Refusal::new(ErrorCode::MethodNotAllowed, "this path has no such method")))
}

fn authorize(desk: &Desk, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(token) = &desk.operator else {
        return Err(Refusal::new(ErrorCode::Disabled, "this signaler has no operator token"));
    };
    let given = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    match given {
        Some(given) if token.is(given) => Ok(()),
        _ => Err(Refusal::of(ErrorCode::Unauthorized, "authorization", "not the operator's bearer token")),
    }
}

/// Reads a JSON body, within its bounds.
async fn read<T: DeserializeOwned>(desk: &Desk, request: Request) -> Result<T, Refusal> {
    let _permit = desk.admit()?;
    let too_large = || Refusal::new(ErrorCode::TooLarge, format!("the body is above {REQUEST_BYTES_MAX} bytes"));
    let headers = request.headers();
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|len| len > REQUEST_BYTES_MAX) {
        return Err(too_large());
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let detail = "the content type must be application/json";
        return Err(Refusal::of(ErrorCode::UnsupportedMediaType, "content-type", detail));
    }
    let body = tokio::time::timeout(BODY_TIMEOUT, axum::body::Bytes::from_request(request, &())).await;
    let body = body.map_err(|_| Refusal::new(ErrorCode::Timeout, "the body did not arrive in time"))?;
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Refusal::new(ErrorCode::Malformed, rejection.body_text()),
    })?;
    parse(&body)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|err| {
        let path = err.path().to_string();
        let err = err.into_inner();
        if !err.is_data() {
            return Refusal::new(ErrorCode::Malformed, err.to_string());
        }
        // what is missing or unknown is named in the message, its parent in the path
        let detail = err.to_string();
        let named = ["missing field `", "unknown field `"].iter().find_map(|prefix| detail.strip_prefix(prefix));
        let named = named.and_then(|rest| rest.split('`').next());
        let field = match (named, path.as_str()) {
            (Some(name), ".") => name.to_owned(),
            (Some(name), path) if path.rsplit('.').next() == Some(name) => path.to_owned(),
            (Some(name), path) => format!("{path}.{name}"),
            (None, path) => path.to_owned(),
        };
        Refusal::field(&field, detail)
    })?;
    json.end().map_err(|err| Refusal::new(ErrorCode::Malformed, err.to_string()))?;
    Ok(value)
}

/// The response for a reply.
pub(crate) fn response<T: Serialize>(reply: Result<T, Refusal>) -> Response {
    match reply {
        Ok(reply) => axum::Json(reply).into_response(),
        Err(refusal) => {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, axum::Json(refusal.0)).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> (ErrorCode, Option<String>) {
        let body = parse::<HeartbeatRequest>(body.as_bytes()).expect_err("refused").0;
        (body.error, body.field)
    }

    #[test]
    fn refusals_name_the_field() {
        assert_eq!(refusal("{"), (ErrorCode::Malformed, None));
        assert_eq!(refusal("{}"), (ErrorCode::BadField, Some("key".to_owned())));
        assert_eq!(refusal(r#"{"key":5}"#), (ErrorCode::BadField, Some("key".to_owned())));
        assert_eq!(refusal(r#"{"keys":5}"#), (ErrorCode::BadField, Some("keys".to_owned())));
        assert_eq!(refusal(r#"{"time_us":-1}"#), (ErrorCode::BadField, Some("time_us".to_owned())));
        let nested = r#"{"progress":{"epoch":"x"}}"#;
        assert_eq!(refusal(nested), (ErrorCode::BadField, Some("progress.epoch".to_owned())));
        let nested = r#"{"progress":{"epoch":1,"height":2}}"#;
        assert_eq!(refusal(nested), (ErrorCode::BadField, Some("progress.height".to_owned())));
        let nested = r#"{"progress":{"epoch":18446744073709551615}}"#;
        assert_eq!(refusal(nested), (ErrorCode::BadField, Some("progress.epoch".to_owned())));
    }
}
