//! `testbed sweep`: every point of a file, as often as it asks for, one run directory each.
//!
//! Guarantees: `sweep.json` is written again after each run, so a sweep that was interrupted goes on where it was:
//! runs that ended are held against their spec and the hash of their summary, all others are begun anew. It goes on
//! only with the same file, programs and machine: figures of different ones are not one sweep.

pub mod plan;
pub(crate) mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use shardpay_crypto::sha256;
use shardpay_run::{
    GitState, HostFacts, RunDir, RunState, Shortfall, Spec, StoresKept, SweepAxis, SweepPointRecord, SweepRecord,
    SweepRun, SweepSpec, read_json, write_json, write_whole,
};

use crate::experiment::{self, Experiment, Outcome, timestamp};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::registry::Registry;
use crate::report::check_name;
use crate::stores::drop_stores;
use crate::verdict::Judged;
use plan::{duration, estimate_s, fit, left_s, order};

pub use table::table;

/// The programs whose figures a sweep is about.
const PROGRAMS: [&str; 3] = ["node", "signaler", "loadgen"];

/// What to sweep, and where.
pub struct Sweep {
    /// The file.
    pub spec: SweepSpec,
    /// The directory; made up when absent.
    pub out: Option<PathBuf>,
    /// The directory of the programs.
    pub programs: PathBuf,
    /// Most runs of this turn; the next one goes on.
    pub runs_max: usize,
}

/// Carries out a sweep, or what is left of it. Returns its record and directory.
pub async fn run(sweep: Sweep, interrupt: Interrupt) -> Result<(SweepRecord, PathBuf), Failure> {
    let Sweep { spec, out, programs, runs_max } = sweep;
    let dir = out.unwrap_or_else(|| PathBuf::from("runs").join(format!("{}-sweep-{}", spec.name, timestamp())));
    let kept = Kept { dir: &dir, file: SweepRecord::FILE, spec_file: SweepRecord::SPEC_FILE };
    let hashes = program_hashes(&programs)?;
    let earlier: Option<SweepRecord> = kept.earlier(&spec.resolved)?;
    let mut record = match earlier {
        Some(record) => {
            same_programs(&dir, (&record.programs, &record.host), (&hashes, &HostFacts::read(&dir)))?;
            record
        }
        None => {
            let record = begin(&spec, &dir, hashes)?;
            kept.begin(&spec.resolved)?;
            record
        }
    };
    if let Some(trimmed) = &record.trimmed {
        eprintln!("trimmed: {trimmed}");
    }
    check_finished(&mut record, &spec, &dir);
    write_json(&dir.join(SweepRecord::FILE), &record)?;
    announce(&record, &dir);
    let mut runs = 0;
    for index in 0..record.runs.len() {
        if record.runs[index].state.is_finished() {
            continue;
        }
        if runs == runs_max {
            return Ok((record, dir));
        }
        runs += 1;
        say_next(&record, index);
        let outcome = one(&spec, &record.runs[index], &dir, &programs, interrupt.clone()).await;
        let run = &mut record.runs[index];
        match outcome {
            Ok(done) => {
                (run.state, run.why, run.wall_s) = (done.state, done.why, Some(done.wall_s));
                run.summary_sha256 = Some(done.summary_sha256);
            }
            Err(failure @ (Failure::Died { .. } | Failure::TooSlow { .. })) => {
                eprintln!("{} did not end: {failure}", run.dir);
                (run.state, run.why) = (RunState::Failed, vec![failure.to_string()]);
            }
            Err(failure) => return Err(failure),
        }
        write_json(&dir.join(SweepRecord::FILE), &record)?;
    }
    record.ended_us = Some(now_us());
    write_json(&dir.join(SweepRecord::FILE), &record)?;
    Ok((record, dir))
}

/// A directory that one file of experiments fills, and whose record says how far it is.
pub(crate) struct Kept<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) file: &'static str,
    pub(crate) spec_file: &'static str,
}

impl Kept<'_> {
    /// The record of an earlier beginning with the same file; none in a new or empty directory.
    pub(crate) fn earlier<T: serde::de::DeserializeOwned>(&self, resolved: &str) -> Result<Option<T>, Failure> {
        let path = self.dir.join(self.file);
        if path.is_file() {
            let before = fs::read_to_string(self.dir.join(self.spec_file)).map_err(Failure::io("the earlier spec"))?;
            if before != resolved {
                let (dir, file) = (self.dir.display(), self.spec_file);
                return Err(Failure::Usage(format!(
                    "{dir} was begun with another spec or other --set ({dir}/{file}): choose another --out"
                )));
            }
            return Ok(Some(read_json(&path)?));
        }
        let occupied = fs::read_dir(self.dir).is_ok_and(|mut entries| entries.next().is_some());
        if occupied {
            let dir = self.dir.display();
            return Err(Failure::Usage(format!("{dir} holds something else: choose another --out, or remove it")));
        }
        Ok(None)
    }

    /// Writes the spec, before the first record.
    pub(crate) fn begin(&self, resolved: &str) -> Result<(), Failure> {
        Ok(write_whole(&self.dir.join(self.spec_file), resolved.as_bytes())?)
    }
}

