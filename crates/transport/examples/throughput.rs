//! What the peer port moves over loopback, to be held against TCP and bare QUIC: two nodes, a runtime each.
//!
//! `cargo run --release -p shardpay-transport --example throughput [SECONDS]`. CPU is that of the whole
//! process, both ends together, from /proc (10 ms steps).

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use shardpay_transport::{
    Frame, Identity, PeerAddress, PeerConfig, PeerHandler, PeerNet, StreamClass, TransportRefusal,
};
use shardpay_types::{CommitteeId, MemberIndex, NodeId};
use tokio::runtime::{Builder, Runtime};

/// Bytes the sender keeps under way.
const WINDOW_BYTES: u64 = 8 << 20;

/// Counts frames; sends them back when told to.
#[derive(Default)]
struct Counter {
    frames: AtomicU64,
    bytes: AtomicU64,
    echo: OnceLock<PeerNet>,
}

impl PeerHandler for Counter {
    fn connected(&self, _: NodeId) {}
    fn disconnected(&self, _: NodeId) {}
    fn frame(&self, from: NodeId, frame: Frame) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(frame.bytes().len() as u64, Ordering::Relaxed);
        if let Some(net) = self.echo.get() {
            net.send(from, StreamClass::Prompt, frame.into_bytes());
        }
    }
    fn refused(&self, what: TransportRefusal, from: SocketAddr) {
        eprintln!("refused {from}: {what}");
    }
}

struct End {
    runtime: Runtime,
    id: NodeId,
    net: PeerNet,
    counter: Arc<Counter>,
}

impl End {
    fn start(member: usize) -> Result<Self, Box<dyn Error>> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let id = NodeId { committee: CommitteeId::at(0), member: MemberIndex::at(member) };
        let counter = Arc::new(Counter::default());
        let config = PeerConfig::standard((Ipv4Addr::LOCALHOST, 0).into());
        let net = PeerNet::start(runtime.handle(), config, &identity(member), Arc::clone(&counter) as _)?;
        Ok(Self { runtime, id, net, counter })
    }
    fn address(&self) -> PeerAddress {
        PeerAddress { node: self.id, key: identity(self.id.member.index()).public(), addr: self.net.local_addr() }
    }
}

fn identity(member: usize) -> Identity {
    Identity::from_seed([member as u8 + 1; 32])
}

/// User and system time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // fields 14 and 15 of proc(5), counted from the third on
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Keeps the window full of frames of `size` bytes, `batch` at a time.
fn flood(name: &str, (from, to): (&End, &End), size: usize, batch: usize, time: Duration) {
    let body = Bytes::from(vec![7; size]);
    let (frames, bytes) = (to.counter.frames.load(Ordering::Relaxed), to.counter.bytes.load(Ordering::Relaxed));
    let (start, cpu_start, mut sent) = (Instant::now(), cpu(), 0_u64);
    while start.elapsed() < time {
        let received = to.counter.bytes.load(Ordering::Relaxed) - bytes;
        if sent - received > WINDOW_BYTES {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        for _ in 0..batch {
            from.net.send(to.id, StreamClass::Bulk, body.clone());
        }
        sent += (size * batch) as u64;
    }
    while to.counter.bytes.load(Ordering::Relaxed) - bytes < sent {
        std::thread::sleep(Duration::from_micros(200));
    }
    let (wall, spent) = (start.elapsed().as_secs_f64(), (cpu() - cpu_start).as_secs_f64());
    let frames = (to.counter.frames.load(Ordering::Relaxed) - frames) as f64;
    println!(
        "{name}: {:.0} MB/s, {:.0} frames/s, {:.2} CPU-s per GB, {:.2} CPU-us per frame",
        sent as f64 / wall / 1e6,
        frames / wall,
        spent / (sent as f64 / 1e9),
        spent / frames * 1e6,
    );
}

/// One frame at a time, there and back.
fn ping_pong(from: &End, to: &End, time: Duration) {
    let _ = to.counter.echo.set(to.net.clone());
    let body = Bytes::from(vec![7; 200]);
    let mut trips = Vec::new();
    let (start, cpu_start) = (Instant::now(), cpu());
    while start.elapsed() < time {
        let before = from.counter.frames.load(Ordering::Relaxed);
        let sent = Instant::now();
        from.net.send(to.id, StreamClass::Prompt, body.clone());
        while from.counter.frames.load(Ordering::Relaxed) == before {
            std::thread::sleep(Duration::from_micros(5));
        }
        trips.push(sent.elapsed().as_micros());
    }
    let spent = (cpu() - cpu_start).as_secs_f64() / trips.len() as f64 * 1e6;
    trips.sort_unstable();
    let at = |share: f64| trips[((trips.len() - 1) as f64 * share) as usize];
    println!("ping-pong 200 B: p50 {} us, p99 {} us, {spent:.1} CPU-us per round trip", at(0.5), at(0.99));
}

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(3), |text| text.parse())?;
    let time = Duration::from_secs(seconds);
    let (from, to) = (End::start(0)?, End::start(1)?);
    for end in [&from, &to] {
        end.net.set_members(Some(end.id), vec![from.address(), to.address()]);
    }
    while from.net.stats().connected + to.net.stats().connected < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    flood("64 KiB frames", (&from, &to), 64 << 10, 1, time);
    flood("200 B frames, 100 at a time", (&from, &to), 200, 100, time);
    flood("200 B frames, 1 at a time", (&from, &to), 200, 1, time);
    ping_pong(&from, &to, time);
    println!(
        "round-trip time as QUIC sees it: {:?}; dropped: {}",
        from.net.stats().peers[0].rtt,
        from.net.stats().dropped_full
    );
    from.runtime.block_on(from.net.shutdown());
    to.runtime.block_on(to.net.shutdown());
    Ok(())
}
