//! The control socket: a Unix socket in the data directory that speaks JSON lines.
//!
//! Guarantees: nothing is answered before the caller has signed a fresh challenge with the node's own key
//! (whoever can read the key file); requests are bounded in length; a caller that says nothing is let go.
//!
//! On connecting the node says `{"challenge": "<64 hex digits>"}`; the caller answers `{"signature": "<128 hex
//! digits>"}` over kind `Hello` with the challenge in the place of the chain and the body `control`. Then each
//! line is a [`Request`], answered by one line: `{"ok": …}` or `{"error": "…"}`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use shardpay_crypto::{Keypair, SignatureScheme, SignedKind, Signer, Zip215, signed_message};
use shardpay_runtime::Node;
use shardpay_transport::LinkShape;
use shardpay_types::{ChainId, CommitteeId, MemberIndex, NodeId, Signature};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

/// Longest line.
const LINE_BYTES_MAX: u64 = 4_096;
/// A caller may be silent that long.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// What the answer to a challenge covers, beside the challenge.
const PURPOSE: &[u8] = b"control";

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Whether the node works: the same as `status`, shorter.
    Health,
    /// All figures.
    Status,
    /// Delay, lose or throttle what is sent to a node, or to all.
    Shape {
        /// The node as `committee-member`; nothing: all.
        to: Option<String>,
        /// Added to each message, in ms.
        #[serde(default)]
        latency_ms: f64,
        /// Random part on top, in ms.
        #[serde(default)]
        jitter_ms: f64,
        /// Share of messages lost, 0..=1.
        #[serde(default)]
        loss: f64,
        /// Bytes per second; nothing: no limit.
        #[serde(default)]
        bandwidth: Option<u64>,
    },
    /// Stop in good order.
    Shutdown,
}

/// How the node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Its place, as `committee-member`.
    pub node: String,
    /// The running epoch.
    pub epoch: u64,
    /// Round of its latest own block.
    pub round: u64,
    /// Last executed height.
    pub executed: u64,
    /// Last certified height.
    pub certified: u64,
    /// Whether it takes submissions.
    pub proposing: bool,
    /// Whether it has halted for good.
    pub halted: bool,
    /// Transactions in the mempool.
    pub mempool: usize,
    /// Nodes connected.
    pub peers: usize,
    /// Process id.
    pub pid: u32,
}

/// The socket's end in the node.
pub struct Control {
    node: Arc<Node>,
    keypair: Arc<Keypair>,
    path: PathBuf,
    stop: mpsc::Sender<()>,
}

impl Control {
    /// Opens the socket. A file left by an earlier life is replaced. `stop` hears of orders to shut down.
    pub fn open(
        path: PathBuf,
        node: Arc<Node>,
        keypair: Arc<Keypair>,
        stop: mpsc::Sender<()>,
    ) -> io::Result<(Self, UnixListener)> {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        Ok((Self { node, keypair, path, stop }, listener))
    }

