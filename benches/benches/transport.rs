//! The peer port over QUIC on loopback: two nodes, a network thread each, encryption included.
//!
//! `frame` is one message at a time, until it is handed over at the other end: framing, streams, sockets and the
//! wake-ups between them. `stream` sends many at once. Throughput is in bytes of bodies.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam::channel::{Receiver, Sender, unbounded};
use shardpay_transport::{
    Frame, Identity, PeerAddress, PeerConfig, PeerHandler, PeerNet, StreamClass, TransportRefusal,
};
use shardpay_types::{CommitteeId, MemberIndex, NodeId};
use tokio::runtime::{Builder, Runtime};

const PATIENCE: Duration = Duration::from_secs(10);

struct Arrivals(Sender<usize>);

impl PeerHandler for Arrivals {
    fn connected(&self, _: NodeId) {
        let _ = self.0.send(0);
    }
    fn disconnected(&self, _: NodeId) {}
    fn frame(&self, _: NodeId, frame: Frame) {
        let _ = self.0.send(frame.bytes().len());
    }
    fn refused(&self, _: TransportRefusal, _: SocketAddr) {}
}

struct End {
    id: NodeId,
    net: PeerNet,
    arrivals: Receiver<usize>,
    _runtime: Runtime,
}

fn identity(member: usize) -> Identity {
    Identity::from_seed([member as u8 + 1; 32])
}

impl End {
    fn start(member: usize) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let id = NodeId { committee: CommitteeId::at(0), member: MemberIndex::at(member) };
        let (sender, arrivals) = unbounded();
        let config = PeerConfig::standard((Ipv4Addr::LOCALHOST, 0).into());
        let net = PeerNet::start(runtime.handle(), config, &identity(member), Arc::new(Arrivals(sender)));
        Self { id, net: net.expect("a port"), arrivals, _runtime: runtime }
    }

    fn address(&self) -> PeerAddress {
        PeerAddress { node: self.id, key: identity(self.id.member.index()).public(), addr: self.net.local_addr() }
    }

    fn next(&self) -> usize {
        self.arrivals.recv_timeout(PATIENCE).expect("it arrives")
    }
}

fn transport(criterion: &mut Criterion) {
    let (from, to) = (End::start(0), End::start(1));
    for end in [&from, &to] {
        end.net.set_members(Some(end.id), vec![from.address(), to.address()]);
    }
    from.next();
    to.next();
    let mut group = criterion.benchmark_group("transport");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for size in [160_usize, 8 << 10, 64 << 10, 256 << 10] {
        let body = Bytes::from(vec![7; size]);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("frame", format!("bytes={size}")), |b| {
            b.iter(|| {
                from.net.send(to.id, StreamClass::Prompt, body.clone());
                assert_eq!(to.next(), size);
            });
        });
    }
    for (size, count) in [(200_usize, 1_000_usize), (64 << 10, 32)] {
        let body = Bytes::from(vec![7; size]);
        group.throughput(Throughput::Bytes((size * count) as u64));
        group.bench_function(BenchmarkId::new("stream", format!("bytes={size},frames={count}")), |b| {
            b.iter_custom(|rounds| {
                let start = Instant::now();
                for _ in 0..rounds {
                    (0..count).for_each(|_| from.net.send(to.id, StreamClass::Bulk, body.clone()));
                    (0..count).for_each(|_| assert_eq!(to.next(), size));
                }
                start.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, transport);
criterion_main!(benches);
