//! Verification: signatures and structure, on threads of their own.
//!
//! Guarantees: what a peer sent and what clients sent never share a batch; a client whose signatures were
//! bad lately shares its batch with nobody, so it slows down only itself. Messages of one peer keep their
//! order. Nothing is dropped here without being counted.

use std::sync::Arc;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use shardpay_consensus::BlockReject;
use shardpay_crypto::{IdentifiedTransaction, Verified, opaque_id, txid};
use shardpay_replica::verify::{CheckedMessage, TransactionReject, check_message, check_opaque, check_transactions};
use shardpay_telemetry::{Stage, names};
use shardpay_transport::Frame;
use shardpay_types::{
    AccountState, ChainId, Codec, NodeId, Opaque, PeerMessage, RejectReason, Transaction, TxAnswer, TxId, TxResult,
};

use crate::bend::Bent;
use crate::config::RuntimeConfig;
use crate::context::ContextCell;
use crate::execution::Ask;
use crate::gate::Gate;
use crate::mail::{Candidate, Fact, Mail};
use crate::metrics::Metrics;
use crate::sessions::Mailbox;

/// A peer's frame that waits for a lane.
pub(crate) struct PeerFrame {
    pub(crate) from: NodeId,
    pub(crate) frame: Frame,
}

/// The entrance of the peer lanes.
#[derive(Clone)]
pub(crate) struct PeerLanes {
    lanes: Vec<Sender<PeerFrame>>,
    metrics: Metrics,
}

impl PeerLanes {
    /// The entrance and the lanes' ends of the queues.
    pub(crate) fn new(config: &RuntimeConfig, metrics: &Metrics) -> (Self, Vec<Receiver<PeerFrame>>) {
        let queues = (0..config.peer_lanes.max(1)).map(|_| bounded(config.limits.peer_frames));
        let (lanes, ends) = queues.unzip();
        (Self { lanes, metrics: metrics.clone() }, ends)
    }

    /// Hands over a frame. A full lane drops it: protocols send again.
    pub(crate) fn push(&self, frame: PeerFrame) {
        let lane = (frame.from.committee.index() + frame.from.member.index()) % self.lanes.len();
        if let Err(TrySendError::Full(_)) = self.lanes[lane].try_send(frame) {
            self.metrics.refuse(names::PEER_REFUSED, "lane_full");
        }
    }

    /// Frames that wait.
    pub(crate) fn depth(&self) -> usize {
        self.lanes.iter().map(Sender::len).sum()
    }
}

/// A lane for peers.
pub(crate) fn run_peers(
    frames: &Receiver<PeerFrame>,
    (context, bent): (&ContextCell, Option<&Bent>),
    core: &Sender<Mail>,
    metrics: &Metrics,
) {
    for PeerFrame { from, frame } in frames {
        let Ok(mut message) = PeerMessage::from_bytes(frame.bytes()) else {
            metrics.refuse(names::PEER_REFUSED, "malformed");
            continue;
        };
        if let Some(bent) = bent {
            let Some(left) = bent.receive(from, message) else { continue };
            message = left;
        }
        let start = Instant::now();
        let heavy = matches!(message, PeerMessage::Blocks(_) | PeerMessage::Pack(_));
        match check_message(&context.get(), from, message) {
            Ok(message) => {
                if let CheckedMessage::Blocks { blocks, rejected, .. } = &message {
                    let transactions = blocks.iter().map(|block| block.block().payload.transaction_count() as u64);
                    metrics.peer_transactions.add(transactions.sum());
                    for reject in rejected {
                        metrics.refuse(names::BLOCKS_REFUSED, label_of(reject));
                    }
                }
                if heavy {
                    metrics.verify_batch.record_duration(start.elapsed());
                }
                if core.send(Mail::Message { from, message, _frame: frame }).is_err() {
                    return;
                }
            }
            Err(reject) => metrics.refuse(names::PEER_REFUSED, &reject.to_string()),
        }
    }
}

/// A label without numbers in it.
const fn label_of(reject: &BlockReject) -> &'static str {
    match reject {
        BlockReject::Decode(_) => "malformed",
        BlockReject::WrongChain => "wrong chain",
        BlockReject::WrongEpoch => "wrong epoch",
        BlockReject::WrongCommittee => "wrong committee",
        BlockReject::UnknownAuthor => "unknown author",
        BlockReject::RoundZero => "round zero",
        BlockReject::BadParents(_) => "bad parents",
        BlockReject::TooFewParents { .. } => "too few parents",
        BlockReject::PackSourceTwice => "two packs of one source",
        BlockReject::OpaqueRefused => "opaque payload",
        BlockReject::BadSignature => "bad signature",
        BlockReject::BadTransaction { .. } => "bad transaction",
    }
}

/// A client's submission that waits for a lane. Its transactions have entered the gate.
pub(crate) struct ClientSubmit {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) work: ClientWork,
    pub(crate) received_at: Instant,
}

/// What a client submits.
pub(crate) enum ClientWork {
    Transactions(Vec<Transaction>),
    Opaque(Vec<Opaque>),
}

impl ClientWork {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Transactions(transactions) => transactions.len(),
            Self::Opaque(payloads) => payloads.len(),
        }
    }

    /// What it takes of the gate: a place per transaction, and per so many bytes of a payload.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Transactions(transactions) => transactions.len(),
            Self::Opaque(payloads) => weight_of(payloads),
        }
    }

    /// The ids of all.
    pub(crate) fn txids(&self, chain: &ChainId) -> Vec<TxId> {
        match self {
            Self::Transactions(transactions) => {
                transactions.iter().map(|transaction| txid(chain, transaction)).collect()
            }
            Self::Opaque(payloads) => payloads.iter().map(|payload| opaque_id(chain, payload)).collect(),
        }
    }
}

