//! `analysis report` over runs whose figures are known.

mod common;

use std::fs;
use std::path::Path;

use common::{analysis, made_run, spec};
use serde_json::Value;
use shardpay_run::{RunDir, Summary, read_json, write_json};

fn report(runs: &Path, out: &Path) -> (Option<i32>, String) {
    analysis(&["report", runs.to_str().unwrap(), "--out", out.to_str().unwrap()])
}

/// The figures in the page, by id.
fn figures(page: &str) -> Vec<(String, Value)> {
    let open = "<script id=\"figures\" type=\"application/json\">";
    let start = page.find(open).expect("the data stand in the page") + open.len();
    let end = start + page[start..].find("</script>").expect("they end");
    let all: Vec<Value> = serde_json::from_str(&page[start..end]).expect("JSON");
    all.into_iter().map(|figure| (figure["id"].as_str().unwrap().to_owned(), figure)).collect()
}

/// Closed loops over 1, 2 and 4 committees with twice the throughput each, a void run, and two open-loop rates.
fn made(dir: &Path) {
    for committees in [1, 2, 4_u64] {
        for repeat in 0..2 {
            let closed = "load.rate={kind=\"closed\",in_flight=64}";
            let (size, seed) = (format!("committees={committees}"), format!("load.seed={repeat}"));
            let spec = spec(&[&size, &seed, closed]);
            made_run(&dir.join(format!("k{committees}-{repeat}")), &spec, (500, 40 * committees));
        }
    }
    for rate in [100, 200] {
        made_run(&dir.join(format!("open{rate}")), &spec(&[&format!("load.rate.per_second={rate}")]), (rate, 30));
    }
    let void = dir.join("void");
    made_run(&void, &spec(&["load.rate.per_second=999"]), (999, 1));
    let path = RunDir::new(&void).summary();
    write_json(&path, &Summary { kept_rate: 0.5, ..read_json(&path).unwrap() }).unwrap();
}

#[test]
fn figures_show_what_was_measured() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (runs, out) = (dir.path().join("runs"), dir.path().join("out"));
    made(&runs);
    let (code, said) = report(&runs, &out);
    assert_eq!(code, Some(0), "{said}");
    let page = fs::read_to_string(out.join("report.html")).expect("a page");
    let figures = figures(&page);
    let of = |id: &str| &figures.iter().find(|(name, _)| name == id).unwrap_or_else(|| panic!("no {id}")).1;

    // linear growth: no contention, no coherency
    let committees = of("committees");
    assert_eq!(committees["traces"][1]["x"], serde_json::json!([1.0, 2.0, 4.0]));
    assert_eq!(committees["traces"][1]["y"], serde_json::json!([500.0, 1_000.0, 2_000.0]));
    assert_eq!(committees["traces"][0]["x"].as_array().unwrap().len(), 6, "all repeats");
    let caption = page.lines().find(|line| line.contains("id=\"committees\"")).expect("its section");
    assert!(caption.contains("contention σ 0.0000"), "the law is fitted: {caption}");
    // the open loops are a family of their own
    assert_eq!(of("throughput-latency")["traces"][1]["x"], serde_json::json!([100.0, 200.0]));
    // a quarter of a second of CPU time a second, in each of the measured seconds
    assert!(of("node-load")["traces"][0]["y"].as_array().unwrap().iter().all(|cores| *cores == 0.25));
    let executed = of("stages")["traces"].as_array().unwrap().iter().find(|trace| trace["name"] == "executed").unwrap();
    assert!(executed["x"].as_array().unwrap().iter().all(|ms| *ms == 2.0), "{executed}");

    // a thousand bytes per payment leave each of the four nodes
    assert!(
        of("bytes")["traces"][0]["x"].as_array().unwrap().iter().all(|bytes| *bytes == 4_000.0 || *bytes == 16_000.0)
    );

    assert!(page.contains("</code> is void: 50.00 % of the load was sent"), "the void run is named");
    let section = page.lines().find(|line| line.contains("id=\"throughput-latency\"")).expect("its section");
    assert!(section.contains("Void and not drawn: 1 × 4 nodes, 999/s"), "where it would belong: {section}");
    assert!(!of("throughput-latency")["traces"].to_string().contains("999"), "and drawn nowhere");
    assert!(
        section.contains("0 answers of refusal or Busy, 0 payments not sent, 0 open at the end, beside 900 certified")
    );
    assert!(figures.iter().all(|(_, figure)| figure["layout"]["title"]["text"] == "2-core machine (made <up>)"));
    assert!(page.contains("made &lt;up&gt;"), "text is escaped");
    assert!(
        page.contains("Throughput and the share of payments between committees: needs"),
        "what is missing is named"
    );
    let csv = fs::read_to_string(out.join("committees.csv")).expect("data");
    assert_eq!(csv.lines().count(), 7, "{csv}");
    assert!(csv.lines().nth(1).is_some_and(|line| line.ends_with("/k1-0,1,500,40.031,40.031,440")), "{csv}");
}

