//! A running node: threads and queues around one replica and one ledger.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use shardpay_crypto::{Keypair, SignatureScheme, Signer};
use shardpay_ledger::{Config as LedgerConfig, Ledger, LedgerView};
use shardpay_replica::{Keys, LedgerOrder, Replica};
use shardpay_storage::{LedgerStore, RecordLog};
use shardpay_telemetry::{Recorder, names};
use shardpay_transport::{PeerAddress, PeerNet};
use shardpay_types::{CertifiedCheckpoint, ChainId, Epoch, EpochChange, NodeId, Plan, PlanApproval, Round, Totals};
use tokio::sync::{mpsc, watch};

use crate::bend::{Bend, Bent};
use crate::clock;
use crate::config::RuntimeConfig;
use crate::context::ContextCell;
use crate::core::{Core, CorePorts};
use crate::error::{Halt, StartError};
use crate::execution::{Ask, Execution};
use crate::feed::Feed;
use crate::front::Front;
use crate::gate::Gate;
use crate::lanes::{ClientLane, ClientSubmit, PeerFrame, PeerLanes, run_peers};
use crate::mail::{Fact, Mail};
use crate::metrics::Metrics;
use crate::ports::Ports;
use crate::sessions::Sessions;
use crate::stages::Stages;
use crate::status::{NodeFigures, StatusCell};
use crate::sync::{self, SyncHandle};
use crate::threads::{Threads, Watch};

/// Events that wait for the program.
const EVENTS_MAX: usize = 64;

/// What the signaler, or an operator, is to hear of.
#[derive(Debug, Clone)]
pub enum NodeEvent {
    /// Our consent to a plan.
    PlanApproved(Box<PlanApproval>),
    /// An epoch's end is certified.
    CheckpointCertified(Box<CertifiedCheckpoint>),
    /// Consensus of an epoch started.
    EpochStarted(Epoch),
}

/// What a node is made of.
pub struct NodeParts {
    /// Sizes and times.
    pub config: RuntimeConfig,
    /// The plan of epoch 0.
    pub genesis: Arc<Plan>,
    /// The node's key.
    pub keypair: Arc<Keypair>,
    /// Checks signatures; one per process.
    pub scheme: Arc<dyn SignatureScheme>,
    /// The ledger's half of the store.
    pub ledger: LedgerStore,
    /// The replica's half.
    pub records: RecordLog,
    /// The open ports.
    pub ports: Ports,
    /// Measures.
    pub recorder: Recorder,
    /// What stands between it and its peers, in programs that misbehave on purpose.
    pub bend: Option<Box<dyn Bend>>,
}

/// A running node.
pub struct Node {
    own: NodeId,
    ports: Ports,
    threads: Threads,
    watch: Watch,
    core: Sender<Mail>,
    shared: Shared,
    lanes: PeerLanes,
    submits: Sender<ClientSubmit>,
    stop: watch::Sender<bool>,
}

/// What several parts of the pipeline hold.
#[derive(Clone)]
struct Shared {
    feed: Arc<Feed>,
    sessions: Arc<Sessions>,
    gate: Gate,
    status: StatusCell,
    sync: SyncHandle,
    context: ContextCell,
    metrics: Metrics,
}

/// The queues between the threads, both ends.
struct Queues {
    lanes: PeerLanes,
    frames: Vec<Receiver<PeerFrame>>,
    submits: (Sender<ClientSubmit>, Receiver<ClientSubmit>),
    asks: (Sender<Ask>, Receiver<Ask>),
    orders: (Sender<LedgerOrder>, Receiver<LedgerOrder>),
    mail: (Sender<Mail>, Receiver<Mail>),
    facts: (Sender<Fact>, Receiver<Fact>),
}

impl Queues {
    fn new(config: &RuntimeConfig, metrics: &Metrics) -> Self {
        let (lanes, frames) = PeerLanes::new(config, metrics);
        Self {
            lanes,
            frames,
            submits: bounded(config.limits.client_submits),
            asks: bounded(config.limits.ledger_asks),
            // these two are bounded by what is in flight, see `mail`
            orders: unbounded(),
            mail: bounded(config.limits.core_messages),
            facts: unbounded(),
        }
    }
}

