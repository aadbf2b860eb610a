//! What happened, as a digest and, on demand, as a file.
//!
//! Every event of a run enters a SHA-256: its time, its node, its kind and a few words of its content.
//! Two runs with the same digest did the same things at the same times.

use std::fmt;
use std::io::Write;

use shardpay_crypto::Hasher;

use crate::engine::Instant;

/// Hash of all events of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceDigest(pub [u8; 32]);

/// Takes events in.
pub(crate) struct Trace {
    hasher: Hasher,
    file: Option<Box<dyn Write + Send>>,
    /// Number of events so far.
    pub events: u64,
}

impl Trace {
    /// A trace that also writes a line per event into `file`.
    pub(crate) fn new(file: Option<Box<dyn Write + Send>>) -> Self {
        Self { hasher: Hasher::new(b"shardpay/sim-trace/v1\0"), file, events: 0 }
    }

    /// Whether lines are written, so that describing an event is worth its cost.
    pub(crate) fn is_written(&self) -> bool {
        self.file.is_some()
    }

    /// An event of `kind` at node number `node` (u32::MAX: of the world) with a word of content.
    pub(crate) fn event(&mut self, now: Instant, node: u32, kind: &'static str, content: u64) {
        self.events += 1;
        let mut bytes = [0; 28];
        bytes[..8].copy_from_slice(&now.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&node.to_le_bytes());
        bytes[12..20].copy_from_slice(&content.to_le_bytes());
        let tag = kind.as_bytes();
        let len = tag.len().min(8);
        bytes[20..20 + len].copy_from_slice(&tag[..len]);
        self.hasher.update(&bytes);
    }

    /// Writes a line for people; enters no digest.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub(crate) fn line(&mut self, now: Instant, text: fmt::Arguments<'_>) {
        if let Some(file) = &mut self.file {
            writeln!(file, "{:>12.6} {text}", now.seconds()).expect("the trace file can be written");
        }
    }

    /// The digest of everything so far.
    pub(crate) fn digest(&self) -> TraceDigest {
        TraceDigest(self.hasher.clone().finish())
    }
}

impl fmt::Display for TraceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..16].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
