//! Disks of nodes: sized, filled, emptied, wiped.
//!
//! A sized disk is a tmpfs at the place of the node's store, mounted before the node starts and seen by containers as
//! well; mounting needs root. What it holds is moved into the run directory before it is taken away, so that the
//! verdict reads the same stores as ever. Nothing that this module mounts outlives `testbed down --all`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use shardpay_run::{RunDir, Spec};

use crate::deploy::nodes;
use crate::failure::Failure;

/// What fills a disk; RocksDB leaves files alone that it does not know.
const FILLER: &str = "filler";
/// Written at once.
const CHUNK: usize = 64 << 10;
/// What a wiped node keeps: its key, what it is told, and what it said.
const KEPT: [&str; 5] = ["key", "config.toml", "conditions.json", "log", "series.lp"];

/// Mounts a file system of `node.disk_mb` for each node's store; nothing when the spec asks for none.
pub fn mount(dir: &RunDir, spec: &Spec, (user, group): (u32, u32)) -> Result<(), Failure> {
    if spec.node.disk_mb == 0 {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        let why = "node.disk_mb mounts a file system for each node, which only root may: run as root, or set it to 0";
        return Err(Failure::Usage(why.to_owned()));
    }
    for node in nodes(spec) {
        let place = dir.node_store(node);
        fs::create_dir_all(&place).map_err(Failure::io("a node's store"))?;
        let options = format!("size={}m,mode=0755,uid={user},gid={group}", spec.node.disk_mb);
        let target = place.display().to_string();
        system("mount", &["-t", "tmpfs", "-o", &options, "shardpay", &target]).map_err(Failure::io("mount"))?;
    }
    Ok(())
}

/// Takes away what was mounted below a run directory, and leaves its content there.
pub fn release(root: &Path) -> io::Result<()> {
    for place in mounted(root)? {
        let kept = place.with_extension("kept");
        let target = place.display().to_string();
        let _ = fs::remove_file(place.join(FILLER));
        system("cp", &["-a", &target, &kept.display().to_string()])?;
        system("umount", &[&target])?;
        fs::remove_dir(&place)?;
        fs::rename(&kept, &place)?;
    }
    Ok(())
}

/// Takes away what a testbed that is gone mounted below a run directory, with its content.
pub fn abandon(root: &Path) -> io::Result<()> {
    mounted(root)?.iter().try_for_each(|place| system("umount", &["-l", &place.display().to_string()]))
}

/// Fills the file system at `place` to the last block.
pub fn fill(place: &Path) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(place.join(FILLER))?;
    let mut chunk = CHUNK;
    while chunk > 0 {
        match file.write_all(&vec![1; chunk]) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => chunk /= 2,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Gives back what [`fill`] took.
pub fn free(place: &Path) -> io::Result<()> {
    match fs::remove_file(place.join(FILLER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes all that a node that does not run has on its disk, but what it needs to start again.
pub fn wipe(data_dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(data_dir)? {
        let entry = entry?;
        if KEPT.iter().any(|kept| entry.file_name() == *kept) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            // the directory itself may be a file system
            fs::read_dir(entry.path())?.try_for_each(|inner| remove(&inner?.path()))?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// File systems of ours below `root`.
fn mounted(root: &Path) -> io::Result<Vec<PathBuf>> {
    // where there is no such list there is nothing of ours either
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let ours = text.lines().filter_map(|line| line.strip_prefix("shardpay ")?.split(' ').next());
    // the kernel writes a space as \040
    let places = ours.map(|place| PathBuf::from(place.replace("\\040", " ")));
    Ok(places.filter(|place| place.starts_with(root)).collect())
}

fn system(program: &str, arguments: &[&str]) -> io::Result<()> {
    let output = Command::new(program).args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{program} {}: {why}", arguments.join(" "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wiped_node_keeps_what_it_starts_with() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        fs::create_dir_all(data.join("store/deep")).unwrap();
        for file in ["key", "config.toml", "genesis", "peers.json", "store/1.sst", "store/deep/x"] {
            fs::write(data.join(file), "x").unwrap();
        }
        wipe(data).unwrap();
        let mut left: Vec<_> = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["config.toml", "key", "store"]);
        assert_eq!(fs::read_dir(data.join("store")).unwrap().count(), 0);
    }

    #[test]
    fn nothing_of_ours_is_mounted_in_a_new_directory() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(mounted(dir.path()).unwrap(), Vec::<PathBuf>::new());
        release(dir.path()).unwrap();
    }
}
