//! A node whose disk is full stops and says why, instead of going on without its store; the others pay on; with
//! room again it catches up.
//!
//! The disk is full for one node: a shell gives it a limit on the size of files (`ulimit -f`) and ignores the
//! signal that comes with it, so that writes fail as they do on a full disk.

mod common;
#[path = "../../crates/transport/tests/common/any_server.rs"]
mod keys;
#[path = "common/pay.rs"]
mod pay;
#[path = "common/raw.rs"]
mod raw;

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Nodes, PATIENCE, free_ports, genesis, keypair, mint, prepare, run_arguments};
use pay::{HOME, ready, submission};
use raw::{RawClient, framed};
use shardpay_crypto::Signer;
use shardpay_types::{ClientReply, Plan, TxAnswer};

/// Mints in one submission.
const MINTS: usize = 200;
/// In the shell's blocks of 512 bytes or 1 KiB.
const FILE_BLOCKS_MAX: u32 = 2_048;

fn start(dir: &Path, peers: SocketAddr, clients: SocketAddr, limited: bool) -> Child {
    let node = env!("CARGO_BIN_EXE_node");
    let mut command = if limited {
        let mut shell = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f {FILE_BLOCKS_MAX} || exit 9; exec \"$0\" \"$@\"");
        shell.arg("-c").arg(script).arg(node);
        shell
    } else {
        Command::new(node)
    };
    run_arguments(&mut command, dir, peers, clients);
    command.args(["--leader-timeout-ms", "100", "--heartbeat-ms", "500", "--telemetry-ms", "0"]);
    let errors = File::options().create(true).append(true).open(dir.join("errors")).expect("a file");
    command.stdout(Stdio::null()).stderr(errors).spawn().expect("starts")
}

/// Mints, all of which must be executed.
async fn mint_some(plan: &Plan, client: &mut RawClient, first: usize) {
    let mints = (first..first + MINTS).map(|n| mint(plan, keypair(n % 4).public_key(), 1, n)).collect();
    client.send(&framed(&submission(mints))).await;
    let mut executed = 0;
    while executed < MINTS {
        let Some(ClientReply::Results(results)) = client.reply().await else { panic!("no results") };
        assert!(results.results.iter().all(|result| matches!(result.answer, TxAnswer::Executed(_))), "{results:?}");
        executed += results.results.len();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_stops_its_node_only_and_room_brings_it_back() {
    let plan = genesis(1);
    let dir = tempfile::tempdir().expect("a directory");
    let ports = free_ports(8);
    let (peers, clients) = ports.split_at(4);
    let home = |member: usize| dir.path().join(member.to_string());
    let mut nodes = Nodes(Vec::new());
    for member in 0..4 {
        prepare(&home(member), member, &plan, peers);
        nodes.0.push(start(&home(member), peers[member], clients[member], member == 3));
    }
    let (mut client, _) = ready(&plan, HOME, clients[0]).await;
    ready(&plan, HOME, clients[3]).await;
    let started = Instant::now();
    let mut minted = 0;
    let status = loop {
        mint_some(&plan, &mut client, minted).await;
        minted += MINTS;
        if let Some(status) = nodes.0[3].try_wait().expect("a child") {
            break status;
        }
        assert!(started.elapsed() < PATIENCE, "the disk does not fill up");
    };
    let told = std::fs::read_to_string(home(3).join("errors")).expect("told");
    assert_ne!(status.code(), Some(9), "the shell sets no limit on the size of files");
    assert_eq!(status.code(), Some(1), "{told}");
    let store = home(3).join("store").display().to_string();
    for part in ["node: ", "the store failed", &store, "File too large"] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(!told.contains("panicked"), "{told}");
    // the others go on, and with room it is one of them again
    for _ in 0..3 {
        mint_some(&plan, &mut client, minted).await;
        minted += MINTS;
    }
    nodes.0[3] = start(&home(3), peers[3], clients[3], false);
    let (_, others) = ready(&plan, HOME, clients[0]).await;
    let caught_up = async {
        while ready(&plan, HOME, clients[3]).await.1.certified < others.certified {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, caught_up).await.expect("it catches up");
    assert!(others.certified.get() > 0);
}
