//! `analysis verify` over a real run, and over the same run after somebody was at it.
//!
//! The programs testbed, node, signaler and loadgen must lie beside analysis; `./shardpay test` builds all of them.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{ANALYSIS, analysis};

/// Two seconds of a few payments on one committee.
fn real_run(dir: &Path) -> PathBuf {
    let testbed = Path::new(ANALYSIS).with_file_name("testbed");
    assert!(testbed.is_file(), "{} is missing: 'cargo build --release --workspace --bins' first", testbed.display());
    let out = dir.join("run");
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/smoke.toml");
    let mut command = Command::new(testbed);
    command.arg("run").arg(spec).arg("--out").arg(&out).env("SHARDPAY_STATE_DIR", dir.join("state"));
    for set in ["committees=1", "faults=[]", "duration_s=3", "load.accounts=100", "load.rate.per_second=100"] {
        command.args(["--set", set]);
    }
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out
}

#[test]
fn a_tampered_run_does_not_verify() {
    let dir = tempfile::tempdir().expect("temp dir");
    let run = real_run(dir.path());
    let verify = || analysis(&["verify", run.to_str().unwrap()]);
    let (code, said) = verify();
    assert!(code == Some(0) && said.contains("follow from the raw data"), "{said}");

    let tampered = |file: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>, complaint: &str| {
        let path = run.join(file);
        let honest = fs::read(&path).unwrap();
        fs::write(&path, change(honest.clone())).unwrap();
        let (code, said) = verify();
        assert!(code == Some(1) && said.contains(complaint), "{file}: {code:?} {said}");
        fs::write(&path, honest).unwrap();
    };
    let replace = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains(from), "{from} in {text}");
            text.replace(from, to).into_bytes()
        }
    };
    tampered(
        "summary.json",
        &replace("\"unresolved\": 0", "\"unresolved\": 5"),
        "unresolved is 5, the raw data give 0",
    );
    tampered("verdict.json", &replace("\"failures\": 0", "\"failures\": 1"), "failures is 1, the raw data give 0");
    tampered("run.json", &replace("\"durability\": \"fsync\"", "\"durability\": \"os\""), "spec.durability is \"os\"");
    let one_less = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() * 9 / 10);
        bytes
    };
    tampered("loadgen/0/latency.hlog", &one_less, "certified is");
    let other_txid = |mut bytes: Vec<u8>| {
        bytes[40] ^= 1;
        bytes
    };
    tampered("loadgen/0/acks.bin", &other_txid, "verdict_passed is true, the raw data give false");
    assert_eq!(verify().0, Some(0), "all is as it was");
}
