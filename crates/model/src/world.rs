//! The real replicas and ledgers in virtual time, with processors that every action is charged to.
//!
//! What a node does and on which thread follows `shardpay-runtime`: network → lanes → core → ledger, sync beside the
//! core, the store's background thread beside the ledger. Signatures are the simulator's cheap ones; what real ones cost
//! is charged. Nothing fails here: no loss, no crash, no liar.

mod charge;
mod clients;
mod node;
mod probe;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use shardpay_crypto::{Signer, chain_id};
use shardpay_replica::{Input, LedgerOrder, PersistId};
use shardpay_sim::{CheapKey, CheapScheme, Instant, NodeIndex, Stream, Timeline, Topology};
use shardpay_types::{LedgerBlock, NodeId, PeerMessage, Transaction, TxId};

use crate::costs::Costs;
use crate::machines::{Machines, ThreadId, Turn, Work};
use crate::setup::{Cores, Load, Prediction, Setup};

use clients::Clients;
use node::{Node, Shared};

pub use probe::Probe;

/// Two windows that differ by no more than this certify the same.
const SETTLED: f64 = 0.05;

/// What happens next.
enum Event {
    /// A thread's turn is over.
    Turn(Turn),
    /// A message is at a node's socket.
    Arrived { node: NodeIndex, from: NodeId, message: Arc<PeerMessage> },
    /// A client's payments are at a node's socket.
    Submitted { node: NodeIndex, batch: Vec<Transaction> },
    /// A lane's wait for more is over.
    LaneDue { node: NodeIndex },
    /// A replica asked to be called.
    Timer { node: NodeIndex },
    /// The disk has synced.
    Synced { node: NodeIndex, upto: PersistId },
    /// A certified block is at the clients.
    Delivered(Arc<LedgerBlock>),
    /// A payment is due.
    Due,
    /// A client's batch for a committee goes out.
    Linger { committee: usize },
    /// A payment that was answered `Busy` goes out again.
    Again { txid: TxId },
}

/// What follows a job.
enum Then {
    /// A peer's message is read: to the lane.
    Peer { node: NodeIndex, from: NodeId, message: Arc<PeerMessage> },
    /// A client's payments are read: to the lane.
    Client { node: NodeIndex, batch: Vec<Transaction> },
    /// Checked: to the core.
    Core { node: NodeIndex, inputs: Vec<Input> },
    /// Payments are verified: their payers' accounts are looked up.
    Accounts { node: NodeIndex, batch: Vec<Transaction> },
    /// The core takes inputs.
    Handle { node: NodeIndex, inputs: Vec<Input> },
    /// Records stand in the log.
    Written { node: NodeIndex, upto: PersistId, urgent: bool },
    /// The ledger carries out an order.
    Perform { node: NodeIndex, order: LedgerOrder },
    /// A message leaves.
    Leave { node: NodeIndex, to: NodeId, message: Arc<PeerMessage>, bytes: f64 },
    /// A certified block leaves for the clients.
    Deliver { node: NodeIndex, block: Arc<LedgerBlock>, bytes: f64 },
    /// The sync's processor time is over, the disk goes on.
    Sync { node: NodeIndex, upto: PersistId },
    /// The clients have checked a block.
    Seen(Arc<LedgerBlock>),
    /// The clients have sent a batch.
    Send { node: NodeIndex, batch: Vec<Transaction> },
    /// Nothing.
    Done,
}

/// A run.
pub struct World {
    setup: Setup,
    costs: Costs,
    topology: Topology,
    line: Timeline<Event>,
    machines: Machines<Then>,
    nodes: Vec<Node>,
    clients: Clients,
    client_thread: ThreadId,
    /// When the disk of a machine is free again.
    disks: Vec<Instant>,
    /// Whether time passes for work: not while accounts are funded.
    charging: bool,
    busy: u64,
    probe: Option<Probe>,
    /// Blocks that the first node made, for the calibration.
    made: Vec<Arc<LedgerBlock>>,
    keep_made: bool,
}

impl World {
    /// Runs a setup to its end.
    pub fn run(setup: &Setup, costs: &Costs) -> Prediction {
        Self::build(setup, costs).go()
    }

    /// Runs a setup and takes the wall clock's time of everything that is really done; also the blocks of one node.
    pub fn probe(setup: &Setup, costs: &Costs) -> (Probe, Vec<Arc<LedgerBlock>>) {
        let mut world = Self::build(setup, costs);
        world.keep_made = true;
        world.fund();
        world.probe = Some(Probe::default());
        world.made.clear();
        world.load();
        (world.probe.take().unwrap_or_default(), world.made)
    }

