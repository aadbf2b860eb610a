//! Payments, signed before they are needed and kept on disk.
//!
//! Guarantees: the list is a function of the workload alone (ledger, seed, accounts, choice, process), so the
//! same run signs nothing the second time. An account's sequences are consecutive in list order, from 0. A
//! cached segment that is damaged or of another workload is made again.
//!
//! A thread of its own keeps some segments ahead of whoever takes them; all cores sign a segment.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rayon::prelude::*;
use shardpay_crypto::{IdentifiedTransaction, Signer, sha256, transaction_message};
use shardpay_run::Load;
use shardpay_types::{
    Amount, ChainId, Payment, Reference, Sequence, Signature, SignedPayment, Timestamp, Transaction, TxId,
};

use crate::accounts::Accounts;
use crate::amounts::Amounts;
use crate::choice::Chooser;
use crate::random::Chance;
use crate::trace::{Trace, TracePayment};

/// What each payment moves, unless the workload has amounts of its own.
pub const AMOUNT: Amount = Amount::from_micros(1_000);
/// Payments in a segment.
pub const SEGMENT: usize = 16_384;
/// Bytes of a payment in a cached segment.
const RECORD_BYTES: usize = 4 + 4 + 4 + 8 + 64 + 32;
const MAGIC: &[u8; 8] = b"SPAYLOAD";

/// A signed payment in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    /// Number of the paying account.
    pub payer: u32,
    /// Number of the paid one.
    pub payee: u32,
    /// The payer's sequence.
    pub sequence: u32,
    /// What it moves.
    pub amount: Amount,
    signature: Signature,
    /// The payment's id.
    pub txid: TxId,
}

impl Prepared {
    /// The transaction.
    pub fn transaction(&self, accounts: &Accounts) -> IdentifiedTransaction {
        let body = body(accounts, &Drawn::of(self));
        let transaction = Transaction::Payment(SignedPayment { body, signature: self.signature });
        IdentifiedTransaction { transaction, txid: self.txid }
    }
}

/// A payment that is to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Drawn {
    payer: u32,
    payee: u32,
    sequence: u32,
    amount: Amount,
}

impl Drawn {
    const fn of(payment: &Prepared) -> Self {
        let Prepared { payer, payee, sequence, amount, .. } = *payment;
        Self { payer, payee, sequence, amount }
    }
}

fn body(accounts: &Accounts, drawn: &Drawn) -> Payment {
    Payment {
        sender: accounts.names[drawn.payer as usize],
        recipient: accounts.names[drawn.payee as usize],
        amount: drawn.amount,
        sequence: Sequence::new(u64::from(drawn.sequence)),
        valid_until: Timestamp::ZERO,
        reference: Reference::ZERO,
    }
}

/// What a list of payments depends on.
#[derive(Debug, Clone)]
pub struct WorkloadKey([u8; 32]);

impl WorkloadKey {
    /// The key of one process's list; `trace` is the hash of the file that it is read from.
    pub fn new(chain: &ChainId, load: &Load, (process, processes): (usize, usize), trace: Option<&str>) -> Self {
        let choice = serde_json::json!({
            "accounts": load.accounts, "distribution": load.distribution, "cross": load.cross, "seed": load.seed,
            "process": process, "processes": processes, "segment": SEGMENT, "trace": trace,
        });
        let tag = b"shardpay/loadgen/workload/v2\0";
        Self(sha256(&[tag, chain.as_bytes(), choice.to_string().as_bytes()]))
    }

    fn segment_path(&self, cache: &Path, number: usize) -> PathBuf {
        let name = self.0.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>();
        cache.join(name).join(format!("{number:05}.bin"))
    }
}

/// Where payments come from.
enum Source {
    Drawn(Box<Chooser>, Amounts),
    Trace(std::vec::IntoIter<TracePayment>),
}

impl Source {
    /// Payer, payee, amount; a trace ends.
    fn next(&mut self) -> Option<(u32, u32, Amount)> {
        match self {
            Self::Drawn(chooser, amounts) => {
                let (payer, payee) = chooser.draw();
                Some((payer as u32, payee as u32, amounts.draw()))
            }
            Self::Trace(left) => left.next().map(|payment| (payment.payer, payment.payee, payment.amount)),
        }
    }
}

/// Makes the list, segment by segment.
pub struct Producer {
    accounts: Arc<Accounts>,
    chain: ChainId,
    key: WorkloadKey,
    cache: Option<PathBuf>,
    source: Source,
    next_sequences: Vec<u32>,
    made: usize,
    /// Segments that were read from the cache.
    pub hits: usize,
}

impl Producer {
    /// At the start of the list. Without `cache` nothing is kept on disk.
    pub fn new(
        accounts: Arc<Accounts>,
        chain: ChainId,
        load: &Load,
        share: (usize, usize),
        cache: Option<PathBuf>,
    ) -> Self {
        let key = WorkloadKey::new(&chain, load, share, None);
        let chance = Chance::new(load.seed, "choice", share.0 as u64);
        let chooser = Chooser::new(accounts.homes.clone(), &load.distribution, load.cross, share, chance);
        let amounts = Amounts::new(&load.distribution, Chance::new(load.seed, "amounts", share.0 as u64));
        let next_sequences = vec![0; accounts.names.len()];
        let source = Source::Drawn(Box::new(chooser), amounts);
        Self { accounts, chain, key, cache, source, next_sequences, made: 0, hits: 0 }
    }

    /// The payments of a trace instead; the list ends with them.
    pub fn of_trace(self, load: &Load, share: (usize, usize), trace: &Trace) -> Self {
        let key = WorkloadKey::new(&self.chain, load, share, Some(&trace.sha256));
        Self { key, source: Source::Trace(trace.part(share).into_iter()), ..self }
    }

