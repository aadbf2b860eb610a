//! The ledger as loadgen sees it: a submitter and a stream of whole blocks per committee.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use shardpay_client::signaler::SignalerClient;
use shardpay_client::topology::Topology;
use shardpay_client::{
    Client, Directory, OpaqueEvent, OpaqueEvents, OpaqueSubmitter, SubmitEvent, SubmitEvents, SubmitOptions, Submitter,
    Subscription, Verified, VerifiedBlock,
};
use shardpay_types::{CommitteeId, Height};
use tokio::sync::mpsc;

/// Verified blocks that wait for the driver.
const BLOCKS_MAX: usize = 64;

/// What happens outside.
pub enum Happening {
    /// A block is certified, and was verified at that time.
    Block(CommitteeId, Box<VerifiedBlock>, Instant),
    /// What became of submissions.
    Submissions(Vec<SubmitEvent>),
    /// What became of opaque payloads that were not ordered.
    Opaque(Vec<OpaqueEvent>),
}

/// Submitters and streams.
pub struct Network {
    /// The client.
    pub client: Client,
    submitters: Vec<Submitter>,
    /// None unless the genesis plan allows opaque payloads.
    opaque: Vec<OpaqueSubmitter>,
    happenings: mpsc::Receiver<Happening>,
}

/// Reads a topology from a file, or from a signaler's URL.
pub async fn read_topology(source: &str) -> Result<Topology> {
    if source.starts_with("http://") || source.starts_with("https://") {
        let signaler = SignalerClient::new(source).with_context(|| format!("--topology {source}"))?;
        return signaler.topology().await.with_context(|| format!("topology of {source}"));
    }
    let text = std::fs::read(source).with_context(|| format!("--topology {source}"))?;
    serde_json::from_slice(&text).with_context(|| format!("--topology {source}"))
}

/// A client of the ledger that a topology describes.
pub fn client_of(topology: &Topology) -> Result<Client> {
    let Some(genesis) = topology.genesis.clone() else { bail!("the topology names no genesis plan yet") };
    Ok(Client::new(genesis.0, Directory::from_topology(topology))?)
}

impl Network {
    /// Connects; returns when every committee's stream knows where it starts.
    pub async fn connect(client: Client, in_flight_max: usize) -> Result<Self> {
        let (sender, happenings) = mpsc::channel(BLOCKS_MAX);
        let options = SubmitOptions { in_flight_max, tell_executed: false, ..SubmitOptions::default() };
        let (mut submitters, mut opaque, mut streams) = (Vec::new(), Vec::new(), Vec::new());
        for committee in client.genesis().committee_ids() {
            let (submitter, events) = client.submitter(committee, options)?;
            tokio::spawn(pass_events(events, sender.clone()));
            submitters.push(submitter);
            if client.genesis().constants.opaque_bytes_max > 0 {
                let (submitter, events) = client.opaque_submitter(committee)?;
                tokio::spawn(pass_opaque(events, sender.clone()));
                opaque.push(submitter);
            }
            streams.push((committee, client.blocks(Subscription::whole(committee, Height::ZERO))?));
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Some((committee, _)) = streams.iter().find(|(_, stream)| stream.first_height().is_none()) {
            if Instant::now() > deadline {
                bail!("no member of committee {committee} answers");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for (committee, mut stream) in streams {
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Ok(verified) = stream.next().await {
                    let Verified::Block(block) = verified else { continue };
                    if sender.send(Happening::Block(committee, block, Instant::now())).await.is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { client, submitters, opaque, happenings })
    }

    /// A committee's submitter.
    pub fn submitter(&self, committee: CommitteeId) -> &Submitter {
        &self.submitters[committee.index()]
    }

    /// A committee's submitter of opaque payloads.
    ///
    /// # Panics
    /// When the genesis plan allows none.
    pub fn opaque(&mut self, committee: CommitteeId) -> &mut OpaqueSubmitter {
        &mut self.opaque[committee.index()]
    }

    /// The next happening.
    pub async fn next(&mut self) -> Option<Happening> {
        self.happenings.recv().await
    }

    /// A happening that is there already.
    pub fn try_next(&mut self) -> Option<Happening> {
        self.happenings.try_recv().ok()
    }

    /// Attempts repeated, and answers by name, over all committees.
    pub fn counts(&self) -> (u64, BTreeMap<String, u64>) {
        let mut names = BTreeMap::new();
        let mut resent = 0;
        for stats in self.submitters.iter().map(Submitter::stats) {
            resent += stats.resubmitted;
            *names.entry("busy".to_owned()).or_default() += stats.busy;
            for (reason, count) in stats.refusals {
                *names.entry(reason.to_string()).or_default() += count;
            }
        }
        names.retain(|_, count| *count > 0);
        (resent, names)
    }
}

async fn pass_events(mut events: SubmitEvents, sender: mpsc::Sender<Happening>) {
    while let Some(events) = events.recv().await {
        if sender.send(Happening::Submissions(events)).await.is_err() {
            return;
        }
    }
}

async fn pass_opaque(mut events: OpaqueEvents, sender: mpsc::Sender<Happening>) {
    while let Some(events) = events.recv().await {
        if sender.send(Happening::Opaque(events)).await.is_err() {
            return;
        }
    }
}
