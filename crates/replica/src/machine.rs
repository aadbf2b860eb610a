//! The replica: mempool, consensus, certificates, relay and epochs as one machine (DESIGN §8).
//!
//! Guarantees: `handle` never blocks, reads no clock and touches nothing outside; after it, `poll_output`
//! yields orders until `None`, and `poll_timeout` says when to call again at the latest. Equal inputs give
//! equal outputs.
//!
//! The parts do the work and know nothing of each other; this file and its neighbours (`dispatch`, what
//! comes in; `flow`, what follows from it) connect them.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use shardpay_consensus::{Context, Recovered, Start, Status as ConsensusStatus};
use shardpay_crypto::{SealedBlock, SignatureScheme, Signer, VerifiedCache};
use shardpay_ledger::{LedgerView, MadeBlock};
use shardpay_types::{CertifiedCheckpoint, Epoch, Height, LedgerHeader, MemberIndex, Plan, Round, Timestamp};

use crate::api::{Input, LedgerOrder, Output, RecoveredRecords, Refusal, Status};
use crate::budget::Budgets;
use crate::certificates::Certificates;
use crate::config::Config;
use crate::core::{Core, Membership, earlier};
use crate::counters::Refused;
use crate::epochs::Epochs;
use crate::execution::Execution;
use crate::heartbeat::{Heartbeats, Own};
use crate::instances::{Instances, context_of};
use crate::mempool::{LedgerClock, Mempool};
use crate::opaque::OpaquePool;
use crate::rejoin::Rejoin;
use crate::relay::destination::Destination;
use crate::relay::source::Source;
use crate::verify::{VerifyContext, VerifyParts};

/// What verification lanes work with, and what their next snapshot is made of.
pub(crate) struct Verification {
    pub(crate) keysets: BTreeMap<shardpay_types::CommitteeId, Arc<Plan>>,
    cache: Arc<RwLock<VerifiedCache>>,
    pub(crate) current: Arc<VerifyContext>,
}

/// What earlier lives of this process left behind, and whether this one has lived through an epoch's end.
pub(crate) struct Past {
    stored: BTreeMap<Epoch, Vec<Arc<SealedBlock>>>,
    transitions: u64,
}

/// Whether the node still takes part.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mode {
    /// A fork was proven: serve, and nothing else.
    pub(crate) halted: bool,
    /// The store was lost: follow, but neither propose nor sign.
    pub(crate) stays_out: bool,
}

/// One node's protocol machine.
pub struct Replica {
    pub(crate) core: Core,
    pub(crate) members: Membership,
    /// Of earlier epochs that still lack certificates, and of the last one.
    pub(crate) earlier_members: Vec<Membership>,
    pub(crate) instances: Instances,
    pub(crate) mempool: Mempool,
    pub(crate) opaque: OpaquePool,
    pub(crate) execution: Execution,
    pub(crate) certificates: Certificates,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) rejoin: Rejoin,
    pub(crate) source: Source,
    pub(crate) destination: Destination,
    pub(crate) epochs: Epochs,
    pub(crate) budgets: Budgets,
    pub(crate) verification: Verification,
    pub(crate) past: Past,
    pub(crate) mode: Mode,
    pub(crate) work_told: bool,
}

impl Replica {
    /// A replica over a ledger as `ledger` describes it, with the records that its store holds.
    ///
    /// # Panics
    /// When the ledger is not the one the configuration names: the driver's bug.
    pub fn new(now: Timestamp, config: Config, keys: Keys, ledger: LedgerView, records: RecoveredRecords) -> Self {
        assert_eq!(ledger.chain, config.chain, "the ledger is of the chain that is configured");
        let core = Core::new(now, config, keys.signer, keys.scheme);
        let committee = core.config.own.committee;
        let members = Membership::new(ledger.plan.clone(), committee, &*core.signer);
        let head = head_of(&ledger);
        let clock = LedgerClock {
            time: head.as_ref().map_or(Timestamp::ZERO, |header| header.ledger_time),
            minted: ledger.status.totals.minted,
        };
        let seed = core.config.hash_seed;
        let plan = members.members().clone();
        let mempool = Mempool::new(core.config.mempool, seed, plan, members.plan.constants, clock);
        let verification = Verification::new(&core, &members, &ledger);
        let mut replica = Self {
            instances: Instances::default(),
            mempool,
            opaque: OpaquePool::new(core.config.mempool, seed),
            execution: Execution::new(head, ledger.status.last_output),
            certificates: Certificates::new(ledger.status.height, ledger.status.certified, records.votes),
            heartbeats: Heartbeats::new(now),
            rejoin: Rejoin::new(now, core.config.own.member.index()),
            source: Source::default(),
            destination: Destination::default(),
            epochs: Epochs::new(&records.approvals),
            budgets: Budgets::default(),
            verification,
            past: Past::new(records.blocks),
            mode: Mode::default(),
            work_told: false,
            earlier_members: Vec::new(),
            members,
            core,
        };
        replica.recall(ledger);
        replica.settle();
        replica
    }