    fn build(setup: &Setup, costs: &Costs) -> Self {
        let topology = Topology::new(vec![setup.members; setup.committees]);
        let mut keys = Stream::new(setup.seed, "model keys", 0);
        let signers: Vec<Arc<dyn Signer>> = (0..topology.nodes()).map(|_| key(&mut keys) as _).collect();
        let issuer = key(&mut keys);
        let public: Vec<_> = signers.iter().map(|signer| signer.public_key()).collect();
        let genesis = Arc::new(topology.genesis(&public, issuer.public_key(), keys.bytes()));
        let chain = chain_id(&genesis);
        let shared = Shared { chain, genesis: genesis.clone(), scheme: Arc::new(CheapScheme) };
        let mut machines = Machines::new(costs.wake_us, costs.cold);
        let one = match setup.cores {
            Cores::Shared(cores) => Some(machines.add_machine(cores)),
            Cores::Each(_) => None,
        };
        let machine = |machines: &mut Machines<Then>| match (one, setup.cores) {
            (Some(one), _) => one,
            (None, Cores::Each(cores) | Cores::Shared(cores)) => machines.add_machine(cores),
        };
        let nodes: Vec<Node> = signers
            .into_iter()
            .enumerate()
            .map(|(at, signer)| {
                let machine = machine(&mut machines);
                Node::new((at, topology.id(at)), setup, &shared, signer, (machine, &mut machines))
            })
            .collect();
        let clients_machine = one.unwrap_or_else(|| machines.add_machine(0));
        let client_thread = machines.add_thread(clients_machine);
        Self {
            clients: Clients::new(setup, chain, &genesis, issuer),
            disks: vec![Instant(0); nodes.len() + 1],
            line: Timeline::new(),
            setup: setup.clone(),
            costs: costs.clone(),
            charging: false,
            busy: 0,
            probe: None,
            made: Vec::new(),
            keep_made: false,
            topology,
            machines,
            nodes,
            client_thread,
        }
    }

    fn go(mut self) -> Prediction {
        self.fund();
        let start = self.load();
        let mut seen = self.prediction(&start);
        for _ in 1..self.setup.windows_max {
            let start = self.window();
            let next = self.prediction(&start);
            let settled = (next.per_second / seen.per_second - 1.0).abs() <= SETTLED;
            seen = Prediction { settled, ..next };
            if settled {
                break;
            }
        }
        seen
    }

    /// Mints for all accounts, free of cost.
    fn fund(&mut self) {
        for node in 0..self.nodes.len() {
            let committee = self.nodes[node].id.committee.index();
            let others = self.topology.members(committee).filter(|other| *other != node);
            let inputs: Vec<Input> = others.map(|other| Input::PeerConnected(self.topology.id(other))).collect();
            self.handle(node, inputs);
        }
        for (committee, batch) in self.clients.mints() {
            let node = self.clients.next_member(committee);
            self.line.after(Duration::from_millis(1), Event::Submitted { node, batch });
        }
        while self.clients.unfunded() > 0 {
            self.step();
        }
    }

    /// The load; what had been done when its measured part began.
    fn load(&mut self) -> Start {
        self.charging = true;
        let begin = self.line.now();
        match self.setup.load {
            Load::Open(_) => self.line.after(self.clients.pause(), Event::Due),
            Load::Closed(in_flight) => (0..in_flight.div_ceil(self.setup.grain)).for_each(|_| self.pay()),
        }
        self.until(begin.after(self.setup.warmup));
        self.window()
    }

    /// As much load as is measured at once; what had been done when it began.
    fn window(&mut self) -> Start {
        self.clients.start_counting();
        self.busy = 0;
        let start = Start { at: self.line.now(), done: self.done(), rounds: self.rounds() };
        self.until(start.at.after(self.setup.measured));
        start
    }

    fn until(&mut self, end: Instant) {
        while self.line.now() < end {
            self.step();
        }
    }

    fn step(&mut self) {
        let event = self.line.take().expect("replicas always have a timer");
        self.event(event);
    }

    /// What each machine has done.
    fn done(&self) -> Vec<Work> {
        let mut machines: Vec<usize> = self.nodes.iter().map(|node| node.machine).collect();
        machines.dedup();
        machines.into_iter().map(|machine| self.machines.done(machine)).collect()
    }

    fn rounds(&self) -> f64 {
        let round = |committee| {
            let first = self.topology.members(committee).start;
            self.nodes[first].replica.status().consensus.last_output.get() as f64
        };
        (0..self.setup.committees).map(round).sum::<f64>() / self.setup.committees as f64
    }

    fn prediction(&mut self, start: &Start) -> Prediction {
        let seconds = self.line.now().since(start.at).as_secs_f64();
        let work: Vec<Work> = self.done().iter().zip(&start.done).map(|(now, then)| now.since(then)).collect();
        let cores = match self.setup.cores {
            Cores::Each(cores) | Cores::Shared(cores) => cores.max(1) as f64,
        };
        let used = |work: &Work| work.total_us() / 1e6 / seconds / cores;
        let rounds_per_second = (self.rounds() - start.rounds) / seconds;
        let seen = self.clients.counted();
        let certified = seen.latencies_us.len() as f64 * self.setup.grain as f64;
        let mut all = Work::default();
        work.iter().for_each(|of| all.add(of));
        Prediction {
            settled: false,
            per_second: certified / seconds,
            p50_ms: seen.percentile_ms(0.5),
            p99_ms: seen.percentile_ms(0.99),
            utilisation: work.iter().map(used).sum::<f64>() / work.len() as f64,
            utilisation_max: work.iter().map(used).fold(0.0, f64::max),
            per_payment: all.per(certified),
            rounds_per_second,
            busy: self.busy,
            skipped: seen.skipped,
        }
    }
}

/// Where the measured time began.
struct Start {
    at: Instant,
    done: Vec<Work>,
    rounds: f64,
}

fn key(stream: &mut Stream) -> Arc<CheapKey> {
    Arc::new(CheapKey::from_secret(&stream.bytes()))
}

/// What a node tells the clients.
fn is_for_clients(setup: &Setup, id: NodeId) -> bool {
    id.committee.index() % setup.members == id.member.index()
}
