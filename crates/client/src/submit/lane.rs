//! One member's stream for submissions: keeps it open, writes batches, reads results.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shardpay_types::{ClientReply, ClientRequest, List, NodeId, Submit, Transaction, TxResult};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::Inner;
use crate::directory::Endpoint;
use crate::error::{Lie, LinkError};
use crate::link::Stream;

/// Batches that wait to be written.
const BATCHES_MAX: usize = 8;
/// How long a member may answer nothing at all while it has something to answer.
const SILENCE_MAX: Duration = Duration::from_secs(5);
const REDIAL_MIN: Duration = Duration::from_millis(50);
const REDIAL_MAX: Duration = Duration::from_secs(2);

/// What a lane tells; the number is its member's place in the list of lanes.
pub(super) enum LaneEvent {
    /// The member takes submissions.
    Up(usize),
    /// The stream broke: what was written and not answered is lost.
    Down(usize),
    /// Answers.
    Results(usize, Vec<TxResult>),
}

/// One member's stream. Ends when dropped.
pub(super) struct Lane {
    batches: mpsc::Sender<Vec<Transaction>>,
    task: JoinHandle<()>,
}

impl Lane {
    pub(super) fn start(inner: Arc<Inner>, slot: usize, member: Endpoint, events: mpsc::Sender<LaneEvent>) -> Self {
        let (batches, queue) = mpsc::channel(BATCHES_MAX);
        Self { batches, task: tokio::spawn(keep_open(inner, slot, member, queue, events)) }
    }

    /// Queues a batch; false when the member does not keep up.
    pub(super) fn send(&self, batch: Vec<Transaction>) -> bool {
        self.batches.try_send(batch).is_ok()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_open(
    inner: Arc<Inner>,
    slot: usize,
    member: Endpoint,
    mut queue: mpsc::Receiver<Vec<Transaction>>,
    events: mpsc::Sender<LaneEvent>,
) {
    let mut pause = REDIAL_MIN;
    loop {
        let opened = inner.links.open(&member).await;
        match opened {
            Ok(stream) => {
                pause = REDIAL_MIN;
                while queue.try_recv().is_ok() {}
                if events.send(LaneEvent::Up(slot)).await.is_err() {
                    return;
                }
                let error = serve(slot, member.node, stream, &mut queue, &events).await;
                tracing::debug!(%error, "submission stream lost");
                if events.send(LaneEvent::Down(slot)).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::debug!(%error, "no submission stream"),
        }
        tokio::time::sleep(pause).await;
        pause = REDIAL_MAX.min(pause * 2);
    }
}

/// Writes and reads until one of the two fails.
async fn serve(
    slot: usize,
    node: NodeId,
    stream: Stream,
    queue: &mut mpsc::Receiver<Vec<Transaction>>,
    events: &mpsc::Sender<LaneEvent>,
) -> LinkError {
    let Stream { mut outgoing, mut incoming, connection, .. } = stream;
    let unanswered = AtomicBool::new(false);
    let write = async {
        while let Some(batch) = queue.recv().await {
            let submit = Submit { transactions: List::bounded(batch) };
            if let Err(error) = outgoing.request(&ClientRequest::Submit(submit)).await {
                return error;
            }
            unanswered.store(true, Ordering::Relaxed);
        }
        std::future::pending().await
    };
    let read = async {
        loop {
            let reply = {
                let reading = incoming.reply();
                tokio::pin!(reading);
                loop {
                    match timeout(SILENCE_MAX, &mut reading).await {
                        Ok(reply) => break reply,
                        Err(_) if unanswered.load(Ordering::Relaxed) => {
                            connection.close();
                            return LinkError::Silent(node);
                        }
                        Err(_) => {}
                    }
                }
            };
            match reply {
                Ok(ClientReply::Results(results)) => {
                    unanswered.store(false, Ordering::Relaxed);
                    // The submitter is gone: this task is about to be aborted.
                    let _ = events.send(LaneEvent::Results(slot, results.results.into_vec())).await;
                }
                Ok(_) => return incoming.lie(Lie::Unexpected),
                Err(error) => return error,
            }
        }
    };
    tokio::select! {
        error = write => error,
        error = read => error,
    }
}
