//! What a real run writes, read back through the databases it is written for: every query of every page of
//! Grafana against InfluxDB, every number through VictoriaMetrics, every task event through both InfluxDB and the
//! demo app.
//!
//! Needs the Debian packages influxdb (1.6, which speaks InfluxQL as InfluxDB 2 does) and victoria-metrics, and the
//! programs of the workspace; `./shardpay test` brings both. Each database has its own directory and ports.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use common::{experiments, show, testbed};
use reqwest::Client;
use serde_json::Value;
use shardpay_push::{PushTargets, Pusher};
use shardpay_telemetry::{Recorder, ServerKind, ServerTag, names};
use shardpay_testbed::grafana;
use shardpay_testbed::ports::Ports;
use shardpay_types::{CommitteeId, MemberIndex, Timestamp};
use tempfile::TempDir;

/// A database is there within this.
const START_MAX: Duration = Duration::from_secs(60);
/// Panels that a good run without users leaves empty: refusals, and all of the service.
const MAY_BE_EMPTY: [&str; 5] = [
    "Transactions refused, by reason",
    "Refused on the peer port, by kind",
    "Requests of clients refused, by reason",
    "Faults",
    "Epochs",
];

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command, dir: &Path) -> Process {
    let log = std::fs::File::create(dir.join("log")).expect("a log");
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log).spawn();
    Process(child.unwrap_or_else(|error| panic!("{program}: {error}; './shardpay test' installs it")))
}

/// Two free ports that nobody else gets in the meantime: each test begins elsewhere.
fn ports(start: u16) -> (String, String) {
    let mut ports = Ports::new((std::process::id() as u16).wrapping_mul(7).wrapping_add(start));
    let mut take = || ports.take().expect("a port").to_string();
    (take(), take())
}

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().expect("a client")
}

async fn answers(http: &Client, url: &str) {
    let wait = async {
        while !http.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(START_MAX, wait).await.unwrap_or_else(|_| panic!("{url} does not answer"));
}

/// A run of two committees under load, one node of which is killed: once for all tests.
fn run_dir() -> &'static Path {
    static RUN: OnceLock<TempDir> = OnceLock::new();
    let dir = RUN.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let mut command = testbed(dir.path());
        command.arg("run").arg(experiments().join("smoke.toml")).arg("--out").arg(dir.path().join("run"));
        // what is written counts here, not how fast the machine is
        command.args(["--set", "load.rate.per_second=100", "--set", "limits.kept_rate_min=0.01"]);
        let output = command.output().expect("the testbed runs");
        assert_eq!(output.status.code(), Some(0), "{}", show(&output));
        dir
    });
    Box::leak(dir.path().join("run").into_boxed_path())
}

fn series(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            series(&path, found);
        } else if path.file_name().is_some_and(|name| name == "series.lp") {
            found.push(path);
        }
    }
}

/// All lines that the servers of the run wrote.
fn lines() -> Vec<String> {
    let mut files = Vec::new();
    series(run_dir(), &mut files);
    assert!(files.len() >= 10, "eight nodes, the signaler, the load generator: {files:?}");
    let texts: Vec<String> = files.iter().map(|path| std::fs::read_to_string(path).expect("text")).collect();
    texts.iter().flat_map(|text| text.lines().map(str::to_owned)).collect()
}

/// A line of a server: measurement, tags, fields as they are written, nanoseconds.
struct Line<'a> {
    measurement: &'a str,
    tags: BTreeMap<&'a str, &'a str>,
    fields: &'a str,
    at_ns: i64,
}

/// Tags of ours hold no spaces and no commas, and only an event's text may hold either.
fn parse(line: &str) -> Line<'_> {
    let (series, rest) = line.split_once(' ').expect("series");
    let (fields, at) = rest.rsplit_once(' ').expect("a time");
    let (measurement, tags) = series.split_once(',').expect("tags");
    let tags = tags.split(',').map(|tag| tag.split_once('=').expect("a value")).collect();
    Line { measurement, tags, fields, at_ns: at.parse().expect("nanoseconds") }
}

impl Line<'_> {
    fn numbers(&self) -> Vec<(&str, i64)> {
        if self.measurement == names::EVENTS {
            return Vec::new();
        }
        let fields = self.fields.split(',').map(|field| field.split_once('=').expect("a value"));
        fields.map(|(name, value)| (name, value.trim_end_matches('i').parse().expect("an integer"))).collect()
    }

    /// An event's text, unescaped.
    fn text(&self) -> Option<String> {
        let text = self.fields.strip_prefix("text=\"")?.strip_suffix('"')?;
        Some(text.replace("\\\"", "\"").replace("\\\\", "\\"))
    }
}

