//! `testbed knee`: the highest rate that keeps an objective, each rate measured on a cluster of its own
//! (`docs/decisions/0016`).
//!
//! Guarantees: `knee.json` is written again after each measurement, and a search that was interrupted goes on: the
//! measurements made are told to [`search::Search`] again, which then asks for the next one. A measurement in which
//! loadgen was the limit is void and repeated; a run whose stores show a fault ends the search without a result.

mod diagnosis;
pub mod estimate;
mod judge;
pub mod search;
mod series;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use shardpay_run::{
    GitState, HostFacts, KneeEnd, KneeMeasurement, KneeObjective, KneeOptions, KneeProbe, KneeRecord, KneeResult,
    LoadResult, MeasurementOutcome, MeasurementStage, Rate, RunDir, Spec, StoresKept, Summary, SweepSpec, read_json,
    write_json,
};

use crate::experiment::{Outcome, timestamp};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::sweep::plan::{duration, estimate_s};
use crate::sweep::{Kept, fresh, now_us, program_hashes, same_programs, table::median};
use diagnosis::{Seen, diagnose};
use estimate::{Observation, clopper_pearson, knee};
use search::{Bracket, Search, Step, Tally};

/// So many measurements in a row may be void.
const VOID_MAX: usize = 2;
/// How the interval comes about; stands in `knee.json`.
const METHOD: &str = "logistic regression of pass or fail on the logarithm of the rate over all measurements; 95 % \
    interval of the profile likelihood; pass rates at the ends by Clopper and Pearson";

/// What to search, and where.
pub struct KneeSearch {
    /// The file; its first point is searched.
    pub spec: SweepSpec,
    /// The directory; made up when absent.
    pub out: Option<PathBuf>,
    /// The directory of the programs.
    pub programs: PathBuf,
}

/// A search that goes on.
struct Going {
    options: KneeOptions,
    base: Spec,
    stores: StoresKept,
    budget_s: f64,
    dir: PathBuf,
    programs: PathBuf,
    interrupt: Interrupt,
    record: KneeRecord,
}

/// Carries out a search, or what is left of it.
pub async fn run(what: KneeSearch, interrupt: Interrupt) -> Result<(KneeRecord, PathBuf), Failure> {
    let mut going = Going::prepare(what, interrupt)?;
    if going.record.result.is_none() && going.record.stopped.is_none() {
        match going.search().await {
            Ok(result) => going.record.result = Some(result),
            Err(End::Stopped(why)) => going.record.stopped = Some(why),
            Err(End::Failure(failure)) => return Err(failure),
        }
        going.record.ended_us = Some(now_us());
        going.write()?;
    }
    Ok((going.record, going.dir))
}

/// Why there is no result.
enum End {
    /// The search itself came to no end; that is noted, and final.
    Stopped(String),
    /// Something else; the search can go on later.
    Failure(Failure),
}

impl<E: Into<Failure>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failure(error.into())
    }
}

impl Going {
    fn prepare(what: KneeSearch, interrupt: Interrupt) -> Result<Self, Failure> {
        let KneeSearch { spec, out, programs } = what;
        let usage = |why: &str| Failure::Usage(format!("{}: {why}", spec.name));
        let Some(options) = spec.knee.clone() else { return Err(usage("the file has no [knee]")) };
        let [point] = spec.points.as_slice() else {
            return Err(usage("a knee search has one point: fix the grid's keys with --set"));
        };
        if !matches!(point.spec.load.rate, Rate::Constant { .. } | Rate::Poisson { .. }) {
            return Err(usage("load.rate must be constant or poisson: the search sets its per_second"));
        }
        let dir = out.unwrap_or_else(|| PathBuf::from("runs").join(format!("{}-knee-{}", spec.name, timestamp())));
        let kept = Kept { dir: &dir, file: KneeRecord::FILE, spec_file: KneeRecord::SPEC_FILE };
        let hashes = program_hashes(&programs)?;
        let record = match kept.earlier::<KneeRecord>(&spec.resolved)? {
            Some(record) => {
                same_programs(&dir, (&record.programs, &record.host), (&hashes, &HostFacts::read(&dir)))?;
                record
            }
            None => {
                fs::create_dir_all(&dir).map_err(Failure::io("--out"))?;
                kept.begin(&spec.resolved)?;
                KneeRecord {
                    version: KneeRecord::VERSION,
                    name: spec.name.clone(),
                    started_us: now_us(),
                    ended_us: None,
                    git: GitState::read(Path::new(".")),
                    host: HostFacts::read(&dir),
                    programs: hashes,
                    objective: KneeObjective { p99_ms_max: options.p99_ms_max, loss_max: options.loss_max },
                    bracket: options.bracket,
                    repeats: options.repeats,
                    needed: options.needed,
                    probe: None,
                    measurements: Vec::new(),
                    result: None,
                    stopped: None,
                }
            }
        };
        let (stores, budget_s) = (spec.options.stores, spec.options.budget_s);
        let going = Self { options, base: point.spec.clone(), stores, budget_s, dir, programs, interrupt, record };
        going.write()?;
        Ok(going)
    }

