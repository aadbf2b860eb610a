//! The world of a run: virtual time, nodes, links, clients and the signaler, and every checker at work.
//!
//! One event is taken at a time. Whatever a node puts out is first shown to the checkers, then bent by
//! its twist if it has one, then carried out. The first violation ends the run. A run ends well when,
//! after healing, everything promised has come true within its time and silence has followed.

mod build;
mod check;
mod faults;
mod outputs;
mod receipts;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use shardpay_crypto::{IdentifiedTransaction, SealedBlock, Signer};
use shardpay_replica::verify::{check_message, check_transaction};
use shardpay_replica::{ClientToken, Input};
use shardpay_types::{BlockRef, Codec, NodeId, PeerMessage, TxId};

use crate::checkers::{Books, Bounds, Certificates, CommitRule, Commits, Signatures, Violation};
use crate::coverage::Coverage;
use crate::engine::{Instant, Timeline};
use crate::network::{Network, Route};
use crate::node::{Body, Shared};
use crate::report::{Figures, Outcome};
use crate::rng::Stream;
use crate::scenario::Scenario;
use crate::signaler::Signaler;
use crate::trace::Trace;
use crate::workload::{Submission, Workload};

/// What happens next. Bodies are named by their number; `u32` incarnations tell whether it is still
/// the same process.
enum Event {
    Deliver {
        body: usize,
        from: NodeId,
        message: Arc<PeerMessage>,
    },
    Process(usize),
    Timer {
        body: usize,
        incarnation: u32,
    },
    Synced {
        body: usize,
        incarnation: u32,
    },
    Executed {
        body: usize,
        incarnation: u32,
    },
    Submit(Submission),
    Load,
    LookAfter,
    FaultBegins(usize),
    FaultEnds(usize),
    /// An armed crash that found no moment of its own.
    Force {
        body: usize,
        incarnation: u32,
    },
    CrashAgain(usize),
    Restart(usize),
    Twist(usize),
    Signaler(usize),
    Signals,
    Heal,
    Watch,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Things break.
    Faulty,
    /// Nothing breaks any more; work comes to its end.
    Healing,
    /// All work ended then; only heartbeats may be sent two seconds after the last payload was committed.
    Quiet { since: Instant },
    /// The run is over.
    Over,
}

/// A run.
pub struct World {
    scenario: Scenario,
    shared: Shared,
    line: Timeline<Event>,
    trace: Trace,
    bodies: Vec<Body>,
    /// Per node of the topology: its second body, when it is a pair of twins.
    twins: Vec<Option<usize>>,
    network: Network,
    workload: Workload,
    signaler: Signaler,
    books: Books,
    commits: Commits,
    rule: CommitRule,
    certificates: Certificates,
    signatures: Signatures,
    bounds: Bounds,
    coverage: Coverage,
    stream: Stream,
    phase: Phase,
    /// When an honest node last proposed or committed payload.
    last_work: Instant,
    /// Submissions on their way.
    under_way: usize,
    /// Last submission after healing.
    last_submission: Instant,
    figures: Figures,
    /// Who signs for a member that does not exist: the second plan of an equivocating signaler.
    stranger: Arc<dyn Signer>,
    tokens: Vec<(TxId, usize)>,
    most_in_flight: u64,
    /// What the planted bugs did.
    planted: u64,
    /// Where the last violation was noticed.
    why_not_done: String,
}

impl World {
    /// Runs `scenario` to its end. `trace`: where a line per event goes.
    pub fn run(scenario: Scenario, trace: Option<Box<dyn Write + Send>>) -> Outcome {
        let mut world = Self::build(scenario, trace);
        let result = world.start().and_then(|()| world.go());
        world.finish(result.err())
    }

    fn go(&mut self) -> Result<(), Violation> {
        while self.phase != Phase::Over {
            let Some(event) = self.line.take() else {
                return Err(Violation::new("the run goes on", "no event is left"));
            };
            self.step(event)?;
        }
        self.verify_receipts()
    }

