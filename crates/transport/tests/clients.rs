//! The client port: pinned keys, replies, limits, malformed requests.

mod common;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{PATIENCE, loopback, until};
use shardpay_transport::{
    ClientConnector, ClientHandler, ClientLimits, ClientServer, ConnectError, ConnectionId, ConnectionInfo, FrameError,
    Identity, ReplySender, RequestReceiver, SendError, TransportRefusal,
};
use tokio::runtime::Handle;

/// Sends every request back; after a malformed one says so and ends.
#[derive(Default)]
struct Echo {
    refusals: Mutex<Vec<TransportRefusal>>,
    closed: Mutex<Vec<ConnectionId>>,
}

impl Echo {
    fn refused(&self, what: TransportRefusal) -> usize {
        self.refusals.lock().unwrap().iter().filter(|seen| **seen == what).count()
    }
}

impl ClientHandler for Echo {
    fn open(&self, _connection: ConnectionInfo, send: ReplySender, mut requests: RequestReceiver) {
        tokio::spawn(async move {
            loop {
                match requests.next().await {
                    Ok(Some(frame)) => {
                        if send.send(frame.into_bytes()).await.is_err() {
                            return;
                        }
                    }
                    Ok(None) => return,
                    Err(error) => {
                        let _ = send.send(error.to_string().into()).await;
                        return;
                    }
                }
            }
        });
    }
    fn closed(&self, connection: ConnectionId) {
        self.closed.lock().unwrap().push(connection);
    }
    fn refused(&self, what: TransportRefusal, _from: SocketAddr) {
        self.refusals.lock().unwrap().push(what);
    }
}

fn serve(limits: ClientLimits) -> (ClientServer, Arc<Echo>, Identity) {
    let identity = Identity::from_seed([77; 32]);
    let echo = Arc::new(Echo::default());
    let server =
        ClientServer::start(&Handle::current(), loopback(), limits, &identity, Arc::clone(&echo) as _).unwrap();
    (server, echo, identity)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_answered_in_order_on_each_stream() {
    let (server, echo, identity) = serve(ClientLimits::default());
    let connector = ClientConnector::new(&Handle::current());
    let connection = connector.connect(server.local_addr(), identity.public()).await.unwrap();
    for _ in 0..3 {
        let (send, mut replies) = connection.open().await.unwrap();
        for number in 0..100_u32 {
            send.send(Bytes::from(vec![number as u8; 1 + number as usize * 100])).await.unwrap();
        }
        send.finish();
        for number in 0..100_u32 {
            let reply = tokio::time::timeout(PATIENCE, replies.next()).await.unwrap().unwrap().expect("a reply");
            assert_eq!(reply.bytes(), vec![number as u8; 1 + number as usize * 100]);
        }
        assert!(replies.next().await.unwrap().is_none());
    }
    assert_eq!(server.stats().frames_in, 300);
    connection.close();
    until("the server heard", || echo.closed.lock().unwrap().len() == 1 && server.stats().connections == 0).await;
    tokio::time::timeout(PATIENCE, connector.shutdown()).await.unwrap();
    tokio::time::timeout(PATIENCE, server.shutdown()).await.unwrap();
}

#[tokio::test]
async fn another_key_than_the_pinned_one_is_refused() {
    let (server, _, _) = serve(ClientLimits::default());
    let connector = ClientConnector::new(&Handle::current());
    let other = Identity::from_seed([78; 32]).public();
    let error = connector.connect(server.local_addr(), other).await.err().unwrap();
    assert!(matches!(error, ConnectError::WrongKey { expected, .. } if expected == other), "{error}");
}

#[tokio::test]
async fn a_malformed_request_ends_its_stream_and_no_other() {
    let limits = ClientLimits { request_bytes_max: 1_000, ..ClientLimits::default() };
    let (server, echo, identity) = serve(limits);
    let connector = ClientConnector::new(&Handle::current());
    let connection = connector.connect(server.local_addr(), identity.public()).await.unwrap();
    let (good, mut good_replies) = connection.open().await.unwrap();
    let (bad, mut bad_replies) = connection.open().await.unwrap();
    bad.send(Bytes::from(vec![1; 1_001])).await.unwrap();
    let why = bad_replies.next().await.unwrap().expect("the reason");
    let expected = FrameError::TooLarge { bytes: 1_001, max: 1_000 };
    assert_eq!(why.bytes(), expected.to_string().as_bytes());
    assert_eq!(echo.refused(TransportRefusal::FrameTooLarge), 1);
    good.send(Bytes::from(vec![2; 1_000])).await.unwrap();
    assert_eq!(good_replies.next().await.unwrap().unwrap().bytes(), vec![2; 1_000]);
    // this end has limits too, and says so before anything is sent
    assert_eq!(good.try_send(Bytes::new()), Err(SendError::Size { bytes: 0, max: 256 << 10 }));
    let large = (256 << 10) + 1;
    assert_eq!(good.try_send(Bytes::from(vec![0; large])), Err(SendError::Size { bytes: large, max: 256 << 10 }));
}

#[tokio::test]
async fn connections_of_one_address_are_limited() {
    let limits = ClientLimits { connections_per_address_max: 3, ..ClientLimits::default() };
    let (server, echo, identity) = serve(limits);
    let connector = ClientConnector::new(&Handle::current());
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(connector.connect(server.local_addr(), identity.public()).await.unwrap());
    }
    let error = connector.connect(server.local_addr(), identity.public()).await.err().unwrap();
    assert_eq!(error, ConnectError::Refused);
    assert_eq!(echo.refused(TransportRefusal::AddressConnections), 1);
    held.pop().unwrap().close();
    until("a place is free", || server.stats().connections == 2).await;
    connector.connect(server.local_addr(), identity.public()).await.unwrap();
}

