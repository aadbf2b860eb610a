//! Brings opaque payloads to a committee, each once.
//!
//! Guarantees: a payload is written to one member and never again: the ledger orders what it is given, so a second
//! attempt could be ordered a second time. What a member refuses is told; what was on a stream that broke is not
//! known to anybody. Whole batches go to the members in turn.

use std::sync::Arc;
use std::time::Duration;

use shardpay_types::{
    ClientReply, ClientRequest, CommitteeId, List, Opaque, RejectReason, SUBMIT_MAX, SubmitOpaque, TxAnswer, TxId,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::client::Inner;
use crate::directory::Endpoint;
use crate::error::{Lie, LinkError};
use crate::link::Stream;

/// Batches that wait to be written to one member.
const BATCHES_MAX: usize = 256;
/// Bytes of payloads in one batch, unless a single one is longer: a frame has room for 256 KiB.
const BATCH_BYTES_MAX: usize = 192 << 10;
const REDIAL: Duration = Duration::from_millis(100);

/// What became of a payload that was not ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpaqueEvent {
    /// The member had no room.
    Busy(TxId),
    /// The member refused it.
    Refused(TxId, RejectReason),
}

/// What happened, in order.
pub type OpaqueEvents = mpsc::UnboundedReceiver<Vec<OpaqueEvent>>;

/// Submits opaque payloads to one committee. Ends when dropped.
pub struct OpaqueSubmitter {
    lanes: Vec<mpsc::Sender<Vec<Opaque>>>,
    /// The member whose turn it is.
    next: usize,
    tasks: Vec<JoinHandle<()>>,
}

impl OpaqueSubmitter {
    pub(crate) fn start(inner: &Arc<Inner>, committee: CommitteeId) -> (Self, OpaqueEvents) {
        // bounded by what is in flight: one event per payload at most
        let (events, queue) = mpsc::unbounded_channel();
        let (mut lanes, mut tasks) = (Vec::new(), Vec::new());
        for member in inner.members(committee) {
            let (sender, batches) = mpsc::channel(BATCHES_MAX);
            lanes.push(sender);
            tasks.push(tokio::spawn(keep_open(inner.clone(), member, batches, events.clone())));
        }
        (Self { lanes, next: 0, tasks }, queue)
    }

    /// Hands payloads in; gives back those for which no member's queue has room.
    pub fn try_submit(&mut self, payloads: Vec<Opaque>) -> Result<(), Vec<Opaque>> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut left = Vec::new();
        for payload in payloads {
            bytes += payload.encoded_len();
            if !batch.is_empty() && (batch.len() == SUBMIT_MAX || bytes > BATCH_BYTES_MAX) {
                bytes = payload.encoded_len();
                left.extend(self.send(std::mem::take(&mut batch)));
            }
            batch.push(payload);
        }
        if !batch.is_empty() {
            left.extend(self.send(batch));
        }
        if left.is_empty() { Ok(()) } else { Err(left) }
    }

    /// Gives back a batch that no member takes.
    fn send(&mut self, batch: Vec<Opaque>) -> Vec<Opaque> {
        let mut batch = batch;
        for _ in 0..self.lanes.len() {
            self.next = (self.next + 1) % self.lanes.len();
            match self.lanes[self.next].try_send(batch) {
                Ok(()) => return Vec::new(),
                Err(refused) => batch = refused.into_inner(),
            }
        }
        batch
    }
}

impl Drop for OpaqueSubmitter {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

type Events = mpsc::UnboundedSender<Vec<OpaqueEvent>>;

async fn keep_open(inner: Arc<Inner>, member: Endpoint, mut batches: mpsc::Receiver<Vec<Opaque>>, events: Events) {
    loop {
        match inner.links.open(&member).await {
            Ok(stream) => {
                let error = serve(stream, &mut batches, &events).await;
                tracing::debug!(%error, "stream of opaque payloads lost");
            }
            Err(error) => tracing::debug!(%error, "no stream for opaque payloads"),
        }
        tokio::time::sleep(REDIAL).await;
    }
}

/// Writes and reads until one of the two fails.
async fn serve(stream: Stream, batches: &mut mpsc::Receiver<Vec<Opaque>>, events: &Events) -> LinkError {
    let Stream { mut outgoing, mut incoming, .. } = stream;
    let write = async {
        while let Some(batch) = batches.recv().await {
            let submit = SubmitOpaque { payloads: List::bounded(batch) };
            if let Err(error) = outgoing.request(&ClientRequest::Opaque(submit)).await {
                return error;
            }
        }
        std::future::pending().await
    };
    let read = async {
        loop {
            let results = match incoming.reply().await {
                Ok(ClientReply::Results(results)) => results.results,
                Ok(_) => return incoming.lie(Lie::Unexpected),
                Err(error) => return error,
            };
            let told = results.iter().filter_map(|result| match result.answer {
                TxAnswer::Busy(_) => Some(OpaqueEvent::Busy(result.txid)),
                TxAnswer::Rejected(reason) => Some(OpaqueEvent::Refused(result.txid, reason)),
                // whoever waits for it sees it in a certified block
                TxAnswer::Executed(_) => None,
            });
            let told: Vec<OpaqueEvent> = told.collect();
            if !told.is_empty() {
                // Nobody listens: the submitter is gone, and this task about to be aborted.
                let _ = events.send(told);
            }
        }
    };
    tokio::select! {
        error = write => error,
        error = read => error,
    }
}
