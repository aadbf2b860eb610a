//! The demo app's program: arguments, wiring and exit codes.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Parser;
use shardpay_demo::{App, Forward, Guarded, Limits, Patience, WriteRules, load, router};
use shardpay_push::{PushTargets, Pusher};
use shardpay_telemetry::{Recorder, ServerKind, ServerTag};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Connections at once: a few hundred servers and some pages.
const CONNECTIONS_MAX: usize = 2_048;
/// Bytes that wait to be forwarded.
const FORWARD_BYTES_MAX: usize = 64 << 20;

/// A page that shows what every server of a shardpay network does.
#[derive(Debug, Parser)]
#[command(name = "demo", version)]
struct Arguments {
    /// Where page and write endpoint are served; port 0: any.
    #[arg(long, env = "SHARDPAY_DEMO_LISTEN", default_value = "127.0.0.1:8088")]
    listen: SocketAddr,
    /// Shows a finished run instead of a live one.
    #[arg(long, value_name = "RUN_DIR", conflicts_with_all = ["token_file", "forward"])]
    replay: Option<PathBuf>,
    /// File with the token that writers must send. Needed to listen on other than loopback addresses.
    #[arg(long, env = "SHARDPAY_DEMO_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Organisation that writers must name.
    #[arg(long, default_value = "shardpay")]
    org: String,
    /// Bucket that writers must name.
    #[arg(long, default_value = "shardpay")]
    bucket: String,
    /// Seconds that are kept in memory.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(30..=86_400))]
    window_s: u32,
    /// Room for metrics in MB; when it is full, further metrics are not kept, and that is shown.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    memory_mb: u32,
    /// Largest body of a write in MB, as sent.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=64))]
    body_mb: u32,
    /// Write endpoints that get everything as well, such as http://127.0.0.1:8086?org=o&bucket=b&token_file=t.
    #[arg(long, env = "SHARDPAY_DEMO_FORWARD", default_value = "")]
    forward: PushTargets,
    /// Asks the app that listens there whether it answers, and ends.
    #[arg(long)]
    health: bool,
    /// Writes the address that is listened on to this file.
    #[arg(long)]
    address_file: Option<PathBuf>,
}

pub(crate) fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SHARDPAY_DEMO_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    if arguments.health {
        return ended(shardpay_client::health::ask(arguments.listen, "/health").context("it does not answer"));
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).max_blocking_threads(2).enable_all().build();
    ended(runtime.context("threads").and_then(|runtime| runtime.block_on(run(arguments))))
}

fn ended(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {}", shardpay_settings::reason(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let room = arguments.memory_mb as usize * 1_000_000;
    let app = match &arguments.replay {
        Some(dir) => {
            let dir = dir.clone();
            tokio::task::spawn_blocking(move || load(&dir, room.max(1_000_000_000))).await?.context("--replay")?
        }
        None => live(&arguments, room)?,
    };
    let listener =
        TcpListener::bind(arguments.listen).await.with_context(|| format!("--listen {}", arguments.listen))?;
    let address = listener.local_addr()?;
    if let Some(path) = &arguments.address_file {
        write_address(path, address).with_context(|| format!("--address-file {}", path.display()))?;
    }
    // whoever reads this may have gone
    let _ = writeln!(std::io::stdout(), "http://{address}/");
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    if arguments.replay.is_none() {
        tokio::spawn(app.clone().run_clock());
    }
    let guarded = Guarded::new(listener, CONNECTIONS_MAX, Patience::default());
    tokio::select! {
        served = axum::serve(guarded, router(app)) => served.context("serving"),
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

fn live(arguments: &Arguments, room: usize) -> anyhow::Result<Arc<App>> {
    let token = arguments.token_file.as_deref().map(read_token).transpose()?;
    if token.is_none() && !arguments.listen.ip().is_loopback() {
        bail!("--token-file: needed to listen on {}: anybody could write", arguments.listen.ip());
    }
    let rules = WriteRules {
        token,
        org: arguments.org.clone(),
        bucket: arguments.bucket.clone(),
        body_bytes_max: arguments.body_mb as usize * 1_000_000,
    };
    let limits = Limits { slots: arguments.window_s as usize, bytes_max: room, ..Limits::default() };
    let forward = if arguments.forward.0.is_empty() {
        None
    } else {
        let recorder = Recorder::new(ServerTag::new(ServerKind::Service, "demo"));
        let pusher = Pusher::start_sized(&arguments.forward, "--forward", &recorder, FORWARD_BYTES_MAX)?;
        Some(Forward::new(pusher, &recorder))
    };
    Ok(Arc::new(App::live(rules, limits, forward)))
}

fn read_token(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("--token-file {}", path.display()))?;
    let token = text.trim();
    if token.is_empty() {
        bail!("--token-file {}: holds no token", path.display());
    }
    Ok(token.to_owned())
}

/// Writes whole or not at all: somebody waits for the file.
fn write_address(path: &Path, address: SocketAddr) -> std::io::Result<()> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, address.to_string())?;
    std::fs::rename(&temporary, path)
}
