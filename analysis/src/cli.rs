//! The command line: arguments, and which part of the library carries them out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::compare::{self, EFFECT_MIN};
use crate::report;
use crate::runs::{Run, runs_at};
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
    },
    /// Writes one self-contained page of figures, and their data as CSV.
    Report {
        /// Run directories, or directories of them.
        #[arg(required = true)]
        runs: Vec<PathBuf>,
        /// Directory for report.html and the CSV files.
        #[arg(long, default_value = "report")]
        out: PathBuf,
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
            eprintln!("analysis: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all is fine.
fn carry_out(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Verify { runs } => verify_all(&all_runs(&runs)?),
        Command::Compare { first, second, effect_min, json } => {
            let (first, second) = (runs_at(&first)?, runs_at(&second)?);
            compare::comparable(&first, &second)?;
            let summaries = |runs: &'_ [Run]| runs.iter().map(|run| run.summary.clone()).collect::<Vec<_>>();
            let (first, second) = (summaries(&first), summaries(&second));
            let compared =
                compare::compare(&first.iter().collect::<Vec<_>>(), &second.iter().collect::<Vec<_>>(), effect_min);
            if json {
                println!("{}", serde_json::to_string_pretty(&compared)?);
            } else {
                print!("{}", compared.table());
            }
            Ok(!compared.regressed())
        }
        Command::Report { runs, out } => {
            let runs = all_runs(&runs)?;
            let written = report::write(&runs, &out).with_context(|| format!("writing {}", out.display()))?;
            println!("{} figures of {} runs: {}", written.figures, runs.len(), written.page.display());
            Ok(true)
        }
    }
}

fn all_runs(paths: &[PathBuf]) -> anyhow::Result<Vec<Run>> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(runs_at(path)?);
    }
    Ok(all)
}

fn verify_all(runs: &[Run]) -> anyhow::Result<bool> {
    let mut fine = true;
    for run in runs {
        fine &= verify_one(&run.dir)?;
    }
    Ok(fine)
}

fn verify_one(dir: &Path) -> anyhow::Result<bool> {
    let found = verify(dir).with_context(|| format!("{} cannot be verified", dir.display()))?;
    for mismatch in &found {
        println!("{}: {mismatch}", dir.display());
    }
    if found.is_empty() {
        println!("{}: verdict and summary follow from the raw data", dir.display());
    }
    Ok(found.is_empty())
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
