//! Works a run's verdict and summary out again from its raw data, and holds them against what the directory says.
//!
//! Three nets, each of which finds what the others let through: the digests of all raw files (`manifest.json`); verdict and
//! summary derived anew; and raw files held against each other where two of them tell of the same thing (acknowledgements
//! and latencies, the machine's use and its samples). Raw data that cannot be read is a mismatch, too.

mod machine;

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};
use shardpay_run::{
    AckKind, LatencyKind, LoadResult, Manifest, Rate, RunDir, RunError, RunRecord, Spec, SpecError, Summary,
    file_digest, latencies_of_run, read_acks, read_json,
};
use shardpay_testbed::stores;
use shardpay_testbed::verdict::{VerdictError, derive, figures_alone};

/// Why a run cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is no run directory, or one from before there were manifests.
    #[error("{0}; only the directory of a finished run can be verified")]
    NoRun(RunError),
}

/// A key whose value is not what the raw data give.
#[derive(Debug, Clone, PartialEq)]
pub struct Mismatch {
    /// The file, in the run directory.
    pub file: String,
    /// Dotted, with indexes; empty for the file as a whole.
    pub key: String,
    /// What stands there.
    pub stands: Value,
    /// What the raw data give.
    pub derived: Value,
}

impl Mismatch {
    fn new(file: &str, key: &str, (stands, derived): (Value, Value)) -> Self {
        Self { file: file.to_owned(), key: key.to_owned(), stands, derived }
    }

    /// Something that cannot be read or worked out.
    fn unreadable(file: &str, why: &impl std::fmt::Display) -> Self {
        Self::new(file, "", (Value::from(why.to_string()), Value::Null))
    }
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, key, stands, derived } = self;
        match (key.as_str(), stands) {
            ("", Value::String(why)) => write!(f, "{file}: {why}"),
            ("sha256", _) => write!(f, "{file}: its SHA-256 is {derived}, the manifest has {stands}"),
            _ => write!(f, "{file}: {key} is {stands}, the raw data give {derived}"),
        }
    }
}

/// What verifying found.
#[derive(Debug)]
pub struct Verified {
    /// What differs; nothing when the directory tells the truth.
    pub mismatches: Vec<Mismatch>,
    /// What could not be looked at, in words.
    pub unchecked: Vec<String>,
    /// SHA-256 of the manifest: kept elsewhere, it shows that nobody wrote a new one.
    pub manifest: String,
}

/// Verifies a run.
pub fn verify(dir: &Path) -> Result<Verified, VerifyError> {
    let paths = RunDir::new(dir);
    let manifest_digest = file_digest(&paths.manifest()).map_err(VerifyError::NoRun)?;
    let mut verified = Verified { mismatches: Vec::new(), unchecked: Vec::new(), manifest: manifest_digest };
    match Manifest::read(&paths) {
        Ok(manifest) => with_manifest(&paths, &manifest, &mut verified),
        Err(error) => verified.mismatches.push(Mismatch::unreadable("manifest.json", &error)),
    }
    if let Err(unreadable) = derived_anew(&paths, &mut verified) {
        verified.mismatches.push(*unreadable);
    }
    Ok(verified)
}

fn with_manifest(paths: &RunDir, manifest: &Manifest, verified: &mut Verified) {
    let version = (json!(manifest.version), json!(Manifest::VERSION));
    differences("manifest.json", "version", (&version.0, &version.1), &mut verified.mismatches);
    let gone = match stores::read(paths) {
        Ok(record) => record.map_or_else(Vec::new, |record| {
            record.nodes.iter().map(|dropped| format!("nodes/{}/store", dropped.node)).collect()
        }),
        Err(error) => {
            verified.mismatches.push(Mismatch::unreadable("stores.json", &error));
            Vec::new()
        }
    };
    match manifest.differences(paths, &gone) {
        Ok(found) => verified.mismatches.extend(
            found.into_iter().map(|found| Mismatch::new(&found.path, "sha256", (json!(found.stands), json!(found.is)))),
        ),
        Err(error) => verified.mismatches.push(Mismatch::unreadable("manifest.json", &error)),
    }
    match read_json::<Value>(&paths.summary()) {
        Ok(summary) => {
            let pair = (&summary["machine"], &json(&manifest.machine));
            differences("summary.json", "machine", pair, &mut verified.mismatches);
        }
        Err(error) => verified.mismatches.push(Mismatch::unreadable("summary.json", &error)),
    }
}

