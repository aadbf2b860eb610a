//! Many points from one file: `[grid]`, `[[workloads]]`, `[sweep]` and `[knee]` beside the keys of a spec.
//!
//! Guarantees: a [`SweepSpec`] that was parsed holds only valid points, no two of them alike, in an order that
//! follows from the file alone (workloads, then the grid's keys as they stand, the last one fastest). An error names
//! the line of the value that brought it, in the grid as elsewhere. A `--set` of a key of the grid fixes that key.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::Value;

use super::Spec;
use super::check::Problem;
use super::options::{KneeOptions, StoresKept, SweepOptions};
use super::parse::{SpecError, in_file, line_of, line_of_path, read_file, set_key, set_value};

/// Most points of a sweep.
const POINTS_MAX: usize = 10_000;

/// A key of the grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// Dotted.
    pub key: String,
    /// What it is set to, one after the other.
    pub values: Vec<Value>,
    /// Where it stands below `[grid]`.
    #[serde(skip)]
    path: Vec<String>,
}

/// One combination of a workload and the grid's values.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepPoint {
    /// `p00`, by its place.
    pub id: String,
    /// What tells it from the others, for people.
    pub label: String,
    /// Its workload's name.
    pub workload: Option<String>,
    /// Values of the grid's keys.
    pub values: BTreeMap<String, Value>,
    /// What is run.
    pub spec: Spec,
}

impl SweepPoint {
    /// The spec of a repeat, from 1: with a seed of its own, the same for that repeat of every point.
    pub fn repeat(&self, repeat: usize) -> Spec {
        let mut spec = self.spec.clone();
        // `check` keeps seeds below 2^63
        spec.load.seed += repeat as u64 - 1;
        spec
    }
}

/// A file of experiments.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepSpec {
    /// Of the file.
    pub name: String,
    /// How the points are carried out.
    pub options: SweepOptions,
    /// What a knee search looks for; absent without `[knee]`.
    pub knee: Option<KneeOptions>,
    /// The grid.
    pub axes: Vec<Axis>,
    /// Names of the workloads.
    pub workloads: Vec<String>,
    /// At least one.
    pub points: Vec<SweepPoint>,
    /// The file with every `--set` in it.
    pub resolved: String,
}

impl SweepSpec {
    /// Tables of a file that a single spec does not know.
    pub const TABLES: [&'static str; 4] = ["grid", "knee", "sweep", "workloads"];

    /// Reads a file, as [`Spec::load`] does.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, SpecError> {
        Self::parse(&path.display().to_string(), &read_file(path)?, overrides)
    }

    /// The same for a text; `origin` stands in errors.
    pub fn parse(origin: &str, text: &str, overrides: &[String]) -> Result<Self, SpecError> {
        let mut table: toml::Table = toml::from_str(text).map_err(|error| in_file(origin, text, &error))?;
        for given in overrides {
            forget_quoted(&mut table, given);
            set_key(&mut table, given)?;
        }
        let source = Source { origin, text, overrides };
        let mut axes = source.axes(&table)?;
        source.fix(&mut table, &mut axes)?;
        let resolved = toml::to_string(&table).expect("what was TOML is TOML");
        table.remove("grid");
        let options: SweepOptions = source.part(&mut table, "sweep")?.unwrap_or_default();
        options.check().map_err(|problem| source.located(problem))?;
        let knee: Option<KneeOptions> = source.part(&mut table, "knee")?;
        if let Some(knee) = &knee {
            knee.check().map_err(|problem| source.located(problem))?;
        }
        let workloads = source.workloads(&mut table)?;
        let left_out = source.left_out(&options, &axes)?;
        let count = axes.iter().map(|axis| axis.values.len()).product::<usize>().saturating_mul(workloads.len());
        if count > POINTS_MAX {
            return Err(source.error("grid", format!("{count} points are too many; at most {POINTS_MAX}")));
        }
        let mut points = Vec::new();
        for workload in &workloads {
            for combination in combinations(&axes) {
                let values = axes.iter().zip(&combination).map(|(axis, i)| (axis.key.clone(), axis.values[*i].clone()));
                let values: BTreeMap<String, Value> = values.collect();
                if left_out.iter().any(|out| out.iter().all(|(key, value)| alike(&values[key], value))) {
                    continue;
                }
                points.push(source.point(&table, workload, (&axes, &combination), values)?);
            }
        }
        let width = points.len().saturating_sub(1).to_string().len().max(2);
        points.iter_mut().enumerate().for_each(|(index, point)| point.id = format!("p{index:0width$}"));
        let Some(first) = points.first() else {
            return Err(source.error("sweep.leave_out", "leaves no point".to_owned()));
        };
        let name = first.spec.name.clone();
        let workloads = workloads.into_iter().filter_map(|workload| workload.name).collect();
        Ok(Self { name, options, knee, axes, workloads, points, resolved })
    }

