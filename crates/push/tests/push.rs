//! The pusher against an endpoint that misbehaves on command.

use std::collections::VecDeque;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use shardpay_push::{PushTargets, Pusher};
use shardpay_telemetry::{Recorder, ServerKind, ServerTag, names};

/// A write as it came.
#[derive(Debug, Clone)]
struct Write {
    at: Instant,
    uri: String,
    authorization: String,
    lines: String,
}

/// A status, and after how many seconds to try again.
type Answer = (u16, Option<&'static str>);

#[derive(Clone, Default)]
struct Endpoint {
    writes: Arc<Mutex<Vec<Write>>>,
    /// Answers to come; 204 when there is none.
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

async fn answer(State(endpoint): State<Endpoint>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers["content-encoding"], "gzip");
    let mut lines = String::new();
    flate2::read::GzDecoder::new(&*body).read_to_string(&mut lines).expect("gzip");
    let authorization = headers.get("authorization").map_or("", |value| value.to_str().expect("text")).to_owned();
    endpoint.writes.lock().unwrap().push(Write { at: Instant::now(), uri: uri.to_string(), authorization, lines });
    match endpoint.answers.lock().unwrap().pop_front() {
        None => StatusCode::NO_CONTENT.into_response(),
        Some((status, None)) => StatusCode::from_u16(status).unwrap().into_response(),
        Some((status, Some(after))) => {
            (StatusCode::from_u16(status).unwrap(), [("retry-after", after)]).into_response()
        }
    }
}

impl Endpoint {
    async fn listen(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let router = Router::new().route("/api/v2/write", post(answer)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        addr
    }

    fn writes(&self) -> Vec<Write> {
        self.writes.lock().unwrap().clone()
    }

    fn will(&self, answers: &[(u16, Option<&'static str>)]) {
        self.answers.lock().unwrap().extend(answers);
    }
}

fn recorder() -> Recorder {
    Recorder::new(ServerTag::new(ServerKind::Loadgen, "l"))
}

fn targets(text: &str) -> PushTargets {
    text.parse().expect("targets")
}

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn lines_arrive_at_every_endpoint_with_token_and_names() {
    let (one, two) = (Endpoint::default(), Endpoint::default());
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "secret\n").unwrap();
    let text = format!(
        "http://{}?org=my%20org&bucket=b&token_file={} http://{}?precision=ms",
        one.listen().await,
        token.display(),
        two.listen().await
    );
    let recorder = recorder();
    let pusher = Pusher::start(&targets(&text), "push", &recorder).unwrap();
    pusher.push(b"a,b=1 c=1i 1700000000123456789\n");
    pusher.finish(PATIENCE).await;
    let (first, second) = (&one.writes()[0], &two.writes()[0]);
    assert_eq!(first.uri, "/api/v2/write?org=my+org&bucket=b&precision=ns");
    assert_eq!(
        (first.authorization.as_str(), first.lines.as_str()),
        ("Token secret", "a,b=1 c=1i 1700000000123456789\n")
    );
    assert_eq!((second.authorization.as_str(), second.lines.as_str()), ("", "a,b=1 c=1i 1700000000123\n"));
    assert_eq!(recorder.counter(names::PUSH_POINTS_SENT).get(), 2);
}

#[tokio::test]
async fn what_fails_for_a_while_is_tried_again_and_retry_after_is_kept() {
    let endpoint = Endpoint::default();
    endpoint.will(&[(503, Some("1")), (401, None), (500, None)]);
    let recorder = recorder();
    let text = format!("http://{}", endpoint.listen().await);
    let pusher = Pusher::start(&targets(&text), "push", &recorder).unwrap();
    pusher.push(b"a b=1i 1\n");
    pusher.finish(PATIENCE).await;
    let writes = endpoint.writes();
    assert_eq!(writes.len(), 4);
    assert!(writes.iter().all(|write| write.lines == "a b=1i 1\n"));
    assert!(writes[1].at - writes[0].at >= Duration::from_secs(1), "Retry-After was not kept");
    let counted = |name| recorder.counter(name).get();
    assert_eq!((counted(names::PUSH_FAILURES), counted(names::PUSH_POINTS_SENT)), (3, 1));
    assert_eq!(counted(names::PUSH_POINTS_DROPPED), 0);
}

#[tokio::test]
async fn malformed_lines_are_dropped_and_too_many_are_halved() {
    let endpoint = Endpoint::default();
    endpoint.will(&[(400, None), (413, None)]);
    let recorder = recorder();
    let text = format!("http://{}", endpoint.listen().await);
    let pusher = Pusher::start(&targets(&text), "push", &recorder).unwrap();
    pusher.push(b"bad\n");
    while endpoint.writes().is_empty() {
        tokio::task::yield_now().await;
    }
    pusher.push(b"a b=1i 1\nc d=1i 1\n");
    pusher.finish(PATIENCE).await;
    let lines: Vec<String> = endpoint.writes().into_iter().map(|write| write.lines).collect();
    assert_eq!(lines, ["bad\n", "a b=1i 1\nc d=1i 1\n", "a b=1i 1\n", "c d=1i 1\n"]);
    let counted = |name| recorder.counter(name).get();
    assert_eq!((counted(names::PUSH_POINTS_DROPPED), counted(names::PUSH_POINTS_SENT)), (1, 2));
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_and_push_never_waits() {
    // bound and never served: connections are made, answers never come
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = format!("http://{}", listener.local_addr().unwrap());
    let recorder = recorder();
    let pusher = Pusher::start(&targets(&text), "push", &recorder).unwrap();
    let line = format!("a b=\"{}\" 1\n", "x".repeat(1_000));
    let chunk = line.repeat(100).into_bytes();
    for _ in 0..200 {
        pusher.push(&chunk);
        tokio::task::yield_now().await;
    }
    let dropped = recorder.counter(names::PUSH_POINTS_DROPPED).get();
    // 20 MB came; 4 MB wait and 1 MB is on its way
    assert!((14_000..=16_500).contains(&dropped), "{dropped}");
    assert!(recorder.gauge(names::PUSH_QUEUE_BYTES).get() <= 4 << 20);
    pusher.finish(Duration::from_millis(10)).await;
}
