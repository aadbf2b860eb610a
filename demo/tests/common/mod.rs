//! The demo app as a process, and telemetry as servers would send it.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "shared between tests, which use parts of it")]

pub mod feed;

use std::fs;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::Value;

pub const TOKEN: &str = "the token of this test";
/// How long is waited for what must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A demo app; it ends with the value.
pub struct Demo {
    pub url: String,
    pub client: Client,
    child: Child,
    _dir: tempfile::TempDir,
}

impl Demo {
    /// Starts one that wants [`TOKEN`], with further arguments, below `under` (such as `taskset`, when not empty).
    pub async fn start(arguments: &[&str], under: &[&str]) -> Self {
        // the HTTP client is built with TLS it does not use here
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a directory");
        let (token, address) = (dir.path().join("token"), dir.path().join("address"));
        fs::write(&token, TOKEN).expect("a file");
        let mut words = under.iter().copied().chain([env!("CARGO_BIN_EXE_demo")]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).args(["--listen", "127.0.0.1:0"]).args(arguments);
        if !arguments.contains(&"--replay") {
            command.arg("--token-file").arg(&token);
        }
        command.arg("--address-file").arg(&address).stdout(Stdio::null());
        let child = command.spawn().expect("the demo app starts");
        let deadline = Instant::now() + PATIENCE;
        let address = loop {
            if let Ok(address) = fs::read_to_string(&address) {
                break address;
            }
            assert!(Instant::now() < deadline, "the demo app says where it listens");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let client = Client::builder().no_proxy().build().expect("a client");
        Self { url: format!("http://{address}"), client, child, _dir: dir }
    }

    /// A write as the pusher makes it, to be changed and sent.
    pub fn write(&self, lines: impl Into<reqwest::Body>) -> RequestBuilder {
        self.writer::<reqwest::Body>()(lines.into())
    }

    /// The same for a task of its own.
    pub fn writer<B: Into<reqwest::Body>>(&self) -> impl Fn(B) -> RequestBuilder + Send + 'static {
        let url = format!("{}/api/v2/write?org=shardpay&bucket=shardpay&precision=ns", self.url);
        let client = self.client.clone();
        move |lines| client.post(&url).header("authorization", format!("Token {TOKEN}")).body(lines)
    }

    /// Sends lines, which must be taken.
    pub async fn taken(&self, lines: impl Into<reqwest::Body>) {
        let answer = self.write(lines).send().await.expect("an answer");
        assert_eq!(answer.status(), 204, "{}", answer.text().await.unwrap_or_default());
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON")
    }

    /// The first frame of the page's stream that `wanted` takes; `meanwhile` is done before each frame.
    pub async fn frame(&self, wanted: impl Fn(&Value) -> bool, meanwhile: impl AsyncFn()) -> Value {
        let mut stream = self.client.get(format!("{}/api/stream", self.url)).send().await.expect("an answer");
        let (mut text, mut last) = (String::new(), Value::Null);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            meanwhile().await;
            let chunk = stream.chunk().await.expect("the stream goes on").expect("the stream does not end");
            text.push_str(std::str::from_utf8(&chunk).expect("ASCII"));
            while let Some((event, rest)) = text.split_once("\n\n") {
                let data = event.strip_prefix("data: ").map(|data| serde_json::from_str(data).expect("JSON"));
                text = rest.to_owned();
                let Some(frame) = data else { continue };
                if wanted(&frame) {
                    return frame;
                }
                last = frame;
            }
        }
        panic!("no such frame; the last one: {:.2000}", last.to_string());
    }

    /// Processor time so far, in seconds.
    pub fn cpu_s(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<f64>().expect("ticks");
        (ticks(11) + ticks(12)) / 100.0
    }

    /// A figure of `/proc/…/status` in MB, such as `VmRSS` or `VmHWM`.
    pub fn memory_mb(&self, figure: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':')).expect("the figure");
        line.split_whitespace().next().expect("a number").parse::<f64>().expect("a number") * 1_024.0 / 1e6
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status and message of a refusal, whose code must be as InfluxDB 2 names it.
pub async fn refusal(answer: Response, status: u16, code: &str) -> String {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let said: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    assert_eq!(said["code"], code, "{said}");
    said["message"].as_str().expect("a message").to_owned()
}

/// Whether an alarm of that kind is on, with this in its text.
pub fn alarmed(frame: &Value, kind: &str, text: &str) -> bool {
    let alarms = frame["alarms"].as_array().expect("alarms");
    alarms.iter().any(|alarm| alarm["kind"] == kind && alarm["text"].as_str().is_some_and(|said| said.contains(text)))
}

pub fn gzip(lines: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(lines).and_then(|()| encoder.finish()).expect("memory")
}
