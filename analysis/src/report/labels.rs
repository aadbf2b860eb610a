//! Short names for points: what they differ in, and nothing they share.

use std::collections::BTreeMap;

use serde_json::Value;
use shardpay_run::Spec;

use crate::runs::without_chance;

/// Keys that follow from others, or change nothing that is measured; they name a point only when nothing else does.
const MINOR: [&str; 5] = ["load.accounts", "load.max_in_flight", "duration_s", "warmup_s", "limits"];

/// A name per spec. The size of the deployment always stands in it when the specs differ in it.
pub(crate) fn short(specs: &[&Spec]) -> Vec<String> {
    let keys: Vec<BTreeMap<String, String>> = specs.iter().map(|spec| parts(spec)).collect();
    let differs = |key: &String| keys.iter().any(|parts| parts.get(key) != keys[0].get(key));
    let minor = |key: &str| MINOR.iter().any(|minor| key == *minor || key.starts_with(&format!("{minor}.")));
    let all: std::collections::BTreeSet<&String> = keys.iter().flat_map(BTreeMap::keys).collect();
    let (small, main): (Vec<&String>, Vec<&String>) =
        all.into_iter().filter(|key| differs(key)).partition(|k| minor(k));
    let named = |wanted: &[&String]| -> Vec<String> {
        let name = |parts: &BTreeMap<String, String>| {
            wanted.iter().filter_map(|key| parts.get(*key)).cloned().collect::<Vec<_>>().join(", ")
        };
        keys.iter().map(name).collect()
    };
    let plain = named(&main);
    let mut unique = plain.clone();
    unique.sort();
    unique.dedup();
    let names = if unique.len() == plain.len() { plain } else { named(&[main, small].concat()) };
    let whole = |(name, parts): (String, &BTreeMap<String, String>)| {
        if name.is_empty() { parts.get("0size").cloned().unwrap_or_default() } else { name }
    };
    names.into_iter().zip(&keys).map(whole).collect()
}

/// What a spec says, by key, each in words; the sizes first.
fn parts(spec: &Spec) -> BTreeMap<String, String> {
    let mut json = serde_json::to_value(without_chance(spec)).unwrap_or_default();
    let mut parts = BTreeMap::new();
    parts.insert("0size".to_owned(), format!("{} × {}", spec.committees, spec.nodes_per_committee));
    parts.insert("1rate".to_owned(), crate::runs::rate_label(&spec.load.rate));
    if !spec.faults.is_empty() {
        let faults = json.get("faults").map(Value::to_string).unwrap_or_default();
        parts.insert("2faults".to_owned(), "faults".to_owned());
        parts.insert("limits.faults".to_owned(), format!("faults {faults}"));
    }
    if let Some(object) = json.as_object_mut() {
        for key in ["name", "committees", "nodes_per_committee", "faults"] {
            object.remove(key);
        }
    }
    if let Some(load) = json.get_mut("load").and_then(Value::as_object_mut) {
        load.remove("rate");
        load.remove("seed");
    }
    flatten(&json, "", &mut parts);
    parts
}

fn flatten(value: &Value, key: &str, parts: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(value, &key, parts);
            }
        }
        Value::Null => {}
        value => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let last = key.rsplit('.').next().unwrap_or(key).replace('_', " ");
            parts.insert(key.to_owned(), format!("{last} {text}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(overrides: &[&str]) -> Spec {
        let text = "name = \"x\"\ncommittees = 2\nnodes_per_committee = 4\nduration_s = 4\n";
        let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_owned()).collect();
        Spec::parse("x", text, &overrides).expect("a spec")
    }

    fn names(specs: &[&[&str]]) -> Vec<String> {
        let specs: Vec<Spec> = specs.iter().map(|overrides| spec(overrides)).collect();
        short(&specs.iter().collect::<Vec<_>>())
    }

    #[test]
    fn points_are_named_by_what_they_differ_in() {
        assert_eq!(names(&[&[]]), ["2 × 4"]);
        assert_eq!(names(&[&[], &["load.rate={kind=\"poisson\",per_second=500}"]]), ["2,000/s", "500/s"]);
        let grown: [&[&str]; 2] = [&["committees=1", "load.accounts=100"], &["committees=3", "load.accounts=300"]];
        assert_eq!(names(&grown), ["1 × 4", "3 × 4"], "accounts follow");
        assert_eq!(names(&[&["load.cross=0.5"], &["load.cross=0.25"]]), ["cross 0.5", "cross 0.25"]);
        assert_eq!(names(&[&["load.accounts=100"], &["load.accounts=200"]]), ["accounts 100", "accounts 200"]);
        assert_eq!(names(&[&["durability=\"os\""], &[]]), ["durability os", "durability fsync"]);
    }
}
