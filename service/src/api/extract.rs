//! What handlers take from a request: checked, with a `Problem` for whatever does not fit.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::error::{Code, Problem};
use crate::users::{Caller, CallerKind, Place, User};

use super::observe::Peer;

/// Longest body of a request.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a body may take to arrive.
const BODY_MAX: Duration = Duration::from_secs(10);

/// A JSON body.
pub(super) struct Input<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, Problem> {
        json_only(&request)?;
        let bytes = body(request).await?;
        read_json(&bytes).map(Self)
    }
}

/// Refuses bodies that do not say they are JSON.
fn json_only(request: &Request) -> Result<(), Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(Code::UnsupportedMediaType, "Content-Type: application/json is expected"))
}

/// The whole body, within bounds.
pub(super) async fn body(request: Request) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Code::TooLarge, format!("at most {BODY_BYTES_MAX} bytes"));
    let too_slow = || Problem::new(Code::TooSlow, format!("the body did not arrive within {} s", BODY_MAX.as_secs()));
    let bytes = tokio::time::timeout(BODY_MAX, axum::body::to_bytes(request.into_body(), BODY_BYTES_MAX)).await;
    bytes.map_err(|_| too_slow())?.map_err(|_| too_large())
}

/// Reads JSON. The answer names place and field, never a value: it may be a secret.
pub(super) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        let shown = ["unknown field", "missing field", "duplicate field"].iter().any(|known| text.starts_with(known));
        let what = if shown {
            text
        } else {
            format!("not the JSON expected, at line {} column {}", error.line(), error.column())
        };
        Problem::new(Code::Malformed, what)
    })
}

/// The query's parameters.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query.map(|Query(params)| Self(params)).map_err(|_| Problem::new(Code::Malformed, "the query cannot be read"))
    }
}

/// The variable part of the path.
pub(super) struct Name(pub(super) String);

impl FromRequestParts<Arc<App>> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, app).await;
        let unreadable = || Problem::new(Code::Malformed, "the path cannot be read");
        let Path(name) = path.map_err(|_| unreadable())?;
        // nothing that is named here has such characters, and not every store takes them
        if name.chars().any(char::is_control) { Err(unreadable()) } else { Ok(Self(name)) }
    }
}

/// A user who is logged in, by cookie or token.
pub(super) struct Me {
    pub(super) user: User,
    pub(super) caller: Caller,
}

impl FromRequestParts<Arc<App>> for Me {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = caller(parts)?;
        if caller.kind == CallerKind::MerchantKey {
            return Err(Problem::new(Code::Forbidden, "a merchant's key is for intents and reports only"));
        }
        load(app, caller).await
    }
}

/// A merchant, by key or login.
pub(super) struct AsMerchant(pub(super) User);

impl FromRequestParts<Arc<App>> for AsMerchant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let me = load(app, caller(parts)?).await?;
        if me.user.merchant.is_none() {
            return Err(Problem::new(Code::Forbidden, "this user is no merchant yet: PUT /v1/merchant"));
        }
        Ok(Self(me.user))
    }
}

fn caller(parts: &Parts) -> Result<Caller, Problem> {
    let found = parts.extensions.get::<Caller>().cloned();
    found.ok_or_else(|| Problem::new(Code::Unauthorized, "log in, or send a token"))
}

async fn load(app: &App, caller: Caller) -> Result<Me, Problem> {
    let user = app.users.get(&caller.user).await?;
    let user = user.ok_or_else(|| Problem::new(Code::Unauthorized, "this user is gone"))?;
    Ok(Me { user, caller })
}

/// Streams a user, and an address, may have open.
const STREAMS_USER_MAX: u32 = 32;
const STREAMS_ADDRESS_MAX: u32 = 256;

/// Who opens a stream: the places it holds while it lasts.
pub(super) struct Watcher(pub(super) Vec<Place>);

impl FromRequestParts<Arc<App>> for Watcher {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let too_many = || Problem::new(Code::TooManyStreams, "close some of the streams you have open");
        let peer = parts.extensions.get::<Peer>().cloned().unwrap_or_default().0;
        let user = parts.extensions.get::<Caller>().map(|caller| caller.user.clone());
        let bounds = user.map(|user| (user, STREAMS_USER_MAX)).into_iter().chain([(peer, STREAMS_ADDRESS_MAX)]);
        let places = bounds.map(|(name, most)| app.streams.take(&name, most).ok_or_else(too_many));
        places.collect::<Result<_, _>>().map(Self)
    }
}

/// Where a list goes on: time and id of the last item of the page before.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub(super) struct PageQuery {
    pub(super) limit: Option<u64>,
    pub(super) cursor: Option<String>,
}

impl PageQuery {
    /// Time and id below which the page begins, and its length.
    pub(super) fn bounds(&self) -> Result<((u64, String), u64), Problem> {
        let limit = self.limit.unwrap_or(50);
        if !(1..=200).contains(&limit) {
            return Err(Problem::bad("limit", "1 to 200"));
        }
        let Some(cursor) = &self.cursor else { return Ok(((i64::MAX as u64, String::new()), limit)) };
        let wrong = || Problem::bad("cursor", "not a cursor of this list");
        let (time, id) = cursor.split_once('.').ok_or_else(wrong)?;
        let time = time.parse::<u64>().ok().filter(|time| *time <= i64::MAX as u64).ok_or_else(wrong)?;
        if id.len() > 128 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(wrong());
        }
        Ok(((time, id.to_owned()), limit))
    }
}

/// A page of a list.
#[derive(Debug, serde::Serialize)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page of at most `limit` items; `place` gives an item's time and id.
    pub(super) fn new(items: Vec<T>, limit: u64, place: impl Fn(&T) -> (u64, &str)) -> Self {
        let full = items.len() as u64 >= limit;
        let next_cursor = items.last().filter(|_| full).map(|last| {
            let (time, id) = place(last);
            format!("{time}.{id}")
        });
        Self { items, next_cursor }
    }
}