    /// Serves callers until dropped.
    pub async fn run(self, listener: UnixListener) {
        let control = Arc::new(self);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let control = control.clone();
                    tokio::spawn(async move {
                        if let Err(error) = control.serve(stream).await {
                            tracing::debug!(%error, "control connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "control socket");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn serve(&self, stream: UnixStream) -> anyhow::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        let mut challenge = [0; 32];
        getrandom::fill(&mut challenge).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
        say(&mut write, &serde_json::json!({ "challenge": hex::encode(challenge) })).await?;
        let Some(line) = next_line(&mut read).await? else { return Ok(()) };
        if !self.is_answer(&line, challenge) {
            say(&mut write, &serde_json::json!({ "error": "the challenge is not signed with the node's key" })).await?;
            bail!("wrong answer to the challenge");
        }
        while let Some(line) = next_line(&mut read).await? {
            let answer = match serde_json::from_str::<Request>(&line) {
                Ok(request) => self.answer(request),
                Err(error) => Err(error.to_string()),
            };
            let answer = match answer {
                Ok(value) => serde_json::json!({ "ok": value }),
                Err(error) => serde_json::json!({ "error": error }),
            };
            say(&mut write, &answer).await?;
        }
        Ok(())
    }

    fn is_answer(&self, line: &str, challenge: [u8; 32]) -> bool {
        let Ok(answer) = serde_json::from_str::<Answer>(line) else { return false };
        let mut signature = [0; 64];
        if hex::decode_to_slice(&answer.signature, &mut signature).is_err() {
            return false;
        }
        let message = signed_message(&ChainId(challenge), SignedKind::Hello, PURPOSE);
        Zip215::new([0; 32], 0).verify(&self.keypair.public_key(), &message, &Signature(signature))
    }

    fn answer(&self, request: Request) -> Result<serde_json::Value, String> {
        match request {
            Request::Health => serde_json::to_value(self.health()).map_err(|error| error.to_string()),
            Request::Status => Ok(self.status()),
            Request::Shape { to, latency_ms, jitter_ms, loss, bandwidth } => {
                let to = to.as_deref().map(parse_node).transpose()?;
                let shape = LinkShape {
                    latency: milliseconds("latency_ms", latency_ms)?,
                    jitter: milliseconds("jitter_ms", jitter_ms)?,
                    loss: if (0.0..=1.0).contains(&loss) { loss } else { return Err("loss: not within 0..=1".into()) },
                    bandwidth,
                };
                self.node.peers().shape(to, shape);
                Ok(serde_json::Value::Bool(true))
            }
            Request::Shutdown => {
                // the first order is enough
                let _ = self.stop.try_send(());
                Ok(serde_json::Value::Bool(true))
            }
        }
    }

    fn health(&self) -> Health {
        let core = self.node.figures().core;
        let id = self.node.id();
        Health {
            node: format!("{}-{}", id.committee.index(), id.member.index()),
            epoch: core.epoch.get(),
            round: core.round.get(),
            executed: core.executed.get(),
            certified: core.certified.get(),
            proposing: core.proposing,
            halted: core.halted,
            mempool: core.mempool,
            peers: self.node.peers().stats().connected,
            pid: std::process::id(),
        }
    }

    fn status(&self) -> serde_json::Value {
        let figures = self.node.figures();
        let (core, ledger) = (&figures.core, &figures.ledger);
        let peers = self.node.peers().stats();
        let peer = |peer: &shardpay_transport::PeerStats| {
            serde_json::json!({
                "node": format!("{}-{}", peer.node.committee.index(), peer.node.member.index()),
                "connected": peer.connected,
                "queue_bytes": peer.queue_bytes,
                "rtt_us": peer.rtt.map(|rtt| rtt.as_micros() as u64),
            })
        };
        serde_json::json!({
            "health": self.health(),
            "head": ledger.head.map(|head| head.to_string()),
            "accounts": ledger.accounts,
            "outbox_pending": ledger.outbox_pending,
            "uncertified": core.uncertified,
            "commits_waiting": core.commits,
            "blocks_waiting": core.waiting_blocks,
            "leaders_committed": core.leaders.0,
            "leaders_skipped": core.leaders.1,
            "leader_timeouts": core.leader_timeouts,
            "refusals": core.refusals.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
            "peers": peers.peers.iter().map(peer).collect::<Vec<_>>(),
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // a file that is gone already is fine
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The answer to a challenge.
#[derive(Serialize, Deserialize)]
struct Answer {
    signature: String,
}

#[derive(Deserialize)]
struct Challenge {
    challenge: String,
}

/// Asks a running node: connects, signs the challenge, sends one request.
pub async fn call(path: &Path, keypair: &Keypair, request: &Request) -> anyhow::Result<serde_json::Value> {
    let stream = UnixStream::connect(path).await.with_context(|| format!("no node answers at {}", path.display()))?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let line = next_line(&mut read).await?.context("the node closed the connection")?;
    let mut challenge = [0; 32];
    hex::decode_to_slice(serde_json::from_str::<Challenge>(&line)?.challenge, &mut challenge)?;
    let message = signed_message(&ChainId(challenge), SignedKind::Hello, PURPOSE);
    let signature = hex::encode(keypair.sign(&message).0);
    say(&mut write, &serde_json::to_value(Answer { signature })?).await?;
    say(&mut write, &serde_json::to_value(request)?).await?;
    let line = next_line(&mut read).await?.context("the node closed the connection")?;
    let mut answer: serde_json::Value = serde_json::from_str(&line)?;
    match answer.get_mut("ok") {
        Some(value) => Ok(value.take()),
        None => bail!("{}", answer["error"].as_str().unwrap_or("the node gave no reason")),
    }
}

async fn say(write: &mut (impl AsyncWriteExt + Unpin), value: &serde_json::Value) -> io::Result<()> {
    write.write_all(format!("{value}\n").as_bytes()).await
}

/// A line, or nothing at the end.
async fn next_line(read: &mut (impl AsyncBufReadExt + Unpin)) -> anyhow::Result<Option<String>> {
    let mut line = Vec::new();
    let mut bounded = read.take(LINE_BYTES_MAX);
    let length = tokio::time::timeout(SILENCE_MAX, bounded.read_until(b'\n', &mut line)).await.context("silence")??;
    if length == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        bail!("a line without an end within {LINE_BYTES_MAX} bytes");
    }
    Ok(Some(String::from_utf8(line)?))
}

fn milliseconds(name: &str, value: f64) -> Result<Duration, String> {
    let seconds = Duration::try_from_secs_f64(value / 1_000.0).map_err(|error| format!("{name}: {error}"))?;
    if seconds > Duration::from_secs(60) { Err(format!("{name}: above 60000")) } else { Ok(seconds) }
}

/// A node by its name `committee-member`.
pub(crate) fn parse_node(text: &str) -> Result<NodeId, String> {
    let bad = || format!("to: {text:?} is not committee-member");
    let (committee, member) = text.split_once('-').ok_or_else(bad)?;
    let number = |text: &str| text.parse::<usize>().ok();
    let committee = number(committee).and_then(CommitteeId::new).ok_or_else(bad)?;
    let member = number(member).and_then(MemberIndex::new).ok_or_else(bad)?;
    Ok(NodeId { committee, member })
}
