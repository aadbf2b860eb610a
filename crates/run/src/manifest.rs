//! `manifest.json`: the SHA-256 of every file that a run left behind, and what was seen of the machine.
//!
//! Guarantees: written when all servers have stopped, before the verdict; a file that is changed, cut, removed or added
//! below the servers' directories afterwards is found by [`Manifest::differences`]. What is worked out from the files
//! (`verdict.json`, `summary.json`) and what is written later is not in it, nor are RocksDB's own logs and lock, which
//! hold no data. Whoever can write the manifest anew can hide a change; its own digest, kept elsewhere, shows that.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::dir::{RunDir, RunError, read_json, write_json};
use crate::summary::MachineUse;

/// Worked out from the others, or written after them.
const NOT_RAW: [&str; 4] = ["verdict.json", "summary.json", "manifest.json", "stores.json"];
/// Where every file belongs to a server of the run.
const SERVERS: [&str; 3] = ["nodes/", "loadgen/", "signaler/"];

/// What a run left behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of these keys.
    pub version: u32,
    /// What the processes used, as it was seen; `summary.json` repeats it.
    pub machine: MachineUse,
    /// SHA-256 by path, which is relative and has `/` between its parts.
    pub files: BTreeMap<String, String>,
}

/// A file that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDifference {
    /// Its path in the run directory.
    pub path: String,
    /// What the manifest says; `None` for a file that was not there.
    pub stands: Option<String>,
    /// What it is; `None` when it is gone.
    pub is: Option<String>,
}

impl Manifest {
    /// Version of the keys described in `docs/RUNS.md`.
    pub const VERSION: u32 = 1;

    /// Looks at all files of a run.
    pub fn of(dir: &RunDir, machine: MachineUse) -> Result<Self, RunError> {
        let mut files = BTreeMap::new();
        hash_all(dir.root(), "", &mut files)?;
        Ok(Self { version: Self::VERSION, machine, files })
    }

    /// Reads it.
    pub fn read(dir: &RunDir) -> Result<Self, RunError> {
        read_json(&dir.manifest())
    }

    /// Writes it.
    pub fn write(&self, dir: &RunDir) -> Result<(), RunError> {
        write_json(&dir.manifest(), self)
    }

    /// What changed since; files below one of the directories `gone` may be missing.
    pub fn differences(&self, dir: &RunDir, gone: &[String]) -> Result<Vec<FileDifference>, RunError> {
        let mut now = BTreeMap::new();
        hash_all(dir.root(), "", &mut now)?;
        let dropped = |path: &str| gone.iter().any(|gone| path.starts_with(&format!("{gone}/")));
        let mut found = Vec::new();
        for (path, stands) in self.files.iter().filter(|(path, _)| !dropped(path)) {
            let is = now.get(path);
            if is != Some(stands) {
                found.push(FileDifference { path: path.clone(), stands: Some(stands.clone()), is: is.cloned() });
            }
        }
        let of_a_server = |path: &str| SERVERS.iter().any(|server| path.starts_with(server));
        let new = now.into_iter().filter(|(path, _)| !self.files.contains_key(path) && of_a_server(path));
        found.extend(new.map(|(path, is)| FileDifference { path, stands: None, is: Some(is) }));
        Ok(found)
    }
}

/// SHA-256 of a file, in hexadecimal.
pub fn file_digest(path: &Path) -> Result<String, RunError> {
    let mut file = File::open(path).map_err(RunError::io(path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).map_err(RunError::io(path))? {
            0 => return Ok(hex::encode(hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// Regular files below `prefix`, by path.
fn hash_all(root: &Path, prefix: &str, files: &mut BTreeMap<String, String>) -> Result<(), RunError> {
    let dir = root.join(prefix);
    for entry in fs::read_dir(&dir).map_err(RunError::io(&dir))? {
        let entry = entry.map_err(RunError::io(&dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().map_err(RunError::io(&dir))?;
        if kind.is_dir() {
            hash_all(root, &path, files)?;
        } else if kind.is_file() && !NOT_RAW.contains(&path.as_str()) && !is_stores_log(&path, &name) {
            files.insert(path, file_digest(&entry.path())?);
        }
    }
    Ok(())
}

/// What RocksDB writes for people, also when a store is only read.
fn is_stores_log(path: &str, name: &str) -> bool {
    path.contains("/store/") && (name == "LOCK" || name == "LOG" || name.starts_with("LOG.old"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> (tempfile::TempDir, RunDir, Manifest) {
        let temp = tempfile::tempdir().expect("a directory");
        for (path, text) in [
            ("spec.toml", "a"),
            ("nodes/0-0/store/000004.log", "b"),
            ("nodes/0-0/store/LOG", "c"),
            ("nodes/0-1/store/CURRENT", "d"),
            ("summary.json", "e"),
        ] {
            let path = temp.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        let dir = RunDir::new(temp.path());
        let manifest = Manifest::of(&dir, MachineUse::default()).expect("made");
        manifest.write(&dir).expect("written");
        (temp, dir, manifest)
    }

    #[test]
    fn raw_files_are_in_it_and_nothing_else() {
        let (_temp, dir, manifest) = run();
        let paths: Vec<&str> = manifest.files.keys().map(String::as_str).collect();
        assert_eq!(paths, ["nodes/0-0/store/000004.log", "nodes/0-1/store/CURRENT", "spec.toml"]);
        // SHA-256 of "a"
        assert!(manifest.files["spec.toml"].starts_with("ca978112ca1bbdca"));
        assert_eq!(Manifest::read(&dir).expect("read"), manifest);
        assert_eq!(manifest.differences(&dir, &[]).expect("compared"), []);
    }

    #[test]
    fn a_file_changed_removed_or_added_is_found() {
        let (temp, dir, manifest) = run();
        fs::write(temp.path().join("spec.toml"), "A").expect("written");
        fs::remove_dir_all(temp.path().join("nodes/0-1/store")).expect("removed");
        fs::write(temp.path().join("nodes/0-0/more"), "x").expect("written");
        fs::write(temp.path().join("notes.txt"), "of no server").expect("written");
        let found = |gone: &[String]| -> Vec<String> {
            manifest.differences(&dir, gone).expect("compared").into_iter().map(|found| found.path).collect()
        };
        assert_eq!(found(&[]), ["nodes/0-1/store/CURRENT", "spec.toml", "nodes/0-0/more"]);
        assert_eq!(found(&["nodes/0-1/store".to_owned()]), ["spec.toml", "nodes/0-0/more"], "noted as dropped");
    }
}
