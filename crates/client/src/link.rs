//! Connections to members, one per node, and streams on them that have said [`Hello`].
//!
//! A connection is dialled on first use, kept, and dialled again when opening a stream on it fails.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shardpay_transport::{ClientConnection, ClientConnector, FrameReceiver, FrameSender};
use shardpay_types::{ChainId, ClientReply, ClientRequest, Codec, Hello, NodeId, PublicKey, Refused, Version, Welcome};
use tokio::time::timeout;

use crate::directory::Endpoint;
use crate::error::{Lie, LinkError};

type Slot = Arc<tokio::sync::Mutex<Option<ClientConnection>>>;

/// The connections of one client.
pub(crate) struct Links {
    connector: ClientConnector,
    chain: ChainId,
    answer_max: Duration,
    slots: Mutex<BTreeMap<PublicKey, Slot>>,
}

impl Links {
    /// No connection yet. `answer_max` is how long a member may take to answer.
    pub(crate) fn new(connector: ClientConnector, chain: ChainId, answer_max: Duration) -> Self {
        Self { connector, chain, answer_max, slots: Mutex::default() }
    }

    /// A stream to a member that has been welcomed.
    pub(crate) async fn open(&self, endpoint: &Endpoint) -> Result<Stream, LinkError> {
        let (connection, send, receive) = self.stream(endpoint).await?;
        let node = endpoint.node;
        let greeting = greet(Outgoing { node, send }, Incoming { node, receive }, connection.clone(), &self.chain);
        timeout(self.answer_max, greeting).await.unwrap_or_else(|_| {
            // It may have been killed and started anew: what it knew of the connection is gone.
            connection.close();
            Err(LinkError::Silent(node))
        })
    }

    /// Closes all connections.
    pub(crate) async fn shutdown(&self) {
        self.connector.shutdown().await;
    }

    async fn stream(&self, endpoint: &Endpoint) -> Result<(ClientConnection, FrameSender, FrameReceiver), LinkError> {
        let slot = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            slots.entry(endpoint.key).or_default().clone()
        };
        let node = endpoint.node;
        let mut held = slot.lock().await;
        if let Some(connection) = held.as_ref()
            && let Ok(Ok((send, receive))) = timeout(self.answer_max, connection.open()).await
        {
            return Ok((connection.clone(), send, receive));
        }
        *held = None;
        let dialled = self.connector.connect(endpoint.addr, endpoint.key).await;
        let connection = dialled.map_err(|error| failed(node, &error))?;
        let (send, receive) = connection.open().await.map_err(|error| failed(node, &error))?;
        *held = Some(connection.clone());
        Ok((connection, send, receive))
    }
}

fn failed(node: NodeId, error: &dyn std::fmt::Display) -> LinkError {
    LinkError::Transport { node, error: error.to_string() }
}

async fn greet(
    mut outgoing: Outgoing,
    mut incoming: Incoming,
    connection: ClientConnection,
    chain: &ChainId,
) -> Result<Stream, LinkError> {
    outgoing.write(Hello { version: Version, chain: *chain }.to_bytes()).await?;
    let ClientReply::Welcome(welcome) = incoming.reply().await? else { return Err(incoming.lie(Lie::Unexpected)) };
    if (welcome.committee, welcome.member) != (incoming.node.committee, incoming.node.member) {
        return Err(incoming.lie(Lie::WrongPlace));
    }
    Ok(Stream { outgoing, incoming, welcome, connection })
}

/// A stream to a member.
pub(crate) struct Stream {
    /// Requests.
    pub(crate) outgoing: Outgoing,
    /// Replies.
    pub(crate) incoming: Incoming,
    /// What the member said of itself.
    pub(crate) welcome: Welcome,
    /// What it stands on.
    pub(crate) connection: ClientConnection,
}

/// The half of a stream that requests go out on.
pub(crate) struct Outgoing {
    node: NodeId,
    send: FrameSender,
}

/// The half of a stream that replies come in on.
pub(crate) struct Incoming {
    node: NodeId,
    receive: FrameReceiver,
}

impl Outgoing {
    /// Sends a request; waits while the member takes nothing.
    pub(crate) async fn request(&mut self, request: &ClientRequest) -> Result<(), LinkError> {
        self.write(request.to_bytes()).await
    }

    async fn write(&mut self, body: Vec<u8>) -> Result<(), LinkError> {
        self.send.send(body.into()).await.map_err(|error| failed(self.node, &error))
    }
}

impl Incoming {
    /// The next reply; a refusal is an error.
    pub(crate) async fn reply(&mut self) -> Result<ClientReply, LinkError> {
        let node = self.node;
        let next = self.receive.next().await.map_err(|error| failed(node, &error))?;
        let frame = next.ok_or(LinkError::Closed(node))?;
        match ClientReply::from_bytes(frame.bytes()).map_err(|error| self.lie(error.into()))? {
            ClientReply::Refused(Refused { reason, retry_after_ms }) => {
                Err(LinkError::Refused { node, reason, retry_after_ms })
            }
            reply => Ok(reply),
        }
    }

    /// Blames the member.
    pub(crate) fn lie(&self, lie: Lie) -> LinkError {
        LinkError::Lie { node: self.node, lie }
    }
}

impl Stream {
    /// Asks and waits for the answer, at most `answer_max`.
    pub(crate) async fn ask(
        &mut self,
        request: &ClientRequest,
        answer_max: Duration,
    ) -> Result<ClientReply, LinkError> {
        let silent = LinkError::Silent(self.incoming.node);
        let exchange = async {
            self.outgoing.request(request).await?;
            self.incoming.reply().await
        };
        timeout(answer_max, exchange).await.unwrap_or(Err(silent))
    }
}
