//! What is written can be read: every line parses as line protocol, with the names of the constants.

use influxdb_line_protocol::{FieldValue, ParsedLine, parse_lines};
use proptest::prelude::*;
use shardpay_telemetry::{Recorder, ServerKind, ServerTag, Stage, names};
use shardpay_types::{CommitteeId, MemberIndex, Timestamp};

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_123_456);

fn written(recorder: &Recorder) -> String {
    let mut out = Vec::new();
    recorder.snapshot(NOW, &mut out);
    String::from_utf8(out).expect("line protocol is UTF-8")
}

fn parsed(text: &str) -> Vec<ParsedLine<'_>> {
    parse_lines(text).map(|line| line.expect("every line parses")).collect()
}

fn of<'a, 'b>(lines: &'b [ParsedLine<'a>], measurement: &str) -> Vec<&'b ParsedLine<'a>> {
    lines.iter().filter(|line| line.series.measurement.as_str() == measurement).collect()
}

fn integer(line: &ParsedLine<'_>, field: &str) -> i64 {
    match line.field_value(field) {
        Some(FieldValue::I64(value)) => *value,
        other => panic!("{field}: {other:?}"),
    }
}

fn text(line: &ParsedLine<'_>) -> String {
    match line.field_value(names::FIELD_TEXT) {
        Some(FieldValue::String(value)) => value.to_string(),
        other => panic!("{other:?}"),
    }
}

fn tag(line: &ParsedLine<'_>, key: &str) -> Option<String> {
    line.tag_value(key).map(ToString::to_string)
}

#[test]
fn an_interval_is_written_whole() {
    let recorder = Recorder::new(ServerTag::node(CommitteeId::at(2), MemberIndex::at(3)));
    recorder.counter(names::PAYMENTS_EXECUTED).add(5);
    recorder.counter(names::PAYMENTS_EXECUTED).add(2);
    recorder.counter(names::PROCESS_CPU_US).advance_to(900);
    recorder.counter(names::PROCESS_CPU_US).advance_to(800);
    recorder.counter_of(names::TRANSACTIONS_REFUSED, "sequence already used").add(4);
    recorder.gauge(names::QUEUE_CORE).set(17);
    for us in [100, 200, 300, 40_000] {
        recorder.stage(Stage::Executed).record(us);
    }
    recorder.event(NOW, names::EVENT_BLOCK, "executing block 812, 1,024 payments");

    let all = written(&recorder);
    let lines = parsed(&all);
    for line in &lines {
        let tags = [names::TAG_KIND, names::TAG_SERVER, names::TAG_COMMITTEE, names::TAG_MEMBER];
        let expected = ["node", "2-3", "2", "3"].map(|value| Some(value.to_owned()));
        assert_eq!(tags.map(|key| tag(line, key)), expected);
        assert_eq!(line.timestamp, Some(1_700_000_000_123_456_000));
    }
    let counters = of(&lines, names::COUNTERS);
    assert_eq!(counters.len(), 1);
    assert_eq!(integer(counters[0], names::PAYMENTS_EXECUTED), 7);
    assert_eq!(integer(counters[0], names::PROCESS_CPU_US), 900);
    assert_eq!(integer(of(&lines, names::GAUGES)[0], names::QUEUE_CORE), 17);
    let refused = of(&lines, names::LABELLED)[0];
    assert_eq!(tag(refused, names::TAG_METRIC).as_deref(), Some(names::TRANSACTIONS_REFUSED));
    assert_eq!(tag(refused, names::TAG_LABEL).as_deref(), Some("sequence_already_used"));
    assert_eq!(integer(refused, names::FIELD_COUNT), 4);
    let executed = of(&lines, names::HISTOGRAMS)[0];
    assert_eq!(tag(executed, names::TAG_METRIC).as_deref(), Some(names::STAGE_EXECUTED_US));
    assert_eq!(integer(executed, names::FIELD_COUNT), 4);
    assert_eq!(integer(executed, names::FIELD_SUM_US), 40_600);
    assert_eq!(integer(executed, names::FIELD_MAX_US), 40_000);
    assert!((197..=203).contains(&integer(executed, names::FIELD_P50_US)));
    assert!((39_200..=40_000).contains(&integer(executed, names::FIELD_P99_US)));
    let event = of(&lines, names::EVENTS)[0];
    assert_eq!(tag(event, names::TAG_EVENT).as_deref(), Some(names::EVENT_BLOCK));
    assert_eq!(text(event), "executing block 812, 1,024 payments");
}

