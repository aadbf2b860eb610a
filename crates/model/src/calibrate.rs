//! Measures on this machine what a node's actions cost, with the crates that do them.
//!
//! Takes well under a minute and wants the machine for itself. Signatures, hashing, storage and messages are measured
//! alone; the replica, the ledger and the checks are timed in two short runs of [`World`], one with large batches and one
//! with small ones, which gives the part per call and the part per payment. Processor time is the process's own, so what
//! RocksDB and the network do on threads of their own is in it.

mod network;
mod storage;

use std::hint::black_box;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use shardpay_crypto::{Keypair, SignatureScheme, SignedItem, Signer, Zip215, sha256};
use shardpay_storage::StorageError;
use shardpay_transport::TransportError;
use shardpay_types::{PublicKey, Signature};

use crate::costs::{Costs, Curve, Linear};
use crate::setup::{Cores, Load, Setup};
use crate::world::World;

/// Why a machine cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The store.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The network.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A ledger batch.
    #[error(transparent)]
    Ledger(#[from] shardpay_ledger::StoreError),
    /// The system.
    #[error(transparent)]
    System(#[from] std::io::Error),
    /// A message did not come.
    #[error("a message over loopback was lost")]
    Lost,
}

/// Measures everything. `said` is told what is measured next.
pub fn calibrate(
    (cpu_model, cores): (String, usize),
    commit: String,
    said: &mut dyn FnMut(&str),
) -> Result<Costs, CalibrateError> {
    let mut costs = Costs { version: Costs::VERSION, cpu_model, cores, commit, ..Costs::round_numbers() };
    said("signatures");
    let signed = Signed::make();
    (costs.verify, costs.sign_us) = signatures(&signed);
    said("hashing");
    costs.hash_byte_us = hashing();
    said("threads");
    costs.wake_us = waking();
    costs.cold = sleeping(&signed);
    said("messages");
    (costs.message, costs.message_among_many) = network::messages(costs.wake_us)?;
    said("replica and ledger");
    let blocks = protocol(&mut costs);
    said("storage");
    let measured = storage::storage(&blocks)?;
    (costs.store, costs.store_behind_us) = (measured.batch, measured.behind_us);
    (costs.record, costs.sync_us, costs.sync_wait_us) = (measured.record, measured.sync_us, measured.sync_wait_us);
    Ok(costs)
}

/// Processor time of the whole process, in microseconds.
fn process_us() -> f64 {
    clock_us(ClockId::ProcessCPUTime)
}

/// Processor time of this thread.
fn thread_us() -> f64 {
    clock_us(ClockId::ThreadCPUTime)
}

fn clock_us(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Microseconds of this thread for one call, over `time`.
fn each_us(time: Duration, mut call: impl FnMut()) -> f64 {
    call();
    let (start, cpu, mut calls) = (Instant::now(), thread_us(), 0.0);
    while start.elapsed() < time {
        call();
        calls += 1.0;
    }
    (thread_us() - cpu) / calls
}

/// Keys, messages and signatures to verify.
struct Signed(Vec<(PublicKey, [u8; 120], Signature)>);

impl Signed {
    const COUNT: usize = 1_024;

    fn make() -> Self {
        let one = |n: u64| {
            let key = Keypair::from_seed(&sha256(&[b"calibration", &n.to_le_bytes()]));
            let message = [n as u8; 120];
            (key.public_key(), message, key.sign(&message))
        };
        Self((0..Self::COUNT as u64).map(one).collect())
    }

    fn items(&self) -> Vec<SignedItem<'_>> {
        let signed = self.0.iter();
        signed.map(|(key, message, signature)| SignedItem { key: *key, message, signature: *signature }).collect()
    }

    /// A scheme that knows all keys.
    fn scheme(&self) -> Zip215 {
        let scheme = Zip215::new([5; 32], 4 * Self::COUNT);
        black_box(scheme.verify_batch(&self.items()));
        scheme
    }
}

fn signatures(signed: &Signed) -> (Curve, f64) {
    let (items, scheme) = (signed.items(), signed.scheme());
    let point = |size: usize| {
        let mut start = 0;
        let us = each_us(Duration::from_millis(400), || {
            black_box(scheme.verify_batch(&items[start..start + size]));
            start = (start + size) % (items.len() - size + 1);
        });
        (size as f64, us / size as f64)
    };
    let points = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, Signed::COUNT].map(point).to_vec();
    let key = Keypair::from_seed(&[1; 32]);
    let sign_us = each_us(Duration::from_millis(300), || {
        black_box(key.sign(black_box(&[7; 120])));
    });
    (Curve { points }, sign_us)
}

