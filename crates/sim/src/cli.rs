//! Arguments, progress and printing. Exit code 0: nothing was violated.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use shardpay_sim::{Outcome, Overrides, Scenario, Sweep, SweepSummary, Variant, World};

use crate::out::{complain, say};

/// Seeds from which on a zero in the coverage table is a failure.
const FULL_SWEEP: u64 = 2_000;

/// Deterministic simulation of shardpay's core under faults.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one seed.
    Run(Run),
    /// Runs many seeds and sums them up.
    Sweep(SweepArguments),
}

#[derive(Debug, Args)]
struct Run {
    /// The seed.
    #[arg(long)]
    seed: u64,
    /// Writes a line per event into this file.
    #[arg(long)]
    trace: Option<PathBuf>,
    #[command(flatten)]
    what: What,
}

#[derive(Debug, Args)]
struct SweepArguments {
    /// Which seeds: A..B, without B.
    #[arg(long, value_parser = parse_range)]
    seeds: Range<u64>,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Writes the summary into this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Begins no new seed after that many seconds.
    #[arg(long)]
    seconds_max: Option<u64>,
    /// Stops at the first violation.
    #[arg(long)]
    stop_at_first: bool,
    #[command(flatten)]
    what: What,
}

/// What is not left to the seed.
#[derive(Debug, Args)]
struct What {
    /// Number of committees.
    #[arg(long)]
    committees: Option<usize>,
    /// Members of each committee: 1, or 4 and more.
    #[arg(long)]
    nodes: Option<usize>,
    /// Virtual seconds before everything is healed.
    #[arg(long)]
    seconds: Option<u64>,
    /// Payments that clients make.
    #[arg(long)]
    payments: Option<usize>,
    /// Real signatures.
    #[arg(long)]
    real_signatures: bool,
    /// Nothing breaks and nobody is byzantine.
    #[arg(long)]
    fault_free: bool,
    /// A planted bug.
    #[arg(long)]
    variant: Option<Variant>,
    /// A fixed scenario instead of a drawn one.
    #[arg(long)]
    profile: Option<Profile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// 4 × 4 nodes, 1,000 payments/s for 60 virtual seconds, real signatures, no faults.
    Throughput,
}

impl What {
    fn overrides(&self) -> Overrides {
        Overrides {
            committees: self.committees,
            nodes: self.nodes,
            seconds: self.seconds,
            payments: self.payments,
            real_signatures: self.real_signatures,
            fault_free: self.fault_free,
            variant: self.variant,
            throughput: self.profile == Some(Profile::Throughput),
        }
    }
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("a range is written A..B")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    let range = number(from)?..number(to)?;
    if range.is_empty() { Err("the range is empty".to_string()) } else { Ok(range) }
}

/// Carries out the command.
pub(crate) fn run(cli: &Cli) -> ExitCode {
    match &cli.command {
        Command::Run(arguments) => run_one(arguments),
        Command::Sweep(arguments) => run_many(arguments),
    }
}

fn run_one(arguments: &Run) -> ExitCode {
    let overrides = arguments.what.overrides();
    let trace = match arguments.trace.as_ref().map(File::create).transpose() {
        Ok(file) => file.map(|file| Box::new(BufWriter::new(file)) as Box<dyn Write + Send>),
        Err(error) => {
            complain!("sim: the trace file cannot be made: {error}");
            return ExitCode::from(2);
        }
    };
    let scenario = Scenario::draw(arguments.seed, &overrides);
    say!(
        "seed {}: committees of {:?}, {:?} signatures, {} faults, byzantine {:?}",
        arguments.seed,
        scenario.topology.sizes(),
        scenario.scheme,
        scenario.fault_count(),
        scenario.byzantine
    );
    let start = Instant::now();
    let outcome = World::run(scenario, trace);
    print_outcome(&outcome, start.elapsed());
    match outcome.report(&overrides) {
        None => ExitCode::SUCCESS,
        Some(report) => {
            complain!("{report}");
            ExitCode::FAILURE
        }
    }
}

