//! From text to a spec: the file's keys, then each `--set`, then the checks.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue};

use super::backends::Unsupported;
use super::check::Problem;
use super::sweep::refuse_tables;
use super::{Fault, Spec};

/// Largest spec file.
const SPEC_BYTES_MAX: u64 = 1 << 20;

/// Why a spec is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A value in the file.
    #[error("{origin}:{line}: {}{why}", at_key(key))]
    InFile {
        /// The file's name.
        origin: String,
        /// From 1.
        line: usize,
        /// The dotted key; empty when the text is no TOML.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// A value given as `--set`, or one that does not go with it.
    #[error("{origin}: {}{why}", at_key(key))]
    Elsewhere {
        /// The option as it was given, or the file's name when a key is missing from it.
        origin: String,
        /// The dotted key.
        key: String,
        /// What is wrong.
        why: String,
    },
    /// A fault that the spec's back end cannot do.
    #[error("{origin}: {key}: {unsupported}")]
    Unsupported {
        /// File and line, or the option that brought it.
        origin: String,
        /// The dotted key.
        key: String,
        /// Which, and why.
        unsupported: Unsupported,
    },
}

fn at_key(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

impl Spec {
    /// Reads a spec file and applies overrides (`key=value`, dotted keys, values as in TOML; a value that
    /// is no TOML is a string).
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, SpecError> {
        Self::parse(&path.display().to_string(), &read_file(path)?, overrides)
    }

    /// The same for a text; `origin` stands in errors.
    pub fn parse(origin: &str, text: &str, overrides: &[String]) -> Result<Self, SpecError> {
        let mut table: toml::Table = toml::from_str(text).map_err(|error| in_file(origin, text, &error))?;
        refuse_tables(origin, text, &table)?;
        let mut spec: Self = toml::from_str(text).map_err(|error| in_file(origin, text, &error))?;
        if !overrides.is_empty() {
            for given in overrides {
                spec = apply(&mut table, given)?;
            }
        }
        spec.load.spread(spec.committees);
        spec.check().map_err(|problem| located(origin, text, overrides, problem))?;
        spec.supported(origin, text)?;
        Ok(spec)
    }
}

impl Spec {
    /// A fault that is done at once, as `testbed fault` is told it: its keys are those of a spec.
    pub fn fault_by_hand(action: &str, nodes: &str, more: &[String]) -> Result<Fault, SpecError> {
        let mut table = toml::Table::new();
        for (key, value) in [("action", action), ("nodes", nodes)] {
            table.insert(key.to_owned(), value.into());
        }
        table.insert("at_s".to_owned(), 0.0.into());
        for given in more {
            set_key(&mut table, given)?;
        }
        Fault::deserialize(table).map_err(|error| SpecError::Elsewhere {
            origin: "the fault".to_owned(),
            key: String::new(),
            why: error.message().to_owned(),
        })
    }

    /// The spec with this fault and no other; it is checked as one of a file is.
    pub fn with_fault(mut self, fault: Fault) -> Result<Self, SpecError> {
        self.faults = vec![fault];
        let wrong = |Problem { key, why }| {
            let key = key.trim_start_matches("faults.0.").to_owned();
            SpecError::Elsewhere { origin: "the fault".to_owned(), key, why }
        };
        self.check().map_err(wrong)?;
        self.supported("the fault", "")?;
        Ok(self)
    }

    /// Refuses a fault that the back end cannot do.
    pub(super) fn supported(&self, origin: &str, text: &str) -> Result<(), SpecError> {
        let Some((index, unsupported)) = self.unsupported() else { return Ok(()) };
        let key = format!("faults.{index}.action");
        let origin = line_of(text, &key).map_or_else(|| origin.to_owned(), |line| format!("{origin}:{line}"));
        Err(SpecError::Unsupported { origin, key, unsupported })
    }
}

/// A spec file's text.
pub(super) fn read_file(path: &Path) -> Result<String, SpecError> {
    let unreadable = |error| SpecError::Unreadable { path: path.to_owned(), error };
    if fs::metadata(path).map_err(unreadable)?.len() > SPEC_BYTES_MAX {
        return Err(unreadable(std::io::Error::other("larger than 1 MiB")));
    }
    fs::read_to_string(path).map_err(unreadable)
}

/// Puts one override into the table and reads the whole again.
fn apply(table: &mut toml::Table, given: &str) -> Result<Spec, SpecError> {
    let mut place = table.clone();
    let key = set_key(&mut place, given)?;
    let spec = Spec::deserialize(place.clone()).map_err(|error| refused(given, &key, error.message()))?;
    *table = place;
    Ok(spec)
}

fn refused(given: &str, key: &str, why: &str) -> SpecError {
    SpecError::Elsewhere { origin: format!("--set {given}"), key: key.to_owned(), why: why.to_owned() }
}

/// Puts one override into the table. Returns its key.
pub(super) fn set_key(table: &mut toml::Table, given: &str) -> Result<String, SpecError> {
    let (key, value) = given.split_once('=').ok_or_else(|| refused(given, "", "write key=value"))?;
    let (key, value) = (key.trim(), value.trim());
    let parsed = toml::from_str::<toml::Table>(&format!("value = {value}")).ok().filter(|parsed| parsed.len() == 1);
    let value = parsed.and_then(|mut parsed| parsed.remove("value"));
    let value = value.unwrap_or_else(|| toml::Value::String(value_text(given)));
    if set_value(table, key, value) {
        Ok(key.to_owned())
    } else {
        Err(refused(given, key, "only tables have keys that can be set"))
    }
}

/// Puts a value at a dotted key; false when something on the way is no table.
pub(super) fn set_value(table: &mut toml::Table, key: &str, value: toml::Value) -> bool {
    let (path, last) = key.rsplit_once('.').map_or((None, key), |(path, last)| (Some(path), last));
    let mut inner = table;
    for step in path.iter().flat_map(|path| path.split('.')) {
        let entry = inner.entry(step).or_insert_with(|| toml::Table::new().into());
        let Some(next) = entry.as_table_mut() else { return false };
        inner = next;
    }
    inner.insert(last.to_owned(), value);
    true
}

/// What stands behind the first `=`.
fn value_text(given: &str) -> String {
    given.split_once('=').map_or("", |(_, value)| value.trim()).to_owned()
}

/// A problem of the checks: where its key stands in the file, or which override brought it.
pub(super) fn located(origin: &str, text: &str, overrides: &[String], problem: Problem) -> SpecError {
    let Problem { key, why } = problem;
    let sets_it = |given: &&String| given.split_once('=').is_some_and(|(set, _)| key.starts_with(set.trim()));
    if let Some(given) = overrides.iter().rev().find(sets_it) {
        return SpecError::Elsewhere { origin: format!("--set {given}"), key, why };
    }
    match line_of(text, &key) {
        Some(line) => SpecError::InFile { origin: origin.to_owned(), line, key, why },
        None => SpecError::Elsewhere { origin: origin.to_owned(), key, why },
    }
}

/// An error of the TOML reader: its key is the one whose value it points into.
pub(super) fn in_file(origin: &str, text: &str, error: &toml::de::Error) -> SpecError {
    let why = error.message().to_owned();
    match error.span() {
        Some(span) => SpecError::InFile {
            origin: origin.to_owned(),
            line: line_at(text, span.start),
            key: key_at(text, span.start),
            why,
        },
        None => SpecError::Elsewhere { origin: origin.to_owned(), key: String::new(), why },
    }
}

/// The line of a byte, from 1.
fn line_at(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|b| *b == b'\n').count() + 1
}

