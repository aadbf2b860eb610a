//! The pages in a headless Chromium: every figure is drawn, nothing is asked of any network, nothing complains.
//!
//! Ignored where no Chromium need be; `./shardpay test` runs them.

mod common;

use std::path::{Path, PathBuf};

use common::{analysis, at_commit, made_run, spec};
use serde_json::{Value, json};
use shardpay_analysis::browser::{Browser, Window};

const WINDOW: Window = Window { width: 1_000, height: 900, dark: false };

fn runs(dir: &Path) -> PathBuf {
    let runs = dir.join("runs");
    for committees in [1, 2, 4_u64] {
        for repeat in 0..2 {
            let (size, seed) = (format!("committees={committees}"), format!("load.seed={repeat}"));
            let spec = spec(&[&size, &seed, "load.rate={kind=\"closed\",in_flight=64}"]);
            made_run(&runs.join(format!("k{committees}-{repeat}")), &spec, (500 + repeat, 40));
        }
    }
    for rate in [100, 200] {
        made_run(&runs.join(format!("open{rate}")), &spec(&[&format!("load.rate.per_second={rate}")]), (rate, 30));
    }
    let faults = "faults=[{at_s=2.0,action=\"kill\",nodes=\"0-0\",down_s=1.0}]";
    made_run(&runs.join("crash"), &spec(&["load.rate.per_second=300", faults]), (300, 30));
    knee(&runs.join("knee"));
    runs
}

/// A search that found a bracket from 480/s to 500/s.
fn knee(dir: &Path) {
    let measured = |number: u64, rate: u64, outcome: &str| {
        let name = format!("m{number}");
        made_run(&dir.join(&name), &spec(&[&format!("load.rate.per_second={rate}")]), (rate, 30));
        json!({ "number": number, "dir": name, "rate_per_second": rate, "stage": "confirm", "seed": number, "outcome": outcome,
            "why": [], "certified_per_second": rate, "p50_ms": 20.0, "p99_ms": if outcome == "failed" { 900.0 } else { 120.0 },
            "offered": 4 * rate, "lost": 0, "machine_busy": 0.9, "cpu_us_per_payment": 440.0, "wall_s": 9.0 })
    };
    let end = |rate: u64, passed: u64, failed: u64| json!({ "per_second": rate, "passed": passed, "failed": failed, "pass_rate_low": 0.1, "pass_rate_high": 0.9 });
    let measurements = [measured(1, 480, "passed"), measured(2, 500, "failed"), measured(3, 490, "void")];
    let record = json!({
        "version": 1, "name": "made", "started_us": 1, "ended_us": 2, "git": { "commit": "0123", "modified": false },
        "host": { "cpu_model": "made", "cores": 2, "kernel": "", "memory_bytes": 1, "file_system": "" }, "programs": {},
        "objective": { "p99_ms_max": 250.0, "loss_max": 0.0 }, "bracket": 0.05, "repeats": 1, "needed": 1, "probe": null,
        "measurements": measurements, "stopped": null,
        "result": { "resolved": true, "lower": end(480, 1, 0), "upper": end(500, 0, 1), "width": 0.042,
            "knee_per_second": 489.0, "low_per_second": 481.0, "high_per_second": 499.0, "method": "made up",
            "certified_per_second": 480.0, "limit": { "what": "machine-cpu", "text": "All cores were in use.",
                "machine_busy_lower": 0.9, "machine_busy_upper": 0.99, "threads": [], "queues": [],
                "stages": [{ "stage": "verified", "lower_ms": 1.0, "upper_ms": 9.0 }] } }
    });
    std::fs::write(dir.join("knee.json"), record.to_string()).expect("written");
}

/// What stands in each figure: its id, marks drawn, and the texts of both axes.
const LOOK: &str = "[...document.querySelectorAll('.plot')].map((plot) => ({ id: plot.id, \
    marks: plot.querySelectorAll('.points path, .lines path, .bars path, .box').length, \
    note: plot.querySelector('.gtitle')?.textContent ?? '', \
    x: plot.querySelector('.xtitle')?.textContent ?? '', y: plot.querySelector('.ytitle')?.textContent ?? '', \
    cut: [...plot.querySelectorAll('text')].filter((text) => { const box = text.getBoundingClientRect(); \
      const all = plot.getBoundingClientRect(); return box.width > 0 && (box.left < all.left - 1 || box.right > all.right + 1 || \
      box.top < all.top - 1 || box.bottom > all.bottom + 1); }).map((text) => text.textContent) }))";

