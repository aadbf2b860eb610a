//! Works a run's verdict and summary out again from its raw data, and holds them against what the directory says.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use shardpay_run::{RunDir, RunError, RunRecord, Spec, SpecError, Summary, read_json};
use shardpay_testbed::verdict::{VerdictError, derive};

/// Why a run cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file of the run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Its spec.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Its raw data.
    #[error(transparent)]
    Raw(#[from] VerdictError),
}

/// A key whose value is not what the raw data give.
#[derive(Debug, Clone, PartialEq)]
pub struct Mismatch {
    /// The file.
    pub file: &'static str,
    /// Dotted, with indexes.
    pub key: String,
    /// What stands there.
    pub stands: Value,
    /// What the raw data give.
    pub derived: Value,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} is {}, the raw data give {}", self.file, self.key, self.stands, self.derived)
    }
}

/// What differs; nothing when the directory tells the truth. What the processes used (`machine`) was seen while they
/// ran and is taken as it stands; what follows from it is worked out again.
pub fn verify(dir: &Path) -> Result<Vec<Mismatch>, VerifyError> {
    let paths = RunDir::new(dir);
    let spec = Spec::load(&paths.spec(), &[])?;
    let record: RunRecord = read_json(&paths.record())?;
    let stated: Summary = read_json(&paths.summary())?;
    let derived = derive(&paths, &spec, stated.machine.clone())?;
    let mut found = Vec::new();
    differences("run.json", "spec", (&json(&record.spec), &json(&spec)), &mut found);
    differences("summary.json", "", (&read_json(&paths.summary())?, &json(&derived.summary)), &mut found);
    differences("verdict.json", "", (&read_json(&paths.verdict())?, &json(&derived.verdict)), &mut found);
    Ok(found)
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

fn differences(file: &'static str, key: &str, (stands, derived): (&Value, &Value), found: &mut Vec<Mismatch>) {
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
        _ => {
            found.push(Mismatch { file, key: key.to_owned(), stands: stands.clone(), derived: derived.clone() });
        }
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