impl Node {
    /// Opens the ledger, recovers, and starts the threads. Events are for the program.
    pub fn start(parts: NodeParts) -> Result<(Self, mpsc::Receiver<NodeEvent>), StartError> {
        let config = &parts.config;
        let own = config.replica.own;
        let ledger = open_ledger(config, parts.genesis.clone(), parts.scheme.clone(), parts.ledger)?;
        let view = ledger.view();
        check_membership(&view, own, &*parts.keypair)?;
        let metrics = Metrics::new(parts.recorder);
        let (chain, certified) = (view.chain, view.status.certified);
        let keys = Keys { signer: parts.keypair.clone(), scheme: parts.scheme };
        let replica = recover(config, &parts.records, view, keys)?;
        let shared = Shared {
            feed: Arc::new(Feed::new(certified, config.limits.feed_bytes)),
            sessions: Arc::default(),
            gate: Gate::new(config.limits.client_transactions),
            status: StatusCell::default(),
            sync: SyncHandle::default(),
            context: ContextCell::new(replica.verify_context()),
            metrics: metrics.clone(),
        };
        let queues = Queues::new(config, &metrics);
        let (events, events_end) = mpsc::channel(EVENTS_MAX);
        let (stop, stopping) = watch::channel(false);
        let front = front(config, chain, &shared, &queues, stopping);
        let bent = parts.bend.map(|bend| Bent::start(bend, parts.ports.net.clone(), &parts.ports.runtime));
        let watch = Watch::default();
        let mut threads = Threads::new(watch.clone());
        spawn_lanes(&mut threads, config, &queues, (&shared, bent.as_ref()))?;
        spawn_sync(&mut threads, &shared, parts.records.clone(), queues.facts.0.clone())?;
        let execution = Execution {
            own,
            ledger,
            orders: queues.orders.1,
            asks: queues.asks.1,
            facts: queues.facts.0,
            signer: parts.keypair,
            metrics: metrics.clone(),
            status: shared.status.clone(),
        };
        threads.spawn("ledger", move || execution.run())?;
        let ports = CorePorts {
            records: parts.records,
            sync: shared.sync.clone(),
            ledger: queues.orders.0,
            serves_max: config.limits.ledger_serves,
            net: parts.ports.net.clone(),
            bent,
            runtime: parts.ports.runtime.clone(),
            sessions: shared.sessions.clone(),
            feed: shared.feed.clone(),
            gate: shared.gate.clone(),
            context: shared.context.clone(),
            events,
            status: shared.status.clone(),
        };
        let stages = Stages::new(chain, metrics.clone());
        let core = Core { own, replica, mail: queues.mail.1, facts: queues.facts.1, ports, stages, metrics };
        threads.spawn("core", move || core.run())?;
        // last, so that nothing comes in before there is somebody to take it
        parts.ports.peer_door.attach(queues.lanes.clone(), queues.mail.0.clone());
        parts.ports.client_door.attach(Arc::new(front));
        let node = Self {
            own,
            ports: parts.ports,
            threads,
            watch,
            core: queues.mail.0,
            shared,
            lanes: queues.lanes,
            submits: queues.submits.0,
            stop,
        };
        Ok((node, events_end))
    }

    /// Its place in the plan.
    pub fn id(&self) -> NodeId {
        self.own
    }

    /// The plan of the running epoch.
    pub fn plan(&self) -> Arc<Plan> {
        self.shared.context.get().plan().clone()
    }

    /// What it knows of itself.
    pub fn figures(&self) -> NodeFigures {
        self.shared.status.get()
    }

    /// The peer port's handle: figures, link shaping.
    pub fn peers(&self) -> &PeerNet {
        &self.ports.net
    }

    /// Tells where the other nodes are. Their keys must be those of the plan.
    pub fn set_peers(&self, peers: Vec<PeerAddress>) {
        self.ports.net.set_members(Some(self.own), peers);
    }

    /// The signaler proposes a plan. Waits while the core is busy.
    pub fn propose_plan(&self, plan: Arc<Plan>) {
        // a core that has gone takes no plans
        let _ = self.core.send(Mail::Plan(plan));
    }

    /// The signaler proposes to close the epoch. Waits while the core is busy.
    pub fn propose_change(&self, change: Arc<EpochChange>) {
        let _ = self.core.send(Mail::Change(change));
    }

