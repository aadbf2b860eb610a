//! Connections that come in: handshake within limits, then a session with the member whose key it is.

use std::sync::Arc;

use quinn::{Connection, Incoming};
use rustls::pki_types::CertificateDer;
use tokio::sync::OwnedSemaphorePermit;

use super::{Net, session};
use crate::endpoint::handshake_refusal;
use crate::identity::key_of_spki;
use crate::refusal::TransportRefusal;

/// Takes connections until the endpoint is closed.
pub(crate) async fn accept(net: Arc<Net>) {
    while let Some(incoming) = net.endpoint.accept().await {
        let from = incoming.remote_address();
        let Ok(permit) = Arc::clone(&net.handshakes).try_acquire_owned() else {
            net.refuse(TransportRefusal::HandshakesFull, from);
            incoming.refuse();
            continue;
        };
        let busy = net.handshakes.available_permits() < net.config.handshakes_max * 3 / 4;
        if busy && !incoming.remote_address_validated() && incoming.may_retry() {
            incoming.retry().expect("checked to be possible");
            continue;
        }
        net.tasks.spawn_whole(handshake(Arc::clone(&net), incoming, permit));
    }
}

async fn handshake(net: Arc<Net>, incoming: Incoming, permit: OwnedSemaphorePermit) {
    let from = incoming.remote_address();
    let connection = match tokio::time::timeout(net.config.handshake_timeout, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return net.refuse(handshake_refusal(&error), from),
        Err(_) => return net.refuse(TransportRefusal::HandshakeTimeout, from),
    };
    drop(permit);
    let link = key_of(&connection).and_then(|key| net.roster.link_of_key(&key));
    // a member when the handshake looked, and no longer
    let Some(link) = link else {
        net.refuse(TransportRefusal::NotMember, from);
        let code = TransportRefusal::NotMember.close_code();
        return connection.close(code.varint(), b"no longer a member");
    };
    let dialled_by = link.node;
    session::run(net, link, connection, dialled_by).await;
}

fn key_of(connection: &Connection) -> Option<shardpay_types::PublicKey> {
    let shown = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    key_of_spki(shown.first()?)
}
