//! Runs the wallet as a user would: a process, its output, its exit code.
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A directory with a passphrase file and no keystore yet.
pub(crate) struct Home {
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

impl Home {
    pub(crate) fn new() -> Self {
        let home = Self { dir: tempfile::tempdir().expect("a temporary directory") };
        home.write("passphrase", &format!("{PASSPHRASE}\n"));
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.path(name), text).expect("the directory is ours");
        self.path(name)
    }

    /// A command with keystore and passphrase file, but no terminal.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wallet"));
        command.args(arguments).arg("--keystore").arg(self.path("keystore.json")).stdin(Stdio::null());
        for name in ["SHARDPAY_KEYSTORE", "SHARDPAY_SERVICE", "SHARDPAY_USER"] {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let passphrase = self.path("passphrase");
        self.command(arguments).arg("--passphrase-file").arg(passphrase).output().expect("the wallet starts")
    }

    /// What a command that succeeds prints with `--json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", shown(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Standard error of a command that ends with this exit code, and prints nothing else.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", shown(&output));
        assert!(output.stdout.is_empty(), "{}", shown(&output));
        String::from_utf8(output.stderr).expect("text")
    }
}

pub(crate) fn shown(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}
