//! Around every request: its id, who asks, how much they may ask, what is measured, what every answer carries.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use shardpay_telemetry::names;

use crate::app::App;
use crate::error::{Code, Problem, REFUSED_AS, REQUEST_ID};
use crate::secret::random_hex;
use crate::users::{Caller, CallerKind};

/// Header with the CSRF token.
pub(super) const CSRF_HEADER: &str = "x-csrf-token";
const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// What pages may load: their own files, nothing inline, nothing from elsewhere.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                   connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The outermost layer.
pub(super) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = random_hex::<8>();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let inner = async {
        let response = match admit(&app, request).await {
            Ok(request) => next.run(request).await,
            Err(problem) => problem.into_response(),
        };
        (response, REFUSED_AS.with(Cell::take))
    };
    let (mut response, refused) = REQUEST_ID.scope(id.clone(), REFUSED_AS.scope(Cell::new(None), inner)).await;
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID_HEADER, HeaderValue::from_str(&id).expect("hexadecimal digits"));
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if path.starts_with("/v1/") {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
    app.metrics.requests.add(1);
    let us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    app.metrics.request_us.record(us);
    if let Some(code) = refused {
        app.metrics.recorder.counter_of(names::HTTP_REFUSED, code.name()).add(1);
    }
    // neither query nor body: they may hold secrets
    tracing::debug!(%id, %method, path, status = response.status().as_u16(), us, "answered");
    response
}

/// Counts the request, and finds out who asks.
async fn admit(app: &App, mut request: Request) -> Result<Request, Problem> {
    let peer = peer(app, &request);
    let too_many = |ms: u64| Problem::new(Code::RateLimited, "too many requests").retry_after(ms);
    app.buckets.take(&peer.0, app.clock.now_us()).map_err(too_many)?;
    request.extensions_mut().insert(peer);
    if !request.uri().path().starts_with("/v1/") {
        return Ok(request);
    }
    if let Some(caller) = identify(app, request.headers()).await? {
        app.buckets.take(&caller.user, app.clock.now_us()).map_err(too_many)?;
        let safe = matches!(*request.method(), Method::GET | Method::HEAD);
        if !safe && matches!(caller.kind, CallerKind::Cookie { .. }) {
            let given = request.headers().get(CSRF_HEADER).and_then(|value| value.to_str().ok()).unwrap_or("");
            let login = request.uri().path() == "/v1/session" || request.uri().path() == "/v1/users";
            // logging in anew needs no token: whoever can do it knows the password
            let exempt = login && *request.method() == Method::POST;
            if !caller.csrf_is(given) && !exempt {
                return Err(Problem::new(Code::Csrf, "the header X-CSRF-Token is missing or wrong"));
            }
        }
        request.extensions_mut().insert(caller);
    }
    Ok(request)
}

/// Where a request comes from, as limits count it.
#[derive(Debug, Clone, Default)]
pub(super) struct Peer(pub(super) String);

/// The connection's other end; behind a proxy that is believed, the last address it names.
fn peer(app: &App, request: &Request) -> Peer {
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
    let forwarded = || {
        let last = request.headers().get_all("x-forwarded-for").iter().next_back()?;
        last.to_str().ok()?.rsplit(',').next()?.trim().parse::<IpAddr>().ok()
    };
    let believed = address.is_some_and(|address| app.settings.proxies.contains(&address.to_canonical()));
    let address = if believed { forwarded().or(address) } else { address };
    Peer(format!("ip {}", address.map(network).unwrap_or_default()))
}

/// IPv6 hosts own whole networks: they count as one.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.to_string(),
            None => v6.segments()[..4].iter().map(|part| format!("{part:x}:")).collect(),
        },
    }
}

async fn identify(app: &App, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    let unauthorized = || Problem::new(Code::Unauthorized, "the token is not, or no longer, valid");
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    if let Some(value) = given.next() {
        let token = value.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
        let token = token.filter(|_| given.next().is_none()).ok_or_else(unauthorized)?;
        let caller = app.sessions.find(token.trim(), false).await?;
        return caller.map(Some).ok_or_else(unauthorized);
    }
    match cookie(app, headers) {
        // one that is over is as none: its owner sees the page for strangers
        Some(token) => Ok(app.sessions.find(&token, true).await?),
        None => Ok(None),
    }
}

/// Name of the session's cookie. The prefix binds it to this host and to TLS.
pub(super) fn cookie_name(app: &App) -> &'static str {
    if app.settings.secure { "__Host-session" } else { "session" }
}

/// The session's token in the cookies, if there is exactly one.
pub(super) fn cookie(app: &App, headers: &HeaderMap) -> Option<String> {
    let name = cookie_name(app);
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut found = cookies
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(key, _)| *key == name);
    let (_, token) = found.next()?;
    if found.next().is_some() { None } else { Some(token.to_owned()) }
}