    /// Takes up what the ledger and the records held.
    fn recall(&mut self, ledger: LedgerView) {
        if let Some(certified) = ledger.last_certified.clone() {
            self.certificates.recall(certified);
        }
        let outboxes: Vec<_> = ledger.outboxes.iter().filter(|(_, count)| *count > 0).copied().collect();
        self.source.executed(ledger.status.height, &outboxes);
        if let Some(last) = &ledger.last_certified {
            self.source.certified(self.core.now, last.header.height, last.header.epoch);
        }
        for (destination, count) in &ledger.acknowledged {
            self.source.recall(*destination, *count);
        }
        self.recall_last_epoch(ledger.closed.is_some(), ledger.checkpoint);
        self.recall_earlier_epochs(&ledger.uncertified);
        self.destination.recall(&ledger.cursors);
        self.destination.executed(ledger.status.height, &ledger.cursors);
        for made in &ledger.uncertified {
            let members = self.members_of(made.block.header.epoch);
            let step = self.certificates.made(&mut self.core, &members, made);
            self.follow(step);
        }
        match ledger.closed {
            Some(plan) => {
                // its certificate is not known: members that have not got to the end need our blocks to
                if ledger.status.leaders_known {
                    self.start_recovered(&ledger.status);
                }
                self.close_epoch(plan);
            }
            None => self.start_recovered(&ledger.status),
        }
    }

    /// The epoch before the running one may still lack its last certificate or its checkpoint. Its plan
    /// is not stored; its members are taken to be the running plan's.
    fn recall_last_epoch(&mut self, closed: bool, checkpoint: Option<CertifiedCheckpoint>) {
        let running = self.members.epoch();
        if closed || running == Epoch::ZERO {
            return;
        }
        let plan = Plan { epoch: running.previous(), ..Plan::clone(&self.members.plan) };
        let last = Membership { plan: Arc::new(plan), ..self.members.clone() };
        let certified = checkpoint.filter(|certified| certified.checkpoint.epoch == last.epoch());
        if let Some(certified) = certified {
            // peers that lack it can still be answered
            self.epochs.recall(last.clone(), &certified);
        } else if self.execution.head().is_some_and(LedgerHeader::is_closing) {
            // nothing was executed since: the state is the one at the epoch's end
            self.core.out.push(Output::Ledger(LedgerOrder::Checkpoint));
            self.epochs.closed(last.clone());
        }
        self.remember_members(last);
        self.refresh_verification();
    }

    /// The same for epochs before, whose headers may lack their certificates when several closed at once.
    fn recall_earlier_epochs(&mut self, uncertified: &[MadeBlock]) {
        for made in uncertified {
            let epoch = made.block.header.epoch;
            let known = self.earlier_members.iter().any(|earlier| earlier.epoch() == epoch);
            if epoch < self.members.epoch() && !known {
                let plan = Plan { epoch, ..Plan::clone(&self.members.plan) };
                self.earlier_members.push(Membership { plan: Arc::new(plan), ..self.members.clone() });
            }
        }
        self.refresh_verification();
    }

    /// An epoch is over, but its headers may not all be certified yet. Those of epochs in which everything is
    /// certified are forgotten.
    pub(crate) fn remember_members(&mut self, members: Membership) {
        let unfinished = self.certificates.first_uncertified_epoch().unwrap_or(members.epoch());
        let newest = members.epoch();
        self.earlier_members.retain(|earlier| earlier.epoch() >= unfinished && earlier.epoch() != newest);
        self.earlier_members.push(members);
    }

    /// Starts the running epoch's consensus from what is stored.
    fn start_recovered(&mut self, status: &shardpay_ledger::LedgerStatus) {
        if !status.leaders_known && self.members.plan.epoch == status.epoch && status.last_output > Round::ZERO {
            // replayed blocks hold the leader list's hash only: peers have the list
            self.rejoin.ask_for_leaders();
            return;
        }
        let blocks = self.past.take(self.members.epoch());
        let recovered = Recovered { last_output: status.last_output, leaders: status.leaders.clone(), blocks };
        self.instances.start(&self.core, &self.members, Start::Restart(recovered));
    }

