//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::bends::Bends;
use crate::config::{self, Config, Settings};
use crate::{control, inspect, keyfile, run};

/// The configuration or the arguments are wrong.
const EXIT_USAGE: u8 = 2;
/// A thread of the node panicked.
const EXIT_PANIC: i32 = 101;

/// A committee member of shardpay.
#[derive(Debug, Parser)]
#[command(name = "node", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the node.
    Run(Given),
    /// Draws the node's key.
    Keygen {
        /// Where the key goes; must not exist.
        #[arg(long)]
        key_file: PathBuf,
    },
    /// Reads the configuration and says what is wrong with it.
    CheckConfig(Given),
    /// Asks a running node how it is.
    Health(Given),
    /// Sends one request (JSON) to a running node's control socket.
    Control {
        #[command(flatten)]
        given: Given,
        /// Such as '{"request":"shape","latency_ms":50}'.
        request: String,
    },
    /// Describes the store of a node that does not run.
    InspectStore {
        /// The node's data directory.
        #[arg(long, env = "SHARDPAY_NODE_DATA_DIR")]
        data_dir: PathBuf,
    },
}

/// A configuration file, and what is said beside it.
#[derive(Debug, Args)]
pub struct Given {
    /// The configuration file.
    #[arg(long, env = "SHARDPAY_NODE_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

impl Given {
    /// The configuration.
    pub fn load(self) -> Result<Config, config::ConfigError> {
        config::load(self.settings, self.config.as_deref())
    }
}

/// The program.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(given) => with_config(given, |config| {
            init_log(&config.log)?;
            exit_on_panic();
            runtime(config.network_threads)?.block_on(run::run(config, Bends::default()))
        }),
        Command::Keygen { key_file } => {
            finish(keyfile::create(&key_file).map_err(Into::into).map(|key| println!("{key}")))
        }
        Command::CheckConfig(given) => with_config(given, |config| {
            println!("{config:#?}");
            Ok(())
        }),
        Command::Health(given) => with_config(given, |config| ask(&config, &control::Request::Health)),
        Command::Control { given, request } => {
            with_config(given, |config| ask(&config, &serde_json::from_str(&request)?))
        }
        Command::InspectStore { data_dir } => finish(inspect::describe(&data_dir).map(|text| println!("{text}"))),
    }
}

/// Does something with a configuration; says what is wrong with it, or with what was done.
pub fn with_config(given: Given, act: impl FnOnce(Config) -> anyhow::Result<()>) -> ExitCode {
    match given.load() {
        Ok(config) => finish(act(config)),
        Err(error) => {
            eprintln!("node: {error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn finish(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("node: {}", shardpay_settings::reason(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Asks a running node, and prints what it answers.
pub fn ask(config: &Config, request: &control::Request) -> anyhow::Result<()> {
    let (_, keypair) = keyfile::read(&config.key_file)?;
    let answer = runtime(1)?.block_on(control::call(&config.control_socket, &keypair, request))?;
    println!("{}", serde_json::to_string_pretty(&answer)?);
    Ok(())
}

/// The network's threads.
pub fn runtime(threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).thread_name("network").enable_all().build()
}

/// Begins to log, to the standard error.
pub fn init_log(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).map_err(|error| anyhow::anyhow!("log: {error}"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}

/// A panic anywhere is a bug: the process says where and ends, and its next start recovers.
pub fn exit_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        eprintln!("node: a thread panicked: the node stops");
        std::process::exit(EXIT_PANIC);
    }));
}