/// Verdict, summary and what raw files say of each other; the error is a file that cannot be read.
fn derived_anew(paths: &RunDir, verified: &mut Verified) -> Result<(), Box<Mismatch>> {
    let read = |file: &str, error: RunError| Mismatch::unreadable(file, &error);
    let spec = Spec::load(&paths.spec(), &[]).map_err(|error: SpecError| Mismatch::unreadable("spec.toml", &error))?;
    let record: RunRecord = read_json(&paths.record()).map_err(|error| read("run.json", error))?;
    let stated: Summary = read_json(&paths.summary()).map_err(|error| read("summary.json", error))?;
    let stands: Value = read_json(&paths.summary()).map_err(|error| read("summary.json", error))?;
    let verdict: Value = read_json(&paths.verdict()).map_err(|error| read("verdict.json", error))?;
    let found = &mut verified.mismatches;
    differences("run.json", "spec", (&json(&record.spec), &json(&spec)), found);
    differences("run.json", "version", (&json!(record.version), &json!(RunRecord::VERSION)), found);
    let raw = |error: VerdictError| Mismatch::unreadable("raw data", &error);
    match derive(paths, &spec, stated.machine.clone()) {
        Ok(derived) => {
            differences("summary.json", "", (&stands, &json(&derived.summary)), found);
            differences("verdict.json", "", (&verdict, &json(&derived.verdict)), found);
        }
        Err(VerdictError::Dropped) => {
            let summary = figures_alone(paths, &spec, &stated).map_err(raw)?;
            differences("summary.json", "", (&stands, &json(&summary)), found);
            differences("summary.json", "verdict_passed", (&json!(stated.verdict_passed), &verdict["passed"]), found);
            verified
                .unchecked
                .push("the stores were dropped (stores.json): the verdict is taken as it stands".to_owned());
        }
        Err(error) => return Err(raw(error).into()),
    }
    acknowledged(paths, &spec, &mut verified.mismatches).map_err(|error| read("loadgen", error))?;
    let load = LoadResult::of_run(paths, spec.load.processes).map_err(|error| read("loadgen", error))?;
    machine::check(paths, (&record, &load), &stated, &mut verified.mismatches)
}

/// Each acknowledgement has its latency: by committee and kind there are as many of one as of the other. A probe's
/// payments are acknowledged and have none.
fn acknowledged(paths: &RunDir, spec: &Spec, found: &mut Vec<Mismatch>) -> Result<(), RunError> {
    let mut counts = std::collections::BTreeMap::<(usize, bool), (u64, u64)>::new();
    for process in 0..spec.load.processes {
        for ack in read_acks(&paths.acks(process))?.acks {
            counts.entry((ack.committee.index(), ack.kind == AckKind::Credit)).or_default().0 += 1;
        }
    }
    for interval in latencies_of_run(paths, spec.load.processes)? {
        let credit = interval.tag.kind == LatencyKind::CrossCredit;
        counts.entry((interval.tag.committee.index(), credit)).or_default().1 += interval.latencies.len();
    }
    let probed = matches!(spec.load.rate, Rate::Fraction { .. });
    for ((committee, credit), (acks, latencies)) in counts {
        if acks < latencies || (!probed && acks != latencies) {
            let key = format!("latencies of committee {committee}, {}", if credit { "credits" } else { "debits" });
            found.push(Mismatch::new("loadgen/*/latency.hlog", &key, (json!(latencies), json!(acks))));
        }
    }
    Ok(())
}

fn json(plain: &impl Serialize) -> Value {
    serde_json::to_value(plain).expect("plain data has a JSON form")
}

/// Numbers written and read again are the same to within the last digits of a double.
fn alike(stands: &Value, derived: &Value) -> bool {
    match (stands.as_f64(), derived.as_f64()) {
        (Some(a), Some(b)) => a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
        _ => stands == derived,
    }
}

fn differences(file: &str, key: &str, (stands, derived): (&Value, &Value), found: &mut Vec<Mismatch>) {
    let under = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match (stands, derived) {
        (Value::Object(a), Value::Object(b)) => {
            let missing = b.keys().filter(|name| !a.contains_key(*name));
            for name in a.keys().chain(missing) {
                let of = |object: &serde_json::Map<String, Value>| object.get(name).cloned().unwrap_or(Value::Null);
                differences(file, &under(name), (&of(a), &of(b)), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, pair) in a.iter().zip(b).enumerate() {
                differences(file, &under(&index.to_string()), pair, found);
            }
        }
        _ if alike(stands, derived) => {}
        _ => found.push(Mismatch::new(file, key, (stands.clone(), derived.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_name_their_key() {
        let stands = json!({ "a": { "b": [1, 2.0, 3] }, "gone": true, "same": "x" });
        let derived = json!({ "a": { "b": [1, 2.000_000_000_000_1, 4] }, "new": 1, "same": "x" });
        let mut found = Vec::new();
        differences("summary.json", "", (&stands, &derived), &mut found);
        let keys: Vec<&str> = found.iter().map(|mismatch| mismatch.key.as_str()).collect();
        assert_eq!(keys, ["a.b.2", "gone", "new"]);
        assert_eq!(found[0].to_string(), "summary.json: a.b.2 is 3, the raw data give 4");
    }
}
