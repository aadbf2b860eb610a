//! All programs of the container images in one file: the name it is started under says which one it is.
//!
//! Most of each program is what they share (RocksDB, QUIC, TLS, HTTP, the protocol). In one file it is held once, so that
//! images of all of them together stay small. The sources are those of the programs themselves.

use std::path::Path;
use std::process::{ExitCode, Termination as _};

#[path = "../../demo/src/main.rs"]
mod demo;
#[path = "../../loadgen/src/main.rs"]
mod loadgen;
#[path = "../../service/src/main.rs"]
mod service;
#[path = "../../service/src/bin/shop.rs"]
mod shop;
#[path = "../../signaler/src/main.rs"]
mod signaler;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    match Path::new(&called).file_name().and_then(|name| name.to_str()) {
        Some("node") => shardpay_node::cli::main(),
        Some("signaler") => signaler::main(),
        Some("service") => service::main(),
        Some("shop") => shop::main().report(),
        Some("demo") => demo::main(),
        Some("loadgen") => loadgen::main(),
        _ => {
            eprintln!("shardpay: start it as node, signaler, service, shop, demo or loadgen (a link of that name)");
            ExitCode::from(2)
        }
    }
}
