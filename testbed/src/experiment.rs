//! `testbed run`: an experiment from its spec to its verdict.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use shardpay_run::{
    GitState, HostFacts, MachineUse, Manifest, RunDir, RunRecord, Spec, WarmUpCut, latencies_of_run, write_json,
};

use crate::backend::State;
use crate::conditions::Conditions;
use crate::control::Control;
use crate::deploy::{Wanted, deploy, loadgen_launch, nodes, progress_file};
use crate::failure::Failure;
use crate::faults::Faults;
use crate::interrupt::Interrupt;
use crate::load::{LoadLine, LoadPhase, LoadReader};
use crate::procfs::disk_bytes;
use crate::registry::Registry;
use crate::running::Running;
use crate::server::Server;
use crate::threads::Threads;
use crate::verdict::{Judged, judge, keep_seen};

/// Between two looks at faults and progress.
const TICK: Duration = Duration::from_millis(25);
/// A load generator that says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(180);
/// Longest wait until a committee's members are equally far after the load; `limits.drain_s` may be shorter.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// What to run and where.
pub struct Experiment {
    /// The spec.
    pub spec: Spec,
    /// The run directory; made up when absent.
    pub out: Option<PathBuf>,
    /// The directory of the programs.
    pub programs: PathBuf,
    /// Whether a demo app shows it while it runs.
    pub with_demo: bool,
}

/// What came out.
pub struct Outcome {
    /// Verdict and figures.
    pub judged: Judged,
    /// Where everything lies.
    pub dir: RunDir,
}

/// Carries out an experiment. When it fails, everything is stopped and the run directory stays.
pub async fn run(experiment: Experiment, registry: Registry, interrupt: Interrupt) -> Result<Outcome, Failure> {
    let Experiment { spec, out, programs, with_demo } = experiment;
    let root = out.unwrap_or_else(|| PathBuf::from("runs").join(format!("{}-{}", spec.name, timestamp())));
    let deployment = deploy(&spec, &root, &programs, Wanted { demo: with_demo, ..Wanted::default() })?;
    write_record(&spec, &deployment.dir)?;
    let mut launches = deployment.launches.clone();
    launches.extend((0..spec.load.processes).map(|process| loadgen_launch(&deployment, &spec, process, &programs)));
    let name = format!("{}-{}", spec.name, std::process::id());
    let control = Control::prepare(&deployment, &spec, &launches, (&name, registry.dir()), &programs)?;
    let mut running = Running::new(&deployment, launches, control, (name, registry), interrupt)?;
    let size = format!("{} × {} nodes and the signaler", spec.committees, spec.nodes_per_committee);
    running.live.note(&format!("{}: starting {size}; run directory {}", spec.name, root.display()));
    if let Some(url) = &deployment.demo {
        running.live.note(&format!("watch it at {url}"));
    }

    let driven = drive(&mut running, &spec, &deployment.dir).await;
    running.live.waiting("stopping");
    let stopped = running.stop().await;
    running.live.end();
    let (cpu, mut problems) = driven?;
    problems.extend(stopped?);
    let cut = WarmUpCut::of(&spec, &latencies_of_run(&deployment.dir, spec.load.processes)?);
    let cpu_us = cpu.used(cut.cut(), spec.duration());
    let machine = MachineUse {
        cpu_us,
        store_bytes: nodes(&spec).map(|node| disk_bytes(&deployment.dir.node_store(node))).sum(),
        node_memory_bytes_max: running.cluster.resources().node_memory_bytes_max(),
    };
    eprintln!("checking stores and acknowledged payments");
    keep_seen(&deployment.dir, &problems)?;
    Manifest::of(&deployment.dir, machine.clone())?.write(&deployment.dir)?;
    let judged = judge(&deployment.dir, &spec, machine)?;
    Ok(Outcome { judged, dir: deployment.dir })
}

type CpuByProgram = BTreeMap<String, u64>;

