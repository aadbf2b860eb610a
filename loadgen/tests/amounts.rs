//! Traces and retail payments against a fake cluster over real QUIC: what is certified is what the workload says.

#[path = "../../crates/client/tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Cluster, ISSUER_SEED};
use shardpay_crypto::{Keypair, chain_id};
use shardpay_loadgen::accounts::Accounts;
use shardpay_loadgen::drive::{Plan, Run};
use shardpay_loadgen::network::Network;
use shardpay_loadgen::progress::{Progress, ProgressKind};
use shardpay_loadgen::trace::Trace;
use shardpay_loadgen::workload::{Prepared, Producer};
use shardpay_run::{LoadResult, RunDir, Spec, read_acks};
use shardpay_types::Amount;

const TRACE: &str =
    "time,payer,payee,amount\n100,ann,shop,4.50\n100.2,bob,shop,2000\n101,shop,ann,0.75\n102,ann,bob,1\n";

fn spec(load: &str) -> Spec {
    let text = format!("name = \"test\"\ncommittees = 2\nnodes_per_committee = 4\nduration_s = 2\n{load}");
    Spec::parse("test", &text, &[]).expect("a valid spec")
}

async fn run(cluster: &Cluster, spec: Spec, out: &Path) -> anyhow::Result<LoadResult> {
    let network = Network::connect(cluster.client(), 100_000).await.expect("members answer");
    let issuer = Some(Keypair::from_seed(&ISSUER_SEED));
    let (out, telemetry_push) = (RunDir::new(out), Default::default());
    let plan = Plan { spec, share: (0, 1), out, cache: None, issuer, telemetry_push, start_at: None };
    let (_stopper, stop) = tokio::sync::watch::channel(false);
    Run::prepare(plan, network, Progress::new(ProgressKind::None), stop).await?.run().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_is_replayed_and_kept() {
    let cluster = Cluster::start(2).await;
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("t.csv");
    std::fs::write(&file, TRACE).expect("ours");
    let load = |accounts: usize, file: &Path| {
        let file = file.display();
        spec(&format!("[load]\naccounts = {accounts}\n[load.rate]\nkind = \"trace\"\nfile = \"{file}\"\nspeed = 2"))
    };
    let few = run(&cluster, load(4, Path::new("/absent")), dir.path()).await.unwrap_err();
    assert!(format!("{few:#}").contains("load.rate.file /absent"), "{few:#}");
    let out = dir.path().join("run");
    let result = run(&cluster, load(6, &file), &out).await.expect("the load runs");
    // 102 s of the trace is one second after its beginning
    assert_eq!((result.offered, result.sent, result.unresolved), (4, 4, 0), "{result:?}");
    assert!(result.refusals.is_empty(), "bob has the coins for his payment: {result:?}");
    let acks = read_acks(&RunDir::new(&out).acks(0)).expect("written").acks;
    let debits = acks.iter().filter(|ack| ack.kind == shardpay_run::AckKind::Debit).count();
    assert_eq!(debits, 4);
    assert_eq!(std::fs::read_to_string(out.join("trace.csv")).expect("kept"), TRACE);
    assert!(std::fs::read_to_string(out.join("trace.sha256")).expect("kept").ends_with("  trace.csv\n"));
}

#[test]
fn the_list_of_a_trace_ends_and_has_its_amounts() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let plan = runtime.block_on(async { Cluster::start(2).await.plan.clone() });
    let trace = Trace::parse("t", TRACE.to_owned(), 1.0, Amount::from_micros(1)).expect("a trace");
    let spec = spec("[load]\naccounts = 6");
    let accounts = Arc::new(Accounts::new(&plan, 1, 6));
    let cache = tempfile::tempdir().expect("a directory");
    let producer = || {
        let made = Producer::new(accounts.clone(), chain_id(&plan), &spec.load, (0, 1), Some(cache.path().to_owned()));
        made.of_trace(&spec.load, (0, 1), &trace)
    };
    let mut first = producer();
    let list = first.segment();
    let shown: Vec<_> = list.iter().map(|p: &Prepared| (p.payer, p.payee, p.sequence, p.amount.micros())).collect();
    let expected = [(0, 1, 0, 4_500_000), (2, 1, 0, 2_000_000_000), (1, 0, 0, 750_000), (0, 2, 1, 1_000_000)];
    assert_eq!(shown, expected);
    assert!(first.segment().is_empty() && first.segment().is_empty());
    let mut second = producer();
    assert_eq!((second.segment(), second.hits), (list, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retail_payments_are_all_carried_out() {
    let cluster = Cluster::start(2).await;
    let out = tempfile::tempdir().expect("a directory");
    let load = "[load]\naccounts = 300\n[load.rate]\nkind = \"daily\"\nper_second = 200\n\
                [load.distribution]\nkind = \"retail\"\nvendors = 20";
    let result = run(&cluster, spec(load), out.path()).await.expect("the load runs");
    assert_eq!((result.unresolved, result.refusals.len()), (0, 0), "{result:?}");
    assert_eq!(result.series.iter().map(|second| second.certified).sum::<u64>(), result.sent);
}
