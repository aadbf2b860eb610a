//! `analysis verify` over a real run, and over the same run after somebody was at it.
//!
//! The programs testbed, node, signaler and loadgen must lie beside analysis; `./shardpay test` builds all of them.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{ANALYSIS, analysis};
use shardpay_run::{MachineUse, Manifest, RunDir, read_json};

/// Three seconds of a few payments on one committee.
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

/// Files below a directory, relative to it.
fn files(root: &Path, below: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(below).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            files(root, &entry, found);
        } else if entry.is_file() {
            found.push(entry.strip_prefix(root).expect("below it").to_owned());
        }
    }
}

/// RocksDB's logs for people and its lock, which hold no data.
fn is_stores_log(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.components().any(|part| part.as_os_str() == "store") && (name == "LOCK" || name.starts_with("LOG"))
}

struct Tampered<'a> {
    run: &'a Path,
}

impl Tampered<'_> {
    fn verify(&self) -> (Option<i32>, String) {
        analysis(&["verify", self.run.to_str().unwrap()])
    }

    /// Changes a file, asks, and puts it back.
    fn says(&self, file: &Path, change: &dyn Fn(Vec<u8>) -> Vec<u8>) -> String {
        let path = self.run.join(file);
        let honest = fs::read(&path).unwrap();
        let changed = change(honest.clone());
        assert_ne!(changed, honest, "{}: nothing was changed", file.display());
        fs::write(&path, changed).unwrap();
        let (code, said) = self.verify();
        fs::write(&path, honest).unwrap();
        assert_eq!(code, Some(1), "{} was changed: {said}", file.display());
        said
    }

    /// The same, and a new manifest, as one who knows of it would write.
    fn says_with_new_manifest(&self, file: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>) -> String {
        let dir = RunDir::new(self.run);
        let honest = fs::read(dir.manifest()).unwrap();
        let path = self.run.join(file);
        let original = fs::read(&path).unwrap();
        fs::write(&path, change(original.clone())).unwrap();
        let machine: MachineUse =
            serde_json::from_value(read_json::<serde_json::Value>(&dir.summary()).unwrap()["machine"].clone()).unwrap();
        Manifest::of(&dir, machine).unwrap().write(&dir).unwrap();
        let (code, said) = self.verify();
        fs::write(&path, original).unwrap();
        fs::write(dir.manifest(), honest).unwrap();
        assert_eq!(code, Some(1), "{file} was changed: {said}");
        said
    }
}

fn flip_a_byte(mut bytes: Vec<u8>) -> Vec<u8> {
    match bytes.len() {
        0 => bytes.push(b' '),
        length => bytes[length / 2] ^= 1,
    }
    bytes
}

fn replace(from: &'static str, to: &'static str) -> impl Fn(Vec<u8>) -> Vec<u8> {
    move |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains(from), "{from} in {text}");
        text.replacen(from, to, 1).into_bytes()
    }
}

/// The first number behind a key, one digit of which becomes another.
fn other_number(key: &'static str) -> impl Fn(Vec<u8>) -> Vec<u8> {
    move |bytes| {
        let text = String::from_utf8(bytes).unwrap();
        let start = text.find(key).expect("the key") + key.len();
        let digit = start + text[start..].find(|c: char| c.is_ascii_digit()).expect("a number");
        let other = if text.as_bytes()[digit] == b'7' { "8" } else { "7" };
        format!("{}{other}{}", &text[..digit], &text[digit + 1..]).into_bytes()
    }
}

#[test]
fn a_run_that_was_tampered_with_does_not_verify() {
    let dir = tempfile::tempdir().expect("temp dir");
    let run = real_run(dir.path());
    let run = Tampered { run: &run };
    let (code, said) = run.verify();
    assert!(code == Some(0) && said.contains("follow from the raw data"), "{said}");
    let digest = said.trim().rsplit(' ').next().unwrap_or_default().to_owned();
    every_file(&run);
    numbers(&run);
    who_writes_a_new_manifest(&run);

    let path = run.run.to_str().unwrap();
    assert_eq!(analysis(&["verify", path, "--manifest", &digest]).0, Some(0));
    let (code, said) = analysis(&["verify", path, "--manifest", &"0".repeat(64)]);
    assert!(code == Some(1) && said.contains("not 0000"), "{said}");
    fs::write(run.run.join("nodes/0-0/more"), "x").unwrap();
    let (code, said) = run.verify();
    assert!(code == Some(1) && said.contains("nodes/0-0/more"), "an added file: {said}");
    fs::remove_file(run.run.join("nodes/0-0/more")).unwrap();
    assert_eq!(run.verify().0, Some(0), "all is as it was");
    fs::remove_file(run.run.join("manifest.json")).unwrap();
    assert_eq!(run.verify().0, Some(2), "without its manifest it is no finished run");
}

