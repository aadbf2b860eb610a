//! Limits on connections and handshakes, per address and in total, of both ports, over IPv4 and IPv6.
//!
//! All of 127.0.0.0/8 is this machine: a second address is 127.0.0.2. A handshake that never ends is a client
//! behind a forwarder that lets its datagrams through and few or none of the answers.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::any_server::{client_config, peer_config};
use common::{Node, PATIENCE, all_connected, introduce, node, until};
use quinn::{Connection, ConnectionError, Endpoint};
use shardpay_transport::{
    ClientConnector, ClientHandler, ClientLimits, ClientServer, ConnectError, ConnectionInfo, Identity, PeerConfig,
    ReplySender, RequestReceiver, StreamClass, TransportRefusal,
};
use tokio::net::UdpSocket;
use tokio::runtime::Handle;

/// Counts what is refused; sends every request back.
#[derive(Default)]
struct Counting(Mutex<Vec<TransportRefusal>>);

impl Counting {
    fn refused(&self, what: TransportRefusal) -> usize {
        self.0.lock().unwrap().iter().filter(|seen| **seen == what).count()
    }
}

impl ClientHandler for Counting {
    fn open(&self, _: ConnectionInfo, send: ReplySender, mut requests: RequestReceiver) {
        tokio::spawn(async move {
            while let Ok(Some(frame)) = requests.next().await {
                if send.send(frame.into_bytes()).await.is_err() {
                    return;
                }
            }
        });
    }
    fn refused(&self, what: TransportRefusal, _from: SocketAddr) {
        self.0.lock().unwrap().push(what);
    }
}

fn serve(at: IpAddr, limits: ClientLimits) -> (ClientServer, Arc<Counting>, Identity) {
    let identity = Identity::from_seed([77; 32]);
    let counting = Arc::new(Counting::default());
    let server = ClientServer::start(&Handle::current(), (at, 0).into(), limits, &identity, Arc::clone(&counting) as _);
    (server.unwrap_or_else(|error| panic!("{at} is needed for this test: {error}")), counting, identity)
}

fn v4() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

/// The `n`-th address of this machine.
fn address(n: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, n).into()
}

/// Connects from an address of choice.
async fn dial_from(from: IpAddr, to: SocketAddr) -> Result<(Endpoint, Connection), ConnectionError> {
    let endpoint = Endpoint::client((from, 0).into()).unwrap();
    let connection = endpoint.connect_with(client_config(b"shardpay-client/1"), to, "anything").unwrap().await?;
    Ok((endpoint, connection))
}

fn is_refused(result: &Result<(Endpoint, Connection), ConnectionError>) -> bool {
    matches!(result, Err(ConnectionError::ConnectionClosed(close))
        if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED)
}

