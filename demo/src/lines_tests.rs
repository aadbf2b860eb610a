use influxdb_line_protocol::{FieldValue, parse_lines};
use proptest::prelude::*;

use super::*;

#[test]
fn a_line_of_a_node_is_read() {
    let body = b"counters,kind=node,server=2-3 a=4i,b=5.5,c=t 1700000000123456000\n# note\n\nevents,event=block text=\"a \\\"b\\\", c\" 7\n";
    let batch = Batch::parse(body);
    assert_eq!((batch.points.len(), batch.bad), (2, 0));
    let [first, second] = &batch.points[..] else { panic!("two points") };
    assert_eq!(first.time, Some(1_700_000_000_123_456_000));
    let fields = &batch.fields[first.fields.clone()];
    assert_eq!(fields[0], (&b"a"[..], Value::Integer(4)));
    assert_eq!(fields[1].1, Value::Float(5.5));
    let key = Key::parse(first.key).expect("tags");
    assert_eq!((key.measurement.as_str(), key.tag("server")), ("counters", Some("2-3")));
    assert_eq!(batch.fields[second.fields.clone()][0].1, Value::Text("a \"b\", c".into()));
}

#[test]
fn a_bad_line_costs_itself_only_and_is_numbered() {
    let cases = [
        "a b=",
        "a",
        "a b=1x",
        "a =1i",
        ",t=1 b=1i",
        "a b=1i soon",
        "a b=99999999999999999999i",
        "a b=\"open",
        "a b=-1u",
        "a b=nan",
        "a b=1i,",
    ];
    for bad in cases {
        let body = format!("x y=1i 1\n{bad}\n");
        let batch = Batch::parse(body.as_bytes());
        assert_eq!((batch.points.len(), batch.bad), (1, 1), "{bad}");
        assert_eq!(batch.first_bad.map(|(line, _)| line), Some(2), "{bad}");
    }
    let batch = Batch::parse(b"bad\nx y=1i 1\nalso bad\n");
    assert_eq!((batch.points.len(), batch.bad, batch.first_bad.map(|bad| bad.0)), (1, 2, Some(1)));
}

#[test]
fn escapes_are_taken_out_of_names() {
    let key = Key::parse(br"my\ m,t\,1=a\=b,u=x\ y").expect("tags");
    assert_eq!(key.measurement, "my m");
    assert_eq!((key.tag("t,1"), key.tag("u")), (Some("a=b"), Some("x y")));
    assert_eq!(Key::parse(b"m,novalue"), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let batch = Batch::parse(&body);
        for point in &batch.points {
            let _ = Key::parse(point.key);
        }
    }

    #[test]
    fn nearly_lines_do_not_make_it_panic(body in "([a-c, =\\\\\"0-9itu.\n-]{0,12}){0,20}") {
        let batch = Batch::parse(body.as_bytes());
        prop_assert!(batch.points.iter().all(|point| !point.fields.is_empty()));
    }

    #[test]
    fn it_reads_what_the_other_parser_reads(
        lines in prop::collection::vec(("[a-z]{1,5}", prop::collection::vec(("[a-z]{1,4}", "[a-z0-9._-]{1,5}"), 0..3),
            prop::collection::vec(("[a-z_]{1,6}", prop_oneof![
                any::<i64>().prop_map(|v| format!("{v}i")),
                (-1e6f64..1e6).prop_map(|v| format!("{v:?}")),
                "[a-z ,=]{0,8}".prop_map(|v| format!("\"{v}\"")),
            ]), 1..5), 0i64..i64::MAX), 1..8)
    ) {
        let text: String = lines.iter().map(|(name, tags, fields, time)| {
            let tags: String = tags.iter().map(|(key, value)| format!(",{key}={value}")).collect();
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{name}{tags} {} {time}\n", fields.join(","))
        }).collect();
        let batch = Batch::parse(text.as_bytes());
        prop_assert_eq!(batch.bad, 0);
        let theirs: Vec<_> = parse_lines(&text).map(|line| line.expect("valid")).collect();
        prop_assert_eq!(theirs.len(), batch.points.len());
        for (point, line) in batch.points.iter().zip(&theirs) {
            prop_assert_eq!(point.time, line.timestamp);
            let key = Key::parse(point.key).expect("valid");
            prop_assert_eq!(key.measurement.as_str(), line.series.measurement.as_str());
            for ((name, value), (other_name, other)) in batch.fields[point.fields.clone()].iter().zip(&line.field_set) {
                prop_assert_eq!(std::str::from_utf8(name).unwrap(), other_name.as_str());
                match (value, other) {
                    (Value::Integer(a), FieldValue::I64(b)) => prop_assert_eq!(a, b),
                    (Value::Float(a), FieldValue::F64(b)) => prop_assert_eq!(a, b),
                    (Value::Text(a), FieldValue::String(b)) => prop_assert_eq!(a.as_ref(), b.as_str()),
                    (a, b) => prop_assert!(false, "{a:?} {b:?}"),
                }
            }
        }
    }
}
