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
use crate::choice::Chooser;
use crate::random::Chance;

/// What each payment moves.
pub const AMOUNT: Amount = Amount::from_micros(1_000);
/// Payments in a segment.
pub const SEGMENT: usize = 16_384;
/// Bytes of a payment in a cached segment.
const RECORD_BYTES: usize = 4 + 4 + 4 + 64 + 32;
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
    signature: Signature,
    /// The payment's id.
    pub txid: TxId,
}

impl Prepared {
    /// The transaction.
    pub fn transaction(&self, accounts: &Accounts) -> IdentifiedTransaction {
        let body = body(accounts, self.payer, self.payee, self.sequence);
        let transaction = Transaction::Payment(SignedPayment { body, signature: self.signature });
        IdentifiedTransaction { transaction, txid: self.txid }
    }
}

fn body(accounts: &Accounts, payer: u32, payee: u32, sequence: u32) -> Payment {
    Payment {
        sender: accounts.names[payer as usize],
        recipient: accounts.names[payee as usize],
        amount: AMOUNT,
        sequence: Sequence::new(u64::from(sequence)),
        valid_until: Timestamp::ZERO,
        reference: Reference::ZERO,
    }
}

/// What a list of payments depends on.
#[derive(Debug, Clone)]
pub struct WorkloadKey([u8; 32]);

impl WorkloadKey {
    /// The key of one process's list.
    pub fn new(chain: &ChainId, load: &Load, (process, processes): (usize, usize)) -> Self {
        let choice = serde_json::json!({
            "accounts": load.accounts, "distribution": load.distribution, "cross": load.cross, "seed": load.seed,
            "process": process, "processes": processes, "segment": SEGMENT,
        });
        let tag = b"shardpay/loadgen/workload/v1\0";
        Self(sha256(&[tag, chain.as_bytes(), choice.to_string().as_bytes()]))
    }

    fn segment_path(&self, cache: &Path, number: usize) -> PathBuf {
        let name = self.0.iter().take(16).map(|byte| format!("{byte:02x}")).collect::<String>();
        cache.join(name).join(format!("{number:05}.bin"))
    }
}

/// Makes the list, segment by segment.
pub struct Producer {
    accounts: Arc<Accounts>,
    chain: ChainId,
    key: WorkloadKey,
    cache: Option<PathBuf>,
    chooser: Chooser,
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
        let key = WorkloadKey::new(&chain, load, share);
        let chance = Chance::new(load.seed, "choice", share.0 as u64);
        let chooser = Chooser::new(accounts.homes.clone(), &load.distribution, load.cross, share, chance);
        let next_sequences = vec![0; accounts.names.len()];
        Self { accounts, chain, key, cache, chooser, next_sequences, made: 0, hits: 0 }
    }

    /// The next segment.
    pub fn segment(&mut self) -> Vec<Prepared> {
        let drawn: Vec<(u32, u32, u32)> = (0..SEGMENT)
            .map(|_| {
                let (payer, payee) = self.chooser.draw();
                let sequence = self.next_sequences[payer];
                self.next_sequences[payer] += 1;
                (payer as u32, payee as u32, sequence)
            })
            .collect();
        let path = self.cache.as_ref().map(|cache| self.key.segment_path(cache, self.made));
        self.made += 1;
        if let Some(cached) = path.as_deref().and_then(|path| read_segment(path, &self.key, &drawn)) {
            self.hits += 1;
            return cached;
        }
        let segment: Vec<Prepared> = drawn.par_iter().map(|drawn| self.sign(*drawn)).collect();
        if let Some(path) = path
            && let Err(error) = write_segment(&path, &self.key, &segment)
        {
            tracing::warn!(path = %path.display(), %error, "signed payments are not cached");
            self.cache = None;
        }
        segment
    }

    fn sign(&self, (payer, payee, sequence): (u32, u32, u32)) -> Prepared {
        let body = body(&self.accounts, payer, payee, sequence);
        let unsigned = Transaction::Payment(SignedPayment { body, signature: Signature::ZERO });
        let message = transaction_message(&self.chain, &unsigned);
        let signature = self.accounts.keys[payer as usize].sign(&message);
        Prepared { payer, payee, sequence, signature, txid: TxId(sha256(&[&message])) }
    }
}

fn write_segment(path: &Path, key: &WorkloadKey, segment: &[Prepared]) -> std::io::Result<()> {
    let mut bytes = Vec::with_capacity(72 + segment.len() * RECORD_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&key.0);
    for payment in segment {
        for number in [payment.payer, payment.payee, payment.sequence] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
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
fn read_segment(path: &Path, key: &WorkloadKey, drawn: &[(u32, u32, u32)]) -> Option<Vec<Prepared>> {
    let bytes = fs::read(path).ok()?;
    let (content, sum) = bytes.split_last_chunk::<32>()?;
    let records = content.strip_prefix(MAGIC)?.strip_prefix(&key.0)?;
    if sha256(&[content]) != *sum || records.len() != drawn.len() * RECORD_BYTES {
        return None;
    }
    let number = |record: &[u8], at: usize| record[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let segment = records.chunks_exact(RECORD_BYTES).zip(drawn).map(|(record, drawn)| {
        let (payer, payee, sequence) = (number(record, 0)?, number(record, 4)?, number(record, 8)?);
        let signature = Signature(*record[12..].first_chunk()?);
        let txid = TxId(*record[76..].first_chunk()?);
        ((payer, payee, sequence) == *drawn).then_some(Prepared { payer, payee, sequence, signature, txid })
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
        Ok(Self { orders, segments, ready: VecDeque::new(), ordered: 0 })
    }

    /// Blocks until so many payments are ready.
    pub fn fill(&mut self, count: usize) {
        while self.ready.len() < count {
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
            } else if self.ordered == 0 {
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
        self.ready.extend(segment);
    }
}
