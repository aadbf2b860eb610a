//! Everything that is served: the write endpoint, the page's files, and its data.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt as _};

use crate::app::App;
use crate::ingest;
use crate::node;

/// Task events in one answer at most.
const EVENTS_MAX: usize = 2_000;

/// The page and what belongs to it.
const FILES: [(&str, &str, &str); 11] = [
    ("index.html", "text/html; charset=utf-8", include_str!("../assets/index.html")),
    ("style.css", "text/css; charset=utf-8", include_str!("../assets/style.css")),
    ("app.js", SCRIPT, include_str!("../assets/app.js")),
    ("charts.js", SCRIPT, include_str!("../assets/charts.js")),
    ("text.js", SCRIPT, include_str!("../assets/text.js")),
    ("overview.js", SCRIPT, include_str!("../assets/overview.js")),
    ("committees.js", SCRIPT, include_str!("../assets/committees.js")),
    ("nodes.js", SCRIPT, include_str!("../assets/nodes.js")),
    ("pipeline.js", SCRIPT, include_str!("../assets/pipeline.js")),
    ("services.js", SCRIPT, include_str!("../assets/services.js")),
    ("log.js", SCRIPT, include_str!("../assets/log.js")),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    let page = Router::new()
        .route("/", get(|| async { file("index.html") }))
        .route("/assets/{name}", get(asset))
        .route("/api/mode", get(mode))
        .route("/api/stream", get(stream))
        .route("/api/history", get(history))
        .route("/api/frame", get(frame))
        .route("/api/node", get(node_detail))
        .route("/api/events", get(events))
        .route("/health", get(|| async { axum::Json(json!({ "name": "shardpay-demo", "status": "pass" })) }))
        .route("/ping", get(|| async { StatusCode::NO_CONTENT }));
    let write = Router::new().route("/api/v2/write", post(ingest::write));
    let live = app.replayed.is_none();
    if live { page.merge(write) } else { page }.with_state(app)
}

async fn asset(Path(name): Path<String>) -> Response {
    if name == "plotly.min.js" {
        let cache = [(header::CONTENT_TYPE, SCRIPT), (header::CACHE_CONTROL, "public, max-age=86400")];
        return (cache, shardpay_charts::PLOTLY.as_str()).into_response();
    }
    file(&name)
}

fn file(name: &str) -> Response {
    let Some((_, kind, text)) = FILES.iter().find(|(file, ..)| *file == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    const RULES: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
                         frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    let headers = [
        (header::CONTENT_TYPE, *kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, RULES),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, *text).into_response()
}

fn json_text(text: String) -> Response {
    let headers: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, text).into_response()
}

async fn mode(State(app): State<Arc<App>>) -> Response {
    let stages: Vec<&str> = shardpay_telemetry::Stage::ALL.iter().map(|stage| stage.name()).collect();
    let limits = app.store().limits;
    let mode = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "replay": app.replayed,
        "window_s": limits.slots as i64 * limits.slot_us / 1_000_000,
        "stages": stages,
    });
    json_text(mode.to_string())
}

async fn stream(State(app): State<Arc<App>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let frames = WatchStream::new(app.latest.subscribe());
    let events = frames.filter(|text| !text.is_empty()).map(|text| Ok(Event::default().data(&*text)));
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(5)))
}

async fn history(State(app): State<Arc<App>>) -> Response {
    let rows: Vec<_> = app.history().rows.iter().cloned().collect();
    json_text(serde_json::to_string(&rows).expect("rows are plain data"))
}

type Asked = Query<HashMap<String, String>>;

fn number(query: &HashMap<String, String>, key: &str) -> Option<f64> {
    query.get(key)?.parse().ok().filter(|value: &f64| value.is_finite())
}

async fn frame(State(app): State<Arc<App>>, Query(query): Asked) -> Response {
    let Some(at) = number(&query, "at") else { return StatusCode::BAD_REQUEST.into_response() };
    json_text(app.frame_at(at))
}

async fn node_detail(State(app): State<Arc<App>>, Query(query): Asked) -> Response {
    let name = query.get("name").map_or("", String::as_str);
    let at = number(&query, "at").map(|at| (at * 1e6) as i64);
    match node::detail(&app.store(), name, at.unwrap_or_else(ingest::now_us)) {
        Some(text) => json_text(text),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Task events from `after` on, or the last ones before `until`.
async fn events(State(app): State<Arc<App>>, Query(query): Asked) -> Response {
    let store = app.store();
    let after = number(&query, "after").unwrap_or(0.0) as u64;
    let limit = number(&query, "limit").map_or(EVENTS_MAX, |limit| (limit as usize).min(EVENTS_MAX));
    let until = number(&query, "until").map_or(i64::MAX, |at| (at * 1e6) as i64);
    let found = store.log.since(after).rev().filter(|(_, entry)| entry.at_us < until).take(limit);
    let mut found: Vec<_> = found
        .map(|(id, entry)| {
            let server = &store.servers[entry.server];
            json!([
                id,
                entry.at_us as f64 / 1e6,
                &*server.name,
                &*server.kind,
                server.committee,
                &*entry.kind,
                &*entry.text
            ])
        })
        .collect();
    found.reverse();
    let answer = json!({ "end": store.log.end(), "events": found });
    json_text(answer.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_module_that_is_imported_is_served() {
        for (name, _, text) in FILES {
            let imports = text.lines().filter(|line| line.starts_with("import ") || line.starts_with("} from "));
            for line in imports {
                let file = line.rsplit("\"./").next().and_then(|rest| rest.strip_suffix("\";")).expect(line);
                assert!(FILES.iter().any(|(served, ..)| *served == file), "{name} imports {file}");
            }
            assert!(!text.contains("http://") && !text.contains("https://"), "{name} names something on the network");
        }
    }
}
