//! A committee's replicas side by side: one walk over all heights.

use std::collections::{BTreeMap, BTreeSet};

use shardpay_crypto::{SignatureScheme as _, Zip215, chain_id, header_hash, header_message, plan_hash};
use shardpay_types::{
    ChainId, CommitteeId, HeaderHash, Height, LedgerBlock, LedgerItem, MemberIndex, OutboxMessage, Plan, PublicKey,
    Totals, TxId,
};

use crate::acks::Wanted;
use crate::certificates::Certificates;
use crate::chain::Chain;
use crate::verdict::{CheckName, Findings};
use crate::{Evidence, StoreView};

/// What the system's checks need of a committee.
pub(crate) struct CommitteeFacts {
    pub(crate) committee: CommitteeId,
    pub(crate) totals: Totals,
    pub(crate) sent: BTreeMap<CommitteeId, Vec<OutboxMessage>>,
    pub(crate) received: BTreeMap<CommitteeId, Vec<OutboxMessage>>,
    pub(crate) proven: BTreeMap<CommitteeId, Vec<(usize, Height, HeaderHash)>>,
    pub(crate) hashes: Vec<HeaderHash>,
    pub(crate) executed: Vec<TxId>,
}

/// The stores of a committee that can be read.
struct Replicas<'a> {
    committee: CommitteeId,
    stores: Vec<(MemberIndex, &'a dyn StoreView)>,
}

/// A block, its hash, and the members that hold exactly it.
struct Agreed {
    block: LedgerBlock,
    hash: HeaderHash,
    holders: Vec<MemberIndex>,
}

/// Who may sign a height.
struct Members {
    chain: ChainId,
    keys: Vec<PublicKey>,
}

fn names(members: impl Iterator<Item = MemberIndex>) -> String {
    members.map(|member| member.to_string()).collect::<Vec<_>>().join(", ")
}

/// n − f with f the largest number below n/3.
pub(crate) fn quorum(members: usize) -> usize {
    (0..=members).rev().find(|faulty| 3 * faulty < members).map_or(members, |faulty| members - faulty)
}

/// Checks all replicas of a committee from height 1 to the longest chain's end.
pub(crate) fn walk(
    evidence: &Evidence<'_>,
    committee: CommitteeId,
    wanted: &Wanted,
    findings: &mut Findings,
) -> CommitteeFacts {
    let genesis = evidence.genesis;
    let chain_id = chain_id(genesis);
    let replicas = Replicas::open(evidence, committee, findings);
    let end = replicas.stores.iter().map(|(_, store)| store.height()).max().unwrap_or(Height::ZERO);
    let mut chain = Chain::new(genesis, chain_id, committee);
    let mut certificates = Certificates::new(chain_id);
    let mut plan: Plan = genesis.clone();
    let needed = quorum(genesis.committee(committee).map_or(0, |members| members.size()));
    while chain.height < end {
        let keys = plan.committee(committee).map(|found| found.members.to_vec()).unwrap_or_default();
        let members = Members { chain: chain_id, keys };
        let Some(agreed) = replicas.agreed(chain.height.next(), &members, findings) else { break };
        findings.figure(CheckName::ReplicasAgree, "ledger_blocks", 1);
        let txids = chain.add(&agreed.block, agreed.hash, findings);
        wanted.check(&agreed.block, &txids, (agreed.holders.len(), needed), findings);
        let epoch_right = agreed.block.header.epoch == plan.epoch;
        findings.require(epoch_right, CheckName::ChainIntact, || {
            format!(
                "committee {committee}, height {}: epoch {}, expected {}",
                chain.height, agreed.block.header.epoch, plan.epoch
            )
        });
        replicas.certificates(&agreed, &members.keys, &mut certificates, findings);
        replicas.accounts(&chain, findings);
        if let Some(next) = next_plan(&agreed.block) {
            plan = next;
        }
    }
    certificates.check(findings);
    wanted.check_end(committee, chain.height, findings);
    findings.figure(CheckName::AccountsMatch, "accounts", chain.accounts.len() as u64);
    findings.figure(CheckName::ExecutedOnce, "transactions", chain.executed.len() as u64);
    let Chain { totals, sent, received, proven, hashes, executed, .. } = chain;
    CommitteeFacts { committee, totals, sent, received, proven, hashes, executed }
}

/// The plan that a closing block brings.
fn next_plan(block: &LedgerBlock) -> Option<Plan> {
    let named = block.header.next_plan?;
    block.items.iter().find_map(|item| match item {
        LedgerItem::EpochChange(change) if plan_hash(&change.plan) == named => Some(change.plan.clone()),
        _ => None,
    })
}

impl<'a> Replicas<'a> {
    fn open(evidence: &Evidence<'a>, committee: CommitteeId, findings: &mut Findings) -> Self {
        let mut stores = Vec::new();
        let members = evidence.genesis.committee(committee).into_iter().flat_map(|members| members.indices());
        for member in members {
            let view =
                evidence.nodes.iter().find(|view| (view.node.committee, view.node.member) == (committee, member));
            match view.map(|view| &view.store) {
                Some(Ok(store)) => stores.push((member, *store)),
                Some(Err(why)) => {
                    findings.fail(CheckName::StoresReadable, || format!("node {committee}-{member}: {why}"));
                }
                None => findings.fail(CheckName::StoresReadable, || format!("node {committee}-{member}: no store")),
            }
        }
        findings.figure(CheckName::StoresReadable, "stores", stores.len() as u64);
        Self { committee, stores }
    }

