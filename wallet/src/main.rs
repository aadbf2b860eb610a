//! Command-line wallet with an encrypted keystore.

use std::process::ExitCode;

fn main() -> ExitCode {
    shardpay_wallet::cli::main()
}