    fn write(&self) -> Result<(), Failure> {
        Ok(write_json(&self.dir.join(KneeRecord::FILE), &self.record)?)
    }

    async fn search(&mut self) -> Result<KneeResult, End> {
        let probe = self.probe().await?;
        let mut search = Search::new(&self.options, probe * self.options.start);
        for made in self.record.measurements.iter().filter(|made| made.outcome != MeasurementOutcome::Void) {
            search.record(made.outcome == MeasurementOutcome::Passed);
        }
        loop {
            match search.next() {
                Step::Measure { rate, stage } => {
                    self.within_budget()?;
                    let outcome = self.measure(rate, stage).await?;
                    if outcome != MeasurementOutcome::Void {
                        search.record(outcome == MeasurementOutcome::Passed);
                    }
                }
                Step::Found(bracket) => return self.result(&bracket),
                Step::GaveUp(why) => return Err(End::Stopped(why.to_owned())),
            }
        }
    }

    /// What a closed loop reaches: where the search begins.
    async fn probe(&mut self) -> Result<f64, End> {
        if let Some(probe) = &self.record.probe {
            return Ok(probe.per_second);
        }
        let mut spec = self.base.clone();
        spec.load.rate = Rate::Closed { in_flight: self.options.probe_in_flight };
        let one = estimate_s(&spec, self.record.host.cores);
        let about = one * (2 * self.options.repeats + 6) as f64;
        eprintln!("{}: about {} to go; a closed loop first", self.record.name, duration(about));
        if self.budget_s > 0.0 && about > self.budget_s {
            let (about, budget) = (duration(about), duration(self.budget_s));
            let why =
                format!("a search takes about {about}, the budget (sweep.budget_s) is {budget}: shorten duration_s");
            return Err(Failure::Usage(why).into());
        }
        let dir = "probe".to_owned();
        let (outcome, _) =
            fresh(&spec, &self.dir.join(&dir), &self.programs, self.stores, self.interrupt.clone()).await?;
        let per_second = outcome.judged.summary.total.all.per_second;
        if per_second <= 0.0 {
            return Err(End::Stopped("a closed loop certifies nothing".to_owned()));
        }
        eprintln!("a closed loop reaches {per_second:.0}/s");
        self.record.probe = Some(KneeProbe { dir, per_second });
        self.write()?;
        Ok(per_second)
    }

    fn within_budget(&self) -> Result<(), End> {
        let spent: f64 = self.record.measurements.iter().map(|made| made.wall_s).sum();
        if self.budget_s > 0.0 && spent > self.budget_s {
            let budget = duration(self.budget_s);
            return Err(End::Stopped(format!("the budget (sweep.budget_s, {budget}) is used up")));
        }
        Ok(())
    }

    async fn measure(&mut self, rate: f64, stage: MeasurementStage) -> Result<MeasurementOutcome, End> {
        let began = Instant::now();
        let number = self.record.measurements.len() + 1;
        let mut spec = self.base.clone();
        spec.load.rate = match spec.load.rate {
            Rate::Constant { .. } => Rate::Constant { per_second: rate },
            _ => Rate::Poisson { per_second: rate },
        };
        spec.load.seed += number as u64;
        let dir = format!("m{number:02}-{rate:.0}");
        eprintln!("\nmeasurement {number}: {rate:.0}/s, {}", word(stage));
        let (outcome, _) =
            fresh(&spec, &self.dir.join(&dir), &self.programs, self.stores, self.interrupt.clone()).await?;
        let made = self.taken(&spec, &outcome, began)?;
        let made = KneeMeasurement { number, dir, rate_per_second: rate, stage, seed: spec.load.seed, ..made };
        eprintln!(
            "{rate:.0}/s {}: p99 {:.1} ms, {} lost{}",
            said(made.outcome),
            made.p99_ms,
            made.lost,
            because(&made)
        );
        let outcome = made.outcome;
        self.record.measurements.push(made);
        self.write()?;
        let last = self.record.measurements.iter().rev();
        let void = last.take_while(|made| made.outcome == MeasurementOutcome::Void).count();
        if void > VOID_MAX {
            let why = format!("loadgen was the limit at {rate:.0}/s, {void} times: more load.processes may help");
            return Err(End::Stopped(why));
        }
        Ok(outcome)
    }

    /// The figures of a measurement.
    fn taken(&self, spec: &Spec, outcome: &Outcome, began: Instant) -> Result<KneeMeasurement, End> {
        let broken = judge::broken(&outcome.judged.verdict);
        if !broken.is_empty() {
            let names: Vec<String> = broken.into_iter().map(crate::report::check_name).collect();
            let dir = outcome.dir.root().display();
            return Err(End::Stopped(format!("{dir}: checks failed: {}", names.join(", "))));
        }
        let summary = &outcome.judged.summary;
        let load = LoadResult::of_run(&outcome.dir, spec.load.processes)?;
        let judged = judge::judge(summary, &load, spec.limits.kept_rate_min, &self.record.objective);
        let latency = &summary.total.all.latency_ms;
        Ok(KneeMeasurement {
            number: 0,
            dir: String::new(),
            rate_per_second: 0.0,
            stage: MeasurementStage::Bracket,
            seed: 0,
            outcome: judged.outcome,
            why: judged.why,
            certified_per_second: summary.total.all.per_second,
            p50_ms: latency.p50,
            p99_ms: latency.p99,
            offered: load.offered,
            lost: judged.lost,
            machine_busy: load.machine_busy,
            cpu_us_per_payment: summary.cpu_us_per_payment,
            wall_s: began.elapsed().as_secs_f64(),
        })
    }