/// SHA-256 of the programs and of the testbed itself.
pub(crate) fn program_hashes(programs: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let own = std::env::current_exe().map_err(Failure::io("the testbed's own path"))?;
    let all = PROGRAMS.map(|name| (name, programs.join(name))).into_iter().chain([("testbed", own)]);
    let hash = |(name, path): (&str, PathBuf)| {
        let bytes = fs::read(&path).map_err(|error| {
            let why = format!("{}: {error}; 'cargo build --release --workspace --bins' builds it", path.display());
            Failure::Usage(why)
        })?;
        Ok((name.to_owned(), hex::encode(sha256(&[&bytes]))))
    };
    all.map(hash).collect()
}

type Made<'a> = (&'a BTreeMap<String, String>, &'a HostFacts);

/// Refuses to go on with other programs or on another machine.
pub(crate) fn same_programs(dir: &Path, before: Made<'_>, now: Made<'_>) -> Result<(), Failure> {
    let other: Vec<&str> =
        now.0.iter().filter(|(name, hash)| before.0.get(*name) != Some(hash)).map(|(name, _)| name.as_str()).collect();
    let what = if !other.is_empty() {
        format!("with other programs ({})", other.join(", "))
    } else if (&before.1.cpu_model, before.1.cores) != (&now.1.cpu_model, now.1.cores) {
        format!("on another machine ({}, {} cores)", before.1.cpu_model, before.1.cores)
    } else {
        return Ok(());
    };
    let dir = dir.display();
    Err(Failure::Usage(format!(
        "{dir} was begun {what}: its figures and new ones do not belong together; use another --out"
    )))
}

/// Plans a new sweep.
fn begin(spec: &SweepSpec, dir: &Path, programs: BTreeMap<String, String>) -> Result<SweepRecord, Failure> {
    let cores = HostFacts::read(Path::new(".")).cores;
    let point_s: Vec<f64> = spec.points.iter().map(|point| estimate_s(&point.spec, cores)).collect();
    let fitted = fit(&point_s, &spec.options).map_err(Failure::Usage)?;
    fs::create_dir_all(dir).map_err(Failure::io("--out"))?;
    let run = |(point, repeat): (usize, usize)| {
        let of = &spec.points[point];
        SweepRun {
            point: of.id.clone(),
            repeat,
            seed: of.repeat(repeat).load.seed,
            dir: format!("{}-r{repeat}", of.id),
            state: RunState::Waiting,
            why: Vec::new(),
            estimated_s: point_s[point],
            wall_s: None,
            summary_sha256: None,
        }
    };
    let json = |value: &toml::Value| serde_json::to_value(value).unwrap_or_default();
    let point = |point: &shardpay_run::SweepPoint| SweepPointRecord {
        id: point.id.clone(),
        label: point.label.clone(),
        workload: point.workload.clone(),
        values: point.values.iter().map(|(key, value)| (key.clone(), json(value))).collect(),
    };
    let axis =
        |axis: &shardpay_run::Axis| SweepAxis { key: axis.key.clone(), values: axis.values.iter().map(json).collect() };
    Ok(SweepRecord {
        version: SweepRecord::VERSION,
        name: spec.name.clone(),
        started_us: now_us(),
        ended_us: None,
        git: GitState::read(Path::new(".")),
        host: HostFacts::read(dir),
        programs,
        seed: spec.options.seed,
        repeats: fitted.repeats,
        stores: spec.options.stores,
        budget_s: spec.options.budget_s,
        estimated_s: fitted.estimated_s,
        trimmed: fitted.trimmed,
        axes: spec.axes.iter().map(axis).collect(),
        workloads: spec.workloads.clone(),
        points: spec.points.iter().map(point).collect(),
        runs: order(spec.points.len(), fitted.repeats, spec.options.seed).into_iter().map(run).collect(),
    })
}

