//! What is in flight, and what certified blocks say of it.
//!
//! A payment within a committee ends with the certificate of its leaf; one to another committee with the
//! certificate of its *credit* at the destination, the time of its debit recorded beside it. The two can
//! be seen in either order, as two streams tell of them. Latencies count from the intended time.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use shardpay_client::VerifiedBlock;
use shardpay_run::{Ack, AckKind, LatencyKind, LatencyTag, SecondCounts};
use shardpay_types::{CommitteeId, CreditOutcome, LedgerItem, Outcome, TxId};

use crate::latencies::Latencies;

/// A payment in flight.
#[derive(Debug, Clone, Copy)]
pub struct Flight {
    /// When it was to be sent.
    pub intended: Instant,
    /// Number of the paying account; an opaque payload has none.
    pub payer: Option<u32>,
    /// Who decides it.
    pub source: CommitteeId,
    /// Who credits it.
    pub destination: CommitteeId,
    /// Whether it belongs to the load, not to a probe.
    pub measured: bool,
    debited: bool,
    credited: bool,
}

impl Flight {
    /// A payment about to be sent.
    pub fn new(intended: Instant, payer: Option<u32>, (source, destination): (CommitteeId, CommitteeId)) -> Self {
        Self { intended, payer, source, destination, measured: false, debited: false, credited: false }
    }
}

/// What a block did to the payments in flight.
#[derive(Debug, Default)]
pub struct Seen {
    /// To be acknowledged.
    pub acks: Vec<Ack>,
    /// Debited: the submitter need not keep them.
    pub debited: Vec<TxId>,
}

/// All payments in flight, and the figures of those that ended.
pub struct Tracker {
    flights: HashMap<TxId, Flight, foldhash::fast::FixedState>,
    /// In flight at its own committee, by paying account.
    windows: Vec<u16>,
    /// Accounts whose sequence is stuck behind a refused payment.
    dead: Vec<bool>,
    /// Latencies from intended times.
    pub latencies: Latencies,
    /// Refused for good, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Payments that reached their end, probes included.
    pub certified: u64,
    /// Counts of the current second.
    pub second: SecondCounts,
}

impl Tracker {
    /// Nothing in flight.
    pub fn new(accounts: usize) -> Self {
        Self {
            flights: HashMap::default(),
            windows: vec![0; accounts],
            dead: vec![false; accounts],
            latencies: Latencies::default(),
            refusals: BTreeMap::new(),
            certified: 0,
            second: SecondCounts::default(),
        }
    }

    /// How many are in flight.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// How many of an account wait for their debit.
    pub fn window(&self, payer: u32) -> u16 {
        self.windows[payer as usize]
    }

    /// Whether an account can pay no more.
    pub fn is_dead(&self, payer: u32) -> bool {
        self.dead[payer as usize]
    }

    /// Takes a payment up.
    pub fn sent(&mut self, txid: TxId, flight: Flight) {
        if let Some(payer) = flight.payer {
            self.windows[payer as usize] += 1;
        }
        self.second.sent += u64::from(flight.measured);
        self.flights.insert(txid, flight);
    }

    /// A payment was refused for good.
    pub fn refused(&mut self, txid: &TxId, reason: &str) {
        if let Some(flight) = self.flights.remove(txid) {
            if !flight.debited {
                self.leave_window(flight.payer);
            }
            if let Some(payer) = flight.payer {
                self.dead[payer as usize] = true;
            }
            *self.refusals.entry(reason.to_owned()).or_default() += 1;
        }
    }

    /// Counts what a certified block says.
    pub fn block(&mut self, block: &VerifiedBlock, now: Instant) -> Seen {
        let header = &block.certified.header;
        let mut seen = Seen::default();
        let mut txids = block.txids.iter();
        let mut leaf = 0;
        let ack = |txid, leaf, kind| Ack { txid, committee: header.committee, height: header.height, leaf, kind };
        for item in &block.items {
            match item {
                LedgerItem::Transaction(executed) => {
                    let txid = *txids.next().expect("one id per transaction");
                    if self.debit(&txid, executed.outcome, now) {
                        seen.debited.push(txid);
                        if executed.outcome == Outcome::Applied {
                            seen.acks.push(ack(txid, leaf, AckKind::Debit));
                        }
                    }
                }
                LedgerItem::Opaque(_) => {
                    let txid = *txids.next().expect("one id per opaque payload");
                    if self.debit(&txid, Outcome::Applied, now) {
                        seen.debited.push(txid);
                        seen.acks.push(ack(txid, leaf, AckKind::Debit));
                    }
                }
                LedgerItem::Pack(executed) => {
                    for (number, (message, credit)) in
                        (leaf..).zip(executed.pack.messages.iter().zip(&executed.credits))
                    {
                        if self.credit(&message.txid, credit.outcome, header.committee, now) {
                            seen.acks.push(ack(message.txid, number, AckKind::Credit));
                        }
                    }
                }
                LedgerItem::Closing(_) | LedgerItem::EpochChange(_) => {}
            }
            leaf += item.leaf_count() as u32;
        }
        seen
    }

    /// True when it was in flight.
    fn debit(&mut self, txid: &TxId, outcome: Outcome, now: Instant) -> bool {
        let Some(flight) = self.flights.get_mut(txid).filter(|flight| !flight.debited) else { return false };
        flight.debited = true;
        let flight = *flight;
        self.leave_window(flight.payer);
        if outcome == Outcome::ShortBalance {
            self.flights.remove(txid);
            *self.refusals.entry("short balance".to_owned()).or_default() += 1;
            return true;
        }
        let kind = if flight.source == flight.destination { LatencyKind::Intra } else { LatencyKind::CrossDebit };
        self.record(&flight, kind, flight.source, now);
        if kind == LatencyKind::Intra || flight.credited {
            self.finish(txid);
        }
        true
    }

    /// True when it was in flight and applied.
    fn credit(&mut self, txid: &TxId, outcome: CreditOutcome, at: CommitteeId, now: Instant) -> bool {
        let Some(flight) = self.flights.get_mut(txid) else { return false };
        if at != flight.destination || flight.credited {
            return false;
        }
        flight.credited = true;
        let flight = *flight;
        if outcome != CreditOutcome::Applied {
            *self.refusals.entry("credit returned".to_owned()).or_default() += 1;
            self.flights.remove(txid);
            return false;
        }
        self.record(&flight, LatencyKind::CrossCredit, at, now);
        if flight.debited {
            self.finish(txid);
        }
        true
    }

    fn finish(&mut self, txid: &TxId) {
        if let Some(flight) = self.flights.remove(txid) {
            self.certified += 1;
            self.second.certified += u64::from(flight.measured);
        }
    }

    fn record(&mut self, flight: &Flight, kind: LatencyKind, committee: CommitteeId, now: Instant) {
        self.latencies.record(LatencyTag { kind, committee }, (flight.intended, now), flight.measured);
    }

    fn leave_window(&mut self, payer: Option<u32>) {
        let Some(payer) = payer else { return };
        let window = &mut self.windows[payer as usize];
        *window = window.saturating_sub(1);
    }

    /// Ends everything that is in flight without a result; says how much of it belongs to the load.
    pub fn give_up(&mut self) -> u64 {
        let left = self.flights.values().filter(|flight| flight.measured).count() as u64;
        self.flights.clear();
        left
    }
}

/// The time a latency of `histogram` stays below with probability `quantile`, in milliseconds.
pub fn quantile_ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    Duration::from_micros(histogram.value_at_quantile(quantile)).as_secs_f64() * 1_000.0
}
