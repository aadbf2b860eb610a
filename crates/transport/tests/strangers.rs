//! What the peer port refuses: strangers, other protocols, other keys, malformed frames of a member.

mod common;

use std::net::SocketAddr;

use bytes::Bytes;
use common::any_server::peer_config;
use common::{Node, all_connected, introduce, node, until};
use quinn::{Connection, Endpoint};
use shardpay_transport::{Identity, StreamClass, TransportRefusal};
use shardpay_types::NodeId;

/// Dials with the raw key of `seed`.
async fn dial(seed: u8, alpn: &[u8], to: SocketAddr) -> Result<(Endpoint, Connection), quinn::ConnectionError> {
    let endpoint = Endpoint::client(common::loopback()).unwrap();
    let connection = endpoint.connect_with(peer_config(seed, alpn), to, "anything").unwrap().await?;
    Ok((endpoint, connection))
}

/// The seed that [`common::identity`] gives `node`.
fn seed(node: NodeId) -> u8 {
    let seed = 1 + node.committee.index() as u8 * 16 + node.member.index() as u8;
    assert_eq!(Identity::from_seed([seed; 32]).public(), common::identity(node).public());
    seed
}

async fn close_code(connection: &Connection) -> u64 {
    match tokio::time::timeout(common::PATIENCE, connection.closed()).await.expect("closed") {
        quinn::ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("closed otherwise: {other}"),
    }
}

#[tokio::test]
async fn a_stranger_is_refused_and_counted() {
    let (here, there) = (Node::start(node(0, 0)), Node::start(node(0, 1)));
    introduce(&[&here, &there]);
    all_connected(&[&here, &there]).await;
    // the server's refusal may come after the client's part of the handshake is done
    match dial(200, b"shardpay-peer/1", here.net.local_addr()).await {
        Err(_) => {}
        Ok((_endpoint, connection)) => {
            let closed = tokio::time::timeout(common::PATIENCE, connection.closed()).await.unwrap();
            assert!(matches!(closed, quinn::ConnectionError::ConnectionClosed(_)), "{closed}");
        }
    }
    until("counted", || here.ear.refused(TransportRefusal::UnknownKey) == 1).await;
    assert_eq!(here.net.stats().refusals.get(TransportRefusal::UnknownKey), 1);
    here.net.send(there.id, StreamClass::Prompt, Bytes::from_static(b"goes on"));
    until("others go on", || there.ear.count(here.id) == 1).await;
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let here = Node::start(node(0, 0));
    introduce(&[&here]);
    let error = dial(200, b"shardpay-client/1", here.net.local_addr()).await.unwrap_err();
    assert!(matches!(error, quinn::ConnectionError::ConnectionClosed(_)), "{error}");
    until("counted", || here.ear.refused(TransportRefusal::WrongProtocol) == 1).await;
}

#[tokio::test]
async fn a_node_with_another_key_than_the_plans_is_not_talked_to() {
    let (here, impostor) = (Node::start(node(0, 0)), Node::start(node(0, 2)));
    impostor.net.set_members(Some(impostor.id), vec![here.address()]);
    let mut false_address = impostor.address();
    (false_address.node, false_address.key) = (node(0, 1), common::identity(node(0, 1)).public());
    here.net.set_members(Some(here.id), vec![false_address]);
    until("refused", || here.ear.refused(TransportRefusal::UnknownKey) > 0).await;
    assert_eq!(here.net.stats().connected, 0);
}

#[tokio::test]
async fn malformed_streams_of_a_member_close_its_connection_only() {
    let here = Node::start(node(0, 0));
    let good = Node::start(node(0, 1));
    let bad = node(0, 2);
    let mut bad_address = good.address();
    (bad_address.node, bad_address.key) = (bad, common::identity(bad).public());
    bad_address.addr = (std::net::Ipv4Addr::LOCALHOST, 9).into();
    here.net.set_members(Some(here.id), vec![good.address(), bad_address]);
    good.net.set_members(Some(good.id), vec![here.address()]);
    until("connected", || here.is_connected(good.id)).await;

    let too_large = [&[0][..], &((8_u32 << 20) + 1).to_le_bytes()].concat();
    let largest_announced_then_cut = [&[1][..], &(8_u32 << 20).to_le_bytes(), b"cut"].concat();
    let cases: [(&[u8], TransportRefusal, u64); 6] = [
        (&too_large, TransportRefusal::FrameTooLarge, 4),
        (&[0, 0xff, 0xff, 0xff, 0xff], TransportRefusal::FrameTooLarge, 4),
        (&[0, 0, 0, 0, 0], TransportRefusal::FrameEmpty, 5),
        (&[0, 3, 0], TransportRefusal::FrameTruncated, 6),
        (&largest_announced_then_cut, TransportRefusal::FrameTruncated, 6),
        (&[7, 1, 0, 0, 0, 1], TransportRefusal::UnknownClass, 7),
    ];
    for (bytes, refusal, code) in cases {
        let before = here.ear.refused(refusal);
        let (_endpoint, connection) = dial(seed(bad), b"shardpay-peer/1", here.net.local_addr()).await.unwrap();
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.finish().unwrap();
        assert_eq!(close_code(&connection).await, code, "{refusal}");
        until("counted", || here.ear.refused(refusal) == before + 1).await;
    }

    let (_endpoint, connection) = dial(seed(bad), b"shardpay-peer/1", here.net.local_addr()).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(&[0, 1, 0, 0, 0, b'x']).await.unwrap();
        streams.push(stream);
    }
    assert_eq!(close_code(&connection).await, 7);
    assert_eq!(here.ear.refused(TransportRefusal::StreamTwice), 1);

    assert!(here.is_connected(good.id));
    good.net.send(here.id, StreamClass::Prompt, Bytes::from_static(b"goes on"));
    until("others go on", || here.ear.count(good.id) == 1).await;
    here.net.shutdown().await;
    here.ear.assert_pairs();
}