    fn step(&mut self, event: Event) -> Result<(), Violation> {
        let now = self.line.now();
        match event {
            Event::Deliver { body, from, message } => self.arrived(body, from, message),
            Event::Process(body) => {
                self.bodies[body].waking = false;
                self.process(body)
            }
            Event::Timer { body, incarnation } => self.timer(body, incarnation),
            Event::Synced { body, incarnation } => self.synced(body, incarnation),
            Event::Executed { body, incarnation } => self.executed(body, incarnation),
            Event::Submit(submission) => self.submit(&submission),
            Event::Load => {
                let submissions = self.workload.next(now, &self.books);
                self.plan_submissions(submissions);
                Ok(())
            }
            Event::LookAfter => {
                if matches!(self.phase, Phase::Faulty | Phase::Healing) {
                    let submissions = self.workload.look_after(now, &self.books);
                    self.plan_submissions(submissions);
                    self.line.after(Duration::from_millis(500), Event::LookAfter);
                }
                Ok(())
            }
            Event::FaultBegins(fault) => self.fault_begins(fault),
            Event::FaultEnds(fault) => self.fault_ends(fault),
            Event::Force { body, incarnation } => {
                if self.bodies[body].incarnation == incarnation && self.bodies[body].armed.is_some() {
                    self.crash(body, "crash: anywhere");
                }
                Ok(())
            }
            Event::CrashAgain(body) => {
                self.crash_again(body);
                Ok(())
            }
            Event::Restart(body) => self.restart(body),
            Event::Twist(body) => self.twist(body),
            Event::Signaler(act) => {
                self.signaler_acts(act);
                Ok(())
            }
            Event::Signals => self.hand_out_signals(),
            Event::Heal => self.heal(),
            Event::Watch => self.watch(),
        }
    }

    // ---- inputs of nodes -------------------------------------------------------------------------

    /// Gives an input to a body's replica and carries out what it orders.
    fn drive(&mut self, body: usize, input: Input) -> Result<(), Violation> {
        let now = self.line.now();
        let clock = self.bodies[body].clock(now);
        let Some(machine) = self.bodies[body].machine.as_mut() else { return Ok(()) };
        machine.replica.handle(clock, input);
        self.drain(body)
    }

    fn arrived(&mut self, body: usize, from: NodeId, message: Arc<PeerMessage>) -> Result<(), Violation> {
        if self.bodies[body].machine.is_none() {
            return Ok(());
        }
        self.bodies[body].inbox.push_back((from, message));
        self.process(body)
    }

    /// Looks at messages until the inbox is empty or the processor busy.
    fn process(&mut self, at: usize) -> Result<(), Violation> {
        let now = self.line.now();
        loop {
            let body = &mut self.bodies[at];
            if body.busy_until > now {
                if !body.waking && !body.inbox.is_empty() {
                    body.waking = true;
                    self.line.at(body.busy_until, Event::Process(at));
                }
                return Ok(());
            }
            let Some((from, message)) = body.inbox.pop_front() else { return Ok(()) };
            body.busy_until = now.after(body.each);
            self.receive(at, from, message)?;
        }
    }

    fn receive(&mut self, at: usize, from: NodeId, message: Arc<PeerMessage>) -> Result<(), Violation> {
        let now = self.line.now();
        let body = &mut self.bodies[at];
        let message =
            match body.twisted(now, &self.shared, |twist, context| twist.receive(context, from, message.clone())) {
                Some(bent) => bent,
                None => Some(message),
            };
        let (Some(message), Some(machine)) = (message, body.machine.as_ref()) else { return Ok(()) };
        self.trace.event(now, at as u32, name_of(&message), word_of(&message));
        if self.trace.is_written() {
            let (name, word) = (name_of(&message), word_of(&message));
            self.trace.line(now, format_args!("{at:>3} gets {name} {word:x} from {from:?} {}", detail(&message)));
        }
        match check_message(&machine.context, from, Arc::unwrap_or_clone(message)) {
            Ok(message) => self.drive(at, Input::Message { from, message }),
            Err(_) => {
                self.coverage.hit("replica: message refused");
                Ok(())
            }
        }
    }

    fn timer(&mut self, at: usize, incarnation: u32) -> Result<(), Violation> {
        let now = self.line.now();
        let body = &mut self.bodies[at];
        if body.incarnation != incarnation || body.timer != Some(now) {
            return Ok(());
        }
        body.timer = None;
        let clock = body.clock(now);
        let Some(machine) = body.machine.as_mut() else { return Ok(()) };
        if machine.replica.poll_timeout().is_some_and(|due| due <= clock) {
            self.trace.event(now, at as u32, "tick", 0);
            return self.drive(at, Input::Tick);
        }
        self.set_timer(at);
        Ok(())
    }

