//! Bad input against running nodes: three of four members are processes, the fourth is this test, as are all
//! clients and strangers. Whatever comes gets its typed answer, is counted under its reason, and somebody else's
//! payments go on all the while.

mod common;
#[path = "../../crates/transport/tests/common/any_server.rs"]
mod keys;
#[path = "common/pay.rs"]
mod pay;
#[path = "common/raw.rs"]
mod raw;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Nodes, PATIENCE, account, free_ports, genesis, keypair, mint, prepare, run_arguments, seed_byte};
use pay::{Payer, assert_applied, hello, payment, ready, signed, submission, submit};
use raw::{RawClient, RawPeer, dial_peer, framed};
use shardpay_crypto::{Keypair, SealedBlock, Signer, chain_id, transaction_message};
use shardpay_types::*;

/// Connections of one address that node 0 allows.
const CONNECTIONS: usize = 6;
/// Transactions that node 0 takes between socket and mempool.
const TRANSACTIONS: usize = 64;

/// Those who do wrong come from here.
const ABROAD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

struct Network {
    plan: Arc<Plan>,
    dir: tempfile::TempDir,
    peers: Vec<SocketAddr>,
    clients: Vec<SocketAddr>,
    _nodes: Nodes,
    /// Somebody else.
    payer: Payer,
}

impl Network {
    async fn start() -> Self {
        // the second committee has its accounts, and no process
        let plan = Arc::new(genesis(2));
        let dir = tempfile::tempdir().expect("a directory");
        let ports = free_ports(7);
        let (peers, clients) = ports.split_at(4);
        let mut nodes = Nodes(Vec::new());
        for member in 0..3 {
            let home = dir.path().join(member.to_string());
            prepare(&home, member, &plan, peers);
            let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
            run_arguments(&mut command, &home, peers[member], clients[member]);
            command.args(["--leader-timeout-ms", "100", "--telemetry-ms", "100"]);
            if member == 0 {
                command.args(["--client-connections-per-address", &CONNECTIONS.to_string()]);
                command.args(["--client-transactions-max", &TRANSACTIONS.to_string()]);
            }
            nodes.0.push(command.stdout(Stdio::null()).spawn().expect("starts"));
        }
        let payer = Payer::start(&plan, clients[0]).await;
        Self { plan, dir, peers: peers.to_vec(), clients: clients.to_vec(), _nodes: nodes, payer }
    }

    fn chain(&self) -> ChainId {
        chain_id(&self.plan)
    }

    /// A greeted stream to node 0.
    async fn ready_client(&self, from: IpAddr) -> RawClient {
        ready(&self.plan, from, self.clients[0]).await.0
    }

    async fn others_go_on(&self, after: &str) {
        self.payer.goes_on(after).await;
    }

    /// What node 0 counted under a metric and a label.
    fn counted(&self, metric: &str, label: &str) -> u64 {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let label: String = label.chars().map(plain).collect();
        let (metric, label) = (format!("metric={metric}"), format!("label={label}"));
        let series = std::fs::read_to_string(self.home(0).join("series.lp")).unwrap_or_default();
        let last = series.lines().rfind(|line| {
            let tags = line.split(' ').next().unwrap_or_default();
            let has = |wanted: &str| tags.split(',').any(|tag| tag == wanted);
            has("labelled") && has(&metric) && has(&label)
        });
        let count = last.and_then(|line| line.split_once("count=")?.1.split('i').next()?.parse().ok());
        count.unwrap_or(0)
    }

    fn home(&self, member: usize) -> PathBuf {
        self.dir.path().join(member.to_string())
    }

