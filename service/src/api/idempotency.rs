//! `Idempotency-Key`: the same request with the same key has its effect, and its answer, once.
//!
//! A key belongs to a user. It is entered before the handler runs and answered when it is done. After a crash
//! in between the same request runs again: handlers make the ids of what they create from user and key
//! (`derived_id`), so that it goes on where it stopped. For the same reason a loss of power may take keys back: they
//! cost no sync. Card data enter no hash.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::extract::{BODY_BYTES_MAX, body};
use crate::app::App;
use crate::db::{StoreError, Value};
use crate::error::{Code, Problem};
use crate::secret::{hash, hash_hex};
use crate::users::Caller;

/// The key, for handlers.
#[derive(Debug, Clone)]
pub(super) struct IdempotencyKey(pub(super) String);

/// An id that belongs to a user, a kind of thing, and a key.
pub(super) fn derived_id(user: &str, kind: &str, key: &IdempotencyKey) -> String {
    let digest = hash(&[b"shardpay/id/v1\0", user.as_bytes(), b"\0", kind.as_bytes(), b"\0", key.0.as_bytes()]);
    hex::encode(&digest[..16])
}

enum Entered {
    New,
    Answered(Response),
}

/// The layer of routes that write.
pub(super) async fn once(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::DELETE) {
        return next.run(request).await;
    }
    match answer_once(&app, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn answer_once(app: &App, request: Request, next: Next) -> Result<Response, Problem> {
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        return Err(Problem::new(Code::Unauthorized, "log in, or send a token"));
    };
    let key = request.headers().get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or("");
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if key.is_empty() || key.len() > 64 || !key.bytes().all(good) {
        let why = "header Idempotency-Key: 1 to 64 of the characters A-Z a-z 0-9 _ -";
        return Err(Problem::new(Code::IdempotencyKeyMissing, why));
    }
    let key = IdempotencyKey(key.to_owned());
    let (mut parts, content) = request.into_parts();
    let bytes = body(Request::new(content)).await?;
    let request_hash = request_hash(parts.method.as_str(), parts.uri.path(), &bytes);
    match enter(app, &caller.user, &key, &request_hash).await? {
        Entered::Answered(response) => return Ok(response),
        Entered::New => {}
    }
    parts.extensions.insert(key.clone());
    let response = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    store(app, &caller.user, &key, response).await
}

/// What makes two requests the same.
fn request_hash(method: &str, path: &str, bytes: &[u8]) -> String {
    let mut value = serde_json::from_slice::<serde_json::Value>(bytes).unwrap_or(serde_json::Value::Null);
    if let Some(object) = value.as_object_mut() {
        object.remove("card");
    }
    let canonical = if value.is_null() { bytes.to_vec() } else { value.to_string().into_bytes() };
    hash_hex(&[method.as_bytes(), b"\0", path.as_bytes(), b"\0", &canonical])
}

async fn enter(app: &App, user: &str, key: &IdempotencyKey, request_hash: &str) -> Result<Entered, Problem> {
    let (scope, name) = (Value::text(user), Value::text(&key.0));
    let sql = "INSERT INTO idempotency (scope, idem_key, request_hash, instance, created_us) \
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT (scope, idem_key) DO NOTHING";
    let now = Value::count(app.clock.now_us());
    let arguments = [scope.clone(), name.clone(), Value::text(request_hash), Value::text(&app.instance), now.clone()];
    if app.db.note(sql, &arguments).await? > 0 {
        return Ok(Entered::New);
    }
    let sql = "SELECT request_hash, instance, status, body, content_type, created_us FROM idempotency \
               WHERE scope = $1 AND idem_key = $2";
    let row = app.db.read_one(sql, &[scope.clone(), name.clone()]).await?;
    let Some(row) = row else { return Err(busy()) };
    if row.text(0) != request_hash {
        return Err(Problem::new(Code::IdempotencyMismatch, "this key was used for another request; take a new one"));
    }
    if let Some(status) = row.opt_int(2) {
        let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let mut response = (status.unwrap_or(StatusCode::OK), row.bytes(3).to_vec()).into_response();
        let headers = response.headers_mut();
        headers.insert("idempotent-replay", HeaderValue::from_static("true"));
        match row.opt_text(4).and_then(|kind| HeaderValue::from_str(kind).ok()) {
            Some(kind) => headers.insert(header::CONTENT_TYPE, kind),
            None => headers.remove(header::CONTENT_TYPE),
        };
        return Ok(Entered::Answered(response));
    }
    // entered and not answered: by a request under way, or by a process that died meanwhile
    if row.text(1) == app.instance || app.clock.now_us() < row.count(5) + 5_000_000 {
        return Err(busy());
    }
    let sql = "UPDATE idempotency SET instance = $3, created_us = $4 WHERE scope = $1 AND idem_key = $2 \
               AND instance = $5 AND status IS NULL";
    let arguments = [scope, name, Value::text(&app.instance), now, Value::text(row.text(1))];
    if app.db.note(sql, &arguments).await? > 0 { Ok(Entered::New) } else { Err(busy()) }
}

fn busy() -> Problem {
    Problem::new(Code::IdempotencyBusy, "the same request is being answered").retry_after(1_000)
}

/// Keeps an answer, unless trying again may give another one.
async fn store(app: &App, user: &str, key: &IdempotencyKey, response: Response) -> Result<Response, Problem> {
    let (scope, name) = (Value::text(user), Value::text(&key.0));
    let status = response.status();
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        forget(app, scope, name).await?;
        return Ok(response);
    }
    let (parts, content) = response.into_parts();
    let internal = |_| Problem::new(Code::Internal, "the answer is too long");
    let bytes = axum::body::to_bytes(content, 4 * BODY_BYTES_MAX).await.map_err(internal)?;
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    let sql = "UPDATE idempotency SET status = $3, body = $4, content_type = $5 WHERE scope = $1 AND idem_key = $2";
    let arguments =
        [scope, name, Value::count(u64::from(status.as_u16())), Value::bytes(bytes.to_vec()), Value::opt_text(kind)];
    app.db.note(sql, &arguments).await?;
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

async fn forget(app: &App, scope: Value, name: Value) -> Result<(), StoreError> {
    let sql = "DELETE FROM idempotency WHERE scope = $1 AND idem_key = $2 AND status IS NULL";
    app.db.note(sql, &[scope, name]).await.map(|_| ())
}