    /// Plans the call that the replica asks for, unless one is planned that comes no later.
    fn set_timer(&mut self, at: usize) {
        let now = self.line.now();
        let body = &mut self.bodies[at];
        let Some(due) = body.machine.as_ref().and_then(|machine| machine.replica.poll_timeout()) else { return };
        let skew = body.skew.as_micros() as u64;
        let due = Instant(due.micros().saturating_sub(skew)).max(Instant(now.0 + 1));
        if body.timer.is_none_or(|planned| due < planned) {
            body.timer = Some(due);
            self.line.at(due, Event::Timer { body: at, incarnation: body.incarnation });
        }
    }

    // ---- clients ---------------------------------------------------------------------------------

    fn plan_submissions(&mut self, submissions: Vec<Submission>) {
        self.under_way += submissions.len();
        for submission in submissions {
            let delay = self.network.client_delay(submission.node);
            self.line.at(submission.at.after(delay), Event::Submit(submission));
        }
    }

    fn submit(&mut self, submission: &Submission) -> Result<(), Violation> {
        let now = self.line.now();
        let at = submission.node;
        self.under_way -= 1;
        if self.phase == Phase::Healing {
            self.last_submission = now;
        }
        let Some(machine) = self.bodies[at].machine.as_ref() else { return Ok(()) };
        let transaction = IdentifiedTransaction::new(&self.shared.chain, submission.transaction);
        self.trace.event(now, at as u32, "submit", u64::from_le_bytes(transaction.txid.0[..8].try_into().expect("8")));
        if self.trace.is_written() {
            self.trace.line(now, format_args!("{at:>3} is given {:?} {:?}", transaction.txid, transaction.transaction));
        }
        let Ok(transaction) = check_transaction(&machine.context, submission.transaction) else {
            self.coverage.hit("client: refused by signature");
            return Ok(());
        };
        let sender = match submission.transaction.debit() {
            Some((key, _)) => machine.ledger.account(&key),
            None => shardpay_types::AccountState::EMPTY,
        };
        self.figures.submitted += 1;
        let client = ClientToken(self.tokens.len() as u64);
        self.tokens.push((transaction.txid, at));
        self.drive(at, Input::Submitted { client, transaction, sender })
    }

    // ---- the net ---------------------------------------------------------------------------------

    /// Puts a message on the net.
    fn transmit(&mut self, from: usize, to: NodeId, message: &Arc<PeerMessage>) -> Result<(), Violation> {
        let now = self.line.now();
        let Some(target) = self.bodies_of(to, from) else { return Ok(()) };
        self.figures.messages += 1;
        let sender = self.bodies[from].node;
        let message = self.through_codec(message)?;
        match self.network.route(now, sender, self.bodies[target].node) {
            Route::Lost => self.coverage.hit("net: message lost"),
            Route::Cut => self.coverage.hit("net: message cut off"),
            Route::Arrives(first, second) => {
                let from = self.bodies[from].id;
                if let Some(second) = second {
                    self.coverage.hit("net: message doubled");
                    self.line.at(second, Event::Deliver { body: target, from, message: message.clone() });
                }
                self.line.at(first, Event::Deliver { body: target, from, message });
            }
        }
        Ok(())
    }

    /// The body that a message for `to` reaches: of twins one, depending on who sends.
    fn bodies_of(&mut self, to: NodeId, from: usize) -> Option<usize> {
        let node = self.scenario.topology.node(to)?;
        Some(match self.twins[node] {
            Some(second) if self.stream.chance(200) ^ self.bodies[from].node.is_multiple_of(2) => second,
            _ => node,
        })
    }

