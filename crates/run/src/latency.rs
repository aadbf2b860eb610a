//! `latency.hlog`: HdrHistogram interval logs, readable by its usual tools. Values are microseconds.
//!
//! One line per interval, kind and committee; the tag is `<kind>.<committee>` (`intra.0`,
//! `cross-credit.2`), times are seconds since the load began. Three significant digits.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogHistogram, IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, V2Serializer};
use shardpay_types::CommitteeId;

use crate::dir::{RunDir, RunError};

/// Largest latency told apart: ten minutes. Longer ones count as that.
const LATENCY_US_MAX: u64 = 600_000_000;

/// What was waited for, from the intended time of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LatencyKind {
    /// The certificate of a payment within a committee.
    Intra,
    /// The certificate of the debit of a payment to another committee.
    CrossDebit,
    /// The certificate of its credit at the other committee.
    CrossCredit,
}

impl LatencyKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Intra, Self::CrossDebit, Self::CrossCredit];

    const fn name(self) -> &'static str {
        match self {
            Self::Intra => "intra",
            Self::CrossDebit => "cross-debit",
            Self::CrossCredit => "cross-credit",
        }
    }
}

/// Which latencies: their kind, and the committee whose certificate was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LatencyTag {
    /// The kind.
    pub kind: LatencyKind,
    /// The committee.
    pub committee: CommitteeId,
}

impl LatencyTag {
    fn text(self) -> String {
        format!("{}.{}", self.kind.name(), self.committee)
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, committee) = text.split_once('.')?;
        let kind = LatencyKind::ALL.into_iter().find(|known| known.name() == kind)?;
        Some(Self { kind, committee: CommitteeId::new(committee.parse().ok()?)? })
    }
}

/// One interval.
#[derive(Debug, Clone)]
pub struct LatencyInterval {
    /// Which.
    pub tag: LatencyTag,
    /// Its beginning, after the load began.
    pub start: Duration,
    /// Its length.
    pub length: Duration,
    /// The latencies in microseconds.
    pub latencies: Histogram<u64>,
}

/// An empty histogram of the shape used in all runs. Record with `saturating_record`.
///
/// # Panics
/// Never: the bounds are constants that HdrHistogram accepts.
pub fn new_latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("valid bounds")
}

/// Adds latencies to others of the usual shape; what another shape holds beyond its bounds counts as the bound.
pub fn add_latencies(all: &mut Histogram<u64>, others: &Histogram<u64>) {
    if all.add(others).is_err() {
        for step in others.iter_recorded() {
            all.saturating_record_n(step.value_iterated_to(), step.count_at_value());
        }
    }
}

/// Writes an interval log as the intervals end.
pub struct LatencyWriter {
    path: PathBuf,
    out: File,
}

impl LatencyWriter {
    /// Starts a new file for a load that begins (began) at `start`.
    pub fn create(path: &Path, start: SystemTime) -> Result<Self, RunError> {
        let mut text = Vec::new();
        let mut serializer = V2Serializer::new();
        let mut head = IntervalLogWriterBuilder::new();
        head.add_comment("latency in microseconds from intended send").with_start_time(start).with_base_time(start);
        head.begin_log_with(&mut text, &mut serializer).map_err(RunError::io(path))?;
        let mut out = File::create(path).map_err(RunError::io(path))?;
        out.write_all(&text).map_err(RunError::io(path))?;
        Ok(Self { path: path.to_owned(), out })
    }

    /// Adds an interval; empty ones are left out.
    pub fn write(&mut self, interval: &LatencyInterval) -> Result<(), RunError> {
        if interval.latencies.is_empty() {
            return Ok(());
        }
        let mut line = Vec::new();
        let mut serializer = V2Serializer::new();
        let tag = interval.tag.text();
        let mut writer = IntervalLogWriterBuilder::new()
            .begin_log_with(&mut line, &mut serializer)
            .map_err(RunError::io(&self.path))?;
        writer
            .write_histogram(&interval.latencies, interval.start, interval.length, Tag::new(&tag))
            .map_err(|error| RunError::malformed(&self.path, error))?;
        self.out.write_all(&line).map_err(RunError::io(&self.path))
    }
}

/// The interval logs of all load generators of a run.
pub fn latencies_of_run(dir: &RunDir, processes: usize) -> Result<Vec<LatencyInterval>, RunError> {
    let mut all = Vec::new();
    for process in 0..processes {
        all.extend(read_latencies(&dir.latencies(process))?);
    }
    Ok(all)
}

/// Reads an interval log; a torn last line is left out.
pub fn read_latencies(path: &Path) -> Result<Vec<LatencyInterval>, RunError> {
    let mut bytes = fs::read(path).map_err(RunError::io(path))?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    bytes.truncate(whole);
    let mut intervals = Vec::new();
    for entry in IntervalLogIterator::new(&bytes) {
        match entry {
            Ok(LogEntry::Interval(interval)) => {
                intervals.push(decode(&interval).ok_or_else(|| {
                    RunError::malformed(path, format!("interval {} does not decode", intervals.len()))
                })?);
            }
            Ok(_) => {}
            Err(error) => return Err(RunError::malformed(path, format!("{error:?}"))),
        }
    }
    Ok(intervals)
}

fn decode(interval: &IntervalLogHistogram<'_>) -> Option<LatencyInterval> {
    let bytes = base64(interval.encoded_histogram())?;
    let latencies = Deserializer::new().deserialize(&mut bytes.as_slice()).ok()?;
    let tag = LatencyTag::parse(interval.tag()?.as_str())?;
    Some(LatencyInterval { tag, start: interval.start_timestamp(), length: interval.duration(), latencies })
}

/// Standard base64 with padding, as interval logs hold it.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(digit)) & 0xff_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    Some(out)
}
