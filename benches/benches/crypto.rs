//! Signatures: single and batched verification, signing. 1,024 keys, 120-byte messages.
//!
//! Each element is one signature, so criterion's throughput is signatures per second and core.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shardpay_crypto::{Keypair, SignatureScheme, SignedItem, Signer, Zip215, sha256};
use shardpay_types::{PublicKey, Signature};

const KEYS: usize = 1_024;
const MESSAGE_BYTES: usize = 120;

struct Signed {
    key: PublicKey,
    message: [u8; MESSAGE_BYTES],
    signature: Signature,
}

fn signed(count: usize) -> Vec<Signed> {
    (0..count)
        .map(|n| {
            let pair = Keypair::from_seed(&sha256(&[b"bench key", &((n % KEYS) as u64).to_le_bytes()]));
            let mut message = [0; MESSAGE_BYTES];
            message[..8].copy_from_slice(&(n as u64).to_le_bytes());
            Signed { key: pair.public_key(), message, signature: pair.sign(&message) }
        })
        .collect()
}

fn items(signed: &[Signed]) -> Vec<SignedItem<'_>> {
    signed.iter().map(|s| SignedItem { key: s.key, message: &s.message, signature: s.signature }).collect()
}

fn crypto(criterion: &mut Criterion) {
    let signed = signed(KEYS);
    let mut items = items(&signed);
    let cached = Zip215::new([1; 32], KEYS * 4);
    let uncached = Zip215::new([1; 32], 0);
    assert!(cached.verify_batch(&items).iter().all(|good| *good));

    let mut group = criterion.benchmark_group("crypto");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Elements(1));
    let pair = Keypair::from_seed(&[7; 32]);
    group.bench_function("sign", |b| b.iter(|| pair.sign(black_box(&signed[0].message))));
    for (keys, scheme) in [("cached", &cached), ("uncached", &uncached)] {
        let mut next = (0..KEYS).cycle();
        group.bench_function(BenchmarkId::new("verify", format!("keys={keys}")), |b| {
            b.iter(|| {
                let one = &signed[next.next().expect("a cycle has no end")];
                assert!(scheme.verify(&one.key, &one.message, &one.signature));
            });
        });
    }
    let portable = Zip215::portable([1; 32], KEYS * 4);
    assert!(portable.verify_batch(&items).iter().all(|good| *good));
    for size in [1, 8, 32, 64, 128, 256, 512, 1_024] {
        group.throughput(Throughput::Elements(size as u64));
        let schemes =
            [("keys=cached", &cached), ("keys=uncached", &uncached), ("keys=cached,path=portable", &portable)];
        for (kind, scheme) in schemes {
            let mut start = 0;
            group.bench_function(BenchmarkId::new("verify_batch", format!("size={size},{kind}")), |b| {
                b.iter(|| {
                    let verdicts = scheme.verify_batch(black_box(&items[start..start + size]));
                    start = (start + size) % KEYS;
                    verdicts
                });
            });
        }
    }
    let original = items.clone();
    for bad in [1, 8, 512] {
        for n in 0..bad {
            items[n * (512 / bad)].signature.0[40] ^= 1;
        }
        group.throughput(Throughput::Elements(512));
        group.bench_function(BenchmarkId::new("verify_batch", format!("size=512,keys=cached,bad={bad}")), |b| {
            b.iter(|| cached.verify_batch(black_box(&items[..512])));
        });
        items.clone_from(&original);
    }
    group.finish();
}

criterion_group!(benches, crypto);
criterion_main!(benches);