/// One bit in the middle of each file, and each file cut by its last byte.
fn every_file(run: &Tampered<'_>) {
    let mut all = Vec::new();
    files(run.run, run.run, &mut all);
    all.retain(|file| !is_stores_log(file));
    let names: Vec<String> = all.iter().map(|file| file.display().to_string()).collect();
    for known in [
        "spec.toml",
        "run.json",
        "genesis.plan",
        "resources.csv",
        "seen.json",
        "verdict.json",
        "summary.json",
        "manifest.json",
        "nodes/0-3/config.toml",
        "nodes/0-3/series.lp",
        "loadgen/0/result.json",
        "loadgen/0/latency.hlog",
        "loadgen/0/acks.bin",
        "loadgen/0/series.lp",
        "nodes/0-3/store/CURRENT",
    ] {
        assert!(names.iter().any(|name| name == known), "{known} in {names:?}");
    }
    for file in &all {
        let said = run.says(file, &flip_a_byte);
        let name = file.display().to_string();
        let named = match name.as_str() {
            // what differs in these may be told as what follows from the others
            "verdict.json" | "summary.json" => true,
            "manifest.json" => said.contains("manifest"),
            _ => said.contains(&name),
        };
        assert!(named, "{name} is named: {said}");
    }
}

/// What stands in the files that are worked out.
fn numbers(run: &Tampered<'_>) {
    for (file, key) in [
        ("summary.json", "\"p99\""),
        ("summary.json", "\"per_second\""),
        ("summary.json", "\"unresolved\""),
        ("summary.json", "\"cpu_us_per_payment\""),
        ("summary.json", "\"store_bytes\""),
        ("summary.json", "\"node_memory_bytes_max\""),
        ("summary.json", "\"cut_s\""),
        ("verdict.json", "\"failures\""),
        ("verdict.json", "\"offered\""),
    ] {
        let said = run.says(Path::new(file), &other_number(key));
        assert!(said.contains(key.trim_matches('"')), "{file}, {key}: {said}");
    }
}

/// The data still have to agree with each other.
fn who_writes_a_new_manifest(run: &Tampered<'_>) {
    let says = |file: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>, complaint: &str| {
        let said = run.says_with_new_manifest(file, change);
        assert!(!said.contains("SHA-256"), "the manifest is new: {said}");
        assert!(said.contains(complaint), "{file}: {said}");
    };
    says("run.json", &replace("\"durability\": \"fsync\"", "\"durability\": \"os\""), "spec.durability is \"os\"");
    let other_txid = |mut bytes: Vec<u8>| {
        bytes[40] ^= 1;
        bytes
    };
    says("loadgen/0/acks.bin", &other_txid, "verdict_passed is true, the raw data give false");
    let one_ack_less = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() - 47);
        bytes
    };
    says("loadgen/0/acks.bin", &one_ack_less, "latencies of committee 0, debits is");
    let last_interval_gone = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        (lines[..lines.len() - 1].join("\n") + "\n").into_bytes()
    };
    says("loadgen/0/latency.hlog", &last_interval_gone, "latencies of committee 0, debits is");
    says("loadgen/0/result.json", &other_number("\"offered\""), "offered");
    says("genesis.plan", &flip_a_byte, "raw");
    says("seen.json", &replace("[]", "[\"something\"]"), "verdict_passed is true, the raw data give false");
    // ten times the processor time that was used
    let machine = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        let start = text.find("\"node\":").expect("the nodes' time") + "\"node\": ".len();
        let end = start + text[start..].find(|c: char| !c.is_ascii_digit()).expect("an end");
        format!("{}{}0{}", &text[..start], &text[start..end], &text[end..]).into_bytes()
    };
    says("summary.json", &machine, "machine.cpu_us.node is");
}
