//! Four nodes and a signaler as processes: the signaler's clock (`epochs.seconds`) closes epochs and opens the
//! next ones while payments go on; they go on without the signaler, too, and the clock with it when it is back.
//!
//! The program signaler must lie beside the node; cargo builds only this package's own programs for a test, so
//! `./shardpay test` builds all of them first.

mod common;
#[path = "../../crates/transport/tests/common/any_server.rs"]
mod keys;
#[path = "common/pay.rs"]
mod pay;
#[path = "common/raw.rs"]
mod raw;

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Nodes, PATIENCE, issuer, write_key};
use pay::Payer;
use shardpay_client::signaler::{Phase, PlansQuery, SignalerClient};
use shardpay_crypto::Signer;
use shardpay_types::{CommitteeId, MemberIndex};

const EPOCH_SECONDS: u64 = 2;

fn signaler(dir: &Path, listen: &str) -> Child {
    let program = Path::new(env!("CARGO_BIN_EXE_node")).with_file_name("signaler");
    assert!(program.is_file(), "{} is missing: 'cargo build --release --workspace --bins' first", program.display());
    let config = dir.join("signaler.toml");
    let text = format!(
        "data_dir = \"signaler\"\n[network]\ncommittees = 1\nmembers = 4\nissuer = \"{}\"\n[epochs]\nseconds = \
         {EPOCH_SECONDS}\n",
        issuer().public_key()
    );
    std::fs::write(&config, text).expect("written");
    let log = File::options().create(true).append(true).open(dir.join("signaler.log")).expect("a file");
    let mut command = Command::new(program);
    command.args(["run", "--listen", listen, "--config"]).arg(config);
    command.stdout(Stdio::null()).stderr(log).spawn().expect("starts")
}

async fn address(dir: &Path) -> String {
    let started = Instant::now();
    loop {
        if let Ok(address) = std::fs::read_to_string(dir.join("signaler/address")) {
            return address;
        }
        assert!(started.elapsed() < PATIENCE, "the signaler does not come up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until an epoch not below `epoch` runs; which one.
async fn runs(client: &SignalerClient, epoch: u64) -> u64 {
    let started = Instant::now();
    loop {
        if let Ok(plans) = client.plans(PlansQuery::default()).await
            && plans.epoch.get() >= epoch
            && plans.phase == Phase::Producing
        {
            return plans.epoch.get();
        }
        assert!(started.elapsed() < PATIENCE, "epoch {epoch} does not begin");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_closes_and_opens_epochs_under_payments_and_these_need_no_signaler() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut processes = Nodes(vec![signaler(dir.path(), "127.0.0.1:0")]);
    let address = address(dir.path()).await;
    let url = format!("http://{address}");
    for member in 0..4 {
        let home = dir.path().join(member.to_string());
        write_key(&home, member);
        let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
        command.args(["run", "--data-dir", home.to_str().expect("text"), "--signaler", &url, "--log", "warn"]);
        command.args(["--report-ms", "200", "--leader-timeout-ms", "100", "--telemetry-ms", "0"]);
        processes.0.push(command.stdout(Stdio::null()).spawn().expect("starts"));
    }
    let client = SignalerClient::new(&url).expect("an address");
    runs(&client, 0).await;
    let topology = client.topology().await.expect("topology");
    let plan = Arc::new(topology.genesis.clone().expect("genesis").0);
    let node = topology.member(CommitteeId::at(0), MemberIndex::at(0)).expect("a member").client_addr;
    let payer = Payer::start(&plan, node).await;
    let mut epoch = runs(&client, 0).await;
    for _ in 0..3 {
        let (before, began) = (payer.paid(), Instant::now());
        epoch = runs(&client, epoch + 1).await;
        assert!(payer.paid() > before, "nothing was paid for {:?}", began.elapsed());
        payer.goes_on("a new epoch").await;
    }
    assert!(epoch >= 3);

    // without the signaler: payments go on, for longer than an epoch would last
    processes.0[0].kill().expect("a child");
    processes.0[0].wait().expect("ends");
    let down = Instant::now();
    while down.elapsed() < Duration::from_secs(EPOCH_SECONDS + 1) {
        payer.goes_on("the signaler is down").await;
    }
    // and its clock when it is back
    processes.0[0] = signaler(dir.path(), &address);
    let again = runs(&client, epoch + 1).await;
    assert!(again > epoch);
    payer.goes_on("the signaler is back").await;
}