    async fn until_counted(&self, metric: &str, label: &str, goal: u64) {
        let started = Instant::now();
        while self.counted(metric, label) < goal {
            let found = self.counted(metric, label);
            assert!(started.elapsed() < PATIENCE, "{metric} {label:?}: {found} counted, {goal} were sent");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn payment(&self, payer: &Keypair, to: PublicKey, micros: u64, sequence: u64) -> Transaction {
        payment(&self.chain(), payer, to, micros, sequence)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_answered_counted_and_harms_nobody() {
    let network = Network::start().await;
    bad_greetings(&network).await;
    bad_frames(&network).await;
    bad_transactions(&network).await;
    too_much(&network).await;
    strangers(&network).await;
    a_bad_member(&network).await;
}

async fn expect_end(network: &Network, mut client: RawClient, reason: RefuseReason, what: &str) {
    match client.reply().await {
        Some(ClientReply::Refused(refused)) => assert_eq!(refused.reason, reason, "{what}"),
        other => panic!("{what}: not refused: {other:?}"),
    }
    assert!(client.reply().await.is_none(), "{what}: the stream ends");
    network.others_go_on(what).await;
}

async fn bad_greetings(network: &Network) {
    let mut other_version = hello(&network.plan);
    other_version[0] ^= 0x55;
    let other_chain = Hello { version: Version, chain: ChainId([9; 32]) }.to_bytes();
    let before = network.counted("client_refused", &RefuseReason::HelloExpected.to_string());
    let cases = [
        (vec![1, 2, 3], RefuseReason::HelloExpected, "no greeting"),
        (other_version, RefuseReason::HelloExpected, "another version"),
        (other_chain, RefuseReason::WrongChain, "another ledger"),
    ];
    for (body, reason, what) in cases {
        let mut client = RawClient::connect(ABROAD, network.clients[0]).await.expect("connects");
        client.send(&framed(&body)).await;
        expect_end(network, client, reason, what).await;
    }
    network.until_counted("client_refused", &RefuseReason::HelloExpected.to_string(), before + 2).await;
    network.until_counted("client_refused", &RefuseReason::WrongChain.to_string(), 1).await;
}

async fn bad_frames(network: &Network) {
    let payer = account(&network.plan, 0, 1);
    let good = submission(vec![network.payment(&payer, payer.public_key(), 1, 0)]);
    let mut longer = good.clone();
    longer.push(0);
    let mut too_many = good[..1].to_vec();
    too_many.extend_from_slice(&(SUBMIT_MAX as u32 + 1).to_le_bytes());
    let (large, malformed) = (RefuseReason::TooLarge, RefuseReason::Malformed);
    let cut = [&100_u32.to_le_bytes()[..], b"cut"].concat();
    // the whole frame that stands in the way of a length is not sent: the length is enough
    let cases: [(Vec<u8>, RefuseReason, &str); 9] = [
        (((256 << 10) + 1_u32).to_le_bytes().to_vec(), large, "frame too large"),
        (u32::MAX.to_le_bytes().to_vec(), large, "frame too large"),
        (0_u32.to_le_bytes().to_vec(), malformed, "empty frame"),
        (cut, malformed, "truncated frame"),
        (framed(&[250, 0, 0]), malformed, ""),
        (framed(&[0]), malformed, ""),
        (framed(&good[..good.len() - 1]), malformed, ""),
        (framed(&longer), malformed, ""),
        (framed(&too_many), malformed, ""),
    ];
    let counts = [large, malformed].map(|reason| network.counted("client_refused", &reason.to_string()));
    for (number, (bytes, reason, label)) in cases.into_iter().enumerate() {
        let before = network.counted("client_refused", label);
        let mut client = network.ready_client(ABROAD).await;
        client.send(&bytes).await;
        client.finish();
        expect_end(network, client, reason, &format!("frame {number}")).await;
        if !label.is_empty() {
            network.until_counted("client_refused", label, before + 1).await;
        }
    }
    network.until_counted("client_refused", &large.to_string(), counts[0] + 2).await;
    network.until_counted("client_refused", &malformed.to_string(), counts[1] + 7).await;
}

async fn bad_transactions(network: &Network) {
    let (plan, chain) = (&network.plan, network.chain());
    let (alice, bob) = (account(plan, 0, 1), account(plan, 0, 2).public_key());
    let abroad = account(plan, 1, 3);
    let mut client = network.ready_client(ABROAD).await;
    let funds = mint(plan, alice.public_key(), 1_000, 1);
    assert_applied(submit(&mut client, funds).await);
    let first = network.payment(&alice, bob, 10, 0);
    assert_applied(submit(&mut client, first).await);

    let mut forged = network.payment(&alice, bob, 11, 1);
    if let Transaction::Payment(payment) = &mut forged {
        payment.body.amount = Amount::from_micros(900);
    }
    let mut stolen = mint(plan, bob, 1_000_000, 2);
    if let Transaction::Mint(mint) = &mut stolen {
        mint.signature = alice.sign(&transaction_message(&chain, &Transaction::Mint(*mint)));
    }
    let Transaction::Payment(SignedPayment { body, .. }) = network.payment(&alice, bob, 10, 1) else { unreachable!() };
    let expired = signed(&chain, &alice, Payment { valid_until: Timestamp::from_micros(1), ..body });
    let cases = [
        (forged, RejectReason::BadSignature),
        (stolen, RejectReason::BadSignature),
        (payment(&ChainId([9; 32]), &alice, bob, 10, 1), RejectReason::BadSignature),
        (network.payment(&abroad, bob, 10, 0), RejectReason::WrongCommittee),
        (network.payment(&alice, bob, 0, 1), RejectReason::AmountTooSmall),
        (network.payment(&alice, bob, 5_000, 1), RejectReason::ShortBalance),
        (network.payment(&alice, bob, 10, 1_000), RejectReason::TooFarAhead),
        (network.payment(&alice, PublicKey([0; 32]), 10, 1), RejectReason::BadSignature), // of signature or key
        (expired, RejectReason::Expired),
        // replays: the same again, and another payment in its place
        (first, RejectReason::SequenceUsed),
        (network.payment(&alice, bob, 12, 0), RejectReason::SequenceUsed),
        (funds, RejectReason::DepositUsed),
    ];
    for (number, (transaction, reason)) in cases.into_iter().enumerate() {
        let before = network.counted("transactions_refused", &reason.to_string());
        let answer = submit(&mut client, transaction).await;
        assert_eq!(answer, TxAnswer::Rejected(reason), "transaction {number}");
        network.until_counted("transactions_refused", &reason.to_string(), before + 1).await;
        network.others_go_on(&reason.to_string()).await;
    }
    // nothing of it moved a coin
    assert_applied(submit(&mut client, network.payment(&alice, bob, 990, 1)).await);
}

async fn too_much(network: &Network) {
    // transactions beyond the node's share are told to come again, all of them
    let payer = account(&network.plan, 0, 4);
    let before = network.counted("transactions_refused", "busy");
    let mut client = network.ready_client(ABROAD).await;
    let many = (0..=TRANSACTIONS as u64).map(|n| network.payment(&payer, payer.public_key(), 1, n)).collect();
    client.send(&framed(&submission(many))).await;
    let Some(ClientReply::Results(results)) = client.reply().await else { panic!("no results") };
    assert_eq!(results.results.len(), TRANSACTIONS + 1);
    assert!(results.results.iter().all(|result| matches!(result.answer, TxAnswer::Busy(ms) if ms > 0)));
    network.until_counted("transactions_refused", "busy", before + TRANSACTIONS as u64 + 1).await;
    network.others_go_on("a submission above the limit").await;
    drop(client);

    // connections beyond the address's share are refused; another address has its own
    let label = "too many connections from one address";
    let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(RawClient::connect(from, network.clients[0]).await.expect("within the limit"));
    }
    for _ in 0..3 {
        assert!(RawClient::connect(from, network.clients[0]).await.is_err_and(|error| error.is_refused()));
    }
    network.until_counted("client_refused", label, 3).await;
    network.ready_client(ABROAD).await;
    network.others_go_on("connections above the limit").await;
}

async fn strangers(network: &Network) {
    let socket = std::net::UdpSocket::bind((ABROAD, 0)).expect("a socket");
    for n in 0..=255_u8 {
        for port in [network.peers[0], network.clients[0]] {
            socket.send_to(&vec![n; usize::from(n) * 5 + 1], port).expect("sent");
        }
    }
    network.others_go_on("garbage datagrams").await;
    // a key that is no member's: the refusal can come after the handshake's end
    for (seed, alpn, label) in [
        (250, &b"shardpay-peer/1"[..], "key is not a member's"),
        (seed_byte(0, 3), &b"shardpay-client/1"[..], "wrong application protocol"),
    ] {
        let before = network.counted("peer_refused", label);
        if let Ok(peer) = dial_peer(seed, alpn, network.peers[0]).await {
            peer.closed().await;
        }
        network.until_counted("peer_refused", label, before + 1).await;
        network.others_go_on(label).await;
    }
}

/// A block of member 3 in round 5, signed by member `signer`, whose form is right but for what `twist` does to it. Its
/// parents are nobody's.
fn block(network: &Network, signer: usize, twist: impl FnOnce(&mut Block)) -> RawBlock {
    let parent =
        |author| BlockRef { round: Round::new(4), author: MemberIndex::at(author), digest: BlockDigest([4; 32]) };
    let mut block = Block {
        version: Version,
        chain: network.chain(),
        epoch: Epoch::ZERO,
        committee: CommitteeId::at(0),
        author: MemberIndex::at(3),
        round: Round::new(5),
        timestamp: Timestamp::ZERO,
        parents: List::bounded([3, 0, 1, 2].map(parent).to_vec()),
        payload: Payload::default(),
        signature: Signature::ZERO,
    };
    twist(&mut block);
    SealedBlock::sign(block, &keypair(signer)).raw().clone()
}

async fn a_bad_member(network: &Network) {
    let blocks = |block: RawBlock| {
        let blocks = List::bounded(vec![block]);
        PeerMessage::Blocks(Blocks { epoch: Epoch::ZERO, requested: false, blocks }).to_bytes()
    };
    let vote = HeaderVote {
        epoch: Epoch::ZERO,
        height: Height::new(1),
        header: HeaderHash([1; 32]),
        signature: Signature([7; 64]),
    };
    let notice = RelayNotice { epoch: Epoch::ZERO, count: 1 };
    let foreign = block(network, 3, |block| block.chain = ChainId([9; 32]));
    let elsewhere = block(network, 3, |block| block.committee = CommitteeId::at(1));
    let cases = [
        (vec![250, 1, 2, 3], "peer_refused", "malformed"),
        (PeerMessage::HeaderVote(vote).to_bytes(), "peer_refused", "signature does not verify"),
        (PeerMessage::RelayNotice(notice).to_bytes(), "peer_refused", "kind not allowed from this committee"),
        (blocks(RawBlock(Arc::from(&b"no block"[..]))), "blocks_refused", "malformed"),
        (blocks(foreign), "blocks_refused", "wrong chain"),
        (blocks(elsewhere), "blocks_refused", "wrong committee"),
        (blocks(block(network, 2, |_| {})), "blocks_refused", "bad signature"),
        (blocks(block(network, 3, |block| block.round = Round::new(6))), "blocks_refused", "too few parents"),
        (blocks(block(network, 3, |block| block.parents = List::default())), "blocks_refused", "bad parents"),
    ];
    let mut peer = member(network).await;
    for (body, metric, label) in cases {
        let before = network.counted(metric, label);
        peer.send(&framed(&body)).await;
        // again: a replay is as bad as the first
        peer.send(&framed(&body)).await;
        network.until_counted(metric, label, before + 2).await;
        network.others_go_on(label).await;
    }
    let cases = [
        (((8 << 20) + 1_u32).to_le_bytes().to_vec(), "frame too large", 4),
        (0_u32.to_le_bytes().to_vec(), "empty frame", 5),
    ];
    for (bytes, label, code) in cases {
        let before = network.counted("peer_refused", label);
        peer.send(&bytes).await;
        assert_eq!(peer.closed().await, Some(code), "{label}");
        network.until_counted("peer_refused", label, before + 1).await;
        network.others_go_on(label).await;
        peer = member(network).await;
    }
}

/// A connection to node 0 as its fellow member 3, with a stream of the first class.
async fn member(network: &Network) -> RawPeer {
    let mut peer = dial_peer(seed_byte(0, 3), b"shardpay-peer/1", network.peers[0]).await.expect("a member gets in");
    peer.open(0).await;
    peer
}

#[test]
fn a_wrong_configuration_names_its_key_and_nothing_starts() {
    let dir = tempfile::tempdir().expect("a directory");
    let home = dir.path().join("home").display().to_string();
    let start = |text: &str, more: &[&str]| {
        let config = dir.path().join("config.toml");
        std::fs::write(&config, format!("data_dir = \"{home}\"\nsignaler = \"http://127.0.0.1:9\"\n{text}\n")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_node"));
        let output = command.args(["run", "--config"]).arg(&config).args(more).output().expect("runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (text, more, parts) in [
        ("min_round_delay_ms = 99999", &[][..], &["min_round_delay_ms (line 3)", "99999"][..]),
        ("peer_lanes = 0", &[], &["peer_lanes (line 3)"]),
        ("durability = \"maybe\"", &[], &["durability (line 3)", "maybe"]),
        ("listen_peers = \"here\"", &[], &["listen_peers"]),
        ("min_round_delay = 5", &[], &["min_round_delay"]),
        ("", &["--heartbeat-ms", "1"], &["heartbeat_ms", "1 is not within"]),
        ("", &["--listen-clients", "nowhere"], &["--listen-clients", "nowhere"]),
    ] {
        let (code, complaint) = start(text, more);
        assert_eq!(code, Some(2), "{text} {more:?}: {complaint}");
        assert!(parts.iter().all(|part| complaint.contains(part)), "{text} {more:?}: {complaint}");
    }
    assert!(!Path::new(&home).exists(), "nothing was begun");
}