#[test]
fn the_next_interval_has_counters_and_no_old_latencies() {
    let recorder = Recorder::new(ServerTag::new(ServerKind::Signaler, "signaler"));
    recorder.counter(names::HEARTBEATS).add(1);
    recorder.histogram(names::HTTP_REQUEST_US).record(5);
    recorder.event(NOW, names::EVENT_EPOCH, "closing epoch 4");
    written(&recorder);
    let second = written(&recorder);
    let lines = parsed(&second);
    assert_eq!(integer(of(&lines, names::COUNTERS)[0], names::HEARTBEATS), 1);
    assert!(of(&lines, names::HISTOGRAMS).is_empty() && of(&lines, names::EVENTS).is_empty());
    assert!(of(&lines, names::GAUGES).is_empty(), "no gauge was asked for, so no line may be written");
}

#[test]
fn a_full_queue_of_events_drops_and_counts() {
    let recorder = Recorder::new(ServerTag::new(ServerKind::Node, "n"));
    for n in 0..1_500 {
        recorder.event(NOW, names::EVENT_BLOCK, format!("block {n}"));
    }
    let first = written(&recorder);
    let lines = parsed(&first);
    assert_eq!(of(&lines, names::EVENTS).len(), 1_024);
    assert_eq!(integer(of(&lines, names::COUNTERS)[0], names::EVENTS_DROPPED), 476);
    recorder.event(NOW, names::EVENT_BLOCK, "room again");
    let second = written(&recorder);
    assert_eq!(text(of(&parsed(&second), names::EVENTS)[0]), "room again");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a test of threads")]
fn handles_count_from_many_threads() {
    let recorder = Recorder::new(ServerTag::new(ServerKind::Node, "n"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let counter = recorder.counter(names::PAYMENTS_EXECUTED);
                let histogram = recorder.histogram(names::SYNC_US);
                for n in 0..10_000 {
                    counter.add(1);
                    histogram.record(n);
                }
            });
        }
    });
    assert_eq!(recorder.counter(names::PAYMENTS_EXECUTED).get(), 40_000);
    let all = written(&recorder);
    let lines = parsed(&all);
    assert_eq!(integer(of(&lines, names::HISTOGRAMS)[0], names::FIELD_COUNT), 40_000);
    assert_eq!(integer(of(&lines, names::HISTOGRAMS)[0], names::FIELD_MAX_US), 9_999);
}

#[test]
fn every_name_is_plain_unique_and_documented() {
    let docs = include_str!("../../../docs/METRICS.md");
    let lists = [names::ALL_COUNTERS, names::ALL_LABELLED, names::ALL_GAUGES, names::ALL_HISTOGRAMS, names::ALL_EVENTS];
    for list in lists {
        let mut seen = std::collections::BTreeSet::new();
        for (name, meaning) in list {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
            assert!(seen.insert(*name), "{name} stands twice");
            let row = format!("| `{name}` | {meaning} |");
            assert!(docs.lines().any(|line| line == row), "docs/METRICS.md lacks: {row}");
        }
    }
    let rows = docs.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, lists.iter().map(|list| list.len()).sum(), "docs/METRICS.md lists names that do not exist");
    assert!(names::ALL_HISTOGRAMS.iter().all(|(name, _)| name.ends_with("_us")));
    assert!(Stage::ALL.iter().all(|stage| stage.metric() == format!("stage_{}_us", stage.name())));
}

proptest! {
    #[test]
    fn any_name_and_text_give_lines_that_parse(name in ".{0,40}", label in ".{0,40}", said in "(?s).{0,600}") {
        let recorder = Recorder::new(ServerTag::new(ServerKind::Service, name));
        recorder.counter_of(names::HTTP_REFUSED, &label).add(u64::MAX);
        recorder.event(NOW, names::EVENT_LIFECYCLE, said.clone());
        let all = written(&recorder);
        let lines = parsed(&all);
        prop_assert_eq!(lines.len(), 3);
        prop_assert_eq!(integer(of(&lines, names::LABELLED)[0], names::FIELD_COUNT), i64::MAX);
        let expected: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let found = text(of(&lines, names::EVENTS)[0]);
        prop_assert!(found.len() <= 512 && expected.starts_with(&found), "{:?} for {:?}", found, said);
    }
}
