//! One member's stream for submissions: keeps it open, writes batches, reads results.

use std::sync::Arc;
use std::time::Duration;

use shardpay_types::{ClientReply, ClientRequest, List, Submit, Transaction, TxResult};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::client::Inner;
use crate::directory::Endpoint;
use crate::error::{Lie, LinkError};
use crate::link::Stream;

/// Batches that wait to be written.
const BATCHES_MAX: usize = 8;
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
    reopen: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Lane {
    pub(super) fn start(inner: Arc<Inner>, slot: usize, member: Endpoint, events: mpsc::Sender<LaneEvent>) -> Self {
        let (batches, queue) = mpsc::channel(BATCHES_MAX);
        let reopen = Arc::new(Notify::new());
        let line = Line { slot, member, events, reopen: reopen.clone() };
        Self { batches, reopen, task: tokio::spawn(keep_open(inner, line, queue)) }
    }

    /// Gives up the connection, if there is one, and dials again.
    pub(super) fn reopen(&self) {
        self.reopen.notify_waiters();
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

/// What the task of a lane knows.
struct Line {
    slot: usize,
    member: Endpoint,
    events: mpsc::Sender<LaneEvent>,
    reopen: Arc<Notify>,
}

async fn keep_open(inner: Arc<Inner>, line: Line, mut queue: mpsc::Receiver<Vec<Transaction>>) {
    let mut pause = REDIAL_MIN;
    loop {
        match inner.links.open(&line.member).await {
            Ok(stream) => {
                pause = REDIAL_MIN;
                while queue.try_recv().is_ok() {}
                if line.events.send(LaneEvent::Up(line.slot)).await.is_err() {
                    return;
                }
                let error = serve(&line, stream, &mut queue).await;
                tracing::debug!(%error, "submission stream lost");
                if line.events.send(LaneEvent::Down(line.slot)).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::debug!(%error, "no submission stream"),
        }
        tokio::time::sleep(pause).await;
        pause = REDIAL_MAX.min(pause * 2);
    }
}

/// Writes and reads until one of the two fails, or the stream is to be opened anew: whether the member is silent for too
/// long is for [`super::pace`] to say.
async fn serve(line: &Line, stream: Stream, queue: &mut mpsc::Receiver<Vec<Transaction>>) -> LinkError {
    let (slot, node, events) = (line.slot, line.member.node, &line.events);
    let reopen = line.reopen.notified();
    let Stream { mut outgoing, mut incoming, connection, .. } = stream;
    let write = async {
        while let Some(batch) = queue.recv().await {
            let submit = Submit { transactions: List::bounded(batch) };
            if let Err(error) = outgoing.request(&ClientRequest::Submit(submit)).await {
                return error;
            }
        }
        std::future::pending().await
    };
    let read = async {
        loop {
            match incoming.reply().await {
                Ok(ClientReply::Results(results)) => {
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
        () = reopen => {
            connection.close();
            LinkError::Silent(node)
        }
    }
}
