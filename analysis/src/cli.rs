//! The command line: arguments, and which part of the library carries them out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use shardpay_model::Costs;
use shardpay_run::{GitState, HostFacts, StepObjective};

use crate::compare::{self, EFFECT_MIN};
use crate::history;
use crate::model;
use crate::report::{self, Written};
use crate::runs::{Run, RunsError, dirs_at, points, runs_at};
use crate::verify::verify;

const EXIT_CODES: &str = "Exit codes: 0 fine; 1 a regression, or a run that does not verify; 2 nothing could be said.";

/// Checks, compares and draws finished runs.
#[derive(Debug, Parser)]
#[command(name = "analysis", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Works verdict and summary of runs out again from their raw data; exit code 1 on any mismatch.
    Verify {
        /// Run directories, or directories of them.
        #[arg(required = true)]
        runs: Vec<PathBuf>,
        /// SHA-256 that the manifest of the one run given must have, as it was printed when the run was fresh.
        #[arg(long)]
        manifest: Option<String>,
    },
    /// Compares two sets of at least six repeats; exit code 1 when the second is worse.
    Compare {
        /// Directory of the first set of run directories.
        first: PathBuf,
        /// Directory of the second set.
        second: PathBuf,
        /// Smallest change of a median that counts.
        #[arg(long, default_value_t = EFFECT_MIN, value_parser = share)]
        effect_min: f64,
        /// Prints all figures as JSON instead of the table.
        #[arg(long)]
        json: bool,
        /// Directory for compare.html, with both sides drawn over each other, and CSV files.
        #[arg(long)]
        out: Option<PathBuf>,
        /// With --out: each figure as SVG, too, by a headless Chromium.
        #[arg(long, requires = "out")]
        svg: bool,
    },
    /// Follows one experiment over the commits its runs were made at; exit code 1 when the last one is worse.
    History {
        /// Run directories, or directories of them.
        #[arg(required = true)]
        runs: Vec<PathBuf>,
        /// Smallest change of a median that counts.
        #[arg(long, default_value_t = EFFECT_MIN, value_parser = share)]
        effect_min: f64,
        /// Directory for history.html and a CSV file per metric.
        #[arg(long)]
        out: Option<PathBuf>,
        /// With --out: each figure as SVG, too, by a headless Chromium.
        #[arg(long, requires = "out")]
        svg: bool,
    },
    /// Writes one self-contained page of figures, and their data as CSV.
    Report {
        /// Run directories, or directories of them.
        #[arg(required = true)]
        runs: Vec<PathBuf>,
        /// Directory for report.html and the CSV files.
        #[arg(long, default_value = "report")]
        out: PathBuf,
        /// Of runs that climb a ladder of rates: the bound of the 99th percentile, in milliseconds.
        #[arg(long, default_value_t = 5_000.0, value_parser = StepObjective::parse_p99_ms)]
        p99_ms: f64,
        /// Of these runs: the share of a step's rate that must be certified for the step to count.
        #[arg(long, default_value_t = StepObjective::CERTIFIED_MIN, value_parser = StepObjective::parse_certified_min)]
        certified_min: f64,
        /// Writes each figure as SVG, too, by a headless Chromium.
        #[arg(long)]
        svg: bool,
    },
    /// Predicts throughput and latency from costs measured on a machine: beside runs, and for larger systems.
    Model {
        /// Run directories, or directories of them, to hold predictions against.
        runs: Vec<PathBuf>,
        /// Measures this machine first, in less than a minute; it should have nothing else to do.
        #[arg(long)]
        calibrate: bool,
        /// The measured costs: written with --calibrate, else read.
        #[arg(long, default_value = "costs.toml")]
        costs: PathBuf,
        /// Directory for model.html and the CSV files.
        #[arg(long, default_value = "model")]
        out: PathBuf,
        /// Writes each figure as SVG, too, by a headless Chromium.
        #[arg(long)]
        svg: bool,
    },
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.0..1.0).contains(&share) { Ok(share) } else { Err("must be 0 or more and below 1".to_owned()) }
}

/// The program.
pub fn main() -> ExitCode {
    match carry_out(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("analysis: {}", shardpay_settings::reason(error.as_ref()));
            ExitCode::from(2)
        }
    }
}

