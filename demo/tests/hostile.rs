//! What a write endpoint gets that it should not: broken lines, wrong tokens, bodies without end, writers that take
//! their time, servers with one name, wrong clocks. Refusals are those of InfluxDB 2; nothing takes the app down, and
//! its memory stays within bounds.

mod common;

use std::fmt::Write as _;
use std::time::Duration;

use common::feed::now;
use common::{Demo, PATIENCE, TOKEN, alarmed, gzip, refusal};
use shardpay_demo::{App, Guarded, Limits, Patience, WriteRules, router};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the app may hold with its default bounds.
const MEMORY_MB_MAX: f64 = 300.0;

fn gauges(server: &str, fields: &str, at_us: u64) -> String {
    format!("gauges,kind=node,server={server},committee=0,member=1 {fields} {at_us}000\n")
}

#[tokio::test]
async fn what_is_wrong_is_answered_as_influxdb_answers_it() {
    let demo = Demo::start(&[], &[]).await;
    let line = gauges("0-1", "epoch=1i", now().micros());

    let body = format!("{line}gauges mempool=\n{line}\nno fields\n");
    let said = refusal(demo.write(body).send().await.expect("an answer"), 400, "invalid").await;
    assert!(said.contains("2 of 4 lines") && said.contains("line 2"), "{said}");
    assert_eq!(demo.get("/api/node?name=0-1").await["name"], "0-1", "good lines beside bad ones are taken");
    demo.frame(|frame| alarmed(frame, "dropped", "2 lines that were sent here could not be read"), async || {}).await;

    let plain = |url: &str| demo.client.post(format!("{}/api/v2/write{url}", demo.url)).body(line.clone());
    let good = "?org=shardpay&bucket=shardpay";
    refusal(plain(good).send().await.expect("an answer"), 401, "unauthorized").await;
    for wrong in ["Token guess", "Bearer", "Basic dXNlcjp0b2tlbg==", ""] {
        let answer = plain(good).header("authorization", wrong).send().await.expect("an answer");
        refusal(answer, 401, "unauthorized").await;
    }
    let token = format!("Bearer {TOKEN}");
    let known = |url: &str| plain(url).header("authorization", &token);
    assert_eq!(known(good).send().await.expect("an answer").status(), 204);
    for missing in ["?org=other&bucket=shardpay", "?org=shardpay&bucket=other", ""] {
        refusal(known(missing).send().await.expect("an answer"), 404, "not found").await;
    }
    let unit = format!("{good}&precision=h");
    refusal(known(&unit).send().await.expect("an answer"), 400, "invalid").await;
    for (encoding, body) in
        [("gzip", b"no gzip".to_vec()), ("br", b"x".to_vec()), ("gzip", gzip(&[b'x'; 99])[..20].to_vec())]
    {
        let answer = demo.write(body).header("content-encoding", encoding).send().await.expect("an answer");
        refusal(answer, 400, "invalid").await;
    }
    let answer = demo.client.get(format!("{}/api/v2/write", demo.url)).send().await.expect("an answer");
    assert_eq!(answer.status(), 405);
}

#[tokio::test]
async fn huge_bodies_are_refused_and_take_no_memory() {
    let demo = Demo::start(&[], &[]).await;
    let plain = demo.write(vec![b'x'; 100_000_000]).send().await.expect("an answer although the body is too large");
    let said = refusal(plain, 413, "request too large").await;
    assert!(said.contains("10000000 bytes"), "{said}");

    let bomb = gzip(&vec![b'\n'; 100_000_000]);
    assert!(bomb.len() < 1_000_000);
    let bombs = (0..8).map(|_| demo.write(bomb.clone()).header("content-encoding", "gzip").send());
    for answer in join(bombs).await {
        refusal(answer.expect("an answer"), 413, "request too large").await;
    }

    // as many points as a body can hold, and a line with as many fields
    let tiny = b"a b=1\n".repeat(10_000_000 / 6);
    let wide = format!("gauges,server=w a=1{}\n", ",b=2".repeat(2_400_000));
    let bodies = [tiny.clone(), tiny, wide.into_bytes()];
    let writes = bodies.into_iter().map(|body| demo.write(body).send());
    let answers: Vec<_> = join(writes).await.into_iter().map(|answer| answer.expect("an answer").status()).collect();
    assert_eq!(answers, [204, 204, 400]);
    let memory = demo.memory_mb("VmHWM");
    assert!(memory < MEMORY_MB_MAX, "{memory} MB");
    // the endpoint goes on
    demo.taken(gauges("0-1", "epoch=1i", now().micros())).await;
}

