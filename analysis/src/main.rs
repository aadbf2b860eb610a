//! Checks, compares and draws finished runs. See `shardpay_analysis::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    shardpay_analysis::cli::main()
}