    /// Whether the file asks for more than one run.
    pub fn is_sweep(&self) -> bool {
        self.points.len() > 1 || self.options.repeats > 1
    }

    /// Which stores stay.
    pub const fn stores(&self) -> StoresKept {
        self.options.stores
    }
}

/// A set of keys with a name; a file without workloads has one without either.
struct Workload {
    name: Option<String>,
    index: usize,
    keys: toml::Table,
}

/// All combinations of the axes' indexes, the last axis fastest.
fn combinations(axes: &[Axis]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for axis in axes {
        all = all
            .into_iter()
            .flat_map(|begun: Vec<usize>| {
                (0..axis.values.len()).map(move |index| [begun.as_slice(), &[index]].concat())
            })
            .collect();
    }
    all
}

/// Numbers are alike by what they are worth.
fn alike(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// Whether one dotted key is the other, or holds it.
fn related(a: &str, b: &str) -> bool {
    let within = |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'));
    a == b || within(a, b) || within(b, a)
}

/// Puts keys into a table. Tables are merged, but for those with a `kind`, whose keys belong together.
fn merge(table: &mut toml::Table, keys: &toml::Table) {
    for (key, value) in keys {
        match (table.get_mut(key), value) {
            (Some(Value::Table(inner)), Value::Table(more)) if !more.contains_key("kind") => merge(inner, more),
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Dotted keys and values of a table; a table with a `kind` is a value.
fn flat(table: &toml::Table, prefix: &str, out: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) if !inner.contains_key("kind") => flat(inner, &key, out),
            _ => {
                out.insert(key, value.clone());
            }
        }
    }
}

/// Where everything comes from, for errors.
struct Source<'a> {
    origin: &'a str,
    text: &'a str,
    overrides: &'a [String],
}