    /// Some messages are really encoded and decoded.
    fn through_codec(&mut self, message: &Arc<PeerMessage>) -> Result<Arc<PeerMessage>, Violation> {
        if !self.stream.chance(self.scenario.codec_permille) {
            return Ok(message.clone());
        }
        self.coverage.hit("net: message decoded from bytes");
        let bytes = message.to_bytes();
        match PeerMessage::from_bytes(&bytes) {
            Ok(decoded) if decoded == **message => Ok(Arc::new(decoded)),
            Ok(_) => Err(Violation::new("codec", format!("{} changes on the way", name_of(message)))),
            Err(error) => Err(Violation::new("codec", format!("{}: {error}", name_of(message)))),
        }
    }
}

/// What blocks a message carries or asks for, for people.
fn detail(message: &PeerMessage) -> String {
    match message {
        PeerMessage::Blocks(blocks) => {
            let sealed = blocks.blocks.iter().filter_map(|raw| SealedBlock::decode(raw.clone()).ok());
            let refs: Vec<_> = sealed.map(|sealed| sealed.reference()).map(short).collect();
            format!("{} {}: {}", blocks.epoch, if blocks.requested { "asked for" } else { "pushed" }, refs.join(" "))
        }
        PeerMessage::BlockRequest(request) => {
            let refs: Vec<_> = request.refs.iter().copied().map(short).collect();
            format!("{}: {}", request.epoch, refs.join(" "))
        }
        PeerMessage::Heartbeat(heartbeat) => {
            let refs: Vec<_> = heartbeat.highest.iter().copied().map(short).collect();
            let heights = (heartbeat.executed, heartbeat.certified);
            format!("{}: executed {}, certified {}, {}", heartbeat.epoch, heights.0, heights.1, refs.join(" "))
        }
        _ => String::new(),
    }
}

fn short(reference: BlockRef) -> String {
    format!("{}.{}:{:?}", reference.round, reference.author, reference.digest)
}

/// A message's kind, for traces.
pub(crate) const fn name_of(message: &PeerMessage) -> &'static str {
    match message {
        PeerMessage::Blocks(_) => "blocks",
        PeerMessage::BlockRequest(_) => "ask-blk",
        PeerMessage::Heartbeat(_) => "heartbea",
        PeerMessage::HeaderVote(_) => "hdr-vote",
        PeerMessage::CheckpointVote(_) => "chk-vote",
        PeerMessage::Certificates(_) => "certific",
        PeerMessage::LedgerRequest(_) => "ask-ldgr",
        PeerMessage::LedgerResponse(_) => "ledger",
        PeerMessage::LeadersRequest(_) => "ask-lead",
        PeerMessage::Leaders(_) => "leaders",
        PeerMessage::PlanApproval(_) => "approval",
        PeerMessage::RelayNotice(_) => "notice",
        PeerMessage::PackRequest(_) => "ask-pack",
        PeerMessage::Pack(_) => "pack",
        PeerMessage::Cursor(_) => "cursor",
        PeerMessage::ClosingsRequest(_) => "ask-clos",
        PeerMessage::Closings(_) => "closings",
    }
}

/// A word of a message's content, for traces.
fn word_of(message: &PeerMessage) -> u64 {
    let tail = |bytes: &[u8]| u64::from_le_bytes(bytes[bytes.len() - 64..][..8].try_into().expect("eight bytes"));
    match message {
        PeerMessage::Blocks(blocks) => {
            let words = blocks.blocks.iter().filter(|raw| raw.0.len() >= 64).map(|raw| tail(&raw.0));
            words.fold(blocks.blocks.len() as u64, |sum, word| sum.rotate_left(5) ^ word)
        }
        PeerMessage::BlockRequest(request) => request.refs.iter().map(|reference| reference.round.get()).sum(),
        PeerMessage::Heartbeat(heartbeat) => heartbeat.certified.get() << 32 ^ heartbeat.executed.get(),
        PeerMessage::HeaderVote(vote) => vote.height.get() << 16 ^ tail(&vote.signature.0) >> 48,
        PeerMessage::LedgerRequest(request) => request.from.get(),
        PeerMessage::LedgerResponse(response) => response.tip.get(),
        PeerMessage::RelayNotice(notice) => notice.count,
        PeerMessage::PackRequest(request) => request.first,
        PeerMessage::Pack(pack) => pack.first << 16 ^ pack.messages.len() as u64,
        PeerMessage::Certificates(certificates) => certificates.headers.len() as u64,
        _ => 0,
    }
}
