//! The command line: arguments, and which part of the library carries them out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use shardpay_run::{MachineUse, RunDir, RunState, Spec, StepObjective, Summary, SweepSpec, read_json};

use crate::backend::Action;
use crate::by_hand::{self, Beside};
use crate::docker::{self, Images};
use crate::experiment::{self, Experiment, Outcome};
use crate::failure::{EXIT_CODES, EXIT_VERDICT, Failure};
use crate::grafana;
use crate::interrupt::Interrupt;
use crate::knee::{self, KneeSearch};
use crate::registry::{Cluster, Registry, RegistryError};
use crate::report::report;
use crate::scaling;
use crate::server::Server;
use crate::stack;
use crate::sweep::{self, Sweep};
use crate::verdict::{Judged, judge};

/// Starts committees of nodes on this machine, loads them, breaks them, and gives a verdict.
#[derive(Debug, Parser)]
#[command(name = "testbed", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs an experiment: starts the cluster, funds accounts, drives the load, stops everything, audits.
    Run {
        #[command(flatten)]
        what: What,
        /// Prints the summary as JSON instead of the table.
        #[arg(long)]
        json: bool,
    },
    /// Runs every point of a file's grid, as often as it says; with the same --out it goes on where it was.
    Sweep {
        #[command(flatten)]
        many: Many,
        /// At most so many runs now; the next sweep with the same --out goes on.
        #[arg(long)]
        runs: Option<usize>,
    },
    /// Searches the highest rate that keeps the objective of a file's [knee]; goes on where it was, too.
    Knee(Many),
    /// Says what a sweep's ladders of rates mean: throughput at a latency bound by the number of committees.
    Scaling {
        /// The sweep's directory.
        dir: PathBuf,
        /// The bound: 99th percentile in milliseconds.
        #[arg(long, default_value_t = 5_000.0, value_parser = StepObjective::parse_p99_ms)]
        p99_ms: f64,
        /// Share of a step's rate that must be certified for the step to count.
        #[arg(long, default_value_t = StepObjective::CERTIFIED_MIN, value_parser = StepObjective::parse_certified_min)]
        certified_min: f64,
    },
    /// Audits the directory of an earlier run once more.
    Audit {
        /// The run directory.
        dir: PathBuf,
        /// Prints the summary as JSON instead of the table.
        #[arg(long)]
        json: bool,
    },
    /// Starts the cluster of a spec and leaves it running.
    Up {
        #[command(flatten)]
        what: What,
        /// Its name; the spec's when not given.
        #[arg(long)]
        cluster: Option<String>,
        /// Starts the payment service, the demo shop and the demo app as well, and prints their links.
        #[arg(long)]
        services: bool,
    },
    /// Says which clusters run and what their servers do.
    Status,
    /// Stops a cluster.
    Down {
        #[command(flatten)]
        which: Which,
        /// Ends all clusters that this user's testbeds left, and removes the containers and networks they made.
        #[arg(long, conflicts_with = "cluster")]
        all: bool,
    },
    /// Kills a server (SIGKILL).
    Kill(Whom),
    /// Starts a server again, after killing it when it runs.
    Restart(Whom),
    /// Takes all CPU time from a server (SIGSTOP).
    Pause(Whom),
    /// Lets a paused server go on.
    Resume(Whom),
    /// Does a fault of a spec to nodes of a cluster that is up, and waits until it is done.
    Fault {
        /// kill, stop, restart, wipe-disk, pause, resume, fill-disk, free-disk, disconnect, connect, throttle, unthrottle,
        /// skew-clock, right-clock, cut, shape or mend (docs/CONTAINERS.md says which back end can do what).
        action: String,
        /// Which nodes, such as 0-1, 0-1,3, 1-* or *-f.
        nodes: String,
        /// Another key of the fault, such as to=0-2, both_ways=true, cpu_share=0.1, skew_ms=2000 or link.latency_ms=50.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        #[command(flatten)]
        which: Which,
    },
    /// Prints the end of a server's log.
    Logs {
        #[command(flatten)]
        whom: Whom,
        /// How many lines.
        #[arg(long, default_value_t = 50)]
        lines: usize,
    },
    /// Builds the images of the programs, from scratch and without a network, and gives them to Docker.
    Images {
        /// Directory of the programs; the testbed's own when not given.
        #[arg(long, env = "SHARDPAY_PROGRAMS")]
        programs: Option<PathBuf>,
    },
    /// Writes a stack file for Docker Swarm and a kustomize base for Kubernetes (docs/CLUSTER.md).
    Stack {
        #[command(flatten)]
        what: What,
        /// Hosts over which the members of each committee are spread.
        #[arg(long, default_value_t = 1)]
        hosts: usize,
    },
    /// Waits until the load of a stack is done, fetches what its nodes left, and gives the verdict.
    Collect {
        /// The run directory that 'stack' wrote.
        dir: PathBuf,
        /// The name under which it was deployed.
        #[arg(long)]
        stack: String,
    },
    /// Says what containers need on this machine, what is missing, and how to get it.
    Doctor {
        /// Starts the Docker daemon when none answers; needs root.
        #[arg(long)]
        start: bool,
    },
    /// Writes the provisioning files of Grafana and InfluxDB 2 (docs/GRAFANA.md).
    Grafana {
        /// Where; files of the same names are written over.
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
struct What {
    /// The spec (experiments/*.toml; docs/RUNS.md lists the keys).
    spec: PathBuf,
    /// The run directory; new or empty.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Overrides a key of the spec, such as load.rate.per_second=500; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Directory of the programs node, signaler and loadgen; the testbed's own when not given.
    #[arg(long, env = "SHARDPAY_PROGRAMS")]
    programs: Option<PathBuf>,
    /// Starts the demo app as well and prints its link: a page that shows what every server does.
    #[arg(long)]
    demo: bool,
    /// What the servers run in, local or docker: the spec's key `backend`.
    #[arg(long)]
    backend: Option<String>,
}

#[derive(Debug, Args)]
struct Many {
    /// The file (docs/EXPERIMENTS.md describes it).
    spec: PathBuf,
    /// Where the run directories go: new, empty, or of the same sweep.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Overrides a key, such as grid.committees=[1,2] or sweep.repeats=3; of a key of the grid, fixes it.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Directory of the programs node, signaler and loadgen; the testbed's own when not given.
    #[arg(long, env = "SHARDPAY_PROGRAMS")]
    programs: Option<PathBuf>,
    /// What the servers run in, local or docker: the spec's key `backend`.
    #[arg(long)]
    backend: Option<String>,
}

impl Many {
    /// `--set`, and what other flags say about the spec.
    fn overrides(&self) -> Vec<String> {
        let backend = self.backend.iter().map(|backend| format!("backend={backend}"));
        self.set.iter().cloned().chain(backend).collect()
    }
}

impl What {
    /// `--set`, and what other flags say about the spec.
    fn overrides(&self) -> Vec<String> {
        let backend = self.backend.iter().map(|backend| format!("backend={backend}"));
        self.set.iter().cloned().chain(backend).collect()
    }
}

#[derive(Debug, Args)]
struct Which {
    /// The cluster's name; not needed when one is up.
    #[arg(long)]
    cluster: Option<String>,
}

#[derive(Debug, Args)]
struct Whom {
    /// signaler, demo, service, shop, or <committee>-<member> such as 0-3.
    server: Server,
    #[command(flatten)]
    which: Which,
}

/// The program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let outcome = runtime.map_err(Failure::io("threads")).and_then(|runtime| runtime.block_on(carry_out(cli.command)));
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("testbed: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn carry_out(command: Command) -> Result<ExitCode, Failure> {
    let registry = Registry::of_user()?;
    for name in registry.reap()? {
        eprintln!("ended what an earlier testbed left behind: {name}");
    }
    match command {
        Command::Run { what, json } => {
            let interrupt = Interrupt::listen().map_err(Failure::io("signals"))?;
            let spec = Spec::load(&what.spec, &what.overrides())?;
            let experiment =
                Experiment { spec, out: what.out, programs: programs(what.programs)?, with_demo: what.demo };
            let Outcome { judged, dir } = experiment::run(experiment, registry, interrupt).await?;
            Ok(print(&judged, dir.root(), json))
        }
        Command::Sweep { many, runs } => all_points(many, runs).await,
        Command::Knee(many) => search(many).await,
        Command::Scaling { dir, p99_ms: p99_ms_max, certified_min } => {
            said(scaling::report(&dir, StepObjective { p99_ms_max, certified_min }))
        }
        Command::Audit { dir, json } => audit(&RunDir::new(dir), json),
        Command::Up { what, cluster, services } => up(what, (cluster, services), registry).await,
        Command::Status => {
            for cluster in registry.list()? {
                print!("{}", by_hand::status(&cluster).await);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Down { all: true, .. } => all_down(&registry).await,
        Command::Down { which, all: false } => {
            let cluster = find(&registry, &which)?;
            by_hand::down(&registry, &cluster).await?;
            println!("stopped {}; its files are in {}", cluster.name, cluster.dir.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Kill(whom) => act(&registry, &whom, Action::Kill),
        Command::Pause(whom) => act(&registry, &whom, Action::Pause),
        Command::Resume(whom) => act(&registry, &whom, Action::Resume),
        Command::Restart(whom) => {
            let cluster = find(&registry, &whom.which)?;
            by_hand::restart(&registry, cluster, whom.server).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Fault { action, nodes, set, which } => {
            let fault = Spec::fault_by_hand(&action, &nodes, &set)?;
            by_hand::fault(&registry, find(&registry, &which)?, fault).await.map(|()| ExitCode::SUCCESS)
        }
        Command::Logs { whom, lines } => {
            for line in by_hand::logs(&find(&registry, &whom.which)?, whom.server, lines)? {
                println!("{line}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Images { programs: given } => images(&programs(given)?),
        Command::Stack { what, hosts } => said(stack_files(what, hosts)),
        Command::Collect { dir, stack } => Ok(print(&stack::collect(&dir, &stack)?, &dir, false)),
        Command::Doctor { start } => doctor(start),
        Command::Grafana { out } => {
            grafana::write(&out)?;
            println!("{} files are in {}", grafana::files().len(), out.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn up(what: What, (cluster, services): (Option<String>, bool), registry: Registry) -> Result<ExitCode, Failure> {
    let interrupt = Interrupt::listen().map_err(Failure::io("signals"))?;
    let spec = Spec::load(&what.spec, &what.overrides())?;
    let name = cluster.unwrap_or_else(|| spec.name.clone());
    let out = what.out.unwrap_or_else(|| PathBuf::from("runs").join(format!("up-{name}")));
    let beside = match (services, what.demo) {
        (true, _) => Beside::Services,
        (false, true) => Beside::Demo,
        (false, false) => Beside::Nothing,
    };
    let where_and_what = (out, programs(what.programs)?, beside);
    let (cluster, links) = by_hand::up(&spec, name, where_and_what, registry, interrupt).await?;
    print!("{}", by_hand::status(&cluster).await);
    print!("{}", links.unwrap_or_default());
    Ok(ExitCode::SUCCESS)
}

/// Prints what a command says.
fn said(text: Result<String, Failure>) -> Result<ExitCode, Failure> {
    print!("{}", text?);
    Ok(ExitCode::SUCCESS)
}

fn stack_files(what: What, hosts: usize) -> Result<String, Failure> {
    let spec = Spec::load(&what.spec, &what.overrides())?;
    let out = what.out.unwrap_or_else(|| PathBuf::from("runs").join(format!("stack-{}", spec.name)));
    stack::write(&spec, &out, &programs(what.programs)?, hosts)
}

async fn all_points(many: Many, runs: Option<usize>) -> Result<ExitCode, Failure> {
    let interrupt = Interrupt::listen().map_err(Failure::io("signals"))?;
    let spec = SweepSpec::load(&many.spec, &many.overrides())?;
    let runs_max = runs.unwrap_or(usize::MAX);
    let sweep = Sweep { spec, out: many.out, programs: programs(many.programs)?, runs_max };
    let (record, dir) = sweep::run(sweep, interrupt).await?;
    print!("{}", sweep::table(&record, &dir));
    let left = record.runs.iter().filter(|run| run.state == RunState::Waiting).count();
    if left > 0 {
        println!("{left} runs are left: the same command goes on");
    }
    let good = record.runs.iter().all(|run| matches!(run.state, RunState::Passed | RunState::Waiting));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}

async fn search(many: Many) -> Result<ExitCode, Failure> {
    let interrupt = Interrupt::listen().map_err(Failure::io("signals"))?;
    let spec = SweepSpec::load(&many.spec, &many.overrides())?;
    let what = KneeSearch { spec, out: many.out, programs: programs(many.programs)? };
    let (record, dir) = knee::run(what, interrupt).await?;
    print!("{}", knee::report(&record, &dir));
    let found = record.result.is_some_and(|result| result.resolved);
    Ok(if found { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) })
}

fn images(programs: &Path) -> Result<ExitCode, Failure> {
    let images = Images::build(programs, docker::PROGRAMS)?;
    for (program, name) in images.names() {
        println!("{program:<9} {name}");
    }
    println!("{:.1} MB of programs and libraries in all", images.bytes as f64 / 1e6);
    Ok(ExitCode::SUCCESS)
}

/// Runs of testbeds that live are left alone, as is what they run in.
async fn all_down(registry: &Registry) -> Result<ExitCode, Failure> {
    let (runs, left): (Vec<_>, Vec<_>) = registry.list()?.into_iter().partition(|cluster| cluster.owner.is_some());
    for cluster in left {
        by_hand::down(registry, &cluster).await?;
        println!("stopped {}; its files are in {}", cluster.name, cluster.dir.display());
    }
    if runs.iter().all(|run| run.containers.is_none()) && docker::is_there() {
        docker::remove_all(registry.dir())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn doctor(start: bool) -> Result<ExitCode, Failure> {
    if start {
        docker::doctor::start_daemon()?;
    }
    let findings = docker::doctor::examine();
    for finding in &findings {
        match &finding.found {
            Ok(found) => println!("ok       {:<15} {found}", finding.what),
            Err(why) => println!("missing  {:<15} {why}\n         {:<15} {}", finding.what, "", finding.remedy),
        }
    }
    let all = findings.iter().all(|finding| finding.found.is_ok());
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn find(registry: &Registry, which: &Which) -> Result<Cluster, RegistryError> {
    registry.find(which.cluster.as_deref())
}

fn act(registry: &Registry, whom: &Whom, action: Action) -> Result<ExitCode, Failure> {
    by_hand::act(&find(registry, &whom.which)?, whom.server, action)?;
    Ok(ExitCode::SUCCESS)
}

/// The directory of the programs.
fn programs(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    if let Some(dir) = given {
        return Ok(dir);
    }
    let own = std::env::current_exe().map_err(Failure::io("the testbed's own path"))?;
    Ok(own.parent().unwrap_or(Path::new(".")).to_owned())
}

/// What processes used cannot be seen afterwards: it is taken from the earlier summary, if there is one.
fn audit(dir: &RunDir, json: bool) -> Result<ExitCode, Failure> {
    let spec = Spec::load(&dir.spec(), &[])?;
    let earlier = read_json::<Summary>(&dir.summary());
    let machine = earlier.map_or_else(|_| MachineUse::default(), |summary| summary.machine);
    let judged = judge(dir, &spec, machine)?;
    Ok(print(&judged, dir.root(), json))
}

fn print(judged: &Judged, dir: &Path, json: bool) -> ExitCode {
    if json {
        println!("{}", serde_json::to_string_pretty(&judged.summary).expect("a summary is plain data"));
    } else {
        print!("{}", report(judged, dir));
    }
    if judged.summary.verdict_passed { ExitCode::SUCCESS } else { ExitCode::from(EXIT_VERDICT) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let parsed = Cli::try_parse_from(["testbed", "kill", "1-2", "--cluster", "x"]).unwrap();
        let Command::Kill(whom) = parsed.command else { panic!("kill is kill") };
        assert_eq!((whom.server.to_string(), whom.which.cluster.as_deref()), ("1-2".to_owned(), Some("x")));
        let error = Cli::try_parse_from(["testbed", "pause", "two"]).unwrap_err().to_string();
        assert!(error.contains("\"two\" names no server"), "{error}");
    }
}
