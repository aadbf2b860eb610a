//! A client's stream: greeting, requests in order, results and subscribed blocks as they come.
//!
//! Guarantees: every frame gets an answer or ends the stream with a typed refusal; what a client sends is
//! bounded by the stream's and the node's shares ([`Mailbox`], [`Gate`]); a full queue answers `Busy`. A
//! slow reader is waited for without holding up anybody else.

mod subscription;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use crossbeam::channel::Sender;
use shardpay_telemetry::names;
use shardpay_transport::{Frame, FrameError, ReplySender, RequestReceiver};
use shardpay_types::{
    ChainId, ClientReply, ClientRequest, Codec, Hello, List, NodeId, RefuseReason, Results, SUBMIT_MAX, Subscribe,
    TxAnswer, TxResult, Welcome,
};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::config::RuntimeConfig;
use crate::execution::{Ask, refused};
use crate::feed::Feed;
use crate::gate::Gate;
use crate::lanes::{ClientSubmit, ClientWork};
use crate::metrics::Metrics;
use crate::sessions::{Mailbox, Sessions};
use crate::status::StatusCell;

use subscription::Subscription;

/// What all streams work with.
pub(crate) struct Front {
    pub(crate) own: NodeId,
    pub(crate) chain: ChainId,
    pub(crate) config: RuntimeConfig,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) gate: Gate,
    pub(crate) submits: Sender<ClientSubmit>,
    pub(crate) asks: Sender<Ask>,
    pub(crate) status: StatusCell,
    pub(crate) metrics: Metrics,
    /// Subscriptions over all streams.
    pub(crate) subscriptions: AtomicUsize,
    /// True once the node stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Why a stream ended.
enum End {
    /// The client is gone, or has finished.
    Done,
    /// It is told why.
    Refused(RefuseReason),
}

/// One stream.
struct Stream {
    front: Arc<Front>,
    send: ReplySender,
    mailbox: Arc<Mailbox>,
    subscriptions: JoinSet<()>,
}

/// Forgets the stream's mailbox however the stream ends.
struct Registered<'a>(&'a Front, &'a Mailbox);

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.0.sessions.close(self.1.token());
    }
}

impl Front {
    /// Serves a stream to its end.
    pub(crate) async fn serve(self: Arc<Self>, send: ReplySender, mut requests: RequestReceiver) {
        let end = match self.greet(&send, &mut requests).await {
            Ok(()) => self.clone().converse(send.clone(), requests).await,
            Err(end) => end,
        };
        if let End::Refused(reason) = end {
            self.metrics.refuse(names::CLIENT_REFUSED, &reason.to_string());
            let _ = send.send(refused(reason).to_bytes().into()).await;
        }
    }

    async fn greet(&self, send: &ReplySender, requests: &mut RequestReceiver) -> Result<(), End> {
        let frame = next_frame(requests).await?;
        let hello = Hello::from_bytes(frame.bytes()).map_err(|_| End::Refused(RefuseReason::HelloExpected))?;
        if hello.chain != self.chain {
            return Err(End::Refused(RefuseReason::WrongChain));
        }
        let figures = self.status.get();
        let welcome = Welcome {
            committee: self.own.committee,
            member: self.own.member,
            epoch: figures.core.epoch,
            executed: figures.core.executed,
            certified: self.feed.certified(),
            proposing: figures.core.proposing,
        };
        send.send(ClientReply::Welcome(welcome).to_bytes().into()).await.map_err(|_| End::Done)
    }

    async fn converse(self: Arc<Self>, send: ReplySender, mut requests: RequestReceiver) -> End {
        let mailbox = self.sessions.open(self.config.limits.stream_transactions);
        let _registered = Registered(&self, &mailbox);
        let mut stopping = self.stopping.clone();
        let results = write_results(&self, &mailbox, &send);
        let mut stream =
            Stream { front: self.clone(), send: send.clone(), mailbox: mailbox.clone(), subscriptions: JoinSet::new() };
        let requests = async {
            loop {
                let frame = match next_frame(&mut requests).await {
                    Ok(frame) => frame,
                    Err(End::Done) if !stream.subscriptions.is_empty() => {
                        // a client that only listens may finish its side
                        while stream.subscriptions.join_next().await.is_some() {}
                        return End::Done;
                    }
                    Err(end) => return end,
                };
                if let Err(end) = stream.request(frame).await {
                    return end;
                }
            }
        };
        tokio::select! {
            end = requests => end,
            () = results => End::Done,
            _ = stopping.wait_for(|stopping| *stopping) => End::Refused(RefuseReason::ShuttingDown),
        }
    }
}

async fn next_frame(requests: &mut RequestReceiver) -> Result<Frame, End> {
    match requests.next().await {
        Ok(Some(frame)) => Ok(frame),
        Ok(None) => Err(End::Done),
        Err(FrameError::TooLarge { .. }) => Err(End::Refused(RefuseReason::TooLarge)),
        Err(FrameError::Empty | FrameError::Truncated) => Err(End::Refused(RefuseReason::Malformed)),
        Err(FrameError::Reset(_) | FrameError::Lost(_)) => Err(End::Done),
    }
}

