//! Four whole nodes in this process: real bytes over QUIC on loopback, RocksDB with syncs, real signatures.
//!
//! A payment is received, verified, proposed, committed, executed and certified; the time ends when a subscriber of the node
//! that took it has its certified block. Four nodes, their client and criterion share the machine, so the figure of many
//! payments is the machine's, not a node's.

#[path = "../../crates/runtime/tests/common/mod.rs"]
#[allow(dead_code)] // a part of what the runtime's tests use
mod common;

use std::time::{Duration, Instant};

use common::{Client, Cluster};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shardpay_crypto::{Keypair, Signer};
use shardpay_types::{ClientReply, ClientRequest, Height, Subscribe, Transaction, TxAnswer};

const PAYERS: usize = 64;
/// Payments of one frame, and most of one payer that are pending.
const FRAME: usize = 1_024;

struct Bench {
    cluster: Cluster,
    client: Client,
    /// Is sent every certified block.
    reader: Client,
    certified: Height,
    payers: Vec<Keypair>,
    sequences: Vec<u64>,
}

impl Bench {
    async fn start() -> Self {
        let cluster = Cluster::start(|config| {
            config.replica.consensus.min_round_delay = Duration::from_millis(12);
            (config.peer_lanes, config.client_lanes) = (1, 1);
        })
        .await;
        let (client, reader) = (cluster.client(0).await, cluster.client(0).await);
        reader.request(ClientRequest::Subscribe(Subscribe { from: Height::new(1), accounts: None })).await;
        let payers = (0..PAYERS).map(|n| Keypair::from_seed(&[100 + n as u8; 32])).collect();
        let mut bench = Self { cluster, client, reader, certified: Height::ZERO, payers, sequences: vec![0; PAYERS] };
        let mints: Vec<Transaction> =
            (0..PAYERS).map(|n| bench.cluster.mint(bench.payers[n].public_key(), 1 << 40, n as u8)).collect();
        bench.certified(mints).await;
        bench
    }

    fn payments(&mut self, count: usize) -> Vec<Transaction> {
        let mut payment = |n: usize| {
            let (payer, payee) = (n % PAYERS, (n + 1) % PAYERS);
            self.sequences[payer] += 1;
            let payee = self.payers[payee].public_key();
            self.cluster.payment(&self.payers[payer], payee, 1, self.sequences[payer] - 1)
        };
        (0..count).map(&mut payment).collect()
    }

    /// Submits and waits until all are certified at the node that took them.
    async fn certified(&mut self, transactions: Vec<Transaction>) -> Duration {
        let start = Instant::now();
        for part in transactions.chunks(FRAME) {
            self.client.submit(part.to_vec()).await;
        }
        let answers = self.client.answers(transactions.len()).await;
        let height = answers.iter().map(|(_, answer)| match answer {
            TxAnswer::Executed(at) => at.height,
            other => panic!("not executed: {other:?}"),
        });
        let height = height.max().unwrap_or(Height::ZERO);
        while self.certified < height {
            let ClientReply::Block(block) = self.reader.reply().await else { panic!("not a block") };
            self.certified = block.block.header.height;
        }
        start.elapsed()
    }
}

fn pipeline(criterion: &mut Criterion) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let mut bench = runtime.block_on(Bench::start());
    let mut group = criterion.benchmark_group("pipeline");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(6));
    for payments in [1, 256, 4_096] {
        group.throughput(Throughput::Elements(payments as u64));
        group.bench_function(BenchmarkId::new("certified", format!("n=4,payments={payments}")), |b| {
            b.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let signed = bench.payments(payments);
                    spent += runtime.block_on(bench.certified(signed));
                }
                spent
            });
        });
    }
    group.finish();
    runtime.block_on(bench.cluster.stop());
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
