//! Task events: what a server is doing, in words, through a bounded queue.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use shardpay_types::Timestamp;

/// Events that wait between two snapshots at most.
pub(crate) const EVENTS_MAX: usize = 1_024;
/// Longest text of an event in bytes; the rest is cut.
pub(crate) const TEXT_BYTES_MAX: usize = 512;

/// One event.
pub(crate) struct Event {
    pub(crate) at: Timestamp,
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

/// The queue: many writers that never wait, one reader at a time.
pub(crate) struct Events {
    sender: SyncSender<Event>,
    receiver: Mutex<Receiver<Event>>,
    dropped: AtomicU64,
}

impl Events {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = sync_channel(EVENTS_MAX);
        Self { sender, receiver: Mutex::new(receiver), dropped: AtomicU64::new(0) }
    }

    /// Queues an event; drops and counts it when the queue is full.
    pub(crate) fn push(&self, event: Event) {
        if self.sender.try_send(event).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Hands all waiting events to `each`, at most [`EVENTS_MAX`] of them.
    pub(crate) fn drain(&self, each: &mut dyn FnMut(Event)) {
        let receiver = self.receiver.lock().expect("nobody panics while draining events");
        receiver.try_iter().take(EVENTS_MAX).for_each(each);
    }

    /// Events dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}