    /// Takes a fact.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        self.core.now = self.core.now.max(now);
        self.dispatch(input);
        self.run_timers();
        self.settle();
    }

    /// The next order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.core.out.poll()
    }

    /// When to call with [`Input::Tick`] at the latest. Never `None` while there are other members:
    /// heartbeats go on.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let serving =
            [self.instances.next_timer(), (self.members.members().size() > 1).then(|| self.heartbeats.next_timer())];
        let working = [
            self.certificates.next_timer(),
            self.rejoin.next_timer(),
            self.source.next_timer(),
            self.destination.next_timer(&self.core),
            self.epochs.next_timer(),
        ];
        let working = working.into_iter().filter(|_| !self.mode.halted);
        serving.into_iter().chain(working).fold(None, earlier)
    }

    /// Gauges and counters.
    pub fn status(&self) -> Status {
        Status {
            consensus: self.consensus_status(),
            epoch: self.members.epoch(),
            executed: self.certificates.executed(),
            certified: self.certificates.certified(),
            mempool: self.mempool.len() + self.opaque.len(),
            uncertified: self.certificates.uncertified(),
            early_votes: self.certificates.early_votes(),
            withheld: self.core.out.withheld(),
            packs: self.destination.packs(),
            commits: self.execution.len(),
            replays: self.rejoin.queued(),
            halted: self.mode.halted,
            refusals: self.core.refused.snapshot(),
        }
    }

    /// What verification lanes use now.
    pub fn verify_context(&self) -> Arc<VerifyContext> {
        self.verification.current.clone()
    }

    pub(crate) fn consensus_status(&self) -> ConsensusStatus {
        self.instances.running_ref().map(|instance| instance.status()).unwrap_or_default()
    }

    /// Our place in the plan of `epoch`, as far as it is remembered: the running one otherwise.
    pub(crate) fn members_of(&self, epoch: Epoch) -> Membership {
        let earlier = self.earlier_members.iter().find(|members| members.epoch() == epoch);
        earlier.unwrap_or(&self.members).clone()
    }

    pub(crate) fn run_timers(&mut self) {
        let now = self.core.now;
        self.instances.tick(now);
        if now >= self.heartbeats.next_timer() {
            self.beat();
        }
        if self.mode.halted {
            return;
        }
        let heartbeats = &self.heartbeats;
        self.certificates.tick(&mut self.core, &self.members, |member: MemberIndex, height: Height| {
            heartbeats.lacks(member, height)
        });
        self.source.tick(&mut self.core, &self.members);
        self.destination.tick(&mut self.core);
        self.epochs.tick(&mut self.core);
    }

    /// The periodic heartbeat, and what hearing from others calls for.
    fn beat(&mut self) {
        let status = self.consensus_status();
        let own = own_figures(&self.members, &self.instances, &self.certificates, &status);
        let wants_reply = status.awaiting_peers || !self.rejoin.is_idle();
        self.heartbeats.tick(&mut self.core, &own, wants_reply);
        self.consider_catching_up(&status);
    }

    pub(crate) fn consider_catching_up(&mut self, status: &ConsensusStatus) {
        if self.mode.halted {
            return;
        }
        let own = (self.certificates.executed(), status.highest_accepted);
        self.rejoin.consider(&mut self.core, &self.members, &self.heartbeats, own);
    }

    /// Asks everybody for a heartbeat at once.
    pub(crate) fn ask_for_heartbeats(&mut self) {
        let status = self.consensus_status();
        let own = own_figures(&self.members, &self.instances, &self.certificates, &status);
        for peer in self.members.peers() {
            Heartbeats::send_to(&mut self.core, &own, peer, true);
        }
    }

    /// Stops proposing for good and tells who waits.
    pub(crate) fn stop_proposing(&mut self) {
        self.mempool.refuse_all(Refusal::NotProposing);
        self.opaque.refuse_all(Refusal::NotProposing);
        self.certificates.mute();
    }

    pub(crate) fn refresh_verification(&mut self) {
        let contexts: Vec<Arc<Context>> = self.instances.contexts().cloned().collect();
        self.verification.rebuild(&self.core, &self.members, contexts, &self.earlier_members);
        self.core.out.push(Output::VerifyContextChanged(self.verification.current.clone()));
    }

    pub(crate) fn count_overflows(&mut self) {
        let overflowed = self.core.out.take_overflowed();
        self.core.refused.add(Refused::WithheldOverflow, overflowed);
        let evicted = self.mempool.take_evicted();
        self.core.refused.add(Refused::Evicted, evicted);
    }
}