/// From the first process to the end of the load. Returns CPU time over the load, and problems.
async fn drive(running: &mut Running, spec: &Spec, dir: &RunDir) -> Result<(CpuSamples, Vec<String>), Failure> {
    running.bring_up(spec, &dir.genesis()).await?;
    running.live.note("all committees produce; starting the load");
    for process in 0..spec.load.processes {
        running.start(Server::Loadgen(process))?;
    }
    let mut load = Load::new(spec, dir)?;
    while !load.step(running).await? {
        running.interrupt.sleep(TICK).await?;
    }
    load.cpu.samples.push((load.started.elapsed(), running.cluster.look()));
    running.live.waiting("waiting until all nodes are equally far");
    let limit = SETTLE_MAX.min(Duration::from_secs_f64(spec.limits.drain_s));
    let behind = running.settle(limit).await?;
    Ok((load.cpu, behind))
}

/// CPU time of every server, looked at several times a second while load generators run: what is cut as warm-up is known
/// only afterwards.
#[derive(Default)]
struct CpuSamples {
    /// When the load began, on the clock of the samples.
    began: Duration,
    samples: Vec<(Duration, BTreeMap<Server, u64>)>,
}

impl CpuSamples {
    /// Between two looks.
    const EVERY: Duration = Duration::from_millis(250);

    fn is_due(&self, at: Duration) -> bool {
        self.samples.last().is_none_or(|(last, _)| at >= *last + Self::EVERY)
    }

    /// CPU time by program from one moment of the load to another, between two looks as if used evenly.
    fn used(&self, from: Duration, to: Duration) -> CpuByProgram {
        let mut used = CpuByProgram::new();
        let (first, last) = (self.at(self.began + from), self.at(self.began + to));
        for (server, cpu_us) in last {
            let before = first.get(&server).copied().unwrap_or(0.0);
            *used.entry(server.program().to_owned()).or_default() += (cpu_us - before).max(0.0).round() as u64;
        }
        used
    }

    fn at(&self, moment: Duration) -> BTreeMap<Server, f64> {
        let after = self.samples.partition_point(|(at, _)| *at < moment);
        let sample = |index: usize| self.samples.get(index);
        let (before, next) = match (after.checked_sub(1).and_then(sample), sample(after)) {
            (Some(before), Some(next)) => (before, next),
            (Some(only), None) | (None, Some(only)) => (only, only),
            (None, None) => return BTreeMap::new(),
        };
        let span = next.0.saturating_sub(before.0).as_secs_f64();
        let share = if span > 0.0 { moment.saturating_sub(before.0).as_secs_f64() / span } else { 0.0 };
        let between = |(server, end): (&Server, &u64)| {
            let begin = before.1.get(server).copied().unwrap_or(0) as f64;
            (*server, begin + (*end as f64 - begin) * share)
        };
        next.1.iter().map(between).collect()
    }
}

/// The load while it goes on.
struct Load {
    spec: Spec,
    readers: Vec<LoadReader>,
    faults: Faults,
    began: Option<Instant>,
    heard: Instant,
    started: Instant,
    cpu: CpuSamples,
    threads: Threads,
}

impl Load {
    fn new(spec: &Spec, dir: &RunDir) -> Result<Self, Failure> {
        let reader = |process| LoadReader::new(progress_file(dir, process));
        Ok(Self {
            spec: spec.clone(),
            readers: (0..spec.load.processes).map(reader).collect(),
            faults: Faults::new(&spec.timeline(), Conditions::new(dir, spec)),
            began: None,
            heard: Instant::now(),
            started: Instant::now(),
            cpu: CpuSamples::default(),
            threads: Threads::create(&dir.threads()).map_err(Failure::io("threads.csv"))?,
        })
    }

