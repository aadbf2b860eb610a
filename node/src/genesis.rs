//! How a node gets into a network: it registers, co-signs the genesis plan, and keeps it.
//!
//! Guarantees: a node co-signs one genesis plan in its life: the plan stands on disk before its signature
//! leaves. It starts only on a plan that Q members of each committee co-signed, which it checks itself.
//! Afterwards it needs no signaler to start again.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use shardpay_client::signaler::{
    Addresses, NetworkId, PlansQuery, Proposal, RegisterRequest, SignalerClient, SignalerError,
};
use shardpay_crypto::{Keypair, SignatureScheme, Signer, chain_id, plan_approval_message, plan_hash};
use shardpay_types::{
    ChainId, Codec, CommitteeId, Epoch, EpochChange, List, MemberIndex, NodeId, Plan, PlanApproval, PublicKey,
};

/// Waits between attempts to reach the signaler.
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long a question to the signaler stays open.
const LONG_POLL_SECONDS: u64 = 20;

/// The genesis plan as a node starts on it.
#[derive(Debug, Clone)]
pub struct Genesis {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Who co-signed it.
    pub approvals: Vec<PlanApproval>,
    /// The ledger.
    pub chain: ChainId,
}

impl Genesis {
    /// The network's name before it had a ledger.
    pub fn network(&self) -> NetworkId {
        NetworkId(self.plan.salt)
    }

    /// The place of the node with this key.
    pub fn place_of(&self, key: &PublicKey) -> Option<NodeId> {
        place_of(&self.plan, key)
    }
}

/// Files of the data directory.
struct Files {
    /// Plan and co-signatures.
    genesis: PathBuf,
    /// The plan that was co-signed.
    cosigned: PathBuf,
}

impl Files {
    fn of(data_dir: &Path) -> Self {
        Self { genesis: data_dir.join("genesis"), cosigned: data_dir.join("genesis.cosigned") }
    }
}

/// The genesis plan kept in the data directory, if the node has one.
pub fn stored(data_dir: &Path, scheme: &dyn SignatureScheme) -> anyhow::Result<Option<Genesis>> {
    let path = Files::of(data_dir).genesis;
    if !path.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).with_context(|| format!("{}", path.display()))?;
    let change = EpochChange::from_bytes(&bytes).with_context(|| format!("{} is damaged", path.display()))?;
    let genesis = complete(change.plan, change.approvals.into_vec(), scheme)
        .with_context(|| format!("{} is damaged", path.display()))?;
    Ok(Some(genesis))
}

/// Registers, co-signs and waits until enough others did. Goes on until it succeeds; only what another try
/// cannot mend is an error.
pub async fn join(
    data_dir: &Path,
    signaler: &SignalerClient,
    keypair: &Keypair,
    addresses: Addresses,
    scheme: &dyn SignatureScheme,
) -> anyhow::Result<Genesis> {
    let files = Files::of(data_dir);
    let mut wait = RETRY_MIN;
    let mut registered = false;
    let mut approved = false;
    let mut seen = None;
    loop {
        let query = PlansQuery { after: seen, wait: seen.map(|_| LONG_POLL_SECONDS), epoch: None };
        let reply = match signaler.plans(query).await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::warn!(%error, "waiting for the signaler");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_MAX);
                seen = None;
                continue;
            }
        };
        wait = RETRY_MIN;
        seen = Some(reply.version);
        if !registered {
            let request = RegisterRequest::signed(&reply.network, keypair, shardpay_runtime::now().micros(), addresses);
            let told = signaler.register(&request).await;
            registered = settled("registration", told.as_ref().map(|_| ()), wait).await?;
            if let Ok(told) = told {
                tracing::info!(registered = told.registered, expected = told.expected, "registered");
            }
            seen = None;
            continue;
        }
        let Some(proposal) = reply.genesis else { continue };
        let plan = check_plan(&proposal, &reply.network)?;
        if !approved {
            let approval = cosign(&files, &plan, keypair)?;
            approved = settled("co-signature", signaler.approve(approval).await.as_ref().map(|_| ()), wait).await?;
            tracing::info!(chain = %chain_id(&plan), "co-signed the genesis plan");
            seen = None;
            continue;
        }
        if proposal.complete {
            let approvals = proposal.approvals.iter().map(|approval| approval.0).collect();
            let genesis = complete(plan, approvals, scheme)?;
            keep(&files.genesis, &encode(&genesis))?;
            return Ok(genesis);
        }
    }
}