async fn write_results(front: &Front, mailbox: &Mailbox, send: &ReplySender) {
    loop {
        let all = mailbox.take().await;
        for results in all.chunks(SUBMIT_MAX) {
            let reply = ClientReply::Results(Results { results: List::bounded(results.to_vec()) });
            if send.send(reply.to_bytes().into()).await.is_err() {
                return;
            }
            front.metrics.results.add(results.len() as u64);
            mailbox.told(results.len());
        }
    }
}

impl Stream {
    async fn request(&mut self, frame: Frame) -> Result<(), End> {
        let request = ClientRequest::from_bytes(frame.bytes()).map_err(|_| End::Refused(RefuseReason::Malformed))?;
        let reply = match request {
            ClientRequest::Submit(submit) => {
                return self.submit(ClientWork::Transactions(submit.transactions.into_vec())).await;
            }
            ClientRequest::Opaque(submit) => {
                return self.submit(ClientWork::Opaque(submit.payloads.into_vec())).await;
            }
            ClientRequest::Subscribe(subscribe) => match self.subscribe(subscribe) {
                Ok(()) => return Ok(()),
                Err(reason) => self.refuse(reason),
            },
            ClientRequest::Receipt(request) => {
                let (height, leaf) = (request.height, request.leaf);
                self.ask(|reply| Ask::Receipt { height, leaf, reply }).await
            }
            ClientRequest::Balance(request) => {
                let (key, nonce) = (request.key, request.nonce);
                self.ask(|reply| Ask::Balance { key, nonce, reply }).await
            }
            ClientRequest::Epochs(request) => self.ask(|reply| Ask::Epochs { from: request.from, reply }).await,
        };
        self.send.send(reply.to_bytes().into()).await.map_err(|_| End::Done)
    }

    fn refuse(&self, reason: RefuseReason) -> ClientReply {
        self.front.metrics.refuse(names::CLIENT_REFUSED, &reason.to_string());
        refused(reason)
    }

    /// Asks the ledger's thread. Requests of a stream are answered one after the other.
    async fn ask(&self, make: impl FnOnce(oneshot::Sender<ClientReply>) -> Ask) -> ClientReply {
        let (reply, answer) = oneshot::channel();
        if self.front.asks.try_send(make(reply)).is_err() {
            return self.refuse(RefuseReason::TooManyRequests);
        }
        answer.await.unwrap_or_else(|_| refused(RefuseReason::ShuttingDown))
    }

    /// Takes a submission in, or answers `Busy` for all of it.
    async fn submit(&self, work: ClientWork) -> Result<(), End> {
        let count = work.len();
        self.front.metrics.received.add(count as u64);
        if count == 0 {
            return Ok(());
        }
        if !self.mailbox.admit(count) {
            return self.busy(&work).await;
        }
        match self.push(work) {
            Ok(()) => Ok(()),
            Err(work) => {
                self.mailbox.told(count);
                self.busy(&work).await
            }
        }
    }

    /// Hands a submission to the lanes; gives it back when there is no room.
    fn push(&self, work: ClientWork) -> Result<(), ClientWork> {
        let weight = work.weight();
        if !self.front.gate.enter(weight) {
            return Err(work);
        }
        let submit = ClientSubmit { mailbox: self.mailbox.clone(), work, received_at: Instant::now() };
        self.front.submits.try_send(submit).map_err(|refused| {
            self.front.gate.leave(weight);
            refused.into_inner().work
        })
    }

    /// Written at once, not queued: a client that does not read its refusals is not read any further.
    async fn busy(&self, work: &ClientWork) -> Result<(), End> {
        let wait = self.front.config.replica.mempool.retry_after;
        let answer = TxAnswer::Busy(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX));
        let results = work.txids(&self.front.chain).into_iter().map(|txid| TxResult { txid, answer });
        let results: Vec<TxResult> = results.collect();
        self.front.metrics.recorder.counter_of(names::TRANSACTIONS_REFUSED, "busy").add(results.len() as u64);
        let reply = ClientReply::Results(Results { results: List::bounded(results) });
        self.send.send(reply.to_bytes().into()).await.map_err(|_| End::Done)
    }

    fn subscribe(&mut self, subscribe: Subscribe) -> Result<(), RefuseReason> {
        while self.subscriptions.try_join_next().is_some() {}
        if self.subscriptions.len() >= self.front.config.limits.subscriptions {
            return Err(RefuseReason::TooManySubscriptions);
        }
        let subscription = Subscription::new(self.front.clone(), self.send.clone(), subscribe)?;
        let front = self.front.clone();
        let now = front.subscriptions.fetch_add(1, Relaxed) + 1;
        front.metrics.subscriptions.set(now as u64);
        let counted = Counted(front);
        self.subscriptions.spawn(async move {
            let _counted = counted;
            subscription.run().await;
        });
        Ok(())
    }
}

/// A subscription that counts while it lives.
struct Counted(Arc<Front>);

impl Drop for Counted {
    fn drop(&mut self) {
        let now = self.0.subscriptions.fetch_sub(1, Relaxed) - 1;
        self.0.metrics.subscriptions.set(now as u64);
    }
}
