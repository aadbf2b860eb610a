//! Brings transactions to a committee and keeps at it until they are settled.
//!
//! Guarantees: a transaction handed in stays in flight until the caller says it is settled (it holds a
//! verified result), it is refused for good, or it has been tried for `give_up_after`. A member's word that
//! it executed something is passed on, and only makes the next attempt later. At most `in_flight_max` are in
//! flight. Nothing is ever signed here: an attempt repeats the same bytes, so however often one is made, the
//! ledger executes it once.
//!
//! All that is pending for one sender goes to one member, so that its sequences meet in one mempool; new
//! senders go to the members in turn, a whole batch each, because members verify big batches cheaper. A member
//! whose stream breaks, or that is silent while others answer ([`pace`]), loses what it has not answered to others.
//! Repetitions because of silence are bounded by what is settled ([`budget`]): a committee that is slow is not made slower.

mod book;
mod budget;
mod lane;
mod pace;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shardpay_crypto::IdentifiedTransaction;
use shardpay_types::{CommitteeId, ExecutedAt, RejectReason, Transaction, TxId};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::{Inner, random};
use crate::error::ClientError;

use book::{Book, Settled};
use lane::{Lane, LaneEvent};

/// How a [`Submitter`] behaves.
#[derive(Debug, Clone, Copy)]
pub struct SubmitOptions {
    /// Most transactions in flight.
    pub in_flight_max: usize,
    /// How long a batch waits to grow.
    pub linger: Duration,
    /// How long a member may take to execute before another one is tried, or twice what answers usually take when that is
    /// longer; doubles with each attempt. A member that answers nothing while others do is left long before, after three
    /// times what answers usually take.
    pub attempt_max: Duration,
    /// How long to wait for the certificate after a member said it executed.
    pub certify_max: Duration,
    /// First pause after a refusal that may pass; doubles with each attempt, with jitter.
    pub backoff_min: Duration,
    /// Longest pause.
    pub backoff_max: Duration,
    /// When to give up.
    pub give_up_after: Duration,
    /// Whether to tell of [`SubmitEvent::Executed`].
    pub tell_executed: bool,
}

impl Default for SubmitOptions {
    fn default() -> Self {
        Self {
            in_flight_max: 65_536,
            linger: Duration::from_millis(3),
            attempt_max: Duration::from_secs(5),
            certify_max: Duration::from_secs(10),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            give_up_after: Duration::from_secs(60),
            tell_executed: true,
        }
    }
}

/// What became of a transaction in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubmitEvent {
    /// A member says it executed it: where to find the proof. Not verified.
    Executed(TxId, ExecutedAt),
    /// Refused for good; no longer in flight.
    Refused(TxId, RejectReason),
    /// Tried for too long; no longer in flight. It may still be executed.
    GaveUp(TxId),
}

/// What happened, in order.
pub type SubmitEvents = mpsc::UnboundedReceiver<Vec<SubmitEvent>>;

/// Counts since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubmitStats {
    /// Transactions handed in.
    pub submitted: u64,
    /// Attempts that were a repetition.
    pub resubmitted: u64,
    /// Attempts that got no answer in time.
    pub timeouts: u64,
    /// Attempts lost with a connection.
    pub disconnects: u64,
    /// `Busy` answers.
    pub busy: u64,
    /// Refusals by reason, passing ones included.
    pub refusals: BTreeMap<RejectReason, u64>,
}