#[tokio::test]
async fn invented_names_take_no_more_than_the_bounds() {
    let demo = Demo::start(&["--memory-mb", "20"], &[]).await;
    for part in 0..10 {
        let mut lines = String::new();
        for name in 0..40_000 {
            let _ = writeln!(lines, "gauges,server=s{part}-{name},kind=node f{name}=1i,g{name}=2i");
        }
        let fields: Vec<String> = (0..400).map(|field| format!("part{part}field{field}=1i")).collect();
        let _ = writeln!(lines, "gauges,server=wide {}", fields.join(","));
        let _ = writeln!(lines, "gauges,server={} a=1i", "long".repeat(100_000));
        let _ = writeln!(lines, "events,server=e,event=x text=\"{}\"", "long".repeat(100_000));
        demo.taken(lines).await;
    }
    let told = |frame: &serde_json::Value| {
        alarmed(frame, "dropped", "were not kept")
            && frame["intake"]["not_kept"].as_u64().is_some_and(|lost| lost > 300_000)
    };
    let frame = demo.frame(told, async || {}).await;
    assert!(frame["intake"]["bytes"].as_u64().is_some_and(|bytes| bytes <= 20_000_000), "{}", frame["intake"]);
    let memory = demo.memory_mb("VmHWM");
    assert!(memory < MEMORY_MB_MAX, "{memory} MB");
}

#[tokio::test]
async fn slow_writers_are_cut_off_and_hold_up_nobody() {
    let rules = WriteRules { token: None, org: "o".to_owned(), bucket: "b".to_owned(), body_bytes_max: 1_000 };
    let app = std::sync::Arc::new(App::live(rules, Limits::default(), None));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let patience = Patience { request: Duration::from_millis(500), idle: Duration::from_millis(500) };
    tokio::spawn(async move { axum::serve(Guarded::new(listener, 40, patience), router(app)).await });

    // one byte at a time, in the head or in the body, or none at all
    let heads = ["POST /api/v2/write?org=o&bucket=b HTTP/1.1\r\nhost: x\r\n", "GET / HT", ""];
    let slow = |place: usize| async move {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let mut head = heads[place % heads.len()].to_owned();
        if place.is_multiple_of(2) && !head.is_empty() && head.starts_with("POST") {
            head.push_str("content-length: 900\r\n\r\n");
        }
        stream.write_all(head.as_bytes()).await.expect("the head is taken");
        let (mut read, mut write) = stream.into_split();
        let drip = async {
            let mut clock = tokio::time::interval(Duration::from_millis(50));
            while place % heads.len() != 2 && write.write_all(b"x").await.is_ok() {
                clock.tick().await;
            }
            std::future::pending::<()>().await;
        };
        let mut end = Vec::new();
        tokio::select! {
            _ = drip => {}
            _ = read.read_to_end(&mut end) => {}
        }
        !end.starts_with(b"HTTP/1.1 204")
    };
    // more of them than there is room for: those that are cut off make room
    let all = join((0..60).map(slow));
    let fast = async {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let text = "POST /api/v2/write?org=o&bucket=b HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\na b=1i";
        stream.write_all(text.as_bytes()).await.expect("taken");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        answer
    };
    let (ends, answer) = tokio::time::timeout(PATIENCE, async { tokio::join!(all, fast) }).await.expect("all end");
    assert!(ends.into_iter().all(|cut| cut));
    assert_eq!(&answer, b"HTTP/1.1 204");
}

#[tokio::test]
async fn two_servers_of_one_name_and_clocks_a_minute_off_are_told() {
    let demo = Demo::start(&[], &[]).await;
    let send = async || {
        let at = now().micros();
        // two processes call themselves 0-1; each of the other two has a clock of its own
        demo.taken(gauges("0-1", "started_ms=2000i,mempool=1i", at)).await;
        demo.taken(gauges("0-1", "started_ms=1000i,mempool=2i", at)).await;
        demo.taken(gauges("0-2", "mempool=3i", at + 60_000_000)).await;
        demo.taken(gauges("0-3", "mempool=4i", at - 60_000_000)).await;
        demo.taken(gauges("0-0", "mempool=5i", at)).await;
    };
    let told = |frame: &serde_json::Value| {
        alarmed(frame, "twin", "Two servers call themselves 0-1")
            && alarmed(frame, "clock", "The clock of 0-2 is 60 s ahead")
            && alarmed(frame, "clock", "The clock of 0-3 is 60 s behind")
    };
    let frame = demo.frame(told, send).await;
    assert!(!alarmed(&frame, "clock", "0-0") && !alarmed(&frame, "twin", "0-0"), "{}", frame["alarms"]);
    // their values stand at the time at which they came, so that all charts agree
    for name in ["0-2", "0-3"] {
        let stands = async || {
            send().await;
            let detail = demo.get(&format!("/api/node?name={name}")).await;
            let waiting = detail["charts"].as_array().expect("charts").iter().find(|chart| chart["title"] == "Waiting");
            let values = waiting.expect("the chart")["lines"][0]["values"].as_array().expect("values").clone();
            values.iter().rev().take(5).any(|value| !value.is_null())
        };
        let in_time = tokio::time::timeout(PATIENCE, async { while !stands().await {} }).await;
        in_time.unwrap_or_else(|_| panic!("{name} has no values now"));
    }
}

/// Carries all out at once; results in their order.
async fn join<T: Send + 'static>(
    futures: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.expect("it does not panic"));
    }
    results
}