    /// One look at everything; true when all load generators have ended.
    async fn step(&mut self, running: &mut Running) -> Result<bool, Failure> {
        running.tend()?;
        self.progress(running);
        let at = self.started.elapsed();
        if self.cpu.is_due(at) {
            self.cpu.samples.push((at, running.cluster.look()));
        }
        if let Some(began) = self.began {
            let elapsed = began.elapsed();
            for done in self.faults.advance(elapsed, &mut running.cluster)? {
                running.live.note(&format!("fault at {:.1} s: {done}", elapsed.as_secs_f64()));
            }
            running.note_processes()?;
            self.threads.sample(&running.cluster.backend().ids(), elapsed).map_err(Failure::io("threads.csv"))?;
        }
        if self.heard.elapsed() > SILENCE_MAX {
            let what = "the load generator says how far it is".to_owned();
            return Err(Failure::TooSlow { what, seconds: SILENCE_MAX.as_secs_f64() });
        }
        self.ended(running)
    }

    fn progress(&mut self, running: &mut Running) {
        let mut shown: Option<LoadLine> = None;
        for reader in &mut self.readers {
            for line in reader.read() {
                self.heard = Instant::now();
                if self.began.is_none() && line.phase == LoadPhase::Load {
                    let since = Duration::try_from_secs_f64(line.seconds).unwrap_or_default();
                    self.began = Instant::now().checked_sub(since);
                    self.cpu.began = self.started.elapsed().saturating_sub(since);
                }
                shown = Some(line);
            }
        }
        if let Some(line) = shown {
            running.live.load(&line);
        }
    }

    fn ended(&mut self, running: &mut Running) -> Result<bool, Failure> {
        let mut all = true;
        for process in 0..self.spec.load.processes {
            let server = Server::Loadgen(process);
            match running.cluster.state(server) {
                State::Ended(ended) if ended.clean => {}
                State::Ended(ended) => return Err(running.died(server, ended.how)),
                State::Running | State::Paused | State::Absent => all = false,
            }
        }
        // restarts that are still due are done before the nodes are stopped
        Ok(all && (self.faults.is_done() || self.began.is_none()))
    }
}

pub(crate) fn write_record(spec: &Spec, dir: &RunDir) -> Result<(), Failure> {
    let started_us = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let record = RunRecord {
        version: RunRecord::VERSION,
        started_us: u64::try_from(started_us).unwrap_or(u64::MAX),
        spec: spec.clone(),
        git: GitState::read(Path::new(".")),
        host: HostFacts::read(dir.root()),
    };
    Ok(write_json(&dir.record(), &record)?)
}

/// `20260131-235959`, UTC: names of run directories sort by time.
pub(crate) fn timestamp() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

/// Year, month and day of a number of days since 1970-01-01 (Gregorian).
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(59), (1970, 3, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_453), (2025, 12, 31));
        assert_eq!(civil(20_454), (2026, 1, 1));
    }

    #[test]
    fn cpu_time_is_summed_by_program() {
        let node = |member| Server::node(0, member).unwrap();
        let at = |s: u64, cpu: [u64; 3]| {
            let servers = [node(0), node(1), Server::Loadgen(0)];
            (Duration::from_secs(s), servers.into_iter().zip(cpu).collect::<BTreeMap<_, _>>())
        };
        let samples = vec![at(1, [0, 0, 0]), at(3, [100, 50, 0]), at(5, [300, 250, 70]), at(9, [500, 250, 80])];
        let cpu = CpuSamples { began: Duration::from_secs(2), samples };
        let used = |from, to| cpu.used(Duration::from_secs(from), Duration::from_secs(to));
        assert_eq!(used(1, 3), [("node".to_owned(), 400), ("loadgen".to_owned(), 70)].into());
        // half way between looks, and beyond the last one
        assert_eq!(used(0, 1), [("node".to_owned(), 75), ("loadgen".to_owned(), 0)].into());
        assert_eq!(used(3, 60), [("node".to_owned(), 200), ("loadgen".to_owned(), 10)].into());
        assert!(CpuSamples::default().used(Duration::ZERO, Duration::MAX / 4).is_empty());
    }
}
