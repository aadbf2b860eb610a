//! A committee's certified blocks, verified, from whichever member delivers them.
//!
//! Guarantees: heights without gaps; everything that comes out passed the checker. A member that lies,
//! closes the stream or is silent while another one is ahead loses its turn, and the stream goes on from the
//! next height at the next member. Bounded: when the reader does not keep up, nothing more is read from the
//! member, who may then end the stream; it is opened again from the next height.

mod rhythm;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shardpay_ledger::verify::ProofError;
use shardpay_types::{
    ClientReply, ClientRequest, CommitteeId, FILTER_ACCOUNTS_MAX, Height, List, PublicKey, RefuseReason, Subscribe,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::check::{Checker, VerifiedBlock, VerifiedPart};
use crate::client::Inner;
use crate::error::{ClientError, Lie, LinkError};
use crate::link::Stream;

use rhythm::Rhythm;

/// Verified blocks that wait for the reader.
const WAITING_MAX: usize = 16;
/// Pause after a member failed, doubled up to [`PAUSE_MAX`] while no member delivers.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// What a stream shall deliver.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Whose blocks.
    pub committee: CommitteeId,
    /// First height; zero: the next one to be certified, as the first member to answer tells.
    pub from: Height,
    /// Whole blocks (`None`), or proofs for these accounts, at most [`FILTER_ACCOUNTS_MAX`].
    pub accounts: Option<Vec<PublicKey>>,
    /// How long a member may deliver nothing, at most, before others are asked whether there is something: less
    /// while blocks come often.
    pub silence: Duration,
}

impl Subscription {
    /// Whole blocks of a committee from `from` on.
    pub const fn whole(committee: CommitteeId, from: Height) -> Self {
        Self { committee, from, accounts: None, silence: Duration::from_secs(2) }
    }

    /// Proofs for some accounts from `from` on.
    pub const fn filtered(committee: CommitteeId, from: Height, accounts: Vec<PublicKey>) -> Self {
        Self { committee, from, accounts: Some(accounts), silence: Duration::from_secs(2) }
    }
}

/// A verified block, as far as it was asked for.
#[derive(Debug, Clone)]
pub enum Verified {
    /// All of it.
    Block(Box<VerifiedBlock>),
    /// The header, and proofs for the accounts of the filter.
    Part(Box<VerifiedPart>),
}

/// What became of the members' turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamStats {
    /// Turns that ended because of something no honest member says.
    pub lies: u64,
    /// Turns that ended because another member was ahead.
    pub silences: u64,
    /// Turns that ended because the stream or connection did.
    pub disconnects: u64,
}

#[derive(Default)]
struct Counters {
    lies: AtomicU64,
    silences: AtomicU64,
    disconnects: AtomicU64,
    /// Height of the start, plus one; zero while not settled.
    started: AtomicU64,
}

/// A stream of verified blocks. Ends when dropped.
pub struct BlockStream {
    blocks: mpsc::Receiver<Verified>,
    counters: Arc<Counters>,
    task: JoinHandle<()>,
}

impl BlockStream {
    pub(crate) fn start(inner: Arc<Inner>, subscription: Subscription) -> Self {
        let (sender, blocks) = mpsc::channel(WAITING_MAX);
        let counters = Arc::new(Counters::default());
        let accounts = subscription.accounts.unwrap_or_default();
        let filter = List::new(accounts.clone()).filter(|list: &List<_, FILTER_ACCOUNTS_MAX>| !list.is_empty());
        let follower = Follower {
            checker: Checker::new(inner.keyring(subscription.committee), subscription.from),
            committee: subscription.committee,
            accounts,
            filter,
            rhythm: Rhythm::new(subscription.silence),
            turn: usize::from(subscription.committee.index() as u8),
            counters: counters.clone(),
            sender,
            inner,
        };
        Self { blocks, counters, task: tokio::spawn(follower.run()) }
    }

    /// The next block. Waits as long as it takes; may be cancelled without loss.
    pub async fn next(&mut self) -> Result<Verified, ClientError> {
        self.blocks.recv().await.ok_or(ClientError::Stopped)
    }

    /// What became of the members' turns so far.
    pub fn stats(&self) -> StreamStats {
        StreamStats {
            lies: self.counters.lies.load(Ordering::Relaxed),
            silences: self.counters.silences.load(Ordering::Relaxed),
            disconnects: self.counters.disconnects.load(Ordering::Relaxed),
        }
    }

    /// The first height, once a member has told it.
    pub fn first_height(&self) -> Option<Height> {
        self.counters.started.load(Ordering::Relaxed).checked_sub(1).map(Height::new)
    }
}

impl Drop for BlockStream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Follower {
    inner: Arc<Inner>,
    checker: Checker,
    committee: CommitteeId,
    accounts: Vec<PublicKey>,
    filter: Option<List<PublicKey, FILTER_ACCOUNTS_MAX>>,
    rhythm: Rhythm,
    /// Whose turn it is, modulo the number of members.
    turn: usize,
    counters: Arc<Counters>,
    sender: mpsc::Sender<Verified>,
}