    /// Waits until a thread dies; the node is to be shut down then.
    pub fn halted(&self) -> impl Future<Output = Halt> + use<> {
        let watch = self.watch.clone();
        async move { watch.wait().await }
    }

    /// Brings the gauges and the counters that are kept elsewhere up to date; once per interval.
    pub fn measure(&self) {
        let figures = self.figures();
        let recorder = &self.shared.metrics.recorder;
        let gauges = [
            (names::EPOCH, figures.core.epoch.get()),
            (names::ROUND, figures.core.round.get()),
            (names::ROUND_COMMITTED, figures.core.last_output.get()),
            (names::HEIGHT_EXECUTED, figures.core.executed.get()),
            (names::HEIGHT_CERTIFIED, figures.core.certified.get()),
            (names::PROPOSING, u64::from(figures.core.proposing)),
            (names::MEMPOOL, figures.core.mempool as u64),
            (names::BLOCKS_WAITING, figures.core.waiting_blocks as u64),
            (names::ACCOUNTS, figures.ledger.accounts as u64),
            (names::OUTBOX_PENDING, figures.ledger.outbox_pending),
            (names::INBOX_PACKS, figures.core.packs as u64),
            (names::QUEUE_PEER_LANE, self.lanes.depth() as u64),
            (names::QUEUE_CLIENT_LANE, self.submits.len() as u64),
        ];
        for (name, value) in gauges {
            recorder.gauge(name).set(value);
        }
        if let Some(totals) = figures.ledger.totals {
            measure_books(recorder, &totals);
        }
        self.measure_network();
        recorder.counter(names::LEADERS_COMMITTED).advance_to(figures.core.leaders.0);
        recorder.counter(names::LEADERS_SKIPPED).advance_to(figures.core.leaders.1);
        recorder.counter(names::LEADER_TIMEOUTS).advance_to(figures.core.leader_timeouts);
        for (reason, count) in &figures.core.refusals {
            recorder.counter_of(names::PEER_REFUSED, reason).advance_to(*count);
        }
    }

    fn measure_network(&self) {
        let recorder = &self.shared.metrics.recorder;
        let (peers, clients) = (self.ports.net.stats(), self.ports.clients.stats());
        let dropped = peers.dropped_full + peers.dropped_unconnected + peers.dropped_shaped;
        let counters = [
            (names::PEER_FRAMES_IN, peers.frames_in),
            (names::PEER_BYTES_IN, peers.bytes_in),
            (names::PEER_FRAMES_OUT, peers.frames_out),
            (names::PEER_BYTES_OUT, peers.bytes_out),
            (names::PEER_FRAMES_DROPPED, dropped),
            (names::CLIENT_FRAMES_IN, clients.frames_in),
            (names::CLIENT_BYTES_IN, clients.bytes_in),
            (names::CLIENT_FRAMES_OUT, clients.frames_out),
            (names::CLIENT_BYTES_OUT, clients.bytes_out),
        ];
        for (name, value) in counters {
            recorder.counter(name).advance_to(value);
        }
        recorder.gauge(names::PEERS_CONNECTED).set(peers.connected as u64);
        recorder.gauge(names::CLIENTS_CONNECTED).set(clients.connections as u64);
        let queued: usize = peers.peers.iter().map(|peer| peer.queue_bytes).sum();
        recorder.gauge(names::QUEUE_PEER_BYTES).set(queued as u64);
    }

    /// Stops: streams are told, connections closed, what is ordered is carried out and made durable. The
    /// cause is returned when a thread died before. Blocks while threads end; the store is closed by
    /// whoever opened it.
    pub async fn shutdown(self) -> Option<Halt> {
        self.stop.send_replace(true);
        let Self { core, threads, watch, ports, lanes, submits, .. } = self;
        ports.clients.shutdown().await;
        ports.net.shutdown().await;
        // lanes end when nobody holds their entrances
        ports.peer_door.detach();
        ports.client_door.detach();
        drop((lanes, submits));
        // a full queue empties while its thread lives; without the thread there is nothing to stop
        let joined = tokio::task::spawn_blocking(move || {
            let _ = core.send(Mail::Stop);
            drop(core);
            threads.join();
        });
        // a panic of the threads is in the watch
        let _ = joined.await;
        watch.cause()
    }
}