/// Runs that ended stay only when their directory still holds what was noted.
fn check_finished(record: &mut SweepRecord, spec: &SweepSpec, dir: &Path) {
    for run in record.runs.iter_mut().filter(|run| run.state.is_finished()) {
        let expected = spec_of(spec, run);
        let paths = RunDir::new(dir.join(&run.dir));
        let same_spec = Spec::load(&paths.spec(), &[]).is_ok_and(|found| Some(found) == expected);
        let same_summary = summary_hash(&paths).is_some_and(|hash| Some(hash) == run.summary_sha256);
        if !same_spec || !same_summary {
            let what = if same_spec { "summary.json" } else { "spec.toml" };
            eprintln!("{}: {what} is not what it was when the run ended; the run is made again", run.dir);
            (run.state, run.wall_s, run.summary_sha256) = (RunState::Waiting, None, None);
            run.why.clear();
        }
    }
}

fn spec_of(spec: &SweepSpec, run: &SweepRun) -> Option<Spec> {
    spec.points.iter().find(|point| point.id == run.point).map(|point| point.repeat(run.repeat))
}

pub(crate) fn summary_hash(dir: &RunDir) -> Option<String> {
    Some(hex::encode(sha256(&[&fs::read(dir.summary()).ok()?])))
}

/// What became of a run.
struct Done {
    state: RunState,
    why: Vec<String>,
    wall_s: f64,
    summary_sha256: String,
}

async fn one(
    spec: &SweepSpec,
    run: &SweepRun,
    dir: &Path,
    programs: &Path,
    interrupt: Interrupt,
) -> Result<Done, Failure> {
    let began = Instant::now();
    let asked = spec_of(spec, run).ok_or_else(|| Failure::Usage(format!("sweep.json: no point {}", run.point)))?;
    let (outcome, summary_sha256) = fresh(&asked, &dir.join(&run.dir), programs, spec.stores(), interrupt).await?;
    let why = why_void(&outcome.judged);
    let state = if why.is_empty() { RunState::Passed } else { RunState::Void };
    Ok(Done { state, why, wall_s: began.elapsed().as_secs_f64(), summary_sha256 })
}

/// A run in a directory of which nothing earlier is left, and the hash of its summary.
pub(crate) async fn fresh(
    spec: &Spec,
    dir: &Path,
    programs: &Path,
    stores: StoresKept,
    interrupt: Interrupt,
) -> Result<(Outcome, String), Failure> {
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(Failure::io("what is left of an interrupted run"))?;
    }
    let out = Some(dir.to_owned());
    let experiment = Experiment { spec: spec.clone(), out, programs: programs.to_owned(), with_demo: false };
    let outcome = experiment::run(experiment, Registry::of_user()?, interrupt).await?;
    drop_stores(&outcome.dir, spec, stores)?;
    let hash = summary_hash(&outcome.dir).unwrap_or_default();
    Ok((outcome, hash))
}

/// Why a run is no result; nothing when it is one.
fn why_void(judged: &Judged) -> Vec<String> {
    let failed = judged.verdict.failed().into_iter().map(|name| format!("check failed: {}", check_name(name)));
    let limits = judged.summary.shortfalls.iter().filter(|shortfall| shortfall.is_loadgens()).map(Shortfall::to_string);
    failed.chain(judged.problems.iter().cloned()).chain(limits).collect()
}

fn announce(record: &SweepRecord, dir: &Path) {
    let (points, repeats, all) = (record.points.len(), record.repeats, record.runs.len());
    let finished = record.runs.iter().filter(|run| run.state.is_finished()).count();
    let dir = dir.display();
    eprintln!("{}: {points} points × {repeats} repeats = {all} runs in {dir}", record.name);
    if finished > 0 {
        eprintln!("{finished} of them ended earlier and stay");
    }
    eprintln!("about {} to go", duration(left(record)));
}

fn left(record: &SweepRecord) -> f64 {
    let done: Vec<(f64, f64)> = record.runs.iter().filter_map(|run| Some((run.estimated_s, run.wall_s?))).collect();
    let to_come: Vec<f64> =
        record.runs.iter().filter(|run| !run.state.is_finished()).map(|run| run.estimated_s).collect();
    left_s(&done, &to_come)
}

fn say_next(record: &SweepRecord, index: usize) {
    let run = &record.runs[index];
    let label = record.points.iter().find(|point| point.id == run.point).map_or("", |point| point.label.as_str());
    let (number, all) = (index + 1, record.runs.len());
    eprintln!(
        "\n[{number}/{all}] {} repeat {}: {label}; about {} to go",
        run.point,
        run.repeat,
        duration(left(record))
    );
}

/// Microseconds since the Unix epoch.
pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
