//! How far the load generators are: the JSON lines they print, read as they grow.
//!
//! A line that is not whole yet is left for the next look; one that cannot be read is passed over, as
//! progress decides nothing but what is shown and when the load began.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use serde::Deserialize;

/// Where a load generator stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadPhase {
    /// Accounts get their coins.
    Fund,
    /// Payments are signed.
    Sign,
    /// A closed loop finds the rate.
    Probe,
    /// The load.
    Load,
    /// Waiting for what is in flight.
    Drain,
    /// The end.
    Done,
}

impl LoadPhase {
    /// What to show.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fund => "funding accounts",
            Self::Sign => "signing payments",
            Self::Probe => "probing",
            Self::Load => "load",
            Self::Drain => "draining",
            Self::Done => "done",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct LoadLine {
    /// The phase.
    pub phase: LoadPhase,
    /// Seconds since it began.
    #[serde(default)]
    pub seconds: f64,
    /// Payments whose time came, since the phase began.
    #[serde(default)]
    pub offered: u64,
    /// Payments certified to their end, since the phase began.
    #[serde(default)]
    pub certified: u64,
    /// The same in the last second.
    #[serde(default)]
    pub certified_per_second: f64,
    /// Payments skipped.
    #[serde(default)]
    pub skipped: u64,
    /// Payments in flight.
    #[serde(default)]
    pub in_flight: u64,
    /// Median of the last second, milliseconds.
    #[serde(default)]
    pub p50_ms: Option<f64>,
    /// 99th percentile of the same.
    #[serde(default)]
    pub p99_ms: Option<f64>,
    /// By committee.
    #[serde(default)]
    pub committees: Vec<CommitteeLine>,
    /// Accounts funded.
    #[serde(default)]
    pub done: u64,
    /// Accounts to fund.
    #[serde(default)]
    pub total: u64,
}

/// A committee's part.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CommitteeLine {
    /// The committee.
    pub committee: usize,
    /// Payments that ended there in the last second.
    pub certified: u64,
    /// Median, milliseconds.
    pub p50_ms: Option<f64>,
    /// 99th percentile.
    pub p99_ms: Option<f64>,
}

/// Reads a file of lines while it grows.
pub struct LoadReader {
    path: PathBuf,
    offset: u64,
}

impl LoadReader {
    /// Reads `path` from its beginning, once it is there.
    pub fn new(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    /// Lines that came since the last look.
    pub fn read(&mut self) -> Vec<LoadLine> {
        let bytes = self.grown().unwrap_or_default();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        self.offset += whole as u64;
        let lines = bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    fn grown(&self) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn lines_are_read_as_they_grow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("progress");
        let mut reader = LoadReader::new(path.clone());
        assert_eq!(reader.read(), []);
        let mut file = File::create(&path).unwrap();
        file.write_all(b"{\"phase\":\"fund\",\"done\":3,\"total\":9}\nnot json\n{\"phase\":\"lo").unwrap();
        let read = reader.read();
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].phase, read[0].done, read[0].total), (LoadPhase::Fund, 3, 9));
        assert_eq!(reader.read(), []);
        file.write_all(
            b"ad\",\"seconds\":1.5,\"offered\":7,\"sent\":7,\"certified\":6,\"certified_per_second\":6.0,\"skipped\":0,\
              \"in_flight\":1,\"p50_ms\":20.5,\"p99_ms\":null,\"committees\":[{\"committee\":1,\"certified\":6,\
              \"p50_ms\":20.5,\"p99_ms\":31}]}\n",
        )
        .unwrap();
        let read = reader.read();
        assert_eq!((read[0].phase, read[0].offered, read[0].p50_ms), (LoadPhase::Load, 7, Some(20.5)));
        assert_eq!(read[0].committees[0].p99_ms, Some(31.0));
    }
}