impl Source<'_> {
    /// An error at a key of the file, or at the `--set` that brought it.
    fn error(&self, key: &str, why: String) -> SpecError {
        self.located(Problem { key: key.to_owned(), why })
    }

    fn located(&self, problem: Problem) -> SpecError {
        super::parse::located(self.origin, self.text, self.overrides, problem)
    }

    fn at_line(&self, line: Option<usize>, problem: Problem) -> SpecError {
        let Problem { key, why } = problem;
        match line {
            Some(line) => SpecError::InFile { origin: self.origin.to_owned(), line, key, why },
            None => self.located(Problem { key, why }),
        }
    }

    /// Takes a table out and reads it.
    fn part<T: DeserializeOwned>(&self, table: &mut toml::Table, key: &str) -> Result<Option<T>, SpecError> {
        let Some(value) = table.remove(key) else { return Ok(None) };
        let read = serde_path_to_error::deserialize(value);
        read.map(Some).map_err(|error| self.located(problem_of(key, &error)))
    }

    /// The grid's keys in the order of the file.
    fn axes(&self, table: &toml::Table) -> Result<Vec<Axis>, SpecError> {
        let Some(grid) = table.get("grid") else { return Ok(Vec::new()) };
        let Value::Table(grid) = grid else {
            return Err(self.error("grid", "must be a table of keys with lists of values".to_owned()));
        };
        let mut axes = Vec::new();
        self.collect(grid, &mut Vec::new(), &mut axes)?;
        // one that a --set brought stands nowhere in the file, and comes last
        let line = |axis: &Axis| {
            let path = [&["grid".to_owned()], axis.path.as_slice()].concat();
            line_of_path(self.text, &path).filter(|(_, depth)| *depth == path.len())
        };
        axes.sort_by_key(|axis| (line(axis).map_or(usize::MAX, |(line, _)| line), axis.key.clone()));
        for (index, axis) in axes.iter().enumerate() {
            let key = format!("grid.{}", axis.key);
            let names = ["name"].into_iter().chain(Self::tables());
            if names.clone().any(|name| related(name, &axis.key)) {
                return Err(self.error(&key, "is not a key that a grid can have".to_owned()));
            }
            if let Some(other) = axes[..index].iter().find(|other| related(&other.key, &axis.key)) {
                return Err(self.error(&key, format!("the grid has {} already", other.key)));
            }
            for (at, value) in axis.values.iter().enumerate() {
                if axis.values[..at].iter().any(|other| alike(other, value)) {
                    return Err(self.error(&key, format!("{value} stands there twice")));
                }
            }
        }
        Ok(axes)
    }

    fn tables() -> impl Iterator<Item = &'static str> + Clone {
        SweepSpec::TABLES.into_iter()
    }

    fn collect(&self, grid: &toml::Table, path: &mut Vec<String>, axes: &mut Vec<Axis>) -> Result<(), SpecError> {
        for (name, value) in grid {
            path.push(name.clone());
            let key = path.join(".");
            match value {
                Value::Array(values) if !values.is_empty() => {
                    axes.push(Axis { key, values: values.clone(), path: path.clone() });
                }
                Value::Table(inner) => self.collect(inner, path, axes)?,
                _ => {
                    let why = "must be a list of at least one value".to_owned();
                    return Err(self.error(&format!("grid.{key}"), why));
                }
            }
            path.pop();
        }
        Ok(())
    }

    /// Takes the axes that a `--set` fixes out of the grid; refuses one that would be lost below an axis.
    fn fix(&self, table: &mut toml::Table, axes: &mut Vec<Axis>) -> Result<(), SpecError> {
        for given in self.overrides {
            let key = given.split_once('=').map_or("", |(key, _)| key.trim());
            if let Some(axis) = axes.iter().find(|axis| axis.key != key && related(&axis.key, key)) {
                return Err(SpecError::Elsewhere {
                    origin: format!("--set {given}"),
                    key: key.to_owned(),
                    why: format!("the grid sets {}; set grid.\"{}\" or fix it as a whole", axis.key, axis.key),
                });
            }
            let fixed = axes.iter().position(|axis| axis.key == key);
            if let (Some(fixed), Some(Value::Table(grid))) = (fixed, table.get_mut("grid")) {
                remove(grid, &axes.remove(fixed).path);
            }
        }
        Ok(())
    }

    fn workloads(&self, table: &mut toml::Table) -> Result<Vec<Workload>, SpecError> {
        let Some(value) = table.remove("workloads") else {
            return Ok(vec![Workload { name: None, index: 0, keys: toml::Table::new() }]);
        };
        let wrong = |key: &str, why: &str| self.error(key, why.to_owned());
        let Value::Array(given) = value else { return Err(wrong("workloads", "must be a list of tables")) };
        let mut workloads: Vec<Workload> = Vec::new();
        for (index, value) in given.into_iter().enumerate() {
            let key = format!("workloads.{index}");
            let Value::Table(mut keys) = value else { return Err(wrong(&key, "must be a table")) };
            let Some(Value::String(name)) = keys.remove("name") else {
                return Err(wrong(&key, "needs a `name`"));
            };
            if workloads.iter().any(|other| other.name.as_ref() == Some(&name)) {
                return Err(wrong(&format!("{key}.name"), "another workload has this name"));
            }
            if let Some(table) = Self::tables().find(|table| keys.contains_key(*table)) {
                return Err(wrong(&format!("{key}.{table}"), "does not belong into a workload"));
            }
            workloads.push(Workload { name: Some(name), index, keys });
        }
        if workloads.is_empty() {
            return Err(wrong("workloads", "holds none"));
        }
        Ok(workloads)
    }

    /// What is left out, by the grid's keys.
    fn left_out(&self, options: &SweepOptions, axes: &[Axis]) -> Result<Vec<BTreeMap<String, Value>>, SpecError> {
        let mut all = Vec::new();
        for (index, table) in options.leave_out.iter().enumerate() {
            let mut keys = BTreeMap::new();
            flat(table, "", &mut keys);
            let unknown = keys.keys().find(|key| axes.iter().all(|axis| axis.key != **key));
            if let Some(unknown) = unknown {
                // an axis that a --set fixed is no longer there to choose by
                if self.overrides.iter().any(|given| given.split('=').next().map(str::trim) == Some(unknown)) {
                    continue;
                }
                return Err(self.error(&format!("sweep.leave_out.{index}"), format!("the grid has no key {unknown}")));
            }
            if keys.is_empty() {
                return Err(self.error(&format!("sweep.leave_out.{index}"), "names no key".to_owned()));
            }
            all.push(keys);
        }
        Ok(all)
    }

    fn point(
        &self,
        table: &toml::Table,
        workload: &Workload,
        (axes, combination): (&[Axis], &[usize]),
        values: BTreeMap<String, Value>,
    ) -> Result<SweepPoint, SpecError> {
        let mut keys = table.clone();
        merge(&mut keys, &workload.keys);
        let mut label: Vec<String> = workload.name.iter().cloned().collect();
        for axis in axes {
            let value = &values[&axis.key];
            label.push(format!("{} = {}", axis.key, value.to_string().trim()));
            if !set_value(&mut keys, &axis.key, value.clone()) {
                let why = "only tables have keys that can be set".to_owned();
                return Err(self.error(&format!("grid.{}", axis.key), why));
            }
        }
        let label = if label.is_empty() { "the spec as it stands".to_owned() } else { label.join(", ") };
        let read = serde_path_to_error::deserialize::<_, Spec>(keys);
        let checked = read.map_err(|error| problem_of("", &error)).and_then(|mut spec| {
            spec.load.spread(spec.committees);
            spec.check().map(|()| spec)
        });
        let spec = checked.map_err(|problem| {
            let line = self.line(&problem.key, workload, (axes, combination));
            let several = !axes.is_empty() || workload.name.is_some();
            let why = if several { format!("{} (point {label})", problem.why) } else { problem.why };
            self.at_line(line, Problem { key: problem.key, why })
        })?;
        spec.supported(self.origin, self.text)?;
        Ok(SweepPoint { id: String::new(), label, workload: workload.name.clone(), values, spec })
    }

    /// The line of what a point set at `key`, unless that stands outside of grid and workloads.
    fn line(&self, key: &str, workload: &Workload, (axes, combination): (&[Axis], &[usize])) -> Option<usize> {
        let found = axes.iter().zip(combination).find(|(axis, _)| related(&axis.key, key));
        if let Some((axis, index)) = found {
            let path = [&["grid".to_owned()], axis.path.as_slice(), &[index.to_string()]].concat();
            return line_of_path(self.text, &path).map(|(line, _)| line);
        }
        workload.name.as_ref()?;
        let path = format!("workloads.{}.{key}", workload.index);
        let steps: Vec<String> = path.split('.').map(str::to_owned).collect();
        // a key that the workload does not set at all leads no further than to the workload itself
        line_of_path(self.text, &steps).filter(|(_, depth)| *depth > 2).map(|(line, _)| line)
    }
}