fn front(
    config: &RuntimeConfig,
    chain: ChainId,
    shared: &Shared,
    queues: &Queues,
    stopping: watch::Receiver<bool>,
) -> Front {
    Front {
        own: config.replica.own,
        chain,
        config: config.clone(),
        sessions: shared.sessions.clone(),
        feed: shared.feed.clone(),
        gate: shared.gate.clone(),
        submits: queues.submits.0.clone(),
        asks: queues.asks.0.clone(),
        status: shared.status.clone(),
        metrics: shared.metrics.clone(),
        subscriptions: AtomicUsize::new(0),
        stopping,
    }
}

fn open_ledger(
    config: &RuntimeConfig,
    genesis: Arc<Plan>,
    scheme: Arc<dyn SignatureScheme>,
    store: LedgerStore,
) -> Result<Ledger<LedgerStore>, StartError> {
    let (committee, hash_seed) = (config.replica.own.committee, config.replica.hash_seed);
    Ok(Ledger::open(LedgerConfig { genesis, committee, scheme, hash_seed }, store)?)
}

fn check_membership(view: &LedgerView, own: NodeId, signer: &dyn Signer) -> Result<(), StartError> {
    let key = view.plan.committee(own.committee).and_then(|committee| committee.key(own.member));
    if key == Some(&signer.public_key()) { Ok(()) } else { Err(StartError::NotMember(own)) }
}

/// The replica with what the store holds. Consensus needs the blocks of the last gc depth of rounds.
fn recover(config: &RuntimeConfig, records: &RecordLog, view: LedgerView, keys: Keys) -> Result<Replica, StartError> {
    let depth = u64::from(view.plan.constants.gc_depth);
    let above = Round::new(view.status.last_output.get().saturating_sub(depth));
    let recovered = records.recovered(view.status.epoch, above)?;
    tracing::info!(
        epoch = view.status.epoch.get(),
        height = view.status.height.get(),
        certified = view.status.certified.get(),
        round = view.status.last_output.get(),
        accounts = view.status.accounts,
        blocks = recovered.blocks.len(),
        "recovered from the store"
    );
    Ok(Replica::new(clock::now(), config.replica.clone(), keys, view, recovered))
}

fn spawn_lanes(
    threads: &mut Threads,
    config: &RuntimeConfig,
    queues: &Queues,
    (shared, bent): (&Shared, Option<&Bent>),
) -> Result<(), StartError> {
    for frames in &queues.frames {
        let (frames, core, bent) = (frames.clone(), queues.mail.0.clone(), bent.cloned());
        let (context, metrics) = (shared.context.clone(), shared.metrics.clone());
        threads.spawn("peer-lane", move || {
            run_peers(&frames, (&context, bent.as_ref()), &core, &metrics);
            Ok(())
        })?;
    }
    for _ in 0..config.client_lanes.max(1) {
        let lane = ClientLane {
            submits: queues.submits.1.clone(),
            context: shared.context.clone(),
            ledger: queues.asks.0.clone(),
            core: queues.facts.0.clone(),
            gate: shared.gate.clone(),
            config: config.clone(),
            metrics: shared.metrics.clone(),
        };
        threads.spawn("client-lane", move || {
            lane.run();
            Ok(())
        })?;
    }
    Ok(())
}

fn spawn_sync(
    threads: &mut Threads,
    shared: &Shared,
    records: RecordLog,
    facts: Sender<Fact>,
) -> Result<(), StartError> {
    let (wanted, metrics) = (shared.sync.clone(), shared.metrics.clone());
    threads.spawn("sync", move || sync::run(&wanted, &records, &facts, &metrics))
}

/// The committee's books as of the last executed height.
fn measure_books(recorder: &Recorder, totals: &Totals) {
    let books = [
        (names::SUPPLY_BALANCES, totals.balances),
        (names::SUPPLY_MINTED, totals.minted),
        (names::SUPPLY_BURNED, totals.burned),
        (names::SUPPLY_SENT, totals.sent),
        (names::SUPPLY_RECEIVED, totals.received),
        (names::SUPPLY_SUSPENSE, totals.suspense),
    ];
    for (name, total) in books {
        recorder.gauge(name).set(u64::try_from(total.micros()).unwrap_or(u64::MAX));
    }
}
