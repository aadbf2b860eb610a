//! The simulator's command line: one seed, or many.

mod cli;
mod out;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::run(&cli::Cli::parse())
}
