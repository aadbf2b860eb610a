//! The pages with 256 nodes (64 × 4) that write every second, measured through the DevTools protocol: how busy the
//! page's main thread is, its longest task, updates per second, the first paint, and what the app itself uses.
//!
//! A measurement, so it is ignored unless asked for: on a machine that does nothing else,
//! `cargo test --release --workspace --test smooth -- --include-ignored --nocapture`. It prints what it
//! measured, and fails where a page is not smooth.

mod common;

use std::time::{Duration, Instant};

use common::feed::{Feed, now};
use common::{Demo, gzip};
use serde_json::{Value, json};
use shardpay_browser::Browser;

const COMMITTEES: u64 = 64;
const MEMBERS: u64 = 4;
/// How long each page is watched.
const WATCHED: Duration = Duration::from_secs(12);
/// How long the feed runs before: charts have a past.
const BEFORE: Duration = Duration::from_secs(20);
const PAGES: [&str; 7] = ["overview", "committees", "nodes", "nodes/17-2", "pipeline", "services", "log"];

/// Writes what all servers say, once a second, as their pushers would.
async fn feed(write: impl Fn(Vec<u8>) -> reqwest::RequestBuilder) {
    let mut feed = Feed::new(COMMITTEES, MEMBERS);
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let mut writes = tokio::task::JoinSet::new();
        for lines in feed.next(now()) {
            if writes.len() >= 8 {
                writes.join_next().await;
            }
            let request = write(gzip(&lines)).header("content-encoding", "gzip");
            writes.spawn(async move { assert_eq!(request.send().await.expect("an answer").status(), 204) });
        }
        writes.join_all().await;
    }
}

struct Measured {
    busy: f64,
    processor: f64,
    longest_ms: f64,
    updates_per_second: f64,
    server_cores: f64,
}

/// Seconds that the main thread spent in tasks, and of a processor: they differ where others want the processor too.
async fn main_thread(browser: &Browser) -> [f64; 2] {
    let answer = browser.devtools("Performance.getMetrics", json!({})).await;
    let metrics = answer["metrics"].as_array().expect("metrics");
    ["TaskDuration", "ThreadTime"].map(|name| {
        let found = metrics.iter().find(|metric| metric["name"] == name);
        found.and_then(|metric| metric["value"].as_f64()).unwrap_or(f64::NAN)
    })
}

async fn watch(browser: &Browser, demo: &Demo) -> Measured {
    let begin = "window.long = []; window.updates = 0;
        window.tasks ??= new PerformanceObserver((list) => window.long.push(...list.getEntries().map((one) => one.duration)));
        window.tasks.observe({ type: 'longtask' });
        window.marks ??= new MutationObserver(() => { window.updates += 1; });
        window.marks.observe(document.getElementById('state'), { childList: true, characterData: true, subtree: true });";
    browser.script(begin, vec![]).await;
    let (start, before, cpu) = (Instant::now(), main_thread(browser).await, demo.cpu_s());
    tokio::time::sleep(WATCHED).await;
    let (after, cpu) = (main_thread(browser).await, demo.cpu_s() - cpu);
    let seconds = start.elapsed().as_secs_f64();
    let seen = browser.script("return [Math.max(0, ...window.long), window.updates];", vec![]).await;
    let number = |value: &Value| value.as_f64().expect("a number");
    Measured {
        busy: (after[0] - before[0]) / seconds,
        processor: (after[1] - before[1]) / seconds,
        longest_ms: number(&seen[0]),
        updates_per_second: number(&seen[1]) / seconds,
        server_cores: cpu / seconds,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement that wants the machine to itself, and Chromium"]
async fn pages_of_256_nodes_are_smooth() {
    let demo = Demo::start(&[], &[]).await;
    let feed = tokio::spawn(feed(demo.writer()));
    tokio::time::sleep(BEFORE).await;

    let browser = Browser::start_sized(1400, 900).await;
    browser.open(&format!("{}/", demo.url)).await;
    browser.until("document.querySelectorAll('.card b').length && document.querySelector('.js-plotly-plot')").await;
    let paint =
        "return performance.getEntriesByType('paint').find((one) => one.name === 'first-contentful-paint').startTime;";
    let paint_ms = browser.script(paint, vec![]).await.as_f64().expect("a time");
    println!("first paint after {paint_ms:.0} ms");
    browser.devtools("Performance.enable", json!({})).await;
    let mut bad = Vec::new();
    for page in PAGES {
        browser.script(&format!("location.hash = '#/{page}';"), vec![]).await;
        // the first drawing of a page's charts is part of what a user feels, and of what is measured
        let measured = watch(&browser, &demo).await;
        let Measured { busy, processor, longest_ms, updates_per_second, server_cores } = measured;
        println!(
            "{page:<11} main thread {:.1} % busy ({:.1} % of a core), longest task {longest_ms:.0} ms (0: none above 50), \
             {updates_per_second:.2} updates/s, demo app {server_cores:.2} cores",
            busy * 100.0,
            processor * 100.0
        );
        if busy > 0.3 || longest_ms > 100.0 || updates_per_second < 0.95 {
            bad.push(page);
        }
        if std::env::var_os("SHARDPAY_PICTURES").is_some() {
            browser.picture(&format!("demo-256-{}", page.replace('/', "-"))).await;
        }
    }
    println!("demo app: {:.0} MB resident, {:.0} MB at most", demo.memory_mb("VmRSS"), demo.memory_mb("VmHWM"));
    assert!(!feed.is_finished(), "the feed goes on to the end");
    feed.abort();
    browser.quit().await;
    assert!(paint_ms <= 1_000.0, "first paint after {paint_ms} ms");
    assert_eq!(bad, [""; 0], "pages that are not smooth");
}