fn print_outcome(outcome: &Outcome, wall: Duration) {
    let figures = &outcome.figures;
    say!("trace digest {}", outcome.digest);
    say!(
        "{:.3} virtual s in {:.2} s, {} events, {} messages, {} commits, {} ledger blocks",
        figures.virtual_micros as f64 / 1e6,
        wall.as_secs_f64(),
        figures.events,
        figures.messages,
        figures.commits,
        figures.blocks
    );
    say!(
        "{} payments made, {} submissions taken in, {} transactions certified; {} faults, healed in {:.3} s",
        figures.payments,
        figures.submitted,
        figures.certified,
        figures.faults,
        figures.heal_micros as f64 / 1e6
    );
    if let Some(cpu) = cpu_seconds() {
        say!("processor time {cpu:.2} s");
    }
}

/// User and system time of this process; `None` where /proc is not.
fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<_> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}

fn run_many(arguments: &SweepArguments) -> ExitCode {
    let sweep = Sweep {
        seeds: arguments.seeds.clone(),
        jobs: arguments.jobs,
        overrides: arguments.what.overrides(),
        time_max: arguments.seconds_max.map(Duration::from_secs),
        stop_at_first: arguments.stop_at_first,
    };
    let bar = ProgressBar::new(arguments.seeds.end - arguments.seeds.start);
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} seeds, {per_sec}, {eta} left, {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {})); // caught, reported with their seed
    let summary = sweep.run(&|done, violations| {
        bar.set_position(done);
        bar.set_message(format!("{violations} violations"));
    });
    std::panic::set_hook(hook);
    bar.finish_and_clear();
    print_summary(&summary);
    if let Some(path) = &arguments.json
        && let Err(error) = write_json(path, &summary)
    {
        complain!("sim: {} cannot be written: {error}", path.display());
        return ExitCode::from(2);
    }
    let plain = sweep.overrides == Overrides::default();
    let incomplete = plain && summary.seeds >= FULL_SWEEP && !summary.missing.is_empty();
    if summary.violations.is_empty() && !incomplete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Under a temporary name first, so that nobody reads half a summary.
fn write_json(path: &PathBuf, summary: &SweepSummary) -> std::io::Result<()> {
    let temporary = path.with_extension("partial");
    std::fs::write(&temporary, serde_json::to_vec_pretty(summary)?)?;
    std::fs::rename(&temporary, path)
}

fn print_summary(summary: &SweepSummary) {
    let figures = &summary.figures;
    say!("coverage of faults and protocol branches");
    for (name, count) in summary.coverage.table() {
        say!("  {count:>12}  {name}");
    }
    say!("");
    say!("runs by committees {:?}, committees by members {:?}", summary.committees, summary.sizes);
    say!(
        "commit {}: {} seeds in {:.1} s, {:.2} seeds/s; slowest seed {} took {:.2} s",
        summary.commit,
        summary.seeds,
        summary.wall_seconds,
        summary.seeds as f64 / summary.wall_seconds.max(1e-9),
        summary.slowest_run.0,
        summary.slowest_run.1
    );
    say!(
        "{:.0} virtual s, {} payments made, {} transactions certified, {} faults, {} messages",
        figures.virtual_micros as f64 / 1e6,
        figures.payments,
        figures.certified,
        figures.faults,
        figures.messages
    );
    say!("worst time to heal {:.3} s (seed {})", figures.heal_micros as f64 / 1e6, summary.slowest_heal_seed);
    if !summary.missing.is_empty() {
        say!("not met in these seeds: {}", summary.missing.join(", "));
    }
    for found in &summary.violations {
        complain!("VIOLATION of \"{}\", seed {}: {}", found.violation.rule, found.seed, found.violation.what);
        complain!("  replay: {}", found.replay);
    }
    say!("{} violations", summary.violations.len());
}
