//! What goes on between a running node and the signaler: addresses, plans, heartbeats.
//!
//! Guarantees: the node works without any of it. Every call that fails is tried again with a growing wait;
//! nothing is lost but time. Addresses are hints: keys come from the plan.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use shardpay_client::signaler::{
    Addresses, HeartbeatRequest, Hex, NetworkId, PlansQuery, Progress, RegisterRequest, SignalerClient, SignalerError,
};
use shardpay_client::topology::{Topology, TopologyQuery};
use shardpay_crypto::Keypair;
use shardpay_runtime::{Node, NodeEvent};
use shardpay_transport::PeerAddress;
use shardpay_types::{CommitteeId, MemberIndex, NodeId, Plan, PlanApproval, PublicKey};
use tokio::sync::{mpsc, watch};

use crate::bends::ChoosePeers;
use crate::process;

/// Waits between attempts to reach the signaler.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How long a question to the signaler stays open.
const LONG_POLL_SECONDS: u64 = 30;

/// What the tasks work with.
pub struct Follower {
    /// The running node.
    pub node: Arc<Node>,
    /// The signaler.
    pub signaler: SignalerClient,
    /// The network's name.
    pub network: NetworkId,
    /// The node's key.
    pub keypair: Arc<Keypair>,
    /// What it tells others.
    pub addresses: Addresses,
    /// Where addresses of peers are kept.
    pub data_dir: PathBuf,
    /// Between two heartbeats.
    pub report: Duration,
    /// Other peers than the signaler names.
    pub choose: Option<ChoosePeers>,
    /// Whether the signaler is asked only, and told nothing.
    pub hidden: bool,
}

/// A growing wait.
struct Backoff(Duration);

impl Backoff {
    const fn new() -> Self {
        Self(RETRY_MIN)
    }
    async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(RETRY_MAX);
    }
}

impl Follower {
    /// Follows until dropped. Consents of the node go out as they come.
    pub async fn run(self, events: mpsc::Receiver<NodeEvent>) {
        let (consent, consents) = watch::channel(None);
        if self.hidden {
            tokio::join!(self.follow_topology(), self.follow_plans(), listen(events, consent));
            return;
        }
        tokio::join!(
            self.register(),
            self.follow_topology(),
            self.follow_plans(),
            self.beat(),
            listen(events, consent),
            self.hand_in(consents),
        );
    }

    /// Tells the addresses of this life.
    async fn register(&self) {
        let mut backoff = Backoff::new();
        loop {
            let counter = shardpay_runtime::now().micros();
            let request = RegisterRequest::signed(&self.network, &*self.keypair, counter, self.addresses);
            match self.signaler.register(&request).await {
                Ok(_) => return,
                Err(error @ SignalerError::Refused { status, .. }) if status < 500 => {
                    return tracing::error!(%error, "the signaler does not take the node's addresses");
                }
                Err(error) => tracing::debug!(%error, "not registered yet"),
            }
            backoff.wait().await;
        }
    }

    async fn follow_topology(&self) {
        let mut backoff = Backoff::new();
        let mut seen = None;
        loop {
            let query = TopologyQuery { after: seen, wait: seen.map(|_| LONG_POLL_SECONDS) };
            match self.signaler.topology_changed(query).await {
                Ok(topology) => {
                    seen = Some(topology.version);
                    backoff = Backoff::new();
                    let peers = Peers::of(&topology);
                    let addresses = peers.addresses(&self.node.plan(), self.node.id());
                    self.node.set_peers(match &self.choose {
                        Some(choose) => choose(addresses),
                        None => addresses,
                    });
                    if let Err(error) = peers.keep(&self.data_dir) {
                        tracing::warn!(%error, "addresses of peers are not kept");
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "no topology");
                    seen = None;
                    backoff.wait().await;
                }
            }
        }
    }

    async fn follow_plans(&self) {
        let mut backoff = Backoff::new();
        let mut seen = None;
        loop {
            let epoch = self.node.figures().core.epoch;
            let query = PlansQuery { after: seen, wait: seen.map(|_| LONG_POLL_SECONDS), epoch: Some(epoch.get()) };
            match self.signaler.plans(query).await {
                Ok(reply) => {
                    seen = Some(reply.version);
                    backoff = Backoff::new();
                    let change = reply.changes.into_iter().find(|change| change.epoch == epoch.next());
                    let proposal = reply.proposal.filter(|proposal| proposal.epoch == epoch.next());
                    if change.is_some() || proposal.is_some() {
                        // the node may need it again, say after an epoch's end: ask before the version moves
                        seen = None;
                        self.pass_on(proposal.map(|proposal| proposal.plan.0), change.map(|change| change.change.0));
                        tokio::time::sleep(RETRY_MIN).await;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "no plans");
                    seen = None;
                    backoff.wait().await;
                }
            }
        }
    }

