//! The protocol from another language: `docs/examples/pay.py`, written from `docs/PROTOCOL.md` alone, mints and
//! pays on a real cluster, and believes no receipt of which a bit was turned.
//!
//! Needs Python with the package aioquic: `./shardpay test` makes such an environment. Where there is none the
//! test fails and says so.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{experiments, show, testbed};
use serde_json::Value;

/// `$SHARDPAY_PYTHON`, or else the environment that `./shardpay test` made earlier.
fn python() -> PathBuf {
    let cache = || {
        let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
        let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).unwrap_or_default();
        base.join("shardpay/venv/bin/python")
    };
    let python = std::env::var_os("SHARDPAY_PYTHON").map_or_else(cache, PathBuf::from);
    let can = Command::new(&python).args(["-c", "import aioquic"]).output();
    assert!(
        can.is_ok_and(|output| output.status.success()),
        "{} is missing or has no aioquic: './shardpay test' installs both; or set SHARDPAY_PYTHON to a Python with it",
        python.display()
    );
    python
}

/// A cluster, stopped when dropped.
struct Cluster {
    dir: tempfile::TempDir,
    signaler: String,
}

impl Cluster {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut up = testbed(dir.path());
        up.arg("up").arg(experiments().join("smoke.toml")).arg("--out").arg(dir.path().join("run"));
        let output = up.args(["--set", "faults=[]"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", show(&output));
        let text = show(&output);
        let mut words = text.split_whitespace();
        let signaler = words.find(|word| word.starts_with("http://")).expect("the signaler's address").to_owned();
        Self { dir, signaler }
    }

    fn topology(&self) -> String {
        format!("{}/v1/topology", self.signaler)
    }

    fn pay(&self, scripts: &[PathBuf], topology: &str) -> Output {
        let mut command = Command::new(python());
        command.args(scripts).args(["--topology", topology]).arg("--issuer-seed");
        command.arg(self.dir.path().join("run/issuer.seed")).output().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = testbed(self.dir.path()).arg("down").output();
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn a_python_client_pays_and_checks_its_receipts() {
    let pay = script("../docs/examples/pay.py");
    python();
    let cluster = Cluster::start();

    let output = cluster.pay(std::slice::from_ref(&pay), &cluster.topology());
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, what) in lines.iter().zip(["mint", "payment"]) {
        assert_eq!((line["what"].as_str(), line["outcome"].as_str()), (Some(what), Some("applied")));
    }
    assert!(lines[0]["height"].as_u64() < lines[1]["height"].as_u64(), "{lines:?}");

    let output = cluster.pay(&[script("tests/tampered.py"), pay.clone()], &cluster.topology());
    assert_eq!(output.status.code(), Some(0), "{}", show(&output));
    let tampered = String::from_utf8_lossy(&output.stdout).matches("\"tampered\"").count();
    assert_eq!(tampered, 2, "{}", show(&output));

    // a plan with another salt is another ledger: no node answers for it, and no receipt of it is believed
    let text = topology_text(&cluster);
    let mut topology: Value = serde_json::from_str(&text).unwrap();
    let genesis = topology["genesis"].as_str().unwrap().to_owned();
    let mut plan = hex::decode(genesis).unwrap();
    plan[1 + 8 + 32] ^= 1;
    topology["genesis"] = Value::String(hex::encode(plan));
    let other = cluster.dir.path().join("other.json");
    std::fs::write(&other, topology.to_string()).unwrap();
    let output = cluster.pay(&[pay], &other.display().to_string());
    assert_eq!(output.status.code(), Some(1), "{}", show(&output));
    assert!(show(&output).contains("no welcome"), "{}", show(&output));
}

/// The topology's text, fetched by the same Python.
fn topology_text(cluster: &Cluster) -> String {
    let fetch = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())";
    let output = Command::new(python()).args(["-c", fetch, &cluster.topology()]).output().unwrap();
    assert!(output.status.success(), "{}", show(&output));
    String::from_utf8(output.stdout).unwrap()
}
