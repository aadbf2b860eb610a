//! Keeps a connection to one node up: dials when there is none, with pauses that grow and differ.

use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, ConnectionError};
use shardpay_types::NodeId;

use super::link::{ALONE_FOR, ALONE_FOR_AT_START, Duty, Link};
use super::{Net, session};
use crate::endpoint::handshake_refusal;
use crate::limits::SERVER_NAME;
use crate::rng::Chance;
use crate::tls;

/// Dials `link` for the node `own` whenever it is its duty, until the node leaves the plan.
pub(crate) async fn keep(net: Arc<Net>, link: Arc<Link>, own: NodeId) {
    tokio::select! {
        () = link.until_left() => {}
        () = dial_again(&net, &link, own) => {}
    }
}

async fn dial_again(net: &Arc<Net>, link: &Arc<Link>, own: NodeId) {
    let mut chance = Chance::new(getrandom::u64().unwrap_or_default());
    let mut pause = net.config.reconnect_min;
    let mut patience = ALONE_FOR_AT_START;
    link.until_wanted().await;
    loop {
        link.until_up(false).await;
        let alone_for = std::mem::replace(&mut patience, ALONE_FOR);
        if link.duty == Duty::WhenAlone && tokio::time::timeout(alone_for, link.until_up(true)).await.is_ok() {
            pause = net.config.reconnect_min;
            continue;
        }
        let mut address = link.address();
        if dial(net, link, own).await {
            pause = net.config.reconnect_min;
        } else {
            link.close_queues_if_down(net);
        }
        // half to whole: nodes that lost each other at the same time do not dial at the same time
        let wait = pause.mul_f64(0.5 + chance.unit() / 2.0);
        tokio::select! {
            () = tokio::time::sleep(wait) => pause = (pause * 2).min(net.config.reconnect_max),
            _ = address.changed() => pause = net.config.reconnect_min,
        }
    }
}

/// One attempt and the session it leads to; whether there was one.
async fn dial(net: &Arc<Net>, link: &Arc<Link>, own: NodeId) -> bool {
    let addr = *link.address().borrow();
    match tokio::time::timeout(net.config.handshake_timeout, handshake(net, link)).await {
        Ok(Ok(connection)) => {
            // the session has its own task: it ends by itself and says so, even when this one is dropped
            let (ended, end) = tokio::sync::oneshot::channel();
            let (net, link) = (Arc::clone(net), Arc::clone(link));
            let session_net = Arc::clone(&net);
            net.tasks.spawn_whole(async move {
                let was_up = session::run(session_net, link, connection, own).await;
                let _ = ended.send(was_up);
            });
            end.await.unwrap_or(false)
        }
        Ok(Err(error)) => {
            tracing::debug!(node = ?link.node, %addr, %error, "dial failed");
            if matches!(error, ConnectionError::TransportError(_)) {
                net.refuse(handshake_refusal(&error), addr);
            }
            false
        }
        Err(_) => false,
    }
}

async fn handshake(net: &Net, link: &Link) -> Result<Connection, ConnectionError> {
    let mut config =
        tls::peer_client(&net.provider, &net.identity, link.key).expect("settings that worked at the start");
    config.transport_config(Arc::clone(&net.transport));
    let addr = *link.address().borrow();
    match net.endpoint.connect_with(config, addr, SERVER_NAME) {
        Ok(connecting) => connecting.await,
        // an address that cannot be dialled, or the endpoint is closed: as good as no answer
        Err(error) => {
            tracing::warn!(node = ?link.node, %addr, %error, "cannot dial");
            tokio::time::sleep(Duration::from_millis(10)).await;
            Err(ConnectionError::LocallyClosed)
        }
    }
}

impl Link {
    /// A first message waited for a dial that failed.
    fn close_queues_if_down(&self, net: &Net) {
        if !self.is_up() {
            self.close_queues(&net.drops);
        }
    }
}