    fn pass_on(&self, plan: Option<Plan>, change: Option<shardpay_types::EpochChange>) {
        let node = self.node.clone();
        // the core's queue may be full for a moment
        tokio::task::spawn_blocking(move || {
            if let Some(change) = change {
                node.propose_change(Arc::new(change));
            } else if let Some(plan) = plan {
                node.propose_plan(Arc::new(plan));
            }
        });
    }

    async fn beat(&self) {
        let mut ticks = tokio::time::interval(self.report);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let core = self.node.figures().core;
            let progress =
                Progress { epoch: core.epoch, round: core.round, executed: core.executed, certified: core.certified };
            let time_us = shardpay_runtime::now().micros();
            let used = process::used().ok().map(|used| used.for_signaler());
            let request = HeartbeatRequest::signed(&self.network, &*self.keypair, time_us, progress, used);
            if let Err(error) = self.signaler.heartbeat(&request).await {
                tracing::debug!(%error, "heartbeat not taken");
            }
        }
    }

    /// Hands in the latest consent until it is taken.
    async fn hand_in(&self, mut consents: watch::Receiver<Option<PlanApproval>>) {
        while consents.changed().await.is_ok() {
            let mut backoff = Backoff::new();
            loop {
                let Some(approval) = *consents.borrow_and_update() else { break };
                match self.signaler.approve(approval).await {
                    Ok(_) => break,
                    Err(SignalerError::Refused { status, body }) if status < 500 => {
                        tracing::info!(?body.error, "consent to a plan not needed");
                        break;
                    }
                    Err(error) => tracing::debug!(%error, "consent not handed in yet"),
                }
                backoff.wait().await;
            }
        }
    }
}

async fn listen(mut events: mpsc::Receiver<NodeEvent>, consent: watch::Sender<Option<PlanApproval>>) {
    while let Some(event) = events.recv().await {
        match event {
            NodeEvent::PlanApproved(approval) => {
                tracing::info!(epoch = approval.epoch.get(), "consents to a plan");
                consent.send_replace(Some(*approval));
            }
            NodeEvent::EpochStarted(epoch) => tracing::info!(epoch = epoch.get(), "epoch started"),
            NodeEvent::CheckpointCertified(certified) => {
                let checkpoint = &certified.checkpoint;
                tracing::info!(epoch = checkpoint.epoch.get(), height = %checkpoint.height, "checkpoint certified");
            }
        }
    }
}

/// Where peers were last heard to be; a hint for a restart without a signaler.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Peers {
    nodes: Vec<PeerEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct PeerEntry {
    committee: usize,
    member: usize,
    key: Hex<PublicKey>,
    addr: SocketAddr,
}

impl Peers {
    fn of(topology: &Topology) -> Self {
        let entry = |(committee, member): (CommitteeId, &shardpay_client::topology::MemberEntry)| PeerEntry {
            committee: committee.index(),
            member: member.member.index(),
            key: member.key,
            addr: member.peer_addr,
        };
        Self { nodes: topology.members().map(entry).collect() }
    }

    /// The members of `plan` among them.
    pub fn addresses(&self, plan: &Plan, own: NodeId) -> Vec<PeerAddress> {
        let address = |entry: &PeerEntry| {
            let node =
                NodeId { committee: CommitteeId::new(entry.committee)?, member: MemberIndex::new(entry.member)? };
            let key = *plan.committee(node.committee)?.key(node.member)?;
            (node != own && key == entry.key.0).then_some(PeerAddress { node, key, addr: entry.addr })
        };
        self.nodes.iter().filter_map(address).collect()
    }

    /// What was kept; nothing when there is nothing of use.
    pub fn kept(data_dir: &Path) -> Self {
        let text = std::fs::read(path_of(data_dir)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn keep(&self, data_dir: &Path) -> anyhow::Result<()> {
        let path = path_of(data_dir);
        let temporary = path.with_extension("tmp");
        let write = || {
            std::fs::write(&temporary, serde_json::to_vec_pretty(self)?)?;
            std::fs::rename(&temporary, &path)
        };
        write().with_context(|| format!("{}", path.display()))
    }
}

fn path_of(data_dir: &Path) -> PathBuf {
    data_dir.join("peers.json")
}