struct Influx {
    _process: Process,
    _dir: TempDir,
    http: Client,
    url: String,
}

impl Influx {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (rpc, listen) = ports(0);
        let config = format!(
            "reporting-disabled = true\nbind-address = \"{rpc}\"\n[meta]\n  dir = \"{}\"\n[data]\n  dir = \"{}\"\n  \
             wal-dir = \"{}\"\n[monitor]\n  store-enabled = false\n[http]\n  bind-address = \"{listen}\"\n  log-enabled = false\n",
            path("meta"),
            path("data"),
            path("wal")
        );
        std::fs::write(dir.path().join("config"), config).expect("a configuration");
        let process = start(Command::new("influxd").arg("-config").arg(path("config")), dir.path());
        let influx = Self { _process: process, _dir: dir, http: client(), url: format!("http://{listen}") };
        answers(&influx.http, &format!("{}/ping", influx.url)).await;
        influx.query(&format!("CREATE DATABASE {}", grafana::DATABASE)).await;
        influx
    }

    async fn write(&self, lines: &[String]) {
        let url = format!("{}/write?db={}", self.url, grafana::DATABASE);
        for part in lines.chunks(5_000) {
            let answer = self.http.post(&url).body(part.join("\n")).send().await.expect("an answer");
            let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
            assert!(status.is_success(), "{status}: {text}");
        }
    }

    /// The series of the answer; fails on an error.
    async fn query(&self, query: &str) -> Vec<Value> {
        let form = format!("db={}&epoch=ns&q={}", grafana::DATABASE, percent(query));
        let request = self.http.post(format!("{}/query", self.url)).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        assert!(answer["error"].is_null(), "{query}\n{answer}");
        let result = &answer["results"][0];
        assert!(result["error"].is_null(), "{query}\n{answer}");
        result["series"].as_array().cloned().unwrap_or_default()
    }

    /// Values of a tag.
    async fn values(&self, query: &str) -> Vec<String> {
        let series = self.query(query).await;
        let rows = series.iter().flat_map(|series| series["values"].as_array().expect("rows").clone());
        rows.map(|row| row[1].as_str().expect("a value").to_owned()).collect()
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The variables as Grafana puts them in: several values are alternatives of a regular expression.
struct Page {
    from_ms: i64,
    to_ms: i64,
    variables: BTreeMap<String, String>,
}

impl Page {
    fn put_in(&self, query: &str) -> String {
        let time = format!("time >= {}ms and time <= {}ms", self.from_ms, self.to_ms);
        let mut query = query.replace("$timeFilter", &time).replace("$__interval", "5s");
        for (name, value) in &self.variables {
            query = query.replace(&format!("${name}"), value);
        }
        assert!(!query.contains("$_") && !query.contains("/^$"), "not all is put in: {query}");
        query
    }

    async fn choose_all(&mut self, name: &str, query: &str, influx: &Influx) {
        let values = influx.values(&self.put_in(query)).await;
        assert!(!values.is_empty(), "${name} has no values");
        let values: Vec<String> = values.iter().map(|value| value.replace('-', "\\-")).collect();
        self.variables.insert(name.to_owned(), format!("({})", values.join("|")));
    }
}

fn has_values(series: &[Value]) -> bool {
    let rows = series.iter().flat_map(|series| series["values"].as_array().into_iter().flatten());
    rows.into_iter().any(|row| row.as_array().is_some_and(|row| row.iter().skip(1).any(|value| !value.is_null())))
}

/// Names of the panels and marks of the committed pages that have a query without values.
async fn empty_ones(influx: &Influx, lines: &[String]) -> BTreeSet<String> {
    let times = lines.iter().map(|line| parse(line).at_ns / 1_000_000);
    let (from, to) = (times.clone().min().expect("lines"), times.max().expect("lines"));
    let mut empty = BTreeSet::new();
    let mut count = 0;
    for name in ["overview", "committee", "node", "pipeline", "service"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("grafana/dashboards/{name}.json"));
        let json: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("a page")).expect("JSON");
        let mut page = Page { from_ms: from - 5_000, to_ms: to + 5_000, variables: BTreeMap::new() };
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        for variable in json["templating"]["list"].as_array().expect("a list") {
            page.choose_all(&text(&variable["name"]), &text(&variable["query"]), influx).await;
        }
        let mut queries: Vec<(String, String)> = Vec::new();
        for panel in json["panels"].as_array().expect("a list") {
            let targets = panel["targets"].as_array().expect("a list");
            let service = if name == "service" { "service: " } else { "" };
            let named = |target: &Value| (format!("{service}{}", text(&panel["title"])), text(&target["query"]));
            queries.extend(targets.iter().map(named));
        }
        for mark in json["annotations"]["list"].as_array().expect("a list") {
            queries.push((text(&mark["name"]), text(&mark["query"])));
        }
        for (title, query) in queries {
            count += 1;
            if !has_values(&influx.query(&page.put_in(&query)).await) {
                empty.insert(title);
            }
        }
    }
    assert!(count > 80, "{count} queries");
    println!("{count} queries; without values: {empty:?}");
    empty
}

