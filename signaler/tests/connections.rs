//! Connections: a bound, a typed refusal above it, and no place for ever to those who say nothing.

#![allow(missing_docs, reason = "a test")]

use std::net::SocketAddr;
use std::time::Duration;

use shardpay_client::signaler::ErrorCode;
use shardpay_push::PushTargets;
use shardpay_signaler::{ConnectionLimits, MemoryStore, Server, Start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

mod common;
use common::{client, refused, registration, settings};

const PATIENCE: Duration = Duration::from_secs(20);

async fn start(dir: &std::path::Path, connections: ConnectionLimits) -> Server {
    let start = Start {
        listen: "127.0.0.1:0".parse().expect("an address"),
        connections,
        data_dir: Some(dir.to_owned()),
        settings: settings(),
        operator: None,
        telemetry_push: PushTargets::default(),
        store: Box::new(MemoryStore::default()),
    };
    Server::start(start).await.expect("starts")
}

/// Asks for the signaler's health on a connection that stays open; its status.
async fn ask(stream: &mut TcpStream) -> Option<u16> {
    stream.write_all(b"GET /v1/health HTTP/1.1\r\nhost: x\r\n\r\n").await.ok()?;
    let mut bytes = vec![0; 4_096];
    let count = tokio::time::timeout(PATIENCE, stream.read(&mut bytes)).await.expect("an answer").ok()?;
    let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
    text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// Connections that are served.
async fn hold(to: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(to).await.expect("connects");
        assert_eq!(ask(&mut stream).await, Some(200));
        held.push(stream);
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn above_the_limit_there_is_a_typed_refusal_and_others_go_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = start(dir.path(), ConnectionLimits { max: 4, ..ConnectionLimits::default() }).await;
    let mut held = hold(server.addr(), 4).await;
    // as a node sees it, with a body under way
    let reply = client(&server.addr().to_string()).register(&registration(0, 1)).await;
    let (status, body) = refused(reply);
    assert_eq!((status, body.error, body.detail.as_str()), (503, ErrorCode::Unavailable, "too many connections"));
    // 200 that never say a word do not wear the server out, and those that are in go on
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(server.addr()).await.expect("connects"));
    }
    for stream in &mut held {
        assert_eq!(ask(stream).await, Some(200));
    }
    drop((silent, held.pop()));
    let served = async {
        loop {
            if let Ok(reply) = client(&server.addr().to_string()).register(&registration(0, 1)).await {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reply = tokio::time::timeout(PATIENCE, served).await.expect("a place is free again");
    assert_eq!(reply.registered, 1);
    server.shutdown().await.expect("ends");
    let series = std::fs::read_to_string(dir.path().join("series.lp")).expect("written");
    let counted = series.lines().filter_map(|line| line.split("http_refused").nth(1)).next_back().expect("counted");
    assert!(counted.contains("unavailable"), "{counted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_loses_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let server = start(dir.path(), ConnectionLimits { max: 2, idle: Duration::from_millis(500) }).await;
    let mut one = TcpStream::connect(server.addr()).await.expect("connects");
    let mut half = TcpStream::connect(server.addr()).await.expect("connects");
    half.write_all(b"POST /v1/nodes HTTP/1.1\r\nhost:").await.expect("sent");
    for stream in [&mut one, &mut half] {
        let mut said = Vec::new();
        // closed: the end of the stream, or a reset
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("closed");
    }
    assert_eq!(hold(server.addr(), 2).await.len(), 2);
    server.shutdown().await.expect("ends");
}

#[test]
fn a_long_poll_is_not_silence() {
    assert!(ConnectionLimits::IDLE > Duration::from_secs(60), "docs/SIGNALER.md: wait is at most 60 s");
}
