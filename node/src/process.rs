//! What this process uses, from `/proc/self`.

use std::io;

use shardpay_client::signaler::ProcessFigures;

/// Figures since the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Processor time, user and system, in microseconds.
    pub cpu_us: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Bytes read from disk.
    pub read_bytes: u64,
    /// Bytes written to disk.
    pub written_bytes: u64,
}

impl Used {
    /// The part that the signaler is told.
    pub fn for_signaler(self) -> ProcessFigures {
        ProcessFigures { pid: std::process::id(), cpu_us: self.cpu_us, rss_bytes: self.rss_bytes }
    }
}

/// Reads the figures.
pub fn used() -> io::Result<Used> {
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu_us = clock.tv_sec as u64 * 1_000_000 + clock.tv_nsec as u64 / 1_000;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let rss_bytes = figure(&status, "VmRSS:").saturating_mul(1_024);
    // not readable in some containers: then it stays zero
    let disk = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let (read_bytes, written_bytes) = (figure(&disk, "read_bytes:"), figure(&disk, "write_bytes:"));
    Ok(Used { cpu_us, rss_bytes, read_bytes, written_bytes })
}

/// The number after `name` at the start of a line; zero when there is none.
fn figure(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_something() {
        let used = used().expect("procfs");
        assert!(used.rss_bytes > 1 << 18 && used.cpu_us > 0);
    }
}
