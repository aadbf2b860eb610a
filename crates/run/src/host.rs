//! `run.json`: what a run was made with and on, so that it can be repeated and compared.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::spec::Spec;

/// The facts of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Version of the run directory's layout.
    pub version: u32,
    /// When it started, in microseconds since the Unix epoch.
    pub started_us: u64,
    /// The spec as it was carried out.
    pub spec: Spec,
    /// The source it was built from.
    pub git: GitState,
    /// The machine.
    pub host: HostFacts,
}

impl RunRecord {
    /// The layout described in `docs/RUNS.md`.
    pub const VERSION: u32 = 1;
}

/// The commit of a working tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitState {
    /// The commit; `unknown` outside of a repository.
    pub commit: String,
    /// Whether files differ from it.
    pub modified: bool,
}

impl GitState {
    /// Asks git about the tree that holds `dir`.
    pub fn read(dir: &Path) -> Self {
        let ask = |arguments: &[&str]| {
            let output = Command::new("git").arg("-C").arg(dir).args(arguments).output().ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        match ask(&["rev-parse", "HEAD"]) {
            Some(commit) => {
                let changes = ask(&["status", "--porcelain", "--untracked-files=no"]);
                Self { commit, modified: changes.is_none_or(|changes| !changes.is_empty()) }
            }
            None => Self { commit: "unknown".to_owned(), modified: true },
        }
    }
}

/// The machine, from `/proc`; what cannot be found out is `unknown` or 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The processor's name.
    pub cpu_model: String,
    /// Cores this process may use.
    pub cores: usize,
    /// Kernel and its release.
    pub kernel: String,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// Type of the file system that holds the run directory.
    pub file_system: String,
}

impl HostFacts {
    /// Looks at this machine and at the file system under `dir`.
    pub fn read(dir: &Path) -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mounts = file("/proc/self/mounts");
        let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        Self {
            cpu_model: after(&file("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: format!("{} {}", file("/proc/sys/kernel/ostype").trim(), file("/proc/sys/kernel/osrelease").trim()),
            memory_bytes: after(&file("/proc/meminfo"), "MemTotal").and_then(|text| kibibytes(&text)).unwrap_or(0),
            file_system: file_system(&mounts, &dir).unwrap_or_else(unknown),
        }
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The value of the first line `key : value`.
fn after(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// `"1024 kB"` in bytes.
fn kibibytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// The type of the innermost mount that holds `dir`.
fn file_system(mounts: &str, dir: &Path) -> Option<String> {
    let mount = |line: &str| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    let holding = mounts.lines().filter_map(mount).filter(|(point, _)| dir.starts_with(point));
    holding.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "overlay / overlay rw 0 0\ntmpfs /work tmpfs rw 0 0\next4 /work/runs ext4 rw 0 0\n";
        let of = |dir: &str| file_system(mounts, Path::new(dir));
        assert_eq!(of("/work/runs/x").as_deref(), Some("ext4"));
        assert_eq!(of("/work/runsx").as_deref(), Some("tmpfs"));
        assert_eq!(of("/home").as_deref(), Some("overlay"));
        assert_eq!(kibibytes("16 kB"), Some(16_384));
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        let facts = HostFacts::read(Path::new("."));
        assert!(facts.cores > 0 && facts.memory_bytes > 1 << 20, "{facts:?}");
        assert!(facts.kernel.starts_with("Linux "), "{facts:?}");
        assert_eq!(GitState::read(Path::new("/")).commit, "unknown");
    }
}