/// The line of a dotted key, or of the innermost table around it that the file has.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    let steps: Vec<String> = key.split('.').map(str::to_owned).collect();
    line_of_path(text, &steps).map(|(line, _)| line)
}

/// The same for a path of names and indexes, with the number of its steps that the file has.
pub(super) fn line_of_path(text: &str, steps: &[String]) -> Option<(usize, usize)> {
    let table = DeTable::parse(text).ok()?;
    let mut found = None;
    let mut place: Option<&DeValue<'_>> = None;
    for (depth, step) in steps.iter().enumerate() {
        let next = match place {
            None => table.get_ref().get(step.as_str()),
            Some(DeValue::Table(inner)) => inner.get(step.as_str()),
            Some(DeValue::Array(items)) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
            Some(_) => None,
        };
        let Some(next) = next else { break };
        found = Some((line_at(text, next.span().start), depth + 1));
        place = Some(next.get_ref());
    }
    found
}

/// The dotted key whose name or value holds a byte of the text; of a text that is no TOML, what stands before
/// the `=` of its line. Empty when there is none.
fn key_at(text: &str, byte: usize) -> String {
    fn inside(table: &DeTable<'_>, byte: usize, path: &mut Vec<String>) {
        for (name, value) in table {
            if name.span().contains(&byte) || value.span().contains(&byte) || holds(value.get_ref(), byte) {
                path.push(name.get_ref().to_string());
                within(value.get_ref(), byte, path);
                return;
            }
        }
    }
    fn within(value: &DeValue<'_>, byte: usize, path: &mut Vec<String>) {
        match value {
            DeValue::Table(inner) => inside(inner, byte, path),
            DeValue::Array(items) => {
                let found = items
                    .iter()
                    .enumerate()
                    .find(|(_, item)| item.span().contains(&byte) || holds(item.get_ref(), byte));
                if let Some((index, item)) = found {
                    path.push(index.to_string());
                    within(item.get_ref(), byte, path);
                }
            }
            _ => {}
        }
    }
    /// Whether a key further down holds the byte: a table's own span is its header only.
    fn holds(value: &DeValue<'_>, byte: usize) -> bool {
        match value {
            DeValue::Table(inner) => inner.iter().any(|(name, value)| {
                name.span().contains(&byte) || value.span().contains(&byte) || holds(value.get_ref(), byte)
            }),
            DeValue::Array(items) => {
                items.iter().any(|item| item.span().contains(&byte) || holds(item.get_ref(), byte))
            }
            _ => false,
        }
    }
    let Ok(table) = DeTable::parse(text) else {
        let line = text.lines().nth(line_at(text, byte) - 1).unwrap_or_default();
        return line.split_once('=').map_or("", |(key, _)| key.trim()).to_owned();
    };
    let mut path = Vec::new();
    inside(table.get_ref(), byte, &mut path);
    path.join(".")
}
