//! "Persist, then send", seen from outside: a node under `strace` while it makes a block and signs a header.
//!
//! Four real processes, rounds a second apart so that the moments stand alone. The own block is made large, so
//! its record in the store's log and its datagrams are told by their size; the record of the header vote is
//! told by the header's hash in it. Each must be synced (`fdatasync` of the log, begun after the write) before
//! a datagram that could carry it leaves the peer port. A kill −9 cannot show this: the page cache survives it.

mod common;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Nodes, PATIENCE, free_ports, genesis, keypair, mint, prepare, run_arguments};
use shardpay_crypto::{Signer, chain_id, header_hash};
use shardpay_transport::ClientConnector;
use shardpay_types::{ClientReply, ClientRequest, Codec, Height, Hello, List, Plan, Submit, Subscribe, Version};

/// Mints submitted at once, for an own block of tens of KB.
const MINTS: usize = 500;
/// A datagram of at least that many bytes can carry a vote; acknowledgements are shorter.
const VOTE_DATAGRAM: usize = 120;

fn start(dir: &Path, peers: SocketAddr, clients: SocketAddr, trace: Option<&Path>) -> Child {
    let node = env!("CARGO_BIN_EXE_node");
    let mut command = match trace {
        None => Command::new(node),
        Some(trace) => {
            let mut strace = Command::new("strace");
            strace.args(["-f", "-ttt", "-T", "-yy", "-x", "-s", "200000", "-e"]);
            strace.args(["trace=write,writev,pwrite64,fdatasync,fsync,sendmsg,sendmmsg,sendto", "-o"]);
            strace.arg(trace).arg(node);
            strace
        }
    };
    run_arguments(&mut command, dir, peers, clients);
    command.args(["--min-round-delay-ms", "1000", "--leader-timeout-ms", "5000", "--heartbeat-ms", "5000"]);
    command.args(["--telemetry-ms", "0"]);
    command.stdout(Stdio::null()).spawn().expect("starts")
}

/// Submits the mints to a node and returns the hash of the header that most of them got (the first ones wake
/// the committee and are in a block of their own).
async fn pay(plan: &Plan, addr: SocketAddr) -> [u8; 32] {
    let connector = ClientConnector::new(&tokio::runtime::Handle::current());
    let started = Instant::now();
    let connection = loop {
        match connector.connect(addr, keypair(0).public_key()).await {
            Ok(connection) => break connection,
            Err(error) => assert!(started.elapsed() < PATIENCE, "no connection: {error}"),
        }
    };
    // let the start's own traffic pass
    let (send, mut receive) = loop {
        let (send, mut receive) = connection.open().await.expect("a stream");
        let hello = Hello { version: Version, chain: chain_id(plan) };
        send.send(hello.to_bytes().into()).await.expect("sent");
        let frame = receive.next().await.expect("an answer").expect("an answer");
        match ClientReply::from_bytes(frame.bytes()).expect("canonical") {
            ClientReply::Welcome(welcome) if welcome.proposing => break (send, receive),
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
        assert!(started.elapsed() < PATIENCE, "the node does not get ready");
    };
    let subscribe = ClientRequest::Subscribe(Subscribe { from: Height::new(1), accounts: None });
    send.send(subscribe.to_bytes().into()).await.expect("sent");
    let mints = (0..MINTS).map(|n| mint(plan, keypair(n % 4).public_key(), 1, n)).collect();
    let submit = ClientRequest::Submit(Submit { transactions: List::bounded(mints) });
    send.send(submit.to_bytes().into()).await.expect("sent");
    loop {
        let frame = receive.next().await.expect("an answer").expect("an answer");
        if let ClientReply::Block(block) = ClientReply::from_bytes(frame.bytes()).expect("canonical")
            && block.block.header.leaf_count as usize > MINTS / 2
        {
            return header_hash(&block.block.header).0;
        }
    }
}

/// A system call: when it began and ended, its name, what it works on, its content, its result.
#[derive(Debug)]
struct Call {
    begin: f64,
    end: f64,
    name: String,
    target: String,
    content: String,
    result: usize,
}

/// Reads strace's output. Calls interrupted by others stand in two lines, joined here by thread.
fn parse(text: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut open: std::collections::HashMap<&str, (f64, String)> = std::collections::HashMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((time, rest)) = rest.trim_start().split_once(' ') else { continue };
        let Ok(time) = time.parse::<f64>() else { continue };
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            open.insert(thread, (time, begun.to_owned()));
            continue;
        }
        let (begin, whole) = match rest.split_once(" resumed>") {
            Some((_, tail)) => match open.remove(thread) {
                Some((begin, head)) => (begin, format!("{head}{tail}")),
                None => continue,
            },
            None => (time, rest.to_owned()),
        };
        calls.extend(call(begin, &whole));
    }
    calls.sort_by(|a, b| a.begin.total_cmp(&b.begin));
    calls
}