    fn result(&self, bracket: &Bracket) -> Result<KneeResult, End> {
        let valid = self.record.measurements.iter().filter(|made| made.outcome != MeasurementOutcome::Void);
        let made: Vec<Observation> = valid
            .map(|made| Observation { rate: made.rate_per_second, passed: made.outcome == MeasurementOutcome::Passed })
            .collect();
        let found = knee(&made).ok_or_else(|| End::Stopped("all measurements say the same".to_owned()))?;
        let at = |rate: f64, outcome| {
            let of = move |made: &&KneeMeasurement| made.rate_per_second == rate && made.outcome == outcome;
            self.record.measurements.iter().filter(of)
        };
        let (lower, upper) = (bracket.lower.0, bracket.upper.0);
        let passed: Vec<&KneeMeasurement> = at(lower, MeasurementOutcome::Passed).collect();
        let last_passed = passed.last();
        let last_failed = at(upper, MeasurementOutcome::Failed).next_back();
        let (Some(last_passed), Some(last_failed)) = (last_passed, last_failed) else {
            return Err(End::Stopped("the bracket's ends were not measured".to_owned()));
        };
        let limit = diagnose(&self.seen(last_passed)?, &self.seen(last_failed)?);
        Ok(KneeResult {
            resolved: bracket.resolved,
            lower: end(bracket.lower),
            upper: end(bracket.upper),
            width: upper / lower - 1.0,
            knee_per_second: found.rate,
            low_per_second: found.low,
            high_per_second: found.high,
            method: METHOD.to_owned(),
            certified_per_second: median(passed.iter().map(|made| made.certified_per_second).collect()),
            limit,
        })
    }

    fn seen(&self, made: &KneeMeasurement) -> Result<Seen, End> {
        let dir = RunDir::new(self.dir.join(&made.dir));
        let spec = Spec::load(&dir.spec(), &[])?;
        let summary: Summary = read_json(&dir.summary())?;
        let seen = Seen::read(&dir, &spec, summary.warmup.cut(), self.record.host.cores);
        Ok(seen.map_err(Failure::io("series and threads of a measurement"))?)
    }
}

fn end((per_second, tally): (f64, Tally)) -> KneeEnd {
    let Tally { passed, failed } = tally;
    let (pass_rate_low, pass_rate_high) = clopper_pearson(passed, passed + failed);
    KneeEnd { per_second, passed, failed, pass_rate_low, pass_rate_high }
}

const fn word(stage: MeasurementStage) -> &'static str {
    match stage {
        MeasurementStage::Bracket => "to find a bracket",
        MeasurementStage::Bisect => "to narrow it",
        MeasurementStage::Confirm => "to confirm its ends",
    }
}

const fn said(outcome: MeasurementOutcome) -> &'static str {
    match outcome {
        MeasurementOutcome::Passed => "passed",
        MeasurementOutcome::Failed => "failed",
        MeasurementOutcome::Void => "says nothing",
    }
}

fn because(made: &KneeMeasurement) -> String {
    if made.why.is_empty() { String::new() } else { format!(" ({})", made.why.join("; ")) }
}

/// The end of a search, for people.
pub fn report(record: &KneeRecord, dir: &Path) -> String {
    let KneeObjective { p99_ms_max, loss_max } = record.objective;
    let loss = if loss_max == 0.0 { "no loss".to_owned() } else { format!("at most {:.2} % lost", loss_max * 100.0) };
    let mut text = format!("objective       p99 at most {p99_ms_max} ms, {loss}\n");
    let made = record.measurements.len();
    match (&record.result, &record.stopped) {
        (Some(result), _) => {
            let KneeResult { lower, upper, knee_per_second, low_per_second, high_per_second, .. } = result;
            let ends =
                |end: &KneeEnd| format!("{:.0}/s ({} of {})", end.per_second, end.passed, end.passed + end.failed);
            let width = result.width * 100.0;
            text += &format!("passes          {} repeats passed\n", ends(lower));
            text += &format!("fails           {} repeats passed\n", ends(upper));
            text += &format!(
                "knee            {knee_per_second:.0}/s, 95 % {low_per_second:.0} to {high_per_second:.0}/s\n"
            );
            text += &format!("limit           {}\n", result.limit.text);
            let resolved = if result.resolved { "resolved" } else { "not resolved" };
            text += &format!("bracket         {width:.1} % wide, {resolved}; {made} measurements\n");
        }
        (None, why) => {
            let why = why.as_deref().unwrap_or("not ended");
            text += &format!("no knee         {why}; {made} measurements\n");
        }
    }
    text + &format!("directory       {}\n", dir.display())
}