/// Bytes of an opaque payload that take a place of the gate.
const PLACE_BYTES: usize = 1_024;

fn weight_of(payloads: &[Opaque]) -> usize {
    payloads.iter().map(|payload| 1 + payload.0.len() / PLACE_BYTES).sum()
}

/// Transactions of one submission.
struct Signed {
    mailbox: Arc<Mailbox>,
    transactions: Vec<Transaction>,
    received_at: Instant,
}

/// A lane for clients.
pub(crate) struct ClientLane {
    pub(crate) submits: Receiver<ClientSubmit>,
    pub(crate) context: ContextCell,
    pub(crate) ledger: Sender<Ask>,
    pub(crate) core: Sender<Fact>,
    pub(crate) gate: Gate,
    pub(crate) config: RuntimeConfig,
    pub(crate) metrics: Metrics,
}

impl ClientLane {
    pub(crate) fn run(self) {
        while let Ok(first) = self.submits.recv() {
            let mut batch = Vec::new();
            let mut alone = Vec::new();
            let mut count = 0;
            let deadline = Instant::now() + self.config.client_batch_wait;
            let mut next = Some(first);
            while let Some(submit) = next.take() {
                count += submit.work.len();
                let ClientSubmit { mailbox, work, received_at } = submit;
                match work {
                    ClientWork::Opaque(payloads) => self.opaque(&mailbox, payloads, received_at),
                    ClientWork::Transactions(transactions) if mailbox.is_suspect() => {
                        alone.push(Signed { mailbox, transactions, received_at });
                    }
                    ClientWork::Transactions(transactions) => {
                        batch.push(Signed { mailbox, transactions, received_at });
                    }
                }
                if count < self.config.client_batch_max {
                    next = self.submits.recv_deadline(deadline).ok();
                }
            }
            self.verify(&batch);
            alone.into_iter().for_each(|submit| self.verify(&[submit]));
        }
    }

    /// Opaque payloads have no signature: what the ledger orders goes straight to the core.
    fn opaque(&self, mailbox: &Mailbox, payloads: Vec<Opaque>, received_at: Instant) {
        let weight = weight_of(&payloads);
        let (mut good, mut bad) = (Vec::with_capacity(payloads.len()), Vec::new());
        for checked in check_opaque(&self.context.get(), payloads) {
            let answer = TxAnswer::Rejected(RejectReason::OpaqueRefused);
            match checked {
                Ok(payload) => good.push(payload),
                Err(txid) => bad.push(TxResult { txid, answer }),
            }
        }
        if good.is_empty() {
            self.gate.leave(weight);
        }
        self.refuse(mailbox, &bad, RejectReason::OpaqueRefused);
        if good.is_empty() {
            return;
        }
        self.metrics.stage(Stage::Verified).record_duration(received_at.elapsed());
        self.metrics.verified.add(good.len() as u64);
        let (client, verified_at) = (mailbox.token(), Instant::now());
        let opaque = Fact::Opaque { client, payloads: good, weight, verified_at };
        if self.core.send(opaque).is_err() {
            tracing::debug!("submissions after the end");
        }
    }

    /// Answers what goes no further.
    fn refuse(&self, mailbox: &Mailbox, bad: &[TxResult], reason: RejectReason) {
        if !bad.is_empty() {
            let reason = reason.to_string();
            self.metrics.recorder.counter_of(names::TRANSACTIONS_REFUSED, &reason).add(bad.len() as u64);
            mailbox.push(bad);
        }
    }

    fn verify(&self, batch: &[Signed]) {
        if batch.is_empty() {
            return;
        }
        let start = Instant::now();
        let all: Vec<Transaction> = batch.iter().flat_map(|submit| &submit.transactions).copied().collect();
        let mut verdicts = check_transactions(&self.context.get(), &all).into_iter();
        let verified_at = Instant::now();
        self.metrics.verify_batch.record_duration(verified_at - start);
        let mut good = Vec::with_capacity(all.len());
        for submit in batch {
            let verdicts = verdicts.by_ref().take(submit.transactions.len());
            self.sort_out(submit, verdicts.collect(), verified_at, &mut good);
            self.metrics.stage(Stage::Verified).record_duration(verified_at - submit.received_at);
        }
        self.metrics.verified.add(good.len() as u64);
        if !good.is_empty() && self.ledger.send(Ask::Accounts(good)).is_err() {
            tracing::debug!("submissions after the end");
        }
    }

    /// The good ones go on; the bad ones are answered and remembered against their stream.
    fn sort_out(
        &self,
        submit: &Signed,
        verdicts: Vec<Result<Verified<IdentifiedTransaction>, TransactionReject>>,
        verified_at: Instant,
        good: &mut Vec<Candidate>,
    ) {
        let mut bad = Vec::new();
        for (transaction, verdict) in submit.transactions.iter().zip(verdicts) {
            match verdict {
                Ok(transaction) => {
                    let (client, sender) = (submit.mailbox.token(), AccountState::EMPTY);
                    good.push(Candidate { client, transaction, sender, verified_at });
                }
                Err(TransactionReject::BadSignature) => {
                    let identified = IdentifiedTransaction::new(&self.context.get().chain(), *transaction);
                    let answer = TxAnswer::Rejected(RejectReason::BadSignature);
                    bad.push(TxResult { txid: identified.txid, answer });
                }
            }
        }
        if !bad.is_empty() {
            self.gate.leave(bad.len());
            submit.mailbox.suspect();
        }
        self.refuse(&submit.mailbox, &bad, RejectReason::BadSignature);
    }
}
