//! The service. Arguments, wiring and exit codes.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::{Parser, Subcommand};
use shardpay_client::health;
use shardpay_service::config::{Config, Flags, Tls};
use shardpay_service::server::Server;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
#[command(
    name = "service",
    version,
    about = "Users, wallets, buying, paying, cashing out, merchants: HTTP API and pages"
)]
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
    /// Asks the service of this configuration whether it answers.
    Health(Flags),
    /// Prints the OpenAPI document.
    Openapi,
}

pub(crate) fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(flags) => run(flags),
        Command::CheckConfig(flags) => check(flags),
        Command::Health(flags) => ask(flags),
        Command::Openapi => {
            println!("{:#}", shardpay_service::api::document());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("service: {}", shardpay_settings::reason(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn check(flags: Flags) -> anyhow::Result<()> {
    let config = Config::load(flags)?;
    println!("listen {} ({:?})", config.listen, config.tls);
    println!("data_dir {}", config.data_dir.display());
    println!("topology {}", config.topology);
    match &config.genesis {
        Some(path) => println!("genesis {} (pinned)", path.display()),
        None => println!("no genesis plan is pinned: the topology's is taken on trust"),
    }
    Ok(())
}

fn ask(flags: Flags) -> anyhow::Result<()> {
    let config = Config::load(flags)?;
    match config.tls {
        Tls::Off => health::ask(config.listen, "/v1/health")?,
        Tls::SelfMade | Tls::Files { .. } => drop(health::connect(config.listen)?),
    }
    Ok(())
}

fn run(flags: Flags) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("SERVICE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    rustls::crypto::ring::default_provider().install_default().map_err(|_| anyhow!("another TLS provider is set"))?;
    let config = Config::load(flags)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut server = Server::start(config).await?;
        let failed = tokio::select! {
            _ = interrupt.recv() => false,
            _ = terminate.recv() => false,
            () = server.failed() => true,
        };
        server.shutdown().await;
        if failed { Err(anyhow!("stopped because of a failure; see the log")) } else { Ok(()) }
    })
}
