//! `loadgen`: drives a ledger and writes what it saw into a run directory.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use shardpay_crypto::Keypair;
use shardpay_loadgen::drive::{Plan, Run};
use shardpay_loadgen::network::{Network, client_of, read_topology};
use shardpay_loadgen::progress::{Progress, ProgressKind};
use shardpay_loadgen::start::StartAt;
use shardpay_loadgen::via::{self, ViaPlan};
use shardpay_push::PushTargets;
use shardpay_run::{LoadResult, RunDir, Spec};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Load on a ledger: open loop, latency from the intended time of sending.
#[derive(Parser)]
#[command(name = "loadgen", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Funds accounts, drives the load, writes result.json, latency.hlog and acks.bin.
    Run(RunArgs),
}

#[derive(Args)]
struct RunArgs {
    /// The topology: a JSON file, or the URL of a signaler.
    #[arg(long)]
    topology: String,
    /// The experiment; its [load] section and durations count here.
    #[arg(long)]
    spec: PathBuf,
    /// Overrides a key of the spec, e.g. `load.accounts=1000`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The run directory; files go to `loadgen/<process>/` in it.
    #[arg(long)]
    out: PathBuf,
    /// Which of how many processes this is, e.g. `0/2`.
    #[arg(long, default_value = "0/1", value_parser = parse_share)]
    process: (usize, usize),
    /// When the load begins, the same for all processes of a run: milliseconds since 1970, or RFC 3339. Refused when
    /// it has passed, at the start or once accounts are funded and payments signed.
    #[arg(long, value_name = "TIME")]
    start_at: Option<StartAt>,
    /// File with the issuer's seed, 64 hexadecimal digits; without it the accounts must have coins.
    #[arg(long)]
    issuer_seed: Option<PathBuf>,
    /// Where signed payments are kept for the next run of the same load; without it nowhere.
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Write endpoints for metrics, such as http://127.0.0.1:8086?org=o&bucket=b&token_file=/etc/token.
    #[arg(long, env = "SHARDPAY_LOADGEN_TELEMETRY_PUSH", default_value = "")]
    telemetry_push: PushTargets,
    /// Pays through the service at this URL instead of the nodes: users register, buy coins by card, sign and POST.
    #[arg(long, value_name = "URL", conflicts_with_all = ["issuer_seed", "cache", "start_at"])]
    via: Option<String>,
    /// How progress is shown; on a terminal as one line, else as JSON.
    #[arg(long, value_enum)]
    progress: Option<ProgressKind>,
}

fn parse_share(text: &str) -> Result<(usize, usize), String> {
    let (process, processes) = text.split_once('/').ok_or("write i/n")?;
    let number = |text: &str| text.parse::<usize>().map_err(|error| error.to_string());
    let (process, processes) = (number(process)?, number(processes)?);
    if process < processes { Ok((process, processes)) } else { Err("i counts from 0 and is below n".to_owned()) }
}

fn read_seed(path: &Path) -> Result<Keypair> {
    let text = std::fs::read_to_string(path).with_context(|| format!("--issuer-seed {}", path.display()))?;
    let mut seed = [0; 32];
    if hex::decode_to_slice(text.trim(), &mut seed).is_err() {
        bail!("--issuer-seed {}: 64 hexadecimal digits expected", path.display());
    }
    Ok(Keypair::from_seed(&seed))
}

async fn run(args: RunArgs) -> Result<()> {
    let spec = Spec::load(&args.spec, &args.set)?;
    if let Some(start_at) = args.start_at {
        start_at.left(SystemTime::now(), "too late to share a load")?;
    }
    let issuer = args.issuer_seed.as_deref().map(read_seed).transpose()?;
    let topology = read_topology(&args.topology).await?;
    let kind = if std::io::stdout().is_terminal() { ProgressKind::Bar } else { ProgressKind::Json };
    let progress = Progress::new(args.progress.unwrap_or(kind));
    let (stopper, stop) = watch::channel(false);
    let mut stopped = stop.clone();
    let mut terminate = signal(SignalKind::terminate()).context("signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if !first {
                // The second one does not wait for the drain.
                std::process::exit(130);
            }
            stopper.send_replace(true);
        }
    });
    if let Some(url) = args.via {
        let genesis = topology.genesis.context("the topology names no genesis plan yet")?.0;
        let (out, telemetry_push) = (RunDir::new(args.out), args.telemetry_push);
        let plan = ViaPlan { spec, share: args.process, out, url, genesis, telemetry_push };
        return say_shortfalls(&via::run(plan, progress, stop).await?);
    }
    // Room for repetitions of what was refused beside all that may be in flight.
    let client = client_of(&topology)?;
    let network = Network::connect(client.clone(), spec.load.max_in_flight * 2 + 8_192).await?;
    let (out, cache, telemetry_push) = (RunDir::new(args.out), args.cache, args.telemetry_push);
    let plan = Plan { spec, share: args.process, out, cache, issuer, telemetry_push, start_at: args.start_at };
    let prepared = tokio::select! {
        prepared = Run::prepare(plan, network, progress, stop) => prepared?,
        _ = stopped.changed() => bail!("stopped before the load began"),
    };
    let result = prepared.run().await?;
    client.close().await;
    say_shortfalls(&result)
}

fn say_shortfalls(result: &LoadResult) -> Result<()> {
    for shortfall in &result.shortfalls {
        eprintln!("{shortfall}");
    }
    Ok(())
}

pub(crate) fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let Command::Run(args) = Cli::parse().command;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = runtime.context("runtime").and_then(|runtime| {
        runtime.block_on(async {
            // On a worker, so that signing may block it.
            tokio::spawn(run(args)).await.context("the run panicked")?
        })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadgen: {}", shardpay_settings::reason(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