#[test]
fn ladders_say_what_committees_take_within_a_bound() {
    let dir = tempfile::tempdir().expect("temp dir");
    // one second of each of two steps counts; the second asks for more than is certified
    for (committees, per_committee, cross) in [(1, 100, "0.0"), (2, 90, "0.0"), (2, 60, "0.5"), (4, 50, "\"natural\"")]
    {
        let asked = [100, 150].map(|rate| rate * committees * per_committee / 100);
        for seed in [1, 2] {
            let steps = format!("load.rate={{kind=\"steps\",steps_per_second=[{}.0,{}.0]}}", asked[0], asked[1]);
            let (size, seed_is) = (format!("committees={committees}"), format!("load.seed={seed}"));
            let spec = spec(&[&size, &steps, &seed_is, &format!("load.cross={cross}")]);
            made_run(&dir.path().join(format!("runs/{committees}-{cross}-{seed}")), &spec, (per_committee, 40));
        }
    }
    let out = dir.path().join("out");
    let (code, said) = report(&dir.path().join("runs"), &out);
    assert_eq!(code, Some(0), "{said}");
    let page = fs::read_to_string(out.join("report.html")).expect("a page");
    let all = figures(&page);
    let ladder = &all.iter().find(|(name, _)| name == "ladder").expect("the figure").1;
    let line = |name: &str, panel: &str| {
        let is = |trace: &&Value| trace["name"] == name && trace["yaxis"] == panel;
        let trace = ladder["traces"].as_array().unwrap().iter().find(is).unwrap_or_else(|| panic!("no {name}"));
        (trace["x"].clone(), trace["y"].clone())
    };
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(line("0 between committees", "y"), (json("[1.0, 2.0]"), json("[100.0, 180.0]")));
    assert_eq!(line("0 between committees", "y2"), (json("[1.0, 2.0]"), json("[1.0, 0.9]")));
    assert_eq!(line("0.5 between committees", "y").1, json("[100.0, 120.0]"));
    // of two committees the natural share is a half
    assert_eq!(line("natural share between committees", "y"), (json("[1.0, 2.0, 4.0]"), json("[100.0, 120.0, 200.0]")));
    assert!(page.contains("certified 90 % of what was asked"), "the rule stands under it");
    assert_eq!(fs::read_to_string(out.join("ladder-steps.csv")).unwrap().lines().count(), 1 + 8 * 2);

    let strict = dir.path().join("strict");
    let arguments =
        ["report", dir.path().join("runs").to_str().unwrap(), "--out", strict.to_str().unwrap(), "--p99-ms", "1"]
            .map(str::to_owned);
    let (code, said) = analysis(&arguments.each_ref().map(String::as_str));
    assert_eq!(code, Some(0), "{said}");
    let page = fs::read_to_string(strict.join("report.html")).expect("a page");
    assert!(page.contains("8 runs did not keep even the first step"), "what is not drawn is counted");
}

#[test]
fn the_page_loads_nothing() {
    let dir = tempfile::tempdir().expect("temp dir");
    made_run(&dir.path().join("one"), &spec(&[]), (100, 30));
    assert_eq!(report(&dir.path().join("one"), &dir.path().join("out")).0, Some(0));
    let page = fs::read_to_string(dir.path().join("out/report.html")).expect("a page");
    let ours = page.replace(shardpay_charts::PLOTLY.as_str(), "");
    assert!(ours.len() < page.len(), "plotly stands in it");
    for word in ["http:", "https:", " src=", "@import", "url("] {
        assert!(!ours.contains(word), "{word}");
    }
}

#[test]
fn void_runs_alone_make_no_report() {
    let dir = tempfile::tempdir().expect("temp dir");
    made(dir.path());
    let (code, said) = report(&dir.path().join("void"), &dir.path().join("out"));
    assert!(code == Some(2) && said.contains("all 1 runs are void"), "{said}");
    assert!(!dir.path().join("out").exists());
    let (code, said) = report(&dir.path().join("nothing"), &dir.path().join("out"));
    assert!(code == Some(2) && said.contains("nothing"), "{said}");
}

#[test]
fn limited_containers_are_called_a_scale_model() {
    let dir = tempfile::tempdir().expect("temp dir");
    let page_of = |overrides: &[&str]| {
        let (run, out) = (dir.path().join("run"), dir.path().join("out"));
        made_run(&run, &spec(overrides), (100, 30));
        assert_eq!(report(&run, &out).0, Some(0));
        fs::read_to_string(out.join("report.html")).expect("a page")
    };
    let limited = page_of(&["backend=\"docker\"", "node.cpu_share=0.1"]);
    let note = "2-core machine (made <up>); scale model: containers with limited CPU";
    assert!(figures(&limited).iter().all(|(_, figure)| figure["layout"]["title"]["text"] == note));
    assert!(limited.contains("containers with limited CPU: a scale model."), "and in the captions");
    for unlimited in [["backend=\"docker\""], ["node.cpu_share=0.1"]] {
        assert!(!page_of(&unlimited).contains("scale model"), "{unlimited:?}");
    }
}

#[test]
fn a_model_without_costs_says_how_to_measure_them() {
    let dir = tempfile::tempdir().expect("temp dir");
    let missing = dir.path().join("costs.toml");
    let (code, said) = analysis(&["model", "--costs", missing.to_str().unwrap()]);
    assert!(code == Some(2) && said.contains("--calibrate") && said.contains("costs.toml"), "{said}");
}