/// What a batch of 16 signatures costs a thread that slept for 5 ms before it, in multiples of what it costs without.
fn sleeping(signed: &Signed) -> f64 {
    const PAUSE: Duration = Duration::from_millis(5);
    let (items, scheme) = (signed.items(), signed.scheme());
    let mut batches = items.chunks(16).cycle();
    let mut verify = || {
        let cpu = thread_us();
        black_box(scheme.verify_batch(batches.next().expect("they come round")));
        thread_us() - cpu
    };
    let mut mean = |pause: Duration| {
        let spent = |_| {
            std::thread::sleep(pause);
            verify()
        };
        (0..200).map(spent).sum::<f64>() / 200.0
    };
    // in turns, as the machine's speed may change between them
    let (slept, awake): (f64, f64) =
        (0..3).map(|_| (mean(PAUSE), mean(Duration::ZERO))).fold((0.0, 0.0), |sum, of| (sum.0 + of.0, sum.1 + of.1));
    (slept / awake).max(1.0)
}

fn hashing() -> f64 {
    let bytes = vec![7; 1 << 20];
    let us = each_us(Duration::from_millis(300), || {
        black_box(sha256(&[black_box(&bytes)]));
    });
    us / bytes.len() as f64
}

/// What waking a thread costs, that one's way to sleep included: a thread is sent something whenever it has long been
/// asleep. (Two threads that answer each other at once never sleep: a channel spins before it parks.)
fn waking() -> f64 {
    const WAKES: u32 = 1_000;
    const PAUSE: Duration = Duration::from_micros(500);
    let (there, at_other) = crossbeam::channel::bounded::<()>(1);
    let other = std::thread::spawn(move || at_other.into_iter().for_each(drop));
    let spent = |send: &dyn Fn()| {
        let cpu = process_us();
        for _ in 0..WAKES {
            std::thread::sleep(PAUSE);
            send();
        }
        process_us() - cpu
    };
    let pauses = spent(&|| ());
    // it ends when the channel closes
    let with_wakes = spent(&|| {
        let _ = there.send(());
    });
    drop(there);
    let _ = other.join();
    ((with_wakes - pauses) / f64::from(WAKES)).max(0.1)
}

/// Times replica, ledger, checks and clients; the ledger blocks of the runs, large and small ones.
fn protocol(costs: &mut Costs) -> storage::Blocks {
    let run = |load| Setup {
        load,
        accounts: 10_000,
        warmup: Duration::from_millis(200),
        measured: Duration::from_secs(2),
        windows_max: 1,
        ..Setup::saturated(1, 4, Cores::Each(0))
    };
    let (large, large_blocks) = World::probe(&run(Load::Closed(4_096)), costs);
    let (small, small_blocks) = World::probe(&run(Load::Open(800.0)), costs);
    costs.check = large.check.solve(&small.check);
    costs.admit = large.admit.solve(&small.admit);
    costs.core = large.core.solve(&small.core);
    costs.execute = large.execute.solve(&small.execute);
    costs.client = large.client.solve(&small.client);
    storage::Blocks { large: large_blocks, small: small_blocks }
}

/// The same cost, measured at two sizes.
fn line(small: (f64, f64), large: (f64, f64)) -> Linear {
    Linear::through(small, large)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_count_work() {
        let (process, thread) = (process_us(), thread_us());
        black_box((0..3_000_000_u64).fold(0, |sum, n| black_box(sum ^ n)));
        assert!(thread_us() > thread && process_us() - process >= thread_us() - thread - 1_000.0);
    }

    #[test]
    fn waking_and_hashing_cost_something() {
        assert!((0.05..1_000.0).contains(&waking()));
        assert!((1e-6..1.0).contains(&hashing()));
        assert!((1.0..100.0).contains(&sleeping(&Signed::make())));
    }
}
