//! Registering, logging in and out, and what a user keeps here.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shardpay_crypto::SignatureScheme;
use shardpay_telemetry::names;
use shardpay_types::Signature;

use super::extract::{Input, Me};
use super::observe::{Peer, cookie, cookie_name};
use crate::app::App;
use crate::codec;
use crate::error::{Code, Problem};
use crate::secret::Secret;
use crate::users::accounts::{check_name, check_password};
use crate::users::{CallerKind, User, Users};

/// Longest keystore file.
const KEYSTORE_BYTES_MAX: usize = 16 << 10;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Cookie,
    Token,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    name: String,
    password: Secret,
    #[serde(default)]
    kind: Kind,
}

#[derive(Serialize)]
struct LoginAnswer {
    user: User,
    csrf_token: Option<String>,
    token: Option<String>,
    expires_us: u64,
}

pub(super) async fn register(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Input(input): Input<Credentials>,
) -> Result<Response, Problem> {
    let started = app.clock.now_us();
    let done = async {
        check_name(&input.name)?;
        check_password(&input.password)?;
        let hash = app.passwords.hash(input.password).await?;
        let user = app.users.create(&input.name, &hash).await?;
        begin(&app, &headers, user, input.kind, StatusCode::CREATED).await
    };
    let answer = done.await;
    app.metrics.operation("register", answer.is_ok());
    let took = app.clock.now_us().saturating_sub(started);
    app.metrics.recorder.histogram(names::OPERATION_REGISTER_US).record(took);
    answer
}

pub(super) async fn log_in(
    State(app): State<Arc<App>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    Input(input): Input<Credentials>,
) -> Result<Response, Problem> {
    let started = app.clock.now_us();
    let answer = checked_login(&app, &peer, &headers, input).await;
    app.metrics.operation("login", answer.is_ok());
    let took = app.clock.now_us().saturating_sub(started);
    app.metrics.recorder.histogram(names::OPERATION_LOGIN_US).record(took);
    answer
}

async fn checked_login(app: &App, peer: &Peer, headers: &HeaderMap, input: Credentials) -> Result<Response, Problem> {
    let name = input.name.chars().take(40).collect::<String>();
    let too_many = |ms: u64| Problem::new(Code::TooManyAttempts, "too many attempts with this name").retry_after(ms);
    app.attempts.begin(&name, &peer.0, app.clock.now_us()).map_err(too_many)?;
    let wrong = || Problem::new(Code::WrongCredentials, "name or password is wrong");
    if input.password.len() > 512 {
        return Err(wrong());
    }
    // a name that nobody can have is looked for as little as one that nobody has
    let known = match check_name(&input.name) {
        Ok(()) => app.users.password_of(&input.name).await?,
        Err(_) => None,
    };
    let (id, stored) = known.unzip();
    if !app.passwords.check(input.password, stored).await? {
        return Err(wrong());
    }
    app.attempts.succeeded(&name, &peer.0);
    let user = app.users.get(&id.unwrap_or_default()).await?.ok_or_else(wrong)?;
    begin(app, headers, user, input.kind, StatusCode::OK).await
}

/// A new session; the one whose cookie came along ends.
async fn begin(
    app: &App,
    headers: &HeaderMap,
    user: User,
    kind: Kind,
    status: StatusCode,
) -> Result<Response, Problem> {
    if let Some(old) = cookie(app, headers).filter(|_| kind == Kind::Cookie) {
        app.sessions.end(&old).await?;
    }
    let login = app.sessions.begin(&user.id, kind == Kind::Cookie).await?;
    let lasts_s = login.expires_us.saturating_sub(app.clock.now_us()) / 1_000_000;
    let (csrf_token, expires_us) = (login.csrf, login.expires_us);
    let set = (kind == Kind::Cookie).then(|| set_cookie(app, &login.token, lasts_s));
    let token = (kind == Kind::Token).then_some(login.token);
    let mut response = (status, Json(LoginAnswer { user, csrf_token, token, expires_us })).into_response();
    if let Some(set) = set {
        response.headers_mut().insert(header::SET_COOKIE, set);
    }
    Ok(response)
}

fn set_cookie(app: &App, token: &str, lasts_s: u64) -> HeaderValue {
    let secure = if app.settings.secure { "; Secure" } else { "" };
    let text = format!("{}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={lasts_s}{secure}", cookie_name(app));
    HeaderValue::from_str(&text).expect("tokens are hexadecimal")
}

pub(super) async fn session(me: Me) -> Response {
    let csrf_token = match me.caller.kind {
        CallerKind::Cookie { csrf } => Some(csrf),
        CallerKind::Token | CallerKind::MerchantKey => None,
    };
    let expires_us = me.caller.expires_us.unwrap_or_default();
    Json(LoginAnswer { user: me.user, csrf_token, token: None, expires_us }).into_response()
}

pub(super) async fn log_out(State(app): State<Arc<App>>, headers: HeaderMap, _me: Me) -> Result<Response, Problem> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = match bearer.and_then(|value| value.strip_prefix("Bearer ")) {
        Some(token) => Some(token.trim().to_owned()),
        None => cookie(&app, &headers),
    };
    if let Some(token) = token {
        app.sessions.end(&token).await?;
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(header::SET_COOKIE, set_cookie(&app, "", 0));
    Ok(response)
}

pub(super) async fn me(me: Me) -> Json<User> {
    Json(me.user)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyInput {
    public_key: String,
    proof: String,
}

pub(super) async fn set_key(
    State(app): State<Arc<App>>,
    me: Me,
    Input(input): Input<KeyInput>,
) -> Result<Json<User>, Problem> {
    let key = codec::public_key("public_key", &input.public_key)?;
    let proof = Signature(codec::bytes("proof", &input.proof)?);
    let scheme: &dyn SignatureScheme = &app.scheme;
    Users::check_proof(scheme, app.ledger.chain(), &me.user.name, (&key, &proof))?;
    app.track(key).await.map_err(|error| {
        tracing::warn!(%error, "an account cannot be taken up");
        Problem::new(Code::Unavailable, "the committee of this key does not answer").retry_after(1_000)
    })?;
    app.users.set_key(&me.user.id, &key).await?;
    let user = app.users.get(&me.user.id).await?;
    user.map(Json).ok_or_else(|| Problem::not_found("user"))
}

pub(super) async fn keystore(State(app): State<Arc<App>>, me: Me) -> Result<Response, Problem> {
    let file = app.users.keystore(&me.user.id).await?.ok_or_else(|| Problem::not_found("keystore"))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], file).into_response())
}

pub(super) async fn set_keystore(
    State(app): State<Arc<App>>,
    me: Me,
    Input(file): Input<serde_json::Map<String, serde_json::Value>>,
) -> Result<StatusCode, Problem> {
    let text = serde_json::Value::Object(file).to_string();
    if text.len() > KEYSTORE_BYTES_MAX {
        return Err(Problem::new(Code::TooLarge, format!("a keystore has at most {KEYSTORE_BYTES_MAX} bytes")));
    }
    shardpay_keystore::Keystore::parse(text.as_bytes())
        .map_err(|error| Problem::new(Code::BadField, format!("not a keystore file: {error}")))?;
    app.users.set_keystore(&me.user.id, &text).await?;
    Ok(StatusCode::NO_CONTENT)
}