    /// The next segment; an empty one when the list has ended.
    pub fn segment(&mut self) -> Vec<Prepared> {
        let mut drawn: Vec<Drawn> = Vec::with_capacity(SEGMENT);
        while drawn.len() < SEGMENT
            && let Some((payer, payee, amount)) = self.source.next()
        {
            let next = &mut self.next_sequences[payer as usize];
            drawn.push(Drawn { payer, payee, sequence: *next, amount });
            *next += 1;
        }
        if drawn.is_empty() {
            return Vec::new();
        }
        let path = self.cache.as_ref().map(|cache| self.key.segment_path(cache, self.made));
        self.made += 1;
        if let Some(cached) = path.as_deref().and_then(|path| read_segment(path, &self.key, &drawn)) {
            self.hits += 1;
            return cached;
        }
        let segment: Vec<Prepared> = drawn.par_iter().map(|drawn| sign(&self.accounts, &self.chain, drawn)).collect();
        if let Some(path) = path
            && let Err(error) = write_segment(&path, &self.key, &segment)
        {
            tracing::warn!(path = %path.display(), %error, "signed payments are not cached");
            self.cache = None;
        }
        segment
    }
}

fn sign(accounts: &Accounts, chain: &ChainId, drawn: &Drawn) -> Prepared {
    let unsigned = Transaction::Payment(SignedPayment { body: body(accounts, drawn), signature: Signature::ZERO });
    let message = transaction_message(chain, &unsigned);
    let signature = accounts.keys[drawn.payer as usize].sign(&message);
    let Drawn { payer, payee, sequence, amount } = *drawn;
    Prepared { payer, payee, sequence, amount, signature, txid: TxId(sha256(&[&message])) }
}

fn write_segment(path: &Path, key: &WorkloadKey, segment: &[Prepared]) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(72 + segment.len() * RECORD_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&key.0);
    for payment in segment {
        for number in [payment.payer, payment.payee, payment.sequence] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&payment.amount.micros().to_le_bytes());
        bytes.extend_from_slice(&payment.signature.0);
        bytes.extend_from_slice(&payment.txid.0);
    }
    let sum = sha256(&[&bytes]);
    bytes.extend_from_slice(&sum);
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    fs::write(&temporary, bytes)?;
    fs::rename(temporary, path)
}

/// A cached segment, if it is whole and holds exactly what was drawn.
fn read_segment(path: &Path, key: &WorkloadKey, drawn: &[Drawn]) -> Option<Vec<Prepared>> {
    let bytes = fs::read(path).ok()?;
    let (content, sum) = bytes.split_last_chunk::<32>()?;
    let records = content.strip_prefix(MAGIC)?.strip_prefix(&key.0)?;
    if sha256(&[content]) != *sum || records.len() != drawn.len() * RECORD_BYTES {
        return None;
    }
    let number = |record: &[u8], at: usize| record[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let segment = records.chunks_exact(RECORD_BYTES).zip(drawn).map(|(record, drawn)| {
        let (payer, payee, sequence) = (number(record, 0)?, number(record, 4)?, number(record, 8)?);
        let amount = Amount::from_micros(u64::from_le_bytes(*record[12..].first_chunk()?));
        let signature = Signature(*record[20..].first_chunk()?);
        let txid = TxId(*record[84..].first_chunk()?);
        let payment = Prepared { payer, payee, sequence, amount, signature, txid };
        (Drawn::of(&payment) == *drawn).then_some(payment)
    });
    segment.collect()
}

/// Payments that are ready below which more are signed.
pub const READY_MIN: usize = SEGMENT / 2;

/// Takes payments from a list that is made in the background, no more of it than is wanted: signing during a
/// load takes processor time from what is measured.
pub struct Supply {
    orders: Sender<()>,
    segments: Receiver<Vec<Prepared>>,
    ready: VecDeque<Prepared>,
    /// Segments ordered and not received.
    ordered: usize,
    /// The list has no more than is ready.
    ended: bool,
}

impl Supply {
    /// Starts the thread; it signs what is ordered.
    pub fn start(mut producer: Producer) -> std::io::Result<Self> {
        let (orders, ordered) = channel();
        let (sender, segments) = channel();
        let body = move || {
            while ordered.recv().is_ok() && sender.send(producer.segment()).is_ok() {}
        };
        std::thread::Builder::new().name("sign".to_owned()).spawn(body)?;
        Ok(Self { orders, segments, ready: VecDeque::new(), ordered: 0, ended: false })
    }

    /// Blocks until so many payments are ready, or all that there are.
    pub fn fill(&mut self, count: usize) {
        while self.ready.len() < count && !self.ended {
            if self.ordered == 0 {
                self.order();
            }
            let Ok(segment) = self.segments.recv() else { return };
            self.took(segment);
        }
    }

    /// The next payment; `None` when it is not signed yet.
    pub fn take(&mut self) -> Option<Prepared> {
        if self.ready.len() < READY_MIN {
            if let Ok(segment) = self.segments.try_recv() {
                self.took(segment);
            } else if self.ordered == 0 && !self.ended {
                self.order();
            }
        }
        self.ready.pop_front()
    }

    fn order(&mut self) {
        // without its thread there are no more payments, and whoever takes one finds none
        if self.orders.send(()).is_ok() {
            self.ordered += 1;
        }
    }

    fn took(&mut self, segment: Vec<Prepared>) {
        self.ordered -= 1;
        self.ended = segment.is_empty();
        self.ready.extend(segment);
    }
}
