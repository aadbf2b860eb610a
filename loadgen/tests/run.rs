//! Whole runs against a fake cluster over real QUIC, in this process and as programs that share a load, and the
//! cache of signed payments.

#[path = "../../crates/client/tests/common/mod.rs"]
mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use common::{Cluster, ISSUER_SEED, Twist};
use shardpay_crypto::{Keypair, SignatureScheme, Zip215, chain_id, transaction_message};
use shardpay_loadgen::accounts::Accounts;
use shardpay_loadgen::drive::{Plan, Run};
use shardpay_loadgen::network::Network;
use shardpay_loadgen::progress::{Progress, ProgressKind};
use shardpay_loadgen::workload::{Prepared, Producer, SEGMENT};
use shardpay_run::{AckKind, LatencyKind, LoadResult, RunDir, Spec, read_acks, read_json, read_latencies};

fn spec(rate: &str, rest: &str) -> Spec {
    let text = format!(
        "name = \"test\"\ncommittees = 2\nnodes_per_committee = 4\nduration_s = 2\n{rest}\n[load]\naccounts = 300\n[load.rate]\n{rate}"
    );
    Spec::parse("test", &text, &[]).expect("a valid spec")
}

async fn run(cluster: &Cluster, spec: Spec, out: &Path) -> LoadResult {
    let network = Network::connect(cluster.client(), 100_000).await.expect("members answer");
    let issuer = Some(Keypair::from_seed(&ISSUER_SEED));
    let plan = Plan {
        spec,
        share: (0, 1),
        out: RunDir::new(out),
        cache: None,
        issuer,
        telemetry_push: Default::default(),
        start_at: None,
    };
    let (_stopper, stop) = tokio::sync::watch::channel(false);
    let run = Run::prepare(plan, network, Progress::new(ProgressKind::None), stop).await.expect("funded");
    run.run().await.expect("the load runs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_loop_after_a_probe_accounts_for_every_payment() {
    let cluster = Cluster::start(2).await;
    let out = tempfile::tempdir().expect("a directory");
    let rate =
        "kind = \"fraction\"\nof_closed_loop = 0.1\nat_least_per_second = 200\nprobe_s = 1\nprobe_in_flight = 64";
    let result = run(&cluster, spec(rate, ""), out.path()).await;
    assert!(result.probe_per_second > 0.0 && result.asked_per_second >= 150.0, "{result:?}");
    assert_eq!(result.sent + result.skipped, result.offered);
    assert_eq!((result.unresolved, result.refusals.len()), (0, 0), "{result:?}");
    let files = RunDir::new(out.path());
    assert_eq!(read_json::<LoadResult>(&files.load_result(0)).expect("written"), result);
    assert_eq!(result.series.iter().map(|second| second.certified).sum::<u64>(), result.sent);

    let acks = read_acks(&files.acks(0)).expect("written").acks;
    let ids = |kind| acks.iter().filter(|ack| ack.kind == kind).map(|ack| ack.txid).collect::<BTreeSet<_>>();
    let (debits, credits) = (ids(AckKind::Debit), ids(AckKind::Credit));
    assert_eq!(debits.len() + credits.len(), acks.len(), "none twice");
    assert!(credits.is_subset(&debits) && debits.len() as u64 >= result.sent);

    let latencies = read_latencies(&files.latencies(0)).expect("written");
    let count = |kind| latencies.iter().filter(|i| i.tag.kind == kind).map(|i| i.latencies.len()).sum::<u64>();
    assert_eq!(count(LatencyKind::Intra) + count(LatencyKind::CrossCredit), result.sent);
    assert_eq!(count(LatencyKind::CrossDebit), count(LatencyKind::CrossCredit));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faulty_members_cost_repetitions_and_no_payment() {
    let cluster = Cluster::start(2).await;
    cluster.twist(0, 1, Twist::Busy);
    cluster.twist(1, 2, Twist::Drop);
    cluster.twist(1, 0, Twist::Omit);
    let out = tempfile::tempdir().expect("a directory");
    let result = run(&cluster, spec("kind = \"poisson\"\nper_second = 300", ""), out.path()).await;
    assert_eq!(result.unresolved, 0, "{result:?}");
    assert!(result.resent > 0 && result.refusals.keys().all(|reason| reason == "busy"), "{result:?}");
    assert_eq!(result.series.iter().map(|second| second.certified).sum::<u64>(), result.sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_loop_keeps_its_number_in_flight() {
    let cluster = Cluster::start(2).await;
    let out = tempfile::tempdir().expect("a directory");
    let result = run(&cluster, spec("kind = \"closed\"\nin_flight = 50", ""), out.path()).await;
    assert!(result.sent > 500, "{result:?}");
    assert_eq!((result.unresolved, result.skipped), (0, 0));
}

#[test]
fn signed_payments_are_cached_checked_and_consecutive() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let plan = runtime.block_on(async { Cluster::start(2).await.plan.clone() });
    let chain = chain_id(&plan);
    let spec = spec("kind = \"poisson\"\nper_second = 300", "");
    let accounts = Arc::new(Accounts::new(&plan, 1, spec.load.accounts));
    let cache = tempfile::tempdir().expect("a directory");
    let producer = || Producer::new(accounts.clone(), chain, &spec.load, (0, 1), Some(cache.path().to_owned()));

    let mut first = producer();
    let made: Vec<Prepared> = (0..2).flat_map(|_| first.segment()).collect();
    assert_eq!((first.hits, made.len()), (0, 2 * SEGMENT));
    let mut next = vec![0; accounts.names.len()];
    for payment in &made {
        assert_eq!(payment.sequence, next[payment.payer as usize]);
        next[payment.payer as usize] += 1;
    }
    let scheme = Zip215::new([1; 32], 0);
    for payment in made.iter().step_by(997) {
        let identified = payment.transaction(&accounts);
        let message = transaction_message(&chain, &identified.transaction);
        let sender = accounts.names[payment.payer as usize];
        assert!(scheme.verify(&sender, &message, identified.transaction.signature()));
        assert_eq!(identified, shardpay_crypto::IdentifiedTransaction::new(&chain, identified.transaction));
    }

    let mut second = producer();
    assert_eq!((0..2).flat_map(|_| second.segment()).collect::<Vec<_>>(), made);
    assert_eq!(second.hits, 2);

    // A damaged segment is made again; another workload has its own.
    let folder = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    let file = folder.join("00000.bin");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[5_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let mut third = producer();
    assert_eq!((0..2).flat_map(|_| third.segment()).collect::<Vec<_>>(), made);
    assert_eq!(third.hits, 1);
    let mut other = spec.load.clone();
    other.seed += 1;
    let mut fourth = Producer::new(accounts.clone(), chain, &other, (0, 1), Some(cache.path().to_owned()));
    assert_ne!(fourth.segment(), made[..SEGMENT]);
    assert_eq!(fourth.hits, 0);
}