/// Whether a call succeeded; false: try again; an error when trying again is of no use.
async fn settled(what: &str, outcome: Result<(), &SignalerError>, wait: Duration) -> anyhow::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(SignalerError::Refused { status, body }) if *status < 500 => {
            bail!("the signaler refuses the {what}: {:?}: {}", body.error, body.detail)
        }
        Err(error) => {
            tracing::warn!(%error, "{what} failed, trying again");
            tokio::time::sleep(wait).await;
            Ok(false)
        }
    }
}

fn check_plan(proposal: &Proposal, network: &NetworkId) -> anyhow::Result<Plan> {
    let plan = proposal.plan.0.clone();
    ensure!(plan.epoch == Epoch::ZERO, "the signaler proposes a genesis plan of epoch {}", plan.epoch);
    ensure!(plan.salt == network.0, "the signaler proposes a genesis plan of another network");
    Ok(plan)
}

/// Signs the plan, once it stands on disk that it is this one and no other.
fn cosign(files: &Files, plan: &Plan, keypair: &Keypair) -> anyhow::Result<PlanApproval> {
    let bytes = plan.to_bytes();
    match std::fs::read(&files.cosigned) {
        Ok(earlier) => ensure!(
            earlier == bytes,
            "another genesis plan was co-signed before ({}): a node co-signs one in its life",
            files.cosigned.display()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => keep(&files.cosigned, &bytes)?,
        Err(error) => return Err(error).with_context(|| format!("{}", files.cosigned.display())),
    }
    let place = place_of(plan, &keypair.public_key()).context("the genesis plan has no place for this node's key")?;
    let hash = plan_hash(plan);
    let message = plan_approval_message(&chain_id(plan), &hash, Epoch::ZERO);
    Ok(PlanApproval {
        plan: hash,
        epoch: Epoch::ZERO,
        committee: place.committee,
        member: place.member,
        signature: keypair.sign(&message),
    })
}

/// Whether Q members of each committee co-signed.
fn complete(plan: Plan, approvals: Vec<PlanApproval>, scheme: &dyn SignatureScheme) -> anyhow::Result<Genesis> {
    let (hash, chain) = (plan_hash(&plan), chain_id(&plan));
    let message = plan_approval_message(&chain, &hash, Epoch::ZERO);
    let mut signers: Vec<NodeId> = Vec::new();
    for approval in &approvals {
        let key = plan.committee(approval.committee).and_then(|committee| committee.key(approval.member));
        let good = approval.plan == hash
            && approval.epoch == Epoch::ZERO
            && key.is_some_and(|key| scheme.verify(key, &message, &approval.signature));
        ensure!(good, "a co-signature of the genesis plan does not verify");
        signers.push(NodeId { committee: approval.committee, member: approval.member });
    }
    signers.sort_unstable();
    signers.dedup();
    for (id, committee) in plan.committee_ids().zip(&plan.committees) {
        let count = signers.iter().filter(|signer| signer.committee == id).count();
        ensure!(
            count >= committee.quorum(),
            "committee {id} co-signed the genesis plan with {count} of {} members",
            committee.quorum()
        );
    }
    Ok(Genesis { plan: Arc::new(plan), approvals, chain })
}

/// What is kept.
pub fn encode(genesis: &Genesis) -> Vec<u8> {
    let approvals = List::bounded(genesis.approvals.clone());
    EpochChange { plan: Plan::clone(&genesis.plan), approvals }.to_bytes()
}

fn place_of(plan: &Plan, key: &PublicKey) -> Option<NodeId> {
    let committees = plan.committee_ids().zip(&plan.committees);
    committees.into_iter().find_map(|(committee, members): (CommitteeId, _)| {
        let at = members.members.iter().position(|member| member == key)?;
        Some(NodeId { committee, member: MemberIndex::at(at) })
    })
}

/// Writes a file so that after a crash it is there whole or not at all.
fn keep(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
