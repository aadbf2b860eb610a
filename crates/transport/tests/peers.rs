//! Nodes of a plan talk: order, members that change, restarts, budgets, shaping.

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Node, PATIENCE, all_connected, introduce, loopback, node, until};
use shardpay_transport::{LinkShape, PeerConfig, StreamClass};
use shardpay_types::NodeId;

fn numbered(number: u32, size: usize) -> Bytes {
    let mut body = vec![number as u8; size.max(4)];
    body[..4].copy_from_slice(&number.to_le_bytes());
    body.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_peers_exchange_frames_in_order() {
    let nodes: Vec<_> = (0..4).map(|member| Node::start(node(0, member))).collect();
    let all: Vec<_> = nodes.iter().collect();
    introduce(&all);
    all_connected(&all).await;
    const COUNT: u32 = 200;
    for from in &nodes {
        for number in 0..COUNT {
            // around the sizes that are copied, sent as they are, and larger than a datagram
            let body = numbered(number, [5, 200, 4_096, 4_097, 70_000][number as usize % 5]);
            for to in nodes.iter().filter(|to| to.id != from.id) {
                from.net.send(to.id, StreamClass::Prompt, body.clone());
            }
        }
    }
    for to in &nodes {
        for from in nodes.iter().filter(|from| from.id != to.id) {
            until("all frames", || to.ear.count(from.id) == COUNT as usize).await;
            for (number, body) in to.ear.frames.lock().unwrap()[&from.id].iter().enumerate() {
                let size = [5, 200, 4_096, 4_097, 70_000][number % 5];
                assert_eq!(*body, numbered(number as u32, size));
            }
        }
    }
    let stats = nodes[0].net.stats();
    assert_eq!((stats.frames_in, stats.frames_out), (u64::from(COUNT) * 3, u64::from(COUNT) * 3));
    assert_eq!(stats.dropped_full + stats.dropped_unconnected, 0);
    for one in &nodes {
        tokio::time::timeout(PATIENCE, one.net.shutdown()).await.unwrap();
        one.ear.assert_pairs();
        assert_eq!(one.net.stats().connected, 0);
    }
}

#[tokio::test]
async fn other_committees_are_dialled_on_first_use() {
    let (here, there) = (Node::start(node(0, 0)), Node::start(node(1, 0)));
    introduce(&[&here, &there]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(here.net.stats().connected + there.net.stats().connected, 0);
    // the higher id may dial too, and the first message is not lost
    there.net.send(here.id, StreamClass::Bulk, Bytes::from_static(b"first"));
    until("the first message", || here.ear.count(there.id) == 1).await;
    here.net.send(there.id, StreamClass::Bulk, Bytes::from_static(b"answer"));
    until("the answer", || there.ear.count(here.id) == 1).await;
}

#[tokio::test]
async fn both_dial_at_once_and_one_connection_stays() {
    for _ in 0..10 {
        let (here, there) = (Node::start(node(0, 0)), Node::start(node(1, 0)));
        introduce(&[&here, &there]);
        here.net.send(there.id, StreamClass::Prompt, Bytes::from_static(b"x"));
        there.net.send(here.id, StreamClass::Prompt, Bytes::from_static(b"y"));
        let start = Instant::now();
        let deliver = async {
            let mut number = 0;
            while here.ear.count(there.id) < 20 || there.ear.count(here.id) < 20 {
                number += 1;
                here.net.send(there.id, StreamClass::Prompt, numbered(number, 10));
                there.net.send(here.id, StreamClass::Prompt, numbered(number, 10));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, deliver).await.expect("one connection stays");
        assert!(start.elapsed() < PATIENCE);
        here.net.shutdown().await;
        there.net.shutdown().await;
        here.ear.assert_pairs();
        there.ear.assert_pairs();
    }
}

#[tokio::test]
async fn a_removed_member_is_disconnected_and_kept_out() {
    let nodes: Vec<_> = (0..3).map(|member| Node::start(node(0, member))).collect();
    let all: Vec<_> = nodes.iter().collect();
    introduce(&all);
    all_connected(&all).await;
    for stays in &nodes[..2] {
        stays.net.set_members(Some(stays.id), vec![nodes[0].address(), nodes[1].address()]);
    }
    until("the third is alone", || nodes[2].net.stats().connected == 0).await;
    // it dials again, since it has not heard of the change, and is refused
    nodes[2].net.set_members(None, Vec::new());
    introduce(&[&nodes[2]]);
    nodes[2].net.set_members(Some(nodes[2].id), vec![nodes[0].address(), nodes[1].address()]);
    let unknown = shardpay_transport::TransportRefusal::UnknownKey;
    until("refused", || nodes[0].ear.refused(unknown) > 0 || nodes[1].ear.refused(unknown) > 0).await;
    assert_eq!(nodes[0].net.stats().connected, 1);
    assert_eq!(nodes[2].net.stats().connected, 0);
    nodes[0].net.send(nodes[2].id, StreamClass::Prompt, Bytes::from_static(b"lost"));
    assert_eq!(nodes[0].net.stats().dropped_unconnected, 1);
}

#[tokio::test]
async fn a_restarted_peer_reconnects_whoever_dials_and_wherever_it_is() {
    for restarted in [0, 1] {
        let mut nodes: Vec<_> = (0..2).map(|member| Node::start(node(0, member))).collect();
        introduce(&nodes.iter().collect::<Vec<_>>());
        all_connected(&nodes.iter().collect::<Vec<_>>()).await;
        nodes[restarted].net.shutdown().await;
        let id = nodes[restarted].id;
        // a new port: the other one hears of it through the plan
        nodes[restarted] = Node::start(id);
        introduce(&nodes.iter().collect::<Vec<_>>());
        all_connected(&nodes.iter().collect::<Vec<_>>()).await;
        let other = &nodes[1 - restarted];
        until("connected twice", || other.ear.times_connected(id) == 2).await;
        other.net.send(id, StreamClass::Prompt, Bytes::from_static(b"again"));
        until("heard again", || nodes[restarted].ear.count(other.id) == 1).await;
        other.ear.assert_pairs();
    }
}

/// A node whose first life ends without a goodbye some time after it was connected: its runtime is dropped with its
/// socket. How long its second life takes to be connected to `stays`, which still holds the connection to the first.
async fn comes_back(stays: &Node, id: NodeId, lives: Duration) -> Duration {
    let stays_at = stays.address();
    let life = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (peer, address) = runtime.block_on(async {
            let peer = Node::start(id);
            peer.net.set_members(Some(id), vec![stays_at]);
            let address = peer.address();
            (peer, address)
        });
        (runtime, peer, address)
    });
    let (runtime, peer, address) = life.join().unwrap();
    stays.net.set_members(Some(stays.id), vec![address]);
    until("connected", || stays.is_connected(id)).await;
    tokio::time::sleep(lives).await;
    std::thread::spawn(move || {
        std::mem::forget(peer);
        runtime.shutdown_background();
    })
    .join()
    .unwrap();
    let begun = Instant::now();
    let second = Node::start(id);
    second.net.set_members(Some(id), vec![stays_at]);
    until("connected again", || second.is_connected(stays.id) && stays.ear.times_connected(id) == 2).await;
    begun.elapsed()
}

#[tokio::test]
async fn a_peer_that_vanished_is_replaced_when_it_comes_back() {
    let stays = Node::start(node(0, 1));
    comes_back(&stays, node(0, 0), Duration::ZERO).await;
    stays.ear.assert_pairs();
}

#[tokio::test]
async fn who_comes_back_dials_at_once_even_those_who_should_dial() {
    // the best of three: how long a handshake takes is the machine's affair
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let stays = Node::start(node(0, 0));
        // of two young connections the one of the lower node stays
        fastest = fastest.min(comes_back(&stays, node(0, 1), Duration::from_millis(1_100)).await);
        stays.ear.assert_pairs();
    }
    assert!(fastest < Duration::from_millis(900), "{fastest:?}");
}