/// Submits to one committee. Ends when dropped.
pub struct Submitter {
    commands: mpsc::UnboundedSender<Command>,
    permits: Arc<Semaphore>,
    stats: Arc<Mutex<SubmitStats>>,
    in_flight_max: usize,
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

enum Command {
    Submit(Vec<IdentifiedTransaction>),
    Settle(Vec<TxId>),
}

impl Submitter {
    pub(crate) fn start(
        inner: Arc<Inner>,
        committee: CommitteeId,
        options: SubmitOptions,
    ) -> Result<(Self, SubmitEvents), ClientError> {
        // Commands and events are bounded by the permits.
        let (commands, command_queue) = mpsc::unbounded_channel();
        let (events, event_queue) = mpsc::unbounded_channel();
        let permits = Arc::new(Semaphore::new(options.in_flight_max));
        let stats = Arc::new(Mutex::new(SubmitStats::default()));
        let (lane_events, lane_queue) = mpsc::channel(64);
        let members = inner.members(committee);
        let lanes = members.iter().enumerate();
        let lanes = lanes.map(|(slot, end)| Lane::start(inner.clone(), slot, *end, lane_events.clone())).collect();
        let runner = Runner {
            book: Book::new(members.len(), options, u64::from_le_bytes(random()?)),
            lanes,
            lane_queue,
            commands: command_queue,
            events,
            permits: permits.clone(),
            stats: stats.clone(),
        };
        let task = tokio::spawn(runner.run());
        Ok((Self { commands, permits, stats, in_flight_max: options.in_flight_max, inner, task }, event_queue))
    }

    /// Hands transactions in when there is room for all of them now; gives them back when not.
    pub fn try_submit(&self, transactions: Vec<IdentifiedTransaction>) -> Result<(), Vec<IdentifiedTransaction>> {
        let count = u32::try_from(transactions.len()).unwrap_or(u32::MAX);
        let Ok(permits) = self.permits.try_acquire_many(count) else { return Err(transactions) };
        permits.forget();
        self.hand_in(transactions);
        Ok(())
    }

    /// Hands transactions in, waiting for room.
    pub async fn submit(&self, transactions: Vec<Transaction>) -> Result<(), ClientError> {
        let identified = |transaction: &Transaction| IdentifiedTransaction::new(&self.inner.chain, *transaction);
        for part in transactions.chunks(self.in_flight_max.max(1)) {
            let count = u32::try_from(part.len()).unwrap_or(u32::MAX);
            self.permits.acquire_many(count).await.map_err(|_| ClientError::Stopped)?.forget();
            self.hand_in(part.iter().map(identified).collect());
        }
        Ok(())
    }

    fn hand_in(&self, transactions: Vec<IdentifiedTransaction>) {
        // The task outlives `self` unless the runtime stops.
        let _ = self.commands.send(Command::Submit(transactions));
    }

    /// Says that these have a verified result: they are no longer in flight. Others are ignored.
    pub fn settle(&self, txids: Vec<TxId>) {
        let _ = self.commands.send(Command::Settle(txids));
    }

    /// How many are in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight_max.saturating_sub(self.permits.available_permits())
    }

    /// Counts since the start.
    pub fn stats(&self) -> SubmitStats {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Submitter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Runner {
    book: Book,
    lanes: Vec<Lane>,
    lane_queue: mpsc::Receiver<LaneEvent>,
    commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::UnboundedSender<Vec<SubmitEvent>>,
    permits: Arc<Semaphore>,
    stats: Arc<Mutex<SubmitStats>>,
}

impl Runner {
    async fn run(mut self) {
        loop {
            let deadline = self.book.deadline();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                Some(event) = self.lane_queue.recv() => self.lane_event(event),
                () = sleep_until(deadline) => {}
            }
            self.flush();
            self.tell();
        }
    }

    fn command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Submit(transactions) => self.book.add(transactions, now),
            Command::Settle(txids) => {
                let freed = self.book.settle(&txids);
                self.permits.add_permits(freed);
            }
        }
    }

    fn lane_event(&mut self, event: LaneEvent) {
        let now = Instant::now();
        match event {
            LaneEvent::Up(slot) => self.book.up(slot, now),
            LaneEvent::Down(slot) => self.book.down(slot, now),
            LaneEvent::Results(slot, results) => self.book.answers(slot, &results, now),
        }
    }

    fn flush(&mut self) {
        let now = Instant::now();
        for (slot, batch) in self.book.due(now) {
            if !self.lanes[slot].send(self.book.transactions(&batch)) {
                self.book.not_taken(slot, &batch, now);
            }
        }
        for slot in self.book.take_silent() {
            self.lanes[slot].reopen();
        }
    }

    fn tell(&mut self) {
        let Settled { events, freed } = self.book.take_settled();
        self.permits.add_permits(freed);
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone_from(self.book.stats());
        if !events.is_empty() {
            // Nobody listens: the caller has its own way to know.
            let _ = self.events.send(events);
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
