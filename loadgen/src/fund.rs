//! The funding of accounts by mints, before anything is measured.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use shardpay_client::SubmitEvent;
use shardpay_crypto::{IdentifiedTransaction, Keypair, Signer};
use shardpay_types::{CommitteeId, Plan, TxId};

use crate::accounts::Accounts;
use crate::network::{Happening, Network};
use crate::progress::Progress;

/// Mints in flight per committee: enough to keep a committee busy.
const IN_FLIGHT: usize = 4_096;
/// How long nothing may be certified.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Refuses what the ledger's rules do not allow.
pub fn check(plan: &Plan, accounts: &Accounts, issuer: &Keypair) -> Result<()> {
    if issuer.public_key() != plan.issuer {
        bail!("the issuer's seed gives key {}, the genesis plan names {}", issuer.public_key(), plan.issuer);
    }
    for committee in plan.committee_ids() {
        let count = accounts.homes.iter().filter(|home| **home == committee).count();
        let needed = u128::from(accounts.funds.micros()) * count as u128;
        let cap = u128::from(plan.constants.mint_cap.micros());
        if needed > cap {
            bail!("committee {committee}: {count} accounts need {needed} micro-units, the mint cap is {cap}");
        }
    }
    Ok(())
}

/// Mints to the accounts with these numbers and waits until every mint is certified.
pub async fn fund(
    network: &mut Network,
    accounts: &Accounts,
    issuer: &Keypair,
    numbers: &[usize],
    progress: &mut Progress,
) -> Result<()> {
    let (plan, chain) = (network.client.genesis().clone(), *network.client.chain());
    let mints = accounts.mints(&plan, &chain, issuer, numbers);
    let mut queues: Vec<Vec<IdentifiedTransaction>> = vec![Vec::new(); plan.committees.len()];
    for (number, mint) in numbers.iter().zip(mints) {
        queues[accounts.homes[*number].index()].push(IdentifiedTransaction::new(&chain, mint));
    }
    let total = numbers.len();
    let mut open: HashSet<TxId> = HashSet::with_capacity(total);
    let mut in_flight = vec![0usize; queues.len()];
    let (mut done, mut last) = (0, Instant::now());
    while done < total {
        for (committee, queue) in queues.iter_mut().enumerate() {
            let count = queue.len().min(IN_FLIGHT.saturating_sub(in_flight[committee]));
            if count >= 256.min(queue.len()) && count > 0 {
                let batch = queue.split_off(queue.len() - count);
                open.extend(batch.iter().map(|mint| mint.txid));
                in_flight[committee] += count;
                if let Err(batch) = network.submitter(CommitteeId::at(committee)).try_submit(batch) {
                    in_flight[committee] -= count;
                    queue.extend(batch);
                }
            }
        }
        match tokio::time::timeout(Duration::from_secs(1), network.next()).await {
            Ok(Some(Happening::Block(committee, block, _))) => {
                let minted: Vec<TxId> = block.txids.into_iter().filter(|txid| open.remove(txid)).collect();
                if !minted.is_empty() {
                    done += minted.len();
                    in_flight[committee.index()] -= minted.len();
                    last = Instant::now();
                    network.submitter(committee).settle(minted);
                }
            }
            Ok(Some(Happening::Submissions(events))) => {
                for event in events {
                    if let SubmitEvent::Refused(_, reason) = event {
                        bail!("a mint was refused: {reason} (were accounts of this seed funded before?)");
                    }
                }
            }
            Ok(Some(Happening::Opaque(_))) => {}
            Ok(None) => bail!("the runtime is shutting down"),
            Err(_) => {}
        }
        if last.elapsed() > STALL_MAX {
            bail!("funding stands still: {done} of {total} mints are certified");
        }
        progress.funding(done, total);
    }
    Ok(())
}