    /// A version of a height, who holds it, and who signed it.
    fn told(&self, version: &Agreed, height: Height, members: &Members) -> String {
        let holders = names(version.holders.iter().copied());
        let signers = self.signers(version, height, members);
        let needed = quorum(members.keys.len());
        let signed = match signers.len() {
            0 => "no certificate".to_owned(),
            count if count >= needed => format!("certified by members {}", names(signers.into_iter())),
            _ => format!("signed by members {}", names(signers.into_iter())),
        };
        format!("header {} at members {holders}, {signed}", version.hash)
    }

    /// Members whose valid signatures stand under the headers of two versions.
    fn signed_both(&self, versions: &[Agreed], height: Height, members: &Members) -> String {
        let mut signed: BTreeMap<MemberIndex, usize> = BTreeMap::new();
        for version in versions {
            self.signers(version, height, members)
                .into_iter()
                .for_each(|member| *signed.entry(member).or_default() += 1);
        }
        let twice: Vec<MemberIndex> =
            signed.into_iter().filter(|(_, count)| *count > 1).map(|(member, _)| member).collect();
        if twice.is_empty() {
            return String::new();
        }
        format!("; signed more than one of them: members {}", names(twice.into_iter()))
    }

    /// Members whose valid signatures for a version its holders have.
    fn signers(&self, version: &Agreed, height: Height, members: &Members) -> BTreeSet<MemberIndex> {
        let message = header_message(&members.chain, &version.hash);
        let scheme = Zip215::new([0; 32], 0);
        let held = self.stores.iter().filter(|(member, _)| version.holders.contains(member));
        let found = held.filter_map(|(_, store)| store.certificate(height).ok().flatten());
        let signatures = found.flat_map(|certificate| certificate.signatures().to_vec());
        let valid = signatures.filter(|signed| {
            let key = members.keys.get(signed.member.index());
            key.is_some_and(|key| scheme.verify(key, &message, &signed.signature))
        });
        valid.map(|signed| signed.member).collect()
    }

    /// The block at `height` that most members hold; the others are evidence of a fork.
    fn agreed(&self, height: Height, members: &Members, findings: &mut Findings) -> Option<Agreed> {
        let mut versions: Vec<Agreed> = Vec::new();
        for (member, store) in self.stores.iter().filter(|(_, store)| store.height() >= height) {
            match store.block(height) {
                Ok(Some(block)) => match versions.iter_mut().find(|version| version.block == block) {
                    Some(version) => version.holders.push(*member),
                    None => versions.push(Agreed { hash: header_hash(&block.header), block, holders: vec![*member] }),
                },
                Ok(None) => findings.fail(CheckName::StoresReadable, || {
                    format!("node {}-{member}: no block at {height}, below its tip {}", self.committee, store.height())
                }),
                Err(error) => findings.fail(CheckName::StoresReadable, || {
                    format!("node {}-{member}, height {height}: {error}", self.committee)
                }),
            }
        }
        findings.require(versions.len() <= 1, CheckName::ReplicasAgree, || {
            let told: Vec<String> = versions.iter().map(|version| self.told(version, height, members)).collect();
            let place = format!("committee {}, height {height}", self.committee);
            format!("{place}: {}{}", told.join("; "), self.signed_both(&versions, height, members))
        });
        versions.into_iter().max_by_key(|version| version.holders.len())
    }

    /// Collects the certificates that the holders of a block have for it.
    fn certificates(
        &self,
        agreed: &Agreed,
        members: &[PublicKey],
        certificates: &mut Certificates,
        findings: &mut Findings,
    ) {
        let height = agreed.block.header.height;
        for (member, store) in self.stores.iter().filter(|(member, _)| agreed.holders.contains(member)) {
            match store.certificate(height) {
                Ok(Some(found)) => {
                    let place = format!("node {}-{member}, height {height}, header {}", self.committee, agreed.hash);
                    certificates.add(place, agreed.hash, found, members);
                }
                Ok(None) => {}
                Err(error) => findings.fail(CheckName::StoresReadable, || {
                    format!("node {}-{member}, height {height}: {error}", self.committee)
                }),
            }
        }
    }

    /// Compares the accounts of the members whose chain ends here.
    fn accounts(&self, chain: &Chain<'_>, findings: &mut Findings) {
        for (member, store) in self.stores.iter().filter(|(_, store)| store.height() == chain.height) {
            let place = format!("node {}-{member}, height {}", self.committee, chain.height);
            let (mut sum, mut count, mut different) = (0u128, 0usize, Vec::new());
            let read = store.accounts(&mut |key, state| {
                sum += u128::from(state.balance.micros());
                count += 1;
                if chain.accounts.get(&key) != Some(&state) {
                    different.push((key, state));
                }
            });
            if let Err(error) = read {
                findings.fail(CheckName::StoresReadable, || format!("{place}: {error}"));
                continue;
            }
            for (key, state) in different {
                findings.fail(CheckName::AccountsMatch, || {
                    format!("{place}: account {key} has {state:?}, the items left {:?}", chain.accounts.get(&key))
                });
            }
            let (expected, total) = (chain.accounts.len(), chain.totals.balances.micros());
            findings.require(count == expected, CheckName::AccountsMatch, || {
                format!("{place}: {count} accounts, the items left {expected}")
            });
            findings.require(sum == total, CheckName::AccountsMatch, || {
                format!("{place}: balances add up to {sum}, the header says {total}")
            });
        }
    }
}
