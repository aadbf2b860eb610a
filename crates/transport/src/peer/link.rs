//! What is kept about one other node, connected or not.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::Connection;
use shardpay_types::NodeId;
use shardpay_types::PublicKey;
use tokio::sync::watch;

use super::{PeerAddress, PeerStats, StreamClass};
use crate::queue::{NotTaken, SendQueue};
use crate::refusal::CloseCode;
use crate::rng::Chance;
use crate::shape::{LinkShape, Passage, Shaper};

/// How long a node that is not the first to dial waits for the other one; also the age from which a
/// connection gives way to a newer one whoever dialled it.
pub(crate) const ALONE_FOR: Duration = Duration::from_secs(1);

/// The same for a node that has just started: whoever should dial it may hold a connection to its life before, and will
/// not see for long that nobody is there.
pub(crate) const ALONE_FOR_AT_START: Duration = Duration::from_millis(100);

/// When a node dials another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Whenever there is no connection.
    AtOnce,
    /// When there has been no connection for [`ALONE_FOR`].
    WhenAlone,
    /// As `AtOnce`, once there was a message for it.
    OnUse,
}

/// Messages that were not sent.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    pub(crate) full: AtomicU64,
    pub(crate) unconnected: AtomicU64,
    pub(crate) shaped: AtomicU64,
}

impl Drops {
    pub(crate) fn unconnected(&self, messages: usize) {
        self.unconnected.fetch_add(messages as u64, Ordering::Relaxed);
    }
}

/// The connection that is used, or about to be.
struct Current {
    connection: Connection,
    dialled_by: NodeId,
    since: Instant,
}

pub(crate) struct Link {
    pub(crate) node: NodeId,
    pub(crate) key: PublicKey,
    pub(crate) duty: Duty,
    /// One session at a time; shared with the link that follows when the node changes its key, so that
    /// the handler hears of the end of one before the start of the other.
    pub(crate) slot: Arc<tokio::sync::Mutex<()>>,
    address: watch::Sender<SocketAddr>,
    up: watch::Sender<bool>,
    wanted: watch::Sender<bool>,
    left: watch::Sender<bool>,
    current: Mutex<Option<Current>>,
    queues: [SendQueue; 2],
    shaper: Mutex<Shaper>,
    shaped: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(crate) fn new(
        peer: &PeerAddress,
        duty: Duty,
        queue_bytes_max: usize,
        (shape, chance): (LinkShape, Chance),
        before: Option<&Self>,
    ) -> Self {
        Self {
            node: peer.node,
            key: peer.key,
            duty,
            slot: before.map_or_else(Arc::default, |before| Arc::clone(&before.slot)),
            address: watch::Sender::new(peer.addr),
            up: watch::Sender::new(false),
            wanted: watch::Sender::new(duty != Duty::OnUse),
            left: watch::Sender::new(false),
            current: Mutex::default(),
            queues: [SendQueue::new(queue_bytes_max, false), SendQueue::new(queue_bytes_max, false)],
            shaper: Mutex::new(Shaper::new(shape, chance)),
            shaped: AtomicBool::new(!shape.is_plain()),
        }
    }

    pub(crate) fn send(&self, class: StreamClass, body: Bytes, drops: &Drops) {
        if !*self.wanted.borrow() {
            // what is sent before the first connection waits for it
            self.open_queues();
            self.wanted.send_replace(true);
        }
        let mut due = None;
        if self.shaped.load(Ordering::Relaxed) {
            match lock(&self.shaper).pass(body.len(), Instant::now()) {
                Passage::Now => {}
                Passage::At(time) => due = Some(time),
                Passage::Lost => {
                    drops.shaped.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        }
        match self.queue(class).push(body, due) {
            Ok(()) => {}
            Err(NotTaken::Full) => {
                drops.full.fetch_add(1, Ordering::Relaxed);
            }
            Err(NotTaken::Closed) => drops.unconnected(1),
        }
    }

    pub(crate) fn queue(&self, class: StreamClass) -> &SendQueue {
        &self.queues[class as usize]
    }

    pub(crate) fn open_queues(&self) {
        self.queues.iter().for_each(SendQueue::open);
    }

    /// Drops what waits and takes nothing until there is a connection.
    pub(crate) fn close_queues(&self, drops: &Drops) {
        drops.unconnected(self.queues.iter().map(SendQueue::close).sum());
    }

    pub(crate) fn shape(&self, shape: LinkShape) {
        lock(&self.shaper).set(shape);
        self.shaped.store(!shape.is_plain(), Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> PeerStats {
        let connected = *self.up.borrow();
        let rtt = lock(&self.current).as_ref().filter(|_| connected).map(|current| current.connection.rtt());
        PeerStats { node: self.node, connected, queue_bytes: self.queues.iter().map(SendQueue::bytes).sum(), rtt }
    }

    pub(crate) fn address(&self) -> watch::Receiver<SocketAddr> {
        self.address.subscribe()
    }

    pub(crate) fn move_to(&self, addr: SocketAddr) {
        self.address.send_if_modified(|held| std::mem::replace(held, addr) != addr);
    }

    pub(crate) fn set_up(&self, up: bool) {
        self.up.send_replace(up);
    }

    pub(crate) fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    pub(crate) async fn until_up(&self, up: bool) {
        // the sender lives in self
        let _ = self.up.subscribe().wait_for(|now| *now == up).await;
    }

    pub(crate) async fn until_wanted(&self) {
        let _ = self.wanted.subscribe().wait_for(|wanted| *wanted).await;
    }

    pub(crate) async fn until_left(&self) {
        let _ = self.left.subscribe().wait_for(|left| *left).await;
    }

    /// The node is no longer a member.
    pub(crate) fn leave(&self) {
        self.left.send_replace(true);
        if let Some(current) = &*lock(&self.current) {
            current.connection.close(CloseCode::NOT_MEMBER.varint(), b"no longer a member");
        }
    }

    /// Makes `connection` the one to use and closes the one before it; false when that one stays.
    pub(crate) fn replace(&self, connection: &Connection, dialled_by: NodeId) -> bool {
        let mut current = lock(&self.current);
        if let Some(held) = &*current {
            if held.dialled_by < dialled_by
                && held.since.elapsed() < ALONE_FOR
                && held.connection.close_reason().is_none()
            {
                return false;
            }
            held.connection.close(CloseCode::DUPLICATE.varint(), b"another connection stays");
        }
        *current = Some(Current { connection: connection.clone(), dialled_by, since: Instant::now() });
        drop(current);
        if *self.left.borrow() {
            connection.close(CloseCode::NOT_MEMBER.varint(), b"no longer a member");
        }
        true
    }

    /// Forgets `connection` when it is the one held.
    pub(crate) fn forget(&self, connection: &Connection) {
        let mut current = lock(&self.current);
        if current.as_ref().is_some_and(|held| held.connection.stable_id() == connection.stable_id()) {
            *current = None;
        }
    }
}
