//! Starts N committees, injects faults, runs experiments, gives a verdict. See `shardpay_testbed::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    shardpay_testbed::cli::main()
}
