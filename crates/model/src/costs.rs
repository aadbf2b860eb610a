//! What actions cost on one machine, as the calibration measured it.
//!
//! All times are microseconds of one processor core unless a name says otherwise.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A cost with a fixed part and one that grows with what is handled.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Of the action itself.
    pub fixed_us: f64,
    /// Of each payment or byte in it.
    pub each_us: f64,
}

impl Linear {
    /// The cost with so many payments or bytes.
    pub fn of(self, count: f64) -> f64 {
        self.fixed_us + self.each_us * count
    }

    /// The line through two measurements (count, cost); neither part falls below zero.
    pub fn through((a, cost_a): (f64, f64), (b, cost_b): (f64, f64)) -> Self {
        let each_us = ((cost_b - cost_a) / (b - a)).max(0.0);
        Self { fixed_us: (cost_a - each_us * a).max(0.0), each_us }
    }
}

/// Measurements at some sizes, ascending, at least one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// (size, cost).
    pub points: Vec<(f64, f64)>,
}

impl Curve {
    /// Linear between the measurements, the nearest one outside.
    pub fn at(&self, size: f64) -> f64 {
        let above = self.points.partition_point(|(of, _)| *of < size);
        let last = self.points.len() - 1;
        if above == 0 || above > last {
            return self.points[above.min(last)].1;
        }
        let ((x0, y0), (x1, y1)) = (self.points[above - 1], self.points[above]);
        y0 + (y1 - y0) * (size - x0) / (x1 - x0)
    }

    /// The same, but in proportion to the size above the largest measurement.
    pub fn proportional(&self, size: f64) -> f64 {
        let largest = self.points[self.points.len() - 1].0;
        self.at(size) * (size / largest).max(1.0)
    }
}

/// What everything costs on one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// Version of these keys.
    pub version: u32,
    /// The processor's name.
    pub cpu_model: String,
    /// Its cores.
    pub cores: usize,
    /// Commit of the code that was measured.
    pub commit: String,
    /// One signature in a batch of so many, senders' keys decompressed before.
    pub verify: Curve,
    /// Making a signature.
    pub sign_us: f64,
    /// SHA-256 per byte of a large value.
    pub hash_byte_us: f64,
    /// A peer's message, decoded and checked, signatures aside; each: a payment in it.
    pub check: Linear,
    /// A client's payments, hashed and looked up, signatures aside; fixed: of a batch.
    pub admit: Linear,
    /// The replica's turn with one input; each: a payment in it.
    pub core: Linear,
    /// Executing a commit, in memory; each: a payment or credit.
    pub execute: Linear,
    /// The ledger's batch, in the writing thread; each: a payment.
    pub store: Linear,
    /// What the store does behind it (log, flushes, accounts), per payment.
    pub store_behind_us: f64,
    /// Records of the replica; each: a byte.
    pub record: Linear,
    /// Processor time of a sync.
    pub sync_us: f64,
    /// How long a sync takes.
    pub sync_wait_us: f64,
    /// A message over QUIC on loopback by bytes, both ends together, when it is alone.
    pub message: Curve,
    /// The same among many: threads are awake, acknowledgements and packets shared.
    pub message_among_many: Curve,
    /// A certified block at a client, certificate aside; each: a payment in it.
    pub client: Linear,
    /// Waking a thread that waits for a channel.
    pub wake_us: f64,
    /// How many times as long a thread that has slept takes for the next thing, as its caches are cold.
    pub cold: f64,
}