#[tokio::test]
async fn attempts_of_one_address_are_limited() {
    let limits = ClientLimits { attempts_per_address_per_second: 2, ..ClientLimits::default() };
    let (server, echo, identity) = serve(limits);
    let connector = ClientConnector::new(&Handle::current());
    let mut refused = 0;
    for _ in 0..20 {
        match connector.connect(server.local_addr(), identity.public()).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error, ConnectError::Refused);
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    assert_eq!(echo.refused(TransportRefusal::AddressRate), refused);
}

#[tokio::test]
async fn under_load_clients_show_their_address_first() {
    let (server, _, identity) = serve(ClientLimits { retry_above: 0, ..ClientLimits::default() });
    let connector = ClientConnector::new(&Handle::current());
    let connection = connector.connect(server.local_addr(), identity.public()).await.unwrap();
    let (send, mut replies) = connection.open().await.unwrap();
    send.send(Bytes::from_static(b"hello")).await.unwrap();
    assert_eq!(replies.next().await.unwrap().unwrap().bytes(), b"hello");
}

#[tokio::test]
async fn a_silent_client_is_dropped_and_a_shutdown_is_heard() {
    let (server, echo, identity) =
        serve(ClientLimits { idle_timeout: Duration::from_millis(300), ..ClientLimits::default() });
    let connector = ClientConnector::new(&Handle::current());
    // keep-alive of this connector is longer than the server's idle timeout
    let connection = connector.connect(server.local_addr(), identity.public()).await.unwrap();
    until("dropped", || echo.closed.lock().unwrap().len() == 1).await;
    until("this end knows", || connection.is_closed()).await;
    let connection = connector.connect(server.local_addr(), identity.public()).await.unwrap();
    let (send, mut replies) = connection.open().await.unwrap();
    tokio::time::timeout(PATIENCE, server.shutdown()).await.unwrap();
    assert!(replies.next().await.is_err());
    // nothing was sent since: the sender hears of it by itself
    until("sending fails", || !send.is_open()).await;
    assert_eq!(send.try_send(Bytes::from_static(b"x")), Err(SendError::Closed));
}
