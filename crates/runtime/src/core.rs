//! The thread that owns the replica: facts in, orders out.
//!
//! Guarantees, as `shardpay-replica` asks of its driver: orders are carried out in the sequence in which
//! they are polled; records stand in the store's log before any later order to the ledger or to the
//! network is passed on; durability is reported only after a sync. The thread waits for nobody: not for
//! the disk's sync, not for the ledger, not for a peer or client.
//!
//! A turn takes what has come in (bounded), writes all new records with one call, and passes on the rest.

mod orders;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, TryRecvError, select};
use shardpay_replica::{ClientToken, Input, LedgerOrder, Output, PersistId, Record, Replica};
use shardpay_storage::RecordLog;
use shardpay_transport::PeerNet;
use shardpay_types::{Block, NodeId, TxResult};
use tokio::sync::mpsc;

use crate::bend::Bent;
use crate::clock;
use crate::context::ContextCell;
use crate::error::Halt;
use crate::feed::Feed;
use crate::gate::Gate;
use crate::mail::{Fact, Mail};
use crate::metrics::Metrics;
use crate::node::NodeEvent;
use crate::outgoing::Encoder;
use crate::sessions::Sessions;
use crate::stages::Stages;
use crate::status::{CoreFigures, StatusCell};
use crate::sync::SyncHandle;

/// Facts and messages taken in one turn.
const TURN_MAX: usize = 256;
/// The core looks around at least that often, for its figures' sake.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Records of peers alone are made durable at the latest with the next own one, or after that long.
const LAZY_SYNC: Duration = Duration::from_millis(200);

/// What the thread works with.
pub(crate) struct Core {
    pub(crate) own: NodeId,
    pub(crate) replica: Replica,
    pub(crate) mail: Receiver<Mail>,
    pub(crate) facts: Receiver<Fact>,
    pub(crate) ports: CorePorts,
    pub(crate) stages: Stages,
    pub(crate) metrics: Metrics,
}

/// Where orders go.
pub(crate) struct CorePorts {
    pub(crate) records: RecordLog,
    pub(crate) sync: SyncHandle,
    pub(crate) ledger: Sender<LedgerOrder>,
    /// Orders to the ledger waiting above which peers' requests are dropped.
    pub(crate) serves_max: usize,
    pub(crate) net: PeerNet,
    pub(crate) bent: Option<Bent>,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) gate: Gate,
    pub(crate) context: ContextCell,
    pub(crate) events: mpsc::Sender<NodeEvent>,
    pub(crate) status: StatusCell,
}

/// What a turn collects before it is carried out.
#[derive(Default)]
struct Turn {
    records: Vec<(PersistId, Record)>,
    /// An own block, a vote or an approval is among the records: something waits for the sync.
    is_urgent: bool,
    orders: Vec<Output>,
    answers: Vec<(ClientToken, TxResult)>,
    encoder: Encoder,
}

/// Whether the thread goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Go,
    Stop,
}

impl Core {
    /// Works until [`Mail::Stop`] or a failing store. However it ends, the thread that syncs ends after it: nobody else
    /// would tell it to.
    pub(crate) fn run(mut self) -> Result<(), Halt> {
        let _stops = StopsSync(self.ports.sync.clone());
        let mut turn = Turn::default();
        let mut lazy: Option<(PersistId, Instant)> = None;
        let mut housekeeping = Instant::now();
        self.collect(&mut turn);
        self.carry_out(&mut turn, &mut lazy)?;
        loop {
            let wait = self.wait_for(lazy.map(|(_, due)| due));
            let first = self.wait(wait);
            let start = Instant::now();
            let next = self.take_in(first, &mut turn);
            self.carry_out(&mut turn, &mut lazy)?;
            if next == Next::Stop {
                return Ok(());
            }
            self.metrics.core_turn.record_duration(start.elapsed());
            self.metrics.queue_core.set((self.mail.len() + self.facts.len()) as u64);
            self.ports.status.set_core(|| CoreFigures::from(self.replica.status()));
            if housekeeping.elapsed() > LONGEST_WAIT {
                housekeeping = Instant::now();
                self.stages.forget_old();
            }
        }
    }