/// Whether all is fine.
fn carry_out(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Verify { runs, manifest } => {
            // what a damaged run holds is for `verify` to judge
            let dirs = each_at(&runs, dirs_at)?;
            if let Some(digest) = &manifest {
                anyhow::ensure!(dirs.len() == 1, "--manifest is the digest of one run, these are {}", dirs.len());
                let is = shardpay_run::file_digest(&shardpay_run::RunDir::new(&dirs[0]).manifest())?;
                if is != *digest {
                    println!("{}: manifest.json has the SHA-256 {is}, not {digest}", dirs[0].display());
                    return Ok(false);
                }
            }
            verify_all(&dirs)
        }
        Command::Compare { first, second, effect_min, json, out, svg } => {
            compare_all([&first, &second], effect_min, json, out.map(|out| (out, svg)))
        }
        Command::History { runs, effect_min, out, svg } => {
            follow(&each_at(&runs, runs_at)?, effect_min, out.map(|out| (out, svg)))
        }
        Command::Report { runs, out, p99_ms: p99_ms_max, certified_min, svg } => {
            let runs = each_at(&runs, runs_at)?;
            let objective = StepObjective { p99_ms_max, certified_min };
            let written =
                report::write(&runs, &out, objective).with_context(|| format!("writing {}", out.display()))?;
            println!("{} figures of {} runs: {}", written.figures.len(), runs.len(), written.page.display());
            draw(&written, svg)?;
            Ok(true)
        }
        Command::Model { runs, calibrate, costs, out, svg } => {
            let costs = costs_of_machine(&costs, calibrate)?;
            let (void, good): (Vec<Run>, Vec<Run>) =
                each_at(&runs, runs_at)?.into_iter().partition(|run| run.void_because().is_some());
            for run in void {
                eprintln!("{} is void: {}", run.dir.display(), run.void_because().unwrap_or_default());
            }
            let report = model::report(points(good), costs, &|what| eprintln!("{what}"));
            let written = model::write(&report, &out).with_context(|| format!("writing {}", out.display()))?;
            println!(
                "{} figures of {} points: {}",
                written.figures.len(),
                report.compared.len(),
                written.page.display()
            );
            draw(&written, svg)?;
            Ok(true)
        }
    }
}

/// Measured now and written, or read.
fn costs_of_machine(path: &Path, calibrate: bool) -> anyhow::Result<Costs> {
    if !calibrate {
        return Costs::read(path).context("costs, as measured by `analysis model --calibrate`");
    }
    let here = Path::new(".");
    let (host, git) = (HostFacts::read(here), GitState::read(here));
    let commit = if git.modified { format!("{}, changed", git.commit) } else { git.commit };
    let costs = shardpay_model::calibrate((host.cpu_model, host.cores), commit, &mut |what| {
        eprintln!("measuring {what}");
    })?;
    costs.write(path)?;
    eprintln!("{}", path.display());
    Ok(costs)
}

/// Where a page goes, and whether its figures are wanted as files.
type Out = Option<(PathBuf, bool)>;

fn compare_all(sides: [&Path; 2], effect_min: f64, json: bool, out: Out) -> anyhow::Result<bool> {
    let (first, second) = (runs_at(sides[0])?, runs_at(sides[1])?);
    compare::comparable(&first, &second)?;
    let summaries = |runs: &'_ [Run]| runs.iter().map(|run| run.summary.clone()).collect::<Vec<_>>();
    let (a, b) = (summaries(&first), summaries(&second));
    let compared = compare::compare(&a.iter().collect::<Vec<_>>(), &b.iter().collect::<Vec<_>>(), effect_min);
    if json {
        println!("{}", serde_json::to_string_pretty(&compared)?);
    } else {
        print!("{}", compared.table());
    }
    for caution in compare::cautions(&first, &second) {
        eprintln!("caution: {caution}");
    }
    if let Some((out, svg)) = out {
        let written = compare::write(&compared, [&first, &second], &out)?;
        eprintln!("{}", written.page.display());
        draw(&written, svg)?;
    }
    Ok(!compared.regressed())
}

fn follow(runs: &[Run], effect_min: f64, out: Out) -> anyhow::Result<bool> {
    let void: Vec<Run> = runs.iter().filter(|run| run.void_because().is_some()).cloned().collect();
    for run in &void {
        eprintln!("{} is void: {}", run.dir.display(), run.void_because().unwrap_or_default());
    }
    let commits = history::commits(runs)?;
    let courses = history::courses(&commits, effect_min);
    print!("{}", history::table(&courses));
    if let Some((out, svg)) = out {
        let written = history::write(&commits, &courses, &void, &out)?;
        eprintln!("{}", written.page.display());
        draw(&written, svg)?;
    }
    Ok(!history::regressed(&courses))
}

/// The figures as files, when asked for.
fn draw(written: &Written, svg: bool) -> anyhow::Result<()> {
    if svg {
        let files = report::svg::write(written).context("the page is written, the SVG files are not")?;
        eprintln!("{} SVG files beside it", files.len());
    }
    Ok(())
}

/// What lies at each of the paths, in their order.
fn each_at<T>(paths: &[PathBuf], at: fn(&Path) -> Result<Vec<T>, RunsError>) -> Result<Vec<T>, RunsError> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(at(path)?);
    }
    Ok(all)
}

fn verify_all(dirs: &[PathBuf]) -> anyhow::Result<bool> {
    let mut fine = true;
    for dir in dirs {
        fine &= verify_one(dir)?;
    }
    Ok(fine)
}

fn verify_one(dir: &Path) -> anyhow::Result<bool> {
    let verified = verify(dir).with_context(|| format!("{} cannot be verified", dir.display()))?;
    for mismatch in &verified.mismatches {
        println!("{}: {mismatch}", dir.display());
    }
    for unchecked in &verified.unchecked {
        println!("{}: not checked: {unchecked}", dir.display());
    }
    if verified.mismatches.is_empty() {
        let digest = verified.manifest;
        println!("{}: verdict and summary follow from the raw data; manifest {digest}", dir.display());
    }
    Ok(verified.mismatches.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        assert!(Cli::try_parse_from(["analysis", "compare", "a", "b", "--effect-min", "1.5"]).is_err());
        assert!(Cli::try_parse_from(["analysis", "verify"]).is_err());
    }
}