fn call(begin: f64, text: &str) -> Option<Call> {
    let (name, arguments) = text.split_once('(')?;
    let (arguments, outcome) = arguments.rsplit_once(" = ")?;
    let (result, took) = outcome.split_once(' ')?;
    let took = took.rsplit_once('<')?.1.trim_end_matches('>').parse::<f64>().ok()?;
    Some(Call {
        begin,
        end: begin + took,
        name: name.to_owned(),
        target: arguments.split(',').next()?.to_owned(),
        content: arguments.to_owned(),
        result: result.parse().unwrap_or_default(),
    })
}

impl Call {
    fn is_log_write(&self) -> bool {
        self.name.contains("write") && self.target.contains("/store/") && self.target.contains(".log")
    }
    fn is_log_sync(&self) -> bool {
        self.name.ends_with("sync") && self.target.contains("/store/") && self.target.contains(".log")
    }
    fn is_sent_from(&self, port: SocketAddr) -> bool {
        self.name.starts_with("send") && self.target.contains(&format!("{port}"))
    }
}

/// When what `write` wrote is durable: the end of the first sync begun after it.
fn durable_after(calls: &[Call], write: &Call) -> f64 {
    let sync = calls.iter().filter(|call| call.is_log_sync() && call.begin >= write.end);
    sync.map(|sync| sync.end).next().expect("the log is synced after the record was written")
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_synced_before_what_depends_on_them_is_sent() {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    assert!(found.is_ok_and(|status| status.success()), "this test needs strace: apt-get install strace");
    let dir = tempfile::tempdir().expect("a directory");
    let plan = genesis(1);
    let ports = free_ports(8);
    let (peers, clients) = ports.split_at(4);
    let trace: PathBuf = dir.path().join("trace");
    let mut nodes = Nodes(Vec::new());
    for member in 0..4 {
        let home = dir.path().join(member.to_string());
        prepare(&home, member, &plan, peers);
        nodes.0.push(start(&home, peers[member], clients[member], (member == 0).then_some(&trace)));
    }
    let header = tokio::time::timeout(PATIENCE, pay(&plan, clients[0])).await.expect("certified in time");
    drop(nodes);

    let calls = parse(&std::fs::read_to_string(&trace).expect("a trace"));
    let block = MINTS / 2 * 137;
    let own_block = calls.iter().find(|call| call.is_log_write() && call.result > block).expect("the block's record");
    let durable = durable_after(&calls, own_block);
    let sent = calls.iter().filter(|call| call.is_sent_from(peers[0]));
    let (early, late): (Vec<&Call>, Vec<&Call>) =
        sent.filter(|call| call.begin >= own_block.begin).partition(|call| call.begin < durable);
    let bytes = |calls: &[&Call]| calls.iter().map(|call| call.result).sum::<usize>();
    assert!(bytes(&early) < 2_000, "{} bytes left before the block was durable", bytes(&early));
    assert!(bytes(&late) > 3 * block, "the block went to three peers: {} bytes", bytes(&late));

    let hash: String = header.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let is_vote = |call: &&Call| call.is_log_write() && call.result < 500 && call.content.contains(&hash);
    let vote = calls.iter().find(is_vote).expect("the vote's record");
    let durable = durable_after(&calls, vote);
    let early = calls.iter().filter(|call| call.is_sent_from(peers[0]) && call.result >= VOTE_DATAGRAM);
    let early: Vec<&Call> = early.filter(|call| call.begin >= vote.begin && call.begin < durable).collect();
    assert!(early.is_empty(), "{} datagrams left before the vote was durable", early.len());
    let carried = calls.iter().any(|call| call.is_sent_from(peers[0]) && call.begin >= durable);
    assert!(carried, "the vote went out afterwards");
}
