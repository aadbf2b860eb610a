//! Finished runs: their record, summary and series, and which runs repeat each other.

use std::fs;
use std::path::{Path, PathBuf};

use shardpay_run::{
    Cross, Distribution, LatencyInterval, LoadResult, Rate, RunDir, RunError, RunRecord, Spec, Summary,
    latencies_of_run, read_json,
};

/// A finished run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its directory.
    pub dir: PathBuf,
    /// Facts of the run and its machine.
    pub record: RunRecord,
    /// Its figures.
    pub summary: Summary,
}

/// Why runs cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// A file of a run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A directory that cannot be listed.
    #[error("{}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Nothing to read.
    #[error("{}: no finished run in it (a run directory holds run.json and summary.json)", .0.display())]
    NoRuns(PathBuf),
}

impl Run {
    /// Reads a run's record and summary.
    pub fn load(dir: &Path) -> Result<Self, RunsError> {
        let paths = RunDir::new(dir);
        let record: RunRecord = read_json(&paths.record())?;
        let summary = read_json(&paths.summary())?;
        Ok(Self { dir: dir.to_owned(), record, summary })
    }

    /// What was run.
    pub const fn spec(&self) -> &Spec {
        &self.record.spec
    }

    /// What the load generators did, added up.
    pub fn load_result(&self) -> Result<LoadResult, RunsError> {
        Ok(LoadResult::of_run(&RunDir::new(&self.dir), self.spec().load.processes)?)
    }

    /// All latencies, by interval.
    pub fn latencies(&self) -> Result<Vec<LatencyInterval>, RunsError> {
        Ok(latencies_of_run(&RunDir::new(&self.dir), self.spec().load.processes)?)
    }

    /// Whether its figures may be used: the verdict passed, and no load generator was the limit.
    pub fn void_because(&self) -> Option<String> {
        if !self.summary.verdict_passed {
            return Some("the verdict failed".to_owned());
        }
        let kept = self.record.spec.limits.kept_rate_min;
        if self.summary.kept_rate < kept {
            return Some(format!("{:.2} % of the load was sent", self.summary.kept_rate * 100.0));
        }
        None
    }
}

/// The runs at a path: the run directory itself, or the run directories in it, in the order of their names.
pub fn runs_at(path: &Path) -> Result<Vec<Run>, RunsError> {
    let is_run = |dir: &Path| dir.join("run.json").is_file() && dir.join("summary.json").is_file();
    if is_run(path) {
        return Ok(vec![Run::load(path)?]);
    }
    let problem = |source| RunsError::Directory { path: path.to_owned(), source };
    let mut dirs = Vec::new();
    for entry in fs::read_dir(path).map_err(problem)? {
        let dir = entry.map_err(problem)?.path();
        if is_run(&dir) {
            dirs.push(dir);
        }
    }
    dirs.sort();
    if dirs.is_empty() {
        return Err(RunsError::NoRuns(path.to_owned()));
    }
    dirs.iter().map(|dir| Run::load(dir)).collect()
}

/// Runs whose specs differ at most in seed and name: repeats of one point.
#[derive(Debug, Clone)]
pub struct Point {
    /// Tells it from the other points.
    pub label: String,
    /// Its repeats, in the order given.
    pub runs: Vec<Run>,
}

impl Point {
    /// What was run.
    pub fn spec(&self) -> &Spec {
        self.runs[0].spec()
    }

    /// One figure of each repeat.
    pub fn figures(&self, of: impl Fn(&Summary) -> f64) -> Vec<f64> {
        self.runs.iter().map(|run| of(&run.summary)).collect()
    }
}

/// The spec without what repeats may differ in.
pub fn without_chance(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    spec.name.clear();
    spec.load.seed = 0;
    spec
}

/// Puts repeats together; points in the order of their first run.
pub fn points(runs: Vec<Run>) -> Vec<Point> {
    let mut points: Vec<(Spec, Point)> = Vec::new();
    for run in runs {
        let key = without_chance(run.spec());
        if let Some((_, point)) = points.iter_mut().find(|(spec, _)| *spec == key) {
            point.runs.push(run);
            continue;
        }
        let plain = label(&key);
        let alike = points.iter().filter(|(spec, _)| label(spec) == plain).count();
        let label = if alike == 0 { plain } else { format!("{plain} ({})", alike + 1) };
        points.push((key, Point { label, runs: vec![run] }));
    }
    points.into_iter().map(|(_, point)| point).collect()
}

/// `4 × 4 nodes, 2,000/s` and what else usually tells a point from the others.
fn label(spec: &Spec) -> String {
    let mut label = format!("{} × {} nodes", spec.committees, spec.nodes_per_committee);
    match &spec.load.rate {
        Rate::Constant { per_second } | Rate::Poisson { per_second } => label += &format!(", {per_second}/s"),
        Rate::Closed { in_flight } => label += &format!(", {in_flight} in flight"),
        Rate::Ramp { from_per_second, to_per_second } => label += &format!(", {from_per_second} to {to_per_second}/s"),
        Rate::Steps { .. } => label += ", steps",
        Rate::Fraction { of_closed_loop, .. } => label += &format!(", {of_closed_loop} of closed loop"),
    }
    if let Cross::Ratio(ratio) = spec.load.cross
        && spec.committees > 1
    {
        label += &format!(", cross {ratio}");
    }
    match spec.load.distribution {
        Distribution::Uniform => {}
        Distribution::Zipf { exponent } => label += &format!(", Zipf {exponent}"),
        Distribution::Hot { vendors, share } => label += &format!(", {vendors} vendors get {share}"),
    }
    if !spec.faults.is_empty() {
        label += ", with faults";
    }
    label
}
