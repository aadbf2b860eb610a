//! What the tests with real processes share.
#![allow(dead_code)] // each test file uses a part of it

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) const TESTBED: &str = env!("CARGO_BIN_EXE_testbed");

pub(crate) fn experiments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments")
}

/// The testbed with a registry of its own, so that tests do not see what else runs on the machine.
pub(crate) fn testbed(dir: &Path) -> Command {
    let programs = Path::new(TESTBED).parent().expect("a directory");
    for name in ["node", "signaler", "loadgen"] {
        let path = programs.join(name);
        assert!(path.is_file(), "{} is missing: 'cargo build --release --workspace --bins' first", path.display());
    }
    let mut command = Command::new(TESTBED);
    command.env("SHARDPAY_STATE_DIR", dir.join("state")).current_dir(dir).stdin(Stdio::null());
    command
}

pub(crate) fn show(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