/// A handshake that does not end while this is held: of the answers, the first `back` arrive.
struct HalfOpen {
    _endpoint: Endpoint,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl HalfOpen {
    async fn client(to: SocketAddr, back: usize) -> Self {
        Self::start(client_config(b"shardpay-client/1"), to, back).await
    }

    async fn peer(to: SocketAddr, back: usize) -> Self {
        Self::start(peer_config(200, b"shardpay-peer/1"), to, back).await
    }

    async fn start(config: quinn::ClientConfig, to: SocketAddr, back: usize) -> Self {
        let front = Arc::new(UdpSocket::bind((v4(), 0)).await.unwrap());
        let behind = Arc::new(UdpSocket::bind((v4(), 0)).await.unwrap());
        let through = front.local_addr().unwrap();
        let (client, (front_out, behind_in)) = (Arc::new(Mutex::new(None)), (front.clone(), behind.clone()));
        let known = client.clone();
        let there = tokio::spawn(async move {
            let mut datagram = vec![0; 65_536];
            while let Ok((bytes, from)) = front.recv_from(&mut datagram).await {
                *known.lock().unwrap() = Some(from);
                let _ = behind.send_to(&datagram[..bytes], to).await;
            }
        });
        let home = tokio::spawn(async move {
            let mut datagram = vec![0; 65_536];
            for _ in 0..back {
                let Ok(bytes) = behind_in.recv(&mut datagram).await else { return };
                let from: Option<SocketAddr> = *client.lock().unwrap();
                let _ = front_out.send_to(&datagram[..bytes], from.expect("an answer follows a question")).await;
            }
        });
        let endpoint = Endpoint::client((v4(), 0).into()).unwrap();
        let connecting = endpoint.connect_with(config, through, "anything").unwrap();
        let dialling = tokio::spawn(async move {
            assert!(connecting.await.is_err(), "without answers there is no connection");
        });
        Self { _endpoint: endpoint, tasks: vec![there, home, dialling] }
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test]
async fn connections_are_limited_in_total_and_an_address_alone_cannot_take_all() {
    let limits = ClientLimits { connections_max: 3, connections_per_address_max: 2, ..ClientLimits::default() };
    let (server, counting, _) = serve(v4(), limits);
    let to = server.local_addr();
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(dial_from(address(1), to).await.unwrap());
    }
    assert!(is_refused(&dial_from(address(1), to).await));
    assert_eq!(counting.refused(TransportRefusal::AddressConnections), 1);
    held.push(dial_from(address(2), to).await.unwrap());
    assert!(is_refused(&dial_from(address(3), to).await));
    assert_eq!(counting.refused(TransportRefusal::ConnectionsFull), 1);
    assert_eq!(server.stats().connections, 3);
    held.remove(0).1.close(0_u32.into(), b"");
    until("a place is free", || server.stats().connections == 2).await;
    dial_from(address(3), to).await.unwrap();
}

#[tokio::test]
async fn handshakes_are_limited_in_total_and_end_in_time() {
    let limits = ClientLimits {
        handshakes_max: 2,
        retry_above: 100,
        handshake_timeout: Duration::from_secs(2),
        ..ClientLimits::default()
    };
    let (server, counting, identity) = serve(v4(), limits);
    let mut stuck = Vec::new();
    for _ in 0..2 {
        stuck.push(HalfOpen::client(server.local_addr(), 0).await);
    }
    until("both are under way", || server.stats().connections == 2).await;
    let connector = ClientConnector::new(&Handle::current());
    let refused = connector.connect(server.local_addr(), identity.public()).await.err();
    assert_eq!(refused, Some(ConnectError::Refused));
    assert!(counting.refused(TransportRefusal::HandshakesFull) >= 1);
    until("both timed out", || counting.refused(TransportRefusal::HandshakeTimeout) >= 2).await;
    drop(stuck);
    connector.connect(server.local_addr(), identity.public()).await.unwrap();
}

#[tokio::test]
async fn a_handshake_is_one_of_its_addresss_connections() {
    let limits = ClientLimits { connections_per_address_max: 1, retry_above: 100, ..ClientLimits::default() };
    let (server, counting, _) = serve(v4(), limits);
    let _stuck = HalfOpen::client(server.local_addr(), 0).await;
    until("it is under way", || server.stats().connections == 1).await;
    assert!(is_refused(&dial_from(address(1), server.local_addr()).await));
    assert_eq!(counting.refused(TransportRefusal::AddressConnections), 1);
    dial_from(address(2), server.local_addr()).await.unwrap();
}

#[tokio::test]
async fn who_does_not_show_its_address_holds_no_place_under_load() {
    let limits = ClientLimits { handshakes_max: 4, retry_above: 2, ..ClientLimits::default() };
    let (server, counting, identity) = serve(v4(), limits);
    let mut stuck = Vec::new();
    for _ in 0..12 {
        stuck.push(HalfOpen::client(server.local_addr(), 0).await);
    }
    until("two are under way", || server.stats().connections == 2).await;
    let connector = ClientConnector::new(&Handle::current());
    connector.connect(server.local_addr(), identity.public()).await.unwrap();
    assert_eq!(counting.refused(TransportRefusal::HandshakesFull), 0);
    assert_eq!(server.stats().connections, 3, "ten never took a place");
}

#[tokio::test]
async fn over_ipv6_a_network_is_one_address() {
    let limits = ClientLimits { connections_per_address_max: 2, ..ClientLimits::default() };
    let (server, counting, identity) = serve(Ipv6Addr::LOCALHOST.into(), limits);
    let connector = ClientConnector::new(&Handle::current());
    let connection = connector.connect(server.local_addr(), identity.public()).await.unwrap();
    let (send, mut replies) = connection.open().await.unwrap();
    send.send(Bytes::from_static(b"six")).await.unwrap();
    assert_eq!(replies.next().await.unwrap().unwrap().bytes(), b"six");
    let _second = connector.connect(server.local_addr(), identity.public()).await.unwrap();
    let third = connector.connect(server.local_addr(), identity.public()).await.err();
    assert_eq!(third, Some(ConnectError::Refused));
    assert_eq!(counting.refused(TransportRefusal::AddressConnections), 1);
}

#[tokio::test]
async fn one_port_for_both_families_counts_them_apart() {
    let limits = ClientLimits { connections_per_address_max: 1, ..ClientLimits::default() };
    let (server, counting, identity) = serve(Ipv6Addr::UNSPECIFIED.into(), limits);
    let port = server.local_addr().port();
    let (six, four) = ((Ipv6Addr::LOCALHOST, port).into(), (Ipv4Addr::LOCALHOST, port).into());
    let connector = ClientConnector::new(&Handle::current());
    let _six = connector.connect(six, identity.public()).await.unwrap();
    let _four = connector.connect(four, identity.public()).await.unwrap();
    for (refused, to) in [(1, six), (2, four)] {
        assert_eq!(connector.connect(to, identity.public()).await.err(), Some(ConnectError::Refused));
        assert_eq!(counting.refused(TransportRefusal::AddressConnections), refused);
    }
}

#[tokio::test]
async fn peers_talk_over_ipv6() {
    let config = || PeerConfig::standard((Ipv6Addr::LOCALHOST, 0).into());
    let nodes = [0, 1].map(|member| Node::start_with(node(0, member), config()));
    introduce(&[&nodes[0], &nodes[1]]);
    all_connected(&[&nodes[0], &nodes[1]]).await;
    nodes[0].net.send(nodes[1].id, StreamClass::Prompt, Bytes::from_static(b"six"));
    until("heard", || nodes[1].ear.count(nodes[0].id) == 1).await;
}

#[tokio::test]
async fn strangers_handshakes_do_not_keep_members_out() {
    let config = |listen| PeerConfig {
        handshakes_max: 4,
        handshake_timeout: Duration::from_secs(2),
        ..PeerConfig::standard(listen)
    };
    let here = Node::start_with(node(0, 0), config(common::loopback()));
    let there = Node::start_with(node(0, 1), config(common::loopback()));
    // whoever shows no address of its own gets no further than the first
    let mut stuck = Vec::new();
    for _ in 0..12 {
        stuck.push(HalfOpen::peer(here.net.local_addr(), 0).await);
    }
    introduce(&[&here, &there]);
    // the lower node dials, so the stuck ones must be at the other's port
    for _ in 0..12 {
        stuck.push(HalfOpen::peer(there.net.local_addr(), 0).await);
    }
    all_connected(&[&here, &there]).await;
    assert_eq!(there.ear.refused(TransportRefusal::HandshakesFull), 0);
}

#[tokio::test]
async fn handshakes_on_the_peer_port_are_limited_and_end_in_time() {
    let config = PeerConfig {
        handshakes_max: 4,
        handshake_timeout: Duration::from_secs(3),
        ..PeerConfig::standard(common::loopback())
    };
    let here = Node::start_with(node(0, 1), config);
    // the first holds a place without showing its address; to the others the retry arrives, and nothing after it
    let mut stuck = vec![HalfOpen::peer(here.net.local_addr(), 0).await];
    while here.ear.refused(TransportRefusal::HandshakesFull) == 0 {
        assert!(stuck.len() < 200, "four places never ran out: {:?}", here.net.stats().refusals);
        stuck.push(HalfOpen::peer(here.net.local_addr(), 1).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until("they time out", || here.ear.refused(TransportRefusal::HandshakeTimeout) >= 4).await;
    drop(stuck);
    let member = Node::start(node(0, 0));
    introduce(&[&here, &member]);
    tokio::time::timeout(PATIENCE, all_connected(&[&here, &member])).await.expect("members get in again");
}
