//! Grafana's files: they are those that the constants give, and each page is what Grafana accepts and people can
//! read. That their queries have answers is tested in `grafana_data.rs`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use shardpay_testbed::grafana;

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana")
}

fn files_below(dir: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { [path].into() }).collect()
}

fn pages() -> Vec<Value> {
    let files = grafana::files();
    let pages = files.iter().filter(|(path, _)| path.starts_with("dashboards"));
    pages.map(|(_, text)| serde_json::from_str(text).expect("JSON")).collect()
}

fn list<'a>(value: &'a Value, what: &str) -> &'a Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{what} is no list: {value}"))
}

fn text<'a>(value: &'a Value, what: &str) -> &'a str {
    let text = value.as_str().unwrap_or_else(|| panic!("{what} is no text: {value}"));
    assert!(!text.trim().is_empty(), "{what} is empty");
    text
}

#[test]
fn the_committed_files_are_those_that_are_generated() {
    let generated = grafana::files();
    for (path, text) in &generated {
        let there = std::fs::read_to_string(committed().join(path)).unwrap_or_default();
        assert!(there == *text, "{}: run 'testbed grafana --out testbed/grafana'", path.display());
    }
    let names: BTreeSet<PathBuf> = generated.into_iter().map(|(path, _)| committed().join(path)).collect();
    assert_eq!(files_below(&committed()), names, "nothing else lies there");
}

#[test]
fn pages_have_what_grafana_requires() {
    let mut uids = BTreeSet::new();
    for page in pages() {
        let uid = text(&page["uid"], "uid");
        assert!(uid.len() <= 40 && uids.insert(uid.to_owned()), "{uid}: unique, at most 40 characters");
        text(&page["title"], uid);
        assert!(page["schemaVersion"].as_u64().is_some_and(|version| version >= 36), "{uid}");
        assert!(page["time"]["from"].is_string() && page["time"]["to"].is_string(), "{uid}");
        for part in ["panels", "links", "tags"] {
            list(&page[part], part);
        }
        for variable in list(&page["templating"]["list"], uid) {
            text(&variable["name"], "name");
            assert_eq!(variable["type"], "query");
            assert!(text(&variable["query"], "query").starts_with("SHOW TAG VALUES"));
        }
        for mark in list(&page["annotations"]["list"], uid) {
            text(&mark["name"], "name");
            text(&mark["textColumn"], "textColumn");
            assert!(text(&mark["query"], "query").contains("$timeFilter"));
        }
        page_has_panels(&page, uid);
    }
    assert_eq!(uids.len(), 5);
}

/// Panels do not lie on each other, and each says what it shows.
fn page_has_panels(page: &Value, uid: &str) {
    let (mut ids, mut titles, mut cells) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for panel in list(&page["panels"], uid) {
        let title = text(&panel["title"], uid);
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "{uid}, {title}: ids are unique");
        assert!(titles.insert(title.to_owned()), "{uid}, {title}: titles are unique");
        text(&panel["description"], title);
        assert!(matches!(text(&panel["type"], title), "timeseries" | "stat" | "table"), "{title}");
        assert!(!list(&panel["targets"], title).is_empty(), "{title}");
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
        assert!(place("w") > 0 && place("x") + place("w") <= 24, "{title} is as wide as the page at most");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(cells.insert((x, y)), "{uid}, {title} lies on another panel");
            }
        }
        panel_is_readable(panel, title);
        for target in list(&panel["targets"], title) {
            target_is_whole(target, panel, page);
        }
    }
}

fn panel_is_readable(panel: &Value, title: &str) {
    let defaults = &panel["fieldConfig"]["defaults"];
    let units = ["cps", "µs", "short", "bytes", "Bps", "percentunit", "string"];
    assert!(units.contains(&text(&defaults["unit"], title)), "{title}: {}", defaults["unit"]);
    let steps = list(&defaults["thresholds"]["steps"], title);
    assert!(steps[0]["value"].is_null(), "{title}: the first threshold is the base");
    let values: Vec<f64> = steps[1..].iter().map(|step| step["value"].as_f64().expect("a number")).collect();
    assert!(values.is_sorted(), "{title}: thresholds ascend");
    if panel["type"] == "timeseries" {
        assert_eq!(panel["options"]["legend"]["showLegend"], true, "{title}");
    }
}

fn target_is_whole(target: &Value, panel: &Value, page: &Value) {
    let title = text(&panel["title"], "title");
    let query = text(&target["query"], title);
    assert_eq!(target["rawQuery"], true, "{title}");
    assert_eq!(target["datasource"]["type"], "influxdb", "{title}");
    assert_eq!(text(&target["refId"], title).len(), 1, "{title}");
    assert!(query.contains("$timeFilter"), "{title} asks for all time");
    if panel["type"] != "table" {
        let alias = text(&target["alias"], title);
        for tag in alias.split("$tag_").skip(1) {
            let tag: String = tag.chars().take_while(char::is_ascii_lowercase).collect();
            let grouped = query.rsplit("GROUP BY").next().expect("a part");
            assert!(grouped.contains(&format!("\"{tag}\"")), "{title}: {alias} in {query}");
        }
        assert!(query.contains("time($__interval)"), "{title}");
    }
    let variables: Vec<&str> =
        list(&page["templating"]["list"], title).iter().map(|one| text(&one["name"], "name")).collect();
    for name in query.split("=~ /^$").skip(1) {
        let name: String = name.chars().take_while(char::is_ascii_lowercase).collect();
        assert!(variables.contains(&name.as_str()), "{title} uses ${name}, which the page has not");
    }
}

#[test]
fn the_data_source_speaks_influxql_with_a_token() {
    let files = grafana::files();
    let file = |name: &str| {
        let found = files.iter().find(|(path, _)| path.ends_with(name));
        &found.unwrap_or_else(|| panic!("{name} is generated")).1
    };
    let source = file("datasources/shardpay.yaml");
    for line in [
        "version: InfluxQL",
        "dbName: shardpay",
        "httpHeaderName1: Authorization",
        "httpHeaderValue1: Token ${SHARDPAY_INFLUXDB_TOKEN}",
        "uid: shardpay",
    ] {
        assert!(source.lines().any(|there| there.trim() == line), "{line} in\n{source}");
    }
    let mapping = file("influxdb/dbrp.sh");
    assert!(mapping.starts_with("#!/bin/sh\n") && mapping.contains("influx v1 dbrp create --db shardpay"));
}
