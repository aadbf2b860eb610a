//! Arguments, and how answers and failures are printed.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use crate::commands;
use crate::failure::Failure;

/// A wallet: keys in an encrypted file, payments signed on this machine.
///
/// Pays either through a service (--service) or directly through the nodes (--signaler and --genesis), where it
/// verifies every answer itself. Exit codes: 0 done, 1 file or network failed, 2 wrong command line, 3 refused,
/// 4 keystore or passphrase, 5 a proof does not hold, 6 sent, but its fate is not known.
#[derive(Parser)]
#[command(name = "wallet", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// Where keys, secrets and the ledger are.
#[derive(Args)]
pub(crate) struct Shared {
    /// The keystore file [default: ~/.config/shardpay/keystore.json].
    #[arg(long, global = true, env = "SHARDPAY_KEYSTORE", value_name = "FILE")]
    pub(crate) keystore: Option<PathBuf>,
    /// Reads the keystore's passphrase from the first line of a file instead of asking.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// URL of a service.
    #[arg(long, global = true, env = "SHARDPAY_SERVICE", value_name = "URL")]
    pub(crate) service: Option<String>,
    /// PEM file of the only certificate authority trusted for the service, e.g. its own certificate.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) service_ca: Option<PathBuf>,
    /// User name at the service.
    #[arg(long, global = true, env = "SHARDPAY_USER", value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Reads the service's password from the first line of a file instead of asking.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// URL of a signaler, or a topology file: talk to the nodes directly.
    #[arg(long, global = true, conflicts_with = "service", requires = "genesis", value_name = "URL")]
    pub(crate) signaler: Option<String>,
    /// The genesis plan: what is trusted. 'GET /v1/genesis' of a service, or genesis.plan of a run.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) genesis: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a wallet and prints its 24 words, once.
    New(NewArgs),
    /// Makes the keystore file again from 24 words or another keystore file.
    Restore(RestoreArgs),
    /// Prints the address, or a payment link.
    Address(AddressArgs),
    /// Prints the balance.
    Balance,
    /// Makes an account at the service for this wallet.
    Register,
    /// Buys coins by debit card (service).
    Buy(BuyArgs),
    /// Pays.
    Pay(PayArgs),
    /// Cashes out to a bank account (service).
    CashOut(CashOutArgs),
    /// Prints what came in and went out (service).
    History(HistoryArgs),
    /// Checks a receipt file against --genesis, offline.
    VerifyReceipt {
        /// The receipt file.
        file: PathBuf,
    },
    /// Writes a copy of the keystore file, or prints the 24 words.
    Export(ExportArgs),
}

#[derive(Args)]
pub(crate) struct NewArgs {
    /// Number of the account derived from the words.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=i64::from(shardpay_keystore::ACCOUNT_MAX)))]
    pub(crate) account: u32,
}

#[derive(Args)]
pub(crate) struct RestoreArgs {
    /// Reads the 24 words from a file instead of asking.
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    pub(crate) words_file: Option<PathBuf>,
    /// A keystore file, e.g. one the browser saved.
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Number of the account derived from the words.
    #[arg(long, default_value_t = 0, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(..=i64::from(shardpay_keystore::ACCOUNT_MAX)))]
    pub(crate) account: u32,
}

#[derive(Args)]
pub(crate) struct AddressArgs {
    /// Prints a payment link that asks for this amount.
    #[arg(long)]
    pub(crate) amount: Option<String>,
    /// Prints a payment link with this reference.
    #[arg(long)]
    pub(crate) reference: Option<String>,
}

#[derive(Args)]
pub(crate) struct BuyArgs {
    /// How much, in whole cents.
    pub(crate) amount: String,
    /// JSON file with number, expiry (MM/YY), cvc and holder, instead of asking.
    #[arg(long, value_name = "FILE")]
    pub(crate) card_file: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct PayArgs {
    /// An address, a payment link, or a user name of the service.
    pub(crate) to: String,
    /// How much; left out only when the payment link says it.
    pub(crate) amount: Option<String>,
    /// A note of at most 16 characters, or 32 hexadecimal digits.
    #[arg(long)]
    pub(crate) reference: Option<String>,
    /// Where to write the receipt file.
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct CashOutArgs {
    /// How much, in whole cents.
    pub(crate) amount: String,
    /// The bank account.
    #[arg(long)]
    pub(crate) iban: String,
    /// Its holder.
    #[arg(long)]
    pub(crate) holder: String,
}

#[derive(Args)]
pub(crate) struct HistoryArgs {
    /// `in` or `out`.
    #[arg(long, value_parser = ["in", "out"])]
    pub(crate) direction: Option<String>,
    /// Only entries with this reference.
    #[arg(long)]
    pub(crate) reference: Option<String>,
    /// At most so many entries, newest first.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    /// Prints CSV.
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ExportArgs {
    /// Writes a copy of the (encrypted) keystore file.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// Prints the 24 words. Whoever reads them has the coins.
    #[arg(long)]
    pub(crate) words: bool,
}

/// What a command says: for programs, and for people.
pub(crate) struct Answer {
    pub(crate) json: Value,
    pub(crate) text: String,
}

/// The program.
pub fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("WALLET_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // the service may speak TLS; the provider is chosen once per process
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Cli { shared, command } = Cli::parse();
    let answer = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime.block_on(run(&shared, command)),
        Err(error) => Err(Failure::Environment(format!("runtime: {error}"))),
    };
    let printed = match &answer {
        Ok(answer) if shared.json => writeln!(std::io::stdout(), "{:#}", answer.json),
        Ok(answer) => writeln!(std::io::stdout(), "{}", answer.text),
        Err(failure) if shared.json => {
            let error = json!({ "error": { "kind": failure.name(), "message": failure.to_string() } });
            writeln!(std::io::stderr(), "{error:#}")
        }
        Err(failure) => writeln!(std::io::stderr(), "wallet: {failure}"),
    };
    match (answer, printed) {
        (Ok(_), Ok(())) => ExitCode::SUCCESS,
        (Ok(_), Err(_)) => ExitCode::FAILURE,
        (Err(failure), _) => ExitCode::from(failure.exit_code()),
    }
}

async fn run(shared: &Shared, command: Command) -> Result<Answer, Failure> {
    match command {
        Command::New(args) => commands::keys::new(shared, &args),
        Command::Restore(args) => commands::keys::restore(shared, &args),
        Command::Address(args) => commands::keys::address(shared, &args),
        Command::Export(args) => commands::keys::export(shared, &args),
        Command::VerifyReceipt { file } => commands::keys::verify_receipt(shared, &file),
        Command::Balance => commands::pay::balance(shared).await,
        Command::Pay(args) => commands::pay::pay(shared, &args).await,
        Command::Register => commands::account::register(shared).await,
        Command::Buy(args) => commands::account::buy(shared, &args).await,
        Command::CashOut(args) => commands::account::cash_out(shared, &args).await,
        Command::History(args) => commands::account::history(shared, &args).await,
    }
}
