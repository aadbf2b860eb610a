//! Merkle logs: appending, roots, proofs and their verification at several log sizes.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use shardpay_crypto::{Frontier, MerkleLog, leaf_hash, root, verify_consistency, verify_inclusion};
use shardpay_types::Hash;

fn log_of(count: u64) -> MerkleLog {
    let mut log = MerkleLog::new();
    (0..count).for_each(|n| log.append(leaf_hash(&n.to_le_bytes())));
    log
}

fn merkle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merkle");
    group.sample_size(20).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    let leaf = leaf_hash(b"leaf");
    group.bench_function("leaf_hash/bytes=150", |b| b.iter(|| leaf_hash(black_box(&[7; 150]))));
    group.bench_function("append/of=frontier", |b| {
        let mut frontier = Frontier::new();
        b.iter(|| frontier.append(black_box(leaf)));
    });
    group.bench_function("append/of=log", |b| {
        let mut log = MerkleLog::new();
        b.iter(|| {
            log.append(black_box(leaf));
            if log.count().is_multiple_of(65_536) {
                log.prune_below(log.count());
            }
        });
    });
    let leaves: Vec<Hash> = (0..4_096u64).map(|n| leaf_hash(&n.to_le_bytes())).collect();
    group.bench_function("root_of_leaves/size=4096", |b| b.iter(|| root(black_box(&leaves))));
    for size in [1_000, 100_000, 1_000_000] {
        let log = log_of(size);
        let (index, old, leaf) = (size / 3, size / 3 + 1, leaf_hash(&(size / 3).to_le_bytes()));
        let (old_root, new_root) = (log.root_at(old).expect("within"), log.root());
        let path = log.inclusion(index, size).expect("within");
        let proof = log.consistency(old, size).expect("within");
        let id = |name| BenchmarkId::new(name, format!("size={size}"));
        group.bench_function(id("root"), |b| b.iter(|| log.root()));
        group.bench_function(id("inclusion"), |b| b.iter(|| log.inclusion(black_box(index), size)));
        group.bench_function(id("consistency"), |b| b.iter(|| log.consistency(black_box(old), size)));
        group.bench_function(id("verify_inclusion"), |b| {
            b.iter(|| assert!(verify_inclusion(&new_root, black_box(&leaf), &path)));
        });
        group.bench_function(id("verify_consistency"), |b| {
            b.iter(|| assert!(verify_consistency(old, black_box(&old_root), size, &new_root, &proof)));
        });
    }
    group.finish();
}

criterion_group!(benches, merkle);
criterion_main!(benches);
