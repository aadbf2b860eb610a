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

    /// Transactions refused and answers `Busy`.
    pub fn refused(&self) -> u64 {
        self.summary.refusals.values().sum()
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

/// How deep run directories may lie in one that stands for them (a sweep's points and repeats).
const DEPTH_MAX: usize = 3;

/// The runs at a path: the run directory itself, or the finished runs below it, in the order of their paths.
pub fn runs_at(path: &Path) -> Result<Vec<Run>, RunsError> {
    dirs_at(path)?.iter().map(|dir| Run::load(dir)).collect()
}

/// The directories of those runs, whose files may be damaged.
pub fn dirs_at(path: &Path) -> Result<Vec<PathBuf>, RunsError> {
    let mut dirs = Vec::new();
    find(path, DEPTH_MAX, &mut dirs)?;
    dirs.sort();
    if dirs.is_empty() {
        return Err(RunsError::NoRuns(path.to_owned()));
    }
    Ok(dirs)
}

fn find(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), RunsError> {
    if dir.join("run.json").is_file() {
        // one without a summary did not end
        if dir.join("summary.json").is_file() {
            found.push(dir.to_owned());
        }
        return Ok(());
    }
    let problem = |source| RunsError::Directory { path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(problem)? {
        let entry = entry.map_err(problem)?;
        if depth > 0 && entry.file_type().map_err(problem)?.is_dir() {
            find(&entry.path(), depth - 1, found)?;
        }
    }
    Ok(())
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

/// A rate in words.
pub(crate) fn rate_label(rate: &Rate) -> String {
    match rate {
        Rate::Constant { per_second } | Rate::Poisson { per_second } => format!("{}/s", thousands(*per_second)),
        Rate::Closed { in_flight } => format!("{} in flight", thousands(*in_flight as f64)),
        Rate::Ramp { from_per_second, to_per_second } => {
            format!("{} to {}/s", thousands(*from_per_second), thousands(*to_per_second))
        }
        Rate::Steps { .. } => "steps".to_owned(),
        Rate::Fraction { of_closed_loop, .. } => format!("{of_closed_loop} of closed loop"),
        Rate::Daily { per_second, .. } => format!("{}/s by time of day", thousands(*per_second)),
        Rate::Trace { file, speed } => format!("trace {} at speed {speed}", file.display()),
    }
}

/// `12,345` or, for a number that is not whole, `12.5`.
pub(crate) fn thousands(number: f64) -> String {
    let size = number.abs();
    if size >= 1e15 || (size < 100.0 && number.fract() != 0.0) {
        return number.to_string();
    }
    let text = if number.fract() == 0.0 { format!("{size:.0}") } else { format!("{size:.1}") };
    let (digits, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut text = String::from(if number < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// `4 × 4 nodes, 2,000/s` and what else usually tells a point from the others.
pub(crate) fn label(spec: &Spec) -> String {
    let mut label = format!("{} × {} nodes", spec.committees, spec.nodes_per_committee);
    label += &format!(", {}", rate_label(&spec.load.rate));
    if let Cross::Ratio(ratio) = spec.load.cross
        && spec.committees > 1
    {
        label += &format!(", cross {ratio}");
    }
    match spec.load.distribution {
        Distribution::Uniform => {}
        Distribution::Zipf { exponent } => label += &format!(", Zipf {exponent}"),
        Distribution::Hot { vendors, share } => label += &format!(", {vendors} vendors get {share}"),
        Distribution::Retail { vendors, .. } => label += &format!(", retail with {vendors} vendors"),
    }
    if !spec.faults.is_empty() {
        label += ", with faults";
    }
    label
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn numbers_are_grouped_and_have_no_more_digits_than_they_need() {
        let cases = [
            (0.0, "0"),
            (0.25, "0.25"),
            (12.5, "12.5"),
            (999.96, "1,000.0"),
            (7_580.887_999, "7,580.9"),
            (1_234_567.0, "1,234,567"),
            (-1_234.0, "-1,234"),
        ];
        for (number, text) in cases {
            assert_eq!(thousands(number), text);
        }
    }
}
