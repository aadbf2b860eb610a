//! Organises committees, plans, epochs; not a node. Arguments, wiring and exit codes.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};
use shardpay_client::signaler::PATH_HEALTH;
use shardpay_signaler::{Config, Flags, RocksStore, Server, Start};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(name = "signaler", version, about = "Organises committees, plans and epochs")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs until SIGINT or SIGTERM.
    Run(Flags),
    /// Reads and checks the configuration, says what it means.
    CheckConfig(Flags),
    /// Asks the signaler of this configuration whether it answers.
    Health(Flags),
}

pub(crate) fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(flags) => run(flags),
        Command::CheckConfig(flags) => check(flags),
        Command::Health(flags) => health(flags),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("signaler: {}", shardpay_settings::reason(err.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn check(flags: Flags) -> anyhow::Result<()> {
    let config = Config::load(flags)?;
    let settings = &config.settings;
    println!("listen {}", config.listen);
    println!("data_dir {}", config.data_dir.display());
    println!("{} committees of {} nodes, issuer {}", settings.committees, settings.members, settings.issuer);
    match &settings.allowed {
        Some(allowed) => println!("allow-list of {} keys", allowed.len()),
        None => println!("no allow-list: the first {} keys are taken", settings.expected()),
    }
    println!("operator token: {}", if config.operator.is_some() { "yes" } else { "no" });
    Ok(())
}

fn health(flags: Flags) -> anyhow::Result<()> {
    Ok(shardpay_client::health::ask(Config::load(flags)?.listen, PATH_HEALTH)?)
}

fn run(flags: Flags) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("SIGNALER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let config = Config::load(flags)?;
    std::fs::create_dir_all(&config.data_dir).with_context(|| format!("data_dir: {}", config.data_dir.display()))?;
    let store = RocksStore::open(&config.data_dir.join("store"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let server = Server::start(Start {
            listen: config.listen,
            connections: config.connections,
            data_dir: Some(config.data_dir),
            settings: config.settings,
            operator: config.operator,
            telemetry_push: config.telemetry_push,
            store: Box::new(store),
        })
        .await?;
        tokio::select! {
            _ = interrupt.recv() => info!("interrupted"),
            _ = terminate.recv() => info!("terminated"),
            () = server.failed() => {}
        }
        server.shutdown().await?;
        Ok(())
    })
}
