//! A committee member that misbehaves as it is told, for tests and experiments with real clusters.
//!
//! It is the node's own library with one of the simulator's twists between the node and its peers; `fork` runs it twice.
//! A program of its own, so that no build of `node` can hold any of this.

mod carry;
mod fork;
mod twisted;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use shardpay_node::bends::Bends;
use shardpay_node::cli::{Given, ask, exit_on_panic, init_log, runtime, with_config};
use shardpay_node::config::Config;
use shardpay_node::control::Request;
use shardpay_node::run;
use shardpay_run::TwistName;

use fork::Fork;

/// A committee member of shardpay that misbehaves.
#[derive(Debug, Parser)]
#[command(name = "node-byzantine", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the node.
    Run {
        #[command(flatten)]
        given: Given,
        /// How it misbehaves: equivocate, be-silent, send-to-some, withhold, jump-rounds, spam, lie-as-relayer,
        /// lie-about-history, sign-false-headers, forge-transactions, or fork.
        #[arg(long, value_parser = twist)]
        twist: TwistName,
        /// What chance decides is drawn from it.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// With the twist fork: the file that says who takes part and who is shown what.
        #[arg(long)]
        fork: Option<PathBuf>,
    },
    /// Asks a running node how it is.
    Health(Given),
}

fn twist(text: &str) -> Result<TwistName, String> {
    let found = TwistName::ALL.into_iter().find(|twist| twist.name() == text);
    found.ok_or_else(|| {
        let known: Vec<&str> = TwistName::ALL.iter().map(|twist| twist.name()).collect();
        format!("known are {}", known.join(", "))
    })
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Health(given) => with_config(given, |config| ask(&config, &Request::Health)),
        Command::Run { given, twist, seed, fork } => with_config(given, |config| {
            init_log(&config.log)?;
            exit_on_panic();
            runtime(config.network_threads)?.block_on(misbehave(config, twist, seed, fork))
        }),
    }
}

async fn misbehave(config: Config, twist: TwistName, seed: u64, fork: Option<PathBuf>) -> anyhow::Result<()> {
    tracing::warn!(twist = twist.name(), "this node misbehaves on purpose");
    if twist == TwistName::Fork {
        let path = fork.context("the twist fork needs --fork")?;
        return fork::run(config, Fork::read(&path)?).await;
    }
    let bend = twisted::bend(twist, seed).context("the twist fork is no twist of a single node")?;
    run::run(config, Bends { bend: Some(bend), ..Bends::default() }).await
}
