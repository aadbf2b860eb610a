//! A signaler on loopback and scripted nodes that hold real keys.

#![allow(dead_code, reason = "each test file uses a part")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use shardpay_client::signaler::{
    Addresses, ErrorBody, HeartbeatRequest, NetworkId, Phase, PlansQuery, PlansReply, Progress, RegisterRequest,
    SignalerClient, SignalerError,
};
use shardpay_crypto::{Keypair, Signer, chain_id, plan_approval_message, plan_hash};
use shardpay_push::PushTargets;
use shardpay_signaler::{
    ConnectionLimits, EpochClock, MemoryStore, OperatorToken, RocksStore, Server, ServerError, Settings, Start,
};
use shardpay_types::{CommitteeId, Constants, Epoch, Height, MemberIndex, Plan, PlanApproval, PublicKey, Round};

pub(crate) const NETWORK: NetworkId = NetworkId([7; 32]);
pub(crate) const TOKEN: &str = "the operator's secret";
pub(crate) const COMMITTEES: usize = 2;
pub(crate) const MEMBERS: usize = 4;

/// The key of scripted node `n`.
pub(crate) fn keypair(n: usize) -> Keypair {
    Keypair::from_seed(&[u8::try_from(n + 1).expect("few nodes"); 32])
}

pub(crate) fn settings() -> Settings {
    Settings {
        committees: COMMITTEES,
        members: MEMBERS,
        issuer: keypair(99).public_key(),
        constants: Constants::standard(COMMITTEES),
        network: Some(NETWORK),
        allowed: None,
        clock: EpochClock::default(),
        down_after: Duration::from_secs(60),
        clock_skew_max: Duration::from_secs(60),
    }
}

/// All keys, in reverse: so that an allow-list's order differs from the order of arrival.
pub(crate) fn reversed_keys() -> Vec<PublicKey> {
    (0..COMMITTEES * MEMBERS).rev().map(|n| keypair(n).public_key()).collect()
}

pub(crate) async fn try_start(dir: &Path, settings: Settings) -> Result<Server, ServerError> {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let store = Box::new(RocksStore::open(&dir.join("store"))?);
    let operator = Some(OperatorToken::new(TOKEN));
    Server::start(Start {
        listen,
        connections: ConnectionLimits::default(),
        data_dir: Some(dir.to_owned()),
        settings,
        operator,
        telemetry_push: PushTargets::default(),
        store,
    })
    .await
}

pub(crate) async fn start(dir: &Path, settings: Settings) -> (Server, SignalerClient) {
    let server = try_start(dir, settings).await.expect("starts");
    let client = client(&server.addr().to_string());
    (server, client)
}

/// A signaler that forgets.
pub(crate) async fn start_in_memory(settings: Settings) -> (Server, SignalerClient) {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let operator = Some(OperatorToken::new(TOKEN));
    let start = Start {
        listen,
        connections: ConnectionLimits::default(),
        data_dir: None,
        settings,
        operator,
        telemetry_push: PushTargets::default(),
        store: Box::new(MemoryStore::default()),
    };
    let server = Server::start(start).await.expect("starts");
    let client = client(&server.addr().to_string());
    (server, client)
}

pub(crate) fn client(addr: &str) -> SignalerClient {
    SignalerClient::new(&format!("http://{addr}")).expect("an address")
}

pub(crate) fn now_us() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_micros()).expect("before the year 500,000")
}

pub(crate) fn addresses(n: usize) -> Addresses {
    let port = |base: u16| SocketAddr::from(([127, 0, 0, 1], base + u16::try_from(n).expect("few nodes")));
    Addresses { peer: port(4_000), client: port(5_000) }
}

pub(crate) fn registration(n: usize, counter: u64) -> RegisterRequest {
    RegisterRequest::signed(&NETWORK, &keypair(n), counter, addresses(n))
}

pub(crate) async fn register_all(client: &SignalerClient) {
    for n in 0..COMMITTEES * MEMBERS {
        client.register(&registration(n, 1)).await.expect("registered");
    }
}

/// The consent of the node in place (committee, member) of `members` to `plan`.
pub(crate) fn approval(genesis: &Plan, members: &Plan, plan: &Plan, committee: usize, member: usize) -> PlanApproval {
    let (committee, member) = (CommitteeId::at(committee), MemberIndex::at(member));
    let key = members.committee(committee).and_then(|plan| plan.key(member)).expect("a member");
    let mut pairs = (0..COMMITTEES * MEMBERS).map(keypair);
    let signer = pairs.find(|pair| pair.public_key() == *key).expect("a scripted node");
    let (hash, epoch) = (plan_hash(plan), plan.epoch);
    let signature = signer.sign(&plan_approval_message(&chain_id(genesis), &hash, epoch));
    PlanApproval { plan: hash, epoch, committee, member, signature }
}

/// The first `count` members of each committee approve what is up for co-signing.
pub(crate) async fn approve(client: &SignalerClient, count: usize) {
    let plans = client.plans(PlansQuery::default()).await.expect("plans");
    let genesis = plans.genesis.expect("genesis").plan.0;
    let plan = plans.proposal.map_or_else(|| genesis.clone(), |proposal| proposal.plan.0);
    for committee in 0..COMMITTEES {
        for member in 0..count {
            client.approve(approval(&genesis, &genesis, &plan, committee, member)).await.expect("taken");
        }
    }
}

/// All nodes say that they run `epoch`.
pub(crate) async fn beat_all(client: &SignalerClient, epoch: u64) {
    for n in 0..COMMITTEES * MEMBERS {
        client.heartbeat(&heartbeat(n, now_us(), epoch)).await.expect("taken");
    }
}

pub(crate) fn heartbeat(n: usize, time_us: u64, epoch: u64) -> HeartbeatRequest {
    let progress = Progress {
        epoch: Epoch::new(epoch),
        round: Round::new(5),
        executed: Height::new(4),
        certified: Height::new(3),
    };
    HeartbeatRequest::signed(&NETWORK, &keypair(n), time_us, progress, None)
}

pub(crate) async fn phase(client: &SignalerClient) -> (Phase, u64) {
    let plans: PlansReply = client.plans(PlansQuery::default()).await.expect("plans");
    (plans.phase, plans.epoch.get())
}

pub(crate) async fn wait_for(client: &SignalerClient, phase: Phase, epoch: u64) {
    let limit = Instant::now() + Duration::from_secs(20);
    let mut query = PlansQuery { after: Some(0), wait: Some(5), epoch: None };
    loop {
        let plans = client.plans(query).await.expect("plans");
        if (plans.phase, plans.epoch.get()) == (phase, epoch) {
            return;
        }
        assert!(Instant::now() < limit, "{phase} {epoch} not reached: {} {}", plans.phase, plans.epoch);
        query.after = Some(plans.version);
    }
}

pub(crate) fn refused<T: std::fmt::Debug>(reply: Result<T, SignalerError>) -> (u16, ErrorBody) {
    match reply {
        Err(SignalerError::Refused { status, body }) => (status, body),
        other => panic!("not refused: {other:?}"),
    }
}

/// A plain HTTP client, for requests that no well-behaved client makes.
pub(crate) fn http_client() -> reqwest::Client {
    let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("a client")
}
