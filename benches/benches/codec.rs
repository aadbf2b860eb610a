//! Encoding and decoding of what is on the wire most: transactions, DAG blocks, headers, certificates
//! and packs. Nothing is hashed and no signature is looked at.
//!
//! Throughput is in bytes of the encoding.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shardpay_types::{
    Amount, Block, BlockDigest, BlockRef, Certificate, CertifiedHeader, ChainId, Codec, CommitteeId, ConsistencyProof,
    Epoch, Hash, HeaderHash, Height, LedgerHeader, List, MemberIndex, MemberSignature, MerklePath, MessageKind,
    OutboxLeaf, OutboxMessage, PACK_MESSAGES_MAX, Pack, Payload, Payment, PublicKey, Reference, Round, Sequence,
    Signature, SignedPayment, Timestamp, Total, Totals, Transaction, TxId, Version,
};

fn payment(n: usize) -> Transaction {
    let byte = n as u8;
    let body = Payment {
        sender: PublicKey([byte; 32]),
        recipient: PublicKey([!byte; 32]),
        amount: Amount::from_micros(n as u64),
        sequence: Sequence::new(n as u64),
        valid_until: Timestamp::ZERO,
        reference: Reference([byte; 16]),
    };
    Transaction::Payment(SignedPayment { body, signature: Signature([byte; 64]) })
}

fn block_ref(member: usize) -> BlockRef {
    BlockRef { round: Round::new(1_000), author: MemberIndex::at(member), digest: BlockDigest([member as u8; 32]) }
}

fn block(transactions: usize) -> Block {
    Block {
        version: Version,
        chain: ChainId([1; 32]),
        epoch: Epoch::ZERO,
        committee: CommitteeId::at(0),
        author: MemberIndex::at(0),
        round: Round::new(1_001),
        timestamp: Timestamp::from_millis(1),
        parents: List::bounded((0..4).map(block_ref).collect()),
        payload: Payload {
            transactions: List::bounded((0..transactions).map(payment).collect()),
            ..Payload::default()
        },
        signature: Signature([2; 64]),
    }
}

fn header() -> LedgerHeader {
    let hash = Hash([3; 32]);
    LedgerHeader {
        version: Version,
        chain: ChainId([1; 32]),
        committee: CommitteeId::at(0),
        epoch: Epoch::ZERO,
        height: Height::new(1_000),
        parent: HeaderHash([3; 32]),
        history: hash,
        ledger_time: Timestamp::from_millis(1),
        anchor: block_ref(1),
        leaders: hash,
        last_of_commit: true,
        leaf_count: 2_500,
        leaves: hash,
        outbox: hash,
        inbox: hash,
        effects: hash,
        totals: Totals::ZERO,
        next_plan: None,
    }
}

fn certificate(signatures: usize) -> Certificate {
    let sign = |member| MemberSignature { member: MemberIndex::at(member), signature: Signature([member as u8; 64]) };
    Certificate::new((0..signatures).map(sign).collect()).expect("distinct members")
}

fn pack(messages: usize) -> Pack {
    let message = |n: usize| OutboxMessage {
        kind: MessageKind::Credit,
        txid: TxId([n as u8; 32]),
        payer: PublicKey([4; 32]),
        payee: PublicKey([5; 32]),
        amount: Amount::from_micros(n as u64),
    };
    Pack {
        source: CommitteeId::at(0),
        destination: CommitteeId::at(1),
        first: 0,
        messages: List::bounded((0..messages).map(message).collect()),
        consistency: ConsistencyProof { hashes: List::bounded(vec![Hash([6; 32]); 20]) },
        log: OutboxLeaf {
            destination: CommitteeId::at(1),
            count: 100_000,
            amount: Total::from_micros(7),
            root: Hash([7; 32]),
        },
        path: MerklePath { index: 1, count: 4, siblings: List::bounded(vec![Hash([8; 32]); 2]) },
        certified: CertifiedHeader { header: header(), certificate: certificate(3) },
    }
}

fn both_ways<T: Codec>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, value: &T) {
    let bytes = value.to_bytes();
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    let mut out = Vec::with_capacity(bytes.len());
    group.bench_function(BenchmarkId::new("encode", name), |bencher| {
        bencher.iter(|| {
            out.clear();
            black_box(value).encode(&mut out);
            out.len()
        });
    });
    group.bench_function(BenchmarkId::new("decode", name), |bencher| {
        bencher.iter(|| T::from_bytes(black_box(&bytes)).expect("own encoding"));
    });
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    both_ways(&mut group, "type=transaction", &payment(1));
    for transactions in [0, 100, 1_000, 2_500] {
        both_ways(&mut group, &format!("type=block,transactions={transactions}"), &block(transactions));
    }
    both_ways(&mut group, "type=header", &header());
    for signatures in [3, 43] {
        both_ways(&mut group, &format!("type=certificate,signatures={signatures}"), &certificate(signatures));
    }
    both_ways(&mut group, "type=pack,messages=2048", &pack(PACK_MESSAGES_MAX));
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
