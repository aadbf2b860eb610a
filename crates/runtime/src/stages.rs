//! How long payments take from stage to stage, by samples of what this node's own clients submit.
//!
//! One transaction in [`SAMPLE_EVERY`] is followed from its verification to its certificate; the choice is
//! a function of the transaction alone, so that whoever meets it knows without looking it up. Costs a
//! byte's comparison for all others.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use shardpay_crypto::{Commit, IdentifiedOpaque, opaque_id, txid};
use shardpay_telemetry::Stage;
use shardpay_types::{Block, ChainId, Height, Opaque, Transaction, TxId};

use crate::metrics::Metrics;

/// One in that many is followed.
const SAMPLE_EVERY: u8 = 32;
/// Samples under way at most.
const SAMPLES_MAX: usize = 4_096;
/// Given up after that long.
const FORGET_AFTER: Duration = Duration::from_secs(60);

#[derive(Clone, Copy)]
struct Sample {
    reached: Stage,
    at: Instant,
}

/// The samples under way.
pub(crate) struct Stages {
    chain: ChainId,
    metrics: Metrics,
    samples: HashMap<TxId, Sample>,
    executed: BTreeMap<Height, Vec<Instant>>,
}

/// Whether a transaction is followed.
fn is_sample(transaction: &Transaction) -> bool {
    transaction.signature().0[0].is_multiple_of(SAMPLE_EVERY)
}

fn is_sample_opaque(payload: &Opaque) -> bool {
    payload.0.first().is_some_and(|first| first.is_multiple_of(SAMPLE_EVERY))
}

impl Stages {
    pub(crate) fn new(chain: ChainId, metrics: Metrics) -> Self {
        Self { chain, metrics, samples: HashMap::new(), executed: BTreeMap::new() }
    }

    /// A client's transaction passed verification.
    pub(crate) fn verified(&mut self, transaction: &Transaction, id: TxId, at: Instant) {
        if is_sample(transaction) && self.samples.len() < SAMPLES_MAX {
            self.samples.insert(id, Sample { reached: Stage::Verified, at });
        }
    }

    /// A client's opaque payload came in.
    pub(crate) fn opaque_verified(&mut self, payload: &IdentifiedOpaque, at: Instant) {
        if is_sample_opaque(&payload.payload) && self.samples.len() < SAMPLES_MAX {
            self.samples.insert(payload.txid, Sample { reached: Stage::Verified, at });
        }
    }

    /// An own block was made.
    pub(crate) fn proposed(&mut self, block: &Block) {
        self.met(block, Stage::Proposed);
    }

    /// A commit goes to the ledger.
    pub(crate) fn committed(&mut self, commit: &Commit, is_own: impl Fn(&Block) -> bool) {
        for block in commit.blocks.iter().map(|sealed| sealed.block()).filter(|block| is_own(block)) {
            self.met(block, Stage::Committed);
        }
    }

    fn met(&mut self, block: &Block, stage: Stage) {
        if self.samples.is_empty() {
            return;
        }
        let now = Instant::now();
        let transactions = block.payload.transactions.iter().filter(|transaction| is_sample(transaction));
        let transactions = transactions.map(|transaction| txid(&self.chain, transaction));
        let opaque = block.payload.opaque.iter().filter(|payload| is_sample_opaque(payload));
        let opaque = opaque.map(|payload| opaque_id(&self.chain, payload));
        for id in transactions.chain(opaque) {
            if let Some(sample) = self.samples.get_mut(&id) {
                reach(&self.metrics, sample, stage, now);
            }
        }
    }

    /// A transaction left a leaf.
    pub(crate) fn executed(&mut self, id: &TxId, height: Height) {
        if let Some(mut sample) = self.samples.remove(id) {
            let now = Instant::now();
            reach(&self.metrics, &mut sample, Stage::Executed, now);
            self.executed.entry(height).or_default().push(now);
        }
    }

    /// A transaction was refused.
    pub(crate) fn refused(&mut self, id: &TxId) {
        self.samples.remove(id);
    }

    /// A height is certified.
    pub(crate) fn certified(&mut self, height: Height) {
        let now = Instant::now();
        let later = self.executed.split_off(&height.next());
        for at in std::mem::replace(&mut self.executed, later).into_values().flatten() {
            self.metrics.stage(Stage::Certified).record_duration(now - at);
        }
    }

    /// Gives up samples that got stuck. Called now and then.
    pub(crate) fn forget_old(&mut self) {
        self.samples.retain(|_, sample| sample.at.elapsed() < FORGET_AFTER);
    }
}

fn reach(metrics: &Metrics, sample: &mut Sample, stage: Stage, now: Instant) {
    if stage > sample.reached {
        metrics.stage(stage).record_duration(now - sample.at);
        *sample = Sample { reached: stage, at: now };
    }
}