/// The node's key and the way signatures are checked.
#[derive(Clone)]
pub struct Keys {
    /// Signs blocks, headers, checkpoints and approvals.
    pub signer: Arc<dyn Signer>,
    /// Checks what others signed.
    pub scheme: Arc<dyn SignatureScheme>,
}

/// What goes into a heartbeat.
pub(crate) fn own_figures<'a>(
    members: &'a Membership,
    instances: &Instances,
    certificates: &Certificates,
    consensus: &'a ConsensusStatus,
) -> Own<'a> {
    let durable_at = instances.running_ref().map(|instance| instance.last_own()).unwrap_or_default();
    let (executed, certified) = (certificates.executed(), certificates.certified());
    Own { members, consensus, executed, certified, durable_at }
}

/// The last header of a ledger.
fn head_of(ledger: &LedgerView) -> Option<LedgerHeader> {
    let uncertified = ledger.uncertified.last().map(|made| made.block.header.clone());
    uncertified.or_else(|| ledger.last_certified.as_ref().map(|certified| certified.header.clone()))
}

impl Verification {
    fn new(core: &Core, members: &Membership, ledger: &LedgerView) -> Self {
        let others = ledger.keysets.iter().filter(|(committee, ..)| *committee != members.committee);
        let keysets = others.map(|(committee, _, plan)| (*committee, plan.clone())).collect();
        let cache = VerifiedCache::new(core.config.hash_seed, core.config.verified_cache_max);
        let cache = Arc::new(RwLock::new(cache));
        let context = context_of(core, members);
        let current = Arc::new(snapshot(core, members, vec![context], &keysets, &cache));
        Self { keysets, cache, current }
    }

    fn rebuild(&mut self, core: &Core, members: &Membership, mut contexts: Vec<Arc<Context>>, earlier: &[Membership]) {
        // votes of these epochs are taken even where no consensus runs
        for place in std::iter::once(members).chain(earlier) {
            if !contexts.iter().any(|context| context.epoch == place.epoch()) {
                contexts.push(context_of(core, place));
            }
        }
        self.current = Arc::new(snapshot(core, members, contexts, &self.keysets, &self.cache));
    }
}

fn snapshot(
    core: &Core,
    members: &Membership,
    contexts: Vec<Arc<Context>>,
    keysets: &BTreeMap<shardpay_types::CommitteeId, Arc<Plan>>,
    cache: &Arc<RwLock<VerifiedCache>>,
) -> VerifyContext {
    VerifyContext::new(VerifyParts {
        chain: core.config.chain,
        own: core.config.own,
        plan: members.plan.clone(),
        contexts,
        rules: core.config.rules,
        keysets: keysets.clone(),
        scheme: core.scheme.clone(),
        cache: cache.clone(),
        fingerprint: core.config.fingerprint,
    })
}

impl Past {
    fn new(blocks: Vec<Arc<SealedBlock>>) -> Self {
        let mut stored: BTreeMap<Epoch, Vec<Arc<SealedBlock>>> = BTreeMap::new();
        for block in blocks {
            stored.entry(block.block().epoch).or_default().push(block);
        }
        Self { stored, transitions: 0 }
    }

    /// The stored blocks of `epoch`; earlier ones are forgotten.
    pub(crate) fn take(&mut self, epoch: Epoch) -> Vec<Arc<SealedBlock>> {
        let mut rest = self.stored.split_off(&epoch);
        let blocks = rest.remove(&epoch).unwrap_or_default();
        self.stored = rest;
        blocks
    }

    /// How consensus of the epoch after one that this process saw closing starts. An earlier life may
    /// have got into that epoch and lost the ledger's last batches, so the first transition of a life
    /// asks peers for own blocks like a restart does.
    pub(crate) fn start_of(&mut self, epoch: Epoch) -> Start {
        self.transitions += 1;
        let later = !self.stored.is_empty();
        let blocks = self.take(epoch);
        if later || self.transitions == 1 {
            Start::Restart(Recovered { last_output: Round::ZERO, leaders: Vec::new(), blocks })
        } else {
            Start::NewEpoch
        }
    }
}
