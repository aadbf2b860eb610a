//! What a run sends: payments of its accounts, or opaque payloads.

use std::sync::Arc;

use anyhow::{Result, bail};
use shardpay_crypto::{IdentifiedOpaque, IdentifiedTransaction};
use shardpay_run::Rate;
use shardpay_types::{ChainId, CommitteeId, Constants, Opaque, TxId};

use crate::accounts::Accounts;
use crate::amounts::Amounts;
use crate::drive::Plan;
use crate::fund;
use crate::held::{Held, NoPayment};
use crate::network::Network;
use crate::progress::{Phase, Progress};
use crate::series::Series;
use crate::trace::Trace;
use crate::tracker::Tracker;
use crate::workload::{Producer, Supply};

/// Where a run's transactions come from.
pub enum Source {
    /// Signed payments.
    Payments {
        /// Who pays.
        accounts: Arc<Accounts>,
        /// In the order of the list.
        supply: Supply,
        /// Those whose payers have no room.
        held: Held,
    },
    /// Bytes that mean nothing.
    Opaque(Payloads),
}

/// What is sent.
pub enum Item {
    /// A payment.
    Payment(IdentifiedTransaction),
    /// An opaque payload.
    Opaque(IdentifiedOpaque),
}

/// The next one.
pub struct Next {
    /// Its id.
    pub txid: TxId,
    /// Number of the paying account, if any.
    pub payer: Option<u32>,
    /// Who decides it, and who credits it.
    pub path: (CommitteeId, CommitteeId),
    /// What to send.
    pub item: Item,
}

impl Source {
    /// The next transaction, or why there is none.
    pub fn next(&mut self, tracker: &Tracker) -> Result<Next, NoPayment> {
        match self {
            Self::Payments { accounts, supply, held } => {
                let payment = held.next(tracker, supply)?;
                let home = |number: u32| accounts.homes[number as usize];
                let path = (home(payment.payer), home(payment.payee));
                let item = Item::Payment(payment.transaction(accounts));
                Ok(Next { txid: payment.txid, payer: Some(payment.payer), path, item })
            }
            Self::Opaque(payloads) => {
                let (committee, payload) = payloads.make();
                let txid = payload.txid;
                Ok(Next { txid, payer: None, path: (committee, committee), item: Item::Opaque(payload) })
            }
        }
    }

    /// To be called when payments were debited.
    pub fn look(&mut self, tracker: &Tracker) {
        if let Self::Payments { held, .. } = self {
            held.look(tracker);
        }
    }

    /// Waits until so many payments are signed. Payloads are made when they are sent.
    pub fn fill(&mut self, count: usize) {
        if let Self::Payments { supply, .. } = self {
            supply.fill(count);
        }
    }
}

/// Accounts with coins and signed payments; with a trace, when its payments are due.
pub async fn payments(
    plan: &Plan,
    network: &mut Network,
    progress: &mut Progress,
    series: &mut Series,
) -> Result<(Source, Option<Vec<f64>>)> {
    let load = &plan.spec.load;
    let (process, processes) = plan.share;
    let genesis = network.client.genesis().clone();
    let trace = match &load.rate {
        Rate::Trace { file, speed } => Some(Trace::load(file, *speed, genesis.constants.amount_min)?),
        _ => None,
    };
    let named = trace.as_ref().map_or(0, |trace| trace.accounts);
    if named > load.accounts {
        bail!("load.accounts = {}: the trace names {named} accounts", load.accounts);
    }
    let funds = trace.as_ref().map_or_else(|| Amounts::funds(&load.distribution), Trace::paid_most);
    let accounts = Arc::new(Accounts::new(&genesis, load.seed, load.accounts).funded_with(funds));
    let mut producer = Producer::new(accounts.clone(), *network.client.chain(), load, plan.share, plan.cache.clone());
    let mut times = None;
    if let Some(trace) = trace {
        trace.keep(plan.out.root())?;
        producer = producer.of_trace(load, plan.share, &trace);
        times = Some(trace.part(plan.share).iter().map(|payment| payment.at_s).collect());
    }
    let supply = Supply::start(producer)?;
    if let Some(issuer) = &plan.issuer {
        fund::check(&genesis, &accounts, issuer)?;
        series.phase(Phase::Fund);
        series.write();
        let own: Vec<usize> = (process..load.accounts).step_by(processes).collect();
        fund::fund(network, &accounts, issuer, &own, progress).await?;
    }
    Ok((Source::Payments { accounts, supply, held: Held::default() }, times))
}

/// Makes payloads: each holds its number, and is the only one with it in the run; the rest is noise that no store can
/// compress.
pub struct Payloads {
    chain: ChainId,
    len: usize,
    seed: u64,
    number: u64,
    step: u64,
    committees: usize,
}

impl Payloads {
    /// Payloads of `len` bytes for one process of several; refused by what the genesis plan says.
    pub fn new(
        (chain, constants, committees): (ChainId, &Constants, usize),
        len: usize,
        seed: u64,
        (process, processes): (usize, usize),
    ) -> Result<Self> {
        let max = constants.opaque_bytes_max;
        if len > max as usize {
            bail!("load.payload = {len}: the genesis plan allows opaque payloads of {max} bytes (0: none)");
        }
        Ok(Self { chain, len, seed, number: process as u64, step: processes as u64, committees })
    }

    /// The next payload and who orders it.
    pub fn make(&mut self) -> (CommitteeId, IdentifiedOpaque) {
        let number = self.number;
        self.number += self.step;
        let mut bytes = Vec::with_capacity(self.len + 8);
        bytes.extend_from_slice(&number.to_le_bytes());
        let mut noise = self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        while bytes.len() < self.len {
            // xorshift64*, as the sizes here ask for speed and nothing else
            noise ^= noise >> 12;
            noise ^= noise << 25;
            noise ^= noise >> 27;
            bytes.extend_from_slice(&noise.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        bytes.truncate(self.len);
        let committee = CommitteeId::at((number / self.step % self.committees as u64) as usize);
        (committee, IdentifiedOpaque::new(&self.chain, Opaque(bytes.into())))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn payloads(len: usize, share: (usize, usize), allowed: u32) -> Result<Payloads> {
        let constants = Constants { opaque_bytes_max: allowed, ..Constants::standard(3) };
        Payloads::new((ChainId([1; 32]), &constants, 3), len, 7, share)
    }

    #[test]
    fn payloads_of_all_processes_differ_and_go_to_all_committees() {
        let mut seen = BTreeSet::new();
        for process in 0..2 {
            let mut payloads = payloads(20, (process, 2), 20).unwrap();
            let mut counts = [0; 3];
            for _ in 0..300 {
                let (committee, payload) = payloads.make();
                counts[committee.index()] += 1;
                assert_eq!(payload.payload.0.len(), 20);
                assert!(seen.insert((payload.payload.0.to_vec(), payload.txid)));
            }
            assert_eq!(counts, [100; 3]);
        }
    }

    #[test]
    fn the_genesis_plan_must_allow_them() {
        for (len, allowed) in [(512, 0), (512, 511)] {
            let refused = payloads(len, (0, 1), allowed).err().expect("refused").to_string();
            assert!(refused.contains("genesis plan allows"), "{refused}");
        }
        assert!(payloads(512, (0, 1), 512).is_ok());
    }
}