#[tokio::test]
async fn a_slow_receiver_pushes_back_and_memory_stays_bounded() {
    let small = |listen| PeerConfig {
        queue_bytes_max: 1 << 20,
        receive_budget: 1 << 20,
        frame_max: 1 << 20,
        ..PeerConfig::standard(listen)
    };
    let sender = Node::start_with(node(0, 0), small(loopback()));
    let receiver = Node::start_with(node(0, 1), small(loopback()));
    *receiver.ear.held.lock().unwrap() = Some(Vec::new());
    introduce(&[&sender, &receiver]);
    all_connected(&[&sender, &receiver]).await;
    // 64 MiB offered; the receiver holds 1 MiB of frames, QUIC 4 + 8 MiB, the queue 1 MiB
    const OFFERED: u64 = 64 << 20;
    for _ in 0..OFFERED >> 16 {
        sender.net.send(receiver.id, StreamClass::Bulk, Bytes::from(vec![7; 1 << 16]));
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    until("the queue is full", || sender.net.stats().dropped_full > 0).await;
    let held: usize = receiver.ear.held.lock().unwrap().as_ref().unwrap().iter().map(|frame| frame.bytes().len()).sum();
    assert!(held <= 1 << 20, "{held} bytes held");
    assert!(sender.net.stats().bytes_out < 14 << 20);
    assert!(sender.net.stats().peers[0].queue_bytes <= 1 << 20);
    // the other class still passes
    let before = receiver.net.stats().frames_in;
    sender.net.send(receiver.id, StreamClass::Prompt, Bytes::from_static(b"vote"));
    until("a prompt frame", || receiver.net.stats().frames_in == before + 1).await;
    // dropping the frames lets the rest come
    *receiver.ear.held.lock().unwrap() = None;
    until("the queue runs empty", || sender.net.stats().peers[0].queue_bytes == 0).await;
    let sent = sender.net.stats().frames_out;
    until("all that was written arrives", || receiver.net.stats().frames_in == sent).await;
}

#[tokio::test]
async fn links_delay_and_lose_as_told() {
    let (here, there) = (Node::start(node(0, 0)), Node::start(node(0, 1)));
    introduce(&[&here, &there]);
    all_connected(&[&here, &there]).await;
    let latency = Duration::from_millis(150);
    here.net.shape(Some(there.id), LinkShape { latency, ..LinkShape::default() });
    let start = Instant::now();
    for number in 0..50 {
        here.net.send(there.id, StreamClass::Prompt, numbered(number, 100));
    }
    until("delayed frames", || there.ear.count(here.id) == 50).await;
    assert!(start.elapsed() >= latency, "{:?}", start.elapsed());
    here.net.shape(None, LinkShape { loss: 1.0, ..LinkShape::default() });
    for number in 0..10 {
        here.net.send(there.id, StreamClass::Prompt, numbered(number, 100));
    }
    assert_eq!(here.net.stats().dropped_shaped, 10);
    here.net.shape(None, LinkShape::default());
    here.net.send(there.id, StreamClass::Prompt, numbered(99, 100));
    until("a frame after the loss", || there.ear.count(here.id) == 51).await;
    assert_eq!(there.ear.frames.lock().unwrap()[&here.id][50], numbered(99, 100));
    // 100 kB at 500 kB/s
    here.net.shape(None, LinkShape { bandwidth: Some(500_000), ..LinkShape::default() });
    let start = Instant::now();
    for number in 0..10 {
        here.net.send(there.id, StreamClass::Bulk, numbered(number, 10_000));
    }
    until("frames over a narrow link", || there.ear.count(here.id) == 61).await;
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
}
