//! Line protocol of one interval: which measurements, tags and fields there are.
//!
//! Every line carries the server's tags; integers are signed (`i`), as InfluxDB 1 knows no others, and
//! times are nanoseconds, the protocol's default. Escaping is done by `influxdb-line-protocol`, except that
//! it lets control characters through: they are written as spaces here.

use influxdb_line_protocol::LineProtocolBuilder;
use shardpay_types::Timestamp;

use crate::events::{Event, TEXT_BYTES_MAX};
use crate::histogram::HistogramSnapshot;
use crate::names;
use crate::server::ServerTag;

/// The percentiles written per interval, with their field names.
const PERCENTILES: [(&str, f64); 4] = [
    (names::FIELD_P50_US, 0.5),
    (names::FIELD_P90_US, 0.9),
    (names::FIELD_P99_US, 0.99),
    (names::FIELD_P999_US, 0.999),
];

/// Tags of a server, ready to be written.
pub(crate) struct LineWriter<'a> {
    tags: Vec<(&'static str, String)>,
    out: &'a mut Vec<u8>,
}

impl<'a> LineWriter<'a> {
    pub(crate) fn new(server: &ServerTag, out: &'a mut Vec<u8>) -> Self {
        let mut tags = vec![(names::TAG_KIND, server.kind.name().to_owned()), (names::TAG_SERVER, tag(&server.name))];
        tags.extend(server.committee.map(|committee| (names::TAG_COMMITTEE, committee.to_string())));
        tags.extend(server.member.map(|member| (names::TAG_MEMBER, member.to_string())));
        Self { tags, out }
    }

    /// One line with a field per number; none when there is no number.
    pub(crate) fn numbers(
        &mut self,
        measurement: &str,
        numbers: impl Iterator<Item = (&'static str, u64)>,
        now: Timestamp,
    ) {
        let fields: Vec<_> = numbers.map(|(name, value)| (name, integer(value))).collect();
        self.line(measurement, &[], &fields, now);
    }

    /// A counter with a label.
    pub(crate) fn labelled(&mut self, (name, label): (&str, &str), count: u64, now: Timestamp) {
        let tags = [(names::TAG_METRIC, name), (names::TAG_LABEL, label)];
        self.line(names::LABELLED, &tags, &[(names::FIELD_COUNT, integer(count))], now);
    }

    /// A histogram's interval.
    pub(crate) fn histogram(&mut self, name: &str, interval: &HistogramSnapshot, now: Timestamp) {
        let mut fields = vec![
            (names::FIELD_COUNT, integer(interval.count())),
            (names::FIELD_SUM_US, integer(interval.sum_us())),
            (names::FIELD_MAX_US, integer(interval.max_us())),
        ];
        fields.extend(PERCENTILES.map(|(field, share)| (field, integer(interval.percentile_us(share)))));
        self.line(names::HISTOGRAMS, &[(names::TAG_METRIC, name)], &fields, now);
    }

    /// A task event, the `nth` of its microsecond.
    pub(crate) fn event(&mut self, event: &Event, nth: i64) {
        let text = text(&event.text);
        let mut line = LineProtocolBuilder::new_with(&mut *self.out).measurement(names::EVENTS);
        for (key, value) in &self.tags {
            line = line.tag(key, value);
        }
        let line = line.tag(names::TAG_EVENT, &tag(event.kind)).field(names::FIELD_TEXT, text.as_str());
        line.timestamp(nanoseconds(event.at).saturating_add(nth.min(999))).close_line().build();
    }

    fn line(&mut self, measurement: &str, tags: &[(&str, &str)], fields: &[(&str, i64)], now: Timestamp) {
        let Some(((first, value), rest)) = fields.split_first() else { return };
        let mut line = LineProtocolBuilder::new_with(&mut *self.out).measurement(measurement);
        for (key, value) in &self.tags {
            line = line.tag(key, value);
        }
        for (key, value) in tags {
            line = line.tag(key, &tag(value));
        }
        let mut line = line.field(first, *value);
        for (name, value) in rest {
            line = line.field(name, *value);
        }
        line.timestamp(nanoseconds(now)).close_line().build();
    }
}

/// A tag's value as it is written: never empty, and plain ASCII.
fn tag(value: &str) -> String {
    if value.is_empty() {
        return "_".to_owned();
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    value.chars().map(plain).collect()
}

/// An event's text as it is written: one line of bounded length.
fn text(value: &str) -> String {
    let mut end = value.len().min(TEXT_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn nanoseconds(at: Timestamp) -> i64 {
    integer(at.micros().saturating_mul(1_000))
}