/// What every version of the file has.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Why costs cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CostsError {
    /// The file.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Its content.
    #[error("{}: {what}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl Costs {
    /// The version written.
    pub const VERSION: u32 = 2;

    /// Reads costs that a calibration wrote.
    pub fn read(path: &Path) -> Result<Self, CostsError> {
        let file = |source| CostsError::File { path: path.to_owned(), source };
        let content = |what: String| CostsError::Content { path: path.to_owned(), what };
        let text = std::fs::read_to_string(path).map_err(file)?;
        // first, as another version may have other keys
        let Version { version } = toml::from_str(&text).map_err(|error| content(error.to_string()))?;
        if version != Self::VERSION {
            return Err(content(format!("version {version}, this program knows {}", Self::VERSION)));
        }
        let costs: Self = toml::from_str(&text).map_err(|error| content(error.to_string()))?;
        let curves =
            [("verify", &costs.verify), ("message", &costs.message), ("message_among_many", &costs.message_among_many)];
        for (name, curve) in curves {
            if curve.points.is_empty() || !curve.points.is_sorted_by(|a, b| a.0 < b.0) {
                return Err(content(format!("{name}: points must be ascending, at least one")));
            }
        }
        Ok(costs)
    }

    /// Writes them.
    pub fn write(&self, path: &Path) -> Result<(), CostsError> {
        let text = toml::to_string(self)
            .map_err(|error| CostsError::Content { path: path.to_owned(), what: error.to_string() })?;
        std::fs::write(path, text).map_err(|source| CostsError::File { path: path.to_owned(), source })
    }

    /// Verifying a batch of so many signatures.
    pub fn verify_batch_us(&self, signatures: f64) -> f64 {
        signatures * self.verify.at(signatures)
    }

    /// One end of a message of so many bytes. `is_alone`: whether the network thread had nothing else to do.
    pub fn message_end_us(&self, bytes: f64, is_alone: bool) -> f64 {
        let curve = if is_alone { &self.message } else { &self.message_among_many };
        curve.proportional(bytes) / 2.0
    }

    /// Costs that are easy to reckon with, for tests.
    #[doc(hidden)]
    pub fn round_numbers() -> Self {
        let linear = |fixed_us, each_us| Linear { fixed_us, each_us };
        Self {
            version: Self::VERSION,
            cpu_model: "made up".to_owned(),
            cores: 2,
            commit: "none".to_owned(),
            verify: Curve { points: vec![(1.0, 50.0), (64.0, 20.0), (512.0, 12.0)] },
            sign_us: 20.0,
            hash_byte_us: 0.001,
            check: linear(2.0, 1.0),
            admit: linear(2.0, 1.0),
            core: linear(3.0, 0.5),
            execute: linear(10.0, 2.0),
            store: linear(20.0, 1.0),
            store_behind_us: 1.0,
            record: linear(10.0, 0.001),
            sync_us: 20.0,
            sync_wait_us: 200.0,
            message: Curve { points: vec![(128.0, 20.0), (65_536.0, 200.0)] },
            message_among_many: Curve { points: vec![(128.0, 10.0), (65_536.0, 190.0)] },
            client: linear(5.0, 1.0),
            wake_us: 3.0,
            cold: 1.25,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_linear_between_their_points() {
        let curve = Curve { points: vec![(1.0, 10.0), (3.0, 20.0), (5.0, 10.0)] };
        assert_eq!([0.5, 1.0, 2.0, 3.0, 4.0, 9.0].map(|x| curve.at(x)), [10.0, 10.0, 15.0, 20.0, 15.0, 10.0]);
        assert_eq!(curve.proportional(10.0), 20.0);
        assert_eq!(curve.proportional(2.0), 15.0);
    }

    #[test]
    fn a_line_meets_both_measurements() {
        let line = Linear::through((10.0, 25.0), (100.0, 205.0));
        assert_eq!((line.of(10.0), line.of(100.0)), (25.0, 205.0));
        assert_eq!(Linear::through((1.0, 5.0), (2.0, 4.0)).each_us, 0.0);
    }

    #[test]
    fn costs_are_what_was_written() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("costs.toml");
        let costs = Costs::round_numbers();
        costs.write(&path).expect("written");
        assert_eq!(Costs::read(&path).expect("read"), costs);
        let text = std::fs::read_to_string(&path).expect("text").replace("version = 2", "version = 9");
        let text = text.replace("cold = ", "warm = ");
        std::fs::write(&path, text).expect("written");
        assert!(Costs::read(&path).unwrap_err().to_string().contains("version 9"));
    }
}
