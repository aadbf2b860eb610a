//! `POST /api/v2/write` as InfluxDB 2 serves it.
//!
//! Answers: 204; 400 for lines that cannot be read (the others are taken) and wrong parameters, 401 for a
//! wrong token, 404 for another org or bucket, 413 for too large a body, 503 when too many are on their way;
//! each with `{"code", "message"}`. The token is looked at before the body is read, and bodies on their way
//! hold a bounded amount of memory together.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::read::MultiGzDecoder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::StreamExt as _;

use crate::app::App;
use crate::lines::{Batch, Lines};

/// A body that is refused is still read up to so many times the limit, so that the writer sees the answer.
const DRAIN_TIMES: usize = 16;
/// How far a body may grow when it is unpacked, in limits.
const UNPACKED_TIMES: usize = 4;
/// Bodies that are on their way, in bytes.
const ON_THEIR_WAY_MAX: usize = 64 << 20;
/// Lines per forwarded chunk, in bytes.
const FORWARD_BYTES: usize = 256 << 10;

/// Who may write what.
#[derive(Debug, Clone)]
pub struct WriteRules {
    /// The token; everybody may write without one.
    pub token: Option<String>,
    /// The organisation's name.
    pub org: String,
    /// The bucket's name.
    pub bucket: String,
    /// Largest body, as sent.
    pub body_bytes_max: usize,
}

/// Room for bodies that are on their way, in KiB.
pub(crate) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ON_THEIR_WAY_MAX / 1_024))
}

/// An answer other than 204.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "code": self.code, "message": self.message });
        let mut response = (self.status, axum::Json(body)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, "1".parse().expect("a number"));
        }
        response
    }
}

/// The endpoint.
pub(crate) async fn write(
    State(app): State<Arc<App>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    app.rules.authorize(&headers)?;
    let unit_ns = app.rules.place(&query)?;
    let packed = match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => false,
        Some(b"gzip") => true,
        Some(_) => return Err(Refusal::invalid("unsupported content encoding; gzip and identity are known")),
    };
    let (body, _permits) = read(&app, body, app.rules.body_bytes_max).await?;
    // unpacking and reading large bodies is no work for the network's threads
    tokio::task::spawn_blocking(move || take(&app, &body, packed, unit_ns))
        .await
        .unwrap_or_else(|_| Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error", "a reader failed")))
}

impl WriteRules {
    fn authorize(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(token) = &self.token else { return Ok(()) };
        let given = headers.get(header::AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
        let given = given.strip_prefix(b"Token ").or_else(|| given.strip_prefix(b"Bearer ")).unwrap_or(b"");
        if same(given.trim_ascii(), token.as_bytes()) {
            return Ok(());
        }
        Err(Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", "unauthorized access"))
    }

    /// Checks org, bucket and precision; returns the length of the unit in nanoseconds.
    fn place(&self, query: &HashMap<String, String>) -> Result<i64, Refusal> {
        let given = |key: &str| query.get(key).map_or("", String::as_str);
        let missing = |what: &str, name: &str| {
            Refusal::new(StatusCode::NOT_FOUND, "not found", format!("{what} \"{name}\" not found"))
        };
        if given("org") != self.org {
            return Err(missing("organization name", given("org")));
        }
        if given("bucket") != self.bucket {
            return Err(missing("bucket", given("bucket")));
        }
        match given("precision") {
            "" | "ns" => Ok(1),
            "us" => Ok(1_000),
            "ms" => Ok(1_000_000),
            "s" => Ok(1_000_000_000),
            _ => Err(Refusal::invalid("invalid precision; valid precision units are ns, us, ms, and s")),
        }
    }
}

/// Compares in time that does not depend on where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (x, y)| differ | (x ^ y)) == 0
}

/// Reads a body whole, holding permits for its bytes.
async fn read(app: &App, body: Body, max: usize) -> Result<(Vec<u8>, Vec<OwnedSemaphorePermit>), Refusal> {
    let mut stream = body.into_data_stream();
    let (mut bytes, mut permits, mut seen) = (Vec::new(), Vec::new(), 0);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| Refusal::invalid("the body ended too early"))?;
        seen += chunk.len();
        if seen > max {
            bytes = Vec::new();
            permits.clear();
            if seen > max.saturating_mul(DRAIN_TIMES) {
                break;
            }
            continue;
        }
        let kib = u32::try_from(chunk.len().div_ceil(1_024)).unwrap_or(u32::MAX);
        match app.room.clone().try_acquire_many_owned(kib) {
            Ok(permit) => permits.push(permit),
            Err(_) => {
                let why = "too many writes at once";
                return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", why));
            }
        }
        bytes.extend_from_slice(&chunk);
    }
    if seen > max {
        return Err(too_large(max));
    }
    Ok((bytes, permits))
}

fn too_large(max: usize) -> Refusal {
    let why = format!("unable to read data: points batch is too large; the limit is {max} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request too large", why)
}

/// Unpacks, reads, stores and passes on.
fn take(app: &App, body: &[u8], packed: bool, unit_ns: i64) -> Result<StatusCode, Refusal> {
    let unpacked;
    let lines = if packed {
        let max = app.rules.body_bytes_max.saturating_mul(UNPACKED_TIMES);
        let mut out = Vec::with_capacity((body.len() * 6).min(max));
        let mut reader = MultiGzDecoder::new(body).take(max as u64 + 1);
        reader.read_to_end(&mut out).map_err(|error| Refusal::invalid(format!("gzip: {error}")))?;
        if out.len() > max {
            return Err(too_large(max));
        }
        unpacked = out;
        &unpacked
    } else {
        body
    };
    let (mut reader, mut batch) = (Lines::new(lines), Batch::default());
    let (mut points, mut bad, mut first_bad) = (0, 0, None);
    while reader.fill(&mut batch) {
        app.store().apply(&batch, unit_ns, Some(now_us()));
        forward(app, &batch, unit_ns);
        points += batch.points.len();
        bad += batch.bad;
        first_bad = first_bad.or(batch.first_bad);
    }
    match first_bad {
        None => Ok(StatusCode::NO_CONTENT),
        Some((line, why)) => {
            let lines = bad + points;
            let text = format!("partial write: {bad} of {lines} lines cannot be read; the first is line {line}: {why}");
            Err(Refusal::invalid(text))
        }
    }
}

/// Passes good lines on, in nanoseconds.
fn forward(app: &App, batch: &Batch<'_>, unit_ns: i64) {
    let Some(pusher) = app.forward.as_ref().map(|forward| &forward.pusher) else { return };
    let zeros = &"000000000"[..unit_ns.ilog10() as usize];
    let mut chunk = Vec::with_capacity(FORWARD_BYTES + 1_024);
    for point in &batch.points {
        chunk.extend_from_slice(point.raw);
        if point.time.is_some() {
            chunk.extend_from_slice(zeros.as_bytes());
        }
        chunk.push(b'\n');
        if chunk.len() >= FORWARD_BYTES {
            pusher.push(&chunk);
            chunk.clear();
        }
    }
    pusher.push(&chunk);
}

/// Our clock.
pub(crate) fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