/// Why a member's turn ended.
enum TurnEnd {
    Failed(LinkError),
    /// It was silent; this one is ahead.
    Overtaken(Box<Stream>),
    /// The reader is gone.
    Unwanted,
}

impl From<LinkError> for TurnEnd {
    fn from(error: LinkError) -> Self {
        Self::Failed(error)
    }
}

impl Follower {
    async fn run(mut self) {
        let mut next_stream = None;
        let mut pause = PAUSE_MIN;
        loop {
            let before = self.checker.next();
            match self.member_turn(next_stream.take()).await {
                Ok(never) => match never {},
                Err(TurnEnd::Unwanted) => return,
                Err(TurnEnd::Overtaken(stream)) => {
                    self.counters.silences.fetch_add(1, Ordering::Relaxed);
                    self.rhythm.silent();
                    next_stream = Some(*stream);
                    continue;
                }
                Err(TurnEnd::Failed(error)) => self.failed(&error),
            }
            pause = if self.checker.next() > before { PAUSE_MIN } else { PAUSE_MAX.min(pause * 2) };
            self.turn += 1;
            tokio::time::sleep(pause).await;
        }
    }

    fn failed(&mut self, error: &LinkError) {
        tracing::debug!(%error, next = %self.checker.next(), "another member's turn");
        match error {
            // The next turn learns the epoch first.
            LinkError::Lie { lie: Lie::Proof(ProofError::UnknownEpoch(_)), .. } => {}
            LinkError::Lie { .. } => drop(self.counters.lies.fetch_add(1, Ordering::Relaxed)),
            _ => drop(self.counters.disconnects.fetch_add(1, Ordering::Relaxed)),
        }
        if let LinkError::Refused { reason: RefuseReason::HeightTooFar, .. } = error
            && self.counters.started.load(Ordering::Relaxed) != 0
            && self.counters.started.load(Ordering::Relaxed) == self.checker.next().get() + 1
        {
            // The start came from one member's word, which may have been a lie.
            self.checker.start_at(Height::ZERO);
        }
    }

    /// Takes blocks from one member until something ends its turn.
    async fn member_turn(&mut self, opened: Option<Stream>) -> Result<std::convert::Infallible, TurnEnd> {
        let mut stream = match opened {
            Some(stream) => stream,
            None => self.open(self.turn).await?,
        };
        if stream.welcome.epoch > self.checker.epoch() {
            self.learn(&mut stream).await?;
        }
        if self.checker.next() == Height::ZERO {
            let start = stream.welcome.certified.next();
            self.checker.start_at(start);
            self.counters.started.store(start.get() + 1, Ordering::Relaxed);
        }
        let subscribe = Subscribe { from: self.checker.next(), accounts: self.filter.clone() };
        stream.outgoing.request(&ClientRequest::Subscribe(subscribe)).await?;
        let mut last = None;
        loop {
            // A reply that is half read when the time runs out is read on afterwards.
            let reply = {
                let reading = stream.incoming.reply();
                tokio::pin!(reading);
                loop {
                    match timeout(self.rhythm.silence(), &mut reading).await {
                        Ok(reply) => break reply?,
                        Err(_) if self.sender.is_closed() => return Err(TurnEnd::Unwanted),
                        Err(_) => self.look_around().await?,
                    }
                }
            };
            let now = Instant::now();
            if let Some(last) = last.replace(now) {
                self.rhythm.block(now.duration_since(last));
            }
            let verified = match self.check(reply) {
                Ok(verified) => verified,
                Err(lie) => return Err(stream.incoming.lie(lie).into()),
            };
            if self.sender.send(verified).await.is_err() {
                return Err(TurnEnd::Unwanted);
            }
        }
    }

    async fn open(&self, turn: usize) -> Result<Stream, LinkError> {
        let members = self.inner.members(self.committee);
        self.inner.links.open(&members[turn % members.len()]).await
    }

    /// Asks the next member whether there is something to deliver.
    async fn look_around(&mut self) -> Result<(), TurnEnd> {
        self.turn += 1;
        match self.open(self.turn).await {
            Ok(stream) if stream.welcome.certified >= self.checker.next() => Err(TurnEnd::Overtaken(Box::new(stream))),
            _ => {
                // nothing to deliver: the next look comes later
                self.rhythm.silent();
                Ok(())
            }
        }
    }

    async fn learn(&mut self, stream: &mut Stream) -> Result<(), LinkError> {
        self.inner.learn_epochs(self.committee, stream).await?;
        self.checker.adopt(self.inner.keyring(self.committee));
        Ok(())
    }

    fn check(&mut self, reply: ClientReply) -> Result<Verified, Lie> {
        match (reply, &self.filter) {
            (ClientReply::Block(block), None) => Ok(Verified::Block(Box::new(self.checker.block(*block)?))),
            (ClientReply::Part(part), Some(_)) => {
                Ok(Verified::Part(Box::new(self.checker.part(*part, &self.accounts)?)))
            }
            _ => Err(Lie::Unexpected),
        }
    }
}