    /// How long nothing needs to be done.
    fn wait_for(&self, lazy: Option<Instant>) -> Duration {
        let timer = self.replica.poll_timeout().map_or(LONGEST_WAIT, |at| at.since(clock::now()));
        let lazy = lazy.map_or(LONGEST_WAIT, |due| due.saturating_duration_since(Instant::now()));
        timer.min(lazy).min(LONGEST_WAIT)
    }

    /// Waits for something to come in.
    fn wait(&self, wait: Duration) -> Arrived {
        select! {
            recv(self.facts) -> fact => fact.map_or(Arrived::Mail(Mail::Stop), Arrived::Fact),
            recv(self.mail) -> mail => Arrived::Mail(mail.unwrap_or(Mail::Stop)),
            default(wait) => Arrived::Nothing,
        }
    }

    /// Takes what has come in, facts first: they free what is in flight.
    fn take_in(&mut self, first: Arrived, turn: &mut Turn) -> Next {
        let mut arrived = first;
        let mut ticked = false;
        for _ in 0..TURN_MAX {
            match arrived {
                Arrived::Fact(fact) => self.fact(fact, turn),
                Arrived::Mail(mail) => {
                    if self.mail(mail, turn) == Next::Stop {
                        return Next::Stop;
                    }
                }
                Arrived::Nothing => break,
            }
            ticked = true;
            arrived = match self.facts.try_recv() {
                Ok(fact) => Arrived::Fact(fact),
                Err(_) => match self.mail.try_recv() {
                    Ok(mail) => Arrived::Mail(mail),
                    Err(TryRecvError::Empty) => Arrived::Nothing,
                    Err(TryRecvError::Disconnected) => Arrived::Mail(Mail::Stop),
                },
            };
        }
        // every input runs the timers that are due; without one the clock itself is the input
        if !ticked {
            self.handle(Input::Tick, turn);
        }
        Next::Go
    }

    fn fact(&mut self, fact: Fact, turn: &mut Turn) {
        match fact {
            Fact::Ledger(fact) => self.handle(Input::Ledger(fact), turn),
            Fact::Persisted(id) => self.handle(Input::Persisted(id), turn),
            Fact::Submitted(candidates) => {
                self.ports.gate.leave(candidates.len());
                for candidate in candidates {
                    let id = candidate.transaction.txid;
                    self.stages.verified(&candidate.transaction.transaction, id, candidate.verified_at);
                    let (client, transaction, sender) = (candidate.client, candidate.transaction, candidate.sender);
                    self.handle(Input::Submitted { client, transaction, sender }, turn);
                }
            }
            Fact::Opaque { client, payloads, weight, verified_at } => {
                self.ports.gate.leave(weight);
                payloads.iter().for_each(|payload| self.stages.opaque_verified(payload, verified_at));
                self.handle(Input::OpaqueSubmitted { client, payloads }, turn);
            }
        }
    }

    fn mail(&mut self, mail: Mail, turn: &mut Turn) -> Next {
        match mail {
            Mail::Message { from, message, .. } => self.handle(Input::Message { from, message }, turn),
            Mail::Connected(node) => self.handle(Input::PeerConnected(node), turn),
            Mail::Plan(plan) => self.handle(Input::PlanProposed(plan), turn),
            Mail::Change(change) => self.handle(Input::EpochChangeProposed(change), turn),
            Mail::Stop => return Next::Stop,
        }
        Next::Go
    }

    fn handle(&mut self, input: Input, turn: &mut Turn) {
        self.replica.handle(clock::now(), input);
        self.collect(turn);
    }

    fn is_own(&self, block: &Block) -> bool {
        block.author == self.own.member
    }
}

/// Ends the thread that syncs when the core ends.
struct StopsSync(SyncHandle);

impl Drop for StopsSync {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// What ended a wait.
enum Arrived {
    Fact(Fact),
    Mail(Mail),
    Nothing,
}