/// What a good run without users does not have: refusals, a fault, an epoch, and a service. Written by the
/// telemetry of the servers themselves, from the list of all names.
fn made_lines(lines: &[String]) -> Vec<String> {
    let end_us = lines.iter().map(|line| parse(line).at_ns / 1_000).max().expect("lines");
    let node = ServerTag::node(CommitteeId::at(0), MemberIndex::at(0));
    let mut out = Vec::new();
    for tag in [ServerTag::new(ServerKind::Service, "service"), node] {
        let recorder = Recorder::new(tag);
        for second in 0..20 {
            let now = Timestamp::from_micros(u64::try_from(end_us).expect("after 1970") - (20 - second) * 1_000_000);
            names::ALL_LABELLED.iter().for_each(|(name, _)| recorder.counter_of(name, "made").add(7));
            if recorder.server().kind == ServerKind::Service {
                names::ALL_COUNTERS.iter().for_each(|(name, _)| recorder.counter(name).add(7));
                names::ALL_GAUGES.iter().for_each(|(name, _)| recorder.gauge(name).set(7));
                names::ALL_HISTOGRAMS.iter().for_each(|(name, _)| recorder.histogram(name).record(700));
            }
            for (kind, _) in names::ALL_EVENTS {
                recorder.event(now, kind, "made");
            }
            recorder.snapshot(now, &mut out);
        }
    }
    String::from_utf8(out).expect("text").lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs influxd and a minute; './shardpay test' runs it"]
async fn every_query_of_every_page_has_an_answer() {
    let lines = lines();
    let influx = Influx::start().await;
    influx.write(&lines).await;
    let empty = empty_ones(&influx, &lines).await;
    let allowed = |title: &String| title.starts_with("service: ") || MAY_BE_EMPTY.contains(&title.as_str());
    let unexpected: Vec<&String> = empty.iter().filter(|title| !allowed(title)).collect();
    assert!(unexpected.is_empty(), "a real run leaves empty: {unexpected:?}");

    // the texts of all task events are there
    let events = influx.query(&format!("SELECT text FROM {}", names::EVENTS)).await;
    let rows = events.iter().flat_map(|series| series["values"].as_array().expect("rows"));
    let read: BTreeSet<(i64, String)> =
        rows.map(|row| (row[0].as_i64().expect("ns"), row[1].as_str().expect("text").to_owned())).collect();
    let written: BTreeSet<(i64, String)> = events_of(&lines).map(|(at, _, text)| (at, text)).collect();
    assert!(written.len() > 100, "{}", written.len());
    let lost: Vec<_> = written.difference(&read).take(3).collect();
    assert!(lost.is_empty(), "{lost:?} of {}", written.len());

    influx.write(&made_lines(&lines)).await;
    assert_eq!(empty_ones(&influx, &lines).await, BTreeSet::new(), "nothing is empty once everything happened");
}

fn events_of(lines: &[String]) -> impl Iterator<Item = (i64, String, String)> {
    lines.iter().map(|line| parse(line)).filter_map(|line| {
        let text = (line.measurement == names::EVENTS).then(|| line.text().expect("a text"))?;
        Some((line.at_ns, line.tags[names::TAG_SERVER].to_owned(), text))
    })
}

/// Pushes lines as servers do, and says how many points the endpoint took.
async fn push(target: &str, lines: &[String]) -> u64 {
    let recorder = Recorder::new(ServerTag::new(ServerKind::Testbed, "test"));
    let targets: PushTargets = target.parse().expect("a target");
    let pusher = Pusher::start_sized(&targets, "push", &recorder, 256 << 20).expect("a pusher");
    for part in lines.chunks(500) {
        pusher.push((part.join("\n") + "\n").as_bytes());
    }
    pusher.finish(START_MAX).await;
    assert_eq!(recorder.counter(names::PUSH_POINTS_DROPPED).get(), 0);
    recorder.counter(names::PUSH_POINTS_SENT).get()
}

/// What Victoria Metrics has, asked until it shows `count` numbers or does not come to: rows that it is just moving
/// from memory to a part are in neither for a moment, and a forced flush does not wait for them.
async fn exported(http: &reqwest::Client, url: &str, count: usize) -> BTreeMap<(String, i64), f64> {
    let start = Instant::now();
    loop {
        http.get(format!("{url}/internal/force_flush")).send().await.expect("an answer");
        let read = exported_now(http, url).await;
        if read.len() >= count || start.elapsed() > START_MAX {
            return read;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn exported_now(http: &reqwest::Client, url: &str) -> BTreeMap<(String, i64), f64> {
    let asked = format!("{url}/api/v1/export?match[]={}", percent("{__name__!=\"\"}"));
    let text = http.get(asked).send().await.expect("an answer").text().await.expect("text");
    let mut read: BTreeMap<(String, i64), f64> = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let mut tags: BTreeMap<String, String> = serde_json::from_value(line["metric"].clone()).expect("labels");
        let name = tags.remove("__name__").expect("a name");
        tags.remove("db");
        let (values, times) =
            (line["values"].as_array().expect("a list"), line["timestamps"].as_array().expect("a list"));
        for (value, at) in values.iter().zip(times) {
            read.insert((format!("{name}{tags:?}"), at.as_i64().expect("ms")), value.as_f64().expect("a number"));
        }
    }
    // of a text it keeps that there was one
    read.retain(|(name, _), _| !name.starts_with("events_text"));
    read
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs victoria-metrics and a minute; './shardpay test' runs it"]
async fn every_number_comes_back_from_victoria_metrics() {
    let lines = lines();
    let dir = tempfile::tempdir().expect("a directory");
    let (listen, _) = ports(100);
    let mut command = Command::new("victoria-metrics");
    command.arg(format!("-storageDataPath={}", dir.path().join("data").display()));
    let _process = start(command.arg(format!("-httpListenAddr={listen}")).arg("-retentionPeriod=100y"), dir.path());
    let (http, url) = (client(), format!("http://{listen}"));
    answers(&http, &format!("{url}/health")).await;
    assert_eq!(push(&url, &lines).await, lines.len() as u64);
    // two snapshots in one millisecond (a server's last one) are one point there
    let mut written: BTreeMap<(String, i64), Vec<i64>> = BTreeMap::new();
    for line in lines.iter().map(|line| parse(line)) {
        for (field, value) in line.numbers() {
            let key = (format!("{}_{field}{:?}", line.measurement, line.tags), line.at_ns / 1_000_000);
            written.entry(key).or_default().push(value);
        }
    }
    let read = exported(&http, &url, written.len()).await;
    for (key, values) in &written {
        let found = read.get(key).unwrap_or_else(|| panic!("{key:?} = {values:?} is lost"));
        let same = |value: &i64| *found == *value as f64 && *found as i64 == *value;
        assert!(values.iter().any(same), "{key:?}: {values:?} came back as {found}");
    }
    assert_eq!(written.len(), read.len(), "each number once, and nothing else");
    let compared = written.len();
    println!("{compared} numbers of {} lines came back", lines.len());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the programs of the workspace and a minute; './shardpay test' runs it"]
async fn every_task_event_reaches_the_demo_app() {
    let lines = lines();
    let dir = tempfile::tempdir().expect("a directory");
    let (listen, _) = ports(200);
    let token = dir.path().join("token");
    std::fs::write(&token, "secret\n").expect("a token");
    let program = Path::new(common::TESTBED).with_file_name("demo");
    let mut command = Command::new(program);
    let _process = start(command.args(["--listen", &listen]).arg("--token-file").arg(&token), dir.path());
    let (http, url) = (client(), format!("http://{listen}"));
    answers(&http, &format!("{url}/health")).await;
    let target = format!("{url}?token_file={}", token.display());
    let (events, others): (Vec<String>, Vec<String>) =
        lines.into_iter().partition(|line| parse(line).measurement == names::EVENTS);
    assert_eq!(push(&target, &others).await, others.len() as u64);
    let mut end = 0;
    // as many as the page asks for at once
    for part in events.chunks(2_000) {
        assert_eq!(push(&target, part).await, part.len() as u64);
        let asked = http.get(format!("{url}/api/events?after={end}")).send().await.expect("an answer");
        let answer: Value = asked.json().await.expect("JSON");
        end = answer["end"].as_u64().expect("a number");
        let came = answer["events"].as_array().expect("a list").iter();
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let mut came: Vec<(String, String)> = came.map(|event| (text(&event[2]), text(&event[6]))).collect();
        let mut sent: Vec<(String, String)> = events_of(part).map(|(_, server, text)| (server, text)).collect();
        came.sort();
        sent.sort();
        assert_eq!(came, sent);
    }
}