fn look(browser: &mut Browser, page: &Path, window: Window) -> Vec<Value> {
    shardpay_analysis::report::svg::open(browser, page, window).expect("drawn");
    let figures = browser.evaluate(LOOK).expect("looked at");
    let figures = figures.as_array().expect("a list").clone();
    assert!(!figures.is_empty());
    for figure in &figures {
        let marks = figure["marks"].as_u64().unwrap_or_default();
        assert!(marks > 0, "an empty figure: {figure}");
        assert!(figure["note"].as_str().is_some_and(|note| note.contains("2-core machine")), "{figure}");
        assert!(figure["x"] != "" || figure["y"] != "", "no axis has a title: {figure}");
        assert_eq!(figure["cut"].as_array().map(Vec::len), Some(0), "a text is cut off: {figure}");
    }
    assert_eq!(browser.complaints(), &[] as &[String]);
    figures
}

#[test]
#[ignore = "needs Chromium"]
fn every_figure_of_a_report_is_drawn_in_light_and_dark() {
    let dir = tempfile::tempdir().expect("temp dir");
    let out = dir.path().join("out");
    let (code, said) =
        analysis(&["report", runs(dir.path()).to_str().unwrap(), "--out", out.to_str().unwrap(), "--svg"]);
    assert_eq!(code, Some(0), "{said}");
    let mut browser = Browser::start().expect("Chromium");
    let page = out.join("report.html");
    let figures = look(&mut browser, &page, WINDOW);
    let ids: Vec<&str> = figures.iter().filter_map(|figure| figure["id"].as_str()).collect();
    for id in [
        "throughput-latency",
        "committees",
        "latency-cdf",
        "over-time",
        "stages",
        "node-load",
        "cost",
        "bytes",
        "recovery",
        "knee",
    ] {
        assert!(ids.contains(&format!("plot-{id}").as_str()), "{id} in {ids:?}");
        let svg = std::fs::read_to_string(out.join(format!("{id}.svg"))).expect("an SVG file");
        assert!(svg.starts_with("<svg") && svg.contains("2-core machine") && svg.ends_with("</svg>"), "{id}");
    }
    look(&mut browser, &page, Window { dark: true, ..WINDOW });
    let said = browser.evaluate("document.body.innerText").expect("a text");
    let said = said.as_str().unwrap_or_default();
    assert!(said.contains("480/s passes in 1 of 1 runs") && said.contains("All cores were in use."), "{said}");
    let ground = browser.evaluate("getComputedStyle(document.body).backgroundColor").expect("a colour");
    assert_eq!(ground, "rgb(22, 24, 27)");
    look(&mut browser, &page, Window { width: 420, ..WINDOW });
}

#[test]
#[ignore = "needs Chromium"]
fn comparisons_and_histories_are_drawn() {
    let dir = tempfile::tempdir().expect("temp dir");
    for (side, per_second) in [("a", 1_000), ("b", 900)] {
        for repeat in 0..6 {
            let run = dir.path().join(side).join(format!("r{repeat}"));
            made_run(&run, &spec(&[&format!("load.seed={repeat}")]), (per_second + repeat % 3, 50 + repeat % 2));
            at_commit(&run, side, if side == "a" { repeat } else { 100 + repeat });
        }
    }
    let (a, b, out) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("out"));
    let (a, b, out_text) = (a.to_str().unwrap(), b.to_str().unwrap(), out.to_str().unwrap());
    let (code, said) = analysis(&["compare", a, b, "--out", out_text]);
    assert!(code == Some(1) && said.contains("caution: all runs of one side"), "{said}");
    assert_eq!(analysis(&["history", a, b, "--out", out_text]).0, Some(1));
    let mut browser = Browser::start().expect("Chromium");
    assert_eq!(look(&mut browser, &out.join("compare.html"), WINDOW).len(), 4);
    assert_eq!(look(&mut browser, &out.join("history.html"), WINDOW).len(), 7);
}

#[test]
#[ignore = "needs Chromium"]
fn a_page_that_throws_or_asks_a_network_is_told_of() {
    let dir = tempfile::tempdir().expect("temp dir");
    let page = dir.path().join("page.html");
    let text = "<body><script>fetch('http://127.0.0.1:9/x').catch(() => {}); throw new Error('on purpose');</script>";
    std::fs::write(&page, text).expect("written");
    let mut browser = Browser::start().expect("Chromium");
    browser.open(&page, WINDOW).expect("opened");
    let complaints = browser.complaints().join("\n");
    assert!(complaints.contains("on purpose") && complaints.contains("127.0.0.1:9/x"), "{complaints}");
    assert!(browser.evaluate("nothing.there").is_err());
}

#[test]
fn without_a_chromium_the_page_is_written_and_the_reason_said() {
    let dir = tempfile::tempdir().expect("temp dir");
    made_run(&dir.path().join("run"), &spec(&[]), (100, 30));
    let out = dir.path().join("out");
    let mut command = std::process::Command::new(common::ANALYSIS);
    command.args(["report", dir.path().join("run").to_str().unwrap(), "--svg", "--out", out.to_str().unwrap()]);
    let output = command.env("SHARDPAY_CHROMIUM", "/nowhere/chromium").output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("no Chromium is installed"), "{said}");
    assert!(out.join("report.html").is_file());
}
