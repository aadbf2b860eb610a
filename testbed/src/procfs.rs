//! What the kernel says about a process: CPU time, memory, and the time of its start, by which a process
//! is told from a later one with the same id. Reads `/proc`, so Linux only.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// `/proc/<pid>/stat` counts time in ticks of 10 ms; `USER_HZ` is 100 on every Linux that Rust runs on.
const TICK_US: u64 = 10_000;
/// Blocks of `stat(2)`, whatever the file system's own size is.
const STAT_BLOCK_BYTES: u64 = 512;

/// Environment variable in which a process names the testbed that started it.
pub const STARTED_BY_VARIABLE: &str = "SHARDPAY_STARTED_BY";

/// A process, told from later ones with the same id by the time it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The kernel's number, also the number of its process group.
    pub pid: i32,
    /// When it started, in ticks since the machine did.
    pub started_ticks: u64,
}

/// What a process used so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time of all its threads, user and system.
    pub cpu_us: u64,
    /// Resident memory.
    pub memory_bytes: u64,
}

/// Fields of `/proc/<pid>/stat` that matter here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    cpu_ticks: u64,
    started_ticks: u64,
}

impl ProcessId {
    /// The process that has `pid` now.
    pub fn of(pid: i32) -> io::Result<Self> {
        Ok(Self { pid, started_ticks: read_stat(pid)?.started_ticks })
    }

    /// This process.
    pub fn own() -> io::Result<Self> {
        Self::of(i32::try_from(std::process::id()).map_err(io::Error::other)?)
    }

    /// What the processes that it starts carry in [`STARTED_BY_VARIABLE`].
    pub fn mark(&self) -> String {
        format!("{}.{}", self.pid, self.started_ticks)
    }

    /// The processes alive that carry its mark, as far as this user may see them.
    pub fn marked(&self) -> Vec<Self> {
        let entry = format!("{STARTED_BY_VARIABLE}={}", self.mark());
        let carries = |pid: &i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes())
        };
        let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = processes.flatten().filter_map(|process| process.file_name().to_str()?.parse().ok());
        let marked = pids.filter(carries).filter_map(|pid| Self::of(pid).ok());
        marked.filter(Self::is_alive).collect()
    }

    /// Whether it runs (or is paused): not gone, not a zombie, not another one with its number.
    pub fn is_alive(&self) -> bool {
        self.stat().is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X'))
    }

    /// Whether it was stopped by a signal and waits to go on.
    pub fn is_paused(&self) -> bool {
        self.stat().is_ok_and(|stat| stat.state == 'T')
    }

    /// What it used so far. Of a process that ended there is nothing to read.
    pub fn usage(&self) -> io::Result<Usage> {
        let cpu_us = self.stat()?.cpu_ticks * TICK_US;
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        Ok(Usage { cpu_us, memory_bytes: resident_bytes(&status) })
    }

    fn stat(&self) -> io::Result<Stat> {
        let stat = read_stat(self.pid)?;
        if stat.started_ticks == self.started_ticks { Ok(stat) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

fn read_stat(pid: i32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat: {text:?}")))
}

/// The program's name stands in parentheses and may hold anything, so fields are counted from the last one.
fn parse_stat(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        cpu_ticks: number(11)? + number(12)?,
        started_ticks: number(19)?,
    })
}

/// `VmRSS` of `/proc/<pid>/status`; a zombie has none.
fn resident_bytes(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// CPU time of a process's threads, summed over those of one name. Threads and processes that vanish while it looks
/// count nothing.
pub fn thread_usage(process: &ProcessId) -> BTreeMap<String, u64> {
    let mut used = BTreeMap::new();
    if !process.is_alive() {
        return used;
    }
    let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", process.pid)) else { return used };
    for task in tasks.flatten() {
        let Ok(text) = fs::read_to_string(task.path().join("stat")) else { continue };
        let (Some(stat), Some(name)) = (parse_stat(&text), parse_name(&text)) else { continue };
        *used.entry(name).or_default() += stat.cpu_ticks * TICK_US;
    }
    used
}

/// The name in parentheses, without what would end a field of a CSV file.
fn parse_name(text: &str) -> Option<String> {
    let name = text.get(text.find('(')? + 1..text.rfind(')')?)?;
    Some(name.replace([',', '\n'], "_"))
}

/// Bytes that the files below `dir` take on the disk. Files that vanish while it looks count nothing.
pub fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk_bytes(&entry.path()),
            Ok(meta) => meta.blocks() * STAT_BLOCK_BYTES,
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_may_hold_anything() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 70 30 0 0 20 0 9 0 4711 1000000 200";
        for name in ["node", "a b", "x) R 9 9", "((("] {
            let stat = parse_stat(&format!("42 ({name}) {rest}\n"));
            assert_eq!(stat, Some(Stat { state: 'S', cpu_ticks: 100, started_ticks: 4711 }), "{name}");
        }
        for broken in ["", "42 (node", "42 (node) S 1 2"] {
            assert_eq!(parse_stat(broken), None);
        }
    }

    #[test]
    fn this_process_is_alive_and_has_memory() {
        let own = ProcessId::own().unwrap();
        assert!(own.is_alive() && !own.is_paused());
        assert!(own.usage().unwrap().memory_bytes > 100_000);
        let other = ProcessId { started_ticks: own.started_ticks + 1, ..own };
        assert!(!other.is_alive() && other.usage().is_err());
    }

    #[test]
    fn disk_bytes_are_summed_over_directories() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(disk_bytes(dir.path()), 0);
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/b"), vec![1; 10_000]).unwrap();
        fs::write(dir.path().join("c"), vec![1; 10_000]).unwrap();
        assert!(disk_bytes(dir.path()) >= 20_000);
        assert_eq!(disk_bytes(&dir.path().join("absent")), 0);
    }
}