/// A key of the grid may stand there as one quoted name: a `--set` of it replaces that.
fn forget_quoted(table: &mut toml::Table, given: &str) {
    let key = given.split_once('=').and_then(|(key, _)| key.trim().strip_prefix("grid."));
    if let (Some(key), Some(Value::Table(grid))) = (key, table.get_mut("grid")) {
        grid.remove(key);
    }
}

/// Takes a path out of nested tables.
fn remove(table: &mut toml::Table, path: &[String]) {
    match path {
        [] => {}
        [last] => {
            table.remove(last);
        }
        [first, rest @ ..] => {
            if let Some(Value::Table(inner)) = table.get_mut(first) {
                remove(inner, rest);
            }
        }
    }
}

/// The key and the words of an error of reading; `prefix` is the table that was read.
fn problem_of(prefix: &str, error: &serde_path_to_error::Error<toml::de::Error>) -> Problem {
    let path = error.path().to_string();
    let key = [prefix, path.as_str()].into_iter().filter(|part| !part.is_empty() && *part != ".");
    Problem { key: key.collect::<Vec<_>>().join("."), why: error.inner().message().to_owned() }
}

/// Refuses the tables of a sweep in a file that is to be one run.
pub(super) fn refuse_tables(origin: &str, text: &str, table: &toml::Table) -> Result<(), SpecError> {
    match SweepSpec::TABLES.into_iter().find(|key| table.contains_key(*key)) {
        None => Ok(()),
        Some(key) => Err(SpecError::InFile {
            origin: origin.to_owned(),
            line: line_of(text, key).unwrap_or(1),
            key: key.to_owned(),
            why: "belongs to more than one run: 'testbed sweep' and 'testbed knee' take it".to_owned(),
        }),
    }
}

#[cfg(test)]
#[path = "sweep_tests.rs"]
mod tests;
