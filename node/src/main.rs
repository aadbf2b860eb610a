//! A committee member.

use std::process::ExitCode;

fn main() -> ExitCode {
    shardpay_node::cli::main()
}
