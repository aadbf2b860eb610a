//! What must hold between the committees.

use std::collections::{HashMap, HashSet};

use shardpay_types::{CommitteeId, OutboxMessage};

use crate::committee::CommitteeFacts;
use crate::verdict::{CheckName, Findings};

/// Checks messages, supply and transaction ids over all committees.
pub(crate) fn check(facts: &[CommitteeFacts], findings: &mut Findings) {
    for destination in facts {
        for (source, consumed) in &destination.received {
            messages(facts, (*source, destination), consumed, findings);
        }
    }
    supply(facts, findings);
    once(facts, findings);
}

/// What a destination consumed must be what the source sent, from the first message on.
fn messages(
    facts: &[CommitteeFacts],
    (source, at): (CommitteeId, &CommitteeFacts),
    consumed: &[OutboxMessage],
    findings: &mut Findings,
) {
    let destination = at.committee;
    let origin = facts.iter().find(|facts| facts.committee == source);
    let sent = origin.and_then(|facts| facts.sent.get(&destination));
    let sent = sent.map_or(&[][..], Vec::as_slice);
    findings.figure(CheckName::MessagesBetweenCommittees, "consumed", consumed.len() as u64);
    findings.require(consumed.len() <= sent.len(), CheckName::MessagesBetweenCommittees, || {
        let under = proof(at, origin, source, sent.len());
        format!("{source} to {destination}: {} consumed, {} sent{under}", consumed.len(), sent.len())
    });
    for (index, (got, gave)) in consumed.iter().zip(sent).enumerate() {
        findings.require(got == gave, CheckName::MessagesBetweenCommittees, || {
            let under = proof(at, origin, source, index);
            format!("{source} to {destination}, message {index}: sent {gave:?}, consumed {got:?}{under}")
        });
    }
}

/// Under which header of its source a message was consumed, and which one the source has there.
fn proof(at: &CommitteeFacts, origin: Option<&CommitteeFacts>, source: CommitteeId, index: usize) -> String {
    let proofs = at.proven.get(&source).map_or(&[][..], Vec::as_slice);
    let Some((_, height, hash)) = proofs.iter().rev().find(|(first, ..)| *first <= index) else {
        return String::new();
    };
    let place = usize::try_from(height.get()).ok().and_then(|height| height.checked_sub(1));
    let found = origin.zip(place).and_then(|(origin, place)| origin.hashes.get(place));
    match found {
        Some(found) if found != hash => {
            format!("; under the certified header {hash} of height {height}, where committee {source} has {found}")
        }
        _ => format!("; under the certified header {hash} of height {height}"),
    }
}

/// Σ balances + Σ (sent − received) + Σ suspense = Σ minted − Σ burned.
fn supply(facts: &[CommitteeFacts], findings: &mut Findings) {
    let sum = |part: fn(&CommitteeFacts) -> u128| facts.iter().map(part).sum::<u128>();
    let balances = sum(|facts| facts.totals.balances.micros());
    let (sent, received) = (sum(|facts| facts.totals.sent.micros()), sum(|facts| facts.totals.received.micros()));
    let suspense = sum(|facts| facts.totals.suspense.micros());
    let (minted, burned) = (sum(|facts| facts.totals.minted.micros()), sum(|facts| facts.totals.burned.micros()));
    findings.require(received <= sent, CheckName::SupplyOverSystem, || format!("{received} received, {sent} sent"));
    findings.require(balances + sent + suspense + burned == minted + received, CheckName::SupplyOverSystem, || {
        format!("balances {balances} + sent {sent} − received {received} + suspense {suspense} ≠ minted {minted} − burned {burned}")
    });
    let figure = |micros: u128| u64::try_from(micros).unwrap_or(u64::MAX);
    findings.figure(CheckName::SupplyOverSystem, "balances", figure(balances));
    findings.figure(CheckName::SupplyOverSystem, "in_flight", figure(sent.saturating_sub(received)));
    findings.figure(CheckName::SupplyOverSystem, "minted", figure(minted));
    let waiting = facts.iter().flat_map(|source| source.sent.values()).map(Vec::len).sum::<usize>();
    let arrived = facts.iter().flat_map(|facts| facts.received.values()).map(Vec::len).sum::<usize>();
    findings.figure(CheckName::MessagesBetweenCommittees, "in_flight", waiting.saturating_sub(arrived) as u64);
}

/// No transaction id twice, as a transaction or as a credit.
fn once(facts: &[CommitteeFacts], findings: &mut Findings) {
    let mut seen = HashMap::new();
    for facts in facts {
        for txid in &facts.executed {
            if let Some(first) = seen.insert(*txid, facts.committee) {
                let second = facts.committee;
                findings.fail(CheckName::ExecutedOnce, || {
                    format!("{txid}: in committee {first} and in committee {second}")
                });
            }
        }
        let mut credits = HashSet::new();
        for message in facts.received.values().flatten() {
            findings.require(credits.insert((message.txid, message.kind)), CheckName::ExecutedOnce, || {
                format!("{}: credited twice in committee {}", message.txid, facts.committee)
            });
        }
    }
}
